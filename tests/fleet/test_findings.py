"""Findings of gateways: opened, accepted, fixed, back again; told of once; never undone by a report that came late."""

import json
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from sqlalchemy import func, select

from core.errors import IkewardenError
from fleet import gateways
from fleet.findings import changes, expiry, filing, orders, shown, summary
from fleet.findings.shown import FindingQuery
from fleet.findings.summary import ReportQuery
from fleet.findings.told import last_report
from fleet.findings.values import AuditReport, FindingChanged, State
from ike.audit.values import Severity
from pki.actors import Actor, Role, Scope
from pki.desk import Desk
from store.engine import Store
from store.finding_tables import audit_reports, finding_events, findings
from store.tables import audit_events, outbox
from tests.fixtures.desk import CLOCKWORK, NOW, OPERATOR, reopened
from tests.fleet.auditing import all_of, audited, found, report, states
from tests.fleet.crew import Member, enlist, later

YEAR = timedelta(days=365)
WEAK = found()
OPEN_FILE = found("secrets-file-open-to-others", Severity.CRITICAL)
NOTE = found("psk-old", Severity.INFO)
BELOW = found("key-file-in-group", Severity.MEDIUM, "/etc/swanctl/private/gw.pem")


@pytest.fixture
def gw(desk: Desk) -> Member:
    return enlist(desk, "gw.example")


def alerts(desk: Desk) -> list[dict[str, object]]:
    with desk.store.read() as connection:
        query = select(outbox.c.payload).where(outbox.c.topic == changes.OPENED)
        return [dict(each) for each in connection.scalars(query.order_by(outbox.c.id))]


def history(desk: Desk, number: int) -> list[tuple[str, str]]:
    told = shown.finding(desk, OPERATOR, number).history
    return [(each.state, each.why) for each in told]


def count(desk: Desk, table: object) -> int:
    with desk.store.read() as connection:
        return int(connection.execute(select(func.count()).select_from(table)).scalar_one())  # type: ignore[arg-type]  # any table


def accept(desk: Desk, number: int, *, days: int = 30, now: datetime = NOW) -> None:
    until = now + timedelta(days=days)
    orders.accept(desk, OPERATOR, number, until, "a lab", now=now)


def test_what_a_report_holds_is_open_and_shown_as_it_was_told(desk: Desk, gw: Member) -> None:
    audited(gw, WEAK, NOTE, OPEN_FILE)
    listed = all_of(desk)
    assert [each.rule for each in listed] == [OPEN_FILE.rule, WEAK.rule, NOTE.rule]
    one = listed[1]
    assert (one.gateway, one.state, one.severity, one.line) == (gw.name, "open", "high", 3)
    assert (one.why, one.fix, one.references) == (WEAK.why, WEAK.fix, WEAK.references)
    assert one.evidence == WEAK.evidence
    assert (one.opened_at, one.seen_at, one.times) == (NOW, NOW, 0)
    assert history(desk, one.id) == [("open", "new")]


def test_the_same_again_only_says_that_all_is_still_so(desk: Desk, gw: Member) -> None:
    audited(gw, WEAK, NOTE)
    before = (count(desk, finding_events), count(desk, audit_events), count(desk, outbox))
    audited(gw, NOTE, WEAK, now=later(60), figures={"files": 9})
    assert (count(desk, finding_events), count(desk, audit_events), count(desk, outbox)) == before
    assert {each.seen_at for each in all_of(desk)} == {later(60)}
    assert {each.changed_at for each in all_of(desk)} == {NOW}


def test_what_is_gone_is_fixed_and_what_comes_back_is_told_of(desk: Desk, gw: Member) -> None:
    audited(gw, WEAK, NOTE)
    audited(gw, NOTE, now=later(60))
    [weak] = all_of(desk, rule=WEAK.rule)
    assert (weak.state, weak.fixed_at, weak.seen_at) == ("fixed", later(60), NOW)
    audited(gw, NOTE, WEAK, now=later(120))
    [weak] = all_of(desk, rule=WEAK.rule)
    assert (weak.state, weak.times, weak.opened_at) == ("open", 1, later(120))
    assert weak.fixed_at is None
    assert history(desk, weak.id) == [
        ("open", "came back"),
        ("fixed", "not found any more"),
        ("open", "new"),
    ]
    assert [each["high"] for each in alerts(desk)] == [1, 1]


