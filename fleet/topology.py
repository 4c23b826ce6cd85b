"""The fleet as a graph: gateways and outside peers are its nodes, tunnels its edges, each with its state."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, and_, func, or_, select

from fleet.monitoring.values import SEVERITIES, AlertState
from fleet.scopes import within
from pki.actors import Action, Actor, require, require_gateway
from pki.certificates import MAX_PAGE, BadQuery
from pki.desk import Desk
from store.fleet_tables import gateway_reports, gateway_sas, gateways, tunnels
from store.monitoring_tables import sa_alerts, sa_watches
from store.rotation_tables import secret_slots
from store.text import storable

# More open alerts than these are no news of any one tunnel; the worst are shown.
_MOST_ALERTS: Final = 5_000
_BAD: Final = SEVERITIES.index("high")


class TunnelState(StrEnum):
    """How a tunnel is, the worst first: the first that is true."""

    ALERT = "alert"  # an alert is open for it, high or critical
    DOWN = "down"  # an end that tells of its SAs has none, and no other has
    ROTATING = "rotating"  # a shared secret of it is being changed
    UNKNOWN = "unknown"  # no end tells
    UP = "up"


class NodeState(StrEnum):
    """How a gateway is."""

    ALERT = "alert"  # an alert is open there, high or critical
    SILENT = "silent"  # not heard of for too long
    NEW = "new"  # never heard of
    OK = "ok"
    PEER = "peer"  # no gateway of ours


_WORST: Final = {state: place for place, state in enumerate(TunnelState)}


@dataclass(frozen=True)
class MapQuery:
    """What to show: `q` is part of the name of a tunnel, or of what it ends at; `site` is what follows the first dot in
    a gateway's name. At most `limit` tunnels, the worst first.
    """

    q: str | None = None
    gateway: str | None = None
    site: str | None = None
    state: str | None = None
    limit: int = 200


@dataclass(frozen=True)
class Node:
    """A gateway, or an outside peer, with how many tunnels it has of those that were looked for, by state."""

    name: str
    site: str
    state: str
    heard_at: datetime | None
    tunnels: Mapping[str, int]


@dataclass(frozen=True)
class Edge:
    """A tunnel. `sas` are the IKE_SAs that are up; `alert` is the number of the worst alert that is open for it."""

    tunnel: str
    left: str
    right: str
    is_peer: bool
    state: str
    sas: int
    alert: int | None
    rotating: bool


@dataclass(frozen=True)
class Trunk:
    """All tunnels between two sites, or within one, by state."""

    left: str
    right: str
    tunnels: Mapping[str, int]


@dataclass(frozen=True)
class FleetMap:
    """`states` counts all tunnels that were looked for, `nodes` are the ends of `edges`; `more` tunnels are not among
    these. `trunks` are all of them by sites, the worst first, at most as many as edges. `gateways` have such a tunnel;
    those without any are counted in `alone`, where all were looked for.
    """

    made_at: datetime
    gateways: int
    alone: int
    tunnels: int
    states: Mapping[str, int]
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    more: int
    trunks: tuple[Trunk, ...]


def look(desk: Desk, actor: Actor, query: MapQuery, *, now: datetime) -> FleetMap:
    """Draw the fleet; a credential of one gateway sees the tunnels that end there.

    Raises RoleMayNot, OutsideScope, BadQuery.
    """
    require(actor, Action.TUNNEL_READ)
    gateway = query.gateway or actor.scope.gateway
    require_gateway(actor, gateway)
    if not 1 <= query.limit <= MAX_PAGE:
        raise BadQuery(f"A map shows between 1 and {MAX_PAGE} tunnels.")
    if query.state is not None and query.state not in {*TunnelState}:
        raise BadQuery(f"A state is one of {', '.join(TunnelState)}.")
    with desk.store.read() as connection:
        drawing = _Drawing(connection, actor, query, gateway, now - desk.rules.unreachable_after)
        return drawing.make(now)


def site(name: str) -> str:
    """Where a gateway stands, by its name: what follows the first dot; empty where there is none."""
    return name.partition(".")[2]


@dataclass
class _Drawing:
    connection: Connection
    actor: Actor
    query: MapQuery
    gateway: str | None
    horizon: datetime
    alerts: dict[int, int] = field(default_factory=dict)
    alerting: set[int] = field(default_factory=set)

    def make(self, now: datetime) -> FleetMap:
        self._read_alerts()
        heard = self._heard()
        edges = self._edges(heard)
        edges.sort(key=lambda each: (_WORST[TunnelState(each.state)], each.tunnel))
        shown = tuple(edges[: self.query.limit])
        states = Counter(each.state for each in edges)
        ends = {end for each in edges for end in (each.left, each.right)}
        return FleetMap(
            made_at=now,
            gateways=sum(row.name in ends for row in heard.values()),
            alone=sum(row.name not in ends for row in heard.values()) if self._is_all else 0,
            tunnels=len(edges),
            states={str(state): states.get(state, 0) for state in TunnelState},
            nodes=tuple(self._nodes(shown, edges, heard)),
            edges=shown,
            more=len(edges) - len(shown),
            trunks=tuple(_trunks(edges)[: self.query.limit]),
        )

    @property
    def _is_all(self) -> bool:
        asked = (
            self.actor.scope.gateway,
            self.query.q,
            self.gateway,
            self.query.site,
            self.query.state,
        )
        return not any(asked)

    def _read_alerts(self) -> None:
        """The worst alert of each tunnel, and the gateways that have one."""
        is_open = (
            sa_alerts.c.state == AlertState.OPEN,
            sa_alerts.c.rank <= _BAD,
            sa_alerts.c.silenced_until.is_(None),
            within(self.actor, sa_alerts.c.gateway_id),
        )
        those = (
            select(sa_alerts.c.id, sa_alerts.c.gateway_id, sa_alerts.c.connection, sa_alerts.c.rank)
            .where(*is_open)
            .order_by(sa_alerts.c.rank, sa_alerts.c.id.desc())
            .limit(_MOST_ALERTS)
            .subquery()
        )
        ends = or_(
            tunnels.c.left_id == those.c.gateway_id, tunnels.c.right_id == those.c.gateway_id
        )
        named = select(those.c.id, those.c.rank, those.c.gateway_id, tunnels.c.id.label("tunnel"))
        by_name = named.outerjoin(tunnels, and_(ends, tunnels.c.name == those.c.connection))
        same = and_(
            gateway_sas.c.gateway_id == those.c.gateway_id,
            gateway_sas.c.connection == those.c.connection,
        )
        by_sa = select(
            those.c.id, those.c.rank, those.c.gateway_id, gateway_sas.c.tunnel_id.label("tunnel")
        ).join(gateway_sas, same)
        rows = [*self.connection.execute(by_name), *self.connection.execute(by_sa)]
        for row in sorted(rows, key=lambda each: (each.rank, -each.id)):
            self.alerting.add(row.gateway_id)
            if row.tunnel is not None:
                self.alerts.setdefault(row.tunnel, row.id)

    def _heard(self) -> Mapping[int, Any]:
        """When each gateway was last heard of, and of its SAs."""
        heard = func.coalesce(gateway_reports.c.seen_at, sa_watches.c.seen_at)
        query = (
            select(
                gateways.c.id,
                gateways.c.name,
                heard.label("heard_at"),
                gateway_reports.c.sas_received_at,
            )
            .outerjoin(gateway_reports, gateway_reports.c.gateway_id == gateways.c.id)
            .outerjoin(sa_watches, sa_watches.c.gateway_id == gateways.c.id)
        )
        return {row.id: row for row in self.connection.execute(query)}

    def _edges(self, heard: Mapping[int, Any]) -> list[Edge]:
        found = []
        for row in self.connection.execute(_TUNNELS.where(*self._conditions())):
            left = heard[row.left_id]
            right = None if row.right_id is None else heard[row.right_id]
            edge = Edge(
                tunnel=row.name,
                left=left.name,
                right=row.peer_name if right is None else right.name,
                is_peer=right is None,
                state=str(self._state(row, (left, right))),
                sas=row.sas or 0,
                alert=self.alerts.get(row.id),
                rotating=bool(row.rotating),
            )
            if self._is_meant(edge):
                found.append(edge)
        return found

    def _conditions(self) -> Iterator[ColumnElement[bool]]:
        yield within(self.actor, tunnels.c.left_id, tunnels.c.right_id)
        if self.gateway is not None:
            mine = select(gateways.c.id).where(gateways.c.name == storable(self.gateway))
            number = mine.scalar_subquery()
            yield or_(tunnels.c.left_id == number, tunnels.c.right_id == number)

    def _state(self, row: Any, ends: Iterable[Any]) -> TunnelState:
        if row.id in self.alerts:
            return TunnelState.ALERT
        told = any(each is not None and self._tells(each) for each in ends)
        if told and not row.sas:
            return TunnelState.DOWN
        if row.rotating:
            return TunnelState.ROTATING
        return TunnelState.UP if told else TunnelState.UNKNOWN

    def _tells(self, gateway: Any) -> bool:
        """Whether what is known of its SAs is of now."""
        return gateway.sas_received_at is not None and gateway.heard_at > self.horizon

    def _is_meant(self, edge: Edge) -> bool:
        query = self.query
        if query.state is not None and edge.state != query.state:
            return False
        if query.site is not None and query.site not in {site(edge.left), site(edge.right)}:
            return False
        if not query.q:
            return True
        text = query.q.casefold()
        return any(text in each.casefold() for each in (edge.tunnel, edge.left, edge.right))

    def _nodes(
        self, shown: Sequence[Edge], edges: Sequence[Edge], heard: Mapping[int, Any]
    ) -> Iterator[Node]:
        ours = {row.name: row for row in heard.values()}
        counts: dict[str, Counter[str]] = defaultdict(Counter)
        for edge in edges:
            counts[edge.left][edge.state] += 1
            counts[edge.right][edge.state] += 1
        for name in sorted({end for edge in shown for end in (edge.left, edge.right)}):
            row = ours.get(name)
            yield Node(
                name=name,
                site=site(name),
                state=str(NodeState.PEER if row is None else self._node_state(row)),
                heard_at=None if row is None else row.heard_at,
                tunnels=dict(counts[name]),
            )

    def _node_state(self, row: Any) -> NodeState:
        if row.id in self.alerting:
            return NodeState.ALERT
        if row.heard_at is None:
            return NodeState.NEW
        return NodeState.OK if row.heard_at > self.horizon else NodeState.SILENT


def _trunks(edges: Sequence[Edge]) -> list[Trunk]:
    between: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for edge in edges:
        left, right = sorted((site(edge.left), site(edge.right)))
        between[left, right][edge.state] += 1
    made = [Trunk(left, right, dict(count)) for (left, right), count in between.items()]
    return sorted(
        made,
        key=lambda each: (
            *(-each.tunnels.get(state, 0) for state in TunnelState),
            each.left,
            each.right,
        ),
    )


_UP: Final = or_(gateway_sas.c.state.contains("ESTABLISHED"), gateway_sas.c.state == "REKEYING")
_COUNTED: Final = (
    select(gateway_sas.c.tunnel_id, func.count().label("sas"))
    .where(_UP, gateway_sas.c.tunnel_id.is_not(None))
    .group_by(gateway_sas.c.tunnel_id)
    .subquery()
)
_ROTATING: Final = (
    select(secret_slots.c.tunnel_id, func.count().label("rotating"))
    .where(secret_slots.c.rotation_id.is_not(None))
    .group_by(secret_slots.c.tunnel_id)
    .subquery()
)
_TUNNELS: Final = (
    select(
        tunnels.c.id,
        tunnels.c.name,
        tunnels.c.left_id,
        tunnels.c.right_id,
        tunnels.c.peer_name,
        _COUNTED.c.sas,
        _ROTATING.c.rotating,
    )
    .outerjoin(_COUNTED, _COUNTED.c.tunnel_id == tunnels.c.id)
    .outerjoin(_ROTATING, _ROTATING.c.tunnel_id == tunnels.c.id)
)
