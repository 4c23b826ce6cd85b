"""CMP over the TLS listener: the same door."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from cryptography import x509

from pki import tokens
from pki.actors import Role, Scope
from pki.endpoints import CmpDoor, Endpoint
from pki.tokens import TokenRequest
from tests.api.cmpcrafting import crafted, csr
from tests.api.cmping import MEDIA_TYPE, told
from tests.api.serving import Serving, serve
from tests.api.site import CONSOLE, Site

PATH = "/.well-known/cmp"


@pytest.fixture(scope="module")
def serving(site: Site) -> Iterator[Serving]:
    """A listener of an installation with two endpoints."""
    endpoints = {
        "gateway": Endpoint("gateway", "gateway", cmp=CmpDoor()),
        "shut": Endpoint("shut", "gateway"),
    }
    site.desk = replace(site.desk, rules=replace(site.desk.rules, endpoints=endpoints))
    with serve(site) as running:
        yield running


@pytest.mark.parametrize(
    "path", [PATH, f"{PATH}/pkcs10", f"{PATH}/p/gateway", f"{PATH}/p/gateway/pkcs10"]
)
def test_a_secret_gets_a_certificate(serving: Serving, path: str) -> None:
    name = "tls.example"
    scope = Scope(profiles=("gateway",), names=(f"dns:{name}",))
    wanted = TokenRequest(name, Role.ENROLLER, scope, uses=1)
    made = tokens.create(serving.site.desk, CONSOLE, wanted, now=serving.site.clock())
    message = crafted(made, 4, csr(name), b"t" * 15 + bytes([len(path)])).der()
    with serving.client() as client:
        reply = client.send("POST", path, raw=message, headers={"Content-Type": MEDIA_TYPE})
    found = told(reply).certificate
    assert found is not None
    assert x509.load_der_x509_certificate(found).subject.rfc4514_string() == f"CN={name}"
    assert reply.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("method", "path", "media_type", "status", "code"),
    [
        ("GET", PATH, MEDIA_TYPE, 405, "method_not_allowed"),
        ("PUT", PATH, MEDIA_TYPE, 405, "method_not_allowed"),
        ("POST", PATH, "application/json", 415, "media_type_refused"),
        ("POST", f"{PATH}/p/shut", MEDIA_TYPE, 404, "endpoint_not_found"),
        ("POST", f"{PATH}/other", MEDIA_TYPE, 404, "route_not_found"),
    ],
)
def test_what_is_not_there(
    serving: Serving, method: str, path: str, media_type: str, status: int, code: str
) -> None:
    with serving.client() as client:
        headers = {"Content-Type": media_type}
        reply = client.send(method, path, raw=b"\x30\x00", headers=headers)
    assert (reply.status, reply.code) == (status, code)