def test_an_alert_tells_of_critical_and_high_ones_in_one_message(desk: Desk, gw: Member) -> None:
    many = [found(subject=str(number)) for number in range(30)]
    audited(gw, NOTE, BELOW)
    assert alerts(desk) == []
    audited(gw, NOTE, BELOW, OPEN_FILE, *many, now=later(1))
    [alert] = alerts(desk)
    told = alert["findings"]
    assert (alert["gateway"], alert["critical"], alert["high"]) == (gw.name, 1, 30)
    assert isinstance(told, list)
    assert (len(told), alert["more"]) == (20, 11)
    assert (told[0]["rule"], told[0]["reason"]) == (OPEN_FILE.rule, "new")
    # What another report tells is not told again.
    audited(gw, NOTE, OPEN_FILE, *many, now=later(2))
    assert len(alerts(desk)) == 1


def test_what_gets_worse_is_told_of_and_no_acceptance_covers_it(desk: Desk, gw: Member) -> None:
    mild = found(severity=Severity.MEDIUM)
    audited(gw, mild)
    [one] = all_of(desk)
    accept(desk, one.id)
    audited(gw, found(severity=Severity.LOW), now=later(1))
    assert states(desk, gw) == {mild.rule: "accepted"}
    audited(gw, found(severity=Severity.CRITICAL), now=later(2))
    [one] = all_of(desk)
    assert (one.state, one.accepted_until, one.severity) == ("open", None, "critical")
    assert history(desk, one.id)[0] == ("open", "is worse than before")
    assert [each["critical"] for each in alerts(desk)] == [1]


def test_texts_and_lines_follow_the_report_without_any_change_of_state(
    desk: Desk, gw: Member
) -> None:
    audited(gw, WEAK)
    moved = found(line=9, evidence="The key of %any has about 30 bits.", fix="")
    audited(gw, moved, now=later(1))
    [one] = all_of(desk)
    assert (one.line, one.evidence, one.fix) == (9, moved.evidence, "")
    assert history(desk, one.id) == [("open", "new")]


@pytest.mark.parametrize(
    ("error", "kept"),
    [
        ("/etc/ipsec.secrets", {WEAK.rule}),
        ("/etc/swanctl/private/gw.pem", {BELOW.rule}),
        ("/etc/swanctl/private", {BELOW.rule}),
        ("/etc/swanctl/", {BELOW.rule}),
        ("/etc/swan", set()),
        ("/etc", {WEAK.rule, BELOW.rule}),
        ("/", {WEAK.rule, BELOW.rule}),
        ("/var", set()),
    ],
)
def test_what_could_not_be_looked_at_is_not_fixed(
    desk: Desk, gw: Member, error: str, kept: set[str]
) -> None:
    audited(gw, WEAK, BELOW)
    audited(gw, now=later(60), errors=({"path": error, "error": "Permission denied"},))
    found_now = states(desk, gw)
    assert {rule for rule, state in found_now.items() if state == "open"} == kept
    assert {each.seen_at for each in all_of(desk)} == {NOW}
    # Seen again, and then gone for good.
    audited(gw, now=later(120))
    assert set(states(desk, gw).values()) == {"fixed"}


def test_a_line_that_is_not_understood_hides_what_the_file_says_and_not_who_may_read_it(
    desk: Desk, gw: Member
) -> None:
    readable = found("secrets-file-open-to-others", Severity.CRITICAL, area="access")
    error = {"path": WEAK.path, "line": 3, "error": "not understood"}
    audited(gw, readable, WEAK, errors=(error,))
    audited(gw, now=later(60), errors=(error,))
    assert states(desk, gw) == {readable.rule: "fixed", WEAK.rule: "open"}
    # Nor does it hide what is below it, as a folder would.
    below = found("psk-old", path=f"{WEAK.path}/part")
    audited(gw, below, now=later(90), errors=(error,))
    audited(gw, readable, now=later(120), errors=({**error, "line": None},))
    audited(gw, now=later(180), errors=({**error, "line": None},))
    assert states(desk, gw)[readable.rule] == "open"


def test_nothing_is_fixed_by_a_report_that_left_something_out(desk: Desk, gw: Member) -> None:
    audited(gw, WEAK, NOTE)
    audited(gw, OPEN_FILE, now=later(60), complete=False)
    assert states(desk, gw) == {WEAK.rule: "open", NOTE.rule: "open", OPEN_FILE.rule: "open"}
    audited(gw, OPEN_FILE, now=later(120))
    assert states(desk, gw) == {WEAK.rule: "fixed", NOTE.rule: "fixed", OPEN_FILE.rule: "open"}


