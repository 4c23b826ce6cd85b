"""Figures of the fleet's findings: counted right, and soon for ten thousand gateways."""

import time
from collections.abc import Iterator
from datetime import timedelta

import pytest

from core.errors import IkewardenError
from fleet.findings import orders, shown, summary, told
from fleet.findings.known import Known
from fleet.findings.known import count as count_known
from fleet.findings.shown import FindingQuery
from fleet.findings.summary import ReportQuery
from ike.audit.values import Severity
from pki.desk import Desk
from store.finding_tables import audit_reports, findings
from store.fleet_tables import gateways
from tests.fixtures.desk import ADMIN, NOW, OPERATOR
from tests.fleet.auditing import all_of, audited, found
from tests.fleet.crew import enlist, later

BAD = found("secrets-file-open-to-others", Severity.CRITICAL, area="access")
MIDDLE = found("psk-short", Severity.MEDIUM)
NOTE = found("psk-old", Severity.INFO)
# Waiting for a shared machine is not what is measured.
_SOON = 60.0  # seconds, of which each takes less than one: what reads all for each takes minutes
_FLEET, _EACH = 10_000, 20


@pytest.fixture
def fleet(desk: Desk) -> Desk:
    """Six gateways, one of each kind."""
    names = ("good", "bad", "excepted", "blind", "late", "silent")
    members = {name: enlist(desk, f"{name}.example") for name in names}
    audited(members["good"], NOTE)
    audited(members["bad"], BAD, MIDDLE, found("gone"))
    audited(members["bad"], BAD, MIDDLE, now=later(1))
    audited(members["excepted"], MIDDLE, NOTE, baseline="nist")
    [one] = all_of(desk, gateway="excepted.example", rule=MIDDLE.rule)
    orders.accept(desk, OPERATOR, one.id, later(10**6), "a lab", now=NOW)
    unread = ({"path": "/etc/swanctl", "error": "Permission denied"},)
    audited(members["blind"], NOTE, errors=unread)
    audited(members["late"], NOTE, now=NOW - timedelta(days=9))
    return desk


def test_the_audit_report_counts_what_there_is(fleet: Desk) -> None:
    made = summary.audit(fleet, OPERATOR, ReportQuery(), now=later(60))
    assert (made.gateways, made.reported, made.late) == (6, 5, 1)
    assert made.open == {"critical": 1, "high": 0, "medium": 1, "low": 0, "info": 4}
    assert made.accepted == {"critical": 0, "high": 0, "medium": 1, "low": 0, "info": 0}
    rules = {each.rule: each for each in made.rules}
    assert [each.rule for each in made.rules] == [BAD.rule, MIDDLE.rule, NOTE.rule, "gone"]
    middle = rules[MIDDLE.rule]
    assert (middle.open, middle.accepted, middle.fixed, middle.gateways) == (1, 1, 0, 2)
    assert (rules["gone"].fixed, rules["gone"].gateways) == (1, 0)
    assert (middle.title, middle.area, middle.severity) == (MIDDLE.title, "secrets", "medium")
    assert made.worst[0].gateway == "bad.example"
    assert (made.worst[0].critical, made.worst[0].medium) == (1, 1)
    assert len(made.worst) == 6


def test_each_gateway_has_the_verdict_that_is_known_of_it(fleet: Desk) -> None:
    made = summary.compliance(fleet, OPERATOR, ReportQuery(), now=later(60))
    assert {each.gateway.partition(".")[0]: each.verdict for each in made.gateways} == {
        "good": "compliant",
        "bad": "failing",
        "excepted": "excepted",
        "blind": "unknown",
        "late": "unknown",
        "silent": "unknown",
    }
    assert [(each.baseline, each.gateways) for each in made.baselines] == [
        ("nist", 1),
        ("rfc", 4),
        (None, 1),
    ]
    _, rfc, never = made.baselines
    assert rfc.verdicts == {"compliant": 1, "excepted": 0, "failing": 1, "unknown": 2}
    assert rfc.areas == {"access": 1, "secrets": 1}
    assert never.verdicts["unknown"] == 1


