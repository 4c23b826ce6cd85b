"""Tunnels and the SAs that are up: put on record, looked at, removed."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from api import cursors
from api.cursors import PageQuery
from api.registry import Call, Nothing, Reply, Route, Sent, Shown
from api.v1.certificates import When, Word
from api.v1.gateways import GatewayName, Identities, Identity
from fleet import sas, tunnels
from fleet.definitions import ChildDefinition, Definition
from fleet.sas import SaQuery, SaView
from fleet.tunnels import Peer, TunnelQuery, TunnelRequest, TunnelView
from pki.actors import Action

_PATH = "/v1/tunnels"
_SAS = "/v1/sas"
_TAG = "Tunnels"
Words = Annotated[list[Word], Field(max_length=50)]
Some = Annotated[list[Word], Field(min_length=1, max_length=50)]
TunnelName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$")]
Seconds = Annotated[int, Field(ge=60, le=7 * 86400)]


class OutsidePeer(Sent):
    """A peer that is no gateway of this fleet."""

    name: GatewayName
    identities: Identities
    authority: Word | None = Field(
        default=None, description="Which authority of ours certifies it; the gateway's if left out."
    )


class GatewayEnd(Sent):
    """An end that is a gateway of this fleet."""

    gateway: GatewayName


class AnyEnd(Sent):
    """A gateway of this fleet, or an outside peer."""

    gateway: GatewayName | None = None
    peer: OutsidePeer | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.gateway is None) == (self.peer is None):
            raise ValueError("give either gateway or peer")
        return self


class Child(Sent):
    """A CHILD_SA of a managed tunnel. Networks in CIDR."""

    name: TunnelName
    left_networks: Some
    right_networks: Some
    esp_proposals: Words = Field(default_factory=list)
    start_action: Literal["none", "trap", "start"] = Field(
        default="none", description="Of `start`, the left end starts and the right one answers."
    )
    rekey_seconds: Seconds | None = None


class ManagedTunnel(Sent):
    """What both daemons of a managed tunnel shall have."""

    left_addresses: Some
    right_addresses: Some
    left_identity: Identity | None = Field(
        default=None, description="The first of its identities if left out."
    )
    right_identity: Identity | None = None
    children: list[Child] = Field(min_length=1, max_length=50)
    proposals: Words = Field(default_factory=list)
    rekey_seconds: Seconds | None = None
    revocation: Literal["strict", "ifuri", "relaxed"] = "strict"
    authentication: Literal["certificate", "psk"] = Field(
        default="certificate",
        description="Of `psk`, the service makes the key, brings it to both ends and rotates it.",
    )
    ike_version: Literal[1, 2] = 2
    ppk: Literal["none", "preferred", "required"] = Field(
        default="none", description="A post-quantum preshared key beside it (RFC 8784), likewise."
    )


class CreateTunnel(Sent):
    """Who talks to whom."""

    name: TunnelName = Field(description="Also the name of its connection in the daemons.")
    left: GatewayEnd
    right: AnyEnd
    managed: bool = Field(
        default=False, description="Whether the service keeps the connection in the daemons."
    )
    definition: ManagedTunnel | None = Field(
        default=None, description="Of a managed tunnel, and only of one."
    )

    @model_validator(mode="after")
    def _defined_if_managed(self) -> Self:
        if self.managed != (self.definition is not None):
            raise ValueError("a managed tunnel has a definition, another has none")
        return self


class TunnelSearch(PageQuery):
    """Which tunnels."""

    q: Word | None = Field(default=None, description="Part of a name, or of an outside peer.")
    gateway: GatewayName | None = None
    expires_before: When | None = Field(
        default=None,
        description="Those that die before this: the last valid certificate of an end is over then.",
    )


class SaSearch(PageQuery):
    """Which SAs."""

    gateway: GatewayName | None = None
    tunnel: TunnelName | None = None
    connection: Word | None = Field(default=None, description="As the gateway calls it.")
    peer: Word | None = Field(
        default=None, description="Its address or its identity, as the gateway wrote it."
    )
    certificate: Word | None = Field(
        default=None,
        description="Serial number or fingerprint: authenticated by it, at either end.",
    )


class End(Shown):
    """One end, and when its last valid certificate ends, as far as that is known."""

    gateway: str | None
    peer: Mapping[str, Any] | None
    ends_at: datetime | None


class SecretSummary(Shown):
    """How a shared secret of the tunnel is; /v1/tunnels/{name}/secrets has all of it."""

    kind: str
    version: int | None
    current_at: datetime | None = Field(description="Since when this version is in use.")
    due_at: datetime | None
    frozen: bool
    rotation_id: int | None = Field(description="The rotation under way, and its state.")
    state: str | None


class Tunnel(Shown):
    """A tunnel on record."""

    name: str
    left: End
    right: End
    managed: bool
    definition: Mapping[str, Any] | None
    created_at: datetime
    created_by: str
    ends_at: datetime | None = Field(
        description="When the first of its ends has no valid certificate left; null where a gateway has none."
    )
    sas: int = Field(description="How many IKE_SAs of it its gateways reported.")
    secrets: list[SecretSummary] = Field(description="Its shared secrets under management.")


class TunnelPage(Shown):
    """Some tunnels, in the order in which they were made."""

    items: list[Tunnel]
    next_cursor: str | None


class Sa(Shown):
    """An IKE_SA, as its gateway reported it."""

    gateway: str
    tunnel: str | None
    id: str
    connection: str
    state: str
    version: int
    local_address: str
    remote_address: str
    local_id: str
    remote_id: str
    established: bool
    established_at: datetime | None
    initiator: bool
    spi_initiator: str
    spi_responder: str
    algorithms: str
    local_certificate: str | None = Field(description="Fingerprint, where the agent knows it.")
    remote_certificate: str | None
    remote_serial: str | None = Field(
        description="Serial number of the certificate that authenticated the peer, if it is ours."
    )
    secrets: list[dict[str, Any]] = Field(
        default_factory=list,
        description="Names and versions of the shared secrets that authenticated it, as far as the agent saw.",
    )
    nat_t: bool | None = None
    rekey_seconds: int | None = Field(default=None, description="From `reported_at`, as all times.")
    reauth_seconds: int | None = None
    children: list[dict[str, Any]]
    reported_at: datetime | None = Field(description="By the gateway's clock.")


class SaPage(Shown):
    """Some SAs."""

    items: list[Sa]
    next_cursor: str | None


class TunnelWhole(Tunnel):
    """A tunnel with the SAs of it."""

    live: list[Sa] = Field(description="At most 500; /v1/sas?tunnel= has all.")


def _fields(view: TunnelView) -> dict[str, Any]:
    peer = None if view.peer is None else vars(view.peer)
    return {
        "name": view.name,
        "left": End(gateway=view.left, peer=None, ends_at=view.left_ends_at),
        "right": End(gateway=view.right, peer=peer, ends_at=view.right_ends_at),
        "managed": view.managed,
        "definition": None if view.definition is None else _definition(view.definition),
        "created_at": view.created_at,
        "created_by": view.created_by,
        "ends_at": view.ends_at,
        "sas": view.sas,
        "secrets": [SecretSummary.model_validate(each) for each in view.secrets],
    }


def _definition(definition: Definition) -> dict[str, Any]:
    return {**vars(definition), "children": [vars(child) for child in definition.children]}


def _sa(view: SaView) -> Sa:
    known = {name: value for name, value in view.document.items() if name in Sa.model_fields}
    return Sa.model_validate(
        known
        | {
            "gateway": view.gateway,
            "tunnel": view.tunnel,
            "remote_serial": view.remote_serial,
            "reported_at": view.reported_at,
        }
    )


def create(call: Call[CreateTunnel, Nothing]) -> Reply:
    """Put a tunnel on record."""
    body = call.body
    right: str | Peer = body.right.gateway or ""
    if body.right.peer is not None:
        peer = body.right.peer
        right = Peer(peer.name, tuple(peer.identities), peer.authority)
    definition = None
    if body.definition is not None:
        given = _tuples(body.definition.model_dump())
        children = tuple(ChildDefinition(**_tuples(child)) for child in given["children"])
        definition = Definition(**{**given, "children": children})
    wanted = TunnelRequest(body.name, body.left.gateway, right, definition)
    made = tunnels.create(call.desk, call.actor, wanted, now=call.now)
    location = (("Location", f"{_PATH}/{made.name}"),)
    return Reply(Tunnel.model_validate(_fields(made)), status=201, headers=location)


def _tuples(given: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: tuple(value) if isinstance(value, list) else value for name, value in given.items()
    }


def search(call: Call[None, TunnelSearch]) -> Reply:
    """Search tunnels."""
    query = call.query
    wanted = TunnelQuery(
        q=query.q,
        gateway=query.gateway,
        expires_before=query.expires_before,
        cursor=cursors.decode(_PATH, query.cursor, int),
        limit=query.limit,
    )
    found = tunnels.search(call.desk, call.actor, wanted)
    last = found[-1].id if found else None
    cursor, headers = cursors.next_page(_PATH, query, found, last)
    items = [Tunnel.model_validate(_fields(view)) for view in found]
    return Reply(TunnelPage(items=items, next_cursor=cursor), headers=headers)


def show(call: Call[None, Nothing]) -> Reply:
    """Look at one tunnel."""
    found, live = sas.of_tunnel(call.desk, call.actor, call.path["name"])
    shown = TunnelWhole.model_validate(_fields(found) | {"live": [_sa(view) for view in live]})
    return Reply(shown)


def remove(call: Call[None, Nothing]) -> Reply:
    """Take a tunnel off the records."""
    tunnels.remove(call.desk, call.actor, call.path["name"], now=call.now)
    return Reply(b"", status=204, media_type="")


def search_sas(call: Call[None, SaSearch]) -> Reply:
    """Search SAs."""
    query = call.query
    wanted = SaQuery(
        gateway=query.gateway,
        tunnel=query.tunnel,
        connection=query.connection,
        peer=query.peer,
        certificate=query.certificate,
        cursor=cursors.decode(_SAS, query.cursor, int),
        limit=query.limit,
    )
    found = sas.search(call.desk, call.actor, wanted)
    last = found[-1].id if found else None
    cursor, headers = cursors.next_page(_SAS, query, found, last)
    return Reply(SaPage(items=[_sa(view) for view in found], next_cursor=cursor), headers=headers)


ROUTES = (
    Route(
        method="POST",
        path=_PATH,
        view=create,
        summary="Put a tunnel on record: between two gateways, or a gateway and an outside peer",
        tag=_TAG,
        action=Action.TUNNEL_CREATE,
        body=CreateTunnel,
        answer=Tunnel,
        status=201,
        example={
            "name": "gw1-gw2",
            "left": {"gateway": "gw1.example.com"},
            "right": {"gateway": "gw2.example.com"},
        },
        refusals=(404, 409, 422),
    ),
    Route(
        method="GET",
        path=_PATH,
        view=search,
        summary="Search tunnels; with `expires_before`, those that die",
        tag=_TAG,
        action=Action.TUNNEL_READ,
        query=TunnelSearch,
        answer=TunnelPage,
        refusals=(422,),
    ),
    Route(
        method="GET",
        path=_PATH + "/{name}",
        view=show,
        summary="Look at a tunnel, its ends and its SAs",
        tag=_TAG,
        action=Action.TUNNEL_READ,
        answer=TunnelWhole,
        refusals=(404,),
    ),
    Route(
        method="DELETE",
        path=_PATH + "/{name}",
        view=remove,
        summary="Take a tunnel off the records; a managed one is unloaded",
        tag=_TAG,
        action=Action.TUNNEL_REMOVE,
        answer="",
        status=204,
        refusals=(404,),
    ),
    Route(
        method="GET",
        path=_SAS,
        view=search_sas,
        summary="Search the SAs that gateways reported, and which certificates authenticated them",
        tag=_TAG,
        action=Action.SA_READ,
        query=SaSearch,
        answer=SaPage,
        refusals=(404, 422),
    ),
)
