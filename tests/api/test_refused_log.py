"""What the log tells of a device that was refused: at every door why, where, from which address, and by which token."""

import logging
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from core.secret import Secret
from hsm.seal import ScryptCost, Seal
from hsm.sealedfiles import SealedFileKeyStore
from pki import ra_credential, revocation, tokens
from pki.actors import Role, Scope
from pki.endpoints import AcmeDoor, CmpDoor, Endpoint, EstDoor, ScepDoor
from pki.tokens import CreatedToken, TokenRequest
from tests.api import cmpcrafting, test_scep_tls
from tests.api.acme.client import Acme, b64
from tests.api.cmping import MEDIA_TYPE
from tests.api.scepping import PROFILE, csr
from tests.api.serving import Serving, serve
from tests.api.site import CLOCKWORK, CONSOLE, Site
from tests.api.test_est import basic, body, post

NAME = "mine.example"
CMP, SCEP = "/.well-known/cmp/p/devices", "/scep/devices?operation=PKIOperation"


@pytest.fixture(scope="module")
def serving(site: Site) -> Iterator[Serving]:
    """A listener of an installation with an endpoint of all doors."""
    directory = site.directory / f"keys-{site.url.rpartition('/')[2]}"
    seal = Seal.create(directory, Secret("correct horse battery"), cost=ScryptCost(n=2**14))
    every = Endpoint("devices", PROFILE, None, False, EstDoor(), ScepDoor(), AcmeDoor(), CmpDoor())
    rules = replace(site.desk.rules, endpoints={"devices": every})
    site.desk = replace(site.desk, rules=rules, blobs=SealedFileKeyStore(directory, seal))
    ra_credential.ensure(site.desk, CLOCKWORK, now=site.clock())
    with serve(site) as running:
        yield running


def ended(serving: Serving) -> CreatedToken:
    """An enroller's token that was good a minute ago."""
    now = serving.site.clock()
    scope = Scope(profiles=(PROFILE,), names=(f"dns:{NAME}",))
    wanted = TokenRequest(NAME, Role.ENROLLER, scope, uses=1, expires_at=now - timedelta(minutes=1))
    return tokens.create(serving.site.desk, CONSOLE, wanted, now=now - timedelta(hours=1))


def by_est(serving: Serving, token: CreatedToken) -> None:
    with serving.client() as client:
        headers = basic(token.secret.reveal().decode())
        assert post(client, "devices/simpleenroll", body(NAME), headers).code == "token_refused"


def by_scep(serving: Serving, token: CreatedToken) -> None:
    device = test_scep_tls.device(serving, 77)
    message = device.message("19", csr(device.key, NAME, token.secret.reveal().decode()))
    with serving.client() as client:
        reply = client.send("POST", SCEP, raw=message)
    assert device.opened(reply.body).fail == "2"


def by_cmp(serving: Serving, token: CreatedToken) -> None:
    message = cmpcrafting.crafted(token, cmpcrafting.P10CR, cmpcrafting.csr(NAME), b"t" * 16)
    with serving.client() as client:
        client.send("POST", CMP, raw=message.der(), headers={"Content-Type": MEDIA_TYPE})


def by_acme(serving: Serving, token: CreatedToken) -> None:
    assert token.binding is not None
    key = b64(token.binding.reveal())
    with serving.client() as client:
        agent = Acme(client, "devices")
        reply = agent.register((token.view.id, key))
        assert reply.json["code"] == "acme_external_account_refused"


@pytest.mark.parametrize(
    ("door", "send", "code"),
    [
        ("EST", by_est, "token_refused"),
        ("SCEP", by_scep, "token_refused"),
        ("CMP", by_cmp, "token_refused"),
        ("ACME", by_acme, "acme_external_account_refused"),
    ],
    ids=["est", "scep", "cmp", "acme"],
)
def test_what_had_become_of_the_token(
    serving: Serving, caplog: pytest.LogCaptureFixture, door: str, send: Any, code: str
) -> None:
    token = ended(serving)
    with caplog.at_level(logging.INFO):
        send(serving, token)
    line = told(caplog)
    assert (line["door"], line["code"]) == (door, code)
    assert (line["endpoint"], line["client"]) == ("devices", "127.0.0.1")
    assert (line["token"], line["token_of"], line["token_is"]) == (token.view.id, NAME, "expired")
    assert token.secret.reveal().decode() not in str(line)


@pytest.mark.parametrize(
    ("door", "method", "path"),
    [
        ("EST", "GET", "/.well-known/est/divices/cacerts"),
        ("SCEP", "GET", "/scep/divices?operation=GetCACert"),
        ("CMP", "POST", "/.well-known/cmp/p/divices"),
        ("ACME", "GET", "/acme/divices/directory"),
    ],
)
def test_a_wrong_url(
    serving: Serving, caplog: pytest.LogCaptureFixture, door: str, method: str, path: str
) -> None:
    with caplog.at_level(logging.INFO), serving.client() as client:
        client.send(method, path)
    line = told(caplog)
    assert (line["door"], line["code"], line["endpoint"]) == (
        door,
        "endpoint_not_found",
        "divices",
    )


@pytest.mark.parametrize("path", ["/.well-known/est/{}/cacerts", "/scep/{}", "/acme/{}/directory"])
def test_a_token_in_the_path_is_not_told(
    serving: Serving, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    token = serving.site.token(Role.ENROLLER)
    with caplog.at_level(logging.INFO), serving.client() as client:
        client.get(path.format(token))
    assert told(caplog)["endpoint"] == ""
    ours = [each for each in caplog.records if each.name.startswith("ikewarden")]
    assert token not in str([vars(each) for each in ours])


def test_a_name_that_is_another_devices(serving: Serving, caplog: pytest.LogCaptureFixture) -> None:
    scope = Scope(profiles=(PROFILE,), names=(f"dns:{NAME}",))
    token = serving.site.token(Role.ENROLLER, name=NAME, scope=scope)
    with caplog.at_level(logging.INFO), serving.client() as client:
        post(client, "devices/simpleenroll", body("other.example"), basic(token))
    line = told(caplog)
    assert (line["actor"], line["code"]) == (NAME, "outside_scope")
    assert line["message"] == (
        "refused: This credential may not ask for the name dns:other.example."
    )


def test_a_certificate_that_is_revoked(serving: Serving, caplog: pytest.LogCaptureFixture) -> None:
    device = serving.site.client_certificate("gone.example")
    serial, now = device.issued.serial, serving.site.clock()
    revocation.revoke(serving.site.desk, CONSOLE, serial, "superseded", now=now)
    with caplog.at_level(logging.INFO), serving.client(device) as client:
        post(client, "devices/simplereenroll", body("gone.example"))
    line = told(caplog)
    assert (line["code"], line["actor"]) == ("client_certificate_revoked", "")
    assert line["claims"] == "CN=gone.example"


def test_a_new_nonce_is_nothing_to_tell(serving: Serving, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), serving.client() as client:
        agent = Acme(client, "devices")
        reply = agent.post(agent.directory["newAccount"], {}, nonce="none")
    assert reply.json["code"] == "acme_bad_nonce"
    assert not [each for each in caplog.records if each.name == "ikewarden.enrollment"]


def told(caplog: pytest.LogCaptureFixture) -> dict[str, Any]:
    """The line about a refusal, once it is written."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = [each for each in caplog.records if each.name == "ikewarden.enrollment"]
        if found:
            [line] = found
            return {**vars(line), "message": line.getMessage()}
        time.sleep(0.01)
    raise AssertionError("nothing was told")
