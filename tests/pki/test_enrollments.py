"""One key, one credential: one certificate, whatever comes twice, at once, or after a death."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import insert, select

from core.crew import Crew
from core.errors import IkewardenError, Unavailable
from pki import cmp_transactions, decisions, enrollments, identity, reconcile, revocation, tokens
from pki.actors import Actor, Role, Scope
from pki.certificates import find
from pki.cmp_transactions import Opening, Transaction
from pki.desk import Desk
from pki.endpoints import Endpoint, EstDoor
from pki.enrollments import EnrollmentOver, EnrollmentUnderWay, EnrollmentWaits
from pki.guarded import Step
from pki.identity import TokenRefused, TokenUsedUp
from pki.tokens import TokenRequest
from pki.x509.csr import known_csr, read_csr
from store.approval_tables import approvals
from store.engine import Store
from store.tables import certificates
from tests.fixtures.desk import ADMIN, CLOCKWORK, NOW, OPERATOR, Custody, reopened, stock_key
from tests.pki.acts import at_once, count, issue
from tests.pki.requests import GW1, request

GATEWAYS = Endpoint("gateway", "gateway", est=EstDoor())
HOSTS = Endpoint("hosts", "host", est=EstDoor())
LATE = NOW + reconcile.PATIENCE + timedelta(seconds=1)


@dataclass(frozen=True)
class Asked:
    """Somebody who may have a certificate, and the request for it."""

    actor: Actor
    csr: bytes

    def by(self, desk: Desk, through: Endpoint = GATEWAYS, now: datetime = NOW) -> bytes:
        """Ask for the certificate."""
        return enrollments.once(desk, self.actor, through, "est", self.csr, now=now)

    def __hash__(self) -> int:
        return hash(self.csr)


def by_token(desk: Desk, uses: int = 5, key: int = 1) -> Asked:
    """Whoever has an enroller's token."""
    wanted = TokenRequest("t", Role.ENROLLER, Scope(profiles=("gateway", "host")), uses=uses)
    made = tokens.create(desk, ADMIN, wanted, now=NOW)
    actor = identity.actor_from_token(desk, made.secret, now=NOW, request_id="r")
    return Asked(actor, request(GW1, key=stock_key("ec-p256", 7000 + key)))


def by_certificate(desk: Desk, key: int = 1) -> Asked:
    """Whoever has a certificate."""
    old = issue(desk)
    actor = identity.actor_from_certificate(desk, old.der, now=NOW, request_id="r")
    return Asked(actor, request(GW1, key=stock_key("ec-p256", 7000 + key)))


WAYS = pytest.mark.parametrize("way", [by_token, by_certificate])
Way = Callable[[Desk], Asked]


def made(desk: Desk, asked: Asked) -> int:
    """How many certificates there are for the key, with those that were never signed."""
    key = known_csr(asked.csr).spki_sha256
    return count(desk, certificates, certificates.c.spki_sha256 == key)


@WAYS
def test_what_comes_again_gets_the_same(desk: Desk, way: Way) -> None:
    asked = way(desk)
    assert asked.by(desk) == asked.by(desk)
    assert made(desk, asked) == 1


@WAYS
def test_what_comes_while_it_is_being_signed_waits(
    desk: Desk, keys: Custody, second_store: Store, way: Way
) -> None:
    asked, other = way(desk), reopened(desk, store=second_store)
    refused: list[str] = []

    def come_again(name: str) -> None:
        with pytest.raises(EnrollmentUnderWay) as caught:
            asked.by(other)
        refused.append(caught.value.code)

    keys.before = come_again
    first = asked.by(desk)
    keys.before = None
    assert refused == ["enrollment_under_way"]
    assert asked.by(other) == first
    assert made(desk, asked) == 1


