"""Lists: what stands on them, in which order they are numbered, and that a newer one always wins."""

from datetime import datetime, timedelta
from functools import partial

import pytest
from cryptography import x509
from sqlalchemy import delete, insert, select

from core.errors import IkewardenError
from hsm.errors import SignerUnavailable
from pki import authorities, publication, reconcile, revocation
from pki.desk import Desk
from pki.publication import CrlNotFound
from pki.x509 import serials
from pki.x509.crl import Reason, entry
from scheduler.jobs import refresh_crls
from store.engine import Store
from store.tables import audit_events, certificates, crl_numbers, crls, revocations
from tests import judges
from tests.fixtures.desk import CLOCKWORK, OPERATOR, SHARDS, Custody, drain, reopened
from tests.pki.acts import at_once, certificate_of, crl, issue, listed, number_of, trail

HOUR = timedelta(hours=1)


def test_a_new_authority_has_empty_lists(desk: Desk, now: datetime) -> None:
    for name in ("root", "issuing", "sharded"):
        found = crl(desk, name)
        assert len(found) == 0
        assert found.next_update_utc == now + desk.rules.crl_lifetime
        assert len(crl(desk, name, "delta")) == 0
    for shard in range(SHARDS):
        assert len(crl(desk, "sharded", "shard", shard)) == 0


def test_a_revocation_is_on_the_next_list(desk: Desk, now: datetime) -> None:
    one, other = issue(desk), issue(desk)
    before = number_of(crl(desk))
    revocation.revoke(desk, OPERATOR, one.serial, "superseded", now=now)
    drain(desk, now)
    assert listed(crl(desk)) == {one.serial: "superseded"}
    assert number_of(crl(desk)) > before
    revocation.revoke(desk, OPERATOR, other.serial, "keyCompromise", now=now)
    drain(desk, now)
    assert set(listed(crl(desk))) == {one.serial, other.serial}
    assert judges.openssl_reasons(
        publication.published(desk, "issuing", "full").der, issuer=certificate_of(desk, "issuing")
    ) == {one.serial: "Superseded", other.serial: "Key Compromise"}


def test_each_certificate_is_on_its_shard_and_on_no_other(desk: Desk, now: datetime) -> None:
    made = [issue(desk, profile="gateway-sharded", authority="sharded") for _ in range(12)]
    for each in made:
        revocation.revoke(desk, OPERATOR, each.serial, "superseded", now=now)
    drain(desk, now)
    for shard in range(SHARDS):
        mine = {each.serial for each in made if int(each.serial, 16) % SHARDS == shard}
        found = crl(desk, "sharded", "shard", shard)
        assert set(listed(found)) == mine
        scope = found.extensions.get_extension_for_class(x509.IssuingDistributionPoint)
        assert scope.critical
        for each in made:
            points = (
                x509.load_der_x509_certificate(each.der)
                .extensions.get_extension_for_class(x509.CRLDistributionPoints)
                .value
            )
            # RFC 5280 §6.3.3 (b)(2): the certificate's distribution point names the list that is about it.
            assert (points[0].full_name == scope.value.full_name) is (each.serial in mine)
    assert set(listed(crl(desk, "sharded"))) == {each.serial for each in made}


@pytest.mark.parametrize("shard", [-1, SHARDS, 4096])
def test_there_are_no_other_shards(desk: Desk, now: datetime, shard: int) -> None:
    with pytest.raises(CrlNotFound):
        publication.publish_shard(desk, CLOCKWORK, "sharded", shard, now=now)
    with pytest.raises(CrlNotFound):
        publication.published(desk, "sharded", "shard", shard)


def test_authorities_for_ike_peers_sign_no_shards(desk: Desk, now: datetime) -> None:
    with pytest.raises(CrlNotFound):
        publication.publish_shard(desk, CLOCKWORK, "issuing", 0, now=now)
    with pytest.raises(CrlNotFound) as caught:
        publication.published(desk, "issuing", "shard", 0)
    assert caught.value.code == "crl_not_found"
    kinds = {type(each.value) for each in crl(desk).extensions}
    assert not kinds & {x509.FreshestCRL, x509.IssuingDistributionPoint}


