"""EST: what is refused, by a table of all ways to prove who one is; and what breakers try beside."""

import base64
import http.client
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from pki import decisions, reconcile, revocation, tokens
from pki.actors import Actor, Role, Scope
from pki.decisions import ApprovalQuery
from pki.endpoints import Endpoint, EstDoor
from pki.guarded import State, Step
from pki.tokens import TokenRequest
from pki.x509 import serials
from tests.api.refusals import Cell, check, recorded
from tests.api.serving import Reply, Serving, serve
from tests.api.site import CLOCKWORK, CONSOLE, ClientCertificate, Site, new_csr
from tests.api.test_est import EST, basic, body, certificate, enrolled, enroller, post

TOKEN, CERTIFICATE, APPROVAL = (
    "a token as the password",
    "a client certificate",
    "a person's approval",
)
WAYS = (TOKEN, CERTIFICATE, APPROVAL)
TABLE = (
    Cell(TOKEN, "wrong", "401 token_refused", "a token that nobody made"),
    Cell(TOKEN, "replayed", "401 token_refused", "one that is used up, for another key"),
    Cell(TOKEN, "expired", "401 token_refused", "one that has ended"),
    Cell(TOKEN, "revoked", "401 token_refused", "one that was revoked"),
    Cell(TOKEN, "another's", "403 outside_scope", "one for another device's name"),
    Cell(TOKEN, "another's", "401 est_password_refused", "an auditor's"),
    Cell(TOKEN, "another's", "401 est_password_refused", "an operator's"),
    Cell(TOKEN, "another's", "401 est_password_refused", "an admin's"),
    Cell(TOKEN, "another's", "403 outside_scope", "one for another profile"),
    Cell(TOKEN, "another's", "403 outside_scope", "one for another endpoint"),
    Cell(TOKEN, "missing", "401 credentials_missing", "no password"),
    Cell(TOKEN, "missing", "401 enrollment_way_closed", "one where certificates alone are taken"),
    Cell(CERTIFICATE, "wrong", "no handshake", "one of another authority"),
    Cell(CERTIFICATE, "replayed", none="The same request gets the same certificate, and TLS is new each time."),
    Cell(CERTIFICATE, "expired", "401 client_certificate_expired", "one that has ended"),
    Cell(CERTIFICATE, "revoked", "401 client_certificate_revoked", "one that was revoked"),
    Cell(CERTIFICATE, "revoked", "401 client_certificate_revoked", "one that is on hold"),
    Cell(CERTIFICATE, "another's", "422 renewal_names_changed", "the own one for another device's name"),
    Cell(CERTIFICATE, "another's", "403 outside_scope", "one of another profile than the endpoint's"),
    Cell(CERTIFICATE, "missing", "401 credentials_missing", "no certificate"),
    Cell(CERTIFICATE, "missing", "401 client_certificate_missing", "a token in its place"),
    Cell(CERTIFICATE, "missing", "401 enrollment_way_closed", "one where tokens alone are taken"),
    Cell(APPROVAL, "wrong", "403 enrollment_denied", "a refusal"),
    Cell(APPROVAL, "replayed", "202", "one that is used up, for another key"),
    Cell(APPROVAL, "expired", "202", "one that has ended"),
    Cell(APPROVAL, "revoked", none="What was approved is not taken back: its token is revoked."),
    Cell(APPROVAL, "another's", "202", "one for another device's request"),
    Cell(APPROVAL, "missing", "202", "none yet"),
)  # fmt: skip
ENDPOINTS = (
    Endpoint("gateway", "gateway", est=EstDoor()),
    Endpoint("tokens", "gateway", est=EstDoor(ways=("token",))),
    Endpoint("renewals", "gateway", est=EstDoor(ways=("certificate",))),
    Endpoint("watched", "gateway", manual=True, est=EstDoor()),
    Endpoint("hosts", "host", est=EstDoor()),
)
APPROVER = Actor("ann", Role.APPROVER)
NAME = "mine.example"


