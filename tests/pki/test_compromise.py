"""A key that is compromised is so in every certificate: it is not certified again, and its others are named."""

from datetime import datetime, timedelta

import pytest
from sqlalchemy import text

from fleet import revoking
from hsm.keys import new_key
from pki import compromise, issuance, revocation
from pki.actors import Actor, Role, Scope
from pki.compromise import KeyCompromised
from pki.desk import Desk
from pki.refusals import IssuanceOvertaken
from store.schema import migrate
from tests.fixtures.desk import ADMIN, OPERATOR, Custody, reopened
from tests.fixtures.older import BEFORE_SEARCH
from tests.pki.acts import issue, status_on_record
from tests.pki.requests import request


def test_a_compromised_key_is_not_certified_again(desk: Desk, now: datetime) -> None:
    key, other = new_key("ec-p256"), new_key("ec-p256")
    one = issue(desk, key=key)
    two = issuance.renew(desk, OPERATOR, one.serial, None, now=now)
    revocation.revoke(desk, OPERATOR, one.serial, "keyCompromise", now=now)
    elsewhere = reopened(desk)
    for again in (
        lambda: issue(elsewhere, key=key),
        lambda: issue(elsewhere, ["dns:other.example"], "host", key=key),
        lambda: issue(elsewhere, key=key, authority="sharded", profile="gateway-sharded"),
        lambda: issuance.renew(elsewhere, OPERATOR, two.serial, None, now=now),
        lambda: issuance.renew(elsewhere, OPERATOR, two.serial, request(key=key), now=now),
    ):
        with pytest.raises(KeyCompromised) as caught:
            again()
        assert caught.value.code == "key_compromised"
    # The successor's names are still its own: a new key is all that it needs.
    fresh = issuance.renew(elsewhere, OPERATOR, two.serial, request(key=other), now=now)
    assert status_on_record(desk, fresh.serial) == "valid"


@pytest.mark.parametrize(
    "reason", sorted({*revocation.REASONS} - {"keyCompromise", "cACompromise"})
)
def test_after_another_reason_the_key_may_go_on(desk: Desk, now: datetime, reason: str) -> None:
    key = new_key("ec-p256")
    one = issue(desk, key=key)
    revocation.revoke(desk, OPERATOR, one.serial, reason, now=now)
    assert status_on_record(desk, issue(desk, key=key).serial) == "valid"
    # Until it turns out to be worse.
    revocation.revoke(desk, OPERATOR, one.serial, "keyCompromise", now=now)
    with pytest.raises(KeyCompromised):
        issue(desk, key=key)


def test_a_key_that_is_compromised_while_its_certificate_is_signed(
    desk: Desk, keys: Custody, now: datetime
) -> None:
    key = new_key("ec-p256")
    one = issue(desk, key=key)

    def revoke(name: str) -> None:
        keys.before = None
        revocation.revoke(desk, OPERATOR, one.serial, "keyCompromise", now=now)

    keys.before = revoke
    with pytest.raises(IssuanceOvertaken):
        issue(desk, ["dns:two.example"], key=key)


def test_others_with_the_key_are_named(desk: Desk, now: datetime) -> None:
    key = new_key("ec-p256")
    one, two = issue(desk, key=key), issue(desk, ["dns:two.example"], "host", key=key)
    held = issue(desk, ["dns:held.example"], key=key)
    ended = issue(desk, ["dns:ended.example"], key=key)
    soon = issue(desk, ["dns:soon.example"], key=key, not_after=now + timedelta(hours=1))
    issue(desk, key=new_key("ec-p256"))
    revocation.hold(desk, OPERATOR, held.serial, now=now)
    revocation.revoke(desk, OPERATOR, ended.serial, "superseded", now=now)
    later = now + timedelta(hours=2)

    def told(found: revoking.Revocation) -> set[str]:
        return {each.serial for each in found.same_key}

    before = revoking.preview(desk, OPERATOR, one.serial, "keyCompromise", now=now)
    assert told(before) == {two.serial, held.serial, soon.serial}
    assert told(revoking.preview(desk, OPERATOR, one.serial, "superseded", now=now)) == set()
    narrow = Actor("n", Role.OPERATOR, scope=Scope(names=("dns:gw1.example", "dns:two.example")))
    part = revoking.revoke(desk, narrow, one.serial, "keyCompromise", now=later)
    assert told(part) == {two.serial}
    done = revoking.revoke_all(desk, ADMIN, [(None, two.serial)], "keyCompromise", now=later)
    others = compromise.others(desk, ADMIN, done, "keyCompromise", now=later)
    assert {each.serial for each in others} == {held.serial}


def test_keys_that_were_revoked_before_the_records_knew_are_known(
    desk: Desk, store_url: str, now: datetime
) -> None:
    lost, kept = new_key("ec-p256"), new_key("ec-p256")
    for key, reason in ((lost, "keyCompromise"), (kept, "superseded")):
        revocation.revoke(desk, OPERATOR, issue(desk, key=key).serial, reason, now=now)
    with desk.store.write() as connection:
        later = ("challenges", "authorizations", "orders", "accounts", "nonces")
        for statement in (
            *BEFORE_SEARCH,
            *(f"DROP TABLE acme_{each}" for each in later),  # with 0013
            "DROP TABLE cmp_transactions",  # with 0014
            "DROP TABLE sessions",  # with 0015
            "DROP TABLE failed_sign_ins",
            "DROP INDEX ix_revocations_spki_sha256",
            "DROP INDEX ix_certificates_spki_sha256",
            "ALTER TABLE revocations DROP COLUMN spki_sha256",
            "UPDATE alembic_version SET version_num = '0011'",
        ):
            connection.execute(text(statement))
    migrate(store_url)
    with pytest.raises(KeyCompromised):
        issue(reopened(desk), key=lost)
    assert issue(reopened(desk), key=kept).serial