def test_numbers_rise_with_every_list(desk: Desk, now: datetime) -> None:
    before = _numbers_given(desk)
    for _ in range(3):
        publication.publish_full(desk, CLOCKWORK, "sharded", now=now)
        publication.publish_delta(desk, CLOCKWORK, "sharded", now=now)
        publication.publish_shard(desk, CLOCKWORK, "sharded", 1, now=now)
    given = _numbers_given(desk)[len(before) :]
    assert given == sorted(set(given))
    assert given[0] > max(before)


def _numbers_given(desk: Desk) -> list[int]:
    """Numbers in the order in which lists were begun, without those of deltas that go with a full list."""
    query = (
        select(audit_events.c.object, audit_events.c.detail)
        .where(audit_events.c.action == "crl.sign", audit_events.c.object.like("crl:sharded:%"))
        .order_by(audit_events.c.id)
    )
    with desk.store.read() as connection:
        given = [(row.object, int(row.detail["number"])) for row in connection.execute(query)]
    full = {number for about, number in given if about.endswith(":full")}
    return [number for about, number in given if not (about.endswith(":delta") and number in full)]


def test_a_full_list_and_its_delta_have_the_same_number(desk: Desk, now: datetime) -> None:
    # RFC 5280 §5.2.3: issued at the same time they MUST have the same CRL number and tell the same.
    one, other = issue(desk), issue(desk)
    revocation.revoke(desk, OPERATOR, one.serial, "superseded", now=now - timedelta(minutes=5))
    drain(desk, now)
    base = crl(desk)
    later = now + HOUR
    revocation.revoke(desk, OPERATOR, other.serial, "keyCompromise", now=later)
    drain(desk, later)
    full, delta = crl(desk), crl(desk, kind="delta")
    assert number_of(full) == number_of(delta)
    assert full.last_update_utc == delta.last_update_utc
    indicator = delta.extensions.get_extension_for_class(x509.DeltaCRLIndicator)
    assert indicator.critical
    # It brings whoever holds the list before up to the new one.
    assert indicator.value.crl_number == number_of(base)
    assert listed(base) | listed(delta) == listed(full)
    assert listed(delta) == {other.serial: "keyCompromise"}


def test_a_delta_alone_relates_to_the_full_list_that_is_out(desk: Desk, now: datetime) -> None:
    one = issue(desk)
    base = crl(desk)
    later = now + HOUR
    revocation.revoke(desk, OPERATOR, one.serial, "superseded", now=later)
    publication.publish_delta(desk, CLOCKWORK, "issuing", now=later)
    delta = crl(desk, kind="delta")
    assert number_of(delta) > number_of(base)
    value = delta.extensions.get_extension_for_class(x509.DeltaCRLIndicator).value
    assert value.crl_number == number_of(base)
    assert listed(delta) == {one.serial: "superseded"}
    assert listed(crl(desk)) == {}


def test_without_a_full_list_there_is_no_delta(desk: Desk, now: datetime) -> None:
    with desk.store.write() as connection:
        connection.execute(delete(crls))
    with pytest.raises(CrlNotFound):
        publication.publish_delta(desk, CLOCKWORK, "issuing", now=now)
    publication.publish_full(desk, CLOCKWORK, "issuing", now=now)
    assert number_of(crl(desk, kind="delta")) == number_of(crl(desk))


