"""Proof of shared secrets: which authentication was under which version, and when to start one.

An authentication counts for the version that the daemon uses first if its IKE_SA was not there yet when that version
was seen to be the first: one that was on its way at that moment may have been under the version before. What is
remembered between processes is in the notes; an authentication that nobody was there to see is made anew. One that was
seen before the slot had its present list of keys answers no order: an emergency that comes out of an undone rotation
brings the same version again, and wants it proven again.
"""

import logging
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from ike.agent.desired import DesiredSlot
from ike.agent.home import Notes, stamp
from ike.daemons.port import Daemon, IkeSa

_log = logging.getLogger(__name__)
_FIRST_WAIT: Final = 10.0
_LONGEST_WAIT: Final = 300.0
# The order still stands after this end saw its authentication: the other end may have missed it.
_SEEN_WAIT: Final = 20.0
_SPI: Final = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True)
class _First:
    """The version that a daemon uses, its id, the list that it is the first of, and the IKE_SAs that were there by
    then.
    """

    version: int
    id: int
    keys: list[int]
    before: frozenset[str]


@dataclass
class _Tries:
    """Tries for a connection: for which orders, when the next one may be, and how long to wait after it."""

    orders: frozenset[tuple[str, int, bool]]
    at: float
    wait: float
    failed: dict[str, str] | None = None