@WAYS
def test_two_in_one_transaction_make_one_certificate(desk: Desk, way: Way) -> None:
    asked = way(desk)
    found: list[object] = []
    with Crew() as crew:
        for _ in range(2):
            crew.start(lambda: found.append(_outcome(asked, desk)))
        assert crew.waiting == 2, "both have looked, and neither has written"
        while crew.waiting:
            crew.settle()
    assert made(desk, asked) == 1
    assert {type(each) for each in found} <= {bytes, EnrollmentUnderWay}
    assert asked.by(desk) in found


@WAYS
def test_many_at_once_make_one_certificate(desk: Desk, second_store: Store, way: Any) -> None:
    desks = [desk, reopened(desk, store=second_store)]
    for number in range(8):
        asked = way(desk, key=number)
        found = at_once(*(partial(_outcome, asked, desks[n % 2]) for n in range(6)))
        given = {each for each in found if isinstance(each, bytes)}
        assert {type(each) for each in found} <= {bytes, EnrollmentUnderWay}
        assert given == {asked.by(desk)}
        assert made(desk, asked) == 1


def test_a_one_time_token_at_once_makes_one_certificate(desk: Desk, second_store: Store) -> None:
    desks = [desk, reopened(desk, store=second_store)]
    for number in range(8):
        asked = by_token(desk, uses=1, key=number)
        stranger = Asked(asked.actor, request(GW1, key=stock_key("ec-p256", 7100 + number)))
        works = [
            partial(_outcome, each, desks[n % 2]) for n, each in enumerate([asked, stranger] * 3)
        ]
        found = at_once(*works)
        kinds = {type(each) for each in found}
        assert kinds <= {bytes, EnrollmentUnderWay, TokenUsedUp}
        assert len({each for each in found if isinstance(each, bytes)}) == 1
        assert made(desk, asked) + made(desk, stranger) == 1


def _outcome(asked: Asked, desk: Desk) -> object:
    try:
        return asked.by(desk)
    except IkewardenError as error:
        return error


@WAYS
def test_after_a_death_before_the_signature_it_is_made_anew(
    desk: Desk, keys: Custody, way: Way
) -> None:
    asked = way(desk)
    keys.fail()
    with pytest.raises(Unavailable):
        asked.by(desk)
    keys.heal()
    with pytest.raises(EnrollmentUnderWay):
        asked.by(desk)
    assert reconcile.settle(desk, CLOCKWORK, now=LATE) == 1
    first = asked.by(desk, now=LATE)
    assert asked.by(desk, now=LATE) == first
    assert made(desk, asked) == 2, "the one that was given up, and this"


def test_a_token_that_was_used_up_by_what_was_given_up_counts_again(
    desk: Desk, keys: Custody
) -> None:
    asked = by_token(desk, uses=1)
    keys.fail()
    with pytest.raises(Unavailable):
        asked.by(desk)
    keys.heal()
    with pytest.raises(EnrollmentUnderWay):
        enrollments.given(desk, asked.actor.credential, GATEWAYS, asked.csr, now=NOW)
    reconcile.settle(desk, CLOCKWORK, now=LATE)
    assert asked.by(desk, now=LATE)


@WAYS
def test_what_was_revoked_is_not_given_again(desk: Desk, way: Way) -> None:
    asked = way(desk)
    asked.by(desk)
    [serial] = _serials(desk, asked)
    revocation.revoke(desk, OPERATOR, serial, "superseded", now=NOW)
    with pytest.raises(EnrollmentOver):
        asked.by(desk)
    assert made(desk, asked) == 1


def _serials(desk: Desk, asked: Asked) -> list[str]:
    from sqlalchemy import select

    key = known_csr(asked.csr).spki_sha256
    query = select(certificates.c.serial).where(certificates.c.spki_sha256 == key)
    with desk.store.read() as connection:
        return list(connection.scalars(query))


def test_another_endpoint_gives_a_certificate_of_its_own_profile(desk: Desk) -> None:
    asked = by_token(desk)
    asked.by(desk)
    asked.by(desk, HOSTS)
    profiles = {find(desk, serial).profile for serial in _serials(desk, asked)}
    assert profiles == {"gateway", "host"}


