"""`ikewarden finding`: what audits found on gateways; looked at, accepted, opened again."""

import csv
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

import click

from core.escaping import escaped
from core.spreadsheet import cell
from ikewarden.cli.help import command
from ikewarden.cli.lazy import Lazy, LazyGroup
from ikewarden.cli.options import FUTURE, client_command, example, limit_option, rfc3339
from ikewarden.cli.screen import Column
from ikewarden.cli.segments import segment
from ikewarden.cli.session import Session, pass_session

PATH: Final = "/v1/findings"
SEVERITIES: Final = ("critical", "high", "medium", "low", "info")
_STATES: Final = ("open", "accepted", "fixed")
_ALL: Final = "all"


def place(entry: Mapping[str, Any]) -> str:
    """Where it is: `path:line`."""
    line = f":{entry['line']}" if entry["line"] else ""
    return f"{entry['path']}{line}"


# The evidence is a sentence, for which a list has no room: `finding show` and CSV tell it.
_COLUMNS: Final = (
    Column("Finding", "id", whole=True),
    Column("Severity", "severity", whole=True),
    Column("Gateway", "gateway", whole=True),
    Column("Rule", "rule", spare=1),
    Column("Where", place),
    Column("Since", lambda entry: str(entry["changed_at"])[:10], whole=True, spare=2),
)
_STATE: Final = Column("State", "state", whole=True)
_UNREAD: Final = (
    Column("Where", place),
    Column("Why", "error"),
)
_CELLS: Final = (
    *("id", "severity", "gateway", "rule", "path", "line", "subject", "title", "evidence", "why"),
    *("fix", "state", "opened_at", "changed_at", "seen_at"),
)
_ACCEPTED: Final = ("by", "why", "until")
_HISTORY: Final = (
    Column("When", "at", whole=True),
    Column("State", "state", whole=True),
    Column("By", "actor"),
    Column("Why", "why"),
    Column("Until", "until", whole=True),
)


@click.group(
    cls=LazyGroup,
    lazy={
        "list": Lazy(f"{__name__}:list_", "Search findings of all gateways, the worst first."),
        "show": Lazy(
            f"{__name__}:show",
            "Show a finding: what it is, how it is mended, who did what about it.",
        ),
        "unread": Lazy(
            f"{__name__}:unread",
            "Tell what the last audit of a gateway could not look at, and why.",
        ),
        "accept": Lazy(f"{__name__}:accept", "Accept a finding until a time, for a reason."),
        "reopen": Lazy(f"{__name__}:reopen", "Take the acceptance of a finding back."),
    },
    epilog=example("ikewarden finding list --severity critical"),
)
def finding() -> None:
    """What audits found on gateways."""


@command(
    "list",
    epilog=example(
        "ikewarden finding list --severity critical",
        "ikewarden finding list --gateway gw1.example.com --state all",
        "ikewarden finding list swanctl.conf --rule psk-weak",
    ),
)
@click.argument("query", required=False)
@click.option("--gateway", metavar="NAME", help="Only those of this gateway.")
@click.option("--severity", type=click.Choice(SEVERITIES), help="Only these.")
@click.option(
    "--state",
    type=click.Choice([*_STATES, _ALL]),
    default="open",
    show_default=True,
    help="Only these.",
)
@click.option("--rule", metavar="RULE", help="Only those of this rule.")
@limit_option
@client_command("csv")
@pass_session
def list_(session: Session, /, query: str | None, state: str, limit: int, **given: Any) -> None:
    """Search findings of all gateways, the worst first.

    QUERY is part of a path, title, subject or evidence. It is what the gateways' agents reported last; `ikewarden
    audit` looks at this host itself.
    """
    asked = {**given, "q": query, "state": None if state == _ALL else state}
    client = session.connect()
    found = client.listing(PATH, asked, limit=limit)
    if session.format == "csv":
        _write_csv(session, found.items)
        if found.more:
            session.screen.note(f"There are more than these {limit}: give a larger --limit.")
        return
    columns = (*_COLUMNS, _STATE) if state == _ALL else _COLUMNS
    session.screen.entries(columns, found.items, more=found.more, nothing="No finding matches.")
    if given["gateway"] and not session.screen.is_json:
        places = len(client.get(_audit(given["gateway"]))["unread"])
        if places:
            session.screen.note(
                f"{places} places could not be looked at: `ikewarden finding unread {given['gateway']}`."
            )


def _audit(gateway: str) -> str:
    return f"/v1/gateways/{segment(gateway)}/audit"