def test_a_report_of_one_baseline_tells_of_no_other(fleet: Desk) -> None:
    query = ReportQuery(baseline="nist")
    made = summary.audit(fleet, OPERATOR, query, now=later(60))
    assert (made.gateways, made.reported) == (1, 1)
    assert [each.rule for each in made.rules] == [NOTE.rule, MIDDLE.rule]
    assert (sum(made.open.values()), sum(made.accepted.values())) == (1, 1)
    verdicts = summary.compliance(fleet, OPERATOR, query, now=later(60))
    assert [each.baseline for each in verdicts.baselines] == ["nist"]
    assert [each.gateway for each in verdicts.gateways] == ["excepted.example"]


def test_a_report_tells_what_its_counts_stand_for(fleet: Desk) -> None:
    made = summary.audit(fleet, OPERATOR, ReportQuery(), now=later(60)).details
    assert [(each.gateway, each.rule) for each in made.findings[:2]] == [
        ("bad.example", BAD.rule),
        ("bad.example", MIDDLE.rule),
    ]
    [exception] = made.exceptions
    assert (exception.gateway, exception.accepted_why) == ("excepted.example", "a lab")
    [unread] = made.unread
    assert (unread.gateway, unread.path, unread.error) == (
        "blind.example",
        "/etc/swanctl",
        "Permission denied",
    )
    assert made.more == told.More(0, 0, 0)
    few = summary.audit(fleet, OPERATOR, ReportQuery(findings=1), now=later(60)).details
    assert (len(few.findings), few.more) == (1, told.More(5, 0, 0))
    none = summary.audit(fleet, OPERATOR, ReportQuery(findings=0), now=later(60)).details
    assert none.more == told.More(6, 1, 1)
    # Of compliance, what the verdicts come from.
    verdicts = summary.compliance(fleet, OPERATOR, ReportQuery(), now=later(60))
    assert [each.rule for each in verdicts.details.findings] == [BAD.rule, MIDDLE.rule]
    worst = {each.gateway: each.accepted_worst for each in verdicts.gateways if each.accepted}
    assert worst == {"excepted.example": "medium"}
    nist = summary.compliance(fleet, OPERATOR, ReportQuery("nist"), now=later(60)).details
    assert (nist.findings, len(nist.exceptions), nist.unread) == ((), 1, ())


