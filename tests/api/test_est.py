"""EST (RFC 7030) over a socket: who gets a certificate by it, and who does not."""

import base64
import email
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from pki import authorities, revocation
from pki.actors import Role, Scope
from pki.certificates import find
from pki.endpoints import Endpoint, EstDoor
from pki.history import AuditQuery, audit_events
from pki.x509 import serials
from tests.api.serving import Client, Reply, Serving, serve
from tests.api.site import CONSOLE, ClientCertificate, Site, new_csr

EST = "/.well-known/est"
ENDPOINTS = (
    Endpoint("gateway", "gateway", est=EstDoor()),
    Endpoint("devices", "network-device", est=EstDoor(server_keys=True)),
    Endpoint("watched", "gateway", manual=True, est=EstDoor()),
    Endpoint("shut", "gateway"),
)


@pytest.fixture(scope="module")
def serving(site: Site) -> Iterator[Serving]:
    """A listener of an installation with several endpoints."""
    rules = replace(site.desk.rules, endpoints={each.name: each for each in ENDPOINTS})
    site.desk = replace(site.desk, rules=rules)
    with serve(site) as running:
        yield running


def basic(token: str, user: str = "a device") -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{token}".encode()).decode()}


def enroller(serving: Serving, name: str, uses: int = 1, profile: str = "gateway") -> str:
    scope = Scope(profiles=(profile,), names=(f"dns:{name}",))
    return serving.site.token(Role.ENROLLER, name=name, uses=uses, scope=scope)


def body(name: str, key: ec.EllipticCurvePrivateKey | None = None) -> bytes:
    der = x509.load_pem_x509_csr(new_csr(name, key).encode()).public_bytes(Encoding.DER)
    return base64.encodebytes(der)


def post(
    client: Client,
    operation: str,
    content: bytes,
    headers: Mapping[str, str] | None = None,
    media_type: str = "application/pkcs10",
) -> Reply:
    given = {"Content-Type": media_type, **(headers or {})}
    return client.send("POST", f"{EST}/{operation}", raw=content, headers=given)


def certificate(reply: Reply) -> x509.Certificate:
    assert reply.status == 200, reply
    assert reply.headers["content-type"] == "application/pkcs7-mime; smime-type=certs-only"
    assert b"\n" not in reply.body, "charon's pki before 5.9.11 reads one line only"
    (found,) = pkcs7.load_der_pkcs7_certificates(base64.b64decode(reply.body, validate=True))
    return found


