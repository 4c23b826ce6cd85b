"""How tunnels fared: counted right, the worst first, bounded, for those who may know."""

from datetime import timedelta, timezone

import pytest
from sqlalchemy import select, text

from fleet.gateways import GatewayNotFound
from fleet.monitoring import health
from fleet.monitoring.health import HealthFigures, HealthQuery
from pki.actors import RoleMayNot
from pki.certificates import BadQuery
from pki.desk import Desk
from store.monitoring_tables import sa_days
from store.schema import migrate
from tests.fixtures.desk import CLOCKWORK, NOW, OPERATOR
from tests.fixtures.older import BEFORE_SEARCH
from tests.fleet.crew import enlist
from tests.fleet.monitoring import CONNECTION, START, after, event, failures, sent

HOUR = timedelta(hours=1)


def made(desk: Desk, **query: object) -> HealthFigures:
    return health.report(desk, OPERATOR, HealthQuery(**query), now=NOW)  # type: ignore[arg-type]


def test_connections_are_told_of_the_worst_first(desk: Desk) -> None:
    good, bad = enlist(desk, "a-good.example"), enlist(desk, "b-bad.example")
    fine = [
        event(),
        event("child_established", 1, child="net", child_id=1),
        event("child_rekeyed", 60, child="net", child_id=1, new_child_id=2),
        event("ike_rekeyed", 90, ike_id=2, old_ike_id=1),
        event("auth_failed", 100, connection="other", name="other", ike_id=3, reason="psk"),
    ]
    sent(good, fine, until=after(120))
    sent(bad, failures(), until=after(60))
    found = made(desk)
    assert [(each.gateway, each.connection) for each in found.worst] == [
        ("b-bad.example", CONNECTION),
        ("a-good.example", "other"),
        ("a-good.example", CONNECTION),
    ]
    worst, middle, best = found.worst
    assert (worst.worst, worst.open, worst.past) == ("high", {"auth_failures": 1}, {})
    assert (worst.failures, worst.failed) == ({"auth_failed/psk": 10}, 10)
    assert (worst.authenticated_at, worst.idle_hours) == (None, None)
    assert worst.heard_at == after(0).replace(minute=0, second=0)
    assert (middle.worst, middle.failures) == (None, {"auth_failed/psk": 1})
    assert (best.rekeys, best.established, best.children, best.failed) == (2, 1, 1, 0)
    assert best.authenticated_at == after(0).replace(minute=0, second=0)
    assert best.idle_hours in {0, 1}
    assert (found.connections, found.more, found.open, found.failed) == (3, 0, 1, 11)
    assert [each.gateway for each in made(desk, connections=1).worst] == ["b-bad.example"]
    assert made(desk, connections=1).more == 2
    only = made(desk, gateway="a-good.example")
    assert {each.gateway for each in only.worst} == {"a-good.example"}
    assert (only.open, only.connections) == (0, 2)


def test_a_past_alert_and_another_time(desk: Desk) -> None:
    member = enlist(desk, "gw.example")
    sent(member, failures(after=-5 * 3600), until=after(60 - 5 * 3600))
    sent(member, [], 10, until=after(0))
    [row] = made(desk).worst
    assert (row.worst, row.open, row.past) == (None, {}, {"auth_failures": 1})
    before = made(desk, until=NOW - timedelta(days=2))
    assert (before.worst, before.connections) == ((), 0)
    assert made(desk, since=NOW - 2 * HOUR).worst[0].failed == 0


def test_an_empty_fleet(desk: Desk) -> None:
    assert (made(desk).worst, made(desk).rekeys, made(desk).more) == ((), 0, 0)
    nothing = made(desk).nothing
    assert nothing is not None
    assert "No gateway is registered" in nothing.why
    assert "ikewarden gateway add" in nothing.next_step


@pytest.mark.parametrize("only", [None, "gw.example"])
def test_a_fleet_of_which_nothing_was_ever_told(desk: Desk, only: str | None) -> None:
    enlist(desk, "gw.example")
    nothing = made(desk, gateway=only).nothing
    assert nothing is not None
    assert "never" in nothing.why
    assert ("gw.example" in nothing.why) == (only is not None)
    assert "ikewarden agent status" in nothing.next_step


