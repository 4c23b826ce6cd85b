"""The audit log: searched, looked at, and proved: that an event is under the signed head, that nothing was changed."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final

from pydantic import Field

from api import cursors, decoding
from api.console.lists import ROWS, ListSearch, behind
from api.console.mending import refused
from api.console.page import Answer, Download, Form, Page, Refused, Screen, Visit, text
from api.console.render import link
from api.console.tones import Tone, tone_of
from api.registry import Nothing
from api.v1 import audit_log as rest
from api.v1.certificates import Word
from core.errors import IkewardenError
from pki import audit_log, audit_proof, history
from pki.actors import Action
from pki.audit_log import SignedHead
from pki.history import AuditQuery
from pki.tlog import note

_PATH = "/audit-log"
OUTCOMES: Final[Mapping[str, Tone]] = {
    "ok": Tone("good", text("ok")),
    "intent": Tone("busy", text("intent")),
    "denied": Tone("bad", text("denied")),
    "failed": Tone("bad", text("failed")),
}
#: What each step of a check says, by `audit_proof.Step.code`.
STEPS = {
    "leaf": text("The row, as it is on record, hashes to this leaf."),
    "path": text("With the hashes of the proof, the leaf leads to this root."),
    "signature": text("The head is signed with this key of the log."),
    "head": text("The signed head is of this very tree. Its size:"),
    "kept": text("The head that was given is signed by this log. Its size:"),
    "grown": text("Today's tree begins with the tree of that head. Its size today:"),
}


class EventSearch(ListSearch):
    """Which events. The days are in UTC, both are part of the span."""

    action: Word | None = None
    actor: Word | None = None
    object: Word | None = None
    since: date | None = None
    until: date | None = None


class HeadForm(Form):
    """A head that somebody kept, as text."""

    note: str = Field(default="", max_length=note.LONGEST)


def search(visit: Visit[None, EventSearch]) -> Answer:
    """The list, newest first."""
    query = visit.query
    last_day = None if query.until in {None, date.max} else query.until
    wanted = AuditQuery(
        cursor=cursors.decode(_PATH, query.cursor, int),
        limit=ROWS,
        action=query.action,
        actor=query.actor,
        object=query.object,
        since=None if query.since is None else _midnight(query.since),
        until=None if last_day is None else _midnight(last_day + timedelta(days=1)),
    )
    found = history.audit_events(visit.desk, visit.actor, wanted)
    onward = behind(visit, _PATH, found, found[-1].id if found else None)
    shown = {"found": found, "behind": onward, "query": query, "outcome": _outcome}
    return Screen("audit_log/list.html", shown)


def show(visit: Visit[None, Nothing]) -> Answer:
    """One event, and the check of its proof."""
    number = decoding.number(visit.path["id"])
    event = history.audit_event(visit.desk, visit.actor, number)
    checked, error = None, None
    try:
        checked = audit_proof.inclusion(visit.desk, visit.actor, number)
    except IkewardenError as missing:
        error = refused(missing, visit)
    kind, _, about = event.object.partition(":")
    shown = {
        "event": event,
        "checked": checked,
        "error": error,
        "says": STEPS,
        "outcome": _outcome,
        "about": _page_about(kind, about),
    }
    return Screen("audit_log/event.html", shown)


def proof(visit: Visit[None, Nothing]) -> Answer:
    """The proof of an event, to be kept and checked elsewhere: what the REST API gives."""
    found = audit_log.inclusion(visit.desk, visit.actor, decoding.number(visit.path["id"]))
    content = rest.inclusion_shown(found).model_dump_json(indent=2, exclude_none=True)
    return Download(content.encode(), "application/json", f"audit-proof-{found.event}.json")


def head(visit: Visit[None, Nothing]) -> Answer:
    """The newest head, and the check of one that was kept."""
    return _head(visit)


def check(visit: Visit[HeadForm, Nothing]) -> Answer:
    """Check that the log begins with what a kept head says."""
    sent = visit.body
    try:
        checked = audit_proof.consistency(visit.desk, visit.actor, sent.note)
    except IkewardenError as error:
        return _head(visit, refused(error, visit), sent.note)
    return _head(visit, None, sent.note, checked)


def note_of_head(visit: Visit[None, Nothing]) -> Answer:
    """The newest head as a file, to be kept where nobody who writes to the records can write."""
    found = audit_log.head(visit.desk, visit.actor)
    return Download(
        found.note.encode(), "text/plain; charset=utf-8", f"audit-head-{found.size}.txt"
    )


def key(visit: Visit[None, Nothing]) -> Answer:
    """The log's public key as a file, as `ikewarden audit-log verify` wants it."""
    found = audit_log.head(visit.desk, visit.actor)
    return Download(f"{found.key}\n".encode(), "text/plain; charset=utf-8", "audit-log.pub")


def _head(
    visit: Visit[Any, Any],
    error: Refused | None = None,
    typed: str = "",
    checked: audit_proof.Checked | None = None,
) -> Answer:
    newest: SignedHead | None = None
    try:
        newest = audit_log.head(visit.desk, visit.actor)
    except audit_log.AuditLogNotBegun as missing:
        error = refused(missing, visit)
    shown = {"head": newest, "checked": checked, "error": error, "typed": typed, "says": STEPS}
    return Screen("audit_log/head.html", shown, status=error.status if error else 200)


def _outcome(known: str) -> Tone:
    return tone_of(OUTCOMES, known)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _page_about(kind: str, about: str) -> str:
    """The page of what an event is about, where there is one; empty where not."""
    if kind == "certificate" and about.count(":") == 1:
        return link(f"/certificates/{about.partition(':')[2]}")
    if kind == "approval" and about.isdigit():
        return f"/approvals/{about}"
    return ""


PAGES: tuple[Page, ...] = (
    Page("GET", _PATH, search, Action.AUDIT_READ, query=EventSearch, menu="Audit log"),
    Page("GET", f"{_PATH}/head", head, Action.AUDIT_READ),
    Page("POST", f"{_PATH}/head", check, Action.AUDIT_READ, form=HeadForm),
    Page("GET", f"{_PATH}/head.txt", note_of_head, Action.AUDIT_READ),
    Page("GET", f"{_PATH}/key.pub", key, Action.AUDIT_READ),
    Page("GET", f"{_PATH}/{{id}}", show, Action.AUDIT_READ),
    Page("GET", f"{_PATH}/{{id}}/proof.json", proof, Action.AUDIT_READ),
)
