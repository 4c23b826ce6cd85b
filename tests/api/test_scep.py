"""SCEP (RFC 8894) over a socket: who gets a certificate by it, and who does not."""

import os
import socket
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from asn1crypto import cms
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import pkcs7
from hypothesis import given, settings
from hypothesis import strategies as st

from pki import authorities, decisions, ra_credential, revocation, tokens
from pki.actors import Actor, Role, Scope
from pki.certificates import find
from pki.decisions import ApprovalQuery
from pki.guarded import State, Step
from pki.history import AuditQuery, audit_events
from pki.rollover import phases
from pki.rollover.phases import Order
from pki.rollover.successor import RolloverRequest
from pki.tokens import TokenRequest
from pki.x509 import serials
from tests.api.plain import Listener, listening
from tests.api.scepping import (
    PROFILE,
    Answer,
    Device,
    ca_certificates,
    csr,
    exchange,
    name_and_number,
    new_key,
    open_doors,
    signed_with_sha1,
    token,
)
from tests.api.site import CLOCKWORK, CONSOLE, Site
from tests.fixtures.desk import stock_key

APPROVER = Actor("ann", Role.APPROVER)
BAD_ALG, BAD_CHECK, BAD_REQUEST, BAD_TIME, BAD_CERT = "0", "1", "2", "3", "4"


@pytest.fixture(scope="module")
def listener(site: Site) -> Iterator[Listener]:
    """Two processes that answer for an installation with several endpoints."""
    with open_doors(site) as running:
        yield running


_numbers = iter(range(10_000))


def device(listener: Listener, name: str, endpoint: str = "devices", **rest: object) -> Device:
    """A device with a key that no other device has."""
    return Device.new(
        listener, endpoint, name, key=stock_key("rsa-2048", 5000 + next(_numbers)), **rest
    )


def enrolled(listener: Listener, name: str, endpoint: str = "devices", **rest: object) -> Device:
    """A device with its first certificate."""
    new = device(listener, name, endpoint, **rest)
    made = new.enroll(name, token(listener, name)).certificate
    return new.with_certificate(made)


def on_record(listener: Listener, certificate: x509.Certificate) -> object:
    return find(listener.site.desk, serials.to_hex(certificate.serial_number))


def refused(answer: Answer) -> tuple[str, str]:
    """Which failure, with the code of ours."""
    assert answer.status == "2", answer
    assert answer.content is None
    return answer.fail or "", answer.text.partition(":")[0]


def test_a_client_is_told_what_is_taken(listener: Listener) -> None:
    reply = listener.send("GET", "/scep/devices?operation=GetCACaps")
    assert reply.headers["content-type"] == "text/plain"
    words = reply.body.decode().split("\n")
    assert {"AES", "SHA-256", "SHA-512", "POSTPKIOperation", "Renewal", "SCEPStandard"} <= {*words}
    assert "SHA-1" not in words
    # charon's pki before 5.9.11 tests the wrong bits.
    assert {"DES3", "SHA-384"} <= {*words}
    old = listener.send("GET", "/scep/old?operation=GetCACaps").body.decode().split("\n")
    assert {*old} - {*words} == {"SHA-1"}


def test_anybody_gets_the_certificates(listener: Listener) -> None:
    ra, issuing, root = ca_certificates(listener, "devices")
    chain = authorities.load(listener.site.desk, "issuing").chain
    assert (issuing, root) == chain
    usage = ra.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature
    assert usage.key_encipherment
    ra.verify_directly_issued_by(issuing)


@pytest.mark.parametrize("tail", ["", "/pkiclient.exe", "/cgi-bin/pkiclient.exe"])
@pytest.mark.parametrize("by_get", [False, True])
def test_a_token_gets_one_certificate(listener: Listener, tail: str, by_get: bool) -> None:
    new = replace(
        device(listener, "one.example", by_get=by_get), ra=ca_certificates(listener, "devices")[0]
    )
    new = replace(new, endpoint=f"devices{tail}")
    word = token(listener, "one.example")
    answer = new.enroll("one.example", word)
    assert answer.certificate.public_key() == new.key.public_key()
    assert (answer.transaction, answer.recipient_nonce) == (new.transaction, new.nonce)
    assert len(answer.sender_nonce) == 16
    assert answer.sender_nonce != new.nonce
    # charon's pki before 6.0 knows only this name.
    assert answer.signature_algorithm == "rsassa_pkcs1v15"
    assert answer.signer == new.ra
    other = device(listener, "one.example")
    assert refused(other.enroll("one.example", word)) == (BAD_REQUEST, "token_refused")