def test_a_time_of_which_nothing_was_told(desk: Desk) -> None:
    member, other = enlist(desk, "gw.example"), enlist(desk, "other.example")
    sent(member, [event()], until=after(60))
    assert made(desk).nothing is None
    assert made(desk, connections=0).nothing is None
    before = made(desk, until=NOW - timedelta(days=2)).nothing
    assert before is not None
    assert f"{NOW:%Y-%m-%d}" in before.why
    assert "--since" in before.next_step
    never = made(desk, gateway=other.name).nothing
    assert never is not None
    assert "never" in never.why


@pytest.mark.parametrize(
    "query",
    [
        {"connections": 10_001},
        {"connections": -1},
        {"since": NOW - timedelta(days=101)},
        {"since": NOW + HOUR},
    ],
)
def test_what_is_too_much_is_refused(desk: Desk, query: dict[str, object]) -> None:
    with pytest.raises(BadQuery):
        made(desk, **query)


def test_a_time_that_ends_before_it_begins_is_told_from_one_that_is_too_long(desk: Desk) -> None:
    with pytest.raises(BadQuery, match="begins before it ends"):
        made(desk, since=NOW, until=NOW - HOUR)
    with pytest.raises(BadQuery, match="begins before it ends"):
        made(desk, since=NOW + HOUR)
    with pytest.raises(BadQuery, match="100 days"):
        made(desk, since=NOW - timedelta(days=101))


def test_who_may_not_know_is_told_nothing(desk: Desk) -> None:
    with pytest.raises(RoleMayNot):
        health.report(desk, CLOCKWORK, HealthQuery(), now=NOW)
    with pytest.raises(GatewayNotFound):
        made(desk, gateway="no.example")


def test_days_and_hours_together_are_what_the_hours_are(desk: Desk) -> None:
    """A report adds up days where they are whole; whatever its time, that is what counting hours comes to."""
    member = enlist(desk, "gw.example")
    midnight = NOW.replace(hour=0, minute=0, second=0)
    hours = [*range(-80, 0, 3), -24, -1, 0, 1]
    times = [midnight + number * HOUR + timedelta(minutes=7) for number in hours]
    times = [each for each in times if each < NOW]
    events = [
        event("ike_rekeyed", (at - START).total_seconds(), ike_id=n + 1, old_ike_id=n)
        for n, at in enumerate(sorted(times))
    ]
    sent(member, events, until=NOW)
    for begin in (-80, -73, -72, -71, -48, -25, -24, -23, -2):
        for end in (-72, -49, -48, -47, -1, 0, 5, None):
            since = midnight + begin * HOUR
            until = NOW if end is None else midnight + end * HOUR
            if since >= until:
                continue
            wanted = sum(since <= each - timedelta(minutes=7) < until for each in times)
            assert made(desk, since=since, until=until).rekeys == wanted, (begin, end)
    other = timezone(timedelta(hours=5, minutes=30))
    since = (midnight - 30 * HOUR).astimezone(other)
    told = made(desk, since=since, until=NOW)
    assert told.rekeys == sum(since - HOUR / 2 <= each - timedelta(minutes=7) for each in times)


def test_days_are_added_up_from_the_hours_of_an_older_database(desk: Desk, store_url: str) -> None:
    events = [
        event(
            "child_rekeyed",
            (number - 9) * 7 * 3600,
            child="net",
            child_id=number,
            new_child_id=number + 1,
        )
        for number in range(10)
    ]
    sent(enlist(desk, "gw.example"), events, until=after(60))
    query = select(sa_days).order_by(*sa_days.primary_key.columns)
    with desk.store.write() as connection:
        before = connection.execute(query).all()
        for statement in BEFORE_SEARCH:
            connection.execute(text(statement))
        for table in (
            "sa_days",
            "cross_certificates",
            "rollovers",
            "acme_challenges",
            "acme_authorizations",
            "acme_orders",
            "acme_accounts",
            "acme_nonces",
            "cmp_transactions",
            "sessions",
            "failed_sign_ins",
        ):  # what came with 0010 and later
            connection.execute(text(f"DROP TABLE {table}"))
        for table in ("certificates", "revocations"):
            connection.execute(text(f"DROP INDEX ix_{table}_spki_sha256"))
        connection.execute(text("ALTER TABLE revocations DROP COLUMN spki_sha256"))
        connection.execute(text("UPDATE alembic_version SET version_num = '0009'"))
    migrate(store_url)
    with desk.store.read() as connection:
        assert connection.execute(query).all() == before
    assert sum(row.number for row in before) == 10
    assert len(before) > 2
