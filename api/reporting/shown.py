"""Reports as JSON. What is told one by one has the shape that the figures give it, as in every other form."""

from datetime import datetime
from typing import Any

from pydantic import Field

from api.registry import Shown
from api.v1.findings import FindingShown, finding_shown
from fleet.findings.summary import (
    AuditFigures,
    ComplianceFigures,
    GatewayFigures,
    RuleFigures,
)
from fleet.findings.told import Details, More, UnreadPlace
from fleet.monitoring.health import HealthFigures
from fleet.reporting.controls import ControlFigures, Framework
from fleet.reporting.expiring import Ending, EndingAuthority
from fleet.reporting.inventory import Listed
from fleet.reporting.psk_age import SecretAge
from fleet.reporting.revocations import Latency, RevokedCertificate


class Counts(Shown):
    """Findings by severity."""

    critical: int
    high: int
    medium: int
    low: int
    info: int


class DetailsShown(Shown):
    """What the counts stand for, the worst first."""

    findings: list[FindingShown] = Field(description="Those that are open.")
    exceptions: list[FindingShown] = Field(description="Those that somebody accepted.")
    unread: list[UnreadPlace]
    more: More


class AuditShown(Shown):
    """What the fleet's audits found."""

    made_at: datetime = Field(description="As of when it is told: `at`, or now.")
    baseline: str | None
    gateways: int
    reported: int
    late: int = Field(description="How many of them did not report for over eight days.")
    open: Counts
    accepted: Counts
    rules: list[RuleFigures]
    worst: list[GatewayFigures]
    details: DetailsShown


class Verdicts(Shown):
    """Gateways by verdict."""

    compliant: int
    excepted: int
    failing: int
    unknown: int


class BaselineShown(Shown):
    """The gateways that are audited by a baseline; null: those that never reported."""

    baseline: str | None
    gateways: int
    verdicts: Verdicts
    areas: dict[str, int] = Field(description="In how many of them something of an area fails.")


class FactShown(Shown):
    """Numbers that can stand as evidence."""

    name: str
    values: dict[str, int | str | None]
    attention: list[str] = Field(description="Which of them need a look.")
    withheld: bool = Field(description="The caller may not read what they are counted from.")


class ControlShown(Shown):
    """A control, in our words."""

    id: str
    title: str
    state: str = Field(
        description="`evidence`; `attention`: something of it needs a look; `withheld`; `nothing yet`; `not covered`."
    )
    evidence: list[str] = Field(description="Names of facts.")
    gap: str = Field(description="What is not shown by them.")


class FrameworkShown(Shown):
    """A standard, and what of it is looked at. The mapping is ours and certifies nothing."""

    id: str
    title: str
    subject: str
    controls: list[ControlShown]


class ComplianceShown(Shown):
    """Which gateways are as their baseline wants them, and for which controls there is evidence of a period."""

    made_at: datetime = Field(description="As of when: `at`, or the end of the period, or now.")
    since: datetime
    until: datetime
    baselines: list[BaselineShown]
    gateways: list[GatewayFigures]
    details: DetailsShown
    facts: list[FactShown]
    frameworks: list[FrameworkShown]


class ConnectionHealth(Shown):
    """A connection of a gateway."""

    gateway: str
    connection: str = Field(description="Empty: what is of no connection that is known.")
    worst: str | None = Field(description="The severity of the worst open alert.")
    rekeys: int
    established: int = Field(description="IKE SAs.")
    children: int = Field(description="Child SAs.")
    failed: int
    failures: dict[str, int] = Field(description="By kind, or `kind/reason`.")
    open: dict[str, int] = Field(description="Alerts that are open, by kind.")
    past: dict[str, int] = Field(description="Alerts that ended in this time, by kind.")
    authenticated_at: datetime | None = Field(
        description="The beginning of the hour in which a peer last proved who it is; null: not since `heard_at`."
    )
    heard_at: datetime | None = Field(
        description="The beginning of the hour in which it was first heard of in 31 days; null: never."
    )
    idle_hours: int | None = Field(description="How long ago that is.")


class NothingShown(Shown):
    """Why a report is empty."""

    why: str
    next_step: str


