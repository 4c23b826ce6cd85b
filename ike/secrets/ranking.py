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
    """The secrets for a connection, the one that the daemon proves itself by first; charon takes the others from the
    peer too. `tied`: others with another value are as good, and only their order in the files decides.
    """

    entries: tuple[Entry, ...] = ()
    tied: bool = False

    @property
    def first(self) -> Entry | None:
        """The secret that the daemon proves itself by; None where none fits."""
        return self.entries[0] if self.entries else None


def same_value(one: Entry, other: Entry) -> bool:
    """Whether two entries hold the same secret."""
    return hmac.compare_digest(one.value.reveal(), other.value.reveal())


def answer(connection: Connection, entries: Sequence[Entry]) -> Answer:
    """The secrets that answer for a connection, of those of its own daemon."""
    local, remote = connection.local, connection.remote
    fitting = [
        entry for entry in entries if entry.kind is Kind.PSK and entry.dialect is connection.dialect
    ]
    rank = _charon if connection.dialect is Dialect.STRONGSWAN else _pluto
    found = rank(fitting, local.identity, remote.identity)
    if not found.entries and 1 in connection.versions:
        # IKEv1 in main mode: before the identities are known, the addresses have to do.
        found = rank(fitting, _address(local.addresses), _address(remote.addresses))
    return found


def _address(addresses: Sequence[str]) -> Identity | None:
    found = identities.strongswan(addresses[0]) if len(addresses) == 1 else None
    return found if found is not None and found.kind == "ip" else None


def _charon(entries: Sequence[Entry], local: Identity | None, remote: Identity | None) -> Answer:
    graded = []
    for number, entry in enumerate(entries):
        ours, theirs = _grade(entry.owners, local), _grade(entry.owners, remote)
        if ours or theirs:
            graded.append(((theirs, ours), number, entry))
    graded.sort(key=lambda each: (each[0], each[1]), reverse=True)
    return _told([(rank, entry) for rank, _, entry in graded])


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


def _pluto(entries: Sequence[Entry], local: Identity | None, remote: Identity | None) -> Answer:
    graded = []
    for number, entry in enumerate(entries):
        rank = _bits(entry.owners, local, remote)
        if rank in _MATCHES:
            graded.append((-rank, number, entry))
    graded.sort(key=lambda each: each[:2])
    told = _told([(rank, entry) for rank, _, entry in graded])
    return Answer(told.entries[:1], told.tied)


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


def _told(ranked: Sequence[tuple[object, Entry]]) -> Answer:
    best = [entry for rank, entry in ranked if rank == ranked[0][0]]
    tied = any(not same_value(best[0], each) for each in best[1:])
    return Answer(tuple(entry for _, entry in ranked), tied)


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
