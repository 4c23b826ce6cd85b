"""CMP (RFC 9810, 9483) over a socket: who gets something by it, and who does not beside the table of findings."""

import secrets
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from core.secret import Secret
from pki import authorities, cmp_news, cmp_transactions, revocation, tokens
from pki.actors import Role
from pki.certificates import CertificateQuery, find, search
from pki.cmp.answers import Failure
from pki.tokens import CreatedToken, TokenRequest
from pki.x509 import der, serials
from tests.api.cmpcrafting import Crafted, confirmation, crafted, csr, poll
from tests.api.cmping import MEDIA_TYPE, Openssl, Told, by_secret, new, open_doors, token, told
from tests.api.plain import Listener
from tests.api.site import CLOCKWORK, CONSOLE, Site

P10CR, NESTED, GENM, CERT_CONF, POLL_REQ = 4, 20, 21, 24, 25


@pytest.fixture(scope="module")
def listener(site: Site) -> Iterator[Listener]:
    """Two processes that answer for an installation with several endpoints."""
    with open_doors(site) as running:
        yield running


@pytest.fixture
def device(listener: Listener, tmp_path: Path) -> Openssl:
    """A device that has nothing yet."""
    return Openssl(listener, tmp_path)


def refused(told: Told) -> tuple[set[int], str]:
    """Which failure, with the code of ours."""
    assert told.status == 2, told
    assert told.certificate is None
    assert told.by_mac or told.has_certificates, "an answer is protected"
    return set(told.failures), told.code


def fresh() -> bytes:
    """A transactionID."""
    return secrets.token_bytes(16)


def asking(made: CreatedToken, name: str, **rest: object) -> Crafted:
    """A first message."""
    return crafted(made, P10CR, csr(name), fresh(), **rest)


def count(listener: Listener, name: str) -> int:
    """How many certificates there are for a name."""
    query = CertificateQuery(q=f"dns:{name}")
    return len(search(listener.site.desk, CONSOLE, query, now=listener.site.clock()))


# who must not


def _other_profile(listener: Listener) -> CreatedToken:
    return token(listener, "x.example", profile="host")


def _no_enroller(listener: Listener) -> CreatedToken:
    made = tokens.create(
        listener.site.desk, CONSOLE, TokenRequest("op", Role.OPERATOR), now=listener.site.clock()
    )
    secret = tokens.cmp_secret(listener.site.desk, made.view.id)
    return CreatedToken(made.view, made.secret, None, secret)


@pytest.mark.parametrize(
    ("who", "code"),
    [
        (_no_enroller, "token_refused"),
        (_other_profile, "outside_scope"),
    ],
)
def test_a_secret_that_is_not_for_this(
    device: Openssl, who: Callable[[Listener], CreatedToken], code: str
) -> None:
    told = device.send(asking(who(device.listener), "x.example").der())
    assert refused(told) == ({Failure.NOT_AUTHORIZED}, code)
    assert told.by_mac


def test_wrong_secrets_are_all_told_the_same(device: Openssl) -> None:
    mine, other = token(device.listener, "x.example"), token(device.listener, "y.example")
    assert mine.cmp is not None
    good = asking(mine, "x.example")
    wrong = (
        Crafted(b"guessed", mine.view.id, P10CR, good.body, fresh()),
        Crafted(mine.cmp.reveal(), other.view.id, P10CR, good.body, fresh()),
        Crafted(mine.cmp.reveal(), "f" * 16, P10CR, good.body, fresh()),
        Crafted(mine.cmp.reveal(), "", P10CR, good.body, fresh()),
        Crafted(mine.cmp.reveal(), "not an id", P10CR, good.body, fresh()),
        Crafted(mine.secret.reveal(), mine.view.id, P10CR, good.body, fresh()),
        Crafted(mine.cmp.reveal(), mine.view.id, P10CR, good.body, fresh(), protected=False),
    )
    answers = [device.send(each.der()) for each in wrong]
    assert {(*refused(each)[0], refused(each)[1]) for each in answers} == {
        (Failure.BAD_MESSAGE_CHECK, "cmp_protection_invalid")
    }
    assert {each.kind for each in answers} == {"error"}
    assert not any(each.by_mac for each in answers)
    assert device.send(good.der()).certificate is not None