def test_a_key_has_one_certificate_and_not_one_for_each_name(desk: Desk) -> None:
    asked = by_token(desk)
    asked.by(desk)
    key = stock_key("ec-p256", 7001)
    other = Asked(asked.actor, request(("dns:gw2.example",), key=key))
    with pytest.raises(EnrollmentOver):
        other.by(desk)
    assert made(desk, asked) == 1


def test_a_spent_token_is_known_by_what_it_was(desk: Desk) -> None:
    wanted = TokenRequest(
        "t",
        Role.ENROLLER,
        Scope(profiles=("gateway",)),
        uses=1,
        expires_at=NOW + timedelta(hours=1),
    )
    fresh = tokens.create(desk, ADMIN, wanted, now=NOW)
    assert identity.used_up(desk, fresh.secret, now=NOW) is None, "it counts"
    actor = identity.actor_from_token(desk, fresh.secret, now=NOW, request_id="r")
    Asked(actor, request(GW1)).by(desk)
    with pytest.raises(TokenRefused):
        identity.actor_from_token(desk, fresh.secret, now=NOW, request_id="r")
    known = f"token:{fresh.view.id}"
    assert identity.used_up(desk, fresh.secret, now=NOW) == known
    assert identity.used_up_by_id(desk, fresh.view.id, now=NOW) == known
    assert identity.used_up(desk, fresh.secret, now=NOW + timedelta(hours=2)) is None
    tokens.revoke(desk, ADMIN, fresh.view.id, now=NOW)
    assert identity.used_up(desk, fresh.secret, now=NOW) is None
    assert identity.used_up_by_id(desk, fresh.view.id, now=NOW) is None


def test_whoever_may_issue_by_a_token_of_its_own_gets_as_many_as_it_asks_for(desk: Desk) -> None:
    asked = Asked(OPERATOR, request(GW1, key=stock_key("ec-p256", 7001)))
    assert asked.by(desk) != asked.by(desk)


def test_a_cmp_transaction_that_has_its_certificate_does_not_wait_again(desk: Desk) -> None:
    """The same message at the same moment: the one that is later must not forget what the other has made."""
    transaction = Transaction("gateway", "token:1", b"1")
    opening = Opening("ab", "p10cr", -1, implicit=False)
    csr = read_csr(request(GW1))
    cmp_transactions.wait(desk, transaction, opening, csr, NOW)
    note = cmp_transactions.noting(transaction, opening, NOW)
    enrollments.enroll(desk, ADMIN, GATEWAYS, "cmp", csr, now=NOW, note=note)
    cmp_transactions.wait(desk, transaction, opening, csr, NOW)
    assert cmp_transactions.recall(desk, transaction).state == "unconfirmed"


# A person approves first


@pytest.mark.parametrize("approved", [0, 1])
def test_one_approval_of_two_that_were_asked_for_at_once_will_do(desk: Desk, approved: int) -> None:
    """Two processes that got the same request at the same moment have put two on record."""
    asked, watched = by_token(desk), Endpoint("watched", "gateway", manual=True, est=EstDoor())
    with pytest.raises(EnrollmentWaits):
        asked.by(desk, watched)
    with desk.store.write() as connection:
        row = dict(connection.execute(select(approvals)).one()._mapping)
        del row["id"]
        connection.execute(insert(approvals).values(**row))
        numbers = connection.scalars(select(approvals.c.id).order_by(approvals.c.id)).all()
    ann = Actor("ann", Role.APPROVER)
    decisions.decide(desk, ann, numbers[approved], Step.APPROVE, "it is ours", now=NOW)
    decisions.decide(desk, ann, numbers[1 - approved], Step.REFUSE, "it is there twice", now=NOW)
    assert asked.by(desk, watched)
