"""Looking for proofs on loopback: what is one, what is none, and what a hostile side cannot do."""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pki.acme.validation import Look, ProofMissing
from pki.endpoints import AcmeDoor
from pki.x509.names import GeneralName
from scheduler.acme import proofs
from tests.api.acme.client import b64
from tests.api.acme.world import (
    Names,
    Web,
    alpn_server,
    name_server,
    self_signed,
    web_server,
)

AUTHORIZATION = "token.thumbprint"
PATH = "/.well-known/acme-challenge/token"


@pytest.fixture
def names() -> Iterator[Names]:
    with name_server() as held:
        held.point("a.example", "127.0.0.1")
        yield held


@pytest.fixture
def web() -> Iterator[Web]:
    with web_server() as held:
        yield held


def look(names: Names, kind: str = "http-01", name: str = "dns:a.example", **door: Any) -> Look:
    given = {
        "networks": ("127.0.0.0/8", "::1/128"),
        "resolvers": (f"127.0.0.1:{names.port}",),
        **door,
    }
    return Look(1, 1, kind, GeneralName.parse(name), "token", AUTHORIZATION, 0, AcmeDoor(**given))


def refused(wanted: Look) -> ProofMissing:
    with pytest.raises(ProofMissing) as caught:
        proofs.probe(wanted)
    return caught.value


def test_a_file_under_the_name_is_a_proof(names: Names, web: Web) -> None:
    web.show("token", AUTHORIZATION)
    proofs.probe(look(names, http_port=web.port))
    web.show("token", AUTHORIZATION + "\r\n ")
    proofs.probe(look(names, http_port=web.port))


@pytest.mark.parametrize(
    "content", ["", "token", AUTHORIZATION + "x", " " + AUTHORIZATION, AUTHORIZATION + " " * 2000]
)
def test_another_file_is_none(names: Names, web: Web, content: str) -> None:
    web.show("token", content)
    assert refused(look(names, http_port=web.port)).kind == "unauthorized"


@pytest.mark.parametrize("status", [201, 204, 304, 401, 404, 500])
def test_another_status_is_none(names: Names, web: Web, status: int) -> None:
    web.show("token", AUTHORIZATION)
    web.statuses[PATH] = status
    assert refused(look(names, http_port=web.port)).kind == "unauthorized"


def test_a_name_is_looked_up_once_and_that_address_is_used(names: Names, web: Web) -> None:
    """Rebinding: what the name server says the second time is not asked for."""
    times: list[str] = []

    def rebind(name: str, kind: str) -> list[str] | None:
        if kind != "A":
            return None
        times.append(name)
        return ["127.0.0.1"] if len(times) == 1 else ["10.0.0.1"]

    names.rebind = rebind
    web.show("token", AUTHORIZATION)
    proofs.probe(look(names, http_port=web.port))
    assert times == ["a.example"]


def test_a_redirect_to_the_inside_is_not_followed(names: Names, web: Web) -> None:
    with web_server("127.0.0.2") as inside:
        inside.show("token", AUTHORIZATION)
        names.point("inside.example", "127.0.0.2")
        only = ("127.0.0.1/32",)
        for host in ("127.0.0.2", "inside.example"):
            web.redirects[PATH] = f"http://{host}:{inside.port}{PATH}"
            # The port may be: it is the address that counts.
            door = {"http_port": web.port, "tls_port": inside.port, "networks": only}
            assert refused(look(names, **door)).kind == "rejectedIdentifier"
        assert inside.asked == []
        proofs.probe(look(names, http_port=web.port, tls_port=inside.port))


def test_redirects_have_an_end(names: Names, web: Web) -> None:
    web.redirects[PATH] = PATH
    assert refused(look(names, http_port=web.port)).kind == "connection"
    assert len(web.asked) == 6


def test_a_redirect_to_https_is_followed_whatever_its_certificate(
    names: Names, web: Web, tmp_path: Path
) -> None:
    pem = tmp_path / "tls.pem"
    pem.write_bytes(self_signed(["other.example"], None))
    with web_server(tls=pem) as secure:
        secure.show("token", AUTHORIZATION)
        web.redirects[PATH] = f"https://a.example:{secure.port}{PATH}"
        proofs.probe(look(names, http_port=web.port, tls_port=secure.port))


