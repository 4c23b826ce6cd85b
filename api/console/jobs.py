"""Jobs of the clock, and work after commit: how they do, what they did, and what needs a person."""

from collections.abc import Mapping
from typing import Any, Final

from api import cursors, decoding
from api.console.lists import ROWS, ListSearch, behind
from api.console.page import Answer, Form, Page, Redirect, Screen, Visit, tell, text
from api.console.tones import Tone
from api.registry import Nothing
from core.errors import NotFound
from pki import history
from pki.actors import Action

_PATH = "/jobs"
#: Of a run; one without an outcome is under way.
OUTCOMES: Final[Mapping[str | None, Tone]] = {
    "ok": Tone("good", text("ok")),
    "failed": Tone("bad", text("failed")),
    None: Tone("busy", text("running")),
}


class NoSuchJob(NotFound):
    """No job of this name ever ran."""

    code = "job_not_found"
    next_step = "Look at the list of jobs: it has all that ever ran."


class RunSearch(ListSearch):
    """Which runs."""


def show(visit: Visit[None, Nothing]) -> Answer:
    """All jobs, the backlog, and what failed for good. Watched, so that a person sees how it goes on."""
    shown = {
        "jobs": history.job_states(visit.desk, visit.actor),
        "depth": history.outbox_depth(visit.desk, visit.actor, now=visit.now),
        "dead": history.dead_letters(visit.desk, visit.actor),
        "outcomes": OUTCOMES,
    }
    return Screen("jobs/list.html", shown, part="now")


def runs(visit: Visit[None, RunSearch]) -> Answer:
    """What a job did, newest first."""
    name, path = visit.path["name"], f"{_PATH}/{visit.path['name']}"
    before = cursors.decode(path, visit.query.cursor, int)
    found = history.job_runs(visit.desk, visit.actor, name, cursor=before, limit=ROWS)
    if not found and before is None:
        raise NoSuchJob(f"No job {name!r} ever ran.")
    onward = behind(visit, path, found, found[-1].id if found else None)
    return Screen(
        "jobs/runs.html", {"name": name, "found": found, "behind": onward, "outcomes": OUTCOMES}
    )


def retry(visit: Visit[Form, Any]) -> Answer:
    """Queue work anew that failed for good."""
    history.retry(visit.desk, visit.actor, decoding.number(visit.path["id"]), now=visit.now)
    return Redirect(_PATH, "job-retried")


tell(job_retried="It is queued anew, as if it had never failed.")

PAGES: tuple[Page, ...] = (
    Page("GET", _PATH, show, Action.JOB_READ, live=True, menu="Jobs"),
    Page("GET", f"{_PATH}/{{name}}", runs, Action.JOB_READ, query=RunSearch),
    Page("POST", f"{_PATH}/dead-letters/{{id}}/retry", retry, Action.JOB_RETRY, form=Form),
)
