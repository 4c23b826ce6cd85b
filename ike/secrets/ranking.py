"""Which secret a daemon takes for a connection, and for whom else it would take it. Pure.

charon tries every secret that fits either end's identity when it verifies, and signs with the best: the one that fits
the peer best, then us best, then the one loaded last. pluto has one secret for both: both identities must be owners, or
the secret must be everybody's; of equal ones the first in the files.
"""

import hmac
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from ike.secrets import identities
from ike.secrets.identities import Identity
from ike.secrets.values import Connection, Dialect, Entry, Kind

# charon's grades of how an identity fits an owner
_NONE, _ANYBODY, _PATTERN, _SAME = range(4)
# pluto's bits; a sum that is none of these is no match
_DEFAULT, _ANY, _REMOTE, _LOCAL = 1, 2, 4, 8
_MATCHES: Final = frozenset(
    {_DEFAULT, _ANY, _LOCAL | _DEFAULT, _LOCAL | _ANY, _REMOTE | _ANY, _LOCAL | _REMOTE}
)


@dataclass(frozen=True)
class Answer:
    """The secrets that fit a connection best, the one that the daemon proves itself by first.

    `tied`: others of them have another value, and only their order in the files decides. `accepted`: how many more
    charon would take from the peer.
    """

    entries: tuple[Entry, ...] = ()
    tied: bool = False
    accepted: int = 0

    @property
    def first(self) -> Entry | None:
        """The secret that the daemon proves itself by; None where none fits."""
        return self.entries[0] if self.entries else None


def same_value(one: Entry, other: Entry) -> bool:
    """Whether two entries hold the same secret."""
    return hmac.compare_digest(one.value.reveal(), other.value.reveal())


class Keyring:
    """Pre-shared keys, found by their owners: a hub may have thousands."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._entries = entries
        self._of: dict[tuple[Dialect, Identity], list[int]] = {}
        self._wide: dict[Dialect, list[int]] = {dialect: [] for dialect in Dialect}
        for number, entry in enumerate(entries):
            if entry.kind is Kind.PSK:
                if not entry.owners or any(owner.is_pattern for owner in entry.owners):
                    self._wide[entry.dialect].append(number)
                for owner in entry.owners:
                    self._of.setdefault((entry.dialect, identities.folded(owner)), []).append(
                        number
                    )

    def answer(self, connection: Connection) -> Answer:
        """The secrets that answer for a connection, of those of its own daemon."""
        local, remote = connection.local, connection.remote
        rank = self._charon if connection.dialect is Dialect.STRONGSWAN else self._pluto
        found = rank(local.identity, remote.identity)
        if not found.entries and 1 in connection.versions:
            # IKEv1 in main mode: before the identities are known, the addresses have to do.
            found = rank(_address(local.addresses), _address(remote.addresses))
        return found

    def _owned(self, dialect: Dialect, identity: Identity | None) -> list[int]:
        if identity is None or identity.kind == "any":
            return []
        return self._of.get((dialect, identities.folded(identity)), [])

    def _charon(self, local: Identity | None, remote: Identity | None) -> Answer:
        theirs = self._owned(Dialect.STRONGSWAN, remote)
        wide = self._wide[Dialect.STRONGSWAN]
        near = {*theirs, *self._owned(Dialect.STRONGSWAN, local), *wide}
        graded = []
        for number in set(theirs) or near:
            owners = self._entries[number].owners
            grades = _grade(owners, remote), _grade(owners, local)
            if any(grades):
                graded.append((grades, number))
        # Of equal ones the one that is loaded last.
        graded.sort(reverse=True)
        fitting = near if theirs else {number for _, number in graded}
        return self._told([number for grade, number in graded if grade == graded[0][0]], fitting)

    def _pluto(self, local: Identity | None, remote: Identity | None) -> Answer:
        ours = self._owned(Dialect.LIBRESWAN, local)
        alone = [number for number in ours if len(self._entries[number].owners) == 1]
        wide = self._wide[Dialect.LIBRESWAN]
        graded = []
        for number in {*self._owned(Dialect.LIBRESWAN, remote), *alone, *wide}:
            rank = _bits(self._entries[number].owners, local, remote)
            if rank in _MATCHES:
                graded.append((-rank, number))
        graded.sort()
        best = [number for rank, number in graded if rank == graded[0][0]]
        return self._told(best, set(best))

    def _told(self, best: Sequence[int], fitting: set[int]) -> Answer:
        entries = tuple(self._entries[number] for number in best)
        tied = any(not same_value(entries[0], each) for each in entries[1:])
        others = fitting.difference(best)
        more = sum(not same_value(entries[0], self._entries[number]) for number in others)
        return Answer(entries, tied, more)


def _address(addresses: Sequence[str]) -> Identity | None:
    found = identities.strongswan(addresses[0]) if len(addresses) == 1 else None
    return found if found is not None and found.kind == "ip" else None


def _grade(owners: Sequence[Identity], identity: Identity | None) -> int:
    if not owners:
        return _ANYBODY
    return max(_grade_of(owner, identity) for owner in owners)


def _grade_of(owner: Identity, identity: Identity | None) -> int:
    if owner.kind == "any":
        return _ANYBODY
    if identity is None or identity.kind == "any":
        return _NONE
    if identities.equal(owner, identity):
        return _SAME
    return _PATTERN if identities.covers(owner, identity) else _NONE


def _bits(owners: Sequence[Identity], local: Identity | None, remote: Identity | None) -> int:
    if not owners:
        return _ANY
    found = 0
    for owner in owners:
        if owner.kind == "any":
            found |= _ANY
        else:
            found |= _LOCAL if local is not None and identities.equal(owner, local) else 0
            found |= _REMOTE if remote is not None and identities.equal(owner, remote) else 0
    if found == _LOCAL and len(owners) == 1:
        found |= _DEFAULT
    return found


def answers_for_others(entry: Entry, own: Iterable[Identity]) -> str:
    """Why whoever knows this secret may pass for any peer; empty where its owners keep it to its own.

    `own` are the identities of this gateway. charon asks whether either end's identity is an owner, and ours always is.
    pluto asks for both, unless ours stands there alone.
    """
    if not entry.owners:
        return "it has no owners"
    if any(owner.kind == "any" for owner in entry.owners):
        return "%any is among its owners"
    if entry.dialect is Dialect.LIBRESWAN and len(entry.owners) > 1:
        return ""
    for owner in entry.owners:
        if any(identities.equal(owner, each) for each in own):
            alone = "is its only owner" if len(entry.owners) == 1 else "is among its owners"
            return f"this gateway's own identity {alone}"
    return ""
