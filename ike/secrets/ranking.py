"""Which secret a daemon takes for a connection, and for whom else it would take it. Pure.

charon tries every secret that fits either end's identity when it verifies, and signs with the best: the one that fits
the peer best, then us best, then the one loaded last. pluto has one secret for both: both identities must be owners, or
the secret must be everybody's; of equal ones the first in the files.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from ike.secrets import identities
from ike.secrets.identities import Identity
from ike.secrets.values import Connection, Dialect, Entry, Kind

# charon's grades of how an identity fits an owner
_NONE, _ANYBODY, _PATTERN, _SAME = range(4)
# pluto's bits; a sum that is none of these is no match
_DEFAULT, _ANY, _REMOTE, _LOCAL = 1, 2, 4, 8
_MAX_STEPS: Final = 1_000_000  # a key compared with a connection, where no owner tells
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


class Keyring:
    """Pre-shared keys, found by their owners: a hub may have thousands, and as many connections.

    Where an identity is an owner, nothing else is compared. What then is left to compare, keys of everybody and of
    patterns with each connection, is done a million times.
    """

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._entries = entries
        self._rings = {dialect: _Ring(entries, dialect) for dialect in Dialect}
        self._known: dict[tuple[Dialect, Identity | None, Identity | None], Answer] = {}
        self._left = _MAX_STEPS

    def answer(self, connection: Connection) -> Answer | None:
        """The secrets that answer for a connection, of those of its own daemon; None where too much was compared."""
        local, remote = connection.local, connection.remote
        try:
            found = self._answer(connection.dialect, local.identity, remote.identity)
            if not found.entries and 1 in connection.versions:
                # IKEv1 in main mode: before the identities are known, the addresses have to do.
                ours, theirs = _address(local.addresses), _address(remote.addresses)
                found = self._answer(connection.dialect, ours, theirs)
        except _TooMuch:
            return None
        return found

    def _answer(self, dialect: Dialect, local: Identity | None, remote: Identity | None) -> Answer:
        asked = (dialect, _one(local), _one(remote))
        if asked not in self._known:
            rank = self._charon if dialect is Dialect.STRONGSWAN else self._pluto
            self._known[asked] = rank(*asked[1:])
        return self._known[asked]

    def _spend(self, steps: int) -> None:
        if steps > self._left:
            raise _TooMuch
        self._left -= steps

    def _charon(self, local: Identity | None, remote: Identity | None) -> Answer:
        ring = self._rings[Dialect.STRONGSWAN]
        theirs, ours = ring.owned(remote), ring.owned(local)
        if theirs:
            self._spend(len(theirs) + sum(len(ring.patterns[number]) for number in theirs))
        else:
            self._spend(len(ours) + len(ring.wide) + ring.all_patterns)
        graded = []
        for number in theirs or ours | ring.wide:
            grades = ring.grade(number, remote), ring.grade(number, local)
            if any(grades):
                graded.append((grades, number))
        # Of equal ones the one that is loaded last.
        graded.sort(reverse=True)
        best = [number for grade, number in graded if grade == graded[0][0]]
        if theirs:
            return self._told(ring, best, ring.differing(ring.value[best[0]], theirs, local))
        value = ring.value[best[0]] if best else 0
        return self._told(ring, best, sum(ring.value[number] != value for _, number in graded))

    def _pluto(self, local: Identity | None, remote: Identity | None) -> Answer:
        ring = self._rings[Dialect.LIBRESWAN]
        theirs, ours = ring.owned(remote), ring.beside(local)
        self._spend(len(theirs) + len(ours))
        best = ring.best({*theirs, *ours}, local, remote)
        if not best:  # what is everybody's is worse than all of those
            self._spend(len(ring.wide))
            best = ring.best(ring.wide, local, remote)
        value = ring.value[best[0]] if best else 0
        return self._told(ring, best, sum(ring.value[number] != value for number in best))

    def _told(self, ring: "_Ring", best: Sequence[int], differing: int) -> Answer:
        """`differing`: how many of those that fit, the best among them, have another value than the first."""
        entries = tuple(self._entries[number] for number in best)
        mine = sum(ring.value[number] != ring.value[best[0]] for number in best)
        return Answer(entries, mine > 0, differing - mine)


class _TooMuch(Exception):
    """More would be compared than the run has time for."""


class _Values:
    """Values, counted."""

    def __init__(self, values: Iterable[int]) -> None:
        self._counts = Counter(values)
        self._total = self._counts.total()

    def others(self, value: int) -> int:
        """How many are not this one."""
        return self._total - self._counts[value]


class _Ring:
    """The keys of one daemon, by their numbers among all. Keys of the same value have the same `value`."""

    def __init__(self, entries: Sequence[Entry], dialect: Dialect) -> None:
        self.owners: dict[int, frozenset[Identity]] = {}
        self.patterns: dict[int, tuple[Identity, ...]] = {}
        self.value: dict[int, int] = {}
        self.open: set[int] = set()  # of everybody
        self.wide: set[int] = set()  # of everybody, or of a pattern
        self._near: dict[Identity, set[int]] = {}  # by owner: those of nobody else, or wide
        self._of: dict[Identity, set[int]] = {}
        self._own: dict[Identity | None, _Values] = {}
        values: dict[bytes, int] = {}
        for number, entry in enumerate(entries):
            if entry.kind is Kind.PSK and entry.dialect is dialect:
                self.value[number] = values.setdefault(entry.value.reveal(), len(values))
                self._add(number, entry)
        self.all_patterns = sum(map(len, self.patterns.values()))
        self._wide_values = _Values(self.value[number] for number in self.wide)

    def _add(self, number: int, entry: Entry) -> None:
        named = [owner for owner in entry.owners if owner.kind != "any"]
        self.owners[number] = frozenset(map(identities.folded, named))
        self.patterns[number] = tuple(owner for owner in named if owner.is_pattern)
        if len(named) < len(entry.owners) or not entry.owners:
            self.open.add(number)
        if number in self.open or self.patterns[number]:
            self.wide.add(number)
        for owner in self.owners[number]:
            self._of.setdefault(owner, set()).add(number)
            if number in self.wide or len(entry.owners) == 1:
                self._near.setdefault(owner, set()).add(number)

    def owned(self, identity: Identity | None) -> set[int]:
        """The keys that an identity, folded, is an owner of."""
        return self._of.get(identity, set()) if identity is not None else set()

    def beside(self, identity: Identity | None) -> set[int]:
        """Those of them that are nobody else's, or wide."""
        return self._near.get(identity, set()) if identity is not None else set()

    def grade(self, number: int, identity: Identity | None) -> int:
        """How an identity fits a key, for charon."""
        if identity is not None:
            if identity in self.owners[number]:
                return _SAME
            if any(identities.covers(each, identity) for each in self.patterns[number]):
                return _PATTERN
        return _ANYBODY if number in self.open else _NONE

    def best(
        self, numbers: Iterable[int], local: Identity | None, remote: Identity | None
    ) -> list[int]:
        """The keys that pluto takes first of these."""
        ranked = [(-self._bits(number, local, remote), number) for number in numbers]
        fitting = sorted(each for each in ranked if -each[0] in _MATCHES)
        return [number for rank, number in fitting if rank == fitting[0][0]]

    def _bits(self, number: int, local: Identity | None, remote: Identity | None) -> int:
        owners = self.owners[number]
        found = _ANY if number in self.open else 0
        found |= _LOCAL if local in owners else 0
        found |= _REMOTE if remote in owners else 0
        if found == _LOCAL and len(owners) == 1:
            found |= _DEFAULT
        return found

    def differing(self, value: int, theirs: set[int], local: Identity | None) -> int:
        """How many have another value, of theirs, of ours and of those that are wide: counted, not looked at."""
        ours = self.owned(local)
        if local not in self._own:
            self._own[local] = _Values(self.value[number] for number in ours - self.wide)
        rest = (number for number in theirs if number not in self.wide and number not in ours)
        return (
            self._wide_values.others(value)
            + self._own[local].others(value)
            + sum(self.value[number] != value for number in rest)
        )


def _one(identity: Identity | None) -> Identity | None:
    """An identity that is one, in the spelling of the owners."""
    one = identity is not None and identity.kind != "any"
    return identities.folded(identity) if one and identity is not None else None


def _address(addresses: Sequence[str]) -> Identity | None:
    found = identities.strongswan(addresses[0]) if len(addresses) == 1 else None
    return found if found is not None and found.kind == "ip" else None


def answers_for_others(entry: Entry, own: Collection[Identity]) -> str:
    """Why whoever knows this secret may pass for any peer; empty where its owners keep it to its own.

    `own` are the identities of this gateway, folded; a set, where they may be many. charon asks whether either end's
    identity is an owner, and ours always is. pluto asks for both, unless ours stands there alone.
    """
    if not entry.owners:
        return "it has no owners"
    if any(owner.kind == "any" for owner in entry.owners):
        return "%any is among its owners"
    if entry.dialect is Dialect.LIBRESWAN and len(entry.owners) > 1:
        return ""
    for owner in entry.owners:
        if identities.folded(owner) in own:
            alone = "is its only owner" if len(entry.owners) == 1 else "is among its owners"
            return f"this gateway's own identity {alone}"
    return ""
