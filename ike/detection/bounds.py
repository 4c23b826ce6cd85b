"""What is normal for a connection: from its configuration where known, learned from its own past where not.

A rekey is a bounded renewal, not a random arrival: each end draws its instant from
[rekey_time - rand_time, rekey_time], and the earlier one rekeys. So the lower bound is hard, and so is the
end of life. Where nobody told the configuration, a low quantile of the ages seen stands for the bound.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

#: charon draws up to one second before rekey_time - rand_time, and logs in whole seconds.
SLACK: Final = 2.0
#: What a late line, a slow peer or a retried rekey may take beyond the end of life.
GRACE: Final = 60.0
#: Ages of SAs at their rekey that are kept, and how many make a bound.
KEPT: Final = 16
ENOUGH: Final = 5
#: Of one configuration, ages differ by the jitter: rarely by half. Below this share of the least is below the bound.
_BELOW: Final = 0.75
_ABOVE: Final = 1.5
#: Whoever changes a lifetime makes it a half or a third; a learned bound that sinks further is led there.
_SUNK: Final = 0.2


@dataclass(frozen=True, slots=True)
class Lifetime:
    """Seconds: rekeyed at `rekey_time` less up to `rand_time`, gone at `life_time`.

    Of both ends, give the smaller `rekey_time - rand_time` and the smaller `life_time`.
    """

    rekey_time: float
    rand_time: float = 0.0
    life_time: float | None = None

    @property
    def lower(self) -> float:
        """No SA is rekeyed by its timer before this age."""
        return self.rekey_time - self.rand_time

    @property
    def upper(self) -> float:
        """An SA that is older was not rekeyed."""
        return (self.rekey_time * 1.1 if self.life_time is None else self.life_time) + GRACE


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the configuration of one connection says; None: not known. Of several Child SAs, the shortest lifetimes."""

    ike: Lifetime | None = None
    child: Lifetime | None = None
    reauth_time: float | None = None
    rekey_bytes: int | None = None

    @classmethod
    def of(cls, shown: Mapping[str, Any]) -> "Bounds":
        """From its JSON form: the names of the fields, lifetimes as objects."""
        ike, child = shown.get("ike"), shown.get("child")
        return cls(
            Lifetime(**ike) if ike else None,
            Lifetime(**child) if child else None,
            shown.get("reauth_time"),
            shown.get("rekey_bytes"),
        )


#: Nothing is known.
UNKNOWN: Final = Bounds()


@dataclass(frozen=True, slots=True)
class Planned:
    """What we do ourselves: `purpose` is "rotation", "renewal", "cut" (the peer is refused, because we revoked its
    certificate) or "maintenance"; None as name: any but those of `besides`.
    """

    start: float
    end: float
    connection: str | None = None
    gateway: str | None = None
    purpose: str = "rotation"
    besides: frozenset[str] = frozenset()

    def covers(self, at: float, gateway: str | None, connection: str | None) -> bool:
        """Is it about this moment and place?"""
        return (
            self.start <= at <= self.end
            and self.gateway in (None, gateway)
            and self.connection in (None, connection)
            and connection not in self.besides
        )


def learned_lower(ages: Sequence[float]) -> float | None:
    """Below which age a rekey would be new for this connection: from the second least, so one odd one is no bound."""
    if len(ages) < ENOUGH:
        return None
    return _BELOW * sorted(ages)[1]


def learned_least(lower: float) -> float:
    """Below which age no later bound is learned, where it once was `lower`."""
    return _SUNK * lower


def learned_upper(longest: float) -> float:
    """Above which age an SA was not rekeyed, by the longest that this connection took so far."""
    return _ABOVE * longest + GRACE


def steady(ages: Sequence[float], spread: float = 1.5) -> bool:
    """Do the ages look like one lifetime with jitter?"""
    return min(ages) > 0 and max(ages) <= spread * min(ages)
