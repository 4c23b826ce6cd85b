"""The OCSP responder: three layers that never tell what is no longer true, and junk that never hurts."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509 import ocsp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, update

from core.errors import IkewardenError
from hsm.errors import SignerUnavailable
from pki import authorities, founding, ocsp_answers, ocsp_signers, reconcile, revocation
from pki.certificates import pick
from pki.desk import Desk
from pki.founding import AuthorityRequest
from pki.issuance import IssuedCertificate
from pki.ocsp_responder import OcspAnswer, OcspResponder
from pki.ocsp_signers import NoOcspSigner
from pki.trail import leave
from pki.x509 import der
from scheduler.jobs import refresh_ocsp
from store.engine import Store, Unit
from store.errors import StoreBusy, StoreFull
from store.tables import certificates
from store.tables import ocsp_answers as answers_table
from store.tables import ocsp_signers as signers_table
from tests import judges
from tests.fixtures.desk import ADMIN, CLOCKWORK, OPERATOR, Custody, drain, reopened
from tests.pki.acts import (
    certificate_of,
    count,
    crl,
    issue,
    listed,
    ocsp_request,
    ocsp_status,
)
from tests.pki.requests import DER

HOUR = timedelta(hours=1)
SHA1 = hashes.SHA1()  # noqa: S303 - a CertID hash


@pytest.fixture
def responder(desk: Desk, now: datetime) -> OcspResponder:
    """As the validation listener has one: watching."""
    made = OcspResponder(reopened(desk))
    made.watch(now)
    return made


def load(answer: OcspAnswer) -> ocsp.OCSPResponse:
    return ocsp.load_der_ocsp_response(answer.body)


# Statuses


def test_every_status_is_told(desk: Desk, responder: OcspResponder, now: datetime) -> None:
    good, gone, held = issue(desk), issue(desk), issue(desk)
    revocation.revoke(desk, OPERATOR, gone.serial, "affiliationChanged", now=now)
    revocation.hold(desk, OPERATOR, held.serial, now=now)
    assert ocsp_status(responder, good, now) == "good"
    assert ocsp_status(responder, gone, now) == "revoked affiliationChanged"
    assert ocsp_status(responder, held, now) == "revoked certificateHold"


def test_a_serial_that_was_never_issued_is_unknown(
    desk: Desk, responder: OcspResponder, now: datetime
) -> None:
    one = issue(desk)
    read = ocsp.load_der_ocsp_request(ocsp_request(one))
    for serial in (1, 0, 1 << 126, (1 << 159) - 1):
        asked = (
            ocsp.OCSPRequestBuilder()
            .add_certificate_by_hash(read.issuer_name_hash, read.issuer_key_hash, serial, SHA1)
            .build()
            .public_bytes(DER)
        )
        assert ocsp_status(responder, one, now, asked) == "unknown"
        assert load(responder.answer("issuing", asked, now)).serial_number == serial
    assert count(desk, answers_table, answers_table.c.serial == "01") == 0


@pytest.mark.parametrize(
    "content", [b"\xff", b"\x80" + bytes(15), b"\x7f" * 30, b"\x00" * 3 + b"\x05"]
)
def test_serials_nobody_would_issue_do_no_harm(
    shared_desk: Desk, now: datetime, content: bytes
) -> None:
    responder = OcspResponder(shared_desk)
    read = ocsp.load_der_ocsp_request(ocsp_request(issue(shared_desk)))
    cert_id = der.tlv(
        der.SEQUENCE,
        bytes.fromhex("300906052b0e03021a0500")
        + der.tlv(der.OCTET_STRING, read.issuer_name_hash)
        + der.tlv(der.OCTET_STRING, read.issuer_key_hash)
        + der.tlv(der.INTEGER, content),
    )
    wanted = der.tlv(der.SEQUENCE, der.tlv(der.SEQUENCE, cert_id))
    asked = der.tlv(der.SEQUENCE, der.tlv(der.SEQUENCE, wanted))
    answer = load(responder.answer("issuing", asked, now))
    if answer.response_status is ocsp.OCSPResponseStatus.SUCCESSFUL:
        assert answer.certificate_status is ocsp.OCSPCertStatus.UNKNOWN
    else:
        assert answer.response_status is ocsp.OCSPResponseStatus.MALFORMED_REQUEST


@pytest.mark.parametrize("digest", [SHA1, hashes.SHA256()], ids=["sha1", "sha256"])
@pytest.mark.parametrize("nonce", [None, b"0123456789abcdef"], ids=["plain", "nonce"])
def test_openssl_believes_it(
    shared_desk: Desk, now: datetime, digest: hashes.HashAlgorithm, nonce: bytes | None
) -> None:
    responder = OcspResponder(reopened(shared_desk))
    one, gone = issue(shared_desk), issue(shared_desk)
    revocation.revoke(shared_desk, OPERATOR, gone.serial, "superseded", now=now)
    root, issuing = certificate_of(shared_desk, "root"), certificate_of(shared_desk, "issuing")
    for leaf, status in ((one, "good"), (gone, "revoked superseded")):
        body = responder.answer("issuing", ocsp_request(leaf, digest, nonce), now).body
        verdict = judges.openssl_ocsp(
            body, leaf=leaf.der, issuer=issuing, root=root, digest=digest.name
        )
        assert verdict == status
        assert judges.grave(judges.pkilint_ocsp(body)) == []


def test_a_signer_is_named_within_what_its_authority_and_those_above_permit(
    desk: Desk, now: datetime
) -> None:
    upper = AuthorityRequest("upper", "root", "CN=Upper,O=Example", permitted=("dn:O=Example",))
    founding.create(desk, ADMIN, replace(upper, path_length=1), now=now)
    wanted = AuthorityRequest("x", "issuing", "CN=X,OU=VPN,O=Example", parent="upper")
    permitted = ("dn:O=Elsewhere", "dn:OU=VPN,O=Example", "dns:example.com")
    made = founding.create(desk, ADMIN, replace(wanted, permitted=permitted), now=now)
    drain(desk, now)
    signer = ocsp_signers.current(desk, made, now=now).certificate
    assert signer.subject.rfc4514_string() == "CN=OCSP signer of x,OU=VPN,O=Example"
    signer.verify_directly_issued_by(made.certificate)


def test_the_authority_itself_is_asked_for_at_its_issuer(
    desk: Desk, responder: OcspResponder, now: datetime
) -> None:
    asked = (
        ocsp.OCSPRequestBuilder()
        .add_certificate(
            authorities.load(desk, "issuing").certificate,
            authorities.load(desk, "root").certificate,
            SHA1,
        )
        .build()
        .public_bytes(DER)
    )
    answer = load(responder.answer("root", asked, now))
    assert answer.certificate_status is ocsp.OCSPCertStatus.GOOD


# Refusals


def test_a_foreign_issuer_is_not_ours_to_answer_for(
    desk: Desk, responder: OcspResponder, now: datetime
) -> None:
    # RFC 5019 §2.2.3
    one = issue(desk)
    answer = load(responder.answer("sharded", ocsp_request(one), now))
    assert answer.response_status is ocsp.OCSPResponseStatus.UNAUTHORIZED
    for name in ("nobody", "", "../root", "issuing\x00"):
        answer = load(responder.answer(name, ocsp_request(one), now))
        assert answer.response_status is ocsp.OCSPResponseStatus.UNAUTHORIZED


def test_errors_are_not_for_caches(responder: OcspResponder, now: datetime) -> None:
    answer = responder.answer("issuing", b"junk", now)
    assert load(answer).response_status is ocsp.OCSPResponseStatus.MALFORMED_REQUEST
    assert answer.next_update is answer.fresh_until is None


@settings(
    max_examples=200,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.binary(max_size=200))
def test_junk_is_malformed_and_never_an_exception(shared_desk: Desk, data: bytes) -> None:
    from tests.fixtures.desk import NOW

    answer = load(OcspResponder(shared_desk).answer("issuing", data, NOW))
    assert answer.response_status is ocsp.OCSPResponseStatus.MALFORMED_REQUEST


@settings(
    max_examples=200,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(place=st.integers(0, 200), value=st.integers(0, 255))
def test_a_bent_request_gets_an_answer_and_never_an_exception(
    shared_desk: Desk, place: int, value: int
) -> None:
    from tests.fixtures.desk import NOW

    responder = OcspResponder(shared_desk)
    asked = bytearray(_known_request(shared_desk))
    asked[place % len(asked)] = value
    load(responder.answer("issuing", bytes(asked), NOW))


_REQUESTS: dict[int, bytes] = {}


def _known_request(desk: Desk) -> bytes:
    if id(desk) not in _REQUESTS:
        _REQUESTS[id(desk)] = ocsp_request(issue(desk), nonce=b"x" * 16)
    return _REQUESTS[id(desk)]


# Three layers


def test_the_same_question_is_answered_from_memory(
    desk: Desk, responder: OcspResponder, keys: Custody, now: datetime
) -> None:
    asked = ocsp_request(issue(desk))
    first = responder.answer("issuing", asked, now)
    made = keys.signatures
    assert responder.answer("issuing", asked, now + HOUR) is first
    assert keys.signatures == made
    assert first.fresh_until == now + desk.rules.ocsp_lifetime * 0.5


def test_padded_questions_fill_no_memory(
    desk: Desk, responder: OcspResponder, now: datetime
) -> None:
    # Anybody may ask, and every question is remembered with its octets.
    one = issue(desk)
    padding = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4.5"), bytes(1000))
    asked = (
        ocsp.OCSPRequestBuilder()
        .add_certificate(x509.load_der_x509_certificate(one.der), one.authority.certificate, SHA1)
        .add_extension(padding, critical=False)
        .build()
        .public_bytes(DER)
    )
    first = responder.answer("issuing", asked, now)
    assert load(first).certificate_status is ocsp.OCSPCertStatus.GOOD
    assert responder.answer("issuing", asked, now) is not first
    assert responder.answer("issuing", asked, now).body == first.body


def test_another_process_finds_what_one_has_signed(
    desk: Desk, responder: OcspResponder, keys: Custody, now: datetime
) -> None:
    asked = ocsp_request(issue(desk))
    first = responder.answer("issuing", asked, now)
    made = keys.signatures
    other = OcspResponder(reopened(desk))
    assert other.answer("issuing", asked, now).body == first.body
    assert keys.signatures == made


def test_answers_signed_in_advance_need_no_signature(
    desk: Desk, responder: OcspResponder, keys: Custody, now: datetime
) -> None:
    one, gone = issue(desk), issue(desk)
    revocation.revoke(desk, OPERATOR, gone.serial, "superseded", now=now)
    # Two authorities, three OCSP signers: all certificates on record get an answer.
    assert ocsp_answers.presign(desk, CLOCKWORK, limit=100, now=now) == 2 + 3 + 2
    assert ocsp_answers.presign(desk, CLOCKWORK, limit=100, now=now) == 0
    made = keys.signatures
    assert ocsp_status(responder, one, now) == "good"
    assert ocsp_status(responder, gone, now) == "revoked superseded"
    assert keys.signatures == made


def test_presigning_comes_to_an_end_when_the_signer_does(desk: Desk, now: datetime) -> None:
    # Answers end with their signer: they are not made anew as long as nothing longer can come out of it.
    issue(desk)
    late = now + timedelta(days=30) - HOUR
    assert ocsp_answers.presign(desk, CLOCKWORK, limit=1000, now=late) > 0
    assert ocsp_answers.presign(desk, CLOCKWORK, limit=1000, now=late) == 0


def test_presigning_stops_at_the_limit(desk: Desk, now: datetime) -> None:
    for _ in range(4):
        issue(desk)
    assert ocsp_answers.presign(desk, CLOCKWORK, limit=3, now=now) == 3
    assert count(desk, answers_table) == 3


def test_an_ageing_answer_is_made_anew(desk: Desk, responder: OcspResponder, now: datetime) -> None:
    one = issue(desk)
    asked = ocsp_request(one)
    first = responder.answer("issuing", asked, now)
    later = now + desk.rules.ocsp_lifetime * 0.5
    assert responder.answer("issuing", asked, later - timedelta(seconds=1)) is first
    second = responder.answer("issuing", asked, later)
    assert second.this_update == later
    assert ocsp_answers.presign(desk, CLOCKWORK, limit=100, now=later + HOUR * 6) > 0


def test_ended_answers_are_removed(desk: Desk, responder: OcspResponder, now: datetime) -> None:
    responder.answer("issuing", ocsp_request(issue(desk)), now)
    assert ocsp_answers.remove_ended(desk, CLOCKWORK, now=now + HOUR) == 0
    assert ocsp_answers.remove_ended(desk, CLOCKWORK, now=now + timedelta(hours=13)) == 1


# Changes of status


@pytest.mark.parametrize("presigned", [True, False])
def test_a_change_is_told_from_the_next_look_on(
    desk: Desk, responder: OcspResponder, now: datetime, presigned: bool
) -> None:
    one = issue(desk)
    if presigned:
        ocsp_answers.presign(desk, CLOCKWORK, limit=100, now=now)
    story: list[tuple[Callable[[], object], str]] = [
        (lambda: None, "good"),
        (lambda: revocation.hold(desk, OPERATOR, one.serial, now=now), "revoked certificateHold"),
        (lambda: revocation.release(desk, OPERATOR, one.serial, now=now), "good"),
        (lambda: _revoke(desk, one.serial, "superseded", now), "revoked superseded"),
        (lambda: _revoke(desk, one.serial, "keyCompromise", now), "revoked keyCompromise"),
    ]
    for act, status in story:
        act()
        responder.watch(now)
        assert ocsp_status(responder, one, now) == status
        assert ocsp_status(responder, one, now) == status
        fresh = OcspResponder(reopened(desk))
        assert ocsp_status(fresh, one, now) == status


def _revoke(desk: Desk, serial: str, reason: str, now: datetime) -> None:
    revocation.revoke(desk, OPERATOR, serial, reason, now=now)


def test_only_what_changed_is_forgotten(
    desk: Desk, responder: OcspResponder, keys: Custody, now: datetime
) -> None:
    one, other = issue(desk), issue(desk)
    asked = [ocsp_request(one), ocsp_request(one, hashes.SHA256()), ocsp_request(other)]
    before = [responder.answer("issuing", each, now) for each in asked]
    _revoke(desk, one.serial, "superseded", now)
    assert responder.watch(now) == 1
    assert responder.watch(now) == 0
    assert responder.answer("issuing", asked[2], now) is before[2]
    for each in asked[:2]:
        assert ocsp_status(responder, one, now, each) == "revoked superseded"


def test_what_was_answered_before_the_first_look_is_not_trusted_after_it(
    desk: Desk, now: datetime
) -> None:
    # A process that begins to answer before it begins to watch.
    one = issue(desk)
    responder = OcspResponder(reopened(desk))
    assert ocsp_status(responder, one, now) == "good"
    _revoke(desk, one.serial, "superseded", now)
    later = now + timedelta(seconds=1)
    responder.watch(later)
    assert ocsp_status(responder, one, later) == "revoked superseded"


def test_a_missed_look_forgets_everything(
    desk: Desk, responder: OcspResponder, now: datetime
) -> None:
    one = issue(desk)
    first = responder.answer("issuing", ocsp_request(one), now)
    fails = OcspResponder(reopened(desk, store=_Broken(desk.store)))
    with pytest.raises(StoreBusy):
        fails.watch(now)
    responder.forget_all()
    assert responder.answer("issuing", ocsp_request(one), now) is not first


class _Broken:
    """A store that is busy for readers."""

    def __init__(self, store: Store) -> None:
        self.dialect = store.dialect

    def read(self) -> object:
        raise StoreBusy("busy")


def test_a_change_committed_late_on_postgresql_is_seen(
    desk: Desk, responder: OcspResponder, now: datetime
) -> None:
    # The change with the lower number is committed after the one with the higher.
    from store.tables import status_changes

    one, other = issue(desk), issue(desk)
    for each in (one, other):
        assert ocsp_status(responder, each, now) == "good"
    _revoke(desk, one.serial, "superseded", now)
    _revoke(desk, other.serial, "superseded", now)
    with desk.store.write() as connection:
        late = (
            connection.execute(select(status_changes).where(status_changes.c.serial == one.serial))
            .mappings()
            .one()
        )
        connection.execute(status_changes.delete().where(status_changes.c.id == late["id"]))
    responder.watch(now)
    assert ocsp_status(responder, other, now) == "revoked superseded"
    if desk.store.dialect == "sqlite":
        return  # one writer at a time: numbers are committed in their order
    with desk.store.write() as connection:
        connection.execute(status_changes.insert().values(**late))
    responder.watch(now + timedelta(seconds=20))
    assert ocsp_status(responder, one, now) == "revoked superseded"


# The race: a status changes while an answer about it is being signed


def test_a_status_that_changes_during_the_signature_leaves_no_stale_answer(
    desk: Desk, responder: OcspResponder, keys: Custody, now: datetime
) -> None:
    one = issue(desk)
    elsewhere = reopened(desk, keys=Custody(keys.raw))
    for look_in_between in (True, False):
        keys.hang()
        with ThreadPoolExecutor(1) as pool:
            # It has read "good" and asks for the signature …
            slow = pool.submit(responder.answer, "issuing", ocsp_request(one), now)
            keys.wait_until_hanging()
            act = revocation.hold if look_in_between else revocation.revoke
            more = () if look_in_between else ("superseded",)
            act(elsewhere, OPERATOR, one.serial, *more, now=now)  # type: ignore[operator]  # one of two
            if look_in_between:
                responder.watch(now)
            keys.heal()
            assert load(slow.result(30)).certificate_status is ocsp.OCSPCertStatus.GOOD
        assert count(desk, answers_table, answers_table.c.serial == one.serial) == 0
        responder.watch(now)
        wanted = "certificateHold" if look_in_between else "superseded"
        assert ocsp_status(responder, one, now) == f"revoked {wanted}"
        assert ocsp_status(OcspResponder(reopened(desk)), one, now) == f"revoked {wanted}"
        if look_in_between:
            revocation.release(elsewhere, OPERATOR, one.serial, now=now)
            responder.watch(now)


def test_a_worse_reason_during_the_signature_leaves_no_stale_answer(
    desk: Desk, responder: OcspResponder, keys: Custody, now: datetime
) -> None:
    one = issue(desk)
    elsewhere = reopened(desk, keys=Custody(keys.raw))
    _revoke(elsewhere, one.serial, "superseded", now)
    responder.watch(now)
    keys.hang()
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(responder.answer, "issuing", ocsp_request(one), now)
        keys.wait_until_hanging()
        # At the very same microsecond.
        _revoke(elsewhere, one.serial, "keyCompromise", now)
        keys.heal()
        slow.result(30)
    responder.watch(now)
    assert ocsp_status(responder, one, now) == "revoked keyCompromise"
    assert ocsp_status(OcspResponder(reopened(desk)), one, now) == "revoked keyCompromise"


def test_an_answer_and_a_revocation_in_one_transaction_agree(
    desk: Desk, responder: OcspResponder, keys: Custody, now: datetime
) -> None:
    # Group commit: the revocation's rows are not written yet when the answer looks whether anything changed.
    one = issue(desk)
    asked = ocsp_request(one)
    watched = OcspResponder(desk)  # with the store of the one who revokes
    watched.watch(now)
    keys.hang()
    with ThreadPoolExecutor(3) as pool:
        answer = pool.submit(watched.answer, "issuing", asked, now)
        keys.wait_until_hanging()
        leads, goes_on = threading.Event(), threading.Event()

        def occupy(unit: Unit) -> None:
            leads.set()
            assert goes_on.wait(30)

        leader = pool.submit(desk.store.together, occupy)
        assert leads.wait(30)
        revoking = pool.submit(_revoke, desk, one.serial, "superseded", now)
        _until_queued(desk.store, 1)
        keys.heal()
        _until_queued(desk.store, 2)
        goes_on.set()
        leader.result(30)
        revoking.result(30)
        assert load(answer.result(30)).certificate_status is ocsp.OCSPCertStatus.GOOD
    watched.watch(now)
    assert ocsp_status(watched, one, now) == "revoked superseded"
    assert ocsp_status(OcspResponder(reopened(desk)), one, now) == "revoked superseded"


def _until_queued(store: Store, wanted: int) -> None:
    """Wait until so many works stand in the store's queue."""
    for _ in range(30_000):
        if len(store._group._queue) >= wanted:
            return
        time.sleep(0.001)  # not a timed wait for a lock: those never end under faketime
    raise AssertionError("nothing was queued")


