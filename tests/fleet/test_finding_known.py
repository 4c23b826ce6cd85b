"""One known thing on many gateways: counted, accepted at once, and on record as if each were accepted alone."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from core.errors import IkewardenError
from fleet.findings import known, orders, shown
from fleet.findings.known import Accepted, Known
from ike.audit.values import Severity
from pki.actors import Actor, Role, Scope
from pki.desk import Desk
from store.tables import audit_events
from tests.fixtures.desk import NOW, OPERATOR
from tests.fleet.auditing import all_of, audited, found
from tests.fleet.crew import Member, enlist, later

WEAK, OTHER = found(), found(path="/etc/swanctl/swanctl.conf")
UNTIL = NOW + timedelta(days=30)
HERE = Known(WEAK.rule, WEAK.path, None)


@pytest.fixture
def fleet(desk: Desk) -> list[Member]:
    members = [enlist(desk, f"gw{number}.example") for number in range(3)]
    for each in members:
        audited(each, WEAK, OTHER, found(WEAK.rule, subject="two"))
    return members


def test_what_many_gateways_have_is_counted_then_accepted(desk: Desk, fleet: list[Member]) -> None:
    first = all_of(desk, gateway="gw0.example")[0]
    orders.accept(desk, OPERATOR, first.id, later(60), "of its own", now=NOW)
    assert known.count(desk, OPERATOR, HERE) == Accepted(5, 3)
    assert all_of(desk, state="accepted", gateway="gw1.example") == []
    done = known.accept(desk, OPERATOR, HERE, UNTIL, "the old router", now=NOW)
    assert done == Accepted(5, 3)
    assert known.count(desk, OPERATOR, HERE) == Accepted(0, 0)
    accepted = {each.id: each for each in all_of(desk, state="accepted")}
    assert len(accepted) == 6
    # What was accepted already keeps its reason and its end.
    assert (accepted.pop(first.id).accepted_why, len(accepted)) == ("of its own", 5)
    assert {(each.path, each.accepted_until, each.accepted_why) for each in accepted.values()} == {
        (WEAK.path, UNTIL, "the old router")
    }
    assert {each.path for each in all_of(desk, state="open")} == {OTHER.path}
    for number in accepted:
        latest = shown.finding(desk, OPERATOR, number).history[0]
        assert (latest.state, latest.why, latest.until) == ("accepted", "the old router", UNTIL)
    with desk.store.read() as connection:
        wanted = audit_events.c.action == "finding.accept"
        rows = connection.execute(select(audit_events).where(wanted)).all()
    assert {row.detail["finding"] for row in rows} == {first.id, *accepted}
    # What is found later is open: it was not known.
    audited(fleet[0], WEAK, found(WEAK.rule, subject="three"), now=later(60))
    assert [each.subject for each in all_of(desk, gateway="gw0.example", state="open")] == ["three"]


def test_of_one_gateway_only(desk: Desk, fleet: list[Member]) -> None:
    one = Known(OTHER.rule, OTHER.path, "gw1.example")
    assert known.accept(desk, OPERATOR, one, UNTIL, "a lab", now=NOW) == Accepted(1, 1)
    assert [each.gateway for each in all_of(desk, state="accepted")] == ["gw1.example"]
    with pytest.raises(IkewardenError) as refused:
        known.count(desk, OPERATOR, Known(WEAK.rule, WEAK.path, "no.example"))
    assert refused.value.code == "gateway_not_found"


def test_many_are_accepted_in_steps_and_what_is_left_is_told(
    desk: Desk, fleet: list[Member], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known, "_BATCH", 2)
    monkeypatch.setattr(known, "MOST", 3)
    assert known.accept(desk, OPERATOR, HERE, UNTIL, "a lab", now=NOW) == Accepted(3, 2, 3)
    assert known.accept(desk, OPERATOR, HERE, UNTIL, "a lab", now=NOW).left == 0
    assert len(all_of(desk, state="accepted")) == 6


def test_an_operator_of_one_gateway_accepts_nothing_of_another(
    desk: Desk, fleet: list[Member]
) -> None:
    tied = Actor("tied", Role.OPERATOR, scope=Scope(gateway="gw1.example"))
    for gateway in (None, "gw0.example"):
        wanted = Known(WEAK.rule, WEAK.path, gateway)
        with pytest.raises(IkewardenError) as refused:
            known.accept(desk, tied, wanted, UNTIL, "a lab", now=NOW)
        assert refused.value.code == "outside_scope"
        with pytest.raises(IkewardenError):
            known.count(desk, tied, wanted)
    assert all_of(desk, state="accepted") == []
    wanted = Known(WEAK.rule, WEAK.path, "gw1.example")
    assert known.accept(desk, tied, wanted, UNTIL, "a lab", now=NOW).findings == 2


def test_it_has_a_reason_and_an_end_and_ends_with_what_gets_worse(
    desk: Desk, fleet: list[Member]
) -> None:
    for until, why in ((UNTIL, " "), (NOW, "late"), (NOW + timedelta(days=2000), "long")):
        with pytest.raises(IkewardenError) as refused:
            known.accept(desk, OPERATOR, HERE, until, why, now=NOW)
        assert refused.value.code == "acceptance_refused"
    known.accept(desk, OPERATOR, HERE, UNTIL, "a lab", now=NOW)
    audited(fleet[0], found(severity=Severity.CRITICAL), now=later(60))
    [worse] = all_of(desk, severity="critical")
    assert worse.state == "open"
