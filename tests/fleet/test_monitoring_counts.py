"""What is counted are changes of SAs, as the rules recognise them, and not the lines that tell of them."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from fleet.monitoring import shown
from fleet.monitoring.shown import Figures
from ike.events.event import SaEvent
from ike.events.reader import Reader
from ike.events.summary import summarized
from pki.desk import Desk
from tests.fixtures.desk import OPERATOR
from tests.fleet.crew import enlist
from tests.fleet.monitoring import CONNECTION, after, alerts_of, event, sent

RECORDED = Path(__file__).parents[1] / "events/recorded"
KERNEL = {"daemon": "charon", "phase": "start", "connection": None, "name": None, "ike_id": None}


def figures(desk: Desk) -> Figures:
    return shown.figures(desk, OPERATOR)


def recorded(name: str, year: datetime) -> list[SaEvent]:
    reader = Reader(year.timestamp())
    return [*reader.feed((RECORDED / name).read_bytes()), *reader.close()]


@pytest.mark.parametrize(
    ("name", "rekeys"), [("normal_day.left.log", 12), ("rekey_storm.left.log", 50)]
)
def test_a_log_gives_the_rekeys_that_were(desk: Desk, name: str, rekeys: int) -> None:
    member = enlist(desk, "gw.example")
    events = recorded(name, datetime.now(UTC))
    until = datetime.fromtimestamp(max(each.time or 0.0 for each in events) + 60, UTC)
    for first in range(0, len(events), 25):
        sent(member, events[first : first + 25], first, now=until)
    sent(member, [], len(events), until=until, now=until)
    found = figures(desk)
    children = {key: number for key, number in found.rekeys.items() if key[2] == "child_rekeyed"}
    assert children == {("gw.example", "site", "child_rekeyed"): rekeys}


def test_over_vici_the_number_is_the_same(desk: Desk) -> None:
    member = enlist(desk, "gw.example")
    told = [event(), event("child_established", 1, child="net", child_id=1)]
    told += [
        event("child_rekeyed", 60 * number, child="net", child_id=number, new_child_id=number + 1)
        for number in range(1, 8)
    ]
    sent(member, told, until=after(500))
    found = figures(desk)
    assert found.rekeys == {("gw.example", CONNECTION, "child_rekeyed"): 7}
    assert found.events["child_established"] == 1


def test_what_only_begins_is_no_rekey(desk: Desk) -> None:
    """The kernel asks for a new SA, once for each direction at both ends; no connection is named."""
    member = enlist(desk, "gw.example")
    asked = [event("child_rekeyed", number, child_id=1, **KERNEL) for number in range(4)]
    sent(member, asked, until=after(60))
    assert figures(desk).rekeys == {}
    assert "child_rekeyed" not in figures(desk).events


def test_a_closing_that_is_told_twice_is_one(desk: Desk) -> None:
    member = enlist(desk, "gw.example")
    told = [event(), event("child_established", 1, child="net", child_id=1)]
    told += [event("child_closed", 5 + number, child="net", child_id=1) for number in range(3)]
    sent(member, told, until=after(60))
    assert figures(desk).events["child_closed"] == 1


@pytest.mark.parametrize("end", ["left", "right"])
def test_one_failure_is_one_everywhere(desk: Desk, end: str) -> None:
    """Both ends refuse 25 rekeys by hand, and a new Child SA at last. Alerts, summary and counts say the same."""
    member = enlist(desk, "gw.example")
    events = recorded(f"rekey_refused.{end}.log", datetime.now(UTC))
    until = datetime.fromtimestamp(max(each.time or 0.0 for each in events) + 60, UTC)
    sent(member, events, until=until, now=until)
    evidence = {each.kind: each.evidence for each in alerts_of(desk)}
    assert evidence["rekey_missed"]["refusals"] == 25
    assert evidence["proposal_mismatch"]["attempts"] == 26
    counted = {name: number for (name, _), number in figures(desk).failures.items()}
    assert (counted["child_rekey_failed"], counted["proposal_mismatch"]) == (25, 26)
    (summary,) = summarized(events).connections()
    assert (summary.counts["child_rekey_failed"], summary.counts["proposal_mismatch"]) == (25, 26)
