"""The reference: a valid OpenAPI document, and a page that loads nothing from anywhere."""

import base64
import hashlib
import html.parser
import json
import re

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from api.app import Wiring, routes
from api.meters import Meters
from api.problems import STATUS
from api.reference import error_classes
from pki.actors import GRANTS, Role
from tests.api.serving import Serving
from tests.api.site import Site

pytestmark = pytest.mark.parametrize("site", ["sqlite"], indirect=True)


def test_the_document_is_valid_openapi_3_1(serving: Serving) -> None:
    with serving.client() as client:
        reply = client.get("/v1/openapi.json")
    assert reply.headers["content-type"] == "application/json"
    document = reply.json
    OpenAPIV31SpecValidator(document).validate()
    assert document["openapi"].startswith("3.1")
    assert document["info"]["version"] == serving.settings.version


def test_the_document_tells_of_every_route(serving: Serving) -> None:
    site = serving.site
    wiring = Wiring(desk=site.desk, clock=site.clock, meters=Meters(), version="0")
    with serving.client() as client:
        paths = client.get("/v1/openapi.json").json["paths"]
    known = routes(wiring)
    assert {(r.path, r.method.lower()) for r in known} == {(p, m) for p in paths for m in paths[p]}
    ids = [operation["operationId"] for path in paths.values() for operation in path.values()]
    assert len(set(ids)) == len(ids)
    for route in known:
        operation = paths[route.path][route.method.lower()]
        assert (operation["security"] == []) == route.public
        allowed = {r for r in GRANTS if route.action is None or route.action in GRANTS[r]}
        assert set(operation["x-roles"]) == {str(role) for role in allowed - {Role.SCHEDULER}}


def test_every_example_fits_its_model(site: Site) -> None:
    wiring = Wiring(desk=site.desk, clock=site.clock, meters=Meters(), version="0")
    for route in routes(wiring):
        if route.body is not None:
            route.body.model_validate_json(json.dumps(dict(route.example)))


class _Page(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_the_page_asks_nobody_for_anything(serving: Serving) -> None:
    with serving.client() as client:
        reply = client.get("/docs")
    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    page = _Page()
    page.feed(reply.body.decode())
    assert {tag for tag, _ in page.tags}.isdisjoint(
        {"script", "iframe", "img", "link", "form", "object", "embed", "svg", "base"}
    )
    targets = {attributes["href"] for tag, attributes in page.tags if tag == "a"}
    assert all(str(target).startswith(("#", "/v1/")) for target in targets)
    assert not any(name.startswith("on") or name == "style" for _, a in page.tags for name in a)
    policy = reply.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    styles = re.findall(r"<style>(.*?)</style>", reply.body.decode(), re.DOTALL)
    digests = [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in styles]
    assert [f"'sha256-{digest}'" for digest in digests] == re.findall(r"'sha256-[^']+'", policy)


def test_the_page_can_be_read_by_everybody(serving: Serving) -> None:
    with serving.client() as client:
        body = client.get("/docs").body.decode()
    page = _Page()
    page.feed(body)
    tags = page.tags
    assert ("html", {"lang": "en"}) in tags
    assert 'name="viewport"' in body
    assert "prefers-color-scheme: dark" in body
    ids = [a["id"] for _, a in tags if "id" in a]
    assert len(set(ids)) == len(ids)
    inside = {
        str(a["href"])[1:] for tag, a in tags if tag == "a" and str(a["href"]).startswith("#")
    }
    assert inside <= set(ids)
    headers = [a for tag, a in tags if tag == "th"]
    assert headers
    assert all("scope" in a for a in headers)


def test_the_page_tells_of_every_route_and_problem(serving: Serving) -> None:
    site = serving.site
    wiring = Wiring(desk=site.desk, clock=site.clock, meters=Meters(), version="0")
    with serving.client() as client:
        body = client.get("/docs").body.decode()
    for route in routes(wiring):
        assert f'id="{route.operation_id}"' in body
        assert route.summary in body.replace("&#39;", "'")
    for kind in error_classes():
        if kind.__module__.startswith(("core.", "store.", "hsm.", "pki.", "api.")):
            assert f'id="problem-{kind.code}"' in body, kind
    assert STATUS


def test_the_page_explains_what_its_examples_use(serving: Serving) -> None:
    with serving.client() as client:
        page = client.get("/docs").body.decode()
    assert "root.pem" not in page
    for name in ("URL=", "TOKEN=", "root-ca.pem"):
        assert name in page
    # What a person has to do about a file is not to wait.
    for code in ("weak_mode", "wrong_owner", "store_exposed"):
        row = page.partition(f'id="problem-{code}"')[2].partition("</tr>")[0]
        assert "ch" in row
        assert "Try again" not in row
