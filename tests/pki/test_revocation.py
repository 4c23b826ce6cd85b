"""Revocation: every reason, hold and release, second thoughts, and two who revoke at once."""

from datetime import datetime, timedelta
from functools import partial

import pytest
from cryptography import x509
from sqlalchemy import select, update

from core.errors import IkewardenError
from pki import certificates, publication, revocation
from pki.actors import Actor, OutsideScope, Role, Scope
from pki.certificates import CertificateNotFound, SerialAmbiguous
from pki.desk import Desk
from pki.revocation import (
    REASONS,
    AlreadyOnHold,
    AlreadyRevoked,
    BadInvalidityDate,
    BadReason,
    NotOnHold,
    NotRevocable,
)
from pki.x509 import serials
from pki.x509.crl import Reason
from store import outbox
from store.engine import Store
from store.tables import certificates as certificates_table
from store.tables import ocsp_answers, revocations, status_changes
from tests.fixtures.desk import ADMIN, CLOCKWORK, OPERATOR, Custody, drain, reopened
from tests.pki.acts import at_once, count, crl, issue, listed, status_on_record, trail
from tests.pki.approving import details
from tests.pki.requests import issue_request


def revoke(desk: Desk, serial: str, reason: str = "superseded", **rest: object) -> None:
    revocation.revoke(desk, OPERATOR, serial, reason, **rest)  # type: ignore[arg-type]  # as given


# Reasons


def test_the_reasons_are_those_of_the_rfc() -> None:
    # RFC 5280 §5.3.1; certificateHold is `hold`, removeFromCRL `release`, aACompromise is for attribute authorities.
    assert set(REASONS) == {
        "unspecified",
        "keyCompromise",
        "cACompromise",
        "affiliationChanged",
        "superseded",
        "cessationOfOperation",
        "privilegeWithdrawn",
    }


@pytest.mark.parametrize("reason", sorted(set(REASONS) - {"cACompromise"}))
def test_every_reason_reaches_the_list(shared_desk: Desk, now: datetime, reason: str) -> None:
    one = issue(shared_desk)
    seen = revocation.revoke(shared_desk, OPERATOR, one.serial, reason, now=now)
    assert (seen.status, seen.reason, seen.revoked_at) == ("revoked", reason, now)
    view = certificates.get(shared_desk, OPERATOR, one.serial)
    assert (view.status, view.reason, view.revoked_at) == ("revoked", reason, now)
    drain(shared_desk, now)
    said = listed(crl(shared_desk))[one.serial]
    assert said == ("" if reason == "unspecified" else reason)


@pytest.mark.parametrize(
    "reason",
    [
        "",
        "certificateHold",
        "removeFromCRL",
        "aACompromise",
        "KeyCompromise",
        "1",
        "x" * 500,
        "\x00",
    ],
)
def test_other_reasons_are_refused(shared_desk: Desk, now: datetime, reason: str) -> None:
    one = issue(shared_desk)
    with pytest.raises(BadReason) as caught:
        revoke(shared_desk, one.serial, reason, now=now)
    assert caught.value.code == "revocation_reason_unknown"
    assert len(caught.value.message) < 200
    assert status_on_record(shared_desk, one.serial) == "valid"


def test_the_compromise_of_an_authority_is_for_authorities(desk: Desk, now: datetime) -> None:
    one = issue(desk)
    with pytest.raises(BadReason):
        revoke(desk, one.serial, "cACompromise", now=now)
    issuing = _authority_serial(desk)
    revocation.revoke(desk, ADMIN, issuing, "cACompromise", now=now)
    drain(desk, now)
    assert listed(crl(desk, "root")) == {issuing: "cACompromise"}


def _authority_serial(desk: Desk, name: str = "Issuing") -> str:
    query = select(certificates_table.c.serial).where(
        certificates_table.c.subject.contains(f"CN={name}"),
        certificates_table.c.profile == "authority",
    )
    with desk.store.read() as connection:
        return str(connection.execute(query).scalar_one())


def test_only_an_admin_ends_an_authority(desk: Desk, now: datetime) -> None:
    with pytest.raises(OutsideScope):
        revoke(desk, _authority_serial(desk), "superseded", now=now)
    with pytest.raises(OutsideScope):
        revocation.hold(desk, OPERATOR, _authority_serial(desk), now=now)


def test_the_invalidity_date_is_on_the_list(desk: Desk, now: datetime) -> None:
    one = issue(desk)
    lost = now - timedelta(days=3)
    revoke(desk, one.serial, "keyCompromise", now=now, invalidity_date=lost)
    assert certificates.get(desk, OPERATOR, one.serial).invalidity_date == lost
    drain(desk, now)
    (entry,) = crl(desk)
    value = entry.extensions.get_extension_for_class(x509.InvalidityDate).value
    assert value.invalidity_date_utc == lost


