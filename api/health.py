"""Is the process alive, can it work, and what has it counted."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import Metric

from api.bridge import Answer
from api.meters import Meters, exposition
from api.registry import Call, Nothing, Reply, Route, Shown
from core.errors import IkewardenError
from core.escaping import escaped
from fleet.findings import summary
from fleet.monitoring import shown as monitoring
from fleet.rotation import shown
from fleet.rotation.values import ENDED, State
from pki import audit_log, authorities, census, decisions, history, ocsp_signers, publication
from pki.actors import Action, Actor, Role
from pki.conditions import check_in_force
from pki.desk import Desk
from store import proof
from store.schema import check_schema

_TAG = "Service"
_QUIET = timedelta(minutes=1)
# The readiness check looks on nobody's behalf: a probe has no credential.
_PROBE = Actor(name="readiness probe", role=Role.SCHEDULER)
# They look several times a second, and say at least each half minute that they do. What revokes goes through them.
_LANES = ("outbox_changes", "outbox_lists")
_SILENCE = timedelta(minutes=5)


class Alive(Shown):
    """The process answers."""

    alive: bool


class Trouble(Shown):
    """One reason not to send requests here."""

    code: str
    about: str
    detail: str


class Readiness(Shown):
    """Whether requests can be served, and if not, why."""

    ready: bool
    troubles: list[Trouble]


def alive(_call: Call[None, Nothing]) -> Reply:
    """Answer; nothing else is looked at, so that a dead database does not get the process
    killed.
    """
    return Reply(Alive(alive=True))


def ready(call: Call[None, Nothing]) -> Reply:
    """Look at everything that issuing and revoking need."""
    troubles = list(_troubles(call.desk, call.now))
    status = 503 if troubles else 200
    return Reply(Readiness(ready=not troubles, troubles=troubles), status=status)


def _troubles(desk: Desk, now: datetime) -> Iterator[Trouble]:
    try:
        check_schema(desk.store)
        names = authorities.all_names(desk)
        lists = publication.staleness(desk, _PROBE)
        missing = publication.missing(desk, _PROBE)
    except IkewardenError as error:
        yield Trouble(code=error.code, about="database", detail=error.message)
        return
    yield from _cannot_write(desk, now)
    for name in names:
        try:
            known = authorities.load(desk, name)
            if known.status == authorities.OUTSIDE or known.ends_at <= now:
                continue  # it neither signs nor answers here, or not any more
            # A root's key may be kept elsewhere; whoever issues needs his at hand.
            if known.kind == "issuing" and known.status == "active":
                authorities.signer(desk, known)
            ocsp_signers.current(desk, known, now=now)
        except IkewardenError as error:
            yield Trouble(code=error.code, about=f"authority:{name}", detail=error.message)
    yield from _cannot_issue(desk, now)
    if desk.rules.is_misdirected:
        yield Trouble(
            code="validation_url_misdirected",
            about="settings:validation.url",
            detail=f"New certificates point at {desk.rules.validation_url}, and this service listens elsewhere.",
        )
    for authority, kind, shard, next_update in lists:
        if next_update <= now:
            yield Trouble(
                code="crl_stale",
                about=_list(authority, kind, shard),
                detail=f"Its nextUpdate was {next_update:%FT%TZ}.",
            )
    for authority, kind, shard in missing:
        yield Trouble(
            code="crl_missing",
            about=_list(authority, kind, shard),
            detail="It was never published; a running scheduler does it within a second.",
        )
    yield from _late(desk, now)


def _late(desk: Desk, now: datetime) -> Iterator[Trouble]:
    for job in _LANES:
        last = history.last_success(desk, _PROBE, job)
        # Also one that is yet to come: then the clock was set back, and nothing has been done since.
        if last is not None and abs(now - last) > _SILENCE:
            yield Trouble(
                code="job_silent", about=f"job:{job}", detail=f"It last succeeded at {last:%FT%TZ}."
            )
    oldest = history.oldest_change(desk, _PROBE)
    if oldest is not None and abs(now - oldest) > _SILENCE:
        yield Trouble(
            code="revocation_waits",
            about="outbox",
            detail=f"A change of {oldest:%FT%TZ} has not been carried to the revocation lists.",
        )


def _cannot_write(desk: Desk, now: datetime) -> Iterator[Trouble]:
    """Whether what is put on record is refused. Jobs write several times a minute: only where none did, or where this
    process was refused last, it is tried.
    """
    try:
        last = proof.last_write(desk.store)
        if proof.refused(desk.store) or last is None or now - last > _QUIET:
            proof.prove(desk.store, now)
    except IkewardenError as error:
        yield Trouble(code=error.code, about="database", detail=f"Writing: {error.message}")


def _cannot_issue(desk: Desk, now: datetime) -> Iterator[Trouble]:
    """Whether whoever issues where no authority is named can: its certificate may be revoked, on hold, or over."""
    name = desk.rules.default_authority
    try:
        chosen = authorities.choose(desk, _PROBE, None, now=now)
        name = chosen.name
        check_in_force(chosen, now)
    except authorities.NoDefaultAuthority:
        return  # each request names one
    except IkewardenError as error:
        yield Trouble(code=error.code, about=f"authority:{name}", detail=error.message)


def _list(authority: str, kind: str, shard: int) -> str:
    return f"crl:{authority}:{kind}" + (f":{shard}" if shard >= 0 else "")


# The front gives this answer by itself; the route below is there to be described.
PREPARED = {
    (method, "/healthz"): Answer(
        200, [(b"content-type", b"application/json")], Alive(alive=True).model_dump_json().encode()
    )
    for method in ("GET", "HEAD")
}


def health_routes(meters: Meters, *, metrics_public: bool) -> tuple[Route, ...]:
    """Make the three routes of monitoring."""

    def metrics(call: Call[None, Nothing]) -> Reply:
        actor = _PROBE if metrics_public else call.actor
        figures = list(_figures(call.desk, actor, call.now))
        if actor.scope.gateway is not None:
            # What the service itself does is of no gateway.
            return Reply(exposition(figures), media_type=CONTENT_TYPE_LATEST)
        figures += _service_figures(call.desk, actor, call.now)
        return Reply(meters.exposition(figures), media_type=CONTENT_TYPE_LATEST)

    counters = Route(
        method="GET",
        path="/metrics",
        view=metrics,
        summary="Counters of all processes and figures from the records, for Prometheus",
        description="A token of one gateway gets the figures of that gateway alone.",
        tag=_TAG,
        action=Action.METRICS_READ,
        answer="text/plain",
        refusals=(503,),
    )
    if metrics_public:
        counters = replace(counters, action=None, public=True)
    return (
        Route(
            method="GET",
            path="/healthz",
            view=alive,
            summary="Whether the process answers",
            tag=_TAG,
            action=None,
            public=True,
            answer=Alive,
        ),
        Route(
            method="GET",
            path="/readyz",
            view=ready,
            summary="Whether requests can be served, and if not (503), why",
            tag=_TAG,
            action=None,
            public=True,
            answer=Readiness,
        ),
        counters,
    )


def _service_figures(desk: Desk, actor: Actor, now: datetime) -> Iterator[Metric]:
    depth = history.outbox_depth(desk, actor, now=now)
    waiting = GaugeMetricFamily(
        "ikewarden_outbox_messages", "Work after commit, by state.", labels=["state"]
    )
    for state in ("waiting", "delayed", "dead"):
        waiting.add_metric([state], getattr(depth, state))
    yield waiting
    yield GaugeMetricFamily(
        "ikewarden_outbox_oldest_seconds",
        "Age of the oldest message that could have been worked on.",
        value=depth.oldest_age.total_seconds(),
    )
    since = GaugeMetricFamily(
        "ikewarden_job_seconds_since_success",
        "Since a job last succeeded.",
        labels=["job"],
    )
    for job in history.job_states(desk, actor):
        if job.last_success_at is not None:
            since.add_metric([job.job], (now - job.last_success_at).total_seconds())
    yield since
    yield from _audit_log_figures(desk, actor, now)
    yield from _approval_figures(desk, actor, now)


def _figures(desk: Desk, actor: Actor, now: datetime) -> Iterator[Metric]:
    certificates = GaugeMetricFamily(
        "ikewarden_certificates", "Certificates on record, by status.", labels=["status"]
    )
    for status, count in sorted(census.by_status(desk, actor, now=now).items()):
        certificates.add_metric([status], count)
    yield certificates
    lists = GaugeMetricFamily(
        "ikewarden_crl_seconds_until_next_update",
        "Until a published list ends; negative once it has.",
        labels=["authority", "kind", "shard"],
    )
    for authority, kind, shard, next_update in publication.staleness(desk, actor):
        label = str(shard) if shard >= 0 else ""
        lists.add_metric([authority, kind, label], (next_update - now).total_seconds())
    yield lists
    yield from _rotation_figures(desk, actor, now)
    yield from _finding_figures(desk, actor, now)
    yield from _monitoring_figures(desk, actor)


def _audit_log_figures(desk: Desk, actor: Actor, now: datetime) -> Iterator[Metric]:
    figures = audit_log.figures(desk, actor, now=now)
    yield GaugeMetricFamily(
        "ikewarden_audit_log_waiting_rows",
        "Rows of the audit log that are not in its tree yet; 10,000 at most are counted.",
        value=figures.waiting,
    )
    yield GaugeMetricFamily(
        "ikewarden_audit_log_size", "Rows under the newest signed head.", value=figures.size
    )
    if figures.head_age is not None:
        yield GaugeMetricFamily(
            "ikewarden_audit_log_head_age_seconds",
            "Since the newest head of the audit log was signed; there is none while nothing happens.",
            value=figures.head_age.total_seconds(),
        )


def _approval_figures(desk: Desk, actor: Actor, now: datetime) -> Iterator[Metric]:
    figures = decisions.figures(desk, actor, now=now)
    found = GaugeMetricFamily(
        "ikewarden_approvals",
        "Requests for another person's approval: pending; approved, and not used yet.",
        labels=["state"],
    )
    for state in ("pending", "approved"):
        found.add_metric([state], getattr(figures, state))
    yield found
    waits = timedelta(0) if figures.oldest_at is None else now - figures.oldest_at
    yield GaugeMetricFamily(
        "ikewarden_approvals_oldest_seconds",
        "Since when the oldest of those that are pending is; 0 where there is none.",
        value=waits.total_seconds(),
    )


def _rotation_figures(desk: Desk, actor: Actor, now: datetime) -> Iterator[Metric]:
    figures = shown.figures(desk, actor, now=now)
    slots = GaugeMetricFamily(
        "ikewarden_shared_secrets",
        "Shared secrets under management: all, those due and not begun, those frozen.",
        labels=["which"],
    )
    for which in ("all", "due", "frozen"):
        slots.add_metric([which], getattr(figures, which))
    yield slots
    if figures.oldest_at is not None:
        yield GaugeMetricFamily(
            "ikewarden_shared_secret_oldest_seconds",
            "Since when the key that is longest in use is.",
            value=(now - figures.oldest_at).total_seconds(),
        )
    running = GaugeMetricFamily(
        "ikewarden_rotations_running", "Rotations under way, by state.", labels=["state"]
    )
    ended = CounterMetricFamily(
        "ikewarden_rotations_ended", "Rotations that ended, by how.", labels=["state"]
    )
    for state in State:
        family = ended if state in ENDED else running
        family.add_metric([state], figures.states.get(state, 0))
    yield from (running, ended)


def _finding_figures(desk: Desk, actor: Actor, now: datetime) -> Iterator[Metric]:
    figures = summary.figures(desk, actor, now=now)
    found = GaugeMetricFamily(
        "ikewarden_findings",
        "Findings of audits on gateways, by state and severity; fixed ones are not counted.",
        labels=["state", "severity"],
    )
    for state in ("open", "accepted"):
        for severity, count in getattr(figures, state).items():
            found.add_metric([state, severity], count)
    yield found
    audited = GaugeMetricFamily(
        "ikewarden_audited_gateways",
        "Gateways by their audits: reported; late, for over eight days; missing, who never reported.",
        labels=["which"],
    )
    for which in ("reported", "late", "missing"):
        audited.add_metric([which], getattr(figures, which))
    yield audited


def _monitoring_figures(desk: Desk, actor: Actor) -> Iterator[Metric]:
    figures = monitoring.figures(desk, actor)
    events = CounterMetricFamily(
        "ikewarden_sa_events", "Events of SAs that gateways reported, by kind.", labels=["kind"]
    )
    for kind, number in sorted(figures.events.items()):
        events.add_metric([kind], number)
    yield events
    failures = CounterMetricFamily(
        "ikewarden_sa_failures",
        "Events of SAs that say that something failed, by kind and reason, which is empty where none was told.",
        labels=["kind", "reason"],
    )
    for those, number in sorted(figures.failures.items()):
        failures.add_metric(those, number)
    yield failures
    rekeys = CounterMetricFamily(
        "ikewarden_rekeys",
        "Rekeyed and reauthenticated SAs; without the connection where there are too many of them.",
        labels=["gateway", "connection", "kind"],
    )
    # Names come from logs. Two that are written alike would be one series told twice, which ends a scrape.
    written: Counter[tuple[str, str, str]] = Counter()
    for (gateway, name, kind), number in figures.rekeys.items():
        written[gateway, escaped(name), kind] += number
    for labels, number in sorted(written.items()):
        rekeys.add_metric(labels, number)
    yield rekeys
    counters = CounterMetricFamily(
        "ikewarden_ike_messages",
        "IKE messages that a daemon counted and tells no event of: malformed, unknown_spi, refused, other.",
        labels=["gateway", "what"],
    )
    for (gateway, what), number in sorted(figures.counters.items()):
        counters.add_metric([gateway, what], number)
    yield counters
    alerts = GaugeMetricFamily(
        "ikewarden_sa_alerts_open", "Conditions that last, by severity.", labels=["severity"]
    )
    for severity, number in figures.open.items():
        alerts.add_metric([severity], number)
    yield alerts
    left_out = GaugeMetricFamily(
        "ikewarden_sa_alerts_left_out",
        "Conditions that last and that a gateway has no room for among its open alerts.",
        labels=["gateway"],
    )
    for gateway, number in sorted(figures.left_out.items()):
        left_out.add_metric([gateway], number)
    yield left_out
