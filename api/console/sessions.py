"""Who is signed in: all sessions for an admin, one's own for everybody; ended, one or all of a person."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from api import cursors, decoding
from api.console import cookies
from api.console.door import session_of
from api.console.lists import ROWS, ListSearch, Search, behind
from api.console.page import Answer, Form, Page, Redirect, Screen, Visit, tell, text
from api.console.render import link
from api.registry import Nothing
from api.v1.certificates import Word
from core.errors import NotFound
from pki import signed_in
from pki.actors import Action
from pki.guarded import person
from pki.signed_in import SessionView

_PATH: Final = "/sessions"
_ONE: Final = "/sessions/{id}/end"
_ALL: Final = "/sessions/end"
_OWN: Final = "/own-sessions"
WAYS: Final[Mapping[str, str]] = {
    "token": text("Token"),
    "certificate": text("Client certificate"),
    "oidc": text("Single sign-on"),
}


class SessionSearch(ListSearch):
    """Whose sessions."""

    person: Word | None = None


class Whose(Search):
    """Whose sessions end."""

    person: Word


class EndAllForm(Form):
    """Whose sessions end."""

    person: Word


@dataclass(frozen=True)
class _Row:
    """A session in a list. `this`: the one that looks."""

    view: SessionView
    way: str
    this: bool
    end_at: str
    end_all_at: str


def _row(visit: Visit[Any, Any], view: SessionView) -> _Row:
    return _Row(
        view=view,
        way=WAYS.get(view.way, view.way),
        this=view.id == session_of(visit).id,
        end_at=link(f"{_PATH}/{view.id}/end"),
        end_all_at=link(_ALL, person=view.name),
    )


def search(visit: Visit[None, SessionSearch]) -> Answer:
    """The sessions in force, newest first."""
    query = visit.query
    found = signed_in.list_(
        visit.desk,
        visit.actor,
        name=query.person,
        before=cursors.decode(_PATH, query.cursor, int),
        limit=ROWS,
        now=visit.now,
    )
    onward = behind(visit, _PATH, found, found[-1].id if found else None)
    rows = [_row(visit, each) for each in found]
    return Screen("sessions/list.html", {"rows": rows, "behind": onward, "query": query})


def ask_end(visit: Visit[None, Nothing]) -> Answer:
    """The page that shows which session ends."""
    number = decoding.number(visit.path["id"])
    found = signed_in.get(visit.desk, visit.actor, number, now=visit.now)
    shown = {"rows": [_row(visit, found)], "person": "", "target": link(f"{_PATH}/{number}/end")}
    return Screen("sessions/end.html", shown)


def end(visit: Visit[Form, Nothing]) -> Answer:
    """End a session."""
    number = decoding.number(visit.path["id"])
    try:
        signed_in.end(visit.desk, visit.actor, number, now=visit.now)
    except NotFound:
        return Redirect(_PATH, "session-over")
    return _ended(visit, "session-ended", out=number == session_of(visit).id)


def ask_end_all(visit: Visit[None, Whose]) -> Answer:
    """The page that shows which sessions of a person end."""
    return Screen("sessions/end.html", _ending(visit, visit.query.person))


def _ending(visit: Visit[Any, Any], name: str) -> dict[str, Any]:
    found = signed_in.list_(visit.desk, visit.actor, name=name, limit=signed_in.MOST, now=visit.now)
    return {"rows": [_row(visit, each) for each in found], "person": name, "target": _ALL}


def end_all(visit: Visit[EndAllForm, Nothing]) -> Answer:
    """End all sessions of a person."""
    name = visit.body.person
    signed_in.end_all(visit.desk, visit.actor, name, now=visit.now)
    return _ended(visit, "sessions-ended", out=person(name) == person(visit.actor.name))


def _ended(visit: Visit[Any, Any], done: str, *, out: bool) -> Redirect:
    """Back to the list, or to sign in where somebody ended his own session."""
    if out:
        return Redirect("/sign-in", done, cookies=(cookies.gone(cookies.SESSION),))
    return Redirect(_PATH, done)


def own(visit: Visit[None, Nothing]) -> Answer:
    """Where somebody is signed in himself."""
    found = signed_in.own(visit.desk, session_of(visit), now=visit.now)
    shown = {"rows": [_row(visit, each) for each in found], "target": f"{_OWN}/end"}
    return Screen("sessions/own.html", shown)


def end_own(visit: Visit[Form, Nothing]) -> Answer:
    """Sign out everywhere."""
    signed_in.end_own(visit.desk, session_of(visit), now=visit.now)
    return _ended(visit, "signed-out-everywhere", out=True)


tell(
    session_ended="The session is ended.",
    session_over="The session was over already.",
    sessions_ended="All sessions of this person are ended.",
    signed_out_everywhere="You are signed out everywhere.",
)

PAGES: tuple[Page, ...] = (
    Page("GET", _PATH, search, Action.SESSION_READ, query=SessionSearch),
    Page("GET", _ALL, ask_end_all, Action.SESSION_READ, query=Whose),
    Page("POST", _ALL, end_all, Action.SESSION_END, form=EndAllForm),
    Page("GET", _ONE, ask_end, Action.SESSION_READ),
    Page("POST", _ONE, end, Action.SESSION_END, form=Form),
    Page("GET", _OWN, own, None),
    Page("POST", f"{_OWN}/end", end_own, None, form=Form),
)
