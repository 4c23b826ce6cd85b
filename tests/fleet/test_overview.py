"""What needs a person now: each number is that of the search beside it, and tells who may read what."""

from datetime import timedelta

from fleet import overview
from fleet.monitoring import hours, orders, shown
from fleet.monitoring.shown import AlertQuery
from fleet.overview import Need, Overview
from ike.audit.values import Severity
from pki import certificates, issuance
from pki.actors import Actor, Role, Scope
from pki.certificates import CertificateQuery
from pki.desk import Desk
from store import jobs
from tests.fixtures.desk import CLOCKWORK, NOW, OPERATOR
from tests.fleet.auditing import audited, found
from tests.fleet.crew import enlist, later
from tests.fleet.monitoring import after, event, failures, sent
from tests.pki.acts import issue

DAY = timedelta(days=1)
AUDITOR = Actor("ada", Role.AUDITOR)


def look(desk: Desk, actor: Actor = OPERATOR) -> Overview:
    return overview.overview(desk, actor, now=NOW)


def need(desk: Desk, kind: str, actor: Actor = OPERATOR) -> Need:
    [each] = [each for each in look(desk, actor).needs if each.kind == kind]
    return each


def test_nothing_needs_anybody_in_a_new_installation(desk: Desk) -> None:
    made = look(desk)
    assert {each.kind: each.count for each in made.needs} == dict.fromkeys(
        (
            *("lists_late", "ocsp_late", "authorities_expiring", "jobs_failed"),
            *("certificates_expiring", "gateways_unreachable", "gateways_no_certificate"),
            *("alerts_critical", "alerts_high", "findings_critical", "findings_high"),
            *("rotations_stuck", "rotations_rolled_back", "approvals_pending", "dead_letters"),
        ),
        0,
    )
    assert made.authorities is not None
    assert {each.name: each.is_kept for each in made.authorities} == dict.fromkeys(
        ("root", "issuing", "sharded"), True
    )
    assert all(each.lists_until and each.lists_until > NOW for each in made.authorities)
    assert all(each.ocsp_until and each.ocsp_until > NOW for each in made.authorities)


def test_certificates_that_end_soon_and_were_not_renewed(desk: Desk) -> None:
    soon = issue(desk, ["dns:soon.example"], not_after=NOW + 3 * DAY)
    renewed = issue(desk, ["dns:renewed.example"], not_after=NOW + 3 * DAY)
    issue(desk, ["dns:late.example"], not_after=NOW + 30 * DAY)
    issuance.renew(desk, OPERATOR, renewed.serial, None, now=NOW)
    each = need(desk, "certificates_expiring")
    assert (each.count, each.about) == (1, ("soon.example",))
    query = CertificateQuery(status="valid", expires_before=NOW + 14 * DAY, renewed=False)
    listed = certificates.search(desk, OPERATOR, query, now=NOW)
    assert [one.serial for one in listed] == [soon.serial]
    assert look(desk).needs[0] == each, "what needs somebody comes first"


def test_when_certificates_end(desk: Desk) -> None:
    before = look(desk).expiry
    for days in (0.01, 3, 3, 40):
        issue(desk, not_after=NOW + days * DAY)
    gone = issue(desk, not_after=NOW + 3 * DAY)
    certificates_of = CertificateQuery(status="valid", limit=500)
    issuance_count = len(certificates.search(desk, OPERATOR, certificates_of, now=NOW))
    made = look(desk).expiry
    assert made is not None
    assert before is not None
    assert [each.begin for each in made[1:]] == [each.end for each in made[:-1]]
    assert made[-1].end is None
    assert sum(each.count for each in made) == issuance_count
    [third] = [
        one.count - two.count
        for one, two in zip(made, before, strict=True)
        if one.begin <= NOW + 3 * DAY and (one.end is None or one.end > NOW + 3 * DAY)
    ]
    assert third == 3
    assert gone.serial


def test_gateways_alerts_and_findings(desk: Desk) -> None:
    silent, heard, bare = (enlist(desk, f"{name}.example") for name in ("silent", "heard", "bare"))
    silent.report(now=later(-900))
    heard.report()
    sent(heard, failures(), until=after(60))
    audited(heard, found(), found("mode", Severity.CRITICAL, "/etc/swanctl"))
    assert need(desk, "gateways_unreachable").about == ("silent.example",)
    assert need(desk, "gateways_unreachable").count == 1
    assert need(desk, "alerts_high").count == 1
    assert need(desk, "findings_critical").count == 1
    assert need(desk, "findings_high").about == ("heard.example",)
    tied = Actor("t", Role.OPERATOR, scope=Scope(gateway=bare.name))
    made = look(desk, tied)
    assert all(each.count == 0 for each in made.needs if each.path != "/v1/authorities")
    assert not {"jobs_failed", "dead_letters", "approvals_pending"} & {e.kind for e in made.needs}
    [alert] = shown.alerts(desk, OPERATOR, AlertQuery(silenced=False))
    orders.silence(desk, OPERATOR, alert.id, NOW + DAY, "known", now=NOW)
    assert need(desk, "alerts_high").count == 0
    assert shown.alerts(desk, OPERATOR, AlertQuery(silenced=False)) == []
    assert len(shown.alerts(desk, OPERATOR, AlertQuery(silenced=True))) == 1


def test_jobs_whose_last_run_failed(desk: Desk) -> None:
    for name, outcomes in (("one", ("ok", "failed")), ("two", ("failed", "ok")), ("three", ())):
        for outcome in outcomes:
            number = jobs.started(desk.store, name, "me", NOW)
            jobs.finished(desk.store, number, outcome, None, None, NOW)  # type: ignore[arg-type]
        jobs.started(desk.store, "three", "me", NOW)
    assert need(desk, "jobs_failed").about == ("one",)


def test_rekeys_by_hour(desk: Desk) -> None:
    member, other = enlist(desk, "gw.example"), enlist(desk, "other.example")
    for each, times in ((member, 3), (other, 2)):
        rekeyed = [
            event("ike_rekeyed", 60 + n, ike_id=n + 2, old_ike_id=n + 1) for n in range(times)
        ]
        sent(each, [event(), *rekeyed], until=after(120))
    assert look(desk, AUDITOR).rekeys == dict.fromkeys(look(desk, AUDITOR).rekeys or (), 0)
    hours.sum_up(desk, CLOCKWORK, now=NOW)
    hours.sum_up(desk, CLOCKWORK, now=NOW)
    made = look(desk, AUDITOR).rekeys
    assert made is not None
    assert len(made) == hours.SHOWN
    assert sum(made.values()) == 5
    assert made[after(60).replace(minute=0, second=0, microsecond=0)] == 5
    tied = Actor("t", Role.AUDITOR, scope=Scope(gateway=other.name))
    assert sum((look(desk, tied).rekeys or {}).values()) == 2
    approver = Actor("p", Role.APPROVER)
    assert look(desk, approver).rekeys is None