def enrolled(serving: Serving, name: str, path: Path, endpoint: str = "") -> ClientCertificate:
    """A device that came in by EST, as `ssl` wants it."""
    key = ec.generate_private_key(ec.SECP256R1())
    with serving.client() as client:
        token = basic(enroller(serving, name))
        made = certificate(post(client, f"{endpoint}simpleenroll", body(name, key), token))
    file = path / f"{name}.pem"
    chain = authorities.load(serving.site.desk, "issuing").chain[:-1]
    private = key.private_bytes(
        Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(private + b"".join(each.public_bytes(Encoding.PEM) for each in (made, *chain)))
    on_record = find(serving.site.desk, serials.to_hex(made.serial_number))
    return ClientCertificate(on_record, file)  # type: ignore[arg-type]  # as much of it as is needed here


def test_anybody_gets_the_chain(serving: Serving) -> None:
    with serving.client() as client:
        reply = client.get(f"{EST}/cacerts")
    assert reply.status == 200
    assert reply.headers["content-type"] == "application/pkcs7-mime; smime-type=certs-only"
    found = pkcs7.load_der_pkcs7_certificates(base64.b64decode(reply.body))
    assert {*found} == {*authorities.load(serving.site.desk, "issuing").chain}


def test_a_client_is_told_which_key_to_make(serving: Serving) -> None:
    with serving.client() as client:
        reply = client.get(f"{EST}/csrattrs")
    assert reply.headers["content-type"] == "application/csrattrs"
    content = base64.b64decode(reply.body)
    # id-ecPublicKey with secp256r1, ecdsa-with-SHA256 (RFC 7030 §4.5.2 as RFC 9908 reads it)
    assert content.hex() == (
        "3021" "3015" "06072a8648ce3d0201" "310a" "06082a8648ce3d030107" "06082a8648ce3d040302"
    )  # fmt: skip


def test_a_token_gets_one_certificate(serving: Serving) -> None:
    token = basic(enroller(serving, "one.example"))
    with serving.client() as client:
        made = certificate(post(client, "simpleenroll", body("one.example"), token))
        again = post(client, "simpleenroll", body("one.example"), token)
    assert made.issuer == authorities.load(serving.site.desk, "issuing").certificate.subject
    assert (again.status, again.code) == (401, "token_refused")
    assert again.headers["www-authenticate"].startswith("Basic realm=")


def test_who_lost_the_answer_asks_again(serving: Serving) -> None:
    token, sent = basic(enroller(serving, "lost.example")), body("lost.example")
    site = serving.site
    with serving.client() as client:
        made = certificate(post(client, "simpleenroll", sent, token))
        assert certificate(post(client, "simpleenroll", sent, token)) == made
        other = basic(enroller(serving, "lost.example"))
        assert certificate(post(client, "simpleenroll", sent, other)) != made
        serial = serials.to_hex(made.serial_number)
        revocation.revoke(site.desk, CONSOLE, serial, "superseded", now=site.clock())
        over = post(client, "simpleenroll", sent, token)
        assert (over.status, over.code) == (409, "enrollment_over")


def test_where_it_came_in_is_on_record(serving: Serving) -> None:
    with serving.client() as client:
        token = basic(enroller(serving, "known.example"))
        made = certificate(post(client, "gateway/simpleenroll", body("known.example"), token))
    about = f"certificate:issuing:{serials.to_hex(made.serial_number)}"
    found = audit_events(serving.site.desk, CONSOLE, AuditQuery(object=about, limit=10))
    intent = next(each for each in found if each.action == "certificate.sign")
    assert intent.detail["endpoint"] == "gateway"
    assert intent.detail["door"] == "est"


@pytest.mark.parametrize(
    "path", [f"{EST}/simpleenroll", f"{EST}/gateway/simpleenroll", f"/p/gateway{EST}/simpleenroll"]
)
def test_each_way_to_write_the_label_leads_there(serving: Serving, path: str) -> None:
    token = basic(enroller(serving, "label.example"))
    with serving.client() as client:
        given = {"Content-Type": "application/pkcs10", **token}
        made = client.send("POST", path, raw=body("label.example"), headers=given)
    assert certificate(made).subject is not None


def test_requests_come_wrapped_or_in_one_line_or_in_chunks(serving: Serving) -> None:
    token = basic(enroller(serving, "lines.example", uses=3))
    wrapped = body("lines.example")
    with serving.client() as client:
        certificate(post(client, "simpleenroll", wrapped, token))
        certificate(post(client, "simpleenroll", b"".join(wrapped.split()), token))
        given = {"Content-Type": "application/pkcs10", **token}
        client.connection.request(
            "POST", f"{EST}/simpleenroll", body=iter([wrapped[:50], wrapped[50:]]), headers=given,
            encode_chunked=True,
        )  # fmt: skip
        answer = client.connection.getresponse()
        assert answer.status == 200
        answer.read()


def test_a_certificate_renews_itself(serving: Serving, tmp_path: Path) -> None:
    device = enrolled(serving, "old.example", tmp_path)
    with serving.client(device) as client:
        made = certificate(post(client, "simplereenroll", body("old.example")))
        same = certificate(post(client, "simpleenroll", body("old.example")))
    first, second = (
        find(serving.site.desk, serials.to_hex(each.serial_number)) for each in (made, same)
    )
    assert first.renewed_from == second.renewed_from == device.issued.serial
    assert first.gateway == "old.example"


def test_a_certificate_of_no_gateway_renews_itself_and_does_nothing_else(
    serving: Serving, tmp_path: Path
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    with serving.client() as client:
        token = basic(enroller(serving, "pc.example", profile="network-device"))
        made = certificate(post(client, "devices/simpleenroll", body("pc.example", key), token))
    assert find(serving.site.desk, serials.to_hex(made.serial_number)).gateway is None
    chain = authorities.load(serving.site.desk, "issuing").chain[:-1]
    private = key.private_bytes(
        Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = tmp_path / "pc.pem"
    file.write_bytes(private + b"".join(each.public_bytes(Encoding.PEM) for each in (made, *chain)))
    device = ClientCertificate(None, file)  # type: ignore[arg-type]  # only the file is needed here
    with serving.client(device) as client:
        assert certificate(post(client, "devices/simplereenroll", body("pc.example"))) != made
        assert client.get("/v1/whoami").code == "client_certificate_unknown"


def test_a_renewal_keeps_subject_and_names(serving: Serving, tmp_path: Path) -> None:
    device = enrolled(serving, "fixed.example", tmp_path)
    key = ec.generate_private_key(ec.SECP256R1())
    named = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Somebody")])
    other = x509.CertificateSigningRequestBuilder(named).sign(key, hashes.SHA256())
    with serving.client(device) as client:
        refused = post(client, "simplereenroll", body("other.example"))
        sent = base64.b64encode(other.public_bytes(Encoding.DER))
        made = certificate(post(client, "simplereenroll", sent))
    assert (refused.status, refused.code) == (422, "renewal_names_changed")
    old = x509.load_pem_x509_certificates(device.file.read_bytes())[0]
    assert made.subject == old.subject
    kind = x509.SubjectAlternativeName
    assert made.extensions.get_extension_for_class(kind) == old.extensions.get_extension_for_class(
        kind
    )
    assert made.public_key() == key.public_key()


def test_a_person_approves_first(serving: Serving) -> None:
    token = basic(enroller(serving, "slow.example"))
    wanted = body("slow.example")
    with serving.client() as client, serving.client(Role.APPROVER) as approver:
        waits = post(client, "watched/simpleenroll", wanted, token)
        assert waits.status == 202, waits
        assert int(waits.headers["retry-after"]) > 0
        assert post(client, "watched/simpleenroll", wanted, token).status == 202
        pending = approver.get("/v1/approvals?state=pending&act=certificate.enroll").json["items"]
        (asked,) = [each for each in pending if each["parameters"]["names"] == ["dns:slow.example"]]
        assert asked["parameters"]["endpoint"] == "watched"
        decision = {"decision": "approve", "reason": "it is ours"}
        assert approver.post(f"/v1/approvals/{asked['id']}", decision).status == 200
        another = post(client, "watched/simpleenroll", body("slow.example"), token)
        assert another.status == 202, "an approval is for one key"
        made = certificate(post(client, "watched/simpleenroll", wanted, token))
        another = post(client, "watched/simpleenroll", body("slow.example"), token)
        assert another.code == "token_refused", "the approval is used up, and so is the token"
    about = f"certificate:issuing:{serials.to_hex(made.serial_number)}"
    found = audit_events(serving.site.desk, CONSOLE, AuditQuery(object=about, limit=10))
    intent = next(each for each in found if each.action == "certificate.sign")
    assert intent.detail["approved_by"] == "a approver"


def test_a_watched_endpoint_lets_certificates_renew_themselves(
    serving: Serving, tmp_path: Path
) -> None:
    device = enrolled(serving, "again.example", tmp_path)
    with serving.client(device) as client:
        certificate(post(client, "watched/simplereenroll", body("again.example")))


def test_the_service_makes_a_key_where_it_may(serving: Serving) -> None:
    token = basic(enroller(serving, "weak.example", profile="network-device"))
    with serving.client() as client:
        reply = post(client, "devices/serverkeygen", body("weak.example"), token)
        off = post(client, "serverkeygen", body("weak.example"), token)
    assert reply.status == 200, reply
    head = f"Content-Type: {reply.headers['content-type']}\r\n\r\n".encode()
    _, first, second = email.message_from_bytes(head + reply.body).walk()
    assert first["Content-Type"] == "application/pkcs8"
    key = serialization.load_der_private_key(first.get_payload(decode=True), None)
    assert second["Content-Type"] == "application/pkcs7-mime; smime-type=certs-only"
    (made,) = pkcs7.load_der_pkcs7_certificates(second.get_payload(decode=True))
    assert made.public_key() == key.public_key()
    assert (off.status, off.code) == (404, "server_keys_off")


@pytest.mark.parametrize("attribute", ["37", "54"])
def test_a_key_that_was_to_be_encrypted_is_not_sent_in_the_clear(
    serving: Serving, attribute: str
) -> None:
    token = basic(enroller(serving, "cms.example", profile="network-device"))
    oid = x509.ObjectIdentifier(f"1.2.840.113549.1.9.16.2.{attribute}")
    key = ec.generate_private_key(ec.SECP256R1())
    asked = (
        x509.CertificateSigningRequestBuilder(x509.Name([]))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("cms.example")]), critical=False)
        .add_attribute(oid, b"a key")
        .sign(key, hashes.SHA256())
    )
    with serving.client() as client:
        sent = base64.b64encode(asked.public_bytes(Encoding.DER))
        reply = post(client, "devices/serverkeygen", sent, token)
    assert (reply.status, reply.code) == (422, "key_encryption_refused")