def test_a_delta_takes_back_a_hold(desk: Desk, now: datetime) -> None:
    one = issue(desk)
    revocation.hold(desk, OPERATOR, one.serial, now=now)
    drain(desk, now)
    assert listed(crl(desk)) == {one.serial: "certificateHold"}
    later = now + HOUR
    revocation.release(desk, OPERATOR, one.serial, now=later)
    drain(desk, later)
    assert listed(crl(desk)) == {}
    # RFC 5280 §5.3.1: removeFromCRL may only appear in delta CRLs.
    assert listed(crl(desk, kind="delta")) == {one.serial: "removeFromCRL"}
    even_later = later + HOUR
    revocation.revoke(desk, OPERATOR, one.serial, "keyCompromise", now=even_later)
    drain(desk, even_later)
    assert listed(crl(desk)) == listed(crl(desk, kind="delta")) == {one.serial: "keyCompromise"}


def test_a_change_whose_transaction_ended_after_the_base_is_in_the_delta(
    desk: Desk, now: datetime
) -> None:
    # On PostgreSQL a revocation that began before the base may be committed after it was read.
    one = issue(desk)
    later = now + HOUR
    revocation.revoke(desk, OPERATOR, one.serial, "superseded", now=later - timedelta(seconds=20))
    with desk.store.write() as connection:
        row = connection.execute(select(revocations)).mappings().one()
        connection.execute(delete(revocations))
    publication.publish_full(desk, CLOCKWORK, "issuing", now=later)
    with desk.store.write() as connection:
        connection.execute(insert(revocations), dict(row))
    publication.publish_delta(desk, CLOCKWORK, "issuing", now=later + HOUR)
    assert listed(crl(desk)) == {}
    assert listed(crl(desk, kind="delta")) == {one.serial: "superseded"}


def test_the_serial_of_a_lost_signature_is_on_all_lists(
    desk: Desk, keys: Custody, now: datetime
) -> None:
    base = crl(desk, "sharded")
    keys.fail()
    with pytest.raises(IkewardenError):
        issue(desk, profile="gateway-sharded", authority="sharded")
    keys.heal()
    later = now + HOUR
    assert reconcile.settle(desk, CLOCKWORK, now=later) == 1
    publication.publish_delta(desk, CLOCKWORK, "sharded", now=later)
    (serial,) = listed(crl(desk, "sharded", "delta"))
    assert listed(base) == {}
    drain(desk, later)
    assert set(listed(crl(desk, "sharded"))) == {serial}
    assert set(listed(crl(desk, "sharded", "shard", int(serial, 16) % SHARDS))) == {serial}


# When entries leave


@pytest.mark.parametrize("what", ["revoked", "abandoned"])
def test_an_entry_stays_until_one_list_after_the_end_has_shown_it(
    desk: Desk, keys: Custody, now: datetime, what: str
) -> None:
    # RFC 5280 §5: MUST NOT be removed until it appears on one regularly scheduled CRL beyond the validity period.
    end = now + timedelta(hours=3)
    if what == "revoked":
        one = issue(desk, not_after=end)
        revocation.revoke(desk, OPERATOR, one.serial, "superseded", now=now)
    else:
        keys.fail()
        with pytest.raises(IkewardenError):
            issue(desk, not_after=end)
        keys.heal()
        reconcile.settle(desk, CLOCKWORK, now=now + timedelta(minutes=3))
    seen = []
    at = now + timedelta(minutes=5)
    while at < end + timedelta(hours=60):
        publication.publish_full(desk, CLOCKWORK, "issuing", now=at)
        seen.append((at > end, bool(listed(crl(desk)))))
        at += timedelta(hours=8)
    assert (True, True) in seen
    assert seen[-1] == (True, False)
    assert seen == sorted(seen, key=lambda each: (each[0], not each[1]))


def test_an_entry_waits_for_a_list_however_late_it_comes(desk: Desk, now: datetime) -> None:
    one = issue(desk, not_after=now + HOUR)
    revocation.revoke(desk, OPERATOR, one.serial, "superseded", now=now)
    drain(desk, now)
    # The scheduler was away for a week: the first list after it still shows the entry, the second does not.
    late = now + timedelta(days=7)
    publication.publish_full(desk, CLOCKWORK, "issuing", now=late)
    assert set(listed(crl(desk))) == {one.serial}
    publication.publish_full(desk, CLOCKWORK, "issuing", now=late + timedelta(hours=25))
    assert listed(crl(desk)) == {}