class HealthShown(Shown):
    """How tunnels fared. Sums are of all connections, also of those that are not told of."""

    made_at: datetime
    since: datetime
    until: datetime
    gateway: str | None
    connections: int
    rekeys: int
    established: int
    failed: int
    open: int
    past: int
    worst: list[ConnectionHealth]
    more: int = Field(description="How many connections are not told of.")
    nothing: NothingShown | None = Field(
        description="Where there is no connection at all: why, and what to do."
    )


class InventoryShown(Shown):
    """What there is."""

    made_at: datetime
    authorities: Listed
    gateways: Listed
    tunnels: Listed
    secrets: Listed
    in_force: Listed = Field(description="Certificates that are valid or on hold.")
    certificates: dict[str, int] = Field(
        description="By status, as the list of certificates counts them: those that are over are `expired` too."
    )
    profiles: dict[str, int] = Field(description="Certificates in force, by profile.")


class ExpiringShown(Shown):
    """What ends in a period, the soonest first."""

    made_at: datetime
    since: datetime
    until: datetime
    total: int = Field(description="Certificates that are valid or on hold.")
    renewed: int
    held: int
    authorities: list[EndingAuthority]
    certificates: list[Ending]
    more: int


class RevocationsShown(Shown):
    """What was revoked in a period, the latest first."""

    made_at: datetime
    since: datetime
    until: datetime
    revoked: int
    held: int
    reasons: dict[str, int]
    latency: Latency
    certificates: list[RevokedCertificate]
    more: int


class PskAgeShown(Shown):
    """How old shared secrets are, the oldest first."""

    made_at: datetime
    total: int
    none_yet: int
    overdue: int
    rotating: int
    oldest_days: int | None
    ages: dict[str, int] = Field(description="How many are up to how many days old.")
    secrets: list[SecretAge]
    more: int


def audit(found: AuditFigures) -> AuditShown:
    """What the audits found."""
    members = {name: getattr(found, name) for name in AuditShown.model_fields}
    return AuditShown.model_validate({**members, "details": _details(found.details)})


def compliance(found: tuple[ComplianceFigures, ControlFigures]) -> ComplianceShown:
    """Verdicts and evidence."""
    figures, held = found
    return ComplianceShown.model_validate(
        {
            "made_at": figures.made_at,
            "since": held.since,
            "until": held.until,
            "baselines": list(figures.baselines),
            "gateways": list(figures.gateways),
            "details": _details(figures.details),
            "facts": [
                {
                    "name": each.name,
                    "values": {key: _plain(value) for key, value in each.values.items()},
                    "attention": list(each.attention),
                    "withheld": each.withheld,
                }
                for each in held.facts.values()
            ],
            "frameworks": [_framework(held, each) for each in held.frameworks],
        }
    )


def health(found: HealthFigures) -> HealthShown:
    """How tunnels fared."""
    same = ConnectionHealth.model_fields.keys() - {"idle_hours"}
    rows = [
        ConnectionHealth(**{name: getattr(each, name) for name in same}, idle_hours=each.idle_hours)
        for each in found.worst
    ]
    members = {name: getattr(found, name) for name in HealthShown.model_fields}
    empty = found.nothing
    nothing = None if empty is None else NothingShown(why=empty.why, next_step=empty.next_step)
    return HealthShown(**{**members, "worst": rows, "nothing": nothing})


def _details(details: Details) -> dict[str, Any]:
    return {
        "findings": list(map(finding_shown, details.findings)),
        "exceptions": list(map(finding_shown, details.exceptions)),
        "unread": list(details.unread),
        "more": details.more,
    }


def _framework(held: ControlFigures, framework: Framework) -> dict[str, Any]:
    return {
        "id": framework.id,
        "title": framework.title,
        "subject": framework.subject,
        "controls": [
            {
                "id": each.id,
                "title": each.title,
                "state": held.state(each),
                "evidence": list(each.evidence),
                "gap": each.gap,
            }
            for each in framework.controls
        ],
    }


def _plain(value: int | str | datetime | None) -> int | str | None:
    return value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else value