@pytest.fixture(scope="module")
def serving(site: Site) -> Iterator[Serving]:
    """A listener of an installation with several endpoints."""
    rules = replace(site.desk.rules, endpoints={each.name: each for each in ENDPOINTS})
    site.desk = replace(site.desk, rules=rules)
    with serve(site) as running:
        yield running


#: Sends the last request: what comes before it is allowed.
Send = Callable[[], Reply]


def sending(
    serving: Serving,
    token: str | None = None,
    *,
    device: ClientCertificate | None = None,
    to: str = "simpleenroll",
    content: bytes = b"",
) -> Send:
    def send() -> Reply:
        with serving.client(device) as client:
            return post(client, to, content or body(NAME), basic(token) if token else None)

    return send


def tied(serving: Serving) -> str:
    """A token for the endpoint alone where a person approves."""
    scope = Scope(profiles=("gateway",), endpoints=("watched",))
    return serving.site.token(Role.ENROLLER, name="tied", uses=9, scope=scope)


def _used_up(serving: Serving, path: Path) -> Send:
    token = enroller(serving, NAME)
    assert sending(serving, token)().status == 200
    return sending(serving, token)


def _ended_token(serving: Serving, path: Path) -> Send:
    site = serving.site
    now, scope = site.clock(), Scope(profiles=("gateway",), names=(f"dns:{NAME}",))
    ends = now + timedelta(hours=1)
    wanted = TokenRequest("short", Role.ENROLLER, scope, uses=1, expires_at=ends)
    made = tokens.create(site.desk, CONSOLE, wanted, now=now).secret.reveal().decode()
    return later(serving, timedelta(hours=2), sending(serving, made))


def later(serving: Serving, ahead: timedelta, send: Send) -> Send:
    def then() -> Reply:
        serving.site.clock.ahead = ahead
        try:
            return send()
        finally:
            serving.site.clock.ahead = timedelta(0)

    return then


def _revoked_token(serving: Serving, path: Path) -> Send:
    site = serving.site
    scope = Scope(profiles=("gateway",), names=(f"dns:{NAME}",))
    wanted = TokenRequest("back", Role.ENROLLER, scope, uses=1)
    made = tokens.create(site.desk, CONSOLE, wanted, now=site.clock())
    tokens.revoke(site.desk, CONSOLE, made.view.id, now=site.clock())
    return sending(serving, made.secret.reveal().decode())


