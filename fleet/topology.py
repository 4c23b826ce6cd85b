"""The fleet as a graph: gateways and outside peers are its nodes, tunnels its edges, each with its state."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, and_, case, func, or_, select

from fleet.bumps import chunks
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


# A fleet has many tunnels and a page shows few of them: what is not shown is a tuple, and nothing is made of it.
_Line = tuple[int, str, str, str, int, int, int]
_STATES: Final = tuple(TunnelState)


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
        known = self._known()
        lines = sorted(self._lines(known))
        shown = lines[: self.query.limit]
        states = [0] * len(_STATES)
        for line in lines:
            states[line[0]] += 1
        names = {row.name for row in known.values()}
        ours = names & {end for line in lines for end in (line[2], line[3])}
        return FleetMap(
            made_at=now,
            gateways=len(ours),
            alone=len(names) - len(ours) if self._is_all else 0,
            tunnels=len(lines),
            states={str(state): states[place] for place, state in enumerate(_STATES)},
            nodes=tuple(self._nodes(shown, lines, known)),
            edges=tuple(map(_edge, shown)),
            more=len(lines) - len(shown),
            trunks=tuple(_trunks(lines, self.query.limit)),
        )

    @property
    def _is_all(self) -> bool:
        asked = (self.actor.scope.gateway, self.query.q, self.gateway, self.query.site)
        return not any((*asked, self.query.state))

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

    def _known(self) -> Mapping[int, Any]:
        """The gateways: whether each was heard of, and whether what it said of its SAs is of now."""
        heard = _HEARD > self.horizon
        tells = and_(heard, gateway_reports.c.sas_received_at.is_not(None))
        query = _GATEWAYS.add_columns(
            case((_HEARD.is_(None), None), (heard, 1), else_=0).label("heard"),
            case((tells, 1), else_=0).label("tells"),
        )
        return {row.id: row for row in self.connection.execute(query).all()}

    def _lines(self, known: Mapping[int, Any]) -> Iterator[_Line]:
        alerts = self.alerts
        text, site_, state = self.query.q, self.query.site, self.query.state
        text = text.casefold() if text else None
        wanted = None if state is None else _STATES.index(TunnelState(state))
        rows = self.connection.execute(_TUNNELS.where(*self._conditions())).all()
        for number, name, left_id, right_id, peer, sas, rotating in rows:
            left = known[left_id]
            right = known[right_id] if right_id is not None else None
            other = peer if right is None else right.name
            tells = left.tells or (right is not None and right.tells)
            alert = alerts.get(number, 0)
            place = _place(alert, sas, tells, rotating)
            if wanted is not None and place != wanted:
                continue
            if site_ and site_ not in {site(left.name), site(other)}:
                continue
            if text and text not in f"{name}\n{left.name}\n{other}".casefold():
                continue
            yield place, name, left.name, other, sas or 0, alert, _flags(right is None, rotating)

    def _conditions(self) -> Iterator[ColumnElement[bool]]:
        yield within(self.actor, tunnels.c.left_id, tunnels.c.right_id)
        if self.gateway is not None:
            mine = select(gateways.c.id).where(gateways.c.name == storable(self.gateway))
            number = mine.scalar_subquery()
            yield or_(tunnels.c.left_id == number, tunnels.c.right_id == number)

    def _nodes(
        self, shown: Sequence[_Line], lines: Sequence[_Line], known: Mapping[int, Any]
    ) -> Iterator[Node]:
        names = sorted({end for line in shown for end in (line[2], line[3])})
        counts: dict[str, Counter[str]] = {name: Counter() for name in names}
        for line in lines:
            for end in (line[2], line[3]):
                if end in counts:
                    counts[end][str(_STATES[line[0]])] += 1
        ours = {row.name: row for row in known.values() if row.name in counts}
        heard: dict[str, datetime] = {}
        for some in chunks(sorted(ours)):
            query = _GATEWAYS.add_columns(_HEARD.label("at")).where(gateways.c.name.in_(some))
            heard.update({row.name: row.at for row in self.connection.execute(query)})
        for name in names:
            row = ours.get(name)
            yield Node(
                name=name,
                site=site(name),
                state=str(NodeState.PEER if row is None else self._node_state(row)),
                heard_at=heard.get(name),
                tunnels=dict(counts[name]),
            )

    def _node_state(self, row: Any) -> NodeState:
        if row.id in self.alerting:
            return NodeState.ALERT
        if row.heard is None:
            return NodeState.NEW
        return NodeState.OK if row.heard else NodeState.SILENT


def _place(alert: int, sas: int | None, tells: int, rotating: int | None) -> int:
    """The tunnel's state, by its place among them: the first that is true."""
    if alert:
        return 0
    if tells and not sas:
        return 1
    if rotating:
        return 2
    return 4 if tells else 3


def _flags(is_peer: bool, rotating: int | None) -> int:
    return 2 * is_peer + bool(rotating)


def _edge(line: _Line) -> Edge:
    place, name, left, right, sas, alert, flags = line
    return Edge(
        tunnel=name,
        left=left,
        right=right,
        is_peer=flags >= 2,
        state=str(_STATES[place]),
        sas=sas,
        alert=alert or None,
        rotating=flags % 2 == 1,
    )


def _trunks(lines: Sequence[_Line], limit: int) -> Iterator[Trunk]:
    between: dict[tuple[str, str], list[int]] = {}
    for line in lines:
        left, right = line[2].partition(".")[2], line[3].partition(".")[2]
        pair = (left, right) if left <= right else (right, left)
        counts = between.get(pair)
        if counts is None:
            counts = between[pair] = [0] * len(_STATES)
        counts[line[0]] += 1
    worst = sorted(([-number for number in counts], pair) for pair, counts in between.items())
    for counts, (left, right) in worst[:limit]:
        states = zip(_STATES, counts, strict=True)
        yield Trunk(left, right, {str(state): -number for state, number in states if number})


_HEARD: Final = func.coalesce(gateway_reports.c.seen_at, sa_watches.c.seen_at)
_GATEWAYS: Final = (
    select(gateways.c.id, gateways.c.name)
    .outerjoin(gateway_reports, gateway_reports.c.gateway_id == gateways.c.id)
    .outerjoin(sa_watches, sa_watches.c.gateway_id == gateways.c.id)
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
