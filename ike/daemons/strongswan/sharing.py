"""Shared secrets in charon: loaded over VICI, and written down so that a restart or `swanctl --load-all` finds them.

charon takes from a peer any secret that the peer's identity owns, and proves itself by the one that was loaded last.
So the keys of a slot are loaded in reverse, and one is put in front by being loaded again; the last of a file's
sections is the one that is used after a restart.
"""

import hmac
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from core.secret import Secret
from ike.daemons.port import DaemonRefused, LoadedSlot, Shared, SharedSlot
from ike.daemons.slots import to_be_loaded
from ike.daemons.strongswan import foreign, names, settings
from ike.daemons.strongswan.files import SwanctlFiles
from ike.daemons.strongswan.session import Endpoint, Session

_TYPES = {"psk": "IKE", "ppk": "ppk"}


@dataclass(frozen=True)
class _Entry:
    """One secret as charon is given it; `owner` is the peer's identity alone: our own would let in anybody who has
    a secret of ours.
    """

    id: str
    kind: str
    owner: str
    value: Secret

    def is_same(self, other: "_Entry | None") -> bool:
        return (
            other is not None
            and (self.id, self.kind, self.owner) == (other.id, other.kind, other.owner)
            and hmac.compare_digest(self.value.reveal(), other.value.reveal())
        )


class Sharing:
    """The shared secrets of one charon: what is loaded, and conf.d/ikewarden.secrets.conf."""

    def __init__(self, endpoint: Endpoint, files: SwanctlFiles) -> None:
        self._endpoint = endpoint
        self._files = files

    def share(self, slots: Sequence[SharedSlot]) -> None:
        refused: dict[str, DaemonRefused] = {}
        wanted: dict[str, list[_Entry]] = {}
        with self._endpoint.session() as session:
            written, before = self._written(), _listed(session)
            others = foreign.read(self._files) if set(before) - set(written) else []
            loaded, held = _by_slot(before), _by_slot(written)
            for slot in slots:
                wanted[slot.name] = [written[each] for each in held.get(slot.name, ())]
                try:
                    entries = _entries(to_be_loaded(slot, overlap=True))
                    lacking = _lacking(entries, written, loaded.get(slot.name, ()))
                    if not lacking and any(foreign.is_newer(slot, each, before) for each in others):
                        # What others wrote came in front of it: by a `swanctl --load-creds`.
                        lacking = entries[:1]
                    self._load(session, slot, lacking)
                    wanted[slot.name] = entries
                except DaemonRefused as refusal:
                    refused[slot.name] = refusal
            self._write(wanted)
            self._note_ppks(slots, wanted)
            after = _listed(session)
            # What is in use may be of a refused slot also where our file does not tell it.
            spared = {each for each in before if _slot(each) in refused}
            self._unload(session, after, wanted, spared)
        loaded = _by_slot(after)
        for name in set(wanted) - set(refused):
            ids = [each.id for each in wanted[name]]
            if [each for each in loaded.get(name, ()) if each in ids] != ids:
                refused[name] = DaemonRefused(
                    f"Shared secret {name}: charon lists its keys in another order than they were loaded."
                )
        for each in refused.values():
            raise each

    def shared(self, slots: Sequence[SharedSlot]) -> Shared:
        with self._endpoint.session() as session:
            listed = _listed(session)
        held: dict[str, list[int]] = {}
        for each in listed:
            if found := names.secret_of(each):
                held.setdefault(found[0], []).append(found[1])
        loaded = tuple(LoadedSlot(name, tuple(held[name])) for name in sorted(held))
        others = foreign.read(self._files)
        told = [each for slot in slots for each in foreign.of(slot, others, listed)]
        return Shared(loaded, tuple(told))

    def ids(self) -> set[str]:
        """The ids of the secrets that a restart would load."""
        return set(self._written())

    def ppk_ids(self, connection: str) -> tuple[str, ...]:
        """The PPK_IDs of a connection, the one to be sent first."""
        with suppress(FileNotFoundError, ValueError, TypeError, AttributeError):
            noted: Any = json.loads(self._files.ppks.read_bytes())
            return tuple(str(each) for each in noted.get(connection, ()))
        return ()

    # inside

    def _load(self, session: Session, slot: SharedSlot, lacking: Sequence[_Entry]) -> None:
        """Load the last first. Between the last two a peer may be shown one that it does not know yet, for as long as a
        command takes.
        """
        for entry in reversed(lacking):
            message = {
                "id": entry.id,
                "type": _TYPES[entry.kind],
                "data": entry.value.reveal(),
                "owners": [entry.owner],
            }
            try:
                session.ask("load-shared", message)
            except DaemonRefused as refusal:
                raise DaemonRefused(f"Shared secret {slot.name}: {refusal.message}") from None

    def _unload(
        self,
        session: Session,
        listed: Sequence[str],
        wanted: Mapping[str, Sequence[_Entry]],
        spared: set[str],
    ) -> None:
        kept = {each.id for entries in wanted.values() for each in entries} | spared
        for each in listed:
            if names.secret_of(each) and each not in kept:
                with suppress(DaemonRefused):  # somebody else was quicker
                    session.ask("unload-shared", {"id": each})

    def _written(self) -> dict[str, _Entry]:
        """Our file's secrets, by id, those of a slot in the order of their preference."""
        found = settings.read(self._files.secrets_conf).sections.get("secrets")
        entries: dict[str, _Entry] = {}
        for name, section in reversed(found.sections.items()) if found else ():
            with suppress(KeyError, ValueError):
                text = section.values["secret"].text or ""
                value = Secret(bytes.fromhex(text.removeprefix("0x")))
                kind = "ppk" if name.startswith("ppk-") else "psk"
                entries[name] = _Entry(name, kind, section.values["id"].text or "", value)
        return entries

    def _write(self, wanted: Mapping[str, Sequence[_Entry]]) -> None:
        sections = {
            each.id: {"id": each.owner, "secret": "0x" + each.value.reveal().hex()}
            for name in sorted(wanted)
            for each in reversed(wanted[name])
        }
        if sections:
            text = settings.HEAD + settings.render({"secrets": sections})
            self._files.write(self._files.secrets_conf, text.encode())
        else:
            self._files.remove(self._files.secrets_conf)

    def _note_ppks(
        self, slots: Sequence[SharedSlot], wanted: Mapping[str, Sequence[_Entry]]
    ) -> None:
        """For `connect`, which puts them into the connections: those that are loaded, also of a refused slot."""
        noted = {
            slot.connection: [each.owner for each in wanted[slot.name]]
            for slot in slots
            if slot.kind == "ppk" and wanted[slot.name]
        }
        if noted:
            self._files.write(self._files.ppks, json.dumps(noted, indent=1).encode())
        else:
            self._files.remove(self._files.ppks)