def test_an_answer_about_a_row_that_is_just_changing_is_not_kept(
    desk: Desk, second_store: Store, now: datetime
) -> None:
    one = issue(desk)
    authority = authorities.load(desk, "issuing")
    known = ocsp_answers.status_of(desk, authority.id, one.serial)
    stale = ocsp_answers.Kept(b"stale", now, now + HOUR)
    signer = ocsp_signers.current(desk, authority, now=now)
    asked = (one.serial, "sha1")
    keep = partial(ocsp_answers.keep, desk, authority.id, signer, asked, stale, known)
    if desk.store.dialect == "postgresql":
        with second_store.write() as connection:
            pick(connection, one.serial, None, lock=True)
            keep()  # does not wait
        assert count(desk, answers_table, answers_table.c.serial == one.serial) == 0
    keep()
    assert count(desk, answers_table, answers_table.c.serial == one.serial) == 1
    _revoke(desk, one.serial, "superseded", now)
    keep()
    assert count(desk, answers_table, answers_table.c.serial == one.serial) == 0


def test_an_answer_by_a_signer_that_is_just_ending_is_not_kept(
    desk: Desk, second_store: Store, now: datetime
) -> None:
    one = issue(desk)
    authority = authorities.load(desk, "issuing")
    signer = ocsp_signers.current(desk, authority, now=now)
    number = format(signer.certificate.serial_number, "032x")
    known = ocsp_answers.status_of(desk, authority.id, one.serial)
    stale = ocsp_answers.Kept(b"stale", now, now + HOUR)
    asked = (one.serial, "sha1")
    keep = partial(ocsp_answers.keep, desk, authority.id, signer, asked, stale, known)
    if desk.store.dialect == "postgresql":
        with second_store.write() as connection:
            pick(connection, number, None, lock=True)
            keep()  # does not wait
        assert count(desk, answers_table, answers_table.c.serial == one.serial) == 0
    keep()
    revocation.hold(desk, ADMIN, number, now=now)
    keep()
    assert count(desk, answers_table, answers_table.c.serial == one.serial) == 0


