"""The validation listener: real processes, real sockets, what verifiers and attackers send."""

import base64
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ocsp
from cryptography.x509.ocsp import OCSPCertStatus, OCSPResponseStatus

from api.server import ListenFailed, ValidationSettings, serve_validation
from pki import authorities, publication, revocation
from pki.issuance import IssuedCertificate
from tests.api.plain import Listener, listening, until
from tests.api.site import CLOCKWORK, CONSOLE, Site


@pytest.fixture(scope="module")
def listener(site: Site) -> Iterator[Listener]:
    """Two processes that answer for the site."""
    with listening(site) as running:
        yield running


def _question(site: Site, issued: IssuedCertificate | int, *, nonce: bytes | None = None) -> bytes:
    issuer = authorities.load(site.desk, "issuing").certificate
    builder = ocsp.OCSPRequestBuilder()
    if isinstance(issued, int):
        key = issuer.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        name = hashes.Hash(hashes.SHA256())
        name.update(issuer.subject.public_bytes())
        digest = hashes.Hash(hashes.SHA256())
        digest.update(key)
        builder = builder.add_certificate_by_hash(
            name.finalize(), digest.finalize(), issued, hashes.SHA256()
        )
    else:
        leaf = x509.load_der_x509_certificate(issued.der)
        builder = builder.add_certificate(leaf, issuer, hashes.SHA1())  # noqa: S303 - RFC 5019 §2.1.1
    if nonce is not None:
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    return builder.build().public_bytes(Encoding.DER)


def test_good_revoked_and_never_issued(listener: Listener) -> None:
    site = listener.site
    issued = site.issue("ocsp1.example")
    request = _question(site, issued)
    assert listener.ask(request).certificate_status is OCSPCertStatus.GOOD
    revocation.revoke(site.desk, CONSOLE, issued.serial, "keyCompromise", now=site.clock())
    listener.until(request, OCSPCertStatus.REVOKED)
    assert listener.ask(_question(site, 12345)).certificate_status is OCSPCertStatus.UNKNOWN


def test_a_change_reaches_every_process_and_every_form_of_the_question(listener: Listener) -> None:
    site = listener.site
    issued = site.issue("ocsp2.example")
    request = _question(site, issued)
    path = "/ocsp/issuing/" + quote(base64.b64encode(request).decode(), safe="")
    for _ in range(20):
        assert listener.ask(request).certificate_status is OCSPCertStatus.GOOD
        listener.send("GET", path)
    revocation.hold(site.desk, CONSOLE, issued.serial, now=site.clock())

    def told() -> bool:
        got = ocsp.load_der_ocsp_response(listener.send("GET", path).body)
        both = listener.ask(request).certificate_status, got.certificate_status
        return set(both) == {OCSPCertStatus.REVOKED}

    until(lambda: all(told() for _ in range(20)))


def test_a_new_list_is_served_after_the_clock_was_set_back(listener: Listener) -> None:
    site = listener.site
    listener.ahead.value = 3600.0
    try:
        for _ in range(20):  # so that both processes keep a copy
            assert listener.send("GET", "/crl/issuing.crl").status == 200
    finally:
        listener.ahead.value = 0.0
    made = publication.publish_full(site.desk, CLOCKWORK, "issuing", now=site.clock())
    deadline = time.monotonic() + 60
    while {listener.send("GET", "/crl/issuing.crl").body for _ in range(20)} != {made.der}:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_get_in_every_spelling(listener: Listener) -> None:
    request = _question(listener.site, listener.site.issue("ocsp3.example"))
    text = base64.b64encode(request).decode()
    spellings = [
        quote(text, safe=""),  # as RFC 6960 §A.1 wants
        quote(text, safe="/+="),
        text,
        text.rstrip("="),
        text.replace("+", "%20"),
        "/" + text,
        quote("\n".join(text[i : i + 64] for i in range(0, len(text), 64)) + "\n", safe=""),
    ]
    for spelling in spellings:
        reply = listener.send("GET", f"/ocsp/issuing/{spelling}")
        assert reply.status == 200, spelling
        answer = ocsp.load_der_ocsp_response(reply.body)
        assert answer.response_status is OCSPResponseStatus.SUCCESSFUL, spelling