def test_nothing_is_lost_in_the_future(desk: Desk, now: datetime) -> None:
    one = issue(desk)
    with pytest.raises(BadInvalidityDate) as caught:
        revoke(desk, one.serial, now=now, invalidity_date=now + timedelta(seconds=1))
    assert caught.value.code == "invalidity_date_refused"
    revoke(desk, one.serial, now=now, invalidity_date=now)


def test_the_audit_log_tells_since_when_and_what_it_was_before(desk: Desk, now: datetime) -> None:
    one = issue(desk)
    lost = now - timedelta(days=3)
    revoke(desk, one.serial, "superseded", now=now)
    revoke(desk, one.serial, "keyCompromise", now=now, invalidity_date=lost)
    first, second = details(desk, "certificate.revoke")
    assert first == {"reason": "superseded", "was": "valid"}
    assert second["was_reason"] == "superseded"
    assert second["invalidity_date"] == f"{lost:%Y-%m-%dT%H:%M:%SZ}"


# What happens with it


def test_a_revocation_is_one_transaction(desk: Desk, now: datetime) -> None:
    one = issue(desk, profile="gateway-sharded", authority="sharded")
    revoke(desk, one.serial, now=now)
    about = f"certificate:sharded:{one.serial}"
    assert trail(desk, about)[-1] == ("certificate.revoke", "ok")
    assert count(desk, status_changes, status_changes.c.serial == one.serial) == 1
    (message,) = outbox.claim(desk.store, owner="t", limit=10, lease=timedelta(minutes=1), now=now)
    shard = int(one.serial, 16) % 4
    assert (message.topic, message.key) == ("crl.publish", f"sharded:{shard}")


def test_a_revocation_that_cannot_be_written_changes_nothing(desk: Desk, now: datetime) -> None:
    one = issue(desk)
    from tests.pki.triggers import refuse

    with refuse(desk.store, "INSERT", "status_changes"), pytest.raises(Exception, match="refused"):
        revoke(desk, one.serial, now=now)
    assert status_on_record(desk, one.serial) == "valid"
    assert count(desk, revocations) == 0
    assert ("certificate.revoke", "ok") not in trail(desk)
    revoke(desk, one.serial, now=now)
    assert status_on_record(desk, one.serial) == "revoked"


def test_answers_signed_in_advance_are_forgotten(desk: Desk, now: datetime) -> None:
    from pki import ocsp_answers as answers

    one, other = issue(desk), issue(desk)
    answers.presign(desk, CLOCKWORK, limit=100, now=now)
    before = count(desk, ocsp_answers)
    revoke(desk, one.serial, now=now)
    assert count(desk, ocsp_answers) == before - 1
    assert count(desk, ocsp_answers, ocsp_answers.c.serial == other.serial) == 1


# Second thoughts


def test_a_second_revocation_may_only_say_key_compromise(desk: Desk, now: datetime) -> None:
    one = issue(desk)
    revoke(desk, one.serial, "superseded", now=now)
    later = now + timedelta(hours=1)
    for reason in sorted(set(REASONS) - {"keyCompromise", "cACompromise"}):
        with pytest.raises(AlreadyRevoked) as caught:
            revoke(desk, one.serial, reason, now=later)
        assert caught.value.code == "already_revoked"
        assert "superseded" in caught.value.message
    worse = revocation.revoke(desk, OPERATOR, one.serial, "keyCompromise", now=later)
    # It was revoked when it was revoked; a worse reason does not make that any later.
    assert (worse.reason, worse.revoked_at) == ("keyCompromise", now)
    drain(desk, later)
    assert listed(crl(desk)) == {one.serial: "keyCompromise"}
    (entry,) = crl(desk)
    assert entry.revocation_date_utc == now
    for reason in REASONS:
        with pytest.raises((AlreadyRevoked, BadReason)):
            revoke(desk, one.serial, reason, now=later)


def test_the_invalidity_date_survives_a_worse_reason(desk: Desk, now: datetime) -> None:
    one = issue(desk)
    lost = now - timedelta(days=3)
    revoke(desk, one.serial, "superseded", now=now, invalidity_date=lost)
    revoke(desk, one.serial, "keyCompromise", now=now)
    assert certificates.get(desk, OPERATOR, one.serial).invalidity_date == lost


