"""Is the process alive, can it work, and what has it counted."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from prometheus_client.exposition import CONTENT_TYPE_LATEST

from api import processes
from api.bridge import Answer
from api.meters import BUILD, Meters, exposition
from api.registry import Call, Nothing, Reply, Route, Shown
from core.errors import IkewardenError
from fleet.figures import gathering
from pki import authorities, history, ocsp_signers, publication, vitals
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


def health_routes(meters: Meters, *, version: str, metrics_public: bool) -> tuple[Route, ...]:
    """Make the three routes of monitoring."""

    def metrics(call: Call[None, Nothing]) -> Reply:
        actor = _PROBE if metrics_public else call.actor
        figures = [
            *gathering.read(call.desk, actor, now=call.now),
            *vitals.of_authorities(call.desk, actor, now=call.now),
        ]
        if actor.scope.gateway is not None:
            # What the service itself does is of no gateway.
            return Reply(exposition(figures), media_type=CONTENT_TYPE_LATEST)
        figures += [
            *vitals.of_service(call.desk, actor, now=call.now),
            BUILD.figure({(version, call.desk.store.dialect): 1}),
            *processes.figures(),
        ]
        return Reply(meters.exposition(figures), media_type=CONTENT_TYPE_LATEST)

    counters = _counters(metrics)
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


def _counters(view: Callable[[Call[None, Nothing]], Reply]) -> Route:
    return Route(
        method="GET",
        path="/metrics",
        view=view,
        summary="Counters of all processes and figures from the records, for Prometheus",
        description="A token of one gateway gets the figures of that gateway alone. What each of them means: "
        "docs/reference/metrics.md.",
        tag=_TAG,
        action=Action.METRICS_READ,
        answer="text/plain",
        refusals=(503,),
    )