@pytest.mark.parametrize("cipher", ["aes128", "aes256"])
@pytest.mark.parametrize("digest", ["sha256", "sha384", "sha512"])
def test_the_answer_is_in_the_algorithms_of_the_request(
    listener: Listener, cipher: str, digest: str
) -> None:
    new = device(listener, "words.example", cipher=cipher, digest=digest)
    answer = new.enroll("words.example", token(listener, "words.example"))
    assert answer.certificate.issuer == ca_certificates(listener, "devices")[1].subject


def test_who_lost_the_answer_asks_again(listener: Listener) -> None:
    new, word = device(listener, "lost.example"), token(listener, "lost.example")
    message = new.message("19", csr(new.key, "lost.example", word))
    made = new.send(message).certificate
    assert new.send(message).certificate == made
    assert replace(new, transaction="another").enroll("lost.example", word).certificate == made


def test_a_message_that_is_sent_again_makes_no_second_certificate(listener: Listener) -> None:
    site = listener.site
    new, word = device(listener, "again.example"), token(listener, "again.example", uses=5)
    message = new.message("19", csr(new.key, "again.example", word))
    made = new.send(message).certificate
    assert new.send(message).certificate == made
    serial = serials.to_hex(made.serial_number)
    revocation.revoke(site.desk, CONSOLE, serial, "superseded", now=site.clock())
    assert refused(new.send(message)) == (BAD_REQUEST, "enrollment_over")
    assert device(listener, "again.example").enroll("again.example", word).certificate != made
    holder = enrolled(listener, "second.example")
    renewal = holder.message("17", csr(new_key(), "second.example"))
    assert holder.send(renewal).certificate == holder.send(renewal).certificate


def test_where_it_came_in_is_on_record(listener: Listener) -> None:
    made = enrolled(listener, "known.example").certificate
    assert intent(listener, made)["door"] == "scep"
    assert intent(listener, made)["endpoint"] == "devices"
    assert "legacy" not in intent(listener, made)


def intent(listener: Listener, made: x509.Certificate) -> dict[str, object]:
    about = f"certificate:issuing:{serials.to_hex(made.serial_number)}"
    found = audit_events(listener.site.desk, CONSOLE, AuditQuery(object=about, limit=10))
    return dict(next(each for each in found if each.action == "certificate.sign").detail)


@pytest.mark.parametrize("kind", ["17", "19"])
def test_a_certificate_renews_itself(listener: Listener, kind: str) -> None:
    """Old devices say PKCSReq for it."""
    holder = enrolled(listener, "old.example")
    key = new_key()
    made = holder.renew("old.example", key, kind).certificate
    assert made.public_key() == key.public_key()
    old = serials.to_hex(holder.certificate.serial_number)
    assert on_record(listener, made).renewed_from == old  # type: ignore[attr-defined]


def test_a_renewal_may_still_have_the_first_password(listener: Listener) -> None:
    """certmonger has; and the same key, if it is not told otherwise."""
    name = "kept.example"
    new, word = device(listener, name), token(listener, name, uses=3)
    first = new.enroll(name, word).certificate
    holder = new.with_certificate(first)
    second = holder.enroll(name, word).certificate
    assert on_record(listener, second).renewed_from == serials.to_hex(first.serial_number)  # type: ignore[attr-defined]
    third = holder.with_certificate(second).ask("19", csr(new_key(), name, word)).certificate
    assert on_record(listener, third).renewed_from == serials.to_hex(second.serial_number)  # type: ignore[attr-defined]


def test_a_renewal_keeps_its_names(listener: Listener) -> None:
    holder = enrolled(listener, "mine.example")
    assert refused(holder.renew("other.example")) == (BAD_REQUEST, "renewal_names_changed")


