"""Gateways: registered, looked at, enrolled, told something, removed."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from api import cursors
from api.cursors import PageQuery
from api.registry import Call, Nothing, Reply, Route, Sent, Shown
from api.v1.certificates import Reason, When, Word
from fleet import commands, enrollment, gateways, inventory, removal
from fleet.enrollment import MAX_HOURS
from fleet.gateways import GatewayQuery, GatewayRequest, GatewayView
from fleet.inventory import Whole
from pki.actors import Action

_PATH = "/v1/gateways"
_TAG = "Gateways"
GatewayName = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[^\x00-\x1f\x7f/]+$")]
Identity = Annotated[str, Field(min_length=1, max_length=2100, pattern=r"^[^\x00-\x1f\x7f]+$")]
Identities = Annotated[list[Identity], Field(min_length=1, max_length=50)]
Daemon = Literal["strongswan", "libreswan", "windows", "files"]
Status = Literal["new", "no_certificate", "ok", "behind", "unreachable"]


class CreateGateway(Sent):
    """Who the gateway is, and what certificates it gets."""

    name: GatewayName = Field(description="Its name here, and in its certificates' records.")
    identities: Identities = Field(
        description="Every IKE identity it may prove: `dns:gw1.example.com`, `ip:192.0.2.1`. None is another's."
    )
    profile: Word = "gateway"
    authority: Word | None = Field(
        default=None, description="Which authority certifies it; the default one if left out."
    )
    daemon: Daemon | None = Field(
        default=None, description="Which IKE daemon runs there, if that is known."
    )


class GatewaySearch(PageQuery):
    """Which gateways."""

    q: Word | None = Field(default=None, description="Part of a name or identity.")
    status: Status | None = None
    drift: Literal["true", "false"] | None = Field(
        default=None, description="Whether its daemon holds what it should."
    )
    expires_before: When | None = Field(
        default=None, description="Whose last valid certificate ends before this."
    )


class Remove(Sent):
    """What becomes of its certificates."""

    revoke: Reason | None = Field(
        default=None, description="Revoke its valid certificates too, for this reason."
    )
    cut_confirmed: int | None = Field(default=None, ge=0, description="As when revoking one.")


class Enroll(Sent):
    """How long the enrollment may be used."""

    hours: int = Field(default=24, ge=1, le=MAX_HOURS)
    key: Literal["file", "token"] = Field(
        default="file",
        description="Where the gateway's key will be. `token` (PKCS#11): the enrollment is for a second certificate "
        "too, with which the agent speaks to the service.",
    )


class Tell(Sent):
    """What the gateway shall do."""

    kind: Literal["renew", "reauthenticate"]
    connection: Word | None = Field(default=None, description="Of `reauthenticate`.")


class Leaf(Shown):
    """The certificate that the gateway should be using: its newest valid one."""

    serial: str
    fingerprint: str
    not_before: datetime
    not_after: datetime


class DaemonInfo(Shown):
    """The daemon that the agent found; `incarnation` changes when it is restarted."""

    kind: str
    version: str
    incarnation: str


class Trouble(Shown):
    """Something that the agent could not do."""

    code: str
    message: str


class AppliedState(Shown):
    """What the agent reported last."""

    version: int
    at: datetime
    agent_version: str
    daemon: DaemonInfo
    certificate: str | None = Field(description="Fingerprint of the certificate in the daemon.")
    proof: str | None = Field(
        description="`loaded`: the daemon has it; `authenticated`: a peer accepted it."
    )
    errors: list[Trouble]


class Gateway(Shown):
    """A gateway on record."""

    name: str
    identities: list[str]
    profile: str
    authority: str
    daemon: str | None
    status: str = Field(
        description="`new`: never heard of; `ok`; `behind`: has not applied its state yet; `unreachable`."
    )
    version: int = Field(description="Counts the changes of its desired state.")
    last_seen_at: datetime | None = Field(description="Its agent.")
    last_heard_at: datetime | None = Field(
        description="Its events, or word that there are none: from its agent, or by syslog."
    )
    created_at: datetime
    created_by: str
    certificate: Leaf | None
    ends_at: datetime | None = Field(description="When its last valid certificate ends.")
    applied: AppliedState | None
    drifting: int = Field(description="How many differences its last report showed.")


class GatewayPage(Shown):
    """Some gateways, in the order in which they were registered."""

    items: list[Gateway]
    next_cursor: str | None


class Difference(Shown):
    """Something that the daemon holds and should not, or the other way round."""

    kind: str = Field(description="certificate, authority, crl, connection")
    what: str = Field(description="A fingerprint, an issuer, or a connection's name.")
    problem: str = Field(description="not_loaded, not_desired, outdated, in_use")


class GatewayTunnel(Shown):
    """A tunnel of the gateway."""

    name: str
    peer: str
    managed: bool
    ends_at: datetime | None = Field(
        description="When the first of its two ends has no valid certificate left."
    )
    sas: int


class PendingCommand(Shown):
    """Something it was told to do and has not reported as done."""

    id: int
    kind: str
    connection: str | None
    serial: str | None = Field(description="Of the certificate that a `cut` is about.")
    told: bool


class GatewayWhole(Gateway):
    """A gateway with its tunnels, its pending commands, and where it drifts."""

    tunnels: list[GatewayTunnel]
    commands: list[PendingCommand]
    drift: list[Difference]
    sas: int


class Enrollment(Shown):
    """What the agent needs, shown this once."""

    gateway: str
    token: str = Field(description="For one certificate of this gateway. It is kept nowhere.")
    enrollment: str = Field(
        description="One line for `ikewarden agent enroll`: URL, pin of the root, token and name."
    )
    expires_at: datetime


class CommandGiven(Shown):
    """A command on its way."""

    id: int
    gateway: str
    kind: str
    connection: str | None
    created_at: datetime


def _fields(view: GatewayView) -> dict[str, object]:
    applied = view.applied
    shown = None
    if applied is not None:
        shown = AppliedState(
            version=applied.version,
            at=applied.at,
            agent_version=applied.agent_version,
            daemon=DaemonInfo(
                kind=applied.daemon_kind,
                version=applied.daemon_version,
                incarnation=applied.incarnation,
            ),
            certificate=applied.certificate,
            proof=applied.proof,
            errors=[Trouble.model_validate(error) for error in applied.errors],
        )
    return {
        "name": view.name,
        "identities": list(view.identities),
        "profile": view.profile,
        "authority": view.authority,
        "daemon": view.daemon,
        "status": view.status,
        "version": view.version,
        "last_seen_at": view.seen_at,
        "last_heard_at": view.heard_at,
        "created_at": view.created_at,
        "created_by": view.created_by,
        "certificate": None if view.certificate is None else Leaf.model_validate(view.certificate),
        "ends_at": view.ends_at,
        "applied": shown,
        "drifting": 0 if applied is None else applied.drifting,
    }


def _whole(found: Whole) -> GatewayWhole:
    mine = found.gateway.name
    return GatewayWhole.model_validate(
        _fields(found.gateway)
        | {
            "tunnels": [
                GatewayTunnel(
                    name=each.name,
                    peer=each.left
                    if each.left != mine
                    else each.right or (each.peer.name if each.peer else ""),
                    managed=each.managed,
                    ends_at=each.ends_at,
                    sas=each.sas,
                )
                for each in found.tunnels
            ],
            "commands": [
                PendingCommand(
                    id=each.id,
                    kind=each.kind,
                    connection=each.connection,
                    serial=_serial(each.detail),
                    told=each.told,
                )
                for each in found.commands
            ],
            "drift": [Difference.model_validate(each) for each in found.drift],
            "sas": found.sas,
        }
    )


def _serial(detail: Mapping[str, object]) -> str | None:
    peer = detail.get("peer")
    return str(peer["serial"]) if isinstance(peer, dict) else None


def create(call: Call[CreateGateway, Nothing]) -> Reply:
    """Register a gateway."""
    body = call.body
    wanted = GatewayRequest(
        name=body.name,
        identities=tuple(body.identities),
        profile=body.profile,
        authority=body.authority,
        daemon=body.daemon,
    )
    made = gateways.create(call.desk, call.actor, wanted, now=call.now)
    location = (("Location", f"{_PATH}/{made.name}"),)
    return Reply(Gateway.model_validate(_fields(made)), status=201, headers=location)


def search(call: Call[None, GatewaySearch]) -> Reply:
    """Search gateways."""
    query = call.query
    wanted = GatewayQuery(
        q=query.q,
        status=query.status,
        drift=None if query.drift is None else query.drift == "true",
        expires_before=query.expires_before,
        cursor=cursors.decode(_PATH, query.cursor, int),
        limit=query.limit,
    )
    found = gateways.search(call.desk, call.actor, wanted, now=call.now)
    last = found[-1].id if found else None
    cursor, headers = cursors.next_page(_PATH, query, found, last)
    items = [Gateway.model_validate(_fields(view)) for view in found]
    return Reply(GatewayPage(items=items, next_cursor=cursor), headers=headers)


def show(call: Call[None, Nothing]) -> Reply:
    """Look at one gateway."""
    return Reply(_whole(inventory.look(call.desk, call.actor, call.path["name"], now=call.now)))


def remove(call: Call[None, Remove]) -> Reply:
    """Take a gateway off the records."""
    removal.remove(
        call.desk,
        call.actor,
        call.path["name"],
        now=call.now,
        reason=call.query.revoke,
        confirmed=call.query.cut_confirmed,
    )
    return Reply(b"", status=204, media_type="")


def enroll(call: Call[Enroll, Nothing]) -> Reply:
    """Make the one-time token of a gateway."""
    made = enrollment.enroll(
        call.desk,
        call.actor,
        call.path["name"],
        call.body.hours,
        now=call.now,
        in_token=call.body.key == "token",
    )
    shown = Enrollment(
        gateway=made.gateway,
        token=made.token.reveal().decode(),
        enrollment=made.line.reveal().decode(),
        expires_at=made.expires_at,
    )
    return Reply(shown, status=201)


def tell(call: Call[Tell, Nothing]) -> Reply:
    """Tell a gateway to do something."""
    given = commands.give(
        call.desk,
        call.actor,
        call.path["name"],
        call.body.kind,
        call.body.connection,
        now=call.now,
    )
    return Reply(CommandGiven.model_validate(given), status=201)


ROUTES = (
    Route(
        method="POST",
        path=_PATH,
        view=create,
        summary="Register a gateway",
        tag=_TAG,
        action=Action.GATEWAY_CREATE,
        body=CreateGateway,
        answer=Gateway,
        status=201,
        example={"name": "gw1.example.com", "identities": ["dns:gw1.example.com", "ip:192.0.2.1"]},
        refusals=(404, 409, 422),
    ),
    Route(
        method="GET",
        path=_PATH,
        view=search,
        summary="Search gateways",
        tag=_TAG,
        action=Action.GATEWAY_READ,
        query=GatewaySearch,
        answer=GatewayPage,
        refusals=(422,),
    ),
    Route(
        method="GET",
        path=_PATH + "/{name}",
        view=show,
        summary="Look at a gateway: its certificate, tunnels, pending commands, and drift",
        tag=_TAG,
        action=Action.GATEWAY_READ,
        answer=GatewayWhole,
        refusals=(404,),
    ),
    Route(
        method="DELETE",
        path=_PATH + "/{name}",
        view=remove,
        summary="Take a gateway off the records",
        description=(
            "Its tunnels must be gone, and its enrollment token ends. Its certificates stay valid unless `revoke` "
            "says why they shall not."
        ),
        tag=_TAG,
        action=Action.GATEWAY_REMOVE,
        query=Remove,
        answer="",
        status=204,
        approval=True,
        refusals=(404, 409, 422),
    ),
    Route(
        method="POST",
        path=_PATH + "/{name}/enrollment",
        view=enroll,
        summary="Make the one line with which its agent enrolls; it is shown this once",
        description=(
            "The token in it is for one certificate with the names on record. A token made before ends. A replay "
            "with the same Idempotency-Key is answered with 409, because the token is kept nowhere."
        ),
        tag=_TAG,
        action=Action.GATEWAY_ENROLL,
        body=Enroll,
        answer=Enrollment,
        status=201,
        secret=True,
        example={"hours": 24},
        refusals=(404, 409, 422),
    ),
    Route(
        method="POST",
        path=_PATH + "/{name}/commands",
        view=tell,
        summary="Have a gateway renew its certificate now, or authenticate a connection afresh",
        tag=_TAG,
        action=Action.GATEWAY_COMMAND,
        body=Tell,
        answer=CommandGiven,
        status=201,
        example={"kind": "renew"},
        refusals=(404, 422),
    ),
)
