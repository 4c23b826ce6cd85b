"""The fleet as a graph: gateways and tunnels, or where there are too many of them, sites; and the same as a table."""

from collections.abc import Mapping
from typing import Any, Final, Literal
from urllib.parse import quote

from pydantic import Field

from api.console.lists import Search
from api.console.page import Answer, Page, Screen, Visit, text
from api.console.render import link
from api.console.tones import Tone, tone_of
from fleet import topology
from fleet.topology import FleetMap, MapQuery, Node, NodeState, Trunk, TunnelState
from pki.actors import Action

_PATH: Final = "/map"
# So many tunnels can be told apart in a picture; above, it shows sites.
_MOST: Final = 200
_FEW_LABELS: Final = 40
TUNNELS: Final[Mapping[str, Tone]] = {
    TunnelState.ALERT: Tone("bad", text("Alert")),
    TunnelState.DOWN: Tone("bad", text("Down")),
    TunnelState.ROTATING: Tone("busy", text("Key is rotating")),
    TunnelState.UNKNOWN: Tone("off", text("Unknown")),
    TunnelState.UP: Tone("good", text("Up")),
}
NODES: Final[Mapping[str, Tone]] = {
    NodeState.ALERT: Tone("bad", text("Alert")),
    NodeState.SILENT: Tone("warn", text("Silent")),
    NodeState.NEW: Tone("off", text("Never heard of")),
    NodeState.OK: Tone("good", text("In order")),
    NodeState.PEER: Tone("off", text("Outside peer")),
}
# Of each state a line or a shape of its own, so that nobody need see the colour.
_LINES: Final = {
    TunnelState.ALERT: {"color": "@bad", "width": 4, "type": "solid"},
    TunnelState.DOWN: {"color": "@bad", "width": 2, "type": "dashed"},
    TunnelState.ROTATING: {"color": "@busy", "width": 2, "type": "dotted"},
    TunnelState.UNKNOWN: {"color": "@off", "width": 1, "type": "dotted"},
    TunnelState.UP: {"color": "@good", "width": 2, "type": "solid"},
}
_SHAPES: Final = {
    NodeState.ALERT: "triangle",
    NodeState.SILENT: "rect",
    NodeState.NEW: "emptyCircle",
    NodeState.OK: "circle",
    NodeState.PEER: "diamond",
}


class MapSearch(Search):
    """Which tunnels."""

    q: str | None = Field(default=None, max_length=200)
    gateway: str | None = Field(default=None, max_length=253)
    site: str | None = Field(default=None, max_length=253)
    state: Literal["alert", "down", "rotating", "unknown", "up"] | None = None


def look(visit: Visit[None, MapSearch]) -> Answer:
    """The fleet, the worst first."""
    query = visit.query
    wanted = MapQuery(query.q, query.gateway, query.site, query.state, _MOST)
    found = topology.look(visit.desk, visit.actor, wanted, now=visit.now)
    by_site = found.more > 0 and len(found.trunks) > 1
    drawn = {
        "found": found,
        "by_site": by_site,
        "option": _sites(visit, found) if by_site else _gateways(visit, found),
        "columns": _columns(visit, by_site=by_site),
        "rows": _site_rows(visit, found) if by_site else _gateway_rows(visit, found),
        "edges": [(each, tone_of(TUNNELS, each.state)) for each in found.edges],
        "states": TUNNELS,
        "shapes": NODES,
        "filtered": any((query.q, query.gateway, query.site, query.state)),
    }
    return Screen("map/map.html", drawn)


def _columns(visit: Visit[Any, Any], *, by_site: bool) -> tuple[str, ...]:
    if by_site:
        return (visit.say("Site"), visit.say("Site"), visit.say("Tunnels"))
    return (visit.say("Gateway"), visit.say("State"), visit.say("Tunnels"))


def _counted(visit: Visit[Any, Any], tunnels: Mapping[str, int]) -> str:
    """Numbers of tunnels by state, in words."""
    told = [
        f"{visit.say(tone.word)}: {visit.language.number(tunnels[state])}"
        for state, tone in TUNNELS.items()
        if tunnels.get(state)
    ]
    return ", ".join(told)


