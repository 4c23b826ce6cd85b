"""`ikewarden audit-log`: who did what, and when."""

from datetime import datetime

import click

from ikewarden.cli.help import command
from ikewarden.cli.lazy import Lazy, LazyGroup
from ikewarden.cli.options import PAST, client_command, example, limit_option, rfc3339
from ikewarden.cli.screen import Column
from ikewarden.cli.session import Session, pass_session

_EXPORT = "ikewarden.cli.commands.audit_log_export"
_VERIFY = "ikewarden.cli.commands.audit_log_verify"
_EVENTS = (
    Column("At", "at", whole=True),
    Column("Actor", "actor"),
    Column("Role", "role"),
    Column("Action", "action"),
    Column("Object", "object"),
    Column("Outcome", "outcome"),
    Column("Detail", "detail"),
)


@click.group(
    "audit-log",
    cls=LazyGroup,
    lazy={
        "list": Lazy(f"{__name__}:list_", "List events, newest first."),
        "head": Lazy(f"{_EXPORT}:head", "Print the newest signed head: keep it elsewhere."),
        "key": Lazy(
            f"{_EXPORT}:key", "Print the public key that heads are signed with: keep it elsewhere."
        ),
        "export": Lazy(f"{_EXPORT}:export", "Write all rows and the signed head into a file."),
        "verify": Lazy(
            f"{_VERIFY}:verify",
            "Check that no row of the audit log was changed, removed, put in or moved.",
        ),
        "accept-gap": Lazy(f"{_VERIFY}:accept_gap", "Go on after records were lost."),
    },
    epilog=example("ikewarden audit-log list --since 24h"),
)
def audit_log() -> None:
    """Who did what, and when."""


@command(
    "list",
    epilog=example(
        "ikewarden audit-log list --since 24h",
        "ikewarden audit-log list --action certificate.revoke --format json",
    ),
)
@click.option("--action", metavar="ACTION", help="Such as certificate.revoke.")
@click.option("--actor", metavar="NAME", help="The name of whoever acted.")
@click.option("--object", "about", metavar="OBJECT", help="Such as certificate:issuing:0a1b2c.")
@click.option("--since", type=PAST, metavar="TIME", help="RFC 3339, a date, or how long ago: 24h.")
@click.option("--until", type=PAST, metavar="TIME", help="The same for the end.")
@limit_option
@client_command()
@pass_session
def list_(
    session: Session,
    action: str | None,
    actor: str | None,
    about: str | None,
    since: datetime | None,
    until: datetime | None,
    limit: int,
) -> None:
    """List events, newest first."""
    query = {
        "action": action,
        "actor": actor,
        "object": about,
        "since": rfc3339(since),
        "until": rfc3339(until),
    }
    found = session.connect().listing("/v1/audit-events", query, limit=limit)
    session.screen.entries(_EVENTS, found.items, more=found.more, nothing="No such event.")
