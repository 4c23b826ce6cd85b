"""The fleet map: gateways and tunnels as a graph and as a table; sites, where there are too many for a picture."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import insert, select

from pki.actors import Role, Scope
from store.fleet_tables import gateways, tunnels
from tests.api.serving import Serving
from tests.console.browser import Browser, Page
from tests.console.fleet import OUTSIDE, Fleet, failed

Make = Callable[..., Browser]


@pytest.fixture(scope="module")
def fleet(serving: Serving) -> Iterator[Fleet]:
    """Three gateways and an outside peer."""
    made = Fleet(serving.site, "map")
    up = made.tunnel("a", "b")
    made.tunnel("b", "c")
    made.tunnel("c", OUTSIDE)
    one = {"connection": up, "remote_address": "192.0.2.7", "remote_id": "map-b.example"}
    made.sas("map-a.example", one)
    made.sas("map-b.example")
    made.sas("map-c.example")
    yield made
    made.close()


def graph(page: Page) -> dict[str, Any]:
    """The nodes and links of the picture, by name."""
    found = re.search(r'id="map-option">(.*?)</script>', page.html)
    assert found is not None, page.text
    [series] = json.loads(found[1])["series"]
    nodes = {each["name"]: each for each in series["data"]}
    assert len(nodes) == len(series["data"])
    return {
        "nodes": nodes,
        "links": {each["name"].partition(":")[0]: each for each in series["links"]},
    }


def test_gateways_and_tunnels_are_drawn_by_state_and_lead_on(browser: Make, fleet: Fleet) -> None:
    visitor = browser(Role.AUDITOR)
    page = visitor.get("/map?q=map-")
    assert page.status == 200
    drawn = graph(page)
    assert set(drawn["nodes"]) == {"map-a.example", "map-b.example", "map-c.example", "bank"}
    assert drawn["nodes"]["bank"]["symbol"] == "diamond"
    assert drawn["nodes"]["map-a.example"]["href"] == "/gateways/map-a.example"
    assert drawn["links"]["map-b-c"]["lineStyle"] == {"color": "@bad", "width": 2, "type": "dashed"}
    assert drawn["links"]["map-c-bank"]["lineStyle"]["type"] == "dashed"
    assert drawn["links"]["map-a-b"]["href"] == "/tunnels/map-a-b"
    # The same as a table.
    for name in drawn["links"]:
        assert f"/tunnels/{name}" in page.links
    assert visitor.get(drawn["nodes"]["map-a.example"]["href"]).status == 200
    assert graph(visitor.get("/map?state=down&q=map-"))["links"].keys() == {"map-b-c", "map-c-bank"}
    assert graph(visitor.get("/map?gateway=map-a.example"))["links"].keys() == {"map-a-b"}
    assert "No tunnel fits" in visitor.get("/map?q=nobody-has-this").text


def test_an_alert_stands_out_by_shape_and_leads_to_its_page(browser: Make, fleet: Fleet) -> None:
    fleet.events("map-a.example", failed("map-a-b", fleet.watch(), 14, "CN=b"))
    page = browser(Role.AUDITOR).get("/map?q=map-")
    drawn = graph(page)
    assert drawn["nodes"]["map-a.example"]["symbol"] == "triangle"
    assert drawn["links"]["map-a-b"]["lineStyle"]["width"] == 4
    assert [each for each in page.links if each.startswith("/alerts/")]


def test_a_credential_of_one_gateway_sees_its_part(
    browser: Make, fleet: Fleet, serving: Serving
) -> None:
    token = serving.site.token(Role.OPERATOR, scope=Scope(gateway="map-a.example"))
    page = browser(token).get("/map")
    assert set(graph(page)["nodes"]) == {"map-a.example", "map-b.example"}
    assert "map-c.example" not in page.html
    assert browser(token).get("/map?gateway=map-c.example").status == 403


def test_above_the_limit_sites_are_drawn_and_each_leads_to_its_gateways(
    browser: Make, fleet: Fleet
) -> None:
    with fleet.site.desk.store.write() as connection:
        hub = (
            connection.execute(select(gateways).where(gateways.c.name == "map-a.example"))
            .mappings()
            .one()
        )
        row = {name: value for name, value in hub.items() if name != "id"}
        spokes = [row | {"name": f"s{n}.site{n % 3}.test", "identities": ""} for n in range(230)]
        connection.execute(insert(gateways), spokes)
        named = select(gateways.c.id, gateways.c.name).where(gateways.c.name.like("s%.test"))
        made = {
            "left_id": hub["id"],
            "managed": 0,
            "created_at": hub["created_at"],
            "created_by": "test",
        }
        rows = [
            made | {"name": f"spoke-{each.id}", "right_id": each.id}
            for each in connection.execute(named)
        ]
        connection.execute(insert(tunnels), rows)
    visitor = browser(Role.AUDITOR)
    page = visitor.get("/map")
    assert page.status == 200
    assert "too many for one picture" in page.text
    drawn = graph(page)["nodes"]
    assert {"example", "site0.test", "site1.test", "site2.test"} <= set(drawn)
    assert len([each for each in page.links if each.startswith("/tunnels/")]) == 200
    inside = visitor.get(drawn["site1.test"]["href"])
    assert "too many" not in inside.text
    names = set(graph(inside)["nodes"])
    assert "s1.site1.test" in names
    assert "s0.site0.test" not in names
