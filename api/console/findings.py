"""What audits found: searched, looked at with its evidence, accepted, opened again; by rule, by gateway, over time."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from api import cursors, decoding
from api.console.errors import PageStale
from api.console.findings_chart import charts_of
from api.console.lists import ROWS, ListSearch, Search, behind
from api.console.mending import refused
from api.console.page import Answer, Form, Page, Redirect, Refused, Screen, Visit, tell, text
from api.console.render import link
from api.console.tones import Tone
from api.decoding import PLAIN
from api.fixes import mended
from api.registry import Nothing
from api.v1.certificates import Word
from core.errors import IkewardenError
from fleet.findings import known, orders, shown, summary, trend
from fleet.findings.known import Known
from fleet.findings.shown import FindingQuery
from fleet.findings.summary import ReportQuery
from pki.actors import Action

_PATH = "/findings"
_WEEKS = 13
# Of one page; the search by gateway finds the others.
_GATEWAYS = 50
_BLANK: Mapping[str, object] = {"until": "", "why": ""}
SEVERITIES: Final[Mapping[str, Tone]] = {
    "critical": Tone("bad", text("critical")),
    "high": Tone("bad", text("high")),
    "medium": Tone("warn", text("medium")),
    "low": Tone("off", text("low")),
    "info": Tone("off", text("info")),
}
STATES: Final[Mapping[str, Tone]] = {
    "open": Tone("warn", text("open")),
    "accepted": Tone("busy", text("accepted")),
    "fixed": Tone("good", text("fixed")),
}
VERDICTS: Final[Mapping[str, Tone]] = {
    "compliant": Tone("good", text("compliant")),
    "excepted": Tone("busy", text("excepted")),
    "failing": Tone("bad", text("failing")),
    "unknown": Tone("off", text("unknown")),
}
TABS = (
    (_PATH, text("List")),
    (f"{_PATH}/rules", text("By rule")),
    (f"{_PATH}/verdicts", text("Baselines and gateways")),
    (f"{_PATH}/trend", text("Trend")),
)
Path = Annotated[str, Field(min_length=1, max_length=4096, pattern=PLAIN)]
Why = Annotated[str, Field(max_length=1000)]


class FindingSearch(ListSearch):
    """Which findings. `state` "present": open or accepted."""

    q: Word | None = None
    gateway: Word | None = None
    rule: Word | None = None
    baseline: Word | None = None
    severity: Literal["critical", "high", "medium", "low", "info"] | None = None
    state: Literal["present", "open", "accepted", "fixed", "all"] = "present"


class KnownSearch(Search):
    """What many gateways have."""

    rule: Word
    path: Path
    gateway: Word | None = None


class AcceptForm(Form):
    """Until which day, and why; `changed` is when the finding last changed, as the page showed it."""

    until: date | None = None
    why: Why = ""
    changed: str = Field(max_length=40)


class KnownForm(Form):
    """What many gateways have, until when and why; `count` is how many the page showed."""

    rule: Word
    path: Path
    gateway: Word | None = None
    until: date | None = None
    why: Why = ""
    count: int = Field(ge=0)


class ReopenForm(Form):
    """Why it may not stay any longer."""

    why: Why = ""
    changed: str = Field(max_length=40)


def search(visit: Visit[None, FindingSearch]) -> Answer:
    """The list, the worst first."""
    query = visit.query
    wanted = FindingQuery(
        gateway=query.gateway,
        severity=query.severity,
        state=None if query.state in {"present", "all"} else query.state,
        rule=query.rule,
        q=query.q,
        baseline=query.baseline,
        present=query.state == "present",
        cursor=cursors.decode_pair(_PATH, query.cursor),
        limit=ROWS,
    )
    found = shown.search(visit.desk, visit.actor, wanted)
    last = f"{found[-1].rank}:{found[-1].id}" if found else None
    onward = behind(visit, _PATH, found, last)
    return _screen(visit, "list", {"found": found, "behind": onward, "query": query})


def rules(visit: Visit[None, Nothing]) -> Answer:
    """How many findings there are by rule."""
    made = summary.audit(
        visit.desk, visit.actor, ReportQuery(gateways=0, findings=0), now=visit.now
    )
    return _screen(visit, "rules", {"made": made})


def verdicts(visit: Visit[None, Nothing]) -> Answer:
    """What is to be said of each baseline and gateway."""
    query = ReportQuery(gateways=_GATEWAYS, findings=0)
    made = summary.compliance(visit.desk, visit.actor, query, now=visit.now)
    return _screen(visit, "verdicts", {"made": made, "most": _GATEWAYS})


def over_time(visit: Visit[None, Nothing]) -> Answer:
    """How the findings of the fleet went over a quarter of a year."""
    weeks = trend.weeks(visit.desk, visit.actor, _WEEKS, now=visit.now)
    return _screen(visit, "trend", charts_of(weeks, visit.say))


def show(visit: Visit[None, Nothing]) -> Answer:
    """One finding: evidence, what to do, and who did what about it."""
    return _finding(visit)


def accept(visit: Visit[AcceptForm, Nothing]) -> Answer:
    """Accept a finding until the end of a day."""
    number, sent = decoding.number(visit.path["id"]), visit.body
    try:
        orders.accept(
            visit.desk,
            visit.actor,
            number,
            _end(sent.until, visit),
            sent.why,
            now=visit.now,
            seen=sent.changed,
        )
    except IkewardenError as error:
        return _finding(visit, refused(error, visit), {"until": sent.until, "why": sent.why})
    return Redirect(f"{_PATH}/{number}", "finding-accepted")


def reopen(visit: Visit[ReopenForm, Nothing]) -> Answer:
    """Take the acceptance of a finding back."""
    number, sent = decoding.number(visit.path["id"]), visit.body
    try:
        orders.reopen(visit.desk, visit.actor, number, sent.why, now=visit.now, seen=sent.changed)
    except IkewardenError as error:
        return _finding(visit, refused(error, visit))
    return Redirect(f"{_PATH}/{number}", "finding-reopened")


def preview(visit: Visit[None, KnownSearch]) -> Answer:
    """What would be accepted at once."""
    return _preview(visit, Known(visit.query.rule, visit.query.path, visit.query.gateway))


def accept_known(visit: Visit[KnownForm, Nothing]) -> Answer:
    """Accept the same finding of many gateways, if there are as many as the page said."""
    sent = visit.body
    wanted = Known(sent.rule, sent.path, sent.gateway)
    try:
        if known.count(visit.desk, visit.actor, wanted).findings != sent.count:
            raise PageStale("There are more or fewer of these findings than the page showed.")
        until = _end(sent.until, visit)
        known.accept(visit.desk, visit.actor, wanted, until, sent.why, now=visit.now)
    except IkewardenError as error:
        typed = {"until": sent.until, "why": sent.why}
        return _preview(visit, wanted, refused(error, visit), typed)
    to = link(_PATH, rule=sent.rule, gateway=sent.gateway, state="all")
    return Redirect(to, "findings-accepted")


def _preview(
    visit: Visit[Any, Any],
    wanted: Known,
    error: Refused | None = None,
    typed: Mapping[str, object] | None = None,
) -> Answer:
    count = known.count(visit.desk, visit.actor, wanted)
    facts = {"wanted": wanted, "count": count, "most": known.MOST, "error": error}
    return _screen(visit, "accept", {**facts, **_days(visit), "typed": typed or _BLANK}, error)


def _finding(
    visit: Visit[Any, Any], error: Refused | None = None, typed: Mapping[str, object] | None = None
) -> Answer:
    whole = shown.finding(visit.desk, visit.actor, decoding.number(visit.path["id"]))
    one = whole.finding
    facts = {"whole": whole, "one": one, "fix": mended(visit.say, one.fix), "error": error}
    facts["typed"] = typed or _BLANK
    return _screen(visit, "finding", {**facts, **_days(visit)}, error)


def _screen(
    visit: Visit[Any, Any], name: str, facts: dict[str, Any], error: Refused | None = None
) -> Screen:
    # What is of all gateways is not for a credential of one.
    whole = visit.actor.scope.gateway is None
    told = {
        "whole_fleet": whole,
        "severities": SEVERITIES,
        "states": STATES,
        "verdicts": VERDICTS,
        "views": TABS,
    }
    return Screen(f"findings/{name}.html", {**told, **facts}, status=error.status if error else 200)


def _end(day: date | None, visit: Visit[Any, Any]) -> datetime:
    """The end of a day in UTC; no day is now, which the operation refuses."""
    if day is None or day == date.max:
        return visit.now
    return datetime.combine(day + timedelta(days=1), time(), UTC)


def _days(visit: Visit[Any, Any]) -> dict[str, date]:
    today = visit.now.date()
    return {"first_day": today, "last_day": today + timedelta(days=3 * 365)}


tell(
    finding_accepted="The finding is accepted.",
    finding_reopened="The finding is open again.",
    findings_accepted="These findings are accepted, but for those of a gateway whose report came in between.",
)

PAGES: tuple[Page, ...] = (
    Page("GET", _PATH, search, Action.FINDING_READ, query=FindingSearch, menu="Findings"),
    Page("GET", f"{_PATH}/rules", rules, Action.FINDING_READ),
    Page("GET", f"{_PATH}/verdicts", verdicts, Action.FINDING_READ),
    Page("GET", f"{_PATH}/trend", over_time, Action.FINDING_READ),
    Page("GET", f"{_PATH}/accept", preview, Action.FINDING_ACCEPT, query=KnownSearch),
    Page("POST", f"{_PATH}/accept", accept_known, Action.FINDING_ACCEPT, form=KnownForm),
    Page("GET", f"{_PATH}/{{id}}", show, Action.FINDING_READ),
    Page("POST", f"{_PATH}/{{id}}/accept", accept, Action.FINDING_ACCEPT, form=AcceptForm),
    Page("POST", f"{_PATH}/{{id}}/reopen", reopen, Action.FINDING_ACCEPT, form=ReopenForm),
)
