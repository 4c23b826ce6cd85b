"""SCEP over the TLS listener: the same door."""

import base64
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import pytest

from core.secret import Secret
from hsm.seal import ScryptCost, Seal
from hsm.sealedfiles import SealedFileKeyStore
from pki import authorities, ra_credential
from pki.actors import Role, Scope
from pki.endpoints import Endpoint, ScepDoor
from tests.api.scepping import DER, PROFILE, Device, csr
from tests.api.serving import Serving, serve
from tests.api.site import CLOCKWORK, Site
from tests.fixtures.desk import stock_key

PATH = "/scep/devices"


@pytest.fixture(scope="module")
def serving(site: Site) -> Iterator[Serving]:
    """A listener of an installation with two endpoints."""
    directory = site.directory / f"keys-{site.url.rpartition('/')[2]}"
    seal = Seal.create(directory, Secret("correct horse battery"), cost=ScryptCost(n=2**14))
    endpoints = {
        "devices": Endpoint("devices", PROFILE, scep=ScepDoor()),
        "shut": Endpoint("shut", PROFILE),
    }
    rules = replace(site.desk.rules, endpoints=endpoints)
    site.desk = replace(site.desk, rules=rules, blobs=SealedFileKeyStore(directory, seal))
    assert ra_credential.ensure(site.desk, CLOCKWORK, now=site.clock()) == 1
    with serve(site) as running:
        yield running


def device(serving: Serving, number: int) -> Any:
    """A device that is told elsewhere what to encrypt to, and makes messages without sending them."""
    held = ra_credential.held(serving.site.desk, CLOCKWORK, now=serving.site.clock())
    ra = held.of(authorities.load(serving.site.desk, "issuing")).certificate
    unused: Any = None
    return Device.new(
        unused, "devices", "tls.example", key=stock_key("rsa-2048", 9000 + number), ra=ra
    )


@pytest.mark.parametrize("tail", ["", "/pkiclient.exe", "/cgi-bin/pkiclient.exe"])
@pytest.mark.parametrize("by_get", [False, True])
def test_a_token_gets_a_certificate(serving: Serving, tail: str, by_get: bool) -> None:
    new = device(serving, len(tail) * 2 + by_get)
    scope = Scope(profiles=(PROFILE,), names=("dns:tls.example",))
    word = serving.site.token(Role.ENROLLER, name="tls", uses=1, scope=scope)
    message = new.message("19", csr(new.key, "tls.example", word))
    path = f"{PATH}{tail}?operation=PKIOperation"
    with serving.client() as client:
        if by_get:
            encoded = quote(base64.b64encode(message), safe="")
            reply = client.send("GET", f"{path}&message={encoded}")
        else:
            media_type = {"Content-Type": "application/x-pki-message"}
            reply = client.send("POST", path, raw=message, headers=media_type)
    assert reply.status == 200, reply
    assert reply.headers["content-type"] == "application/x-pki-message"
    assert reply.headers["cache-control"] == "no-store"
    assert new.opened(reply.body).certificate.public_key() == new.key.public_key()


def test_a_certificate_whose_subject_cannot_be_read_signs_nothing(serving: Serving) -> None:
    new = device(serving, 78)
    message = new.message("19", csr(new.key, "tls.example", "iw_x"))
    issuer = message.index(b"tls.example", message.index(new.certificate.public_bytes(DER)))
    tag = message.index(b"tls.example", issuer + 1) - 2
    spoiled = message[:tag] + b"\x01" + message[tag + 1 :]  # the common name is a BOOLEAN
    with serving.client() as client:
        reply = client.send("POST", f"{PATH}?operation=PKIOperation", raw=spoiled)
    assert (reply.status, reply.code) == (422, "scep_message_malformed")


def test_anybody_asks_what_there_is(serving: Serving) -> None:
    with serving.client() as client:
        words = client.send("GET", f"{PATH}?operation=GetCACaps&message=default")
        assert words.headers["content-type"] == "text/plain"
        assert b"SCEPStandard" in words.body
        found = client.send("GET", f"{PATH}?operation=GetCACert")
    assert found.headers["content-type"] == "application/x-x509-ca-ra-cert"
    issuing = authorities.load(serving.site.desk, "issuing").certificate
    assert issuing.public_bytes(DER) in found.body


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("PUT", PATH, 405, "method_not_allowed"),
        ("GET", PATH, 404, "scep_operation_unknown"),
        ("GET", f"{PATH}?operation=PKIOperation&message=%%%", 422, "scep_message_malformed"),
        ("POST", f"{PATH}?operation=PKIOperation", 422, "scep_message_malformed"),
        ("GET", "/scep/shut?operation=GetCACaps", 404, "endpoint_not_found"),
        ("GET", "/scep/devices/other?operation=GetCACaps", 404, "route_not_found"),
        ("GET", "/scep/", 404, "route_not_found"),
    ],
)
def test_what_is_not_there(
    serving: Serving, method: str, path: str, status: int, code: str
) -> None:
    with serving.client() as client:
        reply = client.send(method, path, raw=b"\x30\x00" if method == "POST" else None)
    assert (reply.status, reply.code) == (status, code)