def has_come(device: Openssl, name: str) -> tuple[str, ...]:
    """Get a device its first certificate; how it proves itself from now on."""
    made = device.ask("ir", *new(device.key(name), name), *by_secret(token(device.listener, name)))
    (device.home / f"{name}.pem").write_bytes((device.home / "new.pem").read_bytes())
    assert made is not None
    return ("-cert", f"{name}.pem", "-key", f"{name}.key")


def certificate(device: Openssl, name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate((device.home / f"{name}.pem").read_bytes())


def serial(device: Openssl, name: str) -> str:
    return serials.to_hex(certificate(device, name).serial_number)


def test_a_certificate_that_does_not_count(device: Openssl) -> None:
    proof = has_come(device, "a.example")
    update = device.made("kur", "-newkey", device.key("next"), *proof)
    desk, now = device.listener.site.desk, device.listener.site.clock()
    revocation.hold(desk, CONSOLE, serial(device, "a.example"), now=now)
    held = device.send(update)
    assert refused(held) == ({Failure.CERT_REVOKED}, "client_certificate_revoked")
    revocation.revoke(desk, CONSOLE, serial(device, "a.example"), "keyCompromise", now=now)
    assert refused(device.send(update)) == refused(held)
    ended = device.made("rr", "-oldcert", "a.example.pem", *proof)
    assert refused(device.send(ended)) == refused(held)


def with_certificates(message: bytes, *others: bytes) -> bytes:
    """The message with other extraCerts, which nothing protects."""
    parts = der.children(message, der.read(message, 0))
    kept = b"".join(message[each.start : each.end] for each in parts if each.tag != 0xA1)
    listed = der.tlv(0xA1, der.tlv(der.SEQUENCE, b"".join(others))) if others else b""
    return der.tlv(der.SEQUENCE, kept + listed)


def test_a_certificate_without_its_key(device: Openssl) -> None:
    mine, theirs = has_come(device, "mine.example"), has_come(device, "theirs.example")
    assert theirs
    sent = device.made("kur", "-newkey", device.key("next"), *mine)
    parts = der.children(sent, der.read(sent, 0))
    assert parts[-1].tag == 0xA1
    wanted = ({Failure.BAD_MESSAGE_CHECK}, "cmp_protection_invalid")
    other = (device.home / "theirs.example.pem").read_bytes()
    shown = x509.load_pem_x509_certificate(other).public_bytes(Encoding.DER)
    assert refused(device.send(with_certificates(sent, shown))) == wanted
    assert refused(device.send(with_certificates(sent))) == wanted
    assert refused(device.send(with_certificates(sent, b"\x30\x00")))[1] == "cmp_malformed"


def test_a_device_touches_nothing_of_another(device: Openssl) -> None:
    mine = has_come(device, "mine.example")
    has_come(device, "theirs.example")
    other = ("-oldcert", "theirs.example.pem")
    told = device.send(device.made("rr", *other, *mine))
    assert (told.kind, *refused(told)) == ("rp", {Failure.BAD_CERT_ID}, "not_its_own_certificate")
    told = device.send(device.made("kur", *other, "-newkey", device.key("next"), *mine))
    assert refused(told) == ({Failure.BAD_CERT_ID}, "cmp_old_certificate_other")
    told = device.send(device.made("cr", *new(device.key("next"), "theirs.example"), *mine))
    assert refused(told) == ({Failure.BAD_CERT_TEMPLATE}, "renewal_names_changed")
    found = find(device.listener.site.desk, serial(device, "theirs.example"))
    assert found.status == "valid"


def test_a_secret_neither_updates_nor_revokes(device: Openssl) -> None:
    has_come(device, "old.example")
    how = by_secret(token(device.listener, "old.example"))
    told = device.send(device.made("rr", "-oldcert", "old.example.pem", *how))
    assert (told.kind, *refused(told)) == (
        "rp",
        {Failure.NOT_AUTHORIZED},
        "cmp_certificate_wanted",
    )
    update = ("-oldcert", "old.example.pem", "-newkey", device.key("next"))
    told = device.send(device.made("kur", *update, *how))
    assert refused(told) == ({Failure.NOT_AUTHORIZED}, "cmp_certificate_wanted")


def test_ways_that_are_closed(device: Openssl) -> None:
    proof = has_come(device, "ways.example")
    update = device.made("kur", "-newkey", device.key("next"), *proof)
    wanted = ({Failure.NOT_AUTHORIZED}, "cmp_way_closed")
    assert refused(device.send(update, "/.well-known/cmp/p/secrets")) == wanted
    first = asking(token(device.listener, "ways.example"), "ways.example")
    assert refused(device.send(first.der(), "/.well-known/cmp/p/keys")) == wanted
    assert device.send(update, "/.well-known/cmp/p/keys").certificate is not None
    assert device.send(first.der(), "/.well-known/cmp/p/secrets").certificate is not None


@pytest.mark.parametrize("proof", ["-1", "0", "2"])
def test_nothing_without_proof_of_possession(device: Openssl, proof: str) -> None:
    how = by_secret(token(device.listener, "pop.example"))
    told = device.send(
        device.made("ir", *new(device.key("k"), "pop.example"), "-popo", proof, *how)
    )
    assert refused(told) == ({Failure.BAD_POP}, "cmp_possession_unproven")


def test_the_newer_mac_is_taken(device: Openssl) -> None:
    made, name = token(device.listener, "new.example"), "new.example"
    message = asking(made, name, pbmac1=True, version=3)
    assert made.cmp is not None
    guess = replace(message, secret=b"guessed")
    assert refused(device.send(guess.der())) == (
        {Failure.BAD_MESSAGE_CHECK},
        "cmp_protection_invalid",
    )
    told = device.send(message.der())
    assert told.certificate is not None
    assert told.by_mac


# what is sent again


def test_a_replay_gets_nothing_new(device: Openssl) -> None:
    made = token(device.listener, "again.example", uses=3)
    message = asking(made, "again.example").der()
    first = device.send(message)
    assert first.certificate is not None
    assert device.send(message).certificate == first.certificate
    proof = has_come(device, "again2.example")
    update = device.made("kur", "-newkey", device.key("next"), *proof)
    second = device.send(update)
    assert second.certificate is not None
    assert device.send(update).certificate == second.certificate
    assert count(device.listener, "again.example") == 1
    assert count(device.listener, "again2.example") == 2


def test_an_old_message_is_refused(device: Openssl) -> None:
    made = token(device.listener, "old.example")
    now = datetime.now(UTC)
    for minutes in (-6, 6, 60 * 24 * 400):
        at = now + timedelta(minutes=minutes)
        told = device.send(asking(made, "old.example", at=at).der())
        assert refused(told) == ({Failure.BAD_TIME}, "cmp_time_refused")
        assert told.by_mac
    told = device.send(asking(made, "old.example", at=now + timedelta(minutes=4)).der())
    assert told.certificate is not None


def test_a_transaction_is_for_one_request(device: Openssl) -> None:
    made, number = token(device.listener, "one.example", uses=5), fresh()
    first = crafted(made, P10CR, csr("one.example"), number)
    assert device.send(first.der()).certificate is not None
    second = device.send(crafted(made, P10CR, csr("one.example"), number).der())
    assert refused(second) == ({Failure.TRANSACTION_ID_IN_USE}, "cmp_transaction_in_use")
    # Of another sender it is another transaction.
    other = token(device.listener, "two.example")
    third = device.send(crafted(other, P10CR, csr("two.example"), number).der())
    assert third.certificate is not None


@pytest.mark.parametrize(
    ("changes", "failure", "code"),
    [
        ({"nonce": b""}, Failure.BAD_SENDER_NONCE, "cmp_nonce_missing"),
        ({"nonce": b"short"}, Failure.BAD_SENDER_NONCE, "cmp_nonce_missing"),
        ({"rounds": 10}, Failure.BAD_ALG, "cmp_algorithm_refused"),
        ({"rounds": 10_001}, Failure.BAD_ALG, "cmp_algorithm_refused"),
        ({"rounds": 10_001, "pbmac1": True}, Failure.BAD_ALG, "cmp_algorithm_refused"),
        ({"rounds": 10_000_000}, Failure.BAD_ALG, "cmp_algorithm_refused"),
        ({"version": 1}, Failure.UNSUPPORTED_VERSION, "cmp_version_unsupported"),
        ({"version": 4}, Failure.UNSUPPORTED_VERSION, "cmp_version_unsupported"),
    ],
)
def test_headers_that_are_refused(
    device: Openssl, changes: dict[str, object], failure: Failure, code: str
) -> None:
    made = token(device.listener, "head.example")
    assert refused(device.send(asking(made, "head.example", **changes).der())) == ({failure}, code)


def test_a_transaction_needs_its_number(device: Openssl) -> None:
    made = token(device.listener, "head.example")
    for number in (b"", b"1"):
        told = device.send(crafted(made, P10CR, csr("head.example"), number).der())
        assert refused(told) == ({Failure.BAD_REQUEST}, "cmp_transaction_missing")


# confirmations


def begun(device: Openssl, name: str) -> tuple[CreatedToken, bytes, Told]:
    """A certificate that waits for its confirmation: the token, the transactionID, the answer."""
    made, number = token(device.listener, name), fresh()
    told = device.send(crafted(made, P10CR, csr(name), number).der())
    assert told.certificate is not None
    return made, number, told


def status(device: Openssl, certificate: bytes | None) -> str:
    known = x509.load_der_x509_certificate(certificate or b"")
    return find(device.listener.site.desk, serials.to_hex(known.serial_number)).status


def test_a_confirmation_must_be_of_this_certificate(device: Openssl) -> None:
    made, number, told = begun(device, "conf.example")
    answers = told.nonce
    assert told.certificate is not None

    def say(body: bytes, **rest: bytes) -> Told:
        given = {"answers": answers, **rest}
        return device.send(crafted(made, CERT_CONF, body, number, **given).der())

    body = confirmation(told.certificate)
    other = confirmation(b"another")
    assert refused(say(other)) == ({Failure.BAD_CERT_ID}, "cmp_certificate_hash_wrong")
    for wrong in (b"", b"w" * 16, answers[:-1]):
        found = refused(say(body, answers=wrong))
        assert found == ({Failure.BAD_RECIPIENT_NONCE}, "cmp_nonce_wrong")
    elsewhere = token(device.listener, "else.example")
    stranger = crafted(elsewhere, CERT_CONF, body, number, answers=answers)
    unknown = ({Failure.BAD_REQUEST}, "cmp_transaction_unknown")
    assert refused(device.send(stranger.der())) == unknown
    assert say(body).kind == "pkiconf"
    assert refused(say(body)) == ({Failure.CERT_CONFIRMED}, "cmp_confirmed_already")
    rejected = confirmation(told.certificate, accepted=False)
    assert refused(say(rejected)) == ({Failure.CERT_CONFIRMED}, "cmp_confirmed_already")
    assert status(device, told.certificate) == "valid"


@pytest.mark.parametrize("empty", [False, True])
def test_what_is_rejected_is_revoked(device: Openssl, empty: bool) -> None:
    made, number, told = begun(device, "no.example")
    assert told.certificate is not None
    body = b"\x30\x00" if empty else confirmation(told.certificate, accepted=False)
    said = crafted(made, CERT_CONF, body, number, answers=told.nonce)
    assert device.send(said.der()).kind == "pkiconf"
    assert status(device, told.certificate) == "revoked"
    assert refused(device.send(said.der())) == ({Failure.CERT_REVOKED}, "cmp_certificate_over")


def test_silence_ends_what_was_not_confirmed_anywhere(device: Openssl) -> None:
    desk, name = device.listener.site.desk, "twice.example"
    made, key = token(device.listener, name), ec.generate_private_key(ec.SECP256R1())
    numbers = fresh(), fresh()
    request = csr(name, key)
    first = device.send(crafted(made, P10CR, request, numbers[0]).der())
    # The answer was lost; the same in another transaction, and that is confirmed.
    second = device.send(crafted(made, P10CR, request, numbers[1]).der())
    assert first.certificate == second.certificate is not None
    body = confirmation(second.certificate)
    said = crafted(made, CERT_CONF, body, numbers[1], answers=second.nonce)
    assert device.send(said.der()).kind == "pkiconf"
    later = device.listener.site.clock() + timedelta(hours=1)
    assert cmp_transactions.end_unconfirmed(desk, CLOCKWORK, now=later) >= 1
    assert status(device, second.certificate) == "valid"
    # Long after, a recorded message does not end it either.
    with desk.store.write() as connection:
        cmp_transactions.forget(connection, later + timedelta(days=400))
    again = device.send(crafted(made, P10CR, request, numbers[0]).der())
    assert again.certificate == first.certificate
    assert cmp_transactions.end_unconfirmed(desk, CLOCKWORK, now=later) == 0
    assert status(device, second.certificate) == "valid"


def test_polls_are_of_what_waits(device: Openssl) -> None:
    made, number = token(device.listener, "wait.example"), fresh()
    path = "/.well-known/cmp/p/watched"
    unknown = ({Failure.BAD_REQUEST}, "cmp_transaction_unknown")
    asked = crafted(made, POLL_REQ, poll(), number, answers=b"a" * 16)
    assert refused(device.send(asked.der(), path)) == unknown
    first = crafted(made, P10CR, csr("wait.example"), number).der()
    waits = device.send(first, path)
    assert (waits.status, waits.certificate) == (3, None)
    assert device.send(first, path).status == 3
    nonce = ({Failure.BAD_RECIPIENT_NONCE}, "cmp_nonce_wrong")
    assert refused(device.send(asked.der(), path)) == nonce
    good = crafted(made, POLL_REQ, poll(), number, answers=waits.nonce)
    assert device.send(good.der(), path).kind == "pollRep"
    other = crafted(made, POLL_REQ, poll(5), number, answers=waits.nonce)
    assert refused(device.send(other.der(), path)) == unknown
    tokens.revoke(
        device.listener.site.desk, CONSOLE, made.view.id, now=device.listener.site.clock()
    )
    told = device.send(good.der(), path)
    assert refused(told) == ({Failure.NOT_AUTHORIZED}, "token_refused")


# HTTP, and what is no CMP


@pytest.mark.parametrize(
    ("method", "path", "media_type", "status", "code"),
    [
        ("GET", "/.well-known/cmp/p/devices", MEDIA_TYPE, 405, "method_not_allowed"),
        ("PUT", "/.well-known/cmp/p/devices", MEDIA_TYPE, 405, "method_not_allowed"),
        ("POST", "/.well-known/cmp/p/devices", "text/plain", 415, "media_type_refused"),
        ("POST", "/.well-known/cmp/p/nobody", MEDIA_TYPE, 404, "endpoint_not_found"),
        ("POST", "/.well-known/cmp/p/shut", MEDIA_TYPE, 404, "endpoint_not_found"),
        ("POST", "/.well-known/cmp", MEDIA_TYPE, 404, "endpoint_not_found"),
        ("POST", "/.well-known/cmp/p/devices/other", MEDIA_TYPE, 404, "route_not_found"),
        ("POST", "/.well-known/cmp/p/A", MEDIA_TYPE, 404, "route_not_found"),
        ("POST", "/.well-known/cmpx", MEDIA_TYPE, 404, "route_not_found"),
    ],
)
def test_what_is_not_there(
    listener: Listener, method: str, path: str, media_type: str, status: int, code: str
) -> None:
    body = None if method == "GET" else b"\x30\x00"
    reply = listener.send(method, path, body, {"Content-Type": media_type})
    assert (reply.status, reply.json["code"]) == (status, code)


def test_a_path_may_name_the_operation(device: Openssl) -> None:
    made = token(device.listener, "path.example")
    message = asking(made, "path.example").der()
    told = device.send(message, f"{device.path}/initialization")
    assert refused(told) == ({Failure.BAD_REQUEST}, "cmp_operation_mismatch")
    assert device.send(message, f"{device.path}/pkcs10").certificate is not None


@pytest.mark.parametrize("body", [b"", b"x", b"\x30\x80", b"\x30\x00", b"\x30\x03\x02\x01\x02"])
def test_what_is_no_message_is_answered_by_one(device: Openssl, body: bytes) -> None:
    told = device.send(body)
    assert (told.kind, told.by_mac) == ("error", False)
    assert refused(told) == ({Failure.BAD_DATA_FORMAT}, "cmp_malformed")


def test_nested_messages_are_refused(device: Openssl) -> None:
    made = token(device.listener, "in.example")
    inside = asking(made, "in.example").der()
    told = device.send(crafted(made, NESTED, der.tlv(der.SEQUENCE, inside), fresh()).der())
    assert refused(told) == ({Failure.BAD_REQUEST}, "cmp_nested_refused")


def test_an_error_of_the_client_is_heard(device: Openssl) -> None:
    made = token(device.listener, "sorry.example")
    told = device.send(crafted(made, 23, b"\x30\x00", fresh()).der())
    assert told.kind == "pkiconf"


def test_questions_that_nobody_has_are_passed_over(device: Openssl) -> None:
    made = token(device.listener, "q.example")
    body = der.tlv(der.SEQUENCE, der.tlv(der.SEQUENCE, bytes.fromhex("06082b0601050507047f")))
    assert device.send(crafted(made, GENM, body, fresh()).der()).kind == "genp"


def test_a_list_is_asked_for_by_its_issuer_and_a_root_by_itself(device: Openssl) -> None:
    desk = device.listener.site.desk
    made, issuing = token(device.listener, "q.example"), authorities.load(desk, "issuing")
    name = der.tlv(0xA4, issuing.certificate.subject.public_bytes())
    status = der.tlv(der.SEQUENCE, der.tlv(0xA1, der.tlv(der.SEQUENCE, name)))
    root = issuing.chain[-1].public_bytes(Encoding.DER)
    asked = {
        "06082b06010505070416": der.tlv(der.SEQUENCE, status),
        "06082b06010505070414": root,
    }
    body = b"".join(der.tlv(der.SEQUENCE, bytes.fromhex(oid) + asked[oid]) for oid in asked)
    # Twice the same: it is answered once.
    message = crafted(made, GENM, der.tlv(der.SEQUENCE, body * 2), fresh())
    reply = device.post(message.der())
    assert told(reply).kind == "genp"
    crl = cmp_news.current(desk, issuing).der
    assert reply.body.count(crl) == 1
    # rootCaKeyUpdate, without a value: nobody will succeed it.
    assert bytes.fromhex("300a06082b06010505070412") in reply.body


def test_anybody_asks_for_what_is_public(device: Openssl) -> None:
    made = token(device.listener, "bare.example")
    asked = der.tlv(der.SEQUENCE, der.tlv(der.SEQUENCE, bytes.fromhex("06082b06010505070411")))
    told = device.send(crafted(made, GENM, asked, fresh(), protected=False).der())
    assert (told.kind, told.has_certificates, told.by_mac) == ("genp", True, False)
    # And for nothing else.
    for tag, body in ((P10CR, csr("bare.example")), (CERT_CONF, b"\x30\x00"), (POLL_REQ, poll())):
        bare = crafted(made, tag, body, fresh(), protected=False).der()
        wanted = ({Failure.BAD_MESSAGE_CHECK}, "cmp_protection_invalid")
        assert refused(device.send(bare)) == wanted


def test_secrets_of_others_cannot_be_told_apart_by_their_tokens(listener: Listener) -> None:
    desk = listener.site.desk
    one, two = token(listener, "s.example"), token(listener, "s.example")
    assert one.cmp is not None
    assert two.cmp is not None
    shown = {
        one.cmp.reveal(),
        two.cmp.reveal(),
        one.secret.reveal(),
        tokens.binding_key(desk, one.view.id).reveal(),
    }
    assert len(shown) == 4
    assert one.cmp.reveal() == tokens.cmp_secret(desk, one.view.id).reveal()
    assert isinstance(one.cmp, Secret)
