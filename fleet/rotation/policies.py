"""Policies as operators give them: checked, and changed member by member."""

import zoneinfo
from dataclasses import dataclass, replace

from core.errors import InvalidInput
from fleet.rotation.values import Policy, Window

_DAYS = range(7)
_DAY = 24 * 60
_LONGEST_DAYS = 3650
_MOST_JITTER = 0.5
_MOST_HOURS = 30 * 24
_MOST_WINDOWS = 50


class PolicyRefused(InvalidInput):
    """A policy that makes no sense."""

    code = "policy_refused"
    next_step = "Correct what the message names."


@dataclass(frozen=True)
class PolicyChange:
    """What shall be otherwise; None leaves it as it is. Members as in `fleet.rotation.values.Policy`."""

    interval_days: int | None = None
    jitter: float | None = None
    windows: tuple[Window, ...] | None = None
    zone: str | None = None
    frozen: bool | None = None
    gap: bool | None = None
    proof_hours: int | None = None


def changed(policy: Policy, change: PolicyChange) -> Policy:
    """The policy after a change. Raises PolicyRefused."""
    given = {name: value for name, value in vars(change).items() if value is not None}
    return checked(replace(policy, **given))


def checked(policy: Policy) -> Policy:
    """The policy, if it makes sense. Raises PolicyRefused."""
    if not 0 <= policy.interval_days <= _LONGEST_DAYS:
        raise PolicyRefused(f"An interval is 0 (only on demand) to {_LONGEST_DAYS} days.")
    if not 0 <= policy.jitter <= _MOST_JITTER:
        raise PolicyRefused(f"The jitter is 0 to {_MOST_JITTER:.0%} of the interval.")
    if not 1 <= policy.proof_hours <= _MOST_HOURS:
        raise PolicyRefused(f"A key may wait 1 to {_MOST_HOURS} hours to be proven.")
    if len(policy.windows) > _MOST_WINDOWS:
        raise PolicyRefused(f"There are at most {_MOST_WINDOWS} windows.")
    for window in policy.windows:
        _check_window(window)
    try:
        zoneinfo.ZoneInfo(policy.zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise PolicyRefused(
            f"There is no time zone {policy.zone[:50]!r}.",
            next_step="Name it as the IANA database does: Europe/Berlin, or UTC.",
        ) from None
    return policy


def _check_window(window: Window) -> None:
    if not window.days or len(set(window.days)) != len(window.days):
        raise PolicyRefused("A window is on one day of the week at least, each named once.")
    if not set(window.days) <= set(_DAYS):
        raise PolicyRefused("Days of the week are 0 (Monday) to 6.")
    if not (0 <= window.start < _DAY and 0 <= window.end <= _DAY) or window.start == window.end:
        raise PolicyRefused("A window reaches from one time of the day to another one.")
