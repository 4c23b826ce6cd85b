"""House rule 3: on record first, then signed, then told. Whatever dies in between, nothing is lost."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial

import pytest
from cryptography import x509
from sqlalchemy import select

from core.errors import Unavailable
from pki import authorities, certificates, founding, identity, issuance, reconcile, tokens
from pki.actors import Actor, Role, Scope
from pki.authorities import KeyDoesNotFit
from pki.desk import Desk
from pki.founding import AuthorityRequest
from pki.ocsp_responder import OcspResponder
from pki.refusals import IssuanceOvertaken
from pki.tokens import TokenRequest
from scheduler.jobs import settle
from store.engine import Store
from store.errors import Duplicate, StoreFull
from store.tables import audit_events, status_changes
from store.tables import certificates as certificates_table
from store.tables import tokens as tokens_table
from tests.fixtures.desk import ADMIN, CLOCKWORK, NOW, OPERATOR, Custody, drain, reopened
from tests.pki.acts import at_once, count, crl, issue, listed, ocsp_status, status_on_record, trail
from tests.pki.requests import issue_request
from tests.pki.triggers import refuse

PATIENCE = timedelta(minutes=2)
LATE = NOW + PATIENCE + timedelta(seconds=1)


def pending(desk: Desk) -> list[str]:
    """Serial numbers of intents."""
    query = select(certificates_table.c.serial).where(certificates_table.c.status == "pending")
    with desk.store.read() as connection:
        return list(connection.scalars(query))


def one_time(desk: Desk, uses: int = 1) -> tuple[Actor, str]:
    """An enroller with a token that counts, and the token's id."""
    wanted = TokenRequest("t", Role.ENROLLER, Scope(profiles=("gateway",)), uses=uses)
    made = tokens.create(desk, ADMIN, wanted, now=NOW)
    actor = identity.actor_from_token(desk, made.secret, now=NOW, request_id="r")
    return actor, made.view.id


def uses_left(desk: Desk, token: str) -> int:
    with desk.store.read() as connection:
        query = select(tokens_table.c.uses_left).where(tokens_table.c.id == token)
        left = connection.execute(query).scalar_one()
    assert left is not None
    return left


# The order


def test_the_intent_is_committed_before_the_key_is_used(
    desk: Desk, keys: Custody, second_store: Store
) -> None:
    seen: list[tuple[str, bytes | None, list[str]]] = []

    def look(name: str) -> None:
        # From inside the signer, as another process sees the records.
        with second_store.read() as connection:
            row = connection.execute(
                select(certificates_table).where(certificates_table.c.status == "pending")
            ).one()
            outcomes = list(
                connection.scalars(
                    select(audit_events.c.outcome).where(
                        audit_events.c.object == f"certificate:issuing:{row.serial}"
                    )
                )
            )
        seen.append((row.serial, row.tbs, outcomes))

    keys.before = look
    made = issue(desk)
    keys.before = None
    tbs = x509.load_der_x509_certificate(made.der).tbs_certificate_bytes
    assert seen == [(made.serial, tbs, ["intent"])]
    assert trail(desk, f"certificate:issuing:{made.serial}") == [
        ("certificate.sign", "intent"),
        ("certificate.issue", "ok"),
    ]


def test_a_finished_certificate_is_whole_on_record(desk: Desk, now: datetime) -> None:
    made = issue(desk)
    view = certificates.get(desk, OPERATOR, made.serial)
    assert (view.status, view.der, view.fingerprint) == ("valid", made.der, made.fingerprint)
    assert (view.issued_at, view.created_at) == (now, now)
    with desk.store.read() as connection:
        query = select(certificates_table.c.tbs).where(certificates_table.c.serial == made.serial)
        assert connection.execute(query).scalar_one() is None


def test_an_authoritys_key_is_used_after_the_intent_too(
    desk: Desk, keys: Custody, second_store: Store
) -> None:
    seen = []

    def look(name: str) -> None:
        with second_store.read() as connection:
            query = select(audit_events.c.outcome).where(
                audit_events.c.object == "authority:new", audit_events.c.action == "authority.sign"
            )
            seen.append(list(connection.scalars(query)))

    keys.before = look
    wanted = AuthorityRequest(name="new", kind="issuing", parent="root", subject="CN=New")
    founding.create(desk, ADMIN, wanted, now=NOW)
    keys.before = None
    assert seen == [["intent"]]


