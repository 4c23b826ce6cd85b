"""What is counted for those who watch: right, the same for all, and no series for each of very many things."""

from datetime import timedelta
from typing import Any

import pytest

from core.figures import Family, Figure, Labels
from core.secret import Secret
from fleet import census, figures, gateways
from fleet.figures import families, gathering
from fleet.gateways import GatewayRequest
from fleet.monitoring import shown
from fleet.rotation import ages, slots
from fleet.rotation.imports import Import
from fleet.rotation.policies import PolicyChange
from fleet.rotation.slots import SlotRequest
from pki import census as certificates
from pki.actors import Actor, Role, Scope
from pki.desk import Desk
from scheduler.jobs import SCHEDULER
from store import figures as kept
from tests.fixtures.desk import ADMIN, NOW, OPERATOR
from tests.fleet.crew import connect, enlist
from tests.fleet.monitoring import after, event, sent
from tests.role_table import READERS, Call, S, check_asked_first, check_complete, check_row, name_of

DAY = timedelta(days=1)

TABLE: dict[Any, tuple[set[Role], Call]] = {
    families.count: (READERS, lambda d, a: families.count(d, a, now=NOW)),
    gathering.gather: ({S}, lambda d, a: gathering.gather(d, a, now=NOW)),
    gathering.read: (READERS, lambda d, a: gathering.read(d, a, now=NOW)),
}


def test_every_operation_has_a_row() -> None:
    check_complete(TABLE, figures, set())


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("operation", TABLE, ids=name_of)
def test_operations_and_roles(shared_desk: Desk, operation: Any, role: Role) -> None:
    check_row(shared_desk, TABLE[operation], role)


def test_the_role_is_asked_for_before_anything_is_looked_at() -> None:
    check_asked_first(TABLE)


def of(family: Family, told: list[Figure]) -> dict[Labels, float]:
    """What there is of a family, without zeroes."""
    [found] = [each for each in told if each.family is family]
    return {labels: number for labels, number in found.samples.items() if number}


def test_certificates_by_what_is_left_of_their_life(desk: Desk) -> None:
    gateway = enlist(desk, "gw.example")
    # The authority has certificates of its own, too.
    tied = Actor("olga", Role.OPERATOR, scope=Scope(gateway="gw.example"))

    def told(left: timedelta) -> tuple[dict[Labels, float], dict[Labels, float]]:
        found = certificates.figures(desk, tied, now=gateway.leaf.not_after - left)
        return of(certificates.REMAINING, found), of(certificates.UNRENEWED, found)

    assert told(80 * DAY) == ({("issuing", "30d_to_90d"): 1}, {})
    assert told(20 * DAY) == ({("issuing", "7d_to_30d"): 1}, {})
    assert told(2 * DAY) == ({("issuing", "1d_to_7d"): 1}, {("issuing", "1d_to_7d"): 1})
    assert told(DAY / 2) == ({("issuing", "under_1d"): 1}, {("issuing", "under_1d"): 1})
    ended = certificates.figures(desk, tied, now=gateway.leaf.not_after)
    assert of(certificates.CERTIFICATES, ended) == {("expired",): 1}
    assert of(certificates.UNRENEWED, ended) == {}
    before = gateway.leaf
    gateway.renew(now=before.not_after - 3 * DAY)
    found = certificates.figures(desk, OPERATOR, now=before.not_after - 2 * DAY)
    assert of(certificates.UNRENEWED, found) == {}


def test_gateways_by_when_they_were_heard_of(desk: Desk) -> None:
    enlist(desk, "heard.example").report()
    gateways.create(desk, ADMIN, GatewayRequest("new.example", ("dns:new.example",)), now=NOW)
    for later, reach in ((0, "seen"), (10, "late"), (70, "silent")):
        told = census.figures(desk, OPERATOR, now=NOW + timedelta(minutes=later))
        assert of(census.GATEWAYS, told) == {(reach,): 1, ("never",): 1}


def test_keys_by_age_and_policy(desk: Desk) -> None:
    left, right = enlist(desk, "a.example"), enlist(desk, "b.example")
    connect(desk, "t", left, right)
    connect(desk, "bare", left, right)
    typed = Import(Secret(b"7Hq!mZ7wXt2#LpVk-and-some-more"), since=NOW - 20 * DAY)
    slots.create(desk, ADMIN, "t", SlotRequest(imported=typed), now=NOW)
    slots.change(desk, ADMIN, "t.psk", PolicyChange(interval_days=40), now=NOW)
    told = census.figures(desk, OPERATOR, now=NOW)
    assert of(census.TUNNELS, told) == {("managed",): 1, ("unmanaged",): 1}
    for later, age, overdue in ((0, "under_30d", 0), (29, "30d_to_90d", 0), (31, "30d_to_90d", 1)):
        found = ages.figures(desk, OPERATOR, now=NOW + later * DAY)
        assert of(ages.BY_AGE, found) == {("psk", age): 1}
        assert of(ages.OVERDUE, found) == ({("psk",): 1} if overdue else {})


def test_all_are_told_what_was_counted_last_and_the_limited_what_is_theirs(desk: Desk) -> None:
    enlist(desk, "one.example").report()
    first = gathering.read(desk, OPERATOR, now=NOW)
    assert of(census.GATEWAYS, first) == {("seen",): 1}
    assert gathering.gather(desk, SCHEDULER, now=NOW) == sum(
        len(each.samples) for each in first if each.family is not gathering.COUNTED_AT
    )
    enlist(desk, "two.example").report()
    soon = NOW + timedelta(seconds=50)
    kept = gathering.read(desk, OPERATOR, now=soon)
    assert of(census.GATEWAYS, kept) == {("seen",): 1}
    assert of(gathering.COUNTED_AT, kept) == {(): NOW.timestamp()}
    tied = Actor("olga", Role.OPERATOR, scope=Scope(gateway="two.example"))
    assert of(census.GATEWAYS, gathering.read(desk, tied, now=soon)) == {("seen",): 1}
    gathering.gather(desk, SCHEDULER, now=soon)
    assert of(census.GATEWAYS, gathering.read(desk, OPERATOR, now=soon)) == {("seen",): 2}
    # Nobody counts any more: whoever looks does.
    late = gathering.read(desk, OPERATOR, now=NOW + timedelta(hours=2))
    assert of(census.GATEWAYS, late) == {("silent",): 2}


def test_what_another_version_counted_is_let_be(desk: Desk) -> None:
    document = {"ikewarden_gateways": [[["seen", "more"], 1]], "ikewarden_novel": [[[], 1]]}
    with desk.store.write() as connection:
        kept.keep(connection, "fleet", document, NOW)
    told = gathering.read(desk, OPERATOR, now=NOW)
    assert [each.family for each in told] == [gathering.COUNTED_AT]


def test_a_large_fleet_is_told_of_as_one(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.example", "b.example", "c.example"):
        member = enlist(desk, name)
        told = [event(), event("child_established", 1, child="net", child_id=1)]
        told += [
            event("child_rekeyed", 60 * n, child="net", child_id=n, new_child_id=n + 1)
            for n in (1, 2)
        ]
        nobody = dict.fromkeys(("peer", "source", "connection", "name", "ike_id"))
        told.append(event("counted", 130, reason="refused", number=3, **nobody))
        sent(member, told, until=after(500))
    assert len(shown.figures(desk, OPERATOR).rekeys) == 3
    monkeypatch.setattr(shown, "MOST_SERIES", 2)
    found = shown.figures(desk, OPERATOR)
    assert found.rekeys == {("", "", "child_rekeyed"): 6}
    assert found.counters == {("", "refused"): 9}