# Nonces


def test_a_nonce_gets_a_signature_of_its_own(
    desk: Desk, responder: OcspResponder, now: datetime
) -> None:
    one = issue(desk)
    ocsp_answers.presign(desk, CLOCKWORK, limit=100, now=now)
    for nonce in (b"a", b"b" * 32, b"c" * 128):
        answer = responder.answer("issuing", ocsp_request(one, nonce=nonce), now)
        value = load(answer).extensions.get_extension_for_class(x509.OCSPNonce).value
        assert value.nonce == nonce
        assert answer.next_update is None  # not for caches
    assert count(desk, answers_table, answers_table.c.serial == one.serial) == 1


def test_where_nonces_are_off_the_presigned_answer_is_given(
    desk: Desk, keys: Custody, now: datetime
) -> None:
    # RFC 9654 §2.1 and RFC 5019 §3.1: a responder may answer without the nonce.
    one = issue(desk)
    ocsp_answers.presign(desk, CLOCKWORK, limit=100, now=now)
    responder = OcspResponder(reopened(desk, nonces=False))
    made = keys.signatures
    answer = load(responder.answer("issuing", ocsp_request(one, nonce=b"n" * 16), now))
    assert list(answer.extensions) == []
    assert keys.signatures == made


# Certificates that are not there yet, or never were