def test_no_proxy_is_asked_and_no_credential_sent(
    names: Names, web: Web, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".netrc").write_text("machine a.example login me password secret\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1/")
    web.show("token", AUTHORIZATION)
    proofs.probe(look(names, http_port=web.port))
    ((_, headers),) = web.asked
    assert not {"authorization", "cookie", "proxy-authorization"} & headers.keys()


def test_nothing_listens(names: Names) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    assert refused(look(names, http_port=port)).kind == "connection"


def test_a_name_without_an_address_is_none(names: Names) -> None:
    assert refused(look(names, name="dns:b.example")).kind == "dns"


def test_a_record_is_a_proof(names: Names) -> None:
    import hashlib

    digest = b64(hashlib.sha256(AUTHORIZATION.encode()).digest())
    at = ("_acme-challenge.a.example", "TXT")
    assert refused(look(names, "dns-01")).kind == "dns"
    names.records[at] = ['"something"', f'"{AUTHORIZATION}"']
    assert refused(look(names, "dns-01")).kind == "unauthorized"
    names.records[at] = ['"something"', f'"{digest}"']
    proofs.probe(look(names, "dns-01"))
    names.records[at] = [f'"{digest[:20]}" "{digest[20:]}"']
    proofs.probe(look(names, "dns-01"))


def _digest(text: str = AUTHORIZATION) -> bytes:
    import hashlib

    return hashlib.sha256(text.encode()).digest()


def test_a_certificate_of_the_challenge_is_a_proof(names: Names, tmp_path: Path) -> None:
    pem = tmp_path / "challenge.pem"
    pem.write_bytes(self_signed(["a.example"], _digest()))
    with alpn_server(pem) as server:
        proofs.probe(look(names, "tls-alpn-01", tls_port=server.port))
        assert server.asked == ["a.example"]
    pem.write_bytes(self_signed(["127.0.0.1"], _digest()))
    with alpn_server(pem) as server:
        proofs.probe(look(names, "tls-alpn-01", "ip:127.0.0.1", tls_port=server.port))
        assert server.asked == ["1.0.0.127.in-addr.arpa"]  # RFC 8738 §6


CERTIFICATES: dict[str, Any] = {
    "other name": (["b.example"], _digest(), {}),
    "one more": (["a.example", "b.example"], _digest(), {}),
    "address": (["127.0.0.1"], _digest(), {}),
    "other digest": (["a.example"], _digest("x"), {}),
    "no digest": (["a.example"], None, {}),
    "not critical": (["a.example"], _digest(), {"critical": False}),
    "more behind": (["a.example"], _digest(), {"tail": b"\0"}),
}


@pytest.mark.parametrize("made", CERTIFICATES.values(), ids=CERTIFICATES.keys())
def test_another_certificate_is_none(names: Names, tmp_path: Path, made: Any) -> None:
    pem = tmp_path / "challenge.pem"
    shown, digest, more = made
    pem.write_bytes(self_signed(shown, digest, **more))
    with alpn_server(pem) as server:
        missing = refused(look(names, "tls-alpn-01", tls_port=server.port))
    assert missing.kind == "unauthorized"


@pytest.mark.parametrize("protocol", [None, "h2"])
def test_a_server_of_another_protocol_is_none(
    names: Names, tmp_path: Path, protocol: str | None
) -> None:
    pem = tmp_path / "challenge.pem"
    pem.write_bytes(self_signed(["a.example"], _digest()))
    with alpn_server(pem, protocol) as server, contextlib.suppress(ConnectionError):
        assert refused(look(names, "tls-alpn-01", tls_port=server.port)).kind == "tls"


def test_a_way_that_was_shut_since_is_none(names: Names, web: Web) -> None:
    web.show("token", AUTHORIZATION)
    wanted = look(names, http_port=web.port, challenges=("dns-01",))
    assert refused(wanted).kind == "unauthorized"
    assert web.asked == []
