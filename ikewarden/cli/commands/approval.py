"""`ikewarden approval`: what needs a second person; looked at, approved, refused, withdrawn."""

from typing import Final

import click

from ikewarden.cli.help import command
from ikewarden.cli.lazy import Lazy, LazyGroup
from ikewarden.cli.options import client_command, example, limit_option
from ikewarden.cli.screen import Column
from ikewarden.cli.session import Session, pass_session

PATH: Final = "/v1/approvals"
_STATES: Final = ("pending", "approved", "refused", "used", "expired", "withdrawn")
_ALL: Final = "all"
_COLUMNS: Final = (
    Column("Approval", "id", whole=True),
    Column("State", "state", whole=True),
    Column("Act", "act", whole=True),
    Column("Asked by", "asked_by"),
    Column("Until", "expires_at", whole=True),
    Column("Decided by", "decided_by"),
    Column("Reason", "reason", spare=1),
)
_reason_option: Final = click.option(
    "--reason", metavar="TEXT", required=True, help="It stands in the audit log."
)


@click.group(
    cls=LazyGroup,
    lazy={
        "list": Lazy(f"{__name__}:list_", "List requests for approval, newest first."),
        "show": Lazy(f"{__name__}:show", "Show a request: what exactly would be done."),
        "approve": Lazy(f"{__name__}:approve", "Approve what another person asked for."),
        "refuse": Lazy(f"{__name__}:refuse", "Refuse what another person asked for."),
        "withdraw": Lazy(f"{__name__}:withdraw", "Take back what you asked for yourself."),
    },
    epilog=example("ikewarden approval list"),
)
def approval() -> None:
    """What one person asks for and another one approves."""


@command("list", epilog=example("ikewarden approval list", "ikewarden approval list --state all"))
@click.option(
    "--state",
    type=click.Choice([*_STATES, _ALL]),
    default="pending",
    show_default=True,
    help="Only these.",
)
@click.option("--act", metavar="NAME", help="Only this, as in authority.create.")
@limit_option
@client_command()
@pass_session
def list_(session: Session, state: str, act: str | None, limit: int) -> None:
    """List requests for approval, newest first."""
    asked = {"state": None if state == _ALL else state, "act": act}
    found = session.connect().listing(PATH, asked, limit=limit)
    nothing = f"No approval is {'here' if state == _ALL else state}."
    session.screen.entries(_COLUMNS, found.items, more=found.more, nothing=nothing)


@command("show", epilog=example("ikewarden approval show 17"))
@click.argument("number", type=click.IntRange(1))
@client_command()
@pass_session
def show(session: Session, number: int) -> None:
    """Show a request: what exactly would be done.

    Its parameters are all that decides what comes of it, also what the asker left at its default.
    """
    session.screen.document(session.connect().get(f"{PATH}/{number}"))


@command("approve", epilog=example("ikewarden approval approve 17 --reason 'ticket 4711'"))
@click.argument("number", type=click.IntRange(1))
@_reason_option
@client_command()
@pass_session
def approve(session: Session, number: int, reason: str) -> None:
    """Approve what another person asked for.

    Look at it first (`approval show`). It is for exactly that, and for one time; you can refuse it until it is used.
    """
    _decide(session, number, "approve", reason)


@command("refuse", epilog=example("ikewarden approval refuse 17 --reason 'ticket 4711'"))
@click.argument("number", type=click.IntRange(1))
@_reason_option
@client_command()
@pass_session
def refuse(session: Session, number: int, reason: str) -> None:
    """Refuse what another person asked for.

    Also what was approved and is not used yet.
    """
    _decide(session, number, "refuse", reason)


def _decide(session: Session, number: int, decision: str, reason: str) -> None:
    body = {"decision": decision, "reason": reason}
    session.screen.document(session.connect().post(f"{PATH}/{number}", body))


@command("withdraw", epilog=example("ikewarden approval withdraw 17"))
@click.argument("number", type=click.IntRange(1))
@client_command()
@pass_session
def withdraw(session: Session, number: int) -> None:
    """Take back what you asked for yourself."""
    session.screen.document(session.connect().post(f"{PATH}/{number}/withdraw"))