def test_a_certificate_in_the_making_is_unknown_and_not_for_caches(
    desk: Desk, responder: OcspResponder, keys: Custody, now: datetime
) -> None:
    one = issue(desk)
    other = reopened(desk, keys=Custody(keys.raw))
    responder = OcspResponder(other)
    responder.watch(now)
    keys.hang()
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(issue, desk)
        keys.wait_until_hanging()
        with desk.store.read() as connection:
            serial = connection.execute(
                select(certificates.c.serial).where(certificates.c.status == "pending")
            ).scalar_one()
        read = ocsp.load_der_ocsp_request(ocsp_request(one))
        asked = (
            ocsp.OCSPRequestBuilder()
            .add_certificate_by_hash(
                read.issuer_name_hash, read.issuer_key_hash, int(serial, 16), SHA1
            )
            .build()
            .public_bytes(DER)
        )
        answer = responder.answer("issuing", asked, now)
        assert load(answer).certificate_status is ocsp.OCSPCertStatus.UNKNOWN
        assert answer.next_update is answer.fresh_until is None
        keys.heal()
        made = slow.result(30)
    assert made.serial == serial
    assert ocsp_status(responder, made, now, asked) == "good"


def test_a_lost_signature_is_revoked_here_as_on_the_list(
    desk: Desk, responder: OcspResponder, keys: Custody, now: datetime
) -> None:
    one = issue(desk)
    keys.fail()
    with pytest.raises(IkewardenError):
        issue(desk)
    keys.heal()
    later = now + HOUR
    reconcile.settle(desk, CLOCKWORK, now=later)
    from pki import publication

    publication.publish_full(desk, CLOCKWORK, "issuing", now=later)
    (serial,) = listed(crl(desk))
    read = ocsp.load_der_ocsp_request(ocsp_request(one))
    asked = (
        ocsp.OCSPRequestBuilder()
        .add_certificate_by_hash(read.issuer_name_hash, read.issuer_key_hash, int(serial, 16), SHA1)
        .build()
        .public_bytes(DER)
    )
    assert ocsp_status(responder, one, later, asked) == "revoked"


