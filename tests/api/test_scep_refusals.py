"""SCEP: what is refused, by a table of all ways to prove who one is; and what breakers try beside."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from asn1crypto import cms, core

from core.errors import Unavailable
from core.secret import Secret
from pki import enrollments, identity, reconcile, revocation, tokens
from pki.actors import Role, Scope
from pki.guarded import Step
from pki.tokens import TokenRequest
from pki.x509 import serials
from tests.api.plain import Listener
from tests.api.refusals import Cell, check, recorded
from tests.api.scepping import (
    DER,
    PROFILE,
    Answer,
    Device,
    csr,
    exchange,
    new_key,
    open_doors,
    token,
)
from tests.api.serving import Reply
from tests.api.site import CLOCKWORK, CONSOLE, Site
from tests.api.test_scep import decide, device, enrolled
from tests.fixtures.desk import stock_key

PASSWORD, SIGNER, APPROVAL = (
    "a challenge password",
    "a certificate that signs",
    "a person's approval",
)
WAYS = (PASSWORD, SIGNER, APPROVAL)
TABLE = (
    Cell(PASSWORD, "wrong", "badRequest token_refused", "a token that nobody made"),
    Cell(PASSWORD, "replayed", "badRequest token_refused", "one that is used up, for another key"),
    Cell(PASSWORD, "expired", "badRequest token_refused", "one that has ended"),
    Cell(PASSWORD, "revoked", "badRequest token_refused", "one that was revoked"),
    Cell(PASSWORD, "another's", "badRequest outside_scope", "one for another device's name"),
    Cell(PASSWORD, "another's", "badRequest outside_scope", "one for another endpoint"),
    Cell(PASSWORD, "another's", "badRequest outside_scope", "one for another profile"),
    Cell(PASSWORD, "another's", "badRequest scep_challenge_refused", "an operator's"),
    Cell(PASSWORD, "another's", "badRequest scep_refused", "the own one, with a request that another key signed"),
    Cell(PASSWORD, "missing", "badRequest scep_challenge_missing", "none"),
    Cell(PASSWORD, "missing", "badRequest scep_challenge_missing", "an empty one"),
    Cell(PASSWORD, "missing", "badRequest scep_way_closed", "one where certificates alone are taken"),
    Cell(SIGNER, "wrong", "badCertId client_certificate_unknown", "one of the device's own making"),
    Cell(SIGNER, "wrong", "badMessageCheck scep_check_failed", "a signature that does not fit"),
    Cell(SIGNER, "replayed", none="The same message gets the same certificate, whatever its nonce."),
    Cell(SIGNER, "expired", "badCertId client_certificate_expired", "one that has ended"),
    Cell(SIGNER, "revoked", "badCertId client_certificate_revoked", "one that was revoked"),
    Cell(SIGNER, "revoked", "badCertId client_certificate_revoked", "one that is on hold"),
    Cell(SIGNER, "revoked", "badCertId client_certificate_revoked", "one that was revoked, by PKCSReq"),
    Cell(SIGNER, "revoked", "badCertId client_certificate_revoked", "one that was revoked, for GetCert"),
    Cell(SIGNER, "another's", "badMessageCheck scep_check_failed", "another's, without its key"),
    Cell(SIGNER, "another's", "badRequest renewal_names_changed", "the own one for another device's name"),
    Cell(SIGNER, "another's", "badCertId scep_certificate_unknown", "the own one, for GetCert of another's"),
    Cell(SIGNER, "another's", "badRequest outside_scope", "one of another profile than the endpoint's"),
    Cell(SIGNER, "missing", "422 scep_message_malformed", "none in the message"),
    Cell(SIGNER, "missing", "badRequest scep_way_closed", "one where tokens alone are taken"),
    Cell(APPROVAL, "wrong", "badRequest enrollment_denied", "a refusal"),
    Cell(APPROVAL, "replayed", "PENDING", "one that is used up, for another key"),
    Cell(APPROVAL, "expired", "PENDING", "one that has ended"),
    Cell(APPROVAL, "revoked", "badRequest token_refused", "one whose token was revoked since"),
    Cell(APPROVAL, "another's", "badCertId scep_transaction_unknown", "a poll for another's transaction"),
    Cell(APPROVAL, "another's", "PENDING", "one for another device's request"),
    Cell(APPROVAL, "missing", "PENDING", "none yet"),
)  # fmt: skip
FAIL_INFO = {
    "0": "badAlg",
    "1": "badMessageCheck",
    "2": "badRequest",
    "3": "badTime",
    "4": "badCertId",
}
NAME = "mine.example"


@pytest.fixture(scope="module")
def listener(site: Site) -> Iterator[Listener]:
    """Two processes that answer for an installation with several endpoints."""
    with open_doors(site) as running:
        yield running


#: Sends the last message: what comes before it is allowed.
Send = Callable[[], Answer | Reply]


def outcome(found: Answer | Reply) -> str:
    if isinstance(found, Reply):
        return f"{found.status} {found.code}"
    if found.status == "3":
        return "PENDING"
    assert found.status == "2", found
    assert found.content is None
    return f"{FAIL_INFO[found.fail or '']} {found.text.partition(':')[0]}"


def asking(listener: Listener, word: str | None, endpoint: str = "devices") -> Send:
    new = device(listener, NAME, endpoint)
    return lambda: new.enroll(NAME, word)


def _tied(listener: Listener) -> str:
    scope = Scope(profiles=(PROFILE,), endpoints=("watched",))
    return listener.site.token(Role.ENROLLER, name="tied", uses=1, scope=scope)


def _used_up(listener: Listener) -> Send:
    word = token(listener, NAME)
    assert device(listener, NAME).enroll(NAME, word).status == "0"
    return asking(listener, word)


def made_token(listener: Listener, name: str = NAME) -> tokens.CreatedToken:
    site = listener.site
    now, scope = site.clock(), Scope(profiles=(PROFILE,), names=(f"dns:{name}",))
    ends = now + timedelta(hours=1)
    wanted = TokenRequest("short", Role.ENROLLER, scope, uses=1, expires_at=ends)
    return tokens.create(site.desk, CONSOLE, wanted, now=now)


def later(listener: Listener, ahead: timedelta, send: Send) -> Send:
    def then() -> Answer | Reply:
        listener.ahead.value = ahead.total_seconds()
        try:
            return send()
        finally:
            listener.ahead.value = 0.0

    return then


def _ended_token(listener: Listener) -> Send:
    word = made_token(listener).secret.reveal().decode()
    return later(listener, timedelta(hours=2), asking(listener, word))


def _revoked_token(listener: Listener) -> Send:
    site, made = listener.site, made_token(listener)
    tokens.revoke(site.desk, CONSOLE, made.view.id, now=site.clock())
    return asking(listener, made.secret.reveal().decode())


def _anothers_request(listener: Listener) -> Send:
    new, word = device(listener, NAME), token(listener, NAME)
    return lambda: new.ask("19", csr(new_key(), NAME, word))


def renewing(listener: Listener, name: str = NAME, endpoint: str = "devices") -> Send:
    holder = replace(enrolled(listener, NAME), endpoint=endpoint)
    return lambda: holder.renew(name)


def _own_making(listener: Listener) -> Send:
    new = device(listener, NAME)
    return lambda: new.renew(NAME)


def _altered(listener: Listener) -> Send:
    holder = enrolled(listener, NAME)
    message = bytearray(holder.message("17", csr(new_key(), NAME)))
    message[-1] ^= 1
    return lambda: holder.send(bytes(message))


def _ended_certificate(listener: Listener) -> Send:
    # Of a profile whose certificates end before the registration authority's.
    new = Device.new(listener, "gateways", NAME, key=stock_key("rsa-3072", 31))
    made = new.enroll(NAME, token(listener, NAME, profile="gateway")).certificate
    holder, key = new.with_certificate(made), stock_key("rsa-3072", 32)
    return later(listener, timedelta(days=100), lambda: holder.renew(NAME, key))  # type: ignore[arg-type]


def ended(listener: Listener, end: Callable[..., object], *reason: str) -> Device:
    holder, site = enrolled(listener, NAME), listener.site
    serial = serials.to_hex(holder.certificate.serial_number)
    end(site.desk, CONSOLE, serial, *reason, now=site.clock())
    return holder


def _revoked(listener: Listener) -> Send:
    holder = ended(listener, revocation.revoke, "superseded")
    return lambda: holder.renew(NAME)


def _held(listener: Listener) -> Send:
    holder = ended(listener, revocation.hold)
    return lambda: holder.renew(NAME)


def _revoked_by_pkcsreq(listener: Listener) -> Send:
    holder = ended(listener, revocation.revoke, "superseded")
    return lambda: holder.renew(NAME, kind="19")


def _revoked_looks(listener: Listener) -> Send:
    holder = ended(listener, revocation.revoke, "superseded")
    return lambda: holder.look("21", holder.certificate)


def _stolen(listener: Listener) -> Send:
    holder = enrolled(listener, NAME)
    thief = device(listener, NAME).with_certificate(holder.certificate)
    return lambda: thief.renew(NAME)


def _looks_at_another(listener: Listener) -> Send:
    holder, other = enrolled(listener, NAME), enrolled(listener, "other.example")
    return lambda: holder.look("21", other.certificate)


def _without_certificate(listener: Listener) -> Send:
    holder = enrolled(listener, NAME)
    info = cms.ContentInfo.load(holder.message("17", csr(new_key(), NAME)))
    info["content"]["certificates"] = []
    message = info.dump(force=True)
    return lambda: exchange(listener, "devices", message)


_numbers = iter(range(1000))


def waiting(listener: Listener, uses: int = 1) -> tuple[str, Device, str]:
    """A name whose device waits for a person, with its token."""
    name = f"slow{next(_numbers)}.example"
    new, word = device(listener, name, "watched"), token(listener, name, uses=uses)
    assert new.enroll(name, word).status == "3"
    return name, new, word


def _denied(listener: Listener) -> Send:
    name, new, _ = waiting(listener)
    decide(listener, name, Step.REFUSE)
    return new.poll


def _approval_used_up(listener: Listener) -> Send:
    name, new, word = waiting(listener, uses=5)
    decide(listener, name, Step.APPROVE)
    assert new.poll().status == "0"
    other = device(listener, name, "watched")
    return lambda: other.enroll(name, word)


def _approval_ended(listener: Listener) -> Send:
    name, new, _ = waiting(listener)
    decide(listener, name, Step.APPROVE)
    ahead = listener.site.desk.rules.approvals.valid + timedelta(hours=1)
    return later(listener, ahead, new.poll)


def _approved_and_taken_back(listener: Listener) -> Send:
    site, name = listener.site, f"back{next(_numbers)}.example"
    made = made_token(listener, name)
    new = device(listener, name, "watched")
    assert new.enroll(name, made.secret.reveal().decode()).status == "3"
    decide(listener, name, Step.APPROVE)
    tokens.revoke(site.desk, CONSOLE, made.view.id, now=site.clock())
    return new.poll


def _polls_for_another(listener: Listener) -> Send:
    name, new, _ = waiting(listener)
    decide(listener, name, Step.APPROVE)
    return device(listener, name, "watched", transaction=new.transaction).poll


def _approval_of_another(listener: Listener) -> Send:
    name, _, _ = waiting(listener)
    decide(listener, name, Step.APPROVE)
    other = f"other.{name}"
    new = device(listener, other, "watched")
    word = token(listener, other)
    return lambda: new.enroll(other, word)


TRIED: dict[tuple[str, str], Callable[[Listener], Send]] = {
    (PASSWORD, "a token that nobody made"): lambda listener: asking(listener, "iw_nobody"),
    (PASSWORD, "one that is used up, for another key"): _used_up,
    (PASSWORD, "one that has ended"): _ended_token,
    (PASSWORD, "one that was revoked"): _revoked_token,
    (PASSWORD, "one for another device's name"): lambda listener: asking(
        listener, token(listener, "other.example")
    ),
    (PASSWORD, "one for another endpoint"): lambda listener: asking(listener, _tied(listener)),
    (PASSWORD, "one for another profile"): lambda listener: asking(
        listener, token(listener, NAME), "gateways"
    ),
    (PASSWORD, "an operator's"): lambda listener: asking(
        listener, listener.site.tokens[Role.OPERATOR]
    ),
    (PASSWORD, "the own one, with a request that another key signed"): _anothers_request,
    (PASSWORD, "none"): lambda listener: asking(listener, None),
    (PASSWORD, "an empty one"): lambda listener: asking(listener, ""),
    (PASSWORD, "one where certificates alone are taken"): lambda listener: asking(
        listener, token(listener, NAME), "renewals"
    ),
    (SIGNER, "one of the device's own making"): _own_making,
    (SIGNER, "a signature that does not fit"): _altered,
    (SIGNER, "one that has ended"): _ended_certificate,
    (SIGNER, "one that was revoked"): _revoked,
    (SIGNER, "one that is on hold"): _held,
    (SIGNER, "one that was revoked, by PKCSReq"): _revoked_by_pkcsreq,
    (SIGNER, "one that was revoked, for GetCert"): _revoked_looks,
    (SIGNER, "another's, without its key"): _stolen,
    (SIGNER, "the own one for another device's name"): lambda listener: renewing(
        listener, "other.example"
    ),
    (SIGNER, "the own one, for GetCert of another's"): _looks_at_another,
    (SIGNER, "one of another profile than the endpoint's"): lambda listener: renewing(
        listener, endpoint="gateways"
    ),
    (SIGNER, "none in the message"): _without_certificate,
    (SIGNER, "one where tokens alone are taken"): lambda listener: renewing(
        listener, endpoint="tokens"
    ),
    (APPROVAL, "a refusal"): _denied,
    (APPROVAL, "one that is used up, for another key"): _approval_used_up,
    (APPROVAL, "one that has ended"): _approval_ended,
    (APPROVAL, "one whose token was revoked since"): _approved_and_taken_back,
    (APPROVAL, "a poll for another's transaction"): _polls_for_another,
    (APPROVAL, "one for another device's request"): _approval_of_another,
    (APPROVAL, "none yet"): lambda listener: asking(listener, token(listener, NAME), "watched"),
}


def test_the_table_is_whole() -> None:
    check(TABLE, WAYS, TRIED)


@pytest.mark.parametrize(
    "cell", [each for each in TABLE if each.answer], ids=lambda each: f"{each.way}: {each.means}"
)
def test_what_is_refused(listener: Listener, cell: Cell) -> None:
    send = TRIED[cell.way, cell.means](listener)
    before = recorded(listener.site.desk)
    assert outcome(send()) == cell.answer
    assert recorded(listener.site.desk) == before


# After a death


def test_what_a_death_left_is_polled_for(listener: Listener) -> None:
    """A first request and a renewal, whose process died between the record and the signature."""
    site, endpoints = listener.site, listener.site.desk.rules.endpoints
    word, new, holder = token(listener, NAME), device(listener, NAME), enrolled(listener, NAME)
    first, second = csr(new.key, NAME, word), csr(new_key(), NAME)
    now = site.clock()
    by_token = identity.actor_from_token(site.desk, Secret(word), now=now, request_id="first")
    by_certificate = identity.actor_from_certificate(
        site.desk,
        holder.certificate.public_bytes(DER),
        now=now,
        request_id="second",
        by_itself=True,
    )
    site.keys.fail()
    for actor, asked in ((by_token, first), (by_certificate, second)):
        with pytest.raises(Unavailable):
            enrollments.once(site.desk, actor, endpoints["devices"], "scep", asked, now=now)
    site.keys.heal()
    before = recorded(site.desk)
    assert [new.ask("19", first).status, holder.ask("17", second).status] == ["3", "3"]
    assert [new.poll().status, holder.poll().status] == ["3", "3"]
    stranger = device(listener, NAME, transaction=holder.transaction)
    assert outcome(stranger.poll()) == "badCertId scep_transaction_unknown"
    assert recorded(site.desk) == before
    late = now + reconcile.PATIENCE + timedelta(minutes=1)
    assert reconcile.settle(site.desk, CLOCKWORK, now=late) == 2
    made = [new.poll().certificate, holder.poll().certificate]
    assert made == [new.ask("19", first).certificate, holder.ask("17", second).certificate]
    assert recorded(site.desk) == before + 2


# What is sent again, and by whom


def test_a_transaction_of_another_key_is_another(listener: Listener) -> None:
    first = device(listener, NAME)
    made = first.enroll(NAME, token(listener, NAME)).certificate
    other = device(listener, NAME, transaction=first.transaction)
    answer = other.enroll(NAME, token(listener, NAME))
    assert answer.certificate != made
    assert answer.certificate.public_key() == other.key.public_key()


def test_a_nonce_that_comes_again_makes_nothing_new(listener: Listener) -> None:
    new, word = device(listener, NAME), token(listener, NAME, uses=5)
    made = new.enroll(NAME, word).certificate
    before = recorded(listener.site.desk)
    assert new.enroll(NAME, word).certificate == made
    assert replace(new, transaction="another").enroll(NAME, word).certificate == made
    assert recorded(listener.site.desk) == before


@pytest.mark.parametrize("missing", ["senderNonce", "transactionID", "messageType"])
def test_a_message_without_what_it_must_have_is_none(listener: Listener, missing: str) -> None:
    number = {"messageType": "2", "senderNonce": "5", "transactionID": "7"}[missing]
    new = device(listener, NAME)
    info = cms.ContentInfo.load(new.message("19", csr(new.key, NAME, token(listener, NAME))))
    [by] = info["content"]["signer_infos"]
    kept = [
        each
        for each in by["signed_attrs"]
        if each["type"].dotted != f"2.16.840.1.113733.1.9.{number}"
    ]
    by["signed_attrs"] = cms.CMSAttributes(kept)
    before = recorded(listener.site.desk)
    reply = exchange(listener, "devices", info.dump(force=True))
    assert (reply.status, reply.code) == (422, "scep_message_malformed")
    assert recorded(listener.site.desk) == before


@pytest.mark.parametrize(("attributes", "values"), [(60, 1), (1, 60), (1, 20_000)])
def test_a_message_with_very_many_attributes_is_none(
    listener: Listener, attributes: int, values: int
) -> None:
    new = device(listener, NAME)
    info = cms.ContentInfo.load(new.message("19", csr(new.key, NAME, token(listener, NAME))))
    [by] = info["content"]["signer_infos"]
    more = [
        cms.CMSAttribute({"type": f"1.2.3.{number}", "values": [core.Null()] * values})
        for number in range(attributes)
    ]
    by["signed_attrs"] = cms.CMSAttributes([*by["signed_attrs"], *more])
    reply = exchange(listener, "devices", info.dump(force=True))
    assert (reply.status, reply.code) == (422, "scep_message_malformed")


@pytest.mark.parametrize(
    "message", ["", "=", "====", "AAA", "AAAA=", "MIIB%", "%00", "MIIB%0d%0a!", "A" * 7001, "%ff"]
)
def test_broken_base64_is_no_message(listener: Listener, message: str) -> None:
    reply = listener.send("GET", f"/scep/devices?operation=PKIOperation&message={message}")
    assert (reply.status, reply.code) == (422, "scep_message_malformed")


def test_the_list_of_an_authority_is_for_whoever_has_a_certificate(listener: Listener) -> None:
    """It is published at a URL in each certificate: a name that SCEP asks by is no secret."""
    holder, other = enrolled(listener, NAME), enrolled(listener, "other.example")
    assert holder.look("22", other.certificate).content is not None
    stranger = device(listener, NAME)
    assert outcome(stranger.look("22", other.certificate)) == (
        "badCertId client_certificate_unknown"
    )
