"""TLS: who is let in by the handshake, and who stays in from request to request."""

import datetime
import socket
import ssl
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from api.tls import Credential, TlsDoor, TlsUnusable
from core.secret import Secret
from pki import founding, issuance, revocation
from pki.actors import Role
from pki.founding import AuthorityRequest
from pki.issuance import IssueRequest
from tests.api.serving import Client, Serving
from tests.api.site import CONSOLE, ClientCertificate, Site, new_csr

pytestmark = pytest.mark.parametrize("site", ["sqlite"], indirect=True)


def test_without_certificate_or_token_nobody_is_known(serving: Serving) -> None:
    with serving.client() as client:
        reply = client.get("/v1/whoami")
    assert reply.status == 401
    assert reply.code == "credentials_missing"
    assert reply.headers["www-authenticate"] == 'Bearer realm="ikewarden"'


def test_a_client_certificate_makes_a_gateway(serving: Serving) -> None:
    certificate = serving.site.client_certificate("gw1.example")
    with serving.client(certificate) as client:
        me = client.get("/v1/whoami").json
    assert me["role"] == "gateway"
    assert me["gateway"] == "gw1.example"
    assert me["credential"] == f"certificate:issuing:{certificate.issued.serial}"


def test_where_both_come_the_token_decides(serving: Serving) -> None:
    certificate = serving.site.client_certificate("gw1.example")
    with serving.client(certificate) as client:
        token = {"Authorization": f"Bearer {serving.site.tokens[Role.AUDITOR]}"}
        assert client.get("/v1/whoami", headers=token).json["role"] == "auditor"
        bad = client.get("/v1/whoami", headers={"Authorization": "Bearer iw_nobodyhasthisone"})
        assert bad.status == 401, "a bad token does not fall back to the certificate"
        assert bad.code == "token_refused"


def test_a_revoked_certificate_is_refused_on_the_open_connection(serving: Serving) -> None:
    site = serving.site
    certificate = site.client_certificate("gw2.example")
    with serving.client(certificate) as client:
        assert client.get("/v1/whoami").status == 200
        port = client.connection.sock.getsockname()
        revocation.revoke(
            site.desk, CONSOLE, certificate.issued.serial, "keyCompromise", now=site.clock()
        )
        reply = client.get("/v1/whoami")
        assert client.connection.sock.getsockname() == port, "the same connection"
    assert (reply.status, reply.code) == (401, "client_certificate_revoked")


def test_a_certificate_on_hold_is_refused_until_released(serving: Serving) -> None:
    site = serving.site
    certificate = site.client_certificate("gw3.example")
    serial = certificate.issued.serial
    with serving.client(certificate) as client:
        revocation.hold(site.desk, CONSOLE, serial, now=site.clock())
        assert client.get("/v1/whoami").code == "client_certificate_revoked"
        revocation.release(site.desk, CONSOLE, serial, now=site.clock())
        assert client.get("/v1/whoami").status == 200


def test_an_expired_certificate_is_refused_on_the_open_connection(serving: Serving) -> None:
    certificate = serving.site.client_certificate("gw4.example")
    with serving.client(certificate) as client:
        assert client.get("/v1/whoami").status == 200
        serving.site.clock.ahead = timedelta(days=100)
        try:
            reply = client.get("/v1/whoami")
        finally:
            serving.site.clock.ahead = timedelta(0)
    assert (reply.status, reply.code) == (401, "client_certificate_expired")


def test_a_certificate_that_speaks_for_no_gateway_is_nobody(serving: Serving) -> None:
    site = serving.site
    key = ec.generate_private_key(ec.SECP256R1())
    wanted = IssueRequest(
        new_csr("ann.example", key).encode(), "user", names=("email:ann@example.com",)
    )
    issued = issuance.issue(site.desk, CONSOLE, wanted, now=site.clock())
    file = site.directory / "ann.pem"
    file.write_bytes(_pem(key) + issued.pem.encode())
    with serving.client(ClientCertificate(issued, file)) as client:
        reply = client.get("/v1/whoami")
    assert (reply.status, reply.code) == (401, "client_certificate_unknown")