def test_an_endpoint_takes_what_it_says(listener: Listener) -> None:
    holder = enrolled(listener, "ways.example")
    shut = replace(holder, endpoint="tokens").renew("ways.example")
    assert refused(shut) == (BAD_REQUEST, "scep_way_closed")
    word = token(listener, "ways.example")
    first = device(listener, "ways.example", "renewals").enroll("ways.example", word)
    assert refused(first) == (BAD_REQUEST, "scep_way_closed")
    assert replace(holder, endpoint="renewals").renew("ways.example").status == "0"


def decide(listener: Listener, name: str, step: Step) -> None:
    desk, now = listener.site.desk, listener.site.clock()
    waiting = decisions.list_(desk, APPROVER, ApprovalQuery(state=State.PENDING), now=now)
    [asked] = [each for each in waiting if each.parameters.get("names") == [f"dns:{name}"]]
    decisions.decide(desk, APPROVER, asked.id, step, "it is ours", now=now)


def test_a_person_approves_first(listener: Listener) -> None:
    word = token(listener, "slow.example")
    new = device(listener, "slow.example", "watched")
    waits = new.enroll("slow.example", word)
    assert (waits.status, waits.content, waits.fail) == ("3", None, None)
    assert new.poll().status == "3"
    decide(listener, "slow.example", Step.APPROVE)
    stranger = device(listener, "slow.example", "watched", transaction=new.transaction)
    assert refused(stranger.poll()) == (BAD_CERT, "scep_transaction_unknown")
    made = new.poll().certificate
    assert made.public_key() == new.key.public_key()
    assert new.poll().certificate == made, "who lost the answer asks again"
    assert new.enroll("slow.example", word).certificate == made
    assert intent(listener, made)["approved_by"] == "ann"


def test_the_password_of_what_waits_is_kept_nowhere(listener: Listener) -> None:
    from sqlalchemy import select

    from store.tables import idempotency

    word = token(listener, "secret.example")
    new = device(listener, "secret.example", "watched")
    assert new.enroll("secret.example", word).status == "3"
    with listener.site.desk.store.read() as connection:
        kept = connection.scalars(
            select(idempotency.c.body).where(idempotency.c.route == "scep")
        ).all()
    assert kept
    from base64 import b64decode
    from json import loads

    assert all(word.encode() not in b64decode(loads(each or "{}")["csr"]) for each in kept)


def test_a_certificate_can_be_fetched_again(listener: Listener) -> None:
    holder = enrolled(listener, "fetch.example")
    assert holder.look("21", holder.certificate).certificate == holder.certificate
    other = enrolled(listener, "others.example")
    assert refused(holder.look("21", other.certificate)) == (BAD_CERT, "scep_certificate_unknown")
    ra = holder.authority()
    assert refused(holder.look("21", ra)) == (BAD_CERT, "scep_certificate_unknown")


def test_a_gateway_sees_its_other_certificates(listener: Listener) -> None:
    name = "gw.example"
    new = Device.new(listener, "gateways", name, key=stock_key("rsa-3072", 1))
    made = new.enroll(name, token(listener, name, profile="gateway")).certificate
    holder = new.with_certificate(made)
    second = holder.renew(name, stock_key("rsa-3072", 2)).certificate  # type: ignore[arg-type]
    assert holder.look("21", second).certificate == second


def test_a_list_can_be_fetched(listener: Listener) -> None:
    holder = enrolled(listener, "list.example")
    answer = holder.look("22", holder.certificate)
    assert answer.content is not None
    published = listener.send("GET", "/crl/issuing.crl").body
    assert published in answer.content
    assert x509.load_der_x509_crl(published).issuer == holder.certificate.issuer


def test_old_devices_have_an_endpoint_of_their_own(listener: Listener) -> None:
    def new(cipher: str, digest: str, endpoint: str) -> Device:
        return device(listener, "old.example", endpoint, cipher=cipher, digest=digest)

    def outcome(cipher: str, digest: str, endpoint: str) -> str | None:
        answer = new(cipher, digest, endpoint).enroll("old.example", token(listener, "old.example"))
        return answer.fail if answer.status == "2" else "ok"

    combinations = [("aes128", "sha256"), ("des3", "sha256"), ("aes128", "sha1"), ("des3", "sha1")]
    assert [outcome(*each, "devices") for each in combinations] == ["ok", *[BAD_ALG] * 3]
    assert [outcome(*each, "old") for each in combinations] == ["ok"] * 4
    for endpoint in ("devices", "old"):
        assert outcome("des", "sha256", endpoint) == BAD_ALG
        assert outcome("aes128", "md5", endpoint) == BAD_ALG


