"""What audits found on gateways: reported by agents, searched, accepted and opened again by people."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from api import cursors, decoding
from api.cursors import PageQuery
from api.decoding import PLAIN
from api.registry import Call, Nothing, Reply, Route, Sent, Shown
from api.v1.certificates import When, Word
from fleet.findings import filing, known, orders, shown
from fleet.findings.known import Known
from fleet.findings.records import FindingView
from fleet.findings.shown import FindingQuery
from fleet.findings.values import AuditReport, ReportedFinding
from ike.audit.values import Severity
from pki.actors import Action

_PATH = "/v1/findings"
_TAG = "Findings"
MAX_FINDINGS = 1000
MAX_ERRORS = 1000
Short = Annotated[str, Field(max_length=200, pattern=PLAIN)]
Sentence = Annotated[str, Field(max_length=1000, pattern=PLAIN)]
Prose = Annotated[str, Field(max_length=2000, pattern=PLAIN)]
FilePath = Annotated[str, Field(max_length=4096, pattern=PLAIN)]
Number = Annotated[int, Field(ge=0, lt=1 << 31)]
SeverityName = Literal["critical", "high", "medium", "low", "info"]
StateName = Literal["open", "accepted", "fixed"]


class Found(Sent):
    """A finding, as `ikewarden audit --format json` tells it."""

    id: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    rule: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,100}$")]
    area: Annotated[str, Field(pattern=r"^[a-z]{1,40}$")]
    severity: SeverityName
    path: FilePath
    line: Number | None = None
    subject: Sentence = ""
    title: Sentence
    evidence: Sentence
    why: Prose = ""
    fix: Prose = ""
    references: list[Short] = Field(default_factory=list, max_length=30)


class Acceptance(Sent):
    """What a file on the gateway says of a finding."""

    reason: Sentence = ""
    until: Short | None = None
    by: Short = ""


class Suppressed(Found):
    """A finding that a file on the gateway accepts. Here it is one like the others: people accept it here."""

    accepted: Acceptance = Acceptance()


class Unread(Sent):
    """Something that the audit could not look at."""

    path: FilePath
    line: Number | None = None
    error: Sentence


class Policy(Sent):
    """By what the audit judged."""

    baseline: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,40}$")] = "rfc"
    groups: list[Short] = Field(default_factory=list, max_length=100)
    users: list[Short] = Field(default_factory=list, max_length=100)
    encrypted_keys: bool = False
    certificates_only: bool = False
    expiring_days: Number = 30
    psk_bits: Number = 112


class Summary(Sent):
    """How much was looked at. What is counted of findings is counted again."""

    critical: Number = 0
    high: Number = 0
    medium: Number = 0
    low: Number = 0
    info: Number = 0
    files: Number = 0
    items: Number = 0


class Report(Sent):
    """The report of an audit, version 1."""

    version: Literal[1]
    host: Short = ""
    root: FilePath | None = None
    started: When
    seconds: float = Field(default=0.0, ge=0, le=10**7)
    policy: Policy = Policy()
    findings: list[Found] = Field(max_length=MAX_FINDINGS)
    suppressed: list[Suppressed] = Field(default_factory=list, max_length=MAX_FINDINGS)
    known: Number = 0
    errors: list[Unread] = Field(default_factory=list, max_length=MAX_ERRORS)
    summary: Summary = Summary()
    complete: bool = Field(
        default=True,
        description="False: something was left out for want of room, so that nothing counts as fixed by this report.",
    )


class FindingSearch(PageQuery):
    """Which findings."""

    gateway: Word | None = None
    severity: SeverityName | None = None
    state: StateName | None = None
    rule: Word | None = None
    q: Word | None = Field(default=None, description="Part of a path, title, subject or evidence.")


class Accept(Sent):
    """Until when it may stay, and why."""

    until: When = Field(description="At most three years from now.")
    why: Annotated[str, Field(min_length=1, max_length=1000, pattern=PLAIN)]


class AcceptKnown(Accept):
    """What many gateways have: which, until when it may stay, and why."""

    rule: Word
    path: Annotated[str, Field(min_length=1, max_length=4096, pattern=PLAIN)]
    gateway: Word | None = Field(description="Of this gateway; null: of all of them.")
    dry_run: bool = Field(default=False, description="Only count.")


class AcceptedShown(Shown):
    """What came of it."""

    findings: int = Field(description="How many open findings were accepted, or would be.")
    gateways: int = Field(description="Of how many gateways they are.")
    left: int = Field(description="How many more there are: ask again.")


class Reopen(Sent):
    """Why it may not stay any longer."""

    why: Sentence = ""


class AcceptanceShown(Shown):
    """Who accepted it, until when, and why."""

    until: datetime
    by: str
    why: str


class FindingShown(Shown):
    """A finding of a gateway."""

    id: int
    finding: str = Field(description="The same for the same finding on every gateway.")
    gateway: str
    rule: str
    area: str
    severity: str
    state: str
    path: str
    line: int | None
    subject: str
    title: str
    evidence: str
    why: str
    fix: str
    references: list[str]
    times: int = Field(description="How often it came back after it was fixed.")
    opened_at: datetime
    changed_at: datetime
    seen_at: datetime = Field(description="When a report last held it.")
    fixed_at: datetime | None
    accepted: AcceptanceShown | None


class EventShown(Shown):
    """A change of its state."""

    at: datetime
    state: str
    actor: str
    why: str
    until: datetime | None


class WholeFindingShown(FindingShown):
    """A finding and how it came to be what it is."""

    history: list[EventShown] = Field(description="The latest change first.")


class FindingPage(Shown):
    """Some findings, the worst first."""

    items: list[FindingShown]
    next_cursor: str | None


def report(call: Call[Report, Nothing]) -> Reply:
    """Take a report."""
    body = call.body
    made = AuditReport(
        started=body.started,
        baseline=body.policy.baseline,
        complete=body.complete,
        findings=tuple(map(_reported, (*body.suppressed, *body.findings))),
        errors=tuple(each.model_dump(mode="json") for each in body.errors),
        policy=body.policy.model_dump(mode="json"),
        figures={"seconds": body.seconds, "files": body.summary.files, "items": body.summary.items},
    )
    filing.file(call.desk, call.actor, made, now=call.now)
    return Reply(b"", status=204, media_type="")


def _reported(sent: Found) -> ReportedFinding:
    kept = {"id", "severity", "references", "line", "accepted"}
    return ReportedFinding(
        finding=sent.id,
        severity=Severity(sent.severity),
        references=tuple(sent.references),
        line=sent.line or None,
        **sent.model_dump(exclude=kept),
    )


def search(call: Call[None, FindingSearch]) -> Reply:
    """Search findings."""
    query = call.query
    wanted = FindingQuery(
        gateway=query.gateway,
        severity=query.severity,
        state=query.state,
        rule=query.rule,
        q=query.q,
        cursor=cursors.decode_pair(_PATH, query.cursor),
        limit=query.limit,
    )
    found = shown.search(call.desk, call.actor, wanted)
    last = f"{found[-1].rank}:{found[-1].id}" if found else None
    cursor, headers = cursors.next_page(_PATH, query, found, last)
    items = [finding_shown(each) for each in found]
    return Reply(FindingPage(items=items, next_cursor=cursor), headers=headers)


def show(call: Call[None, Nothing]) -> Reply:
    """Look at one finding."""
    found = shown.finding(call.desk, call.actor, decoding.number(call.path["id"]))
    history = [EventShown.model_validate(each) for each in found.history]
    return Reply(WholeFindingShown(**_fields(found.finding), history=history))


def accept(call: Call[Accept, Nothing]) -> Reply:
    """Accept a finding."""
    number, body = decoding.number(call.path["id"]), call.body
    found = orders.accept(call.desk, call.actor, number, body.until, body.why, now=call.now)
    return Reply(finding_shown(found))


def accept_known(call: Call[AcceptKnown, Nothing]) -> Reply:
    """Accept what many gateways have."""
    body = call.body
    wanted = Known(body.rule, body.path, body.gateway)
    if body.dry_run:
        return Reply(AcceptedShown.model_validate(known.count(call.desk, call.actor, wanted)))
    done = known.accept(call.desk, call.actor, wanted, body.until, body.why, now=call.now)
    return Reply(AcceptedShown.model_validate(done))


def reopen(call: Call[Reopen, Nothing]) -> Reply:
    """Take an acceptance back."""
    number = decoding.number(call.path["id"])
    found = orders.reopen(call.desk, call.actor, number, call.body.why, now=call.now)
    return Reply(finding_shown(found))


def finding_shown(view: FindingView) -> FindingShown:
    """A finding as it is shown."""
    return FindingShown(**_fields(view))


def _fields(view: FindingView) -> dict[str, Any]:
    fields: dict[str, Any] = {
        name: getattr(view, name)
        for name in FindingShown.model_fields
        if name not in {"references", "accepted"}
    }
    accepted = None
    if view.accepted_until is not None:
        accepted = AcceptanceShown(
            until=view.accepted_until, by=view.accepted_by or "", why=view.accepted_why or ""
        )
    return {**fields, "references": list(view.references), "accepted": accepted}


ROUTES = (
    Route(
        method="POST",
        path="/v1/gateways/self/findings",
        view=report,
        summary="Report what an audit of the calling gateway found; what is not in it any more is fixed",
        description=(
            "The document of `ikewarden audit --format json`. The same again changes nothing but when it was last "
            "seen; a report that was begun before the last one changes nothing. Where `errors` name a path, or "
            "`complete` is false, what was found there stays as it is."
        ),
        tag="Agents",
        action=Action.GATEWAY_SELF,
        body=Report,
        answer="",
        status=204,
        example={"version": 1, "started": "2026-11-28T12:00:00Z", "findings": []},
        refusals=(404, 422),
    ),
    Route(
        method="GET",
        path=_PATH,
        view=search,
        summary="Search findings of all gateways, the worst first",
        tag=_TAG,
        action=Action.FINDING_READ,
        query=FindingSearch,
        answer=FindingPage,
        refusals=(404, 422),
    ),
    Route(
        method="GET",
        path=_PATH + "/{id}",
        view=show,
        summary="Look at a finding: what it is, how it is mended, and who did what about it",
        tag=_TAG,
        action=Action.FINDING_READ,
        answer=WholeFindingShown,
        refusals=(404,),
    ),
    Route(
        method="POST",
        path=_PATH + "/{id}/accept",
        view=accept,
        summary="Accept a finding until a time, for a reason; then, or if it gets worse, it is open again",
        tag=_TAG,
        action=Action.FINDING_ACCEPT,
        body=Accept,
        answer=FindingShown,
        example={"until": "2027-06-30T00:00:00Z", "why": "a lab, with keys of its own"},
        refusals=(404, 409, 422),
    ),
    Route(
        method="POST",
        path=_PATH + "/accept",
        view=accept_known,
        summary="Accept the open findings of a rule at a path, of one gateway or of all",
        description=(
            "At most 2000 of them by one request; `left` tells of more. What is accepted already keeps its end and its "
            "reason; what is found later is open."
        ),
        tag=_TAG,
        action=Action.FINDING_ACCEPT,
        body=AcceptKnown,
        answer=AcceptedShown,
        example={
            "rule": "psk-weak",
            "path": "/etc/ipsec.secrets",
            "gateway": None,
            "until": "2027-06-30T00:00:00Z",
            "why": "replaced with the new routers",
            "dry_run": True,
        },
        refusals=(404, 422),
    ),
    Route(
        method="POST",
        path=_PATH + "/{id}/reopen",
        view=reopen,
        summary="Take the acceptance of a finding back",
        tag=_TAG,
        action=Action.FINDING_ACCEPT,
        body=Reopen,
        answer=FindingShown,
        example={"why": "the lab is in production now"},
        refusals=(404, 409, 422),
    ),
)
