"""What needs a person now, and how the fleet stands: counts, each with the search that finds what it counts."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Select, and_, case, func, select

from fleet import gateways as fleet_gateways
from fleet.findings.values import State as FindingState
from fleet.monitoring import hours
from fleet.monitoring.values import SEVERITIES, AlertState
from fleet.rotation.values import State as RotationState
from fleet.scopes import within
from pki import health, history
from pki.actors import GRANTS, Action, Actor, require
from pki.certificate_ids import CertificateQuery, conditions
from pki.certificates import within as certificates_within
from pki.desk import Desk
from pki.guarded import State as ApprovalState
from pki.health import AuthorityHealth
from store.approval_tables import approvals
from store.finding_tables import findings
from store.fleet_tables import gateways, tunnels
from store.monitoring_tables import sa_alerts, sa_counts
from store.rotation_tables import rotations, secret_slots, secrets
from store.tables import certificates, outbox

#: More than so many are not counted where that would take long.
COUNTED: Final = 1_000
_NAMED: Final = 5
_SOON: Final = timedelta(days=14)
_AUTHORITY_SOON: Final = timedelta(days=90)
_LATELY: Final = timedelta(days=1)
_DAYS, _WEEKS = 14, 24
_AGES: Final = (30, 60, 90, 180, 365)


@dataclass(frozen=True)
class Need:
    """Something that needs a person where `count` is not 0, up to `COUNTED` (`is_more`: there is more). `path` and
    `query` are the request of REST that lists what was counted. `about` names some of it.
    """

    kind: str
    severity: str
    count: int
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    is_more: bool = False
    about: tuple[str, ...] = ()


@dataclass(frozen=True)
class Span:
    """Valid certificates that end from `begin` on and before `end`, which is None for all later ones."""

    begin: datetime
    end: datetime | None
    count: int


@dataclass(frozen=True)
class Age:
    """Shared secrets in use for `days` and more, up to `below` days, which is None for all older ones."""

    days: int
    below: int | None
    count: int


@dataclass(frozen=True)
class Overview:
    """What a caller may know. A need is among `needs` also where it counts nothing: then that is well. What the caller
    may not read is None, or not there.
    """

    made_at: datetime
    needs: tuple[Need, ...]
    authorities: tuple[AuthorityHealth, ...] | None
    expiry: tuple[Span, ...] | None
    key_ages: tuple[Age, ...] | None
    rekeys: Mapping[datetime, int] | None


def overview(desk: Desk, actor: Actor, *, now: datetime) -> Overview:
    """Look at everything; a credential of one gateway sees what is of that gateway. Raises RoleMayNot."""
    require(actor, Action.METRICS_READ)
    known = health.look(desk, actor, now=now) if _may(actor, Action.AUTHORITY_READ) else None
    needs = [] if known is None else list(_of_authorities(known, now))
    if _may(actor, Action.JOB_READ) and actor.scope.gateway is None:
        needs += _of_jobs(desk, actor)
    with desk.store.read() as connection:
        look = _Look(connection, actor, now, now - desk.rules.unreachable_after)
        for action, count in _COUNTS:
            if _may(actor, action):
                needs += count(look)
        return Overview(
            made_at=now,
            needs=tuple(sorted(needs, key=_urgency)),
            authorities=known,
            expiry=look.expiry()
            if _may(actor, Action.CERTIFICATE_READ) and actor.scope.names is None
            else None,
            key_ages=look.key_ages() if _may(actor, Action.SECRET_READ) else None,
            rekeys=look.rekeys() if _may(actor, Action.SA_READ) else None,
        )


def _may(actor: Actor, action: Action) -> bool:
    return action in GRANTS[actor.role]


def _urgency(need: Need) -> tuple[bool, int, str]:
    return need.count == 0, SEVERITIES.index(need.severity), need.kind


def _of_authorities(known: tuple[AuthorityHealth, ...], now: datetime) -> Iterator[Need]:
    path = "/v1/authorities"
    for kind, severity, those in (
        ("lists_late", "critical", [each.name for each in known if each.lists_are_late(now)]),
        ("ocsp_late", "critical", [each.name for each in known if each.ocsp_is_late(now)]),
        (
            "authorities_expiring",
            "high",
            [
                each.name
                for each in known
                if each.status == "active" and each.ends_at <= now + _AUTHORITY_SOON
            ],
        ),
    ):
        yield Need(kind, severity, len(those), path, about=tuple(those))


def _of_jobs(desk: Desk, actor: Actor) -> Iterator[Need]:
    failed = [each.job for each in history.job_states(desk, actor) if each.outcome == "failed"]
    yield Need("jobs_failed", "high", len(failed), "/v1/jobs", about=tuple(failed))


@dataclass(frozen=True)
class _Look:
    connection: Connection
    actor: Actor
    now: datetime
    horizon: datetime

    def count(
        self, query: Select[Any], name: ColumnElement[str] | None = None
    ) -> Mapping[str, Any]:
        """As many as there are, up to `COUNTED`, with some of their names."""
        some = query.limit(COUNTED + 1).subquery()
        found = int(self.connection.scalar(select(func.count()).select_from(some)) or 0)
        about: Sequence[str] = ()
        if found and name is not None:
            about = self.connection.scalars(query.with_only_columns(name).limit(_NAMED)).all()
        return {
            "count": min(found, COUNTED),
            "is_more": found > COUNTED,
            "about": tuple(dict.fromkeys(about)),
        }

    @property
    def is_whole(self) -> bool:
        """Whether the caller sees more than one gateway."""
        return self.actor.scope.gateway is None

    def certificates(self) -> Iterator[Need]:
        if self.actor.scope.names is not None:
            return  # patterns of names are no business of SQL, and those of others not of this caller
        until = (self.now + _SOON).replace(microsecond=0)
        meant = CertificateQuery(status="valid", expires_before=until, renewed=False)
        those = select(certificates.c.id).where(
            *conditions(meant, self.now), *certificates_within(self.actor.scope)
        )
        query = {"status": "valid", "expires_before": _written(until), "renewed": "false"}
        name = func.coalesce(certificates.c.gateway, certificates.c.subject)
        yield Need(
            "certificates_expiring",
            "high",
            path="/v1/certificates",
            query=query,
            **self.count(those, name),
        )

    def gateways(self) -> Iterator[Need]:
        for status, severity in (("unreachable", "high"), ("no_certificate", "high")):
            those = fleet_gateways.counted(self.now).where(
                fleet_gateways.has_status(status, self.horizon),
                within(self.actor, gateways.c.id),
            )
            kind, query = f"gateways_{status}", {"status": status}
            yield Need(
                kind,
                severity,
                path="/v1/gateways",
                query=query,
                **self.count(those, gateways.c.name),
            )

    def alerts(self) -> Iterator[Need]:
        for severity in SEVERITIES[:2]:
            those = (
                select(sa_alerts.c.id)
                .join(gateways, gateways.c.id == sa_alerts.c.gateway_id)
                .where(
                    sa_alerts.c.state == AlertState.OPEN,
                    sa_alerts.c.rank == SEVERITIES.index(severity),
                    sa_alerts.c.silenced_until.is_(None),
                    within(self.actor, sa_alerts.c.gateway_id),
                )
            )
            query = {"state": "open", "severity": severity, "silenced": "false"}
            yield Need(
                f"alerts_{severity}",
                severity,
                path="/v1/alerts",
                query=query,
                **self.count(those, gateways.c.name),
            )

    def findings(self) -> Iterator[Need]:
        for severity in SEVERITIES[:2]:
            those = (
                select(findings.c.id)
                .join(gateways, gateways.c.id == findings.c.gateway_id)
                .where(
                    findings.c.state == FindingState.OPEN,
                    findings.c.rank == SEVERITIES.index(severity),
                    within(self.actor, findings.c.gateway_id),
                )
            )
            query = {"state": "open", "severity": severity}
            kind = f"findings_{severity}"
            yield Need(
                kind,
                severity,
                path="/v1/findings",
                query=query,
                **self.count(those, gateways.c.name),
            )

    def rotations(self) -> Iterator[Need]:
        for state, severity, since in (
            (RotationState.STUCK, "critical", None),
            (RotationState.ROLLED_BACK, "high", self.now - _LATELY),
        ):
            those = self._rotations().where(rotations.c.state == state)
            query = {"state": str(state)}
            if since is not None:
                begun = since.replace(microsecond=0)
                those = those.where(rotations.c.ended_at >= begun)
                query["ended_after"] = _written(begun)
            kind = f"rotations_{state}"
            yield Need(
                kind,
                severity,
                path="/v1/rotations",
                query=query,
                **self.count(those, secret_slots.c.name),
            )

    def _rotations(self) -> Select[Any]:
        mine = select(rotations.c.id).join(secret_slots, secret_slots.c.id == rotations.c.slot_id)
        if self.is_whole:
            return mine
        return mine.join(tunnels, tunnels.c.id == secret_slots.c.tunnel_id).where(
            within(self.actor, tunnels.c.left_id, tunnels.c.right_id)
        )

    def approvals(self) -> Iterator[Need]:
        if self.is_whole:
            those = select(approvals.c.id).where(
                approvals.c.state == ApprovalState.PENDING, approvals.c.expires_at > self.now
            )
            query = {"state": "pending"}
            yield Need(
                "approvals_pending", "high", path="/v1/approvals", query=query, **self.count(those)
            )

    def dead_letters(self) -> Iterator[Need]:
        if self.is_whole:
            those = select(outbox.c.id).where(outbox.c.dead_at.is_not(None))
            yield Need("dead_letters", "high", path="/v1/jobs/dead-letters", **self.count(those))

    def expiry(self) -> tuple[Span, ...]:
        """When valid certificates end: by days, then by weeks."""
        day = timedelta(days=1)
        first = self.now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + day
        edges = [self.now]
        edges += [first + number * day for number in range(_DAYS)]
        edges += [edges[-1] + number * 7 * day for number in range(1, _WEEKS + 1)]
        mine = list(certificates_within(self.actor.scope))
        spans = list(zip(edges, [*edges[1:], None], strict=True))
        # One walk through the index for each, where a single one would compare each certificate with all edges.
        counts = []
        for begin, end in spans:
            ends = certificates.c.not_after
            # What ends at this very moment is valid no more.
            those = [ends > begin if begin == self.now else ends >= begin]
            if end is not None:
                those.append(ends < end)
            query = select(func.count()).where(*those, certificates.c.status == "valid", *mine)
            counts.append(query.scalar_subquery())
        row = self.connection.execute(select(*counts)).one()
        return tuple(
            Span(begin, end, int(count)) for (begin, end), count in zip(spans, row, strict=True)
        )

    def rekeys(self) -> Mapping[datetime, int]:
        """How often SAs were rekeyed lately."""
        mine = None if self.is_whole else within(self.actor, sa_counts.c.gateway_id)
        return hours.rekeys(self.connection, self.now, mine)

    def key_ages(self) -> tuple[Age, ...]:
        """How long the shared secrets are in use that prove gateways."""
        bounds = list(zip((0, *_AGES), (*_AGES, None), strict=True))
        since = secrets.c.current_at
        sums = [
            func.count(case((self._aged(since, days, below), secrets.c.id)))
            for days, below in bounds
        ]
        query = select(*sums).where(secrets.c.state == "current")
        if not self.is_whole:
            query = (
                query.join(secret_slots, secret_slots.c.id == secrets.c.slot_id)
                .join(tunnels, tunnels.c.id == secret_slots.c.tunnel_id)
                .where(within(self.actor, tunnels.c.left_id, tunnels.c.right_id))
            )
        row = self.connection.execute(query).one()
        return tuple(
            Age(days, below, int(count)) for (days, below), count in zip(bounds, row, strict=True)
        )

    def _aged(
        self, since: ColumnElement[datetime], days: int, below: int | None
    ) -> ColumnElement[bool]:
        # One whose clock was ahead is new.
        old = since <= self.now - timedelta(days=days) if days else since.is_not(None)
        young = since > self.now - timedelta(days=below or 0)
        return old if below is None else and_(old, young)


_COUNTS: Final[tuple[tuple[Action, Callable[[_Look], Iterator[Need]]], ...]] = (
    (Action.CERTIFICATE_READ, _Look.certificates),
    (Action.GATEWAY_READ, _Look.gateways),
    (Action.ALERT_READ, _Look.alerts),
    (Action.FINDING_READ, _Look.findings),
    (Action.SECRET_READ, _Look.rotations),
    (Action.APPROVAL_READ, _Look.approvals),
    (Action.JOB_READ, _Look.dead_letters),
)


def _written(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