def test_old_algorithms_show_in_the_audit_log(listener: Listener) -> None:
    made = enrolled(listener, "audit.example", "old", cipher="des3", digest="sha1").certificate
    assert intent(listener, made)["legacy"] == "tripledes_3key, sha1"


def test_a_request_of_an_old_device_may_be_signed_with_sha1(listener: Listener) -> None:
    def send(endpoint: str) -> Answer:
        new = device(listener, "sha1.example", endpoint)
        word = token(listener, "sha1.example")
        return new.ask("19", signed_with_sha1(csr(new.key, "sha1.example", word), new.key))

    assert refused(send("devices")) == (BAD_CHECK, "scep_check_failed")
    made = send("old").certificate
    assert intent(listener, made)["legacy"] == "sha1 in the request"


def test_a_device_that_says_when_it_signed_says_the_truth(listener: Listener) -> None:
    def send(moment: datetime) -> Answer:
        new = device(listener, "time.example", signing_time=moment)
        return new.enroll("time.example", token(listener, "time.example"))

    now = datetime.now(UTC)
    assert send(now).status == "0"
    for ahead in (timedelta(hours=2), timedelta(days=-400)):
        assert refused(send(now + ahead)) == (BAD_TIME, "scep_time_refused")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "devices", 404, "scep_operation_unknown"),
        ("GET", "devices?operation=GetCACapsX", 404, "scep_operation_unknown"),
        ("POST", "devices?operation=GetCACert", 404, "scep_operation_unknown"),
        ("PUT", "devices?operation=GetCACert", 405, "method_not_allowed"),
        ("GET", "devices/other?operation=GetCACert", 404, "route_not_found"),
        ("GET", "nobody?operation=GetCACert", 404, "endpoint_not_found"),
        ("GET", "shut?operation=GetCACert", 404, "endpoint_not_found"),
        ("POST", "shut?operation=PKIOperation", 404, "endpoint_not_found"),
        ("GET", "devices?operation=PKIOperation", 422, "scep_message_malformed"),
        ("GET", "devices?operation=PKIOperation&message=!", 422, "scep_message_malformed"),
        ("POST", "devices?operation=PKIOperation", 422, "scep_message_malformed"),
    ],
)
def test_what_is_not_there(
    listener: Listener, method: str, path: str, status: int, code: str
) -> None:
    reply = listener.send(method, f"/scep/{path}", b"" if method == "POST" else None)
    assert (reply.status, reply.code) == (status, code)


def test_old_devices_speak_http_1_0(listener: Listener) -> None:
    with socket.create_connection(("127.0.0.1", listener.port), timeout=60) as connection:
        connection.sendall(
            b"GET /scep/devices/pkiclient.exe?operation=GetCACaps&message=x HTTP/1.0\r\n\r\n"
        )
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    assert answer.startswith((b"HTTP/1.0 200", b"HTTP/1.1 200"))
    assert b"\r\n\r\nAES\n" in answer


def test_a_message_that_is_too_long_is_refused(listener: Listener) -> None:
    reply = listener.send("POST", "/scep/devices?operation=PKIOperation", b"0" * (65 << 10))
    assert (reply.status, reply.code) == (413, "body_too_large")


# Who must not


