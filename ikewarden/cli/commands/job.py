"""`ikewarden job`: what is done by the clock, and work that failed for good."""

import click

from ikewarden.cli.help import command
from ikewarden.cli.lazy import Lazy, LazyGroup
from ikewarden.cli.options import client_command, example
from ikewarden.cli.screen import Column
from ikewarden.cli.session import Session, pass_session

_JOBS = (
    Column("Job", "job", whole=True),
    Column("Outcome", lambda entry: entry["outcome"] or "running"),
    Column("Started", "started_at", whole=True, spare=1),
    Column("Last success", "last_success_at", whole=True),
    Column("Last error", "last_error"),
)
_LETTERS = (
    Column("Id", "id", whole=True),
    Column("Topic", "topic"),
    Column("Key", "key"),
    Column("Attempts", "attempts"),
    Column("Since", "created_at", whole=True),
    Column("Last error", "last_error"),
)


@click.group(
    cls=LazyGroup,
    lazy={
        "list": Lazy(
            f"{__name__}:list_", "List jobs: when each ran last, and when it last worked."
        ),
        "dead-letters": Lazy(
            f"{__name__}:dead_letters", "List work after a commit that failed for good."
        ),
        "retry": Lazy(
            f"{__name__}:retry", "Queue work anew that failed for good, as if it had never failed."
        ),
    },
    epilog=example("ikewarden job list"),
)
def job() -> None:
    """What is done by the clock."""


@command("list", epilog=example("ikewarden job list", "ikewarden job list --format json"))
@client_command()
@pass_session
def list_(session: Session) -> None:
    """List jobs: when each ran last, and when it last worked."""
    found = session.connect().get("/v1/jobs")
    session.screen.entries(_JOBS, found["items"], nothing="No job has run yet.")


@command("dead-letters", epilog=example("ikewarden job dead-letters"))
@click.option(
    "--limit",
    type=click.IntRange(1, 500),
    metavar="N",
    default=100,
    show_default=True,
    help="How many at most.",
)
@client_command()
@pass_session
def dead_letters(session: Session, limit: int) -> None:
    """List work after a commit that failed for good."""
    found = session.connect().get("/v1/jobs/dead-letters", {"limit": limit})
    session.screen.entries(_LETTERS, found["items"], nothing="Nothing failed for good.")


@command("retry", epilog=example("ikewarden job retry 41"))
@click.argument("number", type=click.IntRange(1), metavar="ID")
@client_command()
@pass_session
def retry(session: Session, number: int) -> None:
    """Queue work anew that failed for good, as if it had never failed.

    It is done within a second. If what made it fail is still there, it is tried less and less often, for hours.
    """
    path = f"/v1/jobs/dead-letters/{number}/retry"
    session.screen.document(session.connect().post(path, {}))
