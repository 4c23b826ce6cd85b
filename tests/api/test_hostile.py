"""Hostile values in every field, parameter and path of every route: refused, or taken, but never unforeseen."""

import itertools
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from api.app import Wiring, routes
from api.meters import Meters
from api.registry import Nothing, Route
from pki.actors import Role
from tests.api.serving import Client, Serving
from tests.api.site import Site, new_csr

TEXTS = [
    "",
    " ",
    "x",
    "a" * 200,
    "a" * 5000,
    "\x00",
    "a\nb",
    "\x1b[31m",
    "\u202egnp.exe",
    "\ufeff",
    "é",
    "漢字" * 60,
    "🔥",
    "dns:*.example",
    "dns:" + "a" * 64 + ".example",
    "ip:300.1.1.1",
    "ip:::1%eth0",
    "email:@",
    "uri:javascript:alert(1)",
    "dn:CN=",
    "../../etc/passwd",
    "' OR 1=1 --",
    "%s%n{0}",
    "${jndi:ldap://x}",
    "<script>alert(1)</script>",
    "=cmd|' /C calc'!A0",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59Z",
    "9999-12-31T23:59:59-23:59",
    "2030-01-01T00:00:00+00:00",
    "1d",
    "0d",
    "99999999999d",
    "-----BEGIN CERTIFICATE REQUEST-----\n!!!\n-----END CERTIFICATE REQUEST-----",
    "MAA=",
]
OTHERS: list[object] = [
    None,
    True,
    0,
    -1,
    1,
    2**31,
    2**63,
    10**40,
    1.5,
    1e308,
    [],
    {},
    [None],
    [[]],
    ["x"] * 101,
    {"a": {"b": {"c": []}}},
]
VALUES = [*TEXTS, *OTHERS, *([text] for text in TEXTS)]
NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def admin(serving: Serving) -> Iterator[Client]:
    """An admin's client: nothing is refused before it is looked at."""
    with serving.client(Role.ADMIN) as client:
        yield client


def _example(route: Route) -> dict[str, object]:
    body = dict(route.example)
    if "csr" in body:
        body["csr"] = new_csr("hostile.example")
    if route.path == "/v1/profiles":
        body["name"] = f"hostile-{next(NUMBERS)}"
    if route.path == "/v1/authorities":
        body["name"] = f"hostile-{next(NUMBERS)}"
    return body


def _url(site: Site, path: str) -> str:
    serial = site.issue("hostile.example").serial if "{serial}" in path else ""
    return path.replace("{serial}", serial).replace("{name}", "gateway").replace("{id}", "0a")


def _all(site: Site) -> tuple[Route, ...]:
    return routes(Wiring(desk=site.desk, clock=site.clock, meters=Meters(), version="0"))


def test_bodies(serving: Serving, admin: Client) -> None:
    for route in _all(serving.site):
        if route.body is None or route.body is Nothing:
            continue
        for field in route.body.model_fields:
            url = _url(serving.site, route.path)
            for value in VALUES:
                reply = admin.post(url, _example(route) | {field: value})
                assert reply.status < 500, (route.name, field, value, reply)
                if reply.status >= 400:
                    assert reply.code
                if "/revoke" in url and reply.status == 200:
                    url = _url(serving.site, route.path)


def test_queries(serving: Serving, admin: Client) -> None:
    for route in _all(serving.site):
        fields = list(route.query.model_fields)
        for field, text in itertools.product(fields, TEXTS):
            url = f"{_url(serving.site, route.path)}?{field}={quote(text)}"
            method = route.method
            reply = admin.send(method, url, _example(route) if method == "POST" else None)
            assert reply.status < 500, (url, reply)


def test_paths(serving: Serving, admin: Client) -> None:
    for route in _all(serving.site):
        for parameter, text in itertools.product(route.parameters, TEXTS):
            url = route.path.replace(f"{{{parameter}}}", quote(text, safe=""))
            reply = admin.send(
                route.method, url, _example(route) if route.method == "POST" else None
            )
            assert reply.status < 500, (url, reply)