# When things fail


def test_a_dead_signer_means_try_later_and_what_is_signed_is_still_given(
    desk: Desk, responder: OcspResponder, keys: Custody, now: datetime
) -> None:
    one, other = issue(desk), issue(desk)
    asked = ocsp_request(one)
    first = responder.answer("issuing", asked, now)
    keys.fail()
    assert ocsp_status(responder, other, now) == "TRY_LATER"
    # Past the half of its life, but not past its end.
    late = now + desk.rules.ocsp_lifetime * 0.9
    for each in (responder, OcspResponder(reopened(desk))):
        answer = each.answer("issuing", asked, late)
        assert answer.body == first.body
        assert answer.fresh_until is None
    over = now + desk.rules.ocsp_lifetime
    assert ocsp_status(responder, one, over) == "TRY_LATER"
    keys.heal()
    assert ocsp_status(responder, one, over) == "good"


def test_a_database_that_cannot_be_written_does_not_stop_answers(desk: Desk, now: datetime) -> None:
    one = issue(desk)
    full = reopened(desk, store=_Full(desk.store))
    assert ocsp_status(OcspResponder(full), one, now) == "good"
    assert count(desk, answers_table, answers_table.c.serial == one.serial) == 0


class _Full:
    """A store that can be read and not written."""

    def __init__(self, store: Store) -> None:
        self.dialect, self.read = store.dialect, store.read

    def together(self, work: object) -> object:
        raise StoreFull("full")