# A dead signer


def test_a_dead_signer_leaves_the_intent(desk: Desk, keys: Custody) -> None:
    keys.fail()
    with pytest.raises(Unavailable) as caught:
        issue(desk)
    assert caught.value.code == "signer_unavailable"
    (serial,) = pending(desk)
    assert trail(desk, f"certificate:issuing:{serial}") == [
        ("certificate.sign", "intent"),
        ("certificate.sign", "failed"),
    ]
    keys.heal()
    assert status_on_record(desk, issue(desk).serial) == "valid"
    assert pending(desk) == [serial]


def test_an_intent_is_given_up_when_no_signer_can_still_answer(desk: Desk, keys: Custody) -> None:
    keys.fail()
    with pytest.raises(Unavailable):
        issue(desk)
    keys.heal()
    (serial,) = pending(desk)
    assert reconcile.settle(desk, CLOCKWORK, now=NOW + PATIENCE) == 0
    assert pending(desk) == [serial]
    assert settle(desk, LATE) == {"abandoned": 1}
    assert reconcile.settle(desk, CLOCKWORK, now=LATE) == 0
    assert status_on_record(desk, serial) == "abandoned"
    assert trail(desk, f"certificate:issuing:{serial}")[-1] == ("certificate.abandon", "ok")
    assert count(desk, status_changes, status_changes.c.serial == serial) == 1
    drain(desk, LATE)
    assert listed(crl(desk)) == {serial: ""}


def test_a_one_time_token_gets_its_use_back(desk: Desk, keys: Custody) -> None:
    actor, token = one_time(desk)
    keys.fail()
    with pytest.raises(Unavailable):
        issuance.issue(desk, actor, issue_request(), now=NOW)
    assert uses_left(desk, token) == 0
    keys.heal()
    reconcile.settle(desk, CLOCKWORK, now=LATE)
    assert uses_left(desk, token) == 1
    issuance.issue(desk, actor, issue_request(), now=LATE)
    assert uses_left(desk, token) == 0
    reconcile.settle(desk, CLOCKWORK, now=LATE + timedelta(days=1))
    assert uses_left(desk, token) == 0


def test_unlimited_tokens_are_not_touched(desk: Desk, keys: Custody) -> None:
    keys.fail()
    with pytest.raises(Unavailable):
        issue(desk)
    with desk.store.read() as connection:
        before = connection.execute(select(tokens_table)).all()
    reconcile.settle(desk, CLOCKWORK, now=LATE)
    with desk.store.read() as connection:
        assert connection.execute(select(tokens_table)).all() == before


def test_two_who_settle_at_once_give_the_use_back_once(
    desk: Desk, keys: Custody, second_store: Store
) -> None:
    actor, token = one_time(desk, uses=5)
    keys.fail()
    for _ in range(3):
        with pytest.raises(Unavailable):
            issuance.issue(desk, actor, issue_request(), now=NOW)
    other = reopened(desk, store=second_store)
    done = at_once(
        *(partial(reconcile.settle, each, CLOCKWORK, now=LATE) for each in (desk, other) * 3)
    )
    assert [each for each in done if isinstance(each, Exception)] == []
    assert sum(each for each in done if isinstance(each, int)) == 3
    assert uses_left(desk, token) == 5


# A signer that answers too late


def test_a_signature_that_comes_too_late_is_thrown_away(desk: Desk, keys: Custody) -> None:
    keys.hang()
    other = reopened(desk, keys=Custody(keys.raw))
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(issue, desk)
        keys.wait_until_hanging()
        assert reconcile.settle(other, CLOCKWORK, now=LATE) == 1
        keys.heal()
        with pytest.raises(IssuanceOvertaken) as caught:
            slow.result(30)
    assert caught.value.code == "issuance_overtaken"
    assert isinstance(caught.value, Unavailable)
    ((serial, der),) = _all_of(desk, "abandoned")
    assert der is None
    assert ("certificate.issue", "ok") not in trail(desk, f"certificate:issuing:{serial}")