# Two at once


def test_an_older_list_never_replaces_a_newer_one(desk: Desk, keys: Custody, now: datetime) -> None:
    one = issue(desk)
    keys.hang()
    slow = _in_background(partial(publication.publish_full, desk, CLOCKWORK, "issuing", now=now))
    keys.wait_until_hanging()
    # The slow one has its number and its entries; then a revocation comes, and a quicker list with it.
    revocation.revoke(desk, OPERATOR, one.serial, "superseded", now=now)
    quick = reopened(desk, keys=Custody(keys.raw))
    publication.publish_full(quick, CLOCKWORK, "issuing", now=now)
    newest = number_of(crl(quick))
    keys.heal()
    slow()
    assert number_of(crl(desk)) == newest
    assert number_of(crl(desk, kind="delta")) == newest
    assert set(listed(crl(desk))) == {one.serial}


def _in_background(work: object) -> object:
    from concurrent.futures import ThreadPoolExecutor

    pool = ThreadPoolExecutor(1)
    assert callable(work)
    future = pool.submit(work)

    def finish() -> object:
        try:
            return future.result(60)
        finally:
            pool.shutdown()

    return finish


def test_many_who_publish_at_once_give_each_list_its_own_number(desk: Desk, now: datetime) -> None:
    made = [issue(desk, profile="gateway-sharded", authority="sharded") for _ in range(4)]
    before = len(_numbers_given(desk))
    works = [
        partial(publication.publish_full, desk, CLOCKWORK, "sharded", now=now),
        partial(publication.publish_delta, desk, CLOCKWORK, "sharded", now=now),
        *(
            partial(publication.publish_shard, desk, CLOCKWORK, "sharded", n, now=now)
            for n in range(SHARDS)
        ),
        *(
            partial(revocation.revoke, desk, OPERATOR, each.serial, "superseded", now=now)
            for each in made
        ),
    ]
    results = at_once(*works, *works[:2])
    assert [each for each in results if isinstance(each, Exception)] == []
    given = _numbers_given(desk)[before:]
    assert given == sorted(set(given))
    assert len(given) == 4 + SHARDS
    drain(desk, now)
    assert set(listed(crl(desk, "sharded"))) == {each.serial for each in made}
    assert number_of(crl(desk, "sharded")) > max(given)


def test_the_first_list_of_all_may_be_made_by_two_at_once(
    desk: Desk, second_store: Store, now: datetime
) -> None:
    with desk.store.write() as connection:
        connection.execute(delete(crls))
    other = reopened(desk, store=second_store)
    results = at_once(
        *(
            partial(publication.publish_full, each, CLOCKWORK, "issuing", now=now)
            for each in (desk, other) * 3
        )
    )
    assert [each for each in results if isinstance(each, Exception)] == []
    numbers = [each.number for each in results if not isinstance(each, Exception)]
    assert len(set(numbers)) == 6
    assert number_of(crl(desk)) == max(numbers)


# When lists are made anew


def test_lists_are_due_when_half_of_their_life_is_over(desk: Desk, now: datetime) -> None:
    assert publication.due(desk, CLOCKWORK, now=now) == []
    soon = now + desk.rules.delta_lifetime * 0.5
    kinds = {(name, kind) for name, kind, _ in publication.due(desk, CLOCKWORK, now=soon)}
    assert kinds == {(name, "delta") for name in ("root", "issuing", "sharded")}
    later = now + desk.rules.crl_lifetime * 0.5
    assert len(publication.due(desk, CLOCKWORK, now=later)) == 3 * 2 + SHARDS


