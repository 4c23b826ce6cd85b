"""What gateways report of their SAs, and what is refused. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from core.errors import Conflict, InvalidInput, NotFound, TooFast
from ike.events.event import SaEvent

# The worst first.
SEVERITIES: Final = ("critical", "high", "medium", "low", "info")
#: The kinds of events that say that something failed.
FAILURES: Final = (
    *("auth_failed", "cert_invalid", "cert_revoked", "crl_fetch_failed", "proposal_mismatch"),
    *("ts_unacceptable", "unknown_peer", "child_rekey_failed", "giving_up", "dpd_timeout"),
    *("ike_timeout", "half_open_limit"),
)
#: The kind of the alert that says that others are left out, because a gateway has too many.
LIMITED: Final = "alerts_limited"
#: Its likely cause, and the next step.
LIMITED_ADVICE: Final = (
    "So much is wrong at this gateway that not all of it is on record: the lesser alerts are left out.",
    "Deal with the worst alerts and with the kinds that are many; what still lasts then is shown.",
)
#: What evidence is called that is not the rules' own.
EVIDENCE: Final = frozenset({"left_out", "limit", "kinds", "unheard"})
#: A batch holds at most so many events.
MAX_EVENTS: Final = 1000
#: A gateway is heard so often in a minute; more is a fault of it, or somebody's flood through it.
PER_MINUTE: Final = 120_000
#: So many streams of a gateway are remembered, the latest.
MAX_STREAMS: Final = 16


def page_url(service: str, kind: str) -> str:
    """Where the service that has this URL tells everybody what alerts of a kind mean, and what to do."""
    return f"{service}/docs/alerts/{kind}"


class AlertState(StrEnum):
    """Where an alert stands."""

    OPEN = "open"
    ENDED = "ended"


class AlertNotFound(NotFound):
    """No alert has this number."""

    code = "alert_not_found"
    next_step = "List the alerts to see their numbers."


class AlertNotSilenced(Conflict):
    """The alert is not silenced, so that no silence can be taken back."""

    code = "alert_not_silenced"
    next_step = "Look at the alert: it is told of already."


class SilenceRefused(InvalidInput):
    """A silence without a reason, or until a time that is over or too far away."""

    code = "silence_refused"
    next_step = "Say why, and until when: a time to come, within a year."


class EventsRefused(InvalidInput):
    """A batch of events that cannot be taken as it is."""

    code = "sa_events_refused"
    next_step = (
        f"Send at most {MAX_EVENTS} events at a time, numbered without gaps from `first` on."
    )


class EventsTooFast(TooFast):
    """A gateway reports more events than one gateway may."""

    code = "sa_events_too_fast"
    next_step = "Keep the events, and send them again after the seconds in Retry-After."


class TooManyStreams(Conflict):
    """A gateway begins new streams faster than old ones may be forgotten."""

    code = "sa_streams_exhausted"
    next_step = (
        "Go on with a stream that was begun; old ones are forgotten an hour after their last event."
    )


@dataclass(frozen=True)
class Batch:
    """Events of a gateway, numbered from `first` on in its `stream`.

    Of what is before `oldest` nothing more will come. All that happened before `until` is in this batch, or in those
    before it. `settled`: nothing is on its way any more that happened before the last of them; what happened since is
    not known. `time` of an event is by the gateway's clock.
    """

    stream: str
    first: int
    events: Sequence[SaEvent]
    oldest: int = 0
    until: datetime | None = None
    settled: bool = False


@dataclass(frozen=True)
class Taken:
    """What became of a batch: how many of it are new and how many were there already; what the stream waits for."""

    stored: int
    repeated: int
    next: int
    missing: tuple[tuple[int, int], ...]
    lost: int
