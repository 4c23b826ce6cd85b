"""What we do ourselves does not alarm; the same without us does."""

from collections.abc import Callable

import pytest
from sqlalchemy import insert, select

from fleet import commands, revoking
from fleet.monitoring import planned
from fleet.tunnels import Peer
from ike.events.event import SaEvent
from pki.desk import Desk
from store.fleet_tables import tunnels
from store.rotation_tables import secret_slots
from tests.fixtures.desk import NOW, OPERATOR, drain
from tests.fleet.crew import Member, connect, enlist, later
from tests.fleet.monitoring import alerts_of, sent

NAME = "left-right"
# Long after both have got their first certificates.
AFTER = 200_000
Pair = tuple[Member, Member]


@pytest.fixture
def pair(desk: Desk) -> Pair:
    left, right = enlist(desk, "left.example"), enlist(desk, "right.example")
    connect(desk, NAME, left, right)
    connect(desk, "other", left, Peer("bank", ("dns:vpn.bank.example",)))
    return left, right


def line(after: float, kind: str, number: int, name: str) -> SaEvent:
    return SaEvent(
        kind,
        0,
        later(AFTER + after).timestamp(),
        source="198.51.100.7",
        name=name,
        identity="right",
        ike_id=number,
    )


def flaps(name: str = NAME) -> list[SaEvent]:
    """It comes up and goes down again, ten times in five minutes."""
    return [
        line(30 * number + shift, kind, number, name)
        for number in range(10)
        for shift, kind in ((0, "ike_established"), (15, "ike_deleted"))
    ]


def revoked() -> list[SaEvent]:
    """The other end tries with a certificate that was revoked."""
    return [line(60 * number, "cert_revoked", number, NAME) for number in range(4)]


def kinds(left: Member, events: list[SaEvent]) -> list[str]:
    now = later(AFTER + 400)
    sent(left, events, until=now, now=now)
    return [each.kind for each in alerts_of(left.desk)]


def ask(kind: str, connection: str | None) -> Callable[[Member, Member], object]:
    return lambda left, _: commands.give(
        left.desk, OPERATOR, left.name, kind, connection, now=later(AFTER)
    )


OURS: list[tuple[str, Callable[[Member, Member], object]]] = [
    ("a renewal", lambda left, _: left.renew(now=later(AFTER))),
    ("a renewal of its peer", lambda _, right: right.renew(now=later(AFTER))),
    ("an order to renew", ask("renew", None)),
    ("an order to authenticate", ask("reauthenticate", NAME)),
]


@pytest.mark.parametrize(("_what", "act"), OURS, ids=[what for what, _ in OURS])
def test_what_we_did_does_not_alarm(
    pair: Pair, _what: str, act: Callable[[Member, Member], object]
) -> None:
    act(*pair)
    assert kinds(pair[0], flaps()) == []


def test_the_same_without_us_alarms(pair: Pair) -> None:
    assert kinds(pair[0], flaps()) == ["sa_flapping"]


def test_what_we_did_elsewhere_explains_nothing(pair: Pair) -> None:
    pair[1].renew(now=later(AFTER))
    ask("reauthenticate", NAME)(*pair)
    assert kinds(pair[0], flaps("other")) == ["sa_flapping"]


def test_an_order_that_is_never_carried_out_explains_nothing_for_ever(pair: Pair) -> None:
    commands.give(pair[0].desk, OPERATOR, pair[0].name, "renew", None, now=later(AFTER - 90_000))
    assert kinds(pair[0], flaps()) == ["sa_flapping"]


def test_the_one_that_is_cut_off_may_knock(pair: Pair) -> None:
    left, right = pair
    revoking.revoke(
        left.desk, OPERATOR, right.leaf.serial, "superseded", now=later(AFTER), confirmed=None
    )
    drain(left.desk, later(AFTER))
    with left.desk.store.read() as connection:
        ours = planned.at_gateway(connection, left.number, later(AFTER))
    assert {(each.purpose, each.connection) for each in ours} == {("cut", NAME)}
    assert kinds(left, sorted([*flaps(), *revoked()], key=lambda each: each.time or 0.0)) == []


def test_who_was_not_cut_off_may_not(pair: Pair) -> None:
    assert kinds(pair[0], revoked()) == ["certificate_rejected"]


def storm(count: int, name: str = NAME) -> list[SaEvent]:
    """It comes up, and is rekeyed each second."""
    first = [line(0, kind, 1, name) for kind in ("ike_established", "child_established")]
    rekeys = [
        line(1.0 + step, "child_rekeyed", 1, name)._replace(child_id=step, new_child_id=step + 1)
        for step in range(count)
    ]
    return [first[0], first[1]._replace(child_id=0), *rekeys]


def has_secret(desk: Desk, name: str) -> None:
    with desk.store.write() as connection:
        query = select(tunnels.c.id).where(tunnels.c.name == name)
        connection.execute(
            insert(secret_slots).values(
                tunnel_id=connection.execute(query).scalar_one(),
                kind="psk",
                name=f"{name}.psk",
                path="a",
                left_keys=[],
                right_keys=[],
                policy={},
                last_version=0,
                created_at=NOW,
                created_by="test",
            )
        )


def test_a_renewal_explains_a_few_rekeys(pair: Pair) -> None:
    pair[0].renew(now=later(AFTER))
    assert kinds(pair[0], storm(4)) == []


def test_a_renewal_explains_no_storm(pair: Pair) -> None:
    for _ in range(8):
        pair[0].renew(now=later(AFTER))
    assert kinds(pair[0], storm(25)) == ["rekey_too_fast"]


def test_a_renewal_explains_nothing_where_a_pre_shared_key_is(pair: Pair) -> None:
    has_secret(pair[0].desk, NAME)
    pair[0].renew(now=later(AFTER))
    assert kinds(pair[0], storm(8)) == ["rekey_too_fast"]


def test_a_renewal_explains_as_many_where_none_is(pair: Pair) -> None:
    pair[0].renew(now=later(AFTER))
    assert kinds(pair[0], storm(8)) == []