def test_a_stranger_s_certificate_ends_the_handshake(serving: Serving, tmp_path: Path) -> None:
    stranger = ClientCertificate(serving.site.issue("gw5.example"), tmp_path / "stranger.pem")
    stranger.file.write_bytes(_self_signed())
    with serving.client(stranger) as client, pytest.raises((ssl.SSLError, ConnectionError)):
        client.get("/healthz")  # in TLS 1.3 the client hears of it with the first answer


def test_old_tls_is_refused(serving: Serving) -> None:
    client = serving.client()
    context: ssl.SSLContext = client.connection._context  # type: ignore[attr-defined]  # http.client has no other way
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with client, pytest.raises((ssl.SSLError, ConnectionError)):
        client.get("/healthz")


def test_tls_1_2_works_and_1_3_is_preferred(serving: Serving) -> None:
    with serving.raw() as best:
        assert best.version() == "TLSv1.3"
        assert best.selected_alpn_protocol() is None
    client = serving.client()
    context: ssl.SSLContext = client.connection._context  # type: ignore[attr-defined]  # http.client has no other way
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with client:
        assert client.get("/healthz").status == 200


def test_a_new_service_certificate_is_taken_up_without_dropping_anybody(serving: Serving) -> None:
    with serving.client(Role.OPERATOR) as client:
        assert client.get("/healthz").status == 200
        before = _shown(client)
        kept = client.connection.sock
        serving.site.renew_service()
        after = _await(lambda: _fresh(serving, sni=True), other_than=before)
        assert _fresh(serving, sni=False) == after, "also for clients that name no host"
        assert client.get("/healthz").status == 200
        assert client.connection.sock is kept


def test_clients_of_a_new_authority_are_let_in(serving: Serving) -> None:
    site = serving.site
    request = AuthorityRequest(
        name="second", kind="issuing", parent="root", subject="CN=Test Second"
    )
    founding.create(site.desk, CONSOLE, request, now=site.clock())
    key = ec.generate_private_key(ec.SECP256R1())
    wanted = IssueRequest(new_csr("gw6.example", key).encode(), "gateway", authority="second")
    issued = issuance.issue(site.desk, CONSOLE, wanted, now=site.clock())
    file = site.directory / "gw6.pem"
    file.write_bytes(_pem(key) + issued.pem.encode())  # without its chain: only we can complete it
    deadline = time.monotonic() + 60
    while True:
        try:
            with serving.client(ClientCertificate(issued, file)) as client:
                assert client.get("/v1/whoami").json["gateway"] == "gw6.example"
                return
        except (ssl.SSLError, ConnectionError):
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_a_failing_reload_keeps_what_works(site: Site) -> None:
    good = site.credential()
    door = TlsDoor(good)
    with pytest.raises(TlsUnusable):
        door.reload(Credential(Secret(b"not PEM"), good.authorities))
    with pytest.raises(TlsUnusable):
        door.reload(Credential(good.pem, [b"not DER"]))


@pytest.mark.parametrize("fault", ["other key", "encrypted key", "no key", "no certificate"])
def test_an_unusable_credential_is_named_and_shows_nothing(site: Site, fault: str) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = site.credential().pem.reveal().partition(b"-----BEGIN CERTIFICATE")
    content = {
        "other key": _pem(key) + b"".join(certificate[1:]),
        "encrypted key": key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"x"),
        )
        + b"".join(certificate[1:]),
        "no key": b"".join(certificate[1:]),
        "no certificate": _pem(key),
    }[fault]
    with pytest.raises(TlsUnusable) as caught:
        TlsDoor(Credential(Secret(content), site.credential().authorities))
    assert "PRIVATE" not in str(caught.value)
    assert caught.value.__cause__ is None


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _self_signed() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "gw5.example")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    return _pem(key) + certificate.public_bytes(serialization.Encoding.PEM)


def _shown(client: Client) -> bytes:
    shown = client.connection.sock.getpeercert(binary_form=True)
    assert isinstance(shown, bytes)
    return shown


def _fresh(serving: Serving, *, sni: bool) -> bytes:
    context = serving.site.trust()
    context.check_hostname = sni
    plain = socket.create_connection(("localhost", serving.port), timeout=60)
    name = "localhost" if sni else None
    with context.wrap_socket(plain, server_hostname=name) as connection:
        shown = connection.getpeercert(binary_form=True)
        assert shown is not None
        return shown


def _await(look: Callable[[], bytes], *, other_than: bytes) -> bytes:
    deadline = time.monotonic() + 60
    while (found := look()) == other_than:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found