def test_cache_headers_of_rfc_5019(listener: Listener) -> None:
    site = listener.site
    request = _question(site, site.issue("ocsp4.example"))
    path = "/ocsp/issuing/" + quote(base64.b64encode(request).decode(), safe="")
    reply = listener.send("GET", path)
    answer = ocsp.load_der_ocsp_response(reply.body)
    directives = dict(
        (part.strip().partition("=")[::2]) for part in reply.headers["cache-control"].split(",")
    )
    assert set(directives) == {"max-age", "public", "no-transform", "must-revalidate"}
    assert answer.next_update_utc is not None
    left = answer.next_update_utc - datetime.now(UTC)
    age = timedelta(seconds=int(directives["max-age"]))
    # A cache must not go on saying "good" of what was revoked: minutes, whatever is left until nextUpdate.
    assert timedelta(0) < age <= site.desk.rules.ocsp_cache < left
    assert parsedate_to_datetime(reply.headers["last-modified"]) == answer.this_update_utc
    assert parsedate_to_datetime(reply.headers["expires"]) < answer.next_update_utc
    etag = reply.headers["etag"]
    for headers in (
        {"If-None-Match": etag},
        {"If-None-Match": f'"other", W/{etag}'},
        {"If-None-Match": "*"},
        {"If-Modified-Since": reply.headers["last-modified"]},
    ):
        again = listener.send("GET", path, headers=headers)
        assert (again.status, again.body) == (304, b""), headers
        assert again.headers["etag"] == etag
    for headers in (
        {"If-None-Match": '"other"'},
        {"If-None-Match": '"other"', "If-Modified-Since": reply.headers["last-modified"]},
        {"If-Modified-Since": "yesterday"},
        {"If-Modified-Since": "Mon, 01 Jan 2001 00:00:00 GMT"},
    ):
        assert listener.send("GET", path, headers=headers).status == 200, headers
    head = listener.send("HEAD", path)
    assert (head.status, head.body) == (200, b"")
    assert int(head.headers["content-length"]) == len(reply.body)


def test_an_answer_to_a_nonce_is_for_nobody_else(listener: Listener) -> None:
    site = listener.site
    issued = site.issue("ocsp5.example")
    for nonce in (b"a" * 16, b"b" * 16):
        request = _question(site, issued, nonce=nonce)
        path = "/ocsp/issuing/" + quote(base64.b64encode(request).decode(), safe="")
        reply = listener.send("GET", path)
        answer = ocsp.load_der_ocsp_response(reply.body)
        assert answer.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == nonce
        assert reply.headers["cache-control"] == "no-store"
        assert "etag" not in reply.headers


@pytest.mark.parametrize(
    "junk",
    [b"", b"\0", b"junk", b"0" * 2000, b"\x30\x80\x00\x00", b"\x30\x84\xff\xff\xff\xff", b"{}"],
)
def test_junk_is_answered_as_ocsp_wants(listener: Listener, junk: bytes) -> None:
    assert listener.ask(junk).response_status is OCSPResponseStatus.MALFORMED_REQUEST
    path = "/ocsp/issuing/" + quote(base64.b64encode(junk).decode(), safe="")
    reply = listener.send("GET", path)
    assert reply.status == 200
    assert reply.headers["cache-control"] == "no-store"
    answer = ocsp.load_der_ocsp_response(reply.body)
    assert answer.response_status is OCSPResponseStatus.MALFORMED_REQUEST


@pytest.mark.parametrize("text", ["", "/", "!!!", "%00", "%ff%fe", "a", "%F0%9F%92%A9", "../../x"])
def test_junk_in_the_path(listener: Listener, text: str) -> None:
    reply = listener.send("GET", f"/ocsp/issuing/{text}")
    answer = ocsp.load_der_ocsp_response(reply.body)
    assert answer.response_status is OCSPResponseStatus.MALFORMED_REQUEST


def test_questions_about_others_are_not_ours(listener: Listener) -> None:
    request = _question(listener.site, listener.site.issue("ocsp6.example"))
    for authority in ("root", "nobody"):
        found = listener.ask(request, authority).response_status
        assert found is OCSPResponseStatus.UNAUTHORIZED


