"""The records know when a rekey is due: the rules are right from the first hour."""

from dataclasses import replace
from datetime import timedelta

import pytest

from fleet import tunnels
from fleet.definitions import ChildDefinition, Definition
from fleet.monitoring import bounds
from fleet.tunnels import TunnelRequest
from ike.detection.bounds import Bounds, Lifetime
from ike.events.event import SaEvent
from pki.desk import Desk
from tests.fixtures.desk import NOW, OPERATOR
from tests.fleet.crew import Member, connect, enlist
from tests.fleet.monitoring import alerts_of, sent

NAME = "left-right"


def child(name: str, seconds: int | None) -> ChildDefinition:
    return ChildDefinition(name, ("10.1.0.0/16",), ("10.2.0.0/16",), rekey_seconds=seconds)


def definition(ike: int | None, *children: int | None) -> Definition:
    made = tuple(child(f"net{number}", each) for number, each in enumerate(children))
    return Definition(("192.0.2.1",), ("192.0.2.2",), made, rekey_seconds=ike)


def life(seconds: float, earlier: float) -> Lifetime:
    return Lifetime(seconds, earlier, 1.1 * seconds)


@pytest.mark.parametrize(
    ("wished", "daemon", "expected"),
    [
        (definition(None, None), "strongswan", Bounds()),
        (
            definition(14_400, 3600),
            "strongswan",
            Bounds(life(14_400, 1440), life(3600, 360)),
        ),
        # Of several children the shortest, if all are told.
        (
            definition(None, 7200, 3600),
            "strongswan",
            Bounds(child=life(3600, 360)),
        ),
        (definition(None, 7200, None), "strongswan", Bounds()),
        # pluto: up to two margins of nine minutes, or of a tenth.
        # IKEv1 authenticates afresh where IKEv2 rekeys.
        (
            replace(definition(14_400, 3600), ike_version=1),
            "strongswan",
            Bounds(child=life(3600, 360), reauth_time=14_400.0),
        ),
        (
            definition(None, 7200),
            "libreswan",
            Bounds(child=life(7200, 1080)),
        ),
        (definition(None, 600), "libreswan", Bounds(child=life(600, 122))),
    ],
)
def test_a_definition_says_when(wished: Definition, daemon: str, expected: Bounds) -> None:
    assert bounds.of(wished, ("strongswan", daemon)) == expected


@pytest.fixture
def pair(desk: Desk) -> tuple[Member, Member]:
    left, right = enlist(desk, "left.example"), enlist(desk, "right.example")
    request = TunnelRequest(NAME, left.name, right.name, definition=definition(14_400, 3600))
    tunnels.create(desk, OPERATOR, request, now=NOW)
    connect(desk, "unmanaged", left, right)
    return left, right


def known(member: Member) -> dict[str, Bounds]:
    with member.desk.store.read() as connection:
        found = bounds.AtGateway(connection, member.number, [NAME])
        assert found.get("unmanaged") is None
        return dict(found)


def test_bounds_are_read_when_they_are_asked_for(pair: tuple[Member, Member]) -> None:
    for each in pair:
        each.report()
    with pair[0].desk.store.read() as connection:
        found = bounds.AtGateway(connection, pair[0].number, [f"other-{n}" for n in range(1200)])
        assert dict(found) == {}
        assert found[NAME].child == life(3600, 360)
        assert dict(found) == {NAME: found[NAME]}


def test_bounds_are_known_when_both_daemons_are(pair: tuple[Member, Member]) -> None:
    left, right = pair
    left.report()
    assert known(left) == {}
    right.report()
    assert list(known(left)) == [NAME]
    assert known(left) == known(right)


def rekeyed(*ages: float) -> list[SaEvent]:
    """A tunnel that came up three hours ago, and rekeys at these ages."""
    at = (NOW - timedelta(hours=3)).timestamp()

    def made(kind: str, after: float, number: int) -> SaEvent:
        return SaEvent(
            kind,
            0,
            at + after,
            source="192.0.2.2",
            name=NAME,
            ike_id=1,
            child="net0",
            child_id=number,
            spi_in=f"c{number:07x}",
            spi_out=f"d{number:07x}",
        )

    events = [made("ike_established", 0, 0), made("child_established", 0, 1)]
    after = 0.0
    for number, age in enumerate(ages, 1):
        after += age
        new = made("child_rekeyed", after, number + 1)
        events.append(new._replace(child_id=number, new_child_id=number + 1))
    return events


@pytest.mark.parametrize(
    ("ages", "expected"),
    [
        ((3400, 3500), []),
        ((900, 900, 900, 900, 900, 900, 900), ["rekey_too_fast"]),
        ((3400,), ["rekey_missed"]),
    ],
)
def test_the_first_hours_are_judged(
    pair: tuple[Member, Member], ages: tuple[float, ...], expected: list[str]
) -> None:
    left, right = pair
    left.report()
    right.report()
    now = NOW + timedelta(minutes=10)
    sent(left, rekeyed(*ages), until=now, now=now)
    assert [each.kind for each in alerts_of(left.desk)] == expected


def test_what_goes_on_without_a_pause_is_judged_meanwhile(pair: tuple[Member, Member]) -> None:
    """An agent that hears one event after the other cannot say up to when all is told: what it said stays."""
    left, right = pair
    left.report()
    right.report()
    made = rekeyed(*[0.1] * 200)
    begun = NOW - timedelta(hours=3, seconds=2)
    for first in range(0, len(made), 10):
        sent(left, made[first : first + 10], first, until=begun)
    assert [each.kind for each in alerts_of(left.desk)] == ["rekey_too_fast"]


def test_without_bounds_nothing_is_known_yet(pair: tuple[Member, Member]) -> None:
    now = NOW + timedelta(minutes=10)
    sent(pair[0], rekeyed(3400), until=now, now=now)
    assert alerts_of(pair[0].desk) == []


@pytest.mark.parametrize(("heard", "expected"), [(True, ["rekey_missed"]), (False, [])])
def test_while_nobody_is_heard_rekeys_are_not_missed(
    pair: tuple[Member, Member], heard: bool, expected: list[str]
) -> None:
    """An agent that is stopped hears nothing of what charon tells over VICI meanwhile."""
    left, right = pair
    left.report()
    right.report()
    at = NOW - timedelta(hours=3)
    sent(left, rekeyed(), until=at, now=at)
    for minutes in range(4, 180, 4) if heard else ():
        now = at + timedelta(minutes=minutes)
        sent(left, [], 2, until=now, now=now)
    sent(left, [], 2, until=NOW, now=NOW)
    assert [each.kind for each in alerts_of(left.desk)] == expected