def _of_another_authority(serving: Serving, path: Path) -> Send:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test Issuing")])
    now = datetime.now(UTC)
    own = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    file = path / "own.pem"
    private = key.private_bytes(
        Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(private + own.public_bytes(Encoding.PEM))
    device = ClientCertificate(None, file)  # type: ignore[arg-type]  # only the file is needed here
    return sending(serving, device=device, to="simplereenroll")


def renewing(serving: Serving, path: Path, to: str = "simplereenroll", name: str = NAME) -> Send:
    device = enrolled(serving, NAME, path)
    return sending(serving, device=device, to=to, content=body(name))


def _ended_certificate(serving: Serving, path: Path) -> Send:
    return later(serving, timedelta(days=3000), renewing(serving, path))


def _revoked(serving: Serving, path: Path) -> Send:
    device, site = enrolled(serving, NAME, path), serving.site
    revocation.revoke(site.desk, CONSOLE, device.issued.serial, "superseded", now=site.clock())
    return sending(serving, device=device, to="simplereenroll")


def _held(serving: Serving, path: Path) -> Send:
    device, site = enrolled(serving, NAME, path), serving.site
    revocation.hold(site.desk, CONSOLE, device.issued.serial, now=site.clock())
    return sending(serving, device=device, to="simplereenroll")


_numbers = iter(range(1000))


def waiting(serving: Serving, uses: int = 1) -> tuple[str, str, bytes]:
    """A name whose request waits for a person, with its token."""
    name = f"slow{next(_numbers)}.example"
    token, content = enroller(serving, name, uses=uses), body(name)
    assert sending(serving, token, to="watched/simpleenroll", content=content)().status == 202
    return name, token, content


def decide(serving: Serving, name: str, step: Step) -> None:
    desk, now = serving.site.desk, serving.site.clock()
    open_ = decisions.list_(desk, APPROVER, ApprovalQuery(state=State.PENDING), now=now)
    [asked] = [each for each in open_ if each.parameters.get("names") == [f"dns:{name}"]]
    decisions.decide(desk, APPROVER, asked.id, step, "seen", now=now)


def watched(serving: Serving, token: str, content: bytes) -> Send:
    return sending(serving, token, to="watched/simpleenroll", content=content)


def _denied(serving: Serving, path: Path) -> Send:
    name, token, content = waiting(serving)
    decide(serving, name, Step.REFUSE)
    return watched(serving, token, content)


def _approval_used_up(serving: Serving, path: Path) -> Send:
    name, token, content = waiting(serving, uses=5)
    decide(serving, name, Step.APPROVE)
    assert watched(serving, token, content)().status == 200
    return watched(serving, token, body(name))


def _approval_ended(serving: Serving, path: Path) -> Send:
    name, token, content = waiting(serving)
    decide(serving, name, Step.APPROVE)
    ahead = serving.site.desk.rules.approvals.valid + timedelta(hours=1)
    return later(serving, ahead, watched(serving, token, content))


def _approval_of_another(serving: Serving, path: Path) -> Send:
    name, _, _ = waiting(serving)
    decide(serving, name, Step.APPROVE)
    other = f"other.{name}"
    return watched(serving, enroller(serving, other), body(other))


TRIED: dict[tuple[str, str], Callable[[Serving, Path], Send]] = {
    (TOKEN, "a token that nobody made"): lambda serving, path: sending(serving, "iw_nobody"),
    (TOKEN, "one that is used up, for another key"): _used_up,
    (TOKEN, "one that has ended"): _ended_token,
    (TOKEN, "one that was revoked"): _revoked_token,
    (TOKEN, "one for another device's name"): lambda serving, path: sending(
        serving, enroller(serving, "other.example")
    ),
    (TOKEN, "one for another endpoint"): lambda serving, path: sending(serving, tied(serving)),
    (TOKEN, "an auditor's"): lambda serving, path: sending(
        serving, serving.site.tokens[Role.AUDITOR]
    ),
    (TOKEN, "an operator's"): lambda serving, path: sending(
        serving, serving.site.tokens[Role.OPERATOR]
    ),
    (TOKEN, "an admin's"): lambda serving, path: sending(serving, serving.site.tokens[Role.ADMIN]),
    (TOKEN, "one for another profile"): lambda serving, path: sending(
        serving, enroller(serving, NAME, profile="network-device")
    ),
    (TOKEN, "no password"): lambda serving, path: sending(serving),
    (TOKEN, "one where certificates alone are taken"): lambda serving, path: sending(
        serving, enroller(serving, NAME), to="renewals/simpleenroll"
    ),
    (CERTIFICATE, "one of another authority"): _of_another_authority,
    (CERTIFICATE, "one that has ended"): _ended_certificate,
    (CERTIFICATE, "one that was revoked"): _revoked,
    (CERTIFICATE, "one that is on hold"): _held,
    (CERTIFICATE, "the own one for another device's name"): lambda serving, path: renewing(
        serving, path, name="other.example"
    ),
    (CERTIFICATE, "one of another profile than the endpoint's"): lambda serving, path: renewing(
        serving, path, "hosts/simplereenroll"
    ),
    (CERTIFICATE, "no certificate"): lambda serving, path: sending(serving, to="simplereenroll"),
    (CERTIFICATE, "a token in its place"): lambda serving, path: sending(
        serving, enroller(serving, NAME), to="simplereenroll"
    ),
    (CERTIFICATE, "one where tokens alone are taken"): lambda serving, path: renewing(
        serving, path, "tokens/simplereenroll"
    ),
    (APPROVAL, "a refusal"): _denied,
    (APPROVAL, "one that is used up, for another key"): _approval_used_up,
    (APPROVAL, "one that has ended"): _approval_ended,
    (APPROVAL, "one for another device's request"): _approval_of_another,
    (APPROVAL, "none yet"): lambda serving, path: watched(
        serving, enroller(serving, NAME), body(NAME)
    ),
}


def test_the_table_is_whole() -> None:
    check(TABLE, WAYS, TRIED)


@pytest.mark.parametrize(
    "cell", [each for each in TABLE if each.answer], ids=lambda each: f"{each.way}: {each.means}"
)
def test_what_is_refused(serving: Serving, tmp_path: Path, cell: Cell) -> None:
    send = TRIED[cell.way, cell.means](serving, tmp_path)
    before = recorded(serving.site.desk)
    try:
        reply = send()
    except (ssl.SSLError, ConnectionError, http.client.HTTPException):
        found = "no handshake"
    else:
        found = "202" if reply.status == 202 else f"{reply.status} {reply.code}"
    assert found == cell.answer
    assert recorded(serving.site.desk) == before


# Twice at once, and after a death


@pytest.mark.parametrize("operation", ["simpleenroll", "simplereenroll"])
def test_what_comes_while_it_is_being_signed_waits(
    serving: Serving, tmp_path: Path, operation: str
) -> None:
    content, keys = body(NAME), serving.site.keys
    if operation == "simpleenroll":
        send = sending(serving, enroller(serving, NAME, uses=3), content=content)
    else:
        device = enrolled(serving, NAME, tmp_path)
        send = sending(serving, device=device, to=operation, content=content)
    before = recorded(serving.site.desk)
    keys.hang()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(send)
        try:
            keys.wait_until_hanging()
            again = send()
        finally:
            keys.heal()
        made = certificate(first.result())
    assert again.status == 202
    assert int(again.headers["retry-after"]) > 0
    assert certificate(send()) == made
    assert recorded(serving.site.desk) == before + 1


def test_many_at_once_get_one_certificate(serving: Serving) -> None:
    send = sending(serving, enroller(serving, NAME, uses=9), content=body(NAME))
    before, gate = recorded(serving.site.desk), threading.Barrier(4)

    def together() -> Reply:
        gate.wait(60)
        return send()

    with ThreadPoolExecutor(4) as pool:
        found = [each.result() for each in [pool.submit(together) for _ in range(4)]]
    made = {certificate(each) for each in found if each.status != 202}
    assert made == {certificate(send())}
    assert recorded(serving.site.desk) == before + 1


def test_what_a_death_left_is_made_anew(serving: Serving) -> None:
    site, token, content = serving.site, enroller(serving, NAME), body(NAME)
    send = sending(serving, token, content=content)
    site.keys.fail()
    try:
        assert send().status == 503
    finally:
        site.keys.heal()
    assert send().status == 202, "nobody knows yet whether the signature will come"
    late = site.clock() + reconcile.PATIENCE + timedelta(seconds=1)
    assert reconcile.settle(site.desk, CLOCKWORK, now=late) == 1
    made = certificate(send())
    assert certificate(send()) == made


# What is asked for


def _spoiled(name: str) -> bytes:
    der = bytearray(base64.b64decode(body(name)))
    der[-1] ^= 1
    return base64.b64encode(der)


def _with_key(key: object) -> bytes:
    request = x509.CertificateSigningRequestBuilder(x509.Name([])).add_extension(
        x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False
    )
    signed = request.sign(key, hashes.SHA256())  # type: ignore[arg-type]  # weak ones too
    return base64.b64encode(signed.public_bytes(Encoding.DER))


def test_what_a_request_must_not_be(serving: Serving) -> None:
    token = basic(enroller(serving, NAME, uses=9))
    compromised = ec.generate_private_key(ec.SECP256R1())
    site = serving.site
    with serving.client() as client:
        made = certificate(post(client, "simpleenroll", _with_key(compromised), token))
        serial = serials.to_hex(made.serial_number)
        revocation.revoke(site.desk, CONSOLE, serial, "keyCompromise", now=site.clock())
        other = basic(enroller(serving, NAME))
        before = recorded(site.desk)
        found = {
            "not signed by its key": post(client, "simpleenroll", _spoiled(NAME), token),
            "a curve that nobody takes": post(
                client, "simpleenroll", _with_key(ec.generate_private_key(ec.SECP256K1())), token
            ),
            "a short key": post(
                client,
                "simpleenroll",
                _with_key(rsa.generate_private_key(65537, 1024)),  # noqa: S505 - that is the point
                token,
            ),
            "a key that is compromised": post(
                client, "simpleenroll", _with_key(compromised), other
            ),
            "two requests": post(client, "simpleenroll", body(NAME) + body(NAME), token),
            "base64 with holes": post(client, "simpleenroll", body(NAME)[:-9] + b"*", token),
            "nothing but spaces": post(client, "simpleenroll", b" \r\n" * 50, token),
            "a form": post(client, "simpleenroll", body(NAME), token, "multipart/form-data"),
            "no media type": post(client, "simpleenroll", body(NAME), token, ""),
        }
        assert {name: (reply.status, reply.code) for name, reply in found.items()} == {
            "not signed by its key": (422, "csr_signature_invalid"),
            "a curve that nobody takes": (422, "key_not_allowed"),
            "a short key": (422, "key_not_allowed"),
            "a key that is compromised": (422, "key_compromised"),
            "two requests": (422, "csr_malformed"),
            "base64 with holes": (422, "csr_malformed"),
            "nothing but spaces": (422, "csr_malformed"),
            "a form": (415, "media_type_refused"),
            "no media type": (415, "media_type_refused"),
        }
        assert recorded(site.desk) == before


def test_a_key_gets_no_other_names_by_asking_again(serving: Serving) -> None:
    scope = Scope(profiles=("gateway",), names=("dns:*.example",))
    token = serving.site.token(Role.ENROLLER, name="two", uses=5, scope=scope)
    key = ec.generate_private_key(ec.SECP256R1())
    first = sending(serving, token, content=body("one.example", key))
    assert first().status == 200
    before = recorded(serving.site.desk)
    reply = sending(serving, token, content=body("two.example", key))()
    assert (reply.status, reply.code) == (409, "enrollment_over")
    assert recorded(serving.site.desk) == before


@pytest.mark.parametrize(
    "path",
    [
        "/.well-known/est/simpleenroll/simpleenroll",
        "/.well-known/est/gateway/gateway/simpleenroll",
        "/.well-known/est/%00/simpleenroll",
        "/.well-known/est/..%2fgateway/simpleenroll",
        "/.well-known/est/gateway%2f/simpleenroll",
        "/.well-known/est/GATEWAY/simpleenroll",
        "/.well-known/est/g%C3%A4teway/simpleenroll",
        "/.well-known/est/%ff%fe/simpleenroll",
        "/.well-known/est/" + "a" * 4000 + "/simpleenroll",
        "/.well-known/est/../est/simpleenroll",
        "/.well-known/est//simpleenroll",
        "/.well-known/est/simpleenroll/",
        "/p/../.well-known/est/simpleenroll",
        "/p/gateway/p/gateway/.well-known/est/simpleenroll",
        "/p//.well-known/est/simpleenroll",
    ],
)
def test_no_other_path_leads_there(serving: Serving, path: str) -> None:
    token = basic(enroller(serving, NAME))
    before = recorded(serving.site.desk)
    with serving.client() as client:
        headers = {"Content-Type": "application/pkcs10", **token}
        reply = client.send("POST", path, raw=body(NAME), headers=headers)
    assert reply.status in {400, 404}
    assert recorded(serving.site.desk) == before


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_no_other_method_does_it(serving: Serving, method: str) -> None:
    with serving.client() as client:
        headers = {"Content-Type": "application/pkcs10", **basic(enroller(serving, NAME))}
        reply = client.send(method, f"{EST}/simpleenroll", raw=body(NAME), headers=headers)
    assert reply.status == 405


def test_nobody_goes_round_an_approval_by_another_way_in(serving: Serving) -> None:
    token, before = tied(serving), recorded(serving.site.desk)
    assert sending(serving, token, to="watched/simpleenroll")().status == 202
    assert sending(serving, token, to="tokens/simpleenroll")().code == "outside_scope"
    with serving.client(token) as client:
        reply = client.post("/v1/certificates", {"csr": new_csr(NAME), "profile": "gateway"})
    assert (reply.status, reply.code) == (403, "outside_scope")
    assert recorded(serving.site.desk) == before