def test_a_busy_database_means_try_later(desk: Desk, now: datetime) -> None:
    responder = OcspResponder(reopened(desk))
    one = issue(desk)
    assert ocsp_status(responder, one, now) == "good"
    broken = reopened(desk, store=_Broken(desk.store))
    broken.holdings.authorities.update(responder._desk.holdings.authorities)
    assert ocsp_status(OcspResponder(broken), one, now) == "TRY_LATER"


# Signers


def test_the_signer_is_delegated_and_needs_no_check(desk: Desk) -> None:
    with desk.store.read() as connection:
        rows = connection.execute(select(signers_table)).all()
    assert len(rows) == 3
    for row in rows:
        found = x509.load_der_x509_certificate(row.certificate).extensions
        usage = found.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert list(usage) == [x509.ExtendedKeyUsageOID.OCSP_SIGNING]
        assert found.get_extension_for_class(x509.OCSPNoCheck)


def test_signers_are_renewed_when_two_thirds_of_their_life_are_over(
    desk: Desk, responder: OcspResponder, keys: Custody, now: datetime
) -> None:
    one = issue(desk, not_after=now + timedelta(days=60))
    with desk.store.read() as connection:
        first = connection.execute(
            select(signers_table).where(signers_table.c.authority_id == one.authority.id)
        ).one()
    turn = first.not_before + (first.not_after - first.not_before) * 2 / 3
    assert not ocsp_signers.ensure(desk, CLOCKWORK, "issuing", now=turn - timedelta(seconds=1))
    assert ocsp_signers.ensure(desk, CLOCKWORK, "issuing", now=turn)
    assert not ocsp_signers.ensure(desk, CLOCKWORK, "issuing", now=turn)
    later = turn + timedelta(minutes=2)
    body = responder.answer("issuing", ocsp_request(one), later).body
    (signer,) = ocsp.load_der_ocsp_response(body).certificates
    assert signer.not_valid_after_utc > first.not_after
    judges.openssl_verify(
        signer.public_bytes(DER),
        "-x509_strict",
        "-attime",
        str(int(later.timestamp())),
        root=certificate_of(desk, "root"),
        between=[certificate_of(desk, "issuing")],
    )