def test_too_long(listener: Listener) -> None:
    reply = listener.send("POST", "/ocsp/issuing", b"x" * 10_000)
    assert (reply.status, reply.code) == (413, "body_too_large")
    reply = listener.send("GET", "/ocsp/issuing/" + "A" * 5000)
    assert (reply.status, reply.code) == (404, "route_not_found")
    with socket.create_connection(("127.0.0.1", listener.port), timeout=60) as connection:
        connection.sendall(
            b"POST /ocsp/issuing HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        try:
            for _ in range(50):
                connection.sendall(b"3e8\r\n" + b"x" * 1000 + b"\r\n")
        except ConnectionError:
            return
        assert b" 413 " in connection.recv(1000)


def test_slow_clients_are_hung_up_on_and_hold_nobody_up(listener: Listener) -> None:
    request = _question(listener.site, listener.site.issue("ocsp7.example"))
    held = []
    for _ in range(50):
        connection = socket.create_connection(("127.0.0.1", listener.port), timeout=60)
        connection.sendall(
            b"POST /ocsp/issuing HTTP/1.1\r\nHost: x\r\nContent-Length: 80\r\n\r\nab"
        )
        held.append(connection)
    for _ in range(10):
        assert listener.ask(request).certificate_status is OCSPCertStatus.GOOD
    assert b" 408 " in held[0].recv(1000)
    for connection in held:
        connection.close()


@pytest.mark.parametrize("name", ["root", "issuing"])
def test_lists(listener: Listener, name: str) -> None:
    owner = authorities.load(listener.site.desk, name)
    for path, kind in ((f"/crl/{name}.crl", "full"), (f"/crl/{name}/delta.crl", "delta")):
        reply = listener.send("GET", path)
        assert reply.status == 200, reply
        assert reply.headers["content-type"] == "application/pkix-crl"
        crl = x509.load_der_x509_crl(reply.body)
        assert crl.is_signature_valid(owner.public_key)
        assert reply.body == publication.published(listener.site.desk, name, kind).der
        assert "max-age=" in reply.headers["cache-control"]
        again = listener.send("GET", path, headers={"If-None-Match": reply.headers["etag"]})
        assert again.status == 304
        head = listener.send("HEAD", path)
        assert int(head.headers["content-length"]) == len(reply.body)


def test_a_new_list_is_out_soon(listener: Listener) -> None:
    site = listener.site
    for _ in range(10):
        listener.send("GET", "/crl/issuing.crl")
    new = publication.publish_full(site.desk, CLOCKWORK, "issuing", now=site.clock())

    def number() -> int:
        crl = x509.load_der_x509_crl(listener.send("GET", "/crl/issuing.crl").body)
        return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number

    until(lambda: all(number() == new.number for _ in range(20)))


def test_certificates_of_authorities(listener: Listener) -> None:
    reply = listener.send("GET", "/ca/issuing.crt")
    owner = authorities.load(listener.site.desk, "issuing")
    assert reply.headers["content-type"] == "application/pkix-cert"
    assert x509.load_der_x509_certificate(reply.body) == owner.certificate
    again = listener.send(
        "GET", "/ca/issuing.crt", headers={"If-None-Match": reply.headers["etag"]}
    )
    assert again.status == 304


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/", "route_not_found"),
        ("/crl/", "route_not_found"),
        ("/crl/nobody.crl", "authority_not_found"),
        ("/crl/issuing/7.crl", "crl_not_found"),
        ("/crl/issuing/99999.crl", "crl_not_found"),
        ("/crl/issuing/999999.crl", "route_not_found"),
        ("/crl/Issuing.crl", "route_not_found"),
        ("/crl/..%2f..%2fetc%2fpasswd.crl", "route_not_found"),
        ("/crl/issuing.crl%00", "route_not_found"),
        ("/crl/issuing.crl/", "route_not_found"),
        ("/ca/nobody.crt", "authority_not_found"),
        ("/ca/issuing.pem", "route_not_found"),
        ("/ocsp", "route_not_found"),
        ("/ocsp/", "route_not_found"),
        ("/v1/certificates", "route_not_found"),
        ("/metrics", "route_not_found"),
    ],
)
def test_what_is_not_there(listener: Listener, path: str, code: str) -> None:
    reply = listener.send("GET", path)
    assert (reply.status, reply.code) == (404, code)
    # Whoever asks has no credential, and this listener no /docs.
    assert "/docs" not in reply.json["next_step"]
    assert "List" not in reply.json["next_step"]
    assert reply.json.get("request_id") != ""


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS"])
def test_other_methods(listener: Listener, method: str) -> None:
    for path in ("/crl/issuing.crl", "/ca/issuing.crt", "/ocsp/issuing"):
        reply = listener.send(method, path)
        assert (reply.status, reply.code) == (405, "method_not_allowed")
        assert "GET" in reply.headers["allow"]
    assert listener.send("POST", "/crl/issuing.crl", b"x").status == 405


def test_what_is_not_http(listener: Listener) -> None:
    for junk in (
        b"GARBAGE\r\n\r\n",
        b"\x16\x03\x01\x02",
        b"GET / HTTP/1.1\r\nBad Header: x\r\n\r\n",
    ):
        with socket.create_connection(("127.0.0.1", listener.port), timeout=60) as connection:
            connection.sendall(junk)
            try:
                assert b"200" not in connection.recv(1000)
            except ConnectionError:
                continue
    assert listener.send("GET", "/healthz").status == 200


def test_a_busy_port_is_told_before_anything_starts(listener: Listener) -> None:
    settings = ValidationSettings("127.0.0.1", listener.port)
    with pytest.raises(ListenFailed, match=r"127\.0\.0\.1 port \d+: Address already in use"):
        serve_validation(settings, lambda: listener.site.desk, clock=listener.site.clock)