def test_the_job_makes_what_is_due_and_leaves_nothing(desk: Desk, now: datetime) -> None:
    later = now + timedelta(hours=13)
    assert refresh_crls(desk, later) == {"published": 3 + SHARDS}
    assert publication.due(desk, CLOCKWORK, now=later) == []
    assert crl(desk).next_update_utc == later + desk.rules.crl_lifetime


def test_one_list_that_cannot_be_made_does_not_stop_the_others(
    desk: Desk, keys: Custody, now: datetime
) -> None:
    root = authorities.load(desk, "root").key_uri.removeprefix("fake:")

    def refuse(name: str) -> None:
        if name == root:
            raise SignerUnavailable("The root's key is away.")

    fresh = reopened(desk)
    keys.before = refuse
    later = now + timedelta(hours=13)
    with pytest.raises(IkewardenError) as caught:
        refresh_crls(fresh, later)
    assert caught.value.code == "job_items_failed"
    left = publication.due(fresh, CLOCKWORK, now=later)
    assert {name for name, _, _ in left} == {"root"}


def test_staleness_tells_when_each_list_ends(desk: Desk, now: datetime) -> None:
    ends = publication.staleness(desk, CLOCKWORK)
    assert len(ends) == 3 * 2 + SHARDS
    assert {end for _, kind, _, end in ends if kind == "full"} == {now + desk.rules.crl_lifetime}


def test_published_numbers_are_those_of_the_lists(desk: Desk) -> None:
    assert publication.published_number(desk, "issuing", "full") == number_of(crl(desk))
    assert publication.published_number(desk, "issuing", "shard", 0) is None


def test_publishing_leaves_its_trail(desk: Desk, now: datetime) -> None:
    before = len(trail(desk, "crl:issuing:full"))
    publication.publish_full(desk, CLOCKWORK, "issuing", now=now)
    assert trail(desk, "crl:issuing:full")[before:] == [
        ("crl.sign", "intent"),
        ("crl.publish", "ok"),
    ]


def test_a_dead_signer_leaves_the_list_that_was_out(
    desk: Desk, keys: Custody, now: datetime
) -> None:
    before = publication.published(desk, "issuing", "full")
    keys.fail()
    with pytest.raises(IkewardenError) as caught:
        publication.publish_full(desk, CLOCKWORK, "issuing", now=now)
    assert caught.value.code == "signer_unavailable"
    assert publication.published(desk, "issuing", "full") == before


def test_ten_thousand_entries_are_published(desk: Desk, now: datetime) -> None:
    one = issue(desk)
    revocation.revoke(desk, OPERATOR, one.serial, "keyCompromise", now=now)
    with desk.store.read() as connection:
        known = dict(connection.execute(select(certificates)).mappings().all()[-1])
        ended = dict(connection.execute(select(revocations)).mappings().one())
    numbers = [serials.from_random(n.to_bytes(16, "big"), now) for n in range(10_000)]
    rows, gone = [], []
    for place, number in enumerate(numbers, start=1000):
        text = serials.to_hex(number)
        rows.append({**known, "id": place, "serial": text, "fingerprint": None})
        gone.append(
            {
                **ended,
                "certificate_id": place,
                "serial": text,
                "entry": entry(number, now, Reason.superseded, None),
            }
        )
    with desk.store.write() as connection:
        connection.execute(insert(certificates), rows)
        connection.execute(insert(revocations), gone)
    drain(desk, now)
    found = crl(desk)
    assert len(found) == 10_001
    assert found.get_revoked_certificate_by_serial_number(numbers[7_777]) is not None
    assert found.get_revoked_certificate_by_serial_number(int(one.serial, 16)) is not None


def test_the_counter_row_is_the_only_source_of_numbers(desk: Desk, now: datetime) -> None:
    with desk.store.write() as connection:
        connection.execute(crl_numbers.update().values(number=5_000_000_000))
    assert publication.publish_full(desk, CLOCKWORK, "issuing", now=now).number == 5_000_000_001