def test_keys_of_ended_signers_are_destroyed(desk: Desk, keys: Custody, now: datetime) -> None:
    before = set(keys.names())
    later = now + timedelta(days=40)
    assert refresh_ocsp(desk, later)["signers"] == 3
    fresh = set(keys.names()) - before
    assert len(fresh) == 3
    assert ocsp_signers.remove_expired(desk, CLOCKWORK, now=later) == 3
    assert fresh < set(keys.names())
    assert not any(name.startswith("ocsp") for name in set(keys.names()) - fresh)
    assert ocsp_signers.remove_expired(desk, CLOCKWORK, now=later) == 0


def test_a_key_that_is_gone_already_does_not_stop_the_removal(
    desk: Desk, keys: Custody, now: datetime
) -> None:
    for name in keys.names():
        if name.startswith("ocsp"):
            keys.destroy(f"fake:{name}")
    later = now + timedelta(days=40)
    assert ocsp_signers.remove_expired(desk, CLOCKWORK, now=later) == 3


def test_the_key_of_a_signer_that_was_not_certified_is_destroyed(
    desk: Desk, keys: Custody, now: datetime
) -> None:
    before = set(keys.names())
    later = now + timedelta(days=40)

    def die(name: str) -> None:
        if name.startswith("ca-"):
            raise SignerUnavailable("The authority's signer is away.")

    keys.before = die
    with pytest.raises(SignerUnavailable):
        ocsp_signers.ensure(desk, CLOCKWORK, "issuing", now=later)
    assert set(keys.names()) == before
    keys.before = None
    assert ocsp_signers.ensure(desk, CLOCKWORK, "issuing", now=later)