def test_an_old_report_undoes_nothing(desk: Desk, gw: Member) -> None:
    audited(gw, WEAK, now=later(10))
    audited(gw, now=later(11), at=later(5))
    assert states(desk, gw) == {WEAK.rule: "open"}
    audited(gw, WEAK, NOTE, now=later(12), at=later(9))
    assert states(desk, gw) == {WEAK.rule: "open"}


def test_a_clock_that_is_ahead_or_set_back_silences_no_gateway(desk: Desk, gw: Member) -> None:
    audited(gw, WEAK, at=NOW + 5 * YEAR)
    audited(gw, NOTE, now=later(60))
    assert states(desk, gw) == {WEAK.rule: "fixed", NOTE.rule: "open"}
    # Its battery is empty: it is 1970 there, and the next report is an hour later.
    audited(gw, WEAK, now=later(4000), at=datetime.fromisoformat("1970-01-01T00:00:00Z"))
    assert states(desk, gw) == {WEAK.rule: "open", NOTE.rule: "fixed"}


def test_reports_of_one_gateway_at_once_end_as_if_one_came_after_the_other(
    desk: Desk, gw: Member, second_store: Store
) -> None:
    other = Member(reopened(desk, store=second_store), gw.name, gw.leaf)
    chance = random.Random(7)
    all_there = [found(f"rule-{number}") for number in range(12)]
    sent: list[tuple[datetime, AuditReport]] = []
    for number in range(24):
        at = later(number)
        sent.append((at, report(*chance.sample(all_there, 6), at=at)))
    last = {each.rule for each in sent[-1][1].findings}

    def send(number: int) -> None:
        at, each = sent[number]
        who = (gw, other)[number % 2]
        filing.file(who.desk, who.actor, each, now=at)

    order = [*range(24)]
    chance.shuffle(order)
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(send, order))
    assert {rule for rule, state in states(desk, gw).items() if state == "open"} == last
    # Each one's history leads to what it is.
    for each in all_of(desk):
        told = history(desk, each.id)
        assert told[0][0] == each.state
        assert all(one[0] != two[0] for one, two in pairwise(told))


def test_the_same_finding_on_two_gateways_is_two(desk: Desk, gw: Member) -> None:
    other = enlist(desk, "other.example")
    audited(gw, WEAK)
    audited(other, WEAK)
    first, second = all_of(desk)
    assert first.finding == second.finding
    accept(desk, first.id)
    audited(other, now=later(1))
    assert states(desk, gw) == {WEAK.rule: "accepted"}
    assert states(desk, other) == {WEAK.rule: "fixed"}


def test_accepted_reopened_and_accepted_again(desk: Desk, gw: Member) -> None:
    audited(gw, WEAK)
    [one] = all_of(desk)
    accept(desk, one.id)
    accept(desk, one.id, days=60, now=later(1))
    [one] = all_of(desk, state="accepted")
    assert (one.accepted_by, one.accepted_why) == (OPERATOR.name, "a lab")
    assert one.accepted_until == later(1) + timedelta(days=60)
    audited(gw, WEAK, NOTE, now=later(2))
    assert states(desk, gw)[WEAK.rule] == "accepted"
    told = orders.reopen(desk, OPERATOR, one.id, "", now=later(3))
    assert (told.state, told.accepted_by) == ("open", None)
    assert history(desk, one.id)[0] == ("open", "the acceptance was taken back")
    with pytest.raises(IkewardenError) as refused:
        orders.reopen(desk, OPERATOR, one.id, "again", now=later(4))
    assert refused.value.code == "finding_not_accepted"
    # A person did it: nobody is to be woken.
    assert len(alerts(desk)) == 1
    with desk.store.read() as connection:
        query = select(audit_events.c.action, audit_events.c.detail).where(
            audit_events.c.action.like("finding.%")
        )
        acts = connection.execute(query.order_by(audit_events.c.id)).all()
    assert [each.action for each in acts] == ["finding.accept"] * 2 + ["finding.reopen"]
    assert acts[0].detail["why"] == "a lab"