def test_every_gateway_is_accounted_for_in_parts(
    fleet: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(summary, "ACCOUNTS", 4)
    first = summary.accounts(fleet, OPERATOR, None, 0, now=later(60))
    rest = summary.accounts(fleet, OPERATOR, None, first[-1].number, now=later(60))
    assert (len(first), len(rest)) == (4, 2)
    accounts = {each.figures.gateway.partition(".")[0]: each for each in (*first, *rest)}
    assert [each.rule for each in accounts["bad"].findings] == [BAD.rule, MIDDLE.rule]
    assert [each.state for each in accounts["excepted"].findings] == ["accepted"]
    assert [each.path for each in accounts["blind"].unread] == ["/etc/swanctl"]
    assert {name: each.figures.verdict for name, each in accounts.items()} == {
        each.gateway.partition(".")[0]: each.verdict
        for each in summary.compliance(fleet, OPERATOR, ReportQuery(), now=later(60)).gateways
    }
    assert (accounts["good"].findings, accounts["silent"].unread) == ((), ())
    only = summary.accounts(fleet, OPERATOR, "nist", 0, now=later(60))
    assert [each.figures.gateway for each in only] == ["excepted.example"]


def test_an_empty_fleet_has_a_report_too(desk: Desk) -> None:
    made = summary.audit(desk, OPERATOR, ReportQuery(), now=NOW)
    assert (made.gateways, made.rules, made.worst) == (0, (), ())
    assert summary.compliance(desk, OPERATOR, ReportQuery(), now=NOW).baselines == ()
    with pytest.raises(IkewardenError) as refused:
        summary.audit(desk, OPERATOR, ReportQuery(gateways=-1), now=NOW)
    assert refused.value.code == "query_malformed"


def test_figures_for_those_who_watch(fleet: Desk) -> None:
    made = summary.figures(fleet, OPERATOR, now=later(60))
    assert (made.reported, made.late, made.missing) == (4, 1, 1)
    assert (made.open["critical"], made.accepted["medium"]) == (1, 1)


def _many(desk: Desk) -> None:
    """Ten thousand gateways with twenty findings each, put on record at once."""
    enlist(desk, "first.example")
    severities = list(Severity)
    with desk.store.write() as connection:
        first = dict(connection.execute(gateways.select()).mappings().one())
        row = {name: value for name, value in first.items() if name != "id"}
        connection.execute(
            gateways.insert(), [{**row, "name": f"gw{n}.example"} for n in range(1, _FLEET)]
        )
        ids = [each.id for each in connection.execute(gateways.select())]
        told = {"digest": "0", "complete": 1, "errors": 0, "document": {}}
        times = {"started_at": NOW, "received_at": NOW, "seen_at": NOW}
        connection.execute(
            audit_reports.insert(),
            [
                {**told, **times, "gateway_id": each, "baseline": ("rfc", "nist", "bsi")[each % 3]}
                for each in ids
            ],
        )
        for start in range(0, len(ids), 500):
            rows = list(_rows(ids[start : start + 500], severities))
            connection.execute(findings.insert(), rows)


def _rows(ids: list[int], severities: list[Severity]) -> Iterator[dict[str, object]]:
    for gateway in ids:
        for number in range(_EACH):
            severity = severities[(gateway + number) % 5]
            yield {
                "gateway_id": gateway,
                "finding": f"{number:016x}",
                "state": ("open", "open", "accepted", "fixed")[(gateway * 7 + number) % 4],
                "rank": severity.rank,
                "severity": str(severity),
                "rule": f"rule-{number * 3 % 60}",
                "area": ("access", "secrets", "keys")[number % 3],
                "times": 0,
                "opened_at": NOW,
                "changed_at": NOW,
                "path": f"/etc/swanctl/conf.d/tunnel-{number}.conf",
                "line": number,
                "subject": f"tunnel-{number}",
                "title": "A pre-shared key can be guessed",
                "evidence": "The key of gw1.example.com has about 20 bits." * 2,
                "document": {"why": "Words. " * 30, "fix": "Words. " * 20, "references": []},
            }


def test_ten_thousand_gateways_are_listed_and_reported_soon(desk: Desk) -> None:
    _many(desk)
    took = {}

    def measure(name: str, act: object) -> None:
        began = time.monotonic()
        assert callable(act)
        assert act() is not None
        took[name] = time.monotonic() - began

    everything = ReportQuery(gateways=_FLEET)
    measure("audit", lambda: summary.audit(desk, ADMIN, ReportQuery(), now=NOW))
    measure("baseline", lambda: summary.audit(desk, ADMIN, ReportQuery("nist"), now=NOW))
    measure("compliance", lambda: summary.compliance(desk, ADMIN, everything, now=NOW))
    measure("accounts", lambda: summary.accounts(desk, ADMIN, None, _FLEET // 2, now=NOW))
    known = Known("rule-57", "/etc/swanctl/conf.d/tunnel-19.conf", None)
    measure("known", lambda: count_known(desk, ADMIN, known))
    measure("figures", lambda: summary.figures(desk, ADMIN, now=NOW))
    for name, query in {
        "list": FindingQuery(limit=500),
        "list open": FindingQuery(state="open", limit=500),
        "list deep": FindingQuery(state="open", cursor=(2, 150_000), limit=500),
        "list rule": FindingQuery(rule="rule-57", limit=500),
        "list gateway": FindingQuery(gateway="gw9999.example"),
        "list of a baseline": FindingQuery(baseline="nist", present=True, limit=500),
        "list q": FindingQuery(q="nothing of this kind"),
    }.items():
        measure(name, lambda query=query: shown.search(desk, ADMIN, query))
    print({name: round(seconds, 3) for name, seconds in took.items()})  # noqa: T201 - what was measured
    assert max(took.values()) < _SOON, took