def test_a_key_whose_maker_died_is_destroyed_a_day_later(
    desk: Desk, keys: Custody, now: datetime
) -> None:
    used = set(keys.names())
    lost = keys.generate("ocsp-issuing-lost", "ec-p256")
    keys.generate("ocsp-issuing-of-another-instance", "ec-p256")
    desk.store.together(
        lambda unit: leave(
            unit, CLOCKWORK, ocsp_signers.MADE, "ocsp-key:issuing", now=now, key=lost
        )
    )
    day = timedelta(days=1)
    assert ocsp_signers.remove_dropped(desk, CLOCKWORK, now=now + day) == 0
    assert ocsp_signers.remove_dropped(desk, CLOCKWORK, now=now + 2 * day) == 1
    assert ocsp_signers.remove_dropped(desk, CLOCKWORK, now=now + 2 * day) == 0
    assert set(keys.names()) == {*used, "ocsp-issuing-of-another-instance"}


def signed_by(responder: OcspResponder, about: IssuedCertificate, now: datetime) -> str:
    """The serial number of the signer whose certificate comes with an answer."""
    (signer,) = load(responder.answer("issuing", ocsp_request(about), now)).certificates
    return format(signer.serial_number, "032x")


@pytest.mark.parametrize("hold", [False, True], ids=["revoked", "on hold"])
def test_a_signer_that_is_ended_signs_no_more_and_all_it_signed_is_forgotten(
    desk: Desk, responder: OcspResponder, now: datetime, hold: bool
) -> None:
    one, two = issue(desk), issue(desk)
    # One is in memory and on record, two on record only; another process has opened the signer.
    old = signed_by(responder, one, now)
    assert ocsp_answers.presign(desk, CLOCKWORK, limit=100, now=now) > 0
    if hold:
        revocation.hold(desk, ADMIN, old, now=now)
    else:
        revocation.revoke(desk, ADMIN, old, "keyCompromise", now=now)
    mine = authorities.load(desk, "issuing")
    assert count(desk, answers_table, answers_table.c.authority_id == mine.id) == 0
    with pytest.raises(NoOcspSigner):
        ocsp_signers.current(desk, mine, now=now)
    responder.watch(now)
    assert ocsp_status(responder, one, now) == "TRY_LATER"
    drain(desk, now)
    found = {signed_by(responder, each, now) for each in (one, two)}
    assert len(found) == 1
    assert old not in found
    if hold:
        revocation.release(desk, ADMIN, old, now=now)
        drain(desk, now)
        assert signed_by(OcspResponder(reopened(desk)), two, now) in found


def test_answers_by_an_earlier_signer_are_forgotten_with_it(
    desk: Desk, responder: OcspResponder, now: datetime
) -> None:
    one = issue(desk)
    old = signed_by(responder, one, now)
    later = now + timedelta(days=21)
    assert ocsp_signers.ensure(desk, CLOCKWORK, "issuing", now=later)
    again = OcspResponder(reopened(desk))
    again.watch(later)
    new = signed_by(again, one, later)
    assert new != old
    revocation.revoke(desk, ADMIN, new, "keyCompromise", now=later)
    again.watch(later)
    # The earlier one is not revoked, and its time is not over.
    assert signed_by(again, one, later) == old
    drain(desk, later)


def test_no_answer_is_kept_by_a_signer_that_was_ended_meanwhile(desk: Desk, now: datetime) -> None:
    one = issue(desk)
    responder = OcspResponder(reopened(desk))
    old = signed_by(responder, issue(desk), now)
    revocation.revoke(desk, ADMIN, old, "keyCompromise", now=now)
    # It has not heard of it yet.
    assert signed_by(responder, one, now) == old
    assert count(desk, answers_table, answers_table.c.serial == one.serial) == 0


def test_without_a_signer_one_is_told_to_try_later(desk: Desk, now: datetime) -> None:
    one = issue(desk)
    with desk.store.write() as connection:
        connection.execute(signers_table.delete())
    assert ocsp_status(OcspResponder(reopened(desk)), one, now) == "TRY_LATER"
    with pytest.raises(NoOcspSigner) as caught:
        ocsp_signers.current(desk, authorities.load(desk, "issuing"), now=now)
    assert caught.value.code == "ocsp_signer_missing"
    assert ocsp_answers.presign(desk, CLOCKWORK, limit=10, now=now) == 0


def test_no_answer_outlives_its_signer(desk: Desk, now: datetime) -> None:
    one = issue(desk, not_after=now + timedelta(days=60))
    with desk.store.write() as connection:
        connection.execute(update(signers_table).values(not_before=now - HOUR))
    late = now + timedelta(days=30) - HOUR
    answer = OcspResponder(reopened(desk)).answer("issuing", ocsp_request(one), late)
    (signer,) = load(answer).certificates
    assert answer.next_update == signer.not_valid_after_utc
