"""The whole fleet at a glance: what needs a person now, and the map."""

from datetime import datetime
from typing import Literal
from urllib.parse import urlencode

from pydantic import Field

from api.registry import Call, Nothing, Reply, Route, Sent, Shown
from api.v1.certificates import Word
from fleet import overview, topology
from fleet.overview import Need, Overview
from fleet.topology import FleetMap, MapQuery
from pki.actors import Action

_TAG = "Overview"


class NeedShown(Shown):
    """Something that needs a person where `count` is not 0."""

    kind: str
    severity: str
    count: int = Field(description=f"Up to {overview.COUNTED:,}.")
    count_is_more: bool
    about: list[str] = Field(description="The names of some of it.")
    url: str = Field(description="What was counted, as this API lists it.")


class AuthorityHealthShown(Shown):
    """Whether what an authority promises is kept."""

    name: str
    kind: str
    status: str
    ends_at: datetime
    is_kept: bool = Field(
        description="False where it needs neither lists nor answers: its key is elsewhere, or its time is over."
    )
    lists_until: datetime | None = Field(
        description="When the first of its revocation lists ends; null: one was never published."
    )
    ocsp_until: datetime | None = Field(
        description="When the certificate of its last OCSP signer ends; null: it has none."
    )


class SpanShown(Shown):
    """How many valid certificates end in a time."""

    begin: datetime
    end: datetime | None = Field(description="Null: all that end later.")
    count: int


class AgeShown(Shown):
    """How many shared secrets are in use for so long."""

    days: int
    below: int | None = Field(description="In days; null: all that are older.")
    count: int


class HourShown(Shown):
    """How often SAs were rekeyed, or authenticated anew, in an hour."""

    hour: datetime
    rekeys: int


class OverviewShown(Shown):
    """What the caller may know of; null is what the role may not read."""

    made_at: datetime
    needs: list[NeedShown] = Field(
        description="All that was looked at, what needs a person first; of the rest `count` is 0."
    )
    authorities: list[AuthorityHealthShown] | None
    expiry: list[SpanShown] | None = Field(description="By days, then by weeks, in UTC.")
    key_ages: list[AgeShown] | None
    rekeys: list[HourShown] | None = Field(description="Of the last 24 hours.")


class MapSearch(Sent):
    """Which tunnels."""

    q: Word | None = Field(
        default=None, description="Part of the name of a tunnel, or of what it ends at."
    )
    gateway: Word | None = None
    site: Word | None = Field(
        default=None, description="What follows the first dot in the name of an end."
    )
    state: Literal["alert", "down", "rotating", "unknown", "up"] | None = None
    limit: int = Field(default=200, ge=1, le=500, description="How many tunnels, worst first.")


class NodeShown(Shown):
    """A gateway, or an outside peer."""

    name: str
    site: str
    state: str = Field(description="alert, silent, new, ok; peer: no gateway of ours.")
    heard_at: datetime | None
    tunnels: dict[str, int] = Field(description="Of those that were looked for, by state.")


class EdgeShown(Shown):
    """A tunnel."""

    tunnel: str
    left: str
    right: str
    is_peer: bool = Field(description="Whether the right end is no gateway of ours.")
    state: str
    sas: int = Field(description="IKE SAs that are up.")
    alert: int | None = Field(description="The number of the worst alert that is open for it.")
    rotating: bool


class TrunkShown(Shown):
    """All tunnels between two sites, or within one."""

    left: str
    right: str
    tunnels: dict[str, int]


class MapShown(Shown):
    """The fleet as a graph."""

    made_at: datetime
    gateways: int = Field(description="That have one of these tunnels.")
    alone: int = Field(description="Gateways without a tunnel, where all were looked for.")
    tunnels: int
    states: dict[str, int] = Field(description="Of all these tunnels.")
    nodes: list[NodeShown] = Field(description="The ends of `edges`.")
    edges: list[EdgeShown] = Field(description="The worst first.")
    more: int = Field(description="Tunnels that are not among `edges`.")
    trunks: list[TrunkShown] = Field(description="All of them by site, the worst first.")


def show(call: Call[None, Nothing]) -> Reply:
    """Look at everything."""
    return Reply(_shown(overview.overview(call.desk, call.actor, now=call.now)))


def _shown(found: Overview) -> OverviewShown:
    known, expiry, ages = found.authorities, found.expiry, found.key_ages
    return OverviewShown(
        made_at=found.made_at,
        needs=[_need(each) for each in found.needs],
        authorities=None
        if known is None
        else [AuthorityHealthShown.model_validate(vars(each)) for each in known],
        expiry=None
        if expiry is None
        else [SpanShown.model_validate(vars(each)) for each in expiry],
        key_ages=None if ages is None else [AgeShown.model_validate(vars(each)) for each in ages],
        rekeys=None
        if found.rekeys is None
        else [HourShown(hour=hour, rekeys=number) for hour, number in found.rekeys.items()],
    )


def _need(need: Need) -> NeedShown:
    return NeedShown(
        kind=need.kind,
        severity=need.severity,
        count=need.count,
        count_is_more=need.is_more,
        about=list(need.about),
        url=need.path + (f"?{urlencode(need.query)}" if need.query else ""),
    )


def draw(call: Call[None, MapSearch]) -> Reply:
    """Draw the fleet."""
    query = MapQuery(**call.query.model_dump())
    return Reply(_map(topology.look(call.desk, call.actor, query, now=call.now)))


def _map(found: FleetMap) -> MapShown:
    return MapShown(
        made_at=found.made_at,
        gateways=found.gateways,
        alone=found.alone,
        tunnels=found.tunnels,
        states=dict(found.states),
        nodes=[NodeShown.model_validate(vars(each)) for each in found.nodes],
        edges=[EdgeShown.model_validate(vars(each)) for each in found.edges],
        more=found.more,
        trunks=[TrunkShown.model_validate(vars(each)) for each in found.trunks],
    )


ROUTES = (
    Route(
        method="GET",
        path="/v1/overview",
        view=show,
        summary="What needs a person now, and how the fleet stands",
        description=(
            "Each number comes with the request that lists what it counts. A credential that is tied to a gateway is "
            "told of that gateway alone."
        ),
        tag=_TAG,
        action=Action.METRICS_READ,
        answer=OverviewShown,
    ),
    Route(
        method="GET",
        path="/v1/fleet-map",
        view=draw,
        summary="The fleet as a graph: gateways, and tunnels with their states",
        description=(
            "A tunnel's state is the first that is true: `alert`, one that is high or critical is open for it; "
            "`down`, an end tells of its SAs and no end has one; `rotating`, a shared secret of it is being changed; "
            "`unknown`, no end tells of its SAs now; `up`."
        ),
        tag=_TAG,
        action=Action.TUNNEL_READ,
        query=MapSearch,
        answer=MapShown,
        refusals=(422,),
    ),
)