@pytest.mark.parametrize(
    ("until", "why"),
    [
        (NOW, "now"),
        (NOW - YEAR, "over"),
        (NOW + 4 * YEAR, "too long"),
        (later(60), ""),
        (later(60), " \t "),
    ],
)
def test_an_acceptance_has_a_reason_and_an_end(
    desk: Desk, gw: Member, until: datetime, why: str
) -> None:
    audited(gw, WEAK)
    [one] = all_of(desk)
    with pytest.raises(IkewardenError) as refused:
        orders.accept(desk, OPERATOR, one.id, until, why, now=NOW)
    assert refused.value.code == "acceptance_refused"
    assert states(desk, gw) == {WEAK.rule: "open"}


def test_of_two_who_decide_at_once_one_is_told_that_it_has_changed(desk: Desk, gw: Member) -> None:
    audited(gw, WEAK)
    [one] = all_of(desk)
    seen, together = one.changed_at.isoformat(), threading.Barrier(4)

    def decide(number: int) -> str:
        together.wait(60)
        until = later(60 * number)
        try:
            orders.accept(desk, OPERATOR, one.id, until, f"{number}", now=later(number), seen=seen)
        except FindingChanged:
            return ""
        return f"{number}"

    with ThreadPoolExecutor(4) as pool:
        told = list(pool.map(decide, range(1, 5)))
    [now] = all_of(desk, state="accepted")
    assert sorted(told) == ["", "", "", now.accepted_why]
    with pytest.raises(FindingChanged):
        orders.reopen(desk, OPERATOR, one.id, "", now=later(9), seen=seen)


def test_what_is_fixed_or_not_there_is_not_accepted(desk: Desk, gw: Member) -> None:
    audited(gw, WEAK)
    audited(gw, now=later(1))
    [one] = all_of(desk)
    for number, code in ((one.id, "finding_fixed"), (999, "finding_not_found")):
        with pytest.raises(IkewardenError) as refused:
            accept(desk, number)
        assert refused.value.code == code


def test_an_operator_of_one_gateway_accepts_nothing_of_another(desk: Desk, gw: Member) -> None:
    audited(gw, WEAK)
    [one] = all_of(desk)
    tied = Actor("olga", Role.OPERATOR, scope=Scope(gateway="other.example"))
    for act in (
        lambda: orders.accept(desk, tied, one.id, later(60), "mine", now=NOW),
        lambda: orders.reopen(desk, tied, one.id, "mine", now=NOW),
    ):
        with pytest.raises(IkewardenError) as refused:
            act()
        assert refused.value.code == "outside_scope"


def test_an_operator_of_one_gateway_reads_nothing_of_another(desk: Desk, gw: Member) -> None:
    other = enlist(desk, "other.example")
    audited(gw, WEAK)
    audited(other, NOTE)
    [theirs] = all_of(desk, gateway="gw.example")
    tied = Actor("olga", Role.OPERATOR, scope=Scope(gateway="other.example"))
    for read in (
        lambda: shown.finding(desk, tied, theirs.id),
        lambda: shown.search(desk, tied, FindingQuery(gateway="gw.example")),
        lambda: last_report(desk, tied, "gw.example"),
        lambda: summary.audit(desk, tied, ReportQuery(), now=NOW),
        lambda: summary.compliance(desk, tied, ReportQuery(), now=NOW),
        lambda: summary.accounts(desk, tied, None, 0, now=NOW),
    ):
        with pytest.raises(IkewardenError) as refused:
            read()
        assert refused.value.code == "outside_scope"
    for query in (FindingQuery(), FindingQuery(gateway="other.example")):
        [own] = shown.search(desk, tied, query)
        assert (own.gateway, own.rule) == ("other.example", NOTE.rule)
    assert shown.finding(desk, tied, own.id).finding == own
    assert last_report(desk, tied, "other.example").gateway == "other.example"


def test_an_acceptance_ends_by_itself_and_is_told_of(desk: Desk, gw: Member) -> None:
    other = enlist(desk, "other.example")
    audited(gw, WEAK, NOTE)
    audited(other, WEAK)
    for each in all_of(desk):
        accept(desk, each.id, days=30 if each.gateway == gw.name else 60)
    told = len(alerts(desk))
    assert expiry.reopen_ended(desk, CLOCKWORK, now=NOW + timedelta(days=29)) == 0
    assert expiry.reopen_ended(desk, CLOCKWORK, now=NOW + timedelta(days=30)) == 2
    assert set(states(desk, gw).values()) == {"open"}
    assert states(desk, other) == {WEAK.rule: "accepted"}
    [new] = alerts(desk)[told:]
    assert (new["gateway"], new["high"]) == (gw.name, 1)
    assert "the acceptance has ended" in json.dumps(new)
    assert expiry.reopen_ended(desk, CLOCKWORK, now=NOW + timedelta(days=30)) == 0