def _write_csv(session: Session, entries: Iterable[Mapping[str, Any]]) -> None:
    """A line for each finding (RFC 4180)."""
    writer = csv.writer(session.out, lineterminator="\r\n")
    writer.writerow([*_CELLS, *(f"accepted_{name}" for name in _ACCEPTED)])
    for each in entries:
        accepted = each["accepted"] or {}
        values = [*(each[name] for name in _CELLS), *(accepted.get(name) for name in _ACCEPTED)]
        writer.writerow(
            [escaped(told) if isinstance(told := cell(v), str) else told for v in values]
        )


@command("unread", epilog=example("ikewarden finding unread gw1.example.com"))
@click.argument("gateway")
@client_command()
@pass_session
def unread(session: Session, gateway: str) -> None:
    """Tell what the last audit of a gateway could not look at, and why.

    `ikewarden report compliance` tells those of all gateways.
    """
    screen = session.screen
    found = session.connect().get(_audit(gateway))
    if screen.is_json:
        screen.json(found)
        return
    if found["reported_at"] is None:
        screen.note(f"{gateway} has not reported yet.")
        return
    screen.entries(_UNREAD, found["unread"], nothing="The last audit could look at everything.")
    if not found["complete"]:
        screen.note("The report left something out for want of room, or went by other measures.")


@command("show", epilog=example("ikewarden finding show 17"))
@click.argument("number", type=click.IntRange(1))
@client_command()
@pass_session
def show(session: Session, number: int) -> None:
    """Show a finding: what it is, how it is mended, who did what about it."""
    screen = session.screen
    found = session.connect().get(f"{PATH}/{number}")
    if screen.is_json:
        screen.json(found)
        return
    screen.document({name: value for name, value in found.items() if name != "history"})
    screen.line()
    screen.table(_HISTORY, found["history"])


@command(
    "accept",
    epilog=example(
        "ikewarden finding accept 17 --until 90d --why 'a lab, with keys of its own'",
        "ikewarden finding accept --rule psk-weak --path /etc/ipsec.secrets --all-gateways "
        "--until 2027-06-30 --why 'replaced with the new routers' --dry-run",
    ),
)
@click.argument("number", type=click.IntRange(1), required=False)
@click.option("--rule", metavar="RULE", help="In place of NUMBER: the open ones of this rule …")
@click.option("--path", metavar="PATH", help="… at this path, which is no pattern …")
@click.option("--gateway", metavar="NAME", help="… of this gateway …")
@click.option("--all-gateways", is_flag=True, help="… or of all gateways.")
@click.option("--dry-run", is_flag=True, help="Only tell how many these are.")
@click.option(
    "--until",
    type=FUTURE,
    metavar="TIME",
    required=True,
    help="RFC 3339, a date, or from now: 90d; at most three years.",
)
@click.option("--why", metavar="TEXT", required=True, help="For those who ask later.")
@client_command()
@pass_session
def accept(
    session: Session, /, number: int | None, until: datetime, why: str, **known: Any
) -> None:
    """Accept a finding until a time, for a reason.

    Then, or if it gets worse, it is open again. One that is fixed and comes back is open, too; so is what is found
    later.
    """
    body = {"until": rfc3339(until), "why": why}
    if number is None:
        _accept_known(session, body, **known)
        return
    if any(known.values()):
        raise click.UsageError("Give a NUMBER, or --rule and --path.")
    session.screen.document(session.connect().post(f"{PATH}/{number}/accept", body))


def _accept_known(
    session: Session,
    body: Mapping[str, Any],
    *,
    rule: str | None,
    path: str | None,
    gateway: str | None,
    all_gateways: bool,
    dry_run: bool,
) -> None:
    if not rule or not path:
        raise click.UsageError("Give a NUMBER, or --rule and --path.")
    if (gateway is None) == (not all_gateways):
        raise click.UsageError("Give --gateway NAME or --all-gateways.")
    client, screen = session.connect(), session.screen
    asked = {**body, "rule": rule, "path": path, "gateway": gateway}
    there = client.post(f"{PATH}/accept", {**asked, "dry_run": True})
    screen.note(f"{there['findings']} open findings on {there['gateways']} gateways.")
    if dry_run:
        screen.document({"would_accept": there["findings"], "gateways": there["gateways"]})
        return
    accepted, left = 0, there["findings"]
    while left:
        done = client.post(f"{PATH}/accept", asked)
        accepted, left = accepted + done["findings"], done["left"]
        if left and not done["findings"]:
            break
    screen.document({"accepted": accepted})


@command("reopen", epilog=example("ikewarden finding reopen 17 --why 'it is in production now'"))
@click.argument("number", type=click.IntRange(1))
@click.option("--why", metavar="TEXT", default="", help="For those who ask later.")
@client_command()
@pass_session
def reopen(session: Session, number: int, why: str) -> None:
    """Take the acceptance of a finding back."""
    session.screen.document(session.connect().post(f"{PATH}/{number}/reopen", {"why": why}))