def test_a_hold_is_released_and_the_certificate_is_valid_again(desk: Desk, now: datetime) -> None:
    one = issue(desk)
    held = revocation.hold(desk, OPERATOR, one.serial, now=now)
    assert (held.status, held.reason) == ("held", "certificateHold")
    assert certificates.get(desk, OPERATOR, one.serial).reason == "certificateHold"
    released = revocation.release(desk, OPERATOR, one.serial, now=now)
    assert (released.status, released.reason, released.revoked_at) == ("valid", None, None)
    view = certificates.get(desk, OPERATOR, one.serial)
    assert (view.status, view.reason, view.revoked_at) == ("valid", None, None)
    drain(desk, now)
    assert listed(crl(desk)) == {}
    # And once more around: nothing of the first time is in the way.
    revocation.hold(desk, OPERATOR, one.serial, now=now)
    revocation.release(desk, OPERATOR, one.serial, now=now)
    revoke(desk, one.serial, "superseded", now=now)
    assert status_on_record(desk, one.serial) == "revoked"


def test_a_certificate_on_hold_can_be_revoked_for_good(desk: Desk, now: datetime) -> None:
    one = issue(desk)
    revocation.hold(desk, OPERATOR, one.serial, now=now)
    with pytest.raises(AlreadyOnHold) as again:
        revocation.hold(desk, OPERATOR, one.serial, now=now)
    assert again.value.code == "already_on_hold"
    revoke(desk, one.serial, "affiliationChanged", now=now)
    with pytest.raises(NotOnHold) as caught:
        revocation.release(desk, OPERATOR, one.serial, now=now)
    assert caught.value.code == "not_on_hold"
    with pytest.raises(AlreadyRevoked):
        revocation.hold(desk, OPERATOR, one.serial, now=now)
    drain(desk, now)
    assert listed(crl(desk)) == {one.serial: "affiliationChanged"}


def test_what_is_not_on_hold_is_not_released(desk: Desk, now: datetime) -> None:
    one = issue(desk)
    with pytest.raises(NotOnHold):
        revocation.release(desk, OPERATOR, one.serial, now=now)


# What cannot be revoked


@pytest.mark.parametrize("act", ["revoke", "hold", "release"])
@pytest.mark.parametrize("status", ["pending", "abandoned"])
def test_what_was_never_issued_is_not_revoked(
    desk: Desk, keys: Custody, now: datetime, act: str, status: str
) -> None:
    keys.fail()
    with pytest.raises(IkewardenError):
        issue(desk)
    keys.heal()
    with desk.store.write() as connection:
        pending = certificates_table.c.status == "pending"
        connection.execute(update(certificates_table).where(pending).values(status=status))
        serial = connection.execute(
            select(certificates_table.c.serial).where(certificates_table.c.status == status)
        ).scalar_one()
    with pytest.raises(NotRevocable) as caught:
        _act(desk, act, serial, now)
    assert caught.value.code == "not_revocable"


def _act(desk: Desk, act: str, serial: str, now: datetime) -> None:
    if act == "revoke":
        revoke(desk, serial, now=now)
    else:
        getattr(revocation, act)(desk, OPERATOR, serial, now=now)


@pytest.mark.parametrize("act", ["revoke", "hold"])
def test_what_has_expired_is_not_revoked(desk: Desk, now: datetime, act: str) -> None:
    one = issue(desk, not_after=now + timedelta(hours=1))
    with pytest.raises(NotRevocable):
        _act(desk, act, one.serial, one.not_after)
    _act(desk, act, one.serial, one.not_after - timedelta(seconds=1))


@pytest.mark.parametrize("serial", ["00", "7" * 32, "ff" * 20])
def test_unknown_serials_are_not_found(desk: Desk, now: datetime, serial: str) -> None:
    with pytest.raises(CertificateNotFound) as caught:
        revoke(desk, serial, now=now)
    assert caught.value.code == "certificate_not_found"


@pytest.mark.parametrize("serial", ["", "xyz", "1" * 41, "\x00", "' OR 1=1"])
def test_what_is_no_serial_is_refused(desk: Desk, now: datetime, serial: str) -> None:
    with pytest.raises(serials.BadSerial):
        revoke(desk, serial, now=now)


def test_a_serial_of_two_authorities_needs_the_authority(desk: Desk, now: datetime) -> None:
    twin = reopened(desk, entropy=bytes)
    one = issue(twin)
    other = issue(twin, profile="gateway-sharded", authority="sharded")
    assert one.serial == other.serial
    with pytest.raises(SerialAmbiguous) as caught:
        revoke(desk, one.serial, now=now)
    assert caught.value.code == "serial_ambiguous"
    revoke(desk, one.serial, now=now, authority="sharded")
    assert certificates.get(desk, OPERATOR, one.serial, authority="issuing").status == "valid"
    drain(desk, now)
    assert (listed(crl(desk)), set(listed(crl(desk, "sharded")))) == ({}, {one.serial})