def _gateway_rows(visit: Visit[Any, Any], found: FleetMap) -> list[tuple[str, ...]]:
    return [
        (each.name, visit.say(tone_of(NODES, each.state).word), _counted(visit, each.tunnels))
        for each in found.nodes
    ]


def _site_rows(visit: Visit[Any, Any], found: FleetMap) -> list[tuple[str, ...]]:
    return [
        (_site(visit, each.left), _site(visit, each.right), _counted(visit, each.tunnels))
        for each in found.trunks
    ]


def _site(visit: Visit[Any, Any], name: str) -> str:
    return name or visit.say("no site")


def _gateways(visit: Visit[Any, Any], found: FleetMap) -> dict[str, Any]:
    """A node for each gateway and outside peer, a line for each tunnel."""
    nodes = [_node(visit, each, found) for each in found.nodes]
    links = [
        {
            "source": each.left,
            "target": each.right,
            "name": f"{each.tunnel}: {visit.say(tone_of(TUNNELS, each.state).word)}",
            "lineStyle": _LINES[TunnelState(each.state)],
            "href": f"/tunnels/{each.tunnel}",
        }
        for each in found.edges
    ]
    return _graph(nodes, links)


def _node(visit: Visit[Any, Any], node: Node, found: FleetMap) -> dict[str, Any]:
    tone = tone_of(NODES, node.state)
    ours = node.state != NodeState.PEER
    href = f"/gateways/{quote(node.name, safe='')}" if ours else link("/map", q=node.name)
    return {
        "name": node.name,
        "value": f"{visit.say(tone.word)}; {_counted(visit, node.tunnels)}",
        "symbol": _SHAPES[NodeState(node.state)],
        "symbolSize": 16 + min(24, 2 * sum(node.tunnels.values())),
        "itemStyle": {"color": f"@{tone.tone}"},
        "label": {"show": len(found.nodes) <= _FEW_LABELS},
        "href": href,
    }


def _sites(visit: Visit[Any, Any], found: FleetMap) -> dict[str, Any]:
    """A node for each site, a line for all tunnels between two of them, in the state of the worst."""
    totals: dict[str, dict[str, int]] = {}
    links = []
    for each in found.trunks:
        for end in {each.left, each.right}:
            total = totals.setdefault(end, {})
            for state, number in each.tunnels.items():
                total[state] = total.get(state, 0) + number
        if each.left != each.right:
            links.append(
                {
                    "source": _site(visit, each.left),
                    "target": _site(visit, each.right),
                    "name": _counted(visit, each.tunnels),
                    "lineStyle": _LINES[_worst(each)],
                }
            )
    nodes = [
        {
            "name": _site(visit, name),
            "value": _counted(visit, total),
            "symbol": "roundRect",
            "symbolSize": 18 + min(40, len(str(sum(total.values()))) * 8),
            "itemStyle": {"color": _LINES[_worst_of(total)]["color"]},
            "label": {"show": len(totals) <= _FEW_LABELS},
            "href": link("/map", site=name) if name else "/tunnels",
        }
        for name, total in totals.items()
    ]
    return _graph(nodes, links)


def _worst(trunk: Trunk) -> TunnelState:
    return _worst_of(trunk.tunnels)


def _worst_of(tunnels: Mapping[str, int]) -> TunnelState:
    return next((state for state in TunnelState if tunnels.get(state)), TunnelState.UP)


def _graph(nodes: list[dict[str, Any]], links: list[dict[str, Any]]) -> dict[str, Any]:
    few = len(nodes) <= _FEW_LABELS
    return {
        "tooltip": {"formatter": "{b}\n{c}"},
        "series": [
            {
                "type": "graph",
                "layout": "force",
                "roam": True,
                "draggable": True,
                "force": {
                    "initLayout": "circular",
                    "repulsion": 700 if few else 160,
                    "edgeLength": [120, 260] if few else [40, 120],
                    "gravity": 0.12,
                    "layoutAnimation": False,
                },
                "label": {"position": "bottom", "color": "@ink"},
                "emphasis": {"focus": "adjacency"},
                "data": nodes,
                "links": links,
            }
        ],
    }


PAGES: tuple[Page, ...] = (
    Page("GET", _PATH, look, Action.TUNNEL_READ, query=MapSearch, menu="Fleet map"),
)