def test_a_made_key_is_kept_nowhere(serving: Serving) -> None:
    token = basic(enroller(serving, "twice.example", uses=2, profile="network-device"))
    with serving.client() as client:
        sent = body("twice.example")
        one, two = (post(client, "devices/serverkeygen", sent, token).body for _ in range(2))
    assert one != two


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("POST", "fullcmc", 404, "est_operation_not_offered"),
        ("GET", "simpleenroll", 405, "method_not_allowed"),
        ("POST", "cacerts", 405, "method_not_allowed"),
        ("GET", "nothing", 404, "route_not_found"),
        ("GET", "nobody/cacerts", 404, "endpoint_not_found"),
        ("GET", "shut/cacerts", 404, "endpoint_not_found"),
        ("POST", "shut/simpleenroll", 404, "endpoint_not_found"),
    ],
)
def test_what_is_not_there(
    serving: Serving, method: str, path: str, status: int, code: str
) -> None:
    with serving.client() as client:
        reply = client.send(method, f"{EST}/{path}", raw=b"" if method == "POST" else None)
    assert (reply.status, reply.code) == (status, code)


def test_who_must_not(serving: Serving) -> None:
    """Beside the table of tests/api/test_est_refusals.py."""
    mine = enroller(serving, "mine.example")
    wanted = body("mine.example")
    with serving.client() as client:
        found = {
            "a bearer": post(client, "simpleenroll", wanted, {"Authorization": f"Bearer {mine}"}),
            "no base64": post(client, "simpleenroll", wanted, {"Authorization": "Basic !"}),
            "no colon": post(client, "simpleenroll", wanted, {"Authorization": "Basic QUJD"}),
            "another profile": post(client, "devices/simpleenroll", wanted, basic(mine)),
        }
    assert {name: (reply.status, reply.code) for name, reply in found.items()} == {
        "a bearer": (401, "authorization_malformed"),
        "no base64": (401, "authorization_malformed"),
        "no colon": (401, "authorization_malformed"),
        "another profile": (403, "outside_scope"),
    }