def test_who_must_not(listener: Listener) -> None:
    """Beside the table of tests/api/test_scep_refusals.py."""
    name = "mine.example"
    holder = enrolled(listener, name)
    thief = device(listener, name)  # it has others' certificates and none of their keys
    mine = token(listener, name, uses=10)
    found = {
        "an auditor": device(listener, name).enroll(name, listener.site.tokens[Role.AUDITOR]),
        "a stolen look": thief.with_certificate(holder.certificate).look("21", holder.certificate),
        "a stranger's look": thief.look("21", holder.certificate),
        "a stranger's list": thief.look("22", holder.certificate),
        "a stranger's poll": thief.poll(),
        "an answer": device(listener, name).ask("3", b""),
        "another type": device(listener, name).ask("18", csr(holder.key, name, mine)),
        "nothing inside": device(listener, name).ask("19", b""),
        "nothing to poll": device(listener, name).ask("20", b"0\x00"),
        "nothing to look at": holder.with_certificate(holder.certificate).ask("21", b"\x05\x00"),
    }
    assert {who: refused(answer) for who, answer in found.items()} == {
        "an auditor": (BAD_REQUEST, "scep_challenge_refused"),
        "a stolen look": (BAD_CHECK, "scep_check_failed"),
        "a stranger's look": (BAD_CERT, "client_certificate_unknown"),
        "a stranger's list": (BAD_CERT, "client_certificate_unknown"),
        "a stranger's poll": (BAD_CERT, "scep_transaction_unknown"),
        "an answer": (BAD_REQUEST, "scep_refused"),
        "another type": (BAD_REQUEST, "scep_refused"),
        "nothing inside": (BAD_CHECK, "scep_check_failed"),
        "nothing to poll": (BAD_CERT, "scep_transaction_unknown"),
        "nothing to look at": (BAD_CHECK, "scep_check_failed"),
    }


def test_a_password_that_has_ended_gives_nothing(listener: Listener) -> None:
    name, now = "late.example", listener.site.clock()
    scope = Scope(profiles=(PROFILE,), names=(f"dns:{name}",))
    wanted = TokenRequest(name, Role.ENROLLER, scope, uses=2, expires_at=now + timedelta(hours=1))
    word = tokens.create(listener.site.desk, CONSOLE, wanted, now=now).secret.reveal().decode()
    first, waits = device(listener, name), device(listener, name, "watched")
    assert first.enroll(name, word).status == "0"
    assert waits.enroll(name, word).status == "3"
    listener.ahead.value = timedelta(hours=2).total_seconds()
    try:
        found = [first.enroll(name, word), device(listener, name).enroll(name, word), waits.poll()]
    finally:
        listener.ahead.value = 0.0
    assert [refused(each) for each in found] == [(BAD_REQUEST, "token_refused")] * 3


