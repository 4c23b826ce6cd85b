"""Sessions of people at the web console: who is signed in, and ended."""

from datetime import datetime

from pydantic import Field

from api import cursors, decoding
from api.cursors import PageQuery
from api.registry import Call, Nothing, Reply, Route, Sent, Shown
from api.v1.certificates import Word
from pki import signed_in
from pki.actors import Action

_PATH = "/v1/sessions"
_TAG = "Sessions"


class SessionSearch(PageQuery):
    """Whose sessions."""

    person: Word | None = Field(
        default=None, description="Only of this one: the name, in whatever case."
    )


class Whose(Sent):
    """Whose sessions end."""

    person: Word = Field(description="The name, as a session has it, in whatever case.")


class Session(Shown):
    """A session in force. Its secret is in the person's browser and nowhere else."""

    id: int
    name: str = Field(description="The person.")
    role: str = Field(description="As it counts now.")
    way: str = Field(description="How he signed in: token, certificate or oidc.")
    credential: str = Field(
        description="With what: `token:ID`, `certificate:AUTHORITY:SERIAL`, `oidc:ISSUER#SUBJECT`."
    )
    client: str = Field(description="The address that he signed in from.")
    created_at: datetime
    seen_at: datetime = Field(description="When he last did something, to the minute.")
    expires_at: datetime = Field(description="When it is over in any case.")


class SessionPage(Shown):
    """Some sessions, newest first."""

    items: list[Session]
    next_cursor: str | None


class Ended(Shown):
    """What was done."""

    ended: int = Field(description="How many sessions there were.")


def list_(call: Call[None, SessionSearch]) -> Reply:
    """List sessions in force."""
    query = call.query
    found = signed_in.list_(
        call.desk,
        call.actor,
        name=query.person,
        before=cursors.decode(_PATH, query.cursor, int),
        limit=query.limit,
        now=call.now,
    )
    cursor, headers = cursors.next_page(_PATH, query, found, found[-1].id if found else None)
    items = [Session.model_validate(each) for each in found]
    return Reply(SessionPage(items=items, next_cursor=cursor), headers=headers)


def end(call: Call[None, Nothing]) -> Reply:
    """End a session."""
    signed_in.end(call.desk, call.actor, decoding.number(call.path["id"]), now=call.now)
    return Reply(b"", status=204, media_type="")


def end_all(call: Call[None, Whose]) -> Reply:
    """End all sessions of a person."""
    ended = signed_in.end_all(call.desk, call.actor, call.query.person, now=call.now)
    return Reply(Ended(ended=ended))


_AGAIN = (
    "Whoever can still sign in may do so again: revoke the token or certificate first, or shut the account at the "
    "OpenID provider."
)
ROUTES = (
    Route(
        method="GET",
        path=_PATH,
        view=list_,
        summary="List who is signed in to the web console, newest first",
        tag=_TAG,
        action=Action.SESSION_READ,
        query=SessionSearch,
        answer=SessionPage,
        refusals=(422,),
    ),
    Route(
        method="DELETE",
        path=_PATH,
        view=end_all,
        summary="End all sessions of a person, at once",
        description=_AGAIN,
        tag=_TAG,
        action=Action.SESSION_END,
        query=Whose,
        answer=Ended,
        refusals=(422,),
    ),
    Route(
        method="DELETE",
        path=_PATH + "/{id}",
        view=end,
        summary="End a session at once",
        description=_AGAIN,
        tag=_TAG,
        action=Action.SESSION_END,
        answer="",
        status=204,
        refusals=(404,),
    ),
)
