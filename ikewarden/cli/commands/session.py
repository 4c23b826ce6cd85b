"""`ikewarden session`: who is signed in to the web console, and ended."""

from typing import Final

import click

from ikewarden.cli.help import command
from ikewarden.cli.lazy import Lazy, LazyGroup
from ikewarden.cli.options import client_command, example, limit_option
from ikewarden.cli.screen import Column
from ikewarden.cli.session import Session, pass_session

_PATH: Final = "/v1/sessions"
_COLUMNS: Final = (
    Column("Session", "id", whole=True),
    Column("Person", "name"),
    Column("Role", "role", whole=True),
    Column("Way", "way", whole=True),
    Column("From", "client"),
    Column("Since", "created_at", whole=True),
    Column("Last seen", "seen_at", whole=True),
    Column("Until", "expires_at", whole=True, spare=1),
    Column("Credential", "credential", spare=2),
)


@click.group(
    cls=LazyGroup,
    lazy={
        "list": Lazy(f"{__name__}:list_", "List who is signed in, newest first."),
        "end": Lazy(f"{__name__}:end", "End a session, or all of a person, at once."),
    },
    epilog=example("ikewarden session list"),
)
def session() -> None:
    """Who is signed in to the web console."""


@command(
    "list",
    epilog=example("ikewarden session list", "ikewarden session list --person alice@example.com"),
)
@click.option("--person", metavar="NAME", help="Only of this one, in whatever case.")
@limit_option
@client_command()
@pass_session
def list_(session: Session, person: str | None, limit: int) -> None:
    """List who is signed in, newest first."""
    found = session.connect().listing(_PATH, {"person": person}, limit=limit)
    nothing = "Nobody is signed in." if person is None else f"{person} is not signed in."
    session.screen.entries(_COLUMNS, found.items, more=found.more, nothing=nothing)


@command(
    "end",
    epilog=example("ikewarden session end 17", "ikewarden session end --person alice@example.com"),
)
@click.argument("number", type=click.IntRange(1), required=False)
@click.option("--person", metavar="NAME", help="All sessions of this one, in whatever case.")
@client_command()
@pass_session
def end(session: Session, number: int | None, person: str | None) -> None:
    """End a session, or all of a person, at once.

    Whoever can still sign in may do so again: before, end the token (`token revoke`), revoke the certificate, or shut
    the account at the OpenID provider.
    """
    if (number is None) == (person is None):
        raise click.UsageError("Name a session by its number, or a person by --person.")
    client = session.connect()
    if person is None:
        client.delete(f"{_PATH}/{number}")
        ended = 1
        session.screen.note(f"Ended the session {number}.")
    else:
        ended = client.delete(_PATH, {"person": person})["ended"]
        said = "1 session" if ended == 1 else f"{ended} sessions"
        session.screen.note(f"Ended {said} of {person}.")
    if session.screen.is_json:
        session.screen.json({"ended": ended})