def test_many_acceptances_end_in_one_run(desk: Desk, gw: Member) -> None:
    audited(gw, *(found(subject=str(number)) for number in range(450)))
    with desk.store.write() as connection:
        values = {"state": str(State.ACCEPTED), "accepted_until": later(5)}
        connection.execute(findings.update().values(**values, accepted_by="x", accepted_why="y"))
    assert expiry.reopen_ended(desk, CLOCKWORK, now=later(6)) == 450
    assert expiry.reopen_ended(desk, CLOCKWORK, now=later(6)) == 0


def test_what_was_fixed_long_ago_is_forgotten(
    desk: Desk, gw: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    audited(gw, WEAK, NOTE)
    audited(gw, NOTE, now=later(1))
    assert expiry.forget_fixed(desk, CLOCKWORK, now=NOW + YEAR) == 0
    assert expiry.forget_fixed(desk, CLOCKWORK, now=NOW + 2 * YEAR) == 1
    assert states(desk, gw) == {NOTE.rule: "open"}
    # And sooner where a gateway reports others each time.
    monkeypatch.setattr(filing, "_KEPT", 3)
    for number in range(8):
        audited(gw, NOTE, found(f"rule-{number}"), now=later(10 + number))
    fixed = [each.rule for each in all_of(desk, state="fixed")]
    assert sorted(fixed) == ["rule-4", "rule-5", "rule-6"]
    assert count(desk, finding_events) == 1 + 3 * 2 + 1


def test_a_gateway_that_leaves_others_out_each_time_fills_no_records(
    desk: Desk, gw: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filing, "_KEPT", 5)
    for number in range(12):
        each = [found(f"rule-{number}-{n}") for n in range(2)]
        audited(gw, *each, now=later(number), complete=False)
        assert len(all_of(desk)) <= 5 + 2 * 2 + 5


def test_of_a_finding_that_comes_and_goes_for_ever_the_latest_changes_are_kept(
    desk: Desk, gw: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "MOST_EVENTS", 10)
    monkeypatch.setattr(changes, "_OFTEN", 5)
    for number in range(30):
        audited(gw, WEAK, now=later(2 * number))
        audited(gw, now=later(2 * number + 1))
    assert count(desk, finding_events) <= 10 + 2 * 5
    [one] = all_of(desk)
    assert (one.times, history(desk, one.id)[0][0]) == (29, "fixed")


def test_a_removed_gateway_takes_its_findings_with_it(desk: Desk, gw: Member) -> None:
    other = enlist(desk, "other.example")
    audited(gw, WEAK)
    audited(other, WEAK)
    gateways.remove(desk, OPERATOR, gw.name, now=later(1))
    assert [each.gateway for each in all_of(desk)] == [other.name]
    assert [count(desk, table) for table in (findings, finding_events, audit_reports)] == [1, 1, 1]


def test_a_search_finds_by_each_of_its_words_and_page_by_page(desk: Desk, gw: Member) -> None:
    other = enlist(desk, "other.example")
    audited(gw, WEAK, NOTE, OPEN_FILE, BELOW)
    audited(other, WEAK, found("odd", Severity.LOW, "/srv/50%_off", evidence="ÄÖÜ"))
    assert len(all_of(desk)) == 6
    assert len(all_of(desk, gateway=gw.name)) == 4
    assert [each.rule for each in all_of(desk, severity="medium")] == [BELOW.rule]
    assert {each.gateway for each in all_of(desk, rule=WEAK.rule)} == {gw.name, other.name}
    assert [each.rule for each in all_of(desk, q="50%_OFF")] == ["odd"]
    assert all_of(desk, q="50%-") == []
    pages, cursor = [], None
    while page := all_of(desk, limit=2, cursor=cursor):
        pages += page
        cursor = (page[-1].rank, page[-1].id)
    assert pages == all_of(desk)
    for wrong in ({"severity": "bad"}, {"state": "closed"}, {"limit": 0}, {"limit": 501}):
        with pytest.raises(IkewardenError) as refused:
            all_of(desk, **wrong)
        assert refused.value.code == "query_malformed"
    with pytest.raises(IkewardenError) as refused:
        all_of(desk, gateway="nobody")
    assert refused.value.code == "gateway_not_found"
