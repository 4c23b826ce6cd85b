"""`ikewarden report sa-health`: how tunnels fared over a time."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click

from ikewarden.cli.help import command
from ikewarden.cli.options import example
from ikewarden.cli.reporting import PATH, is_file, period_option, plain, report_options
from ikewarden.cli.screen import Column
from ikewarden.cli.session import Session, pass_session

_KIND: Final = "sa-health"
# As many as one reads on a screen.
_FEW: Final = 20


def _counted(told: Mapping[str, int]) -> str | None:
    return ", ".join(f"{name} {number}" for name, number in told.items()) or None


def _authenticated(entry: Mapping[str, Any]) -> str:
    hours, heard = entry["idle_hours"], entry["heard_at"]
    if hours is not None:
        return f"{hours} h ago"
    # To the hour, as it is counted.
    return f"none seen since {heard[:16].replace('T', ' ')}Z" if heard else "not known"


def _moment(text: str) -> str:
    return re.sub(r"\.\d+", "", text)


_COLUMNS: Final = (
    Column("Gateway", "gateway"),
    Column("Connection", lambda entry: entry["connection"] or None),
    Column("Worst", "worst", whole=True),
    Column("Open alerts", lambda entry: _counted(entry["open"])),
    Column("Past alerts", lambda entry: _counted(entry["past"]), spare=True),
    Column("Failures", lambda entry: _counted(entry["failures"])),
    Column("IKE SAs", "established", whole=True),
    Column("Rekeys", "rekeys", whole=True),
    Column("Authenticated", _authenticated, whole=True),
)


@command(
    _KIND,
    epilog=example(
        "ikewarden report sa-health",
        "ikewarden report sa-health --since 2027-03-01T00:00:00Z --format html --out health.html",
    ),
)
@click.option("--gateway", metavar="NAME", help="Only of this one.")
@period_option("--since and --until", "Of which time")
@click.option("--since", metavar="TIME", help="RFC 3339. [default: seven days before the end]")
@click.option("--until", metavar="TIME", help="RFC 3339. [default: now]")
@click.option(
    "--connections",
    type=click.IntRange(0, 10_000),
    metavar="N",
    help="How many are told of, the worst first. [default: 20; html, json: 100; csv: 10000]",
)
@report_options
@pass_session
def sa_health(session: Session, /, out: Path | None, **asked: Any) -> None:
    """Report how tunnels fared, the worst first.

    Rekeys, failures and alerts of a time, by gateway and connection.
    """
    if is_file(session, _KIND, asked, out):
        if session.format == "csv":  # in whose form there is no place for it
            _tell_nothing(session, {**asked, "connections": 0})
        return
    screen = session.screen
    if not screen.is_json and asked["connections"] is None:
        asked = {**asked, "connections": _FEW}
    found = session.connect().get(f"{PATH}/{_KIND}", plain(asked))
    if screen.is_json:
        screen.json(found)
        return
    screen.note(
        f"{_moment(found['since'])} to {_moment(found['until'])}: {found['open']} open alerts, {found['past']} past, "
        f"{found['failed']} failures, {found['rekeys']} rekeys; {found['connections']} connections in all."
    )
    if found.get("nothing"):
        screen.note(_empty(found["nothing"]))
        return
    screen.table(_COLUMNS, found["worst"])
    if found["more"]:
        screen.note(f"There are {found['more']} more connections; --format csv tells them.")


def _tell_nothing(session: Session, asked: Mapping[str, Any]) -> None:
    """Say so where a report is empty."""
    nothing = session.connect().get(f"{PATH}/{_KIND}", plain(asked)).get("nothing")
    if nothing:
        session.screen.note(_empty(nothing))


def _empty(nothing: Mapping[str, str]) -> str:
    return f"There is nothing to report. {nothing['why']} {nothing['next_step']}"