def _all_of(desk: Desk, status: str) -> list[tuple[str, bytes | None]]:
    query = select(certificates_table.c.serial, certificates_table.c.der).where(
        certificates_table.c.status == status
    )
    with desk.store.read() as connection:
        return [(row.serial, row.der) for row in connection.execute(query)]


def test_an_authority_whose_signature_comes_too_late_is_not_made(desk: Desk, keys: Custody) -> None:
    keys.hang()
    other = reopened(desk, keys=Custody(keys.raw))
    wanted = AuthorityRequest(name="new", kind="issuing", parent="root", subject="CN=New")
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(founding.create, desk, ADMIN, wanted, now=NOW)
        keys.wait_until_hanging()
        assert reconcile.settle(other, CLOCKWORK, now=LATE) == 1
        keys.heal()
        with pytest.raises(Unavailable) as caught:
            slow.result(30)
    assert caught.value.code == "issuance_overtaken"
    assert "new" not in authorities.all_names(desk)
    drain(desk, LATE)
    assert len(listed(crl(desk, "root"))) == 1


# Writes that fail


def test_a_result_that_cannot_be_written_leaves_the_intent(desk: Desk, keys: Custody) -> None:
    with refuse(desk.store, "UPDATE", "certificates"), pytest.raises(Exception, match="refused"):
        issue(desk)
    (serial,) = pending(desk)
    assert keys.made[_key_of(desk, "issuing")] == 1
    assert trail(desk, f"certificate:issuing:{serial}") == [("certificate.sign", "intent")]
    reconcile.settle(desk, CLOCKWORK, now=LATE)
    drain(desk, LATE)
    assert set(listed(crl(desk))) == {serial}


def _key_of(desk: Desk, name: str) -> str:
    return authorities.load(desk, name).key_uri.removeprefix("fake:")


def test_an_intent_that_cannot_be_written_means_no_signature(desk: Desk, keys: Custody) -> None:
    actor, token = one_time(desk)
    for table in ("certificates", "audit_events"):
        with refuse(desk.store, "INSERT", table), pytest.raises(Exception, match="refused"):
            issuance.issue(desk, actor, issue_request(), now=NOW)
    assert sum(keys.made.values()) == 0
    assert pending(desk) == []
    assert uses_left(desk, token) == 1


def test_a_full_disk_means_no_signature(desk: Desk, keys: Custody) -> None:
    class Full:
        dialect, read, look = desk.store.dialect, desk.store.read, desk.store.look

        def together(self, work: object, *, lasting: bool = True) -> None:
            raise StoreFull("full")

    with pytest.raises(StoreFull):
        issue(reopened(desk, store=Full()))
    assert sum(keys.made.values()) == 0


def test_a_missing_parents_key_makes_no_intent(desk: Desk, keys: Custody) -> None:
    fresh = reopened(desk)
    keys.destroy(authorities.load(fresh, "issuing").key_uri)
    with pytest.raises(Unavailable) as caught:
        issue(fresh)
    assert caught.value.code == "key_not_found"
    assert pending(desk) == []


def test_a_key_that_is_not_the_authoritys_is_never_used(desk: Desk, keys: Custody) -> None:
    fresh = reopened(desk)
    uri = authorities.load(fresh, "issuing").key_uri
    keys.destroy(uri)
    keys.generate(uri.removeprefix("fake:"), "ec-p256")
    with pytest.raises(KeyDoesNotFit) as caught:
        issue(fresh)
    assert caught.value.code == "authority_key_mismatch"
    assert sum(keys.made.values()) == 0


# Serial numbers


def test_a_serial_number_that_repeats_is_never_issued_twice(desk: Desk, keys: Custody) -> None:
    stuck = reopened(desk, entropy=bytes)
    first = issue(stuck)
    with pytest.raises(Duplicate):
        issue(stuck, ["dns:gw2.example"])
    assert count(desk, certificates_table, certificates_table.c.serial == first.serial) == 1
    assert keys.made[_key_of(desk, "issuing")] == 1
    assert certificates.get(desk, OPERATOR, first.serial).names == ("dns:gw1.example",)