def test_people_may_write_serials_as_they_like(desk: Desk, now: datetime) -> None:
    one = issue(desk)
    typed = "0x" + ":".join(one.serial[n : n + 2] for n in range(0, 32, 2)).upper()
    revoke(desk, typed, now=now)
    assert status_on_record(desk, one.serial) == "revoked"


def test_the_scope_of_the_credential_holds(desk: Desk, now: datetime) -> None:
    one = issue(desk)
    narrow = Actor("o", Role.OPERATOR, scope=Scope(authorities=("sharded",)))
    for act in (
        partial(revocation.revoke, desk, narrow, one.serial, "superseded", now=now),
        partial(revocation.hold, desk, narrow, one.serial, now=now),
        partial(revocation.release, desk, narrow, one.serial, now=now),
    ):
        with pytest.raises(OutsideScope):
            act()


# Two at once


@pytest.mark.parametrize("processes", [1, 2], ids=["one process", "two processes"])
def test_of_many_who_revoke_at_once_exactly_one_does(
    desk: Desk, second_store: Store, now: datetime, processes: int
) -> None:
    one = issue(desk)
    desks = [desk, reopened(desk, store=second_store)][:processes]
    reasons = ["superseded", "affiliationChanged", "cessationOfOperation", "privilegeWithdrawn"]
    results = at_once(
        *(
            partial(revocation.revoke, desks[n % processes], OPERATOR, one.serial, reason, now=now)
            for n, reason in enumerate(reasons * 2)
        )
    )
    won = [each for each in results if not isinstance(each, Exception)]
    lost = [each for each in results if isinstance(each, Exception)]
    assert len(won) == 1
    assert {type(each) for each in lost} == {AlreadyRevoked}
    drain(desk, now)
    assert listed(crl(desk)) == {one.serial: won[0].reason}
    assert [act for act, _ in trail(desk)].count("certificate.revoke") == 1


@pytest.mark.parametrize("processes", [1, 2], ids=["one process", "two processes"])
def test_key_compromise_wins_whoever_comes_first(
    desk: Desk, second_store: Store, now: datetime, processes: int
) -> None:
    desks = [desk, reopened(desk, store=second_store)][:processes]
    for _ in range(8):
        one = issue(desk)
        results = at_once(
            *(
                partial(revocation.revoke, desks[n % processes], OPERATOR, one.serial, why, now=now)
                for n, why in enumerate(["superseded", "keyCompromise"] * 3)
            )
        )
        assert {type(each) for each in results if isinstance(each, Exception)} == {AlreadyRevoked}
        assert sum(not isinstance(each, Exception) for each in results) in {1, 2}
        assert certificates.get(desk, OPERATOR, one.serial).reason == "keyCompromise"


@pytest.mark.parametrize("processes", [1, 2], ids=["one process", "two processes"])
def test_hold_release_and_revoke_at_once_leave_one_story(
    desk: Desk, second_store: Store, now: datetime, processes: int
) -> None:
    desks = [desk, reopened(desk, store=second_store)][:processes]
    for _ in range(6):
        one = issue(desk)
        revocation.hold(desk, OPERATOR, one.serial, now=now)
        acts = [
            partial(revocation.release, desks[0], OPERATOR, one.serial, now=now),
            partial(revocation.revoke, desks[-1], OPERATOR, one.serial, "superseded", now=now),
            partial(revocation.hold, desks[0], OPERATOR, one.serial, now=now),
            partial(revocation.release, desks[-1], OPERATOR, one.serial, now=now),
        ]
        results = at_once(*acts)
        refused = {type(each) for each in results if isinstance(each, Exception)}
        assert refused <= {AlreadyRevoked, AlreadyOnHold, NotOnHold}
        assert not isinstance(results[1], Exception)
        view = certificates.get(desk, OPERATOR, one.serial)
        assert (view.status, view.reason) == ("revoked", "superseded")
        with desk.store.read() as connection:
            rows = connection.execute(
                select(revocations.c.state, revocations.c.reason).where(
                    revocations.c.serial == one.serial
                )
            ).all()
        assert [tuple(row) for row in rows] == [("revoked", Reason.superseded.value)]


def test_issuing_and_revoking_at_once_do_not_disturb_each_other(desk: Desk, now: datetime) -> None:
    from pki import issuance

    made = [issue(desk) for _ in range(6)]
    asked = issue_request()
    results = at_once(
        *(
            partial(revocation.revoke, desk, OPERATOR, m.serial, "superseded", now=now)
            for m in made
        ),
        *(partial(issuance.issue, desk, OPERATOR, asked, now=now) for _ in range(6)),
    )
    assert [each for each in results if isinstance(each, Exception)] == []
    publication.publish_full(desk, CLOCKWORK, "issuing", now=now)
    assert set(listed(crl(desk))) == {each.serial for each in made}