@pytest.mark.parametrize("kind", ["17", "19", "20", "21", "22"])
def test_a_stranger_learns_nothing_of_anothers_message(listener: Listener, kind: str) -> None:
    """An envelope of somebody else, changed in any part, in a message of one's own: the answers are all the same."""
    name = "victim.example"
    victim, thief = device(listener, name), device(listener, name)
    sealed = victim.sealed(csr(victim.key, name, token(listener, name)))
    size, said = len(sealed), set()
    for at in (size - 1, size - 16, size - 17, size - 33, size - 100, size // 2):
        for bit in (1, 2, 128):
            changed = bytearray(sealed)
            changed[at] ^= bit
            answer = thief.send(thief.signed(kind, bytes(changed)))
            said.add((answer.status, answer.fail, answer.text))
    for cut in (16, 32, 64):  # a shorter ciphertext, with its padding at random
        content = cms.ContentInfo.load(sealed)
        inner = content["content"]["encrypted_content_info"]
        inner["encrypted_content"] = inner["encrypted_content"].native[:-cut]
        answer = thief.send(thief.signed(kind, content.dump(force=True)))
        said.add((answer.status, answer.fail, answer.text))
    assert len(said) == 1, said
    assert thief.send(thief.signed("19", sealed)).fail == BAD_REQUEST


@settings(max_examples=int(os.environ.get("IKEWARDEN_SOAK_MESSAGES", "200")), deadline=None)
@given(data=st.data())
def test_no_bytes_are_too_strange(listener: Listener, data: st.DataObject) -> None:
    good = bytearray(_good(listener))
    for at in data.draw(st.lists(st.integers(0, len(good) - 1), max_size=4)):
        good[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.sampled_from([0, 0, 0, 1, 500, 2000]))
    sent = bytes(good[: len(good) - cut])
    endpoint = data.draw(st.sampled_from(["devices", "old", "watched"]))
    reply = exchange(listener, endpoint, sent, by_get=data.draw(st.booleans()))
    assert reply.status in {200, 422}


_held: dict[str, bytes] = {}


def _good(listener: Listener) -> bytes:
    """One message for all: its length must not change."""
    known = _held.get(listener.site.url)
    if known is None:
        new = device(listener, "fuzz.example")
        known = _held[listener.site.url] = new.message("19", csr(new.key, "fuzz.example", "iw_x"))
    return known


@settings(max_examples=int(os.environ.get("IKEWARDEN_SOAK_MESSAGES", "200")), deadline=None)
@given(data=st.data())
def test_nothing_inside_is_too_strange(listener: Listener, data: st.DataObject) -> None:
    """Sealed and signed as it should be, by whom the service knows; with anything in it."""
    holder = _known(listener)
    kind = data.draw(st.sampled_from(["17", "19", "20", "21", "22"]))
    good = bytearray(_inside(holder, "19" if kind == "17" else kind))
    for at in data.draw(st.lists(st.integers(0, len(good) - 1), min_size=1, max_size=4)):
        good[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.sampled_from([0, 0, 0, 1, 20]))
    sender = replace(holder, endpoint=data.draw(st.sampled_from(["devices", "old", "watched"])))
    answer = sender.send(sender.message(kind, bytes(good[: len(good) - cut])))
    assert answer.status in {"0", "2"}


_holders: dict[str, Device] = {}


def _known(listener: Listener) -> Device:
    known = _holders.get(listener.site.url)
    if known is None:
        new = enrolled(listener, "inside.example")
        known = _holders[listener.site.url] = replace(new, ra=new.authority())
    return known


def _inside(holder: Device, kind: str) -> bytes:
    if kind == "19":
        return csr(holder.key, "inside.example", "iw_x")
    return name_and_number(holder.certificate).dump() if kind != "20" else holder.names()


# Last, for it changes who issues


def test_a_rollover_is_told_of_and_followed(listener: Listener) -> None:
    desk, now, name = listener.site.desk, listener.site.clock(), "rolled.example"
    before = enrolled(listener, name)
    late = device(listener, name)
    late = replace(late, ra=late.authority())
    reply = listener.send("GET", "/scep/devices?operation=GetNextCACert")
    assert (reply.status, reply.code) == (404, "scep_no_next_authority")
    begun = phases.prepare(desk, CONSOLE, RolloverRequest("issuing"), now=now)
    phases.move(desk, CONSOLE, begun.id, Order("published"), now=now)
    assert ra_credential.ensure(desk, CLOCKWORK, now=now) == 1
    heir = authorities.load(desk, begun.successor)
    with listening(listener.site) as restarted:  # whose processes have the new key
        reply = restarted.send("GET", "/scep/devices?operation=GetNextCACert")
        assert reply.status == 200, reply
        assert reply.headers["content-type"] == "application/x-x509-next-ca-cert"
        ra = _next_authority(reply.body, before.authority(), heir)
        phases.move(desk, CONSOLE, begun.id, Order("switched", despite=True), now=now)
        assert ca_certificates(restarted, "devices")[0] == ra
        # One that asked before for the certificates goes on with them.
        answer = replace(late, listener=restarted).enroll(name, token(listener, name))
        assert answer.signer == late.ra
        assert answer.certificate.issuer == heir.certificate.subject
        renewed = replace(before, listener=restarted).renew(name).certificate
        assert renewed.issuer == heir.certificate.subject


def _next_authority(
    body: bytes, now: x509.Certificate, heir: authorities.Authority
) -> x509.Certificate:
    """The registration authority of who comes next, in an answer that the present one has signed."""
    signed = cms.ContentInfo.load(body, strict=True)["content"]
    [by], key = signed["signer_infos"], now.public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    over = b"\x31" + by["signed_attrs"].dump()[1:]
    key.verify(by["signature"].native, over, padding.PKCS1v15(), hashes.SHA256())
    told = pkcs7.load_der_pkcs7_certificates(signed["encap_content_info"]["content"].native)
    assert {*heir.chain} < {*told}
    [ra] = {*told} - {*heir.chain}
    return ra