def test_many_at_once_with_one_serial_number_issue_one(desk: Desk, second_store: Store) -> None:
    stuck = [reopened(desk, entropy=bytes), reopened(desk, entropy=bytes, store=second_store)]
    results = at_once(*(partial(issue, stuck[n % 2]) for n in range(8)))
    assert sum(not isinstance(each, Exception) for each in results) == 1
    assert {type(each) for each in results if isinstance(each, Exception)} == {Duplicate}


def test_the_serial_of_a_lost_signature_is_not_used_again(desk: Desk, keys: Custody) -> None:
    stuck = reopened(desk, entropy=bytes)
    keys.fail()
    with pytest.raises(Unavailable):
        issue(stuck)
    keys.heal()
    for now in (NOW, LATE):
        reconcile.settle(desk, CLOCKWORK, now=now)
        with pytest.raises(Duplicate):
            issue(stuck)  # the same millisecond and the same random bits


# Two at once


@pytest.mark.parametrize("processes", [1, 2], ids=["one process", "two processes"])
def test_eight_threads_issue_eight_certificates(
    desk: Desk, second_store: Store, processes: int
) -> None:
    desks = [desk, reopened(desk, store=second_store)][:processes]
    results = at_once(*(partial(_several, desks[n % processes], 4) for n in range(8)))
    assert [each for each in results if isinstance(each, Exception)] == []
    serials = [s for each in results if not isinstance(each, Exception) for s in each]
    assert len(set(serials)) == 32
    assert pending(desk) == []
    assert count(desk, certificates_table, certificates_table.c.profile == "gateway") == 32


def _several(desk: Desk, number: int) -> list[str]:
    return [issue(desk).serial for _ in range(number)]


@pytest.mark.parametrize("processes", [1, 2], ids=["one process", "two processes"])
@pytest.mark.parametrize("uses", [1, 3])
def test_a_token_used_by_eight_at_once_is_used_as_often_as_it_may(
    desk: Desk, second_store: Store, processes: int, uses: int
) -> None:
    actor, token = one_time(desk, uses)
    desks = [desk, reopened(desk, store=second_store)][:processes]
    results = at_once(
        *(
            partial(issuance.issue, desks[n % processes], actor, issue_request(), now=NOW)
            for n in range(8)
        )
    )
    assert sum(not isinstance(each, Exception) for each in results) == uses
    refused = [each for each in results if isinstance(each, Exception)]
    assert {getattr(each, "code", each) for each in refused} == {"token_used_up"}
    assert uses_left(desk, token) == 0
    assert count(desk, certificates_table, certificates_table.c.profile == "gateway") == uses


def test_an_authority_made_twice_at_once_is_made_once(
    desk: Desk, keys: Custody, second_store: Store
) -> None:
    before = set(keys.names())
    wanted = AuthorityRequest(name="new", kind="issuing", parent="root", subject="CN=New")
    barrier = threading.Barrier(2, timeout=120)
    # Both have found the name free and are signing.
    keys.before = lambda name: void(barrier.wait())
    desks = [desk, reopened(desk, store=second_store)]
    results = at_once(*(partial(founding.create, d, ADMIN, wanted, now=NOW) for d in desks))
    keys.before = None
    made = [each for each in results if not isinstance(each, Exception)]
    lost = [each for each in results if isinstance(each, Exception)]
    assert len(made) == 1
    assert [getattr(each, "code", each) for each in lost] == ["authority_exists"]
    assert authorities.all_names(desk) == ["issuing", "new", "root", "sharded"]
    # The loser's key is gone, and the signature over it ends on the root's list.
    assert len(set(keys.names()) - before) == 1
    assert reconcile.settle(desk, CLOCKWORK, now=LATE) == 1
    drain(desk, LATE)
    assert len(listed(crl(desk, "root"))) == 1
    assert ocsp_status(OcspResponder(reopened(desk)), issue(desk), NOW) == "good"


def void(_: object) -> None:
    """For a lambda that shall give nothing."""
