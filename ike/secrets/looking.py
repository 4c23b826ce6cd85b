"""What is to be said of secrets that were found: whose they are, how good, how old, and where else. Pure."""

import hmac
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Final

from core.secret import Secret
from ike.secrets import identities, ranking, strength
from ike.secrets.identities import Identity
from ike.secrets.ranking import Answer
from ike.secrets.reading import Found
from ike.secrets.strength import Strength, Verdict
from ike.secrets.values import Connection, Entry, Kind, Place, Problem

_MAX_ELSEWHERE: Final = 32  # told of one secret: a file may give thousands the same


@dataclass(frozen=True, eq=False)
class Seen:
    """A secret and what is to be said of it. `fingerprint` means something within one run only.

    `elsewhere`: other entries with the same value, the first of `copies`. `connections`: those that it answers for,
    first of all.
    """

    entry: Entry
    fingerprint: str
    strength: Strength
    changed: datetime | None
    elsewhere: tuple[Entry, ...]
    copies: int
    connections: tuple[str, ...]
    answers_for_others: str

    @property
    def remarks(self) -> tuple[str, ...]:
        """What is wrong with it, in sentences without an end."""
        said = []
        if self.strength.verdict is not Verdict.STRONG:
            why = "; ".join(self.strength.reasons)
            said.append(
                f"{self.strength.verdict}: about {self.strength.bits} bits"
                + (f"; {why}" if why else "")
            )
        if self.elsewhere:
            places = ", ".join(str(each.place) for each in self.elsewhere[:3])
            more = f" and {self.copies - 3} more" if self.copies > 3 else ""
            said.append(f"the same value stands at {places}{more}")
        if len(self.connections) > 1:
            said.append(
                f"{len(self.connections)} connections use it: {', '.join(self.connections[:5])}"
            )
        if self.answers_for_others:
            said.append(f"whoever knows it may pass for any peer: {self.answers_for_others}")
        return tuple(said)


@dataclass(frozen=True, eq=False)
class Tunnel:
    """A connection that proves itself by a pre-shared key. `secrets`: those of the answer, in its order."""

    connection: Connection
    secrets: tuple[Seen, ...]
    answer: Answer

    @property
    def remarks(self) -> tuple[str, ...]:
        """What is unclear about it."""
        said = []
        if not self.secrets:
            said.append("no secret answers for it")
        if self.answer.tied:
            said.append("several secrets fit equally well: only their order in the files decides")
        if self.answer.accepted:
            said.append(f"secrets of other peers are accepted as well: {self.answer.accepted}")
        return tuple(said)


@dataclass(frozen=True, eq=False)
class Overview:
    """All that was found. `others`: secrets that answer for no connection here."""

    tunnels: tuple[Tunnel, ...]
    others: tuple[Seen, ...]
    problems: tuple[Problem, ...]

    @property
    def secrets(self) -> tuple[Seen, ...]:
        """Each secret once, those of tunnels first."""
        found = {id(seen): seen for tunnel in self.tunnels for seen in tunnel.secrets}
        return (*found.values(), *self.others)


def look(found: Found, key: Secret) -> Overview:
    """An overview of what was read. `key`: random octets, new for each run, that make the fingerprints."""
    keyring = ranking.Keyring(found.entries)
    asked = [
        (connection, keyring.answer(connection))
        for connection in found.connections
        if connection.psk
    ]
    answers = [(connection, answer) for connection, answer in asked if answer is not None]
    unknown = [connection for connection, answer in asked if answer is None]
    seen = _seen(found, answers, key)
    tunnels = tuple(
        Tunnel(connection, tuple(seen[id(entry)] for entry in answer.entries), answer)
        for connection, answer in answers
    )
    used = {id(entry) for _, answer in answers for entry in answer.entries}
    others = tuple(seen[id(entry)] for entry in found.entries if id(entry) not in used)
    return Overview(tunnels, others, (*found.problems, *_unknown(unknown)))


def _unknown(connections: Sequence[Connection]) -> Iterable[Problem]:
    if connections:
        message = (
            f"too many keys are of everybody or of patterns: which of them answers for {len(connections):,} connections"
            " was not looked at"
        )
        yield Problem(Place(connections[0].place.path, 0), message)


def _seen(
    found: Found, answers: Sequence[tuple[Connection, Answer]], key: Secret
) -> Mapping[int, Seen]:
    prints = {id(entry): fingerprint(entry.value, key) for entry in found.entries}
    same: dict[str, list[Entry]] = {}
    for entry in found.entries:
        same.setdefault(prints[id(entry)], []).append(entry)
    firsts: dict[int, list[str]] = {}
    for connection, answer in answers:
        if answer.first is not None:
            firsts.setdefault(id(answer.first), []).append(connection.name)
    own = frozenset(map(identities.folded, _own(found.connections)))
    seen = {}
    for entry in found.entries:
        shared = entry.kind is Kind.PSK
        others = (each for each in same[prints[id(entry)]] if each is not entry)
        seen[id(entry)] = Seen(
            entry=entry,
            fingerprint=prints[id(entry)],
            strength=strength.judge(
                entry.value, entry.form, [owner.value for owner in entry.owners]
            ),
            changed=found.changed.get(entry.place.path),
            elsewhere=tuple(islice(others, _MAX_ELSEWHERE)),
            copies=len(same[prints[id(entry)]]) - 1,
            connections=tuple(firsts.get(id(entry), ())),
            answers_for_others=ranking.answers_for_others(entry, own) if shared else "",
        )
    return seen


def _own(connections: Iterable[Connection]) -> Iterable[Identity]:
    for connection in connections:
        if connection.local.identity is not None and connection.local.identity.kind != "any":
            yield connection.local.identity


def fingerprint(value: Secret, key: Secret) -> str:
    """Twelve hexadecimal digits by which equal values are known as equal, and nothing can be guessed."""
    return hmac.digest(key.reveal(), value.reveal(), "sha256").hex()[:12]