def _listed(session: Session) -> list[str]:
    """The ids of the shared secrets that charon holds, the newest first."""
    return list(session.ask("get-shared").get("keys", []))


def _by_slot(ids: Iterable[str]) -> dict[str, list[str]]:
    """The ids of ours by slot, in their order."""
    found: dict[str, list[str]] = {}
    for each in ids:
        found.setdefault(_slot(each), []).append(each)
    return found


def _slot(printed: str) -> str:
    found = names.secret_of(printed)
    return found[0] if found else ""


def _lacking(
    entries: Sequence[_Entry], written: Mapping[str, _Entry], loaded: Sequence[str]
) -> Sequence[_Entry]:
    """The first ones, which are to be loaded: what lacks, is not as our file tells it or not in its place."""
    sound = {each.id for each in entries if each.is_same(written.get(each.id))}
    start = _first_in_place(
        [each.id for each in entries], [each for each in loaded if each in sound]
    )
    return entries[:start]


def _first_in_place(ids: Sequence[str], loaded: Sequence[str]) -> int:
    """Where the rest begins that is loaded, and in order: of [2, 1] with 1 loaded, 1."""
    for start in range(len(ids)):
        rest = ids[start:]
        if [each for each in loaded if each in rest] == rest:
            return start
    return len(ids)


def _entries(slot: SharedSlot) -> list[_Entry]:
    """The secrets of a slot as charon is given them. Raises DaemonRefused."""
    owner = names.for_charon(slot.remote_id)
    return [
        _Entry(
            names.secret_id(slot.kind, slot.name, key.version),
            slot.kind,
            key.ppk_id or owner if slot.kind == "ppk" else owner,
            key.value,
        )
        for key in slot.keys
    ]
