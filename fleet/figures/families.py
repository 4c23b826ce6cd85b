"""What is counted of shared secrets, findings and SAs, as families of figures."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Final

from core.escaping import escaped
from core.figures import Figure, Labels, counter, gauge
from fleet import census
from fleet.findings import summary
from fleet.monitoring import shown as monitoring
from fleet.rotation import ages, shown
from fleet.rotation.values import ENDED, State
from ike.detection.alert import KINDS
from pki import census as certificates
from pki.actors import Actor
from pki.desk import Desk

SECRETS: Final = gauge(
    "shared_secrets",
    "Shared secrets under management: all, and of them those due and not begun, and those frozen.",
    "which",
)
OLDEST: Final = gauge(
    "shared_secret_oldest_seconds", "Since when the key that is longest in use is."
)
RUNNING: Final = gauge("rotations_running", "Rotations under way, by state.", "state")
ROTATED: Final = counter(
    "rotations_ended",
    "Rotations that ended, by how: retired (done), rolled_back, cancelled.",
    "state",
)
FINDINGS: Final = gauge(
    "findings",
    "Findings of audits on gateways by state (open, accepted) and severity; fixed ones are not counted.",
    "state",
    "severity",
)
AUDITED: Final = gauge(
    "audited_gateways",
    "Gateways by their audits: reported; late, for over eight days; missing, who never reported.",
    "which",
)
EVENTS: Final = counter("sa_events", "Events of SAs that gateways reported, by kind.", "kind")
FAILURES: Final = counter(
    "sa_failures",
    "Events of SAs that say that something failed, by kind and reason, which is empty where none was told.",
    "kind",
    "reason",
)
REKEYS: Final = counter(
    "rekeys",
    "Rekeyed and reauthenticated SAs by kind. Where connections are over 20,000 series, connection is empty; where"
    " gateways are, gateway too.",
    "gateway",
    "connection",
    "kind",
)
MESSAGES: Final = counter(
    "ike_messages",
    "IKE messages that a daemon counted and tells no event of: malformed, unknown_spi, refused, lost, left_out, other."
    " Where gateways are over 20,000 series, gateway is empty.",
    "gateway",
    "what",
)
ALERTS: Final = gauge(
    "sa_alerts_open", "Alerts whose condition lasts, by kind and severity.", "kind", "severity"
)
LEFT_OUT: Final = gauge(
    "sa_alerts_left_out",
    "Conditions that last and that a gateway has no room for among its open alerts. Where gateways are over 1,000,"
    " gateway is empty.",
    "gateway",
)
GATHERED: Final = (
    *certificates.FAMILIES,
    *census.FAMILIES,
    *(SECRETS, OLDEST, *ages.FAMILIES, RUNNING, ROTATED),
    *(FINDINGS, AUDITED),
    *(EVENTS, FAILURES, REKEYS, MESSAGES, ALERTS, LEFT_OUT),
)
_MOST_LEFT_OUT: Final = 1_000


def count(desk: Desk, actor: Actor, *, now: datetime) -> list[Figure]:
    """Count everything anew; for a limited credential what it may see. Raises RoleMayNot."""
    return [
        *certificates.figures(desk, actor, now=now),
        *census.figures(desk, actor, now=now),
        *_rotation(desk, actor, now),
        *ages.figures(desk, actor, now=now),
        *_findings(desk, actor, now),
        *_monitoring(desk, actor),
    ]


def _rotation(desk: Desk, actor: Actor, now: datetime) -> Iterator[Figure]:
    found = shown.figures(desk, actor, now=now)
    yield SECRETS.figure({(which,): getattr(found, which) for which in ("all", "due", "frozen")})
    if found.oldest_at is not None:
        yield OLDEST.value((now - found.oldest_at).total_seconds())
    states = {state: found.states.get(state, 0) for state in State}
    yield RUNNING.figure({(each,): n for each, n in states.items() if each not in ENDED})
    yield ROTATED.figure({(each,): n for each, n in states.items() if each in ENDED})


def _findings(desk: Desk, actor: Actor, now: datetime) -> Iterator[Figure]:
    found = summary.figures(desk, actor, now=now)
    yield FINDINGS.figure(
        {
            (state, severity): number
            for state, those in (("open", found.open), ("accepted", found.accepted))
            for severity, number in those.items()
        }
    )
    yield AUDITED.figure(
        {(each,): getattr(found, each) for each in ("reported", "late", "missing")}
    )


def _monitoring(desk: Desk, actor: Actor) -> Iterator[Figure]:
    found = monitoring.figures(desk, actor)
    yield EVENTS.figure({(kind,): number for kind, number in sorted(found.events.items())})
    yield FAILURES.figure(dict(sorted(found.failures.items())))
    # Names come from logs. Two that are written alike would be one series told twice, which ends a scrape.
    written: Counter[Labels] = Counter()
    for (gateway, name, kind), number in found.rekeys.items():
        written[gateway, escaped(name), kind] += number
    yield REKEYS.figure(dict(sorted(written.items())))
    yield MESSAGES.figure(dict(sorted(found.counters.items())))
    # Also where there is none: a series that comes and goes is no zero to who watches it.
    known: dict[Labels, float] = dict.fromkeys(KINDS.items(), 0)
    yield ALERTS.figure(known | dict(found.open))
    left_out: dict[Labels, float] = {(each,): n for each, n in sorted(found.left_out.items())}
    if len(left_out) > _MOST_LEFT_OUT:
        left_out = {("",): sum(left_out.values())}
    yield LEFT_OUT.figure(left_out)
