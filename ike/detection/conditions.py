"""Conditions: opened by a first sign, kept by further ones, ended by a clear one or by quiet.

What is cleared ends when it has not come back for some minutes: who fails and succeeds in turn, as often as he likes,
is one condition and no series of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from ike.detection.advice import advice
from ike.detection.alert import KINDS, LESSER, PERSONAL, Alert

#: A variant that says how seldom the signs are, which holds as long as they are.
SLOW: Final = "slow"
#: Lines that an alert names.
MOST_LINES: Final = 20
#: Seconds without a sign after which a condition has ended; a kind that is not here ends by a clear sign alone.
QUIET: Final[Mapping[str, float]] = {
    "rekey_too_fast": 3 * 3600.0,
    "sa_flapping": 1800.0,
    "rekey_collisions": 6 * 3600.0,
    "auth_failures": 3600.0,
    "auth_guessing": 1800.0,
    "half_open_flood": 300.0,
    "proposal_mismatch": 3600.0,
    "unknown_peers": 3600.0,
    "dpd_flapping": 3600.0,
    "retransmit_storm": 1800.0,
    "peer_unreachable": 24 * 3600.0,
    "certificate_rejected": 3600.0,
    "revocation_unchecked": 24 * 3600.0,
    "identity_conflict": 3600.0,
    "sa_shared": 3600.0,
    "rotation_failed": 3600.0,
    "clock": 3600.0,
    "events_lost": 3600.0,
}
#: The same where its signs are so seldom that a day is needed to count them.
SLOW_QUIET: Final = 12 * 3600.0
#: Seconds for which a condition is still open that was cleared, as it may come back.
MARGIN: Final = 300.0
#: Kinds that end when they are cleared: an act of ours waits for it, or the next one may be worse.
_AT_ONCE: Final = frozenset({"rotation_failed", "downgrade"})
#: Such conditions of one kind and connection.
MOST_APART: Final = 64
#: Numbers that each further sign makes greater by one, where the rule counts in a window.
_GROWING: Final = frozenset({"attempts", "requests", "refusals", "rekeys", "authentications"})
#: Kinds that are about identities which prove nothing: some of them are named, by their first characters.
_CLAIMING: Final = frozenset({"auth_guessing", "unknown_peers"})
_MOST_CLAIMED, _LONGEST_CLAIM = 8, 256
#: Ended alerts that are kept until `forget`.
MOST_ENDED: Final = 10_000

Key = tuple[str, str | None, str | None, str | None]


@dataclass(frozen=True, slots=True)
class Place:
    """Where: what stands in an alert. `sender` is one of many, who makes no condition of its own."""

    gateway: str | None
    connection: str | None = None
    peer: str | None = None
    identity: str | None = None
    sender: str | None = None


@dataclass(slots=True)
class Condition:
    """One condition; `last` is when its last sign was seen."""

    kind: str
    gateway: str | None
    connection: str | None
    peer: str | None
    identity: str | None
    start: float | None
    last: float | None
    variant: str
    end: float | None = None
    evidence: dict[str, object] = field(default_factory=dict)
    lines: list[int] = field(default_factory=list)
    updates: int = 0
    raised: float | None = None
    peers: list[str] = field(default_factory=list)
    claimed: list[str] = field(default_factory=list)  # identities, which prove nothing
    common: bool = False
    who: str | None = None  # of the peers of its connection, by identity or else by address
    cleared: float | None = None  # when the contrary was seen
    slow: bool = False  # the next sign may take hours

    def alert(self, now: float | None = None) -> Alert:
        """As the operator gets it; `now` is up to when the gateway was heard."""
        cause, next_step = advice(self.kind, self.variant)
        evidence = dict(self.evidence)
        until, age = self.end or now, evidence.get("age_seconds")
        if isinstance(age, int) and self.start is not None and until is not None:
            evidence["age_seconds"] = max(age, round(until - self.start))
        if self.common and self.peers:
            evidence.setdefault("sources", len(self.peers))
        if len(self.peers) > 1:
            evidence["peers"] = list(self.peers)
        if self.claimed:
            evidence["claimed_identities"] = list(self.claimed)
        return Alert(
            self.kind,
            LESSER.get((self.kind, self.variant), KINDS[self.kind]),
            self.connection,
            self._peer,
            self.start,
            self.end,
            evidence,
            tuple(self.lines),
            cause,
            next_step,
            self.gateway,
            self.identity,
            self.updates,
            self.raised,
            self.common,
            self.who,
        )

    @property
    def _peer(self) -> str | None:
        if self.common:
            return self.peers[0] if len(self.peers) == 1 else None
        return self.peer

    def add(self, evidence: Mapping[str, object]) -> None:
        """What one more sign shows."""
        for name, value in evidence.items():
            before = self.evidence.get(name)
            self.evidence[name] = value if self.common else _merged(name, before, value)

    def vary(self, variant: str) -> None:
        """Speak as the newest sign does: not of less severity, and not of one where many are at it."""
        falls = (self.kind, variant) in LESSER and (self.kind, self.variant) not in LESSER
        narrows = self.common and not variant and self.variant != SLOW
        if not falls and not narrows:
            self.variant = variant

    def name(self, place: Place) -> None:
        """Whom one more sign is about, as far as there is room."""
        who = place.peer or place.sender
        if who and who not in self.peers and len(self.peers) < 16:
            self.peers.append(who)
        claimed = (place.identity or "")[:_LONGEST_CLAIM] if self.kind in _CLAIMING else ""
        if claimed and claimed not in self.claimed and len(self.claimed) < _MOST_CLAIMED:
            self.claimed.append(claimed)
        if self.common and place.identity != self.identity:
            self.identity = None
        if self.kind in PERSONAL and self.identity is None and not self.common:
            self.identity = place.identity

    def is_of(self, place: Place) -> bool:
        """Is it about the peer at `place`? By identity where both are known, as a peer may move; else by address."""
        if self.identity is not None and place.identity is not None:
            return self.identity == place.identity
        return place.peer is None or not self.peers or place.peer in self.peers

    @property
    def until(self) -> float | None:
        """Where it is over: since when."""
        return self.last if self.cleared is None else self.cleared

    def over(self, now: float) -> bool:
        """Has it been quiet, or the contrary, for long enough?"""
        if self.cleared is not None and now - self.cleared > MARGIN:
            return True
        quiet = SLOW_QUIET if self.slow else QUIET.get(self.kind)
        return quiet is not None and self.last is not None and now - self.last > quiet


@dataclass(slots=True)
class Conditions:
    """All conditions of one gateway, open and ended."""

    opened: dict[Key, Condition] = field(default_factory=dict)
    ended: list[Condition] = field(default_factory=list)
    # Open conditions about one peer of a connection, by kind, gateway and connection.
    apart: dict[tuple[str, str | None, str | None], list[Key]] = field(default_factory=dict)

    def sign(
        self,
        kind: str,
        place: Place,
        at: float | None,
        lines: Sequence[int],
        evidence: Mapping[str, object],
        since: float | None = None,
        variant: str = "",
        slow: bool = False,
    ) -> None:
        """One more sign of `kind`: opens the condition or updates it. `slow`: the next one may take hours."""
        key = self._key(kind, place)
        there = self.opened.get(key)
        if there is not None and at is not None and there.over(at):
            self._end(key, there.until)
            there = None
        if there is None:
            start = at if since is None else since
            there = Condition(
                kind,
                place.gateway,
                place.connection,
                place.peer,
                place.identity,
                start,
                at,
                variant,
                raised=at,
                common=place.sender is not None,
                who=key[3] if place.connection is not None else None,
            )
            self.opened[key] = there
            if key[3] is not None and kind in PERSONAL:
                self.apart.setdefault(key[:3], []).append(key)
        there.cleared = None
        there.slow = slow or (there.slow and not there.common)
        there.last = at if there.last is None or at is None else max(there.last, at)
        there.updates += 1
        there.add(evidence)
        there.vary(variant)
        for line in lines:
            if len(there.lines) >= MOST_LINES:
                break
            if line not in there.lines:
                there.lines.append(line)
        there.name(place)

    def is_open(self, kind: str, place: Place) -> bool:
        """Does it last?"""
        return self.find(kind, place) is not None

    def find(self, kind: str, place: Place) -> Condition | None:
        """The one that lasts there."""
        return self.opened.get(self._key(kind, place))

    def is_full(self, kind: str, place: Place) -> bool:
        """Are there so many of the connection's peers that one more gets no condition of its own?"""
        there = self.apart.get((kind, place.gateway, place.connection), ())
        return len(there) >= MOST_APART and self._key(kind, place) not in there

    def clear(self, kind: str, place: Place, at: float | None, *, only: bool = False) -> None:
        """It is over: the contrary was seen. At an `only` peer's address whatever identity it shows."""
        one = kind not in PERSONAL or place.connection is None
        over = [_key(kind, place)] if one else []
        for key in self.apart.get((kind, place.gateway, place.connection), ()):
            there = self.opened[key]
            if there.is_of(place) or (only and place.peer in there.peers):
                over.append(key)
        for key in over:
            if key in self.opened:
                self._clear(key, at)
        # Strangers' is over where there was one, and that is none.
        common = self.opened.get((kind, place.gateway, None, None))
        if common is not None and common.common and common.peers == [place.peer]:
            self._clear((kind, place.gateway, None, None), at)

    def settle(self, now: float) -> None:
        """End what is over."""
        for key in [key for key, each in self.opened.items() if each.over(now)]:
            self._end(key, self.opened[key].until)

    def close(self) -> None:
        """Nothing follows: what was cleared does not come back."""
        for key in [key for key, each in self.opened.items() if each.cleared is not None]:
            self._end(key, self.opened[key].cleared)

    def _clear(self, key: Key, at: float | None) -> None:
        there = self.opened[key]
        if at is None or there.kind in _AT_ONCE:
            self._end(key, at)
        elif there.cleared is None:
            there.cleared = at

    def _end(self, key: Key, at: float | None) -> None:
        condition = self.opened.pop(key)
        those = self.apart.get(key[:3], [])
        if key in those:
            those.remove(key)
            if not those:
                del self.apart[key[:3]]
        condition.end = at
        self.ended.append(condition)
        if len(self.ended) > MOST_ENDED:
            del self.ended[0]

    def _key(self, kind: str, place: Place) -> Key:
        """That of the condition that is open, or of a new one."""
        if kind not in PERSONAL or place.connection is None or place.sender is not None:
            return _key(kind, place)
        those = self.apart.get((kind, place.gateway, place.connection), ())
        fit = [key for key in those if self.opened[key].is_of(place)]
        if place.identity is not None:  # rather its own than one that shows none
            fit.sort(key=lambda key: self.opened[key].identity is None)
        who = place.identity or place.peer or ""
        return fit[0] if fit else (kind, place.gateway, place.connection, who)


def _merged(name: str, before: object, value: object) -> object:
    """A number of a condition that was `before`, and is `value` by its latest sign alone."""
    if not isinstance(before, int | float) or not isinstance(value, int | float):
        return value
    if name in _GROWING:
        return max(before + 1, value)
    if name == "shortest_seconds":
        return min(before, value)
    return max(before, value) if name == "longest_seconds" else value


def _key(kind: str, place: Place) -> Key:
    # As Alert.key: the peer counts where no connection is known.
    return (
        kind,
        place.gateway,
        place.connection,
        place.peer if place.connection is None else None,
    )
