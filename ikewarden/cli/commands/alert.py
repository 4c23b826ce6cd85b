"""`ikewarden alert`: what the rules say is wrong with SAs; looked at, silenced, told of again."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import click

from ikewarden.cli.commands.finding import SEVERITIES
from ikewarden.cli.help import command
from ikewarden.cli.lazy import Lazy, LazyGroup
from ikewarden.cli.options import (
    FUTURE,
    client_command,
    example,
    format_option,
    limit_option,
    rfc3339,
)
from ikewarden.cli.screen import Column
from ikewarden.cli.session import Session, pass_session

PATH: Final = "/v1/alerts"
_STATES: Final = ("open", "ended")
_ALL: Final = "all"


def _of(entry: Mapping[str, Any]) -> str:
    """What it is about: the connection, else the peer; and who, where each peer has an alert of its own."""
    return " ".join(filter(None, (entry["connection"] or entry["peer"], entry["identity"])))


def _state(entry: Mapping[str, Any]) -> str:
    return f"{entry['state']}, silenced" if entry["silenced"] else str(entry["state"])


def _since(entry: Mapping[str, Any]) -> str | None:
    """To the minute: seconds have no room on a terminal of 80 columns."""
    start = entry["start"]
    return f"{datetime.fromisoformat(start).astimezone(UTC):%Y-%m-%d %H:%MZ}" if start else None


_COLUMNS: Final = (
    Column("Alert", "id", whole=True),
    Column("Severity", "severity", whole=True),
    Column("Gateway", "gateway"),
    Column("Kind", "kind", whole=True),
    Column("About", _of),
    Column("State", _state, spare=1),
    Column("Since", _since, whole=True),
)
_EVENTS: Final = (
    Column("Event", "number", whole=True),
    Column("When", "at", whole=True),
    Column("What", "event", whole=True),
    Column("Peer", "peer"),
    Column("Identity", "identity"),
    Column("Why", "reason"),
)


@click.group(
    cls=LazyGroup,
    lazy={
        "list": Lazy(f"{__name__}:list_", "Search alerts of all gateways, the worst first."),
        "show": Lazy(
            f"{__name__}:show",
            "Show an alert: the numbers, the likely cause, the next step, the events that show it.",
        ),
        "explain": Lazy(
            f"{__name__}:explain", "Say what alerts of a kind mean, what is normal, what to do."
        ),
        "silence": Lazy(
            f"{__name__}:silence", "Tell nobody of a condition until a time, for a reason."
        ),
        "unsilence": Lazy(f"{__name__}:unsilence", "Take the silence of an alert back."),
    },
    epilog=example("ikewarden alert list --severity critical"),
)
def alert() -> None:
    """What is wrong with the SAs of the fleet."""


@command(
    "list",
    epilog=example(
        "ikewarden alert list --severity critical",
        "ikewarden alert list --gateway gw1.example.com --state all --kind rekey_too_fast",
    ),
)
@click.option("--gateway", metavar="NAME", help="Only those of this gateway.")
@click.option("--severity", type=click.Choice(SEVERITIES), help="Only these.")
@click.option(
    "--state",
    type=click.Choice([*_STATES, _ALL]),
    default="open",
    show_default=True,
    help="Only these.",
)
@click.option("--kind", metavar="KIND", help="Only those of this kind.")
@limit_option
@client_command()
@pass_session
def list_(session: Session, /, state: str, limit: int, **given: Any) -> None:
    """Search alerts of all gateways, the worst first.

    An alert is one condition: it is open as long as that lasts.
    """
    asked = {**given, "state": None if state == _ALL else state}
    found = session.connect().listing(PATH, asked, limit=limit)
    which = "of those asked for is" if any(given.values()) else "is"
    nothing = f"No alert {which} {'here' if state == _ALL else state}."
    session.screen.entries(_COLUMNS, found.items, more=found.more, nothing=nothing)


@command("show", epilog=example("ikewarden alert show 17"))
@click.argument("number", type=click.IntRange(1))
@client_command()
@pass_session
def show(session: Session, number: int) -> None:
    """Show an alert: the numbers, the likely cause, the next step, the events that show it."""
    screen = session.screen
    found = session.connect().get(f"{PATH}/{number}")
    if screen.is_json:
        screen.json(found)
        return
    screen.document({name: value for name, value in found.items() if name not in _APART})
    if found["events"]:
        screen.line()
        screen.table(_EVENTS, found["events"])


_APART: Final = frozenset({"events", "lines"})


@command(
    "explain",
    epilog=example("ikewarden alert explain", "ikewarden alert explain auth_guessing"),
)
@click.argument("kind", metavar="[KIND]", required=False)
@format_option()
@pass_session
def explain(session: Session, kind: str | None) -> None:
    """Say what alerts of a kind mean, what is normal, what to do.

    Without a kind it lists them. Asks no service. A service says the same to everybody at /docs/alerts/KIND.
    """
    from ike.detection.explanation import explanation, kinds

    if kind is None:
        _list_kinds(session, {each: explanation(each) or "" for each in kinds()})
        return
    page = explanation(kind)
    if page is None:
        known = ", ".join(kinds())
        raise click.BadParameter(f"There is no such kind. They are: {known}.", param_hint="KIND")
    if session.screen.is_json:
        session.screen.json({"kind": kind, "page": page})
    else:
        session.screen.verbatim(page)


def _list_kinds(session: Session, pages: Mapping[str, str]) -> None:
    titles = {kind: page.partition("\n")[0].removeprefix("# ") for kind, page in pages.items()}
    if session.screen.is_json:
        session.screen.json({"items": [{"kind": k, "title": titles[k]} for k in titles]})
        return
    for kind, title in titles.items():
        session.screen.line(f"{kind:<22}{title}")


@command(
    "silence",
    epilog=example("ikewarden alert silence 17 --until 12h --why 'the line is being replaced'"),
)
@click.argument("number", type=click.IntRange(1))
@click.option(
    "--until",
    type=FUTURE,
    metavar="TIME",
    required=True,
    help="RFC 3339, a date, or from now: 12h; at most a year.",
)
@click.option("--why", metavar="TEXT", required=True, help="For those who ask later.")
@client_command()
@pass_session
def silence(session: Session, number: int, until: datetime, why: str) -> None:
    """Tell nobody of a condition until a time, for a reason.

    It is watched all the same, also where it ends and comes back; what is there when the silence ends is told.
    """
    body = {"until": rfc3339(until), "why": why}
    session.screen.document(session.connect().post(f"{PATH}/{number}/silence", body))


@command("unsilence", epilog=example("ikewarden alert unsilence 17"))
@click.argument("number", type=click.IntRange(1))
@client_command()
@pass_session
def unsilence(session: Session, number: int) -> None:
    """Take the silence of an alert back."""
    session.screen.document(session.connect().post(f"{PATH}/{number}/unsilence", {}))