class Proofs:
    """What one process knows of authentications. `monotonic` decides about waiting."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._firsts: dict[str, _First] = {}
        self._tries: dict[str, _Tries] = {}

    def observe(
        self, notes: Notes, slots: Sequence[DesiredSlot], sas: Iterable[IkeSa], now: datetime
    ) -> None:
        """Take in what the daemon was found to use, as the notes have it; `sas` were listed after that."""
        there = frozenset(map(_name, sas))
        for slot in slots:
            record = notes.secrets[slot.name]
            loaded = record["versions"][:1]
            self._note_first(slot, record["versions"], there)
            order = slot.prove
            if order is None:
                record["order"] = None
                continue
            if not _is_of(record["authenticated"], slot.versions):
                record["authenticated"] = None
            known = _version(record["order"]) == order.version
            if loaded == [order.version] and not (known and _is_of(record["order"], slot.versions)):
                noted = {"version": order.version, "keys": slot.versions, "at": stamp(now)}
                record["order"] = {**noted, "met": False}
        named = {each.name for each in slots}
        self._firsts = {name: each for name, each in self._firsts.items() if name in named}
        self._plan(notes, slots)

    def _note_first(self, slot: DesiredSlot, loaded: list[int], there: frozenset[str]) -> None:
        key = next((each for each in slot.keys if [each.version] == loaded[:1]), None)
        known = self._firsts.get(slot.name)
        # Where a daemon has one place the rest of the list is on the disk.
        keys = slot.versions if slot.versions[: len(loaded)] == loaded else loaded
        if key is None:
            self._firsts.pop(slot.name, None)
        elif known is None or (known.version, known.id, known.keys) != (key.version, key.id, keys):
            self._firsts[slot.name] = _First(key.version, key.id, keys, there)

    def forget(self) -> None:
        """The daemon was restarted: what it does next is not what it did."""
        self._firsts.clear()

    def saw(self, notes: Notes, slots: Sequence[DesiredSlot], sa: IkeSa, now: datetime) -> bool:
        """Note that an IKE_SA was authenticated; whether the service is to hear of it at once."""
        urgent = False
        for slot in slots:
            first = self._firsts.get(slot.name)
            if slot.connection != sa.connection or first is None or _name(sa) in first.before:
                continue
            record = notes.secrets[slot.name]
            urgent = urgent or slot.prove is not None
            urgent = urgent or _version(record["authenticated"]) != first.version
            record["authenticated"] = {
                "version": first.version,
                "id": first.id,
                "keys": first.keys,
                "at": stamp(now),
                "spi_initiator": _spi(sa.spi_initiator),
                "spi_responder": _spi(sa.spi_responder),
            }
            if _version(record["order"]) == first.version:
                record["order"]["met"] = True
        self._plan(notes, slots)
        return urgent

    def waits(self, notes: Notes) -> bool:
        """Whether an authentication is wanted that was not seen yet."""
        if notes.daemon.get("kind") == "files":
            return False
        orders = (each["order"] for each in notes.secrets.values())
        return any(order is not None and not order["met"] for order in orders)

    def due_at(self) -> float:
        """When the next try is due, on the clock that does not jump."""
        return min((each.at for each in self._tries.values()), default=math.inf)

    def trouble(self, slot: DesiredSlot) -> dict[str, str] | None:
        """Why the last try to prove a slot could not be made."""
        tries = self._tries.get(slot.connection)
        return tries.failed if tries is not None and slot.prove is not None else None

    def due(self, slots: Sequence[DesiredSlot]) -> dict[str, bool]:
        """Connections to be authenticated now, and whether they may be interrupted; each counts as tried."""
        found = {}
        for connection, tries in self._tries.items():
            if tries.at > self._monotonic():
                continue
            tries.at = self._monotonic() + tries.wait
            tries.wait = min(2 * tries.wait, _LONGEST_WAIT)
            orders = (each.prove for each in slots if each.connection == connection)
            found[connection] = any(order is not None and order.gap for order in orders)
        return found

    def tried(self, connection: str, failed: dict[str, str] | None) -> None:
        """Keep what came of a try."""
        self._tries[connection].failed = failed

    def _plan(self, notes: Notes, slots: Sequence[DesiredSlot]) -> None:
        """Go on with the tries whose orders stand, begin those of new ones, and drop the others."""
        orders: dict[str, set[tuple[str, int, bool]]] = {}
        for slot in slots:
            found = self._open(notes, slot)
            if found is not None:
                orders.setdefault(slot.connection, set()).add(found)
        planned: dict[str, _Tries] = {}
        for connection, those in orders.items():
            known = self._tries.get(connection)
            if known is None or known.orders != those:
                seen = all(met for _, _, met in those)
                wait = _SEEN_WAIT if seen else _FIRST_WAIT
                at = self._monotonic() + (wait if seen else 0.0)
                known = _Tries(frozenset(those), at, wait)
            planned[connection] = known
        self._tries = planned

    def _open(self, notes: Notes, slot: DesiredSlot) -> tuple[str, int, bool] | None:
        """The order of a slot for which this end is to start something."""
        order, record = slot.prove, notes.secrets[slot.name]
        if order is None or not order.start or notes.daemon.get("kind") == "files":
            return None
        if _version(record["order"]) != order.version or record["versions"][:1] != [order.version]:
            return None
        met = bool(record["order"]["met"])
        # An interruption is not repeated for the other end's sake.
        smooth = notes.abilities.get("gapless") or notes.abilities.get("beside")
        return None if met and not smooth else (slot.name, order.version, met)


def start(daemon: Daemon, connection: str, *, gap: bool) -> None:
    """Start a fresh authentication of a connection, unless one is under way. Raises what the port raises."""
    mine = [sa for sa in daemon.sas() if sa.connection == connection]
    if not all(sa.established for sa in mine):
        return
    count = daemon.reauthenticate(connection, gap=gap)
    if not count and not mine:
        count = int(daemon.initiate(connection))
    if count:
        _log.info("a fresh authentication was started", extra={"connection": connection})


def _name(sa: IkeSa) -> str:
    """What an IKE_SA is known by from its beginning to its end."""
    return sa.spi_initiator or f"#{sa.id}"


def _is_of(kept: dict[str, Any] | None, keys: list[int]) -> bool:
    """Whether what is noted was with this list; what an older agent noted names none."""
    return kept is None or kept.get("keys", keys) == keys


def _version(kept: dict[str, Any] | None) -> object:
    return kept["version"] if kept is not None else None


def _spi(text: str) -> str:
    spi = text.lower().removeprefix("0x")
    return spi if _SPI.fullmatch(spi) else ""