def test_bad_requests_are_told_what_is_wrong(serving: Serving) -> None:
    token = basic(enroller(serving, "bad.example", uses=10))
    small = rsa.generate_private_key(65537, 1024)  # noqa: S505 - that is the point
    weak = (
        x509.CertificateSigningRequestBuilder(x509.Name([]))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("bad.example")]), critical=False)
        .sign(small, hashes.SHA256())
        .public_bytes(Encoding.DER)
    )
    with serving.client() as client:
        found = {
            "another media type": post(
                client, "simpleenroll", body("bad.example"), token, "application/json"
            ),
            "no request": post(client, "simpleenroll", b"bm90IGEgcmVxdWVzdA==", token),
            "nothing": post(client, "simpleenroll", b"", token),
            "a weak key": post(client, "simpleenroll", base64.b64encode(weak), token),
            "too large": post(client, "simpleenroll", b"A" * 60_000, token),
        }
    assert {name: (reply.status, reply.code) for name, reply in found.items()} == {
        "another media type": (415, "media_type_refused"),
        "no request": (422, "csr_malformed"),
        "nothing": (422, "csr_malformed"),
        "a weak key": (422, "key_not_allowed"),
        "too large": (413, "csr_too_large"),
    }


_held: dict[str, str] = {}


def _good_for_nothing(serving: Serving) -> str:
    known = _held.get(serving.site.url)
    if known is None:
        known = _held[serving.site.url] = enroller(serving, "nobody.example")
    return known


_FUZZED = body("fuzz.example")  # one for all: its length must not change


@settings(max_examples=int(os.environ.get("IKEWARDEN_SOAK_MESSAGES", "150")), deadline=None)
@given(data=st.data())
def test_no_bytes_are_too_strange(serving: Serving, data: st.DataObject) -> None:
    good = bytearray(base64.b64decode(_FUZZED))
    for at in data.draw(st.lists(st.integers(0, len(good) - 1), max_size=4)):
        good[at] = data.draw(st.integers(0, 255))
    content = data.draw(
        st.sampled_from([base64.b64encode(good), bytes(good), base64.b64encode(good)[:-7]])
    )
    # One that is good for nothing that is asked for here, but lets the request be read.
    token = basic(_good_for_nothing(serving))
    operation = data.draw(
        st.sampled_from(["simpleenroll", "devices/serverkeygen", "simplereenroll"])
    )
    with serving.client() as client:
        assert post(client, operation, content, token).status < 500


def test_in_a_rollover_both_lines_are_trusted(serving: Serving) -> None:
    def subjects(client: Client) -> set[str]:
        answer = client.get(f"{EST}/cacerts").body
        found = pkcs7.load_der_pkcs7_certificates(base64.b64decode(answer))
        return {each.subject.rfc4514_string() for each in found}

    with serving.client(Role.ADMIN) as admin:
        before = subjects(admin)
        begun = admin.post("/v1/authorities/issuing/rollover", {}).json
        assert subjects(admin) == before, "nobody is told before it is published"
        moved = admin.post(f"/v1/rollovers/{begun['id']}", {"to": "published"})
        assert moved.status == 200, moved
        successor = authorities.load(serving.site.desk, begun["successor"])
        assert subjects(admin) == before | {successor.certificate.subject.rfc4514_string()}
