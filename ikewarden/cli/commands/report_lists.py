"""`ikewarden report inventory`, `expiring`, `revocations`, `psk-age`: what there is, what ends or ended, what ages."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import click

from ikewarden.cli.help import command
from ikewarden.cli.options import Decorated, example
from ikewarden.cli.reporting import PATH, is_file, period_option, plain, report_options
from ikewarden.cli.screen import Column, Screen
from ikewarden.cli.session import Session, pass_session

Show = Callable[[Screen, Mapping[str, Any]], None]
# As many as one reads on a screen.
_FEW: Final = 20
_PARTS: Final = ("authorities", "gateways", "tunnels", "secrets", "in_force")


def _day(name: str) -> Callable[[Mapping[str, Any]], object]:
    def told(entry: Mapping[str, Any]) -> object:
        value = entry[name]
        return value[:10] if value else None

    return told


def _names(name: str) -> Callable[[Mapping[str, Any]], object]:
    """The names of a certificate, which are one in a line."""
    return lambda entry: (entry[name] or "").split("\n")


_ITEMS: Final = (
    Column("What", "what", whole=True),
    Column("Name", _names("name")),
    Column("Kind", "kind"),
    Column("State", "state", whole=True),
    Column("Gateway", "gateway", spare=True),
    Column("Since", _day("since"), whole=True, spare=True),
    Column("Until", _day("until"), whole=True),
)
_ENDING: Final = (
    Column("Ends", _day("not_after"), whole=True),
    Column("Days", "days", whole=True),
    Column("Names", _names("names")),
    Column("Gateway", "gateway", spare=True),
    Column("Profile", "profile", spare=True),
    Column("Serial number", "serial", whole=True, spare=True),
    Column("Renewed", "renewed", whole=True),
)
_REVOKED: Final = (
    Column("At", lambda entry: entry["revoked_at"][:16].replace("T", " ") + "Z", whole=True),
    Column("Names", _names("names")),
    Column("State", "state", whole=True),
    Column("Reason", "reason", whole=True),
    Column("Serial number", "serial", whole=True, spare=True),
    Column("Confirmed", lambda entry: f"{entry['confirmed']} of {entry['gateways']}", whole=True),
    Column("Seconds", "seconds", whole=True),
)
_AGES: Final = (
    Column("Tunnel", "tunnel"),
    Column("Kind", "kind", whole=True),
    Column("Days", "days", whole=True),
    Column("In use since", _day("current_at"), whole=True, spare=True),
    Column("Due", _day("due_at"), whole=True),
    Column("Overdue", "overdue", whole=True),
    Column("Rotation", "rotation", spare=True),
)


def _options(function: Decorated) -> Decorated:
    rows = click.option(
        "--rows",
        type=click.IntRange(0, 5000),
        metavar="N",
        help="How many of each are told of one by one. [default: 20; html, pdf, json: 200; csv: always all]",
    )
    return rows(report_options(function))


@command(
    "inventory",
    epilog=example(
        "ikewarden report inventory", "ikewarden report inventory --format csv --out inventory.csv"
    ),
)
@_options
@pass_session
def inventory(session: Session, /, out: Path | None, **asked: Any) -> None:
    """Report what there is.

    Authorities, gateways, tunnels, shared secrets, certificates in force.
    """
    _report(session, "inventory", asked, out, _show_inventory)


@command(
    "expiring",
    epilog=example(
        "ikewarden report expiring", "ikewarden report expiring --period next-90d --format html"
    ),
)
@period_option("next-30d", "Of which time")
@_options
@pass_session
def expiring(session: Session, /, out: Path | None, **asked: Any) -> None:
    """Report which certificates end, the soonest first."""
    _report(session, "expiring", asked, out, _show_expiring)


@command(
    "revocations",
    epilog=example(
        "ikewarden report revocations --period 2026-Q3",
        "ikewarden report revocations --period 2026-Q3 --format pdf --signed --out revocations.pdf",
    ),
)
@period_option("last-30d", "Of which time")
@_options
@pass_session
def revocations(session: Session, /, out: Path | None, **asked: Any) -> None:
    """Report what was revoked, and how soon gateways confirmed it."""
    _report(session, "revocations", asked, out, _show_revocations)


@command(
    "psk-age",
    epilog=example(
        "ikewarden report psk-age", "ikewarden report psk-age --format pdf --lang zh --out psk.pdf"
    ),
)
@_options
@pass_session
def psk_age(session: Session, /, out: Path | None, **asked: Any) -> None:
    """Report how old shared secrets are, the oldest first.

    Values are never told.
    """
    _report(session, "psk-age", asked, out, _show_ages)


def _report(
    session: Session, kind: str, asked: Mapping[str, Any], out: Path | None, show: Show
) -> None:
    client, screen = session.connect(), session.screen
    if is_file(session, kind, asked, out):
        return
    wanted = dict(plain(asked))
    if session.format == "text" and asked["rows"] is None:
        wanted["rows"] = _FEW
    found = client.get(f"{PATH}/{kind}", wanted)
    if screen.is_json:
        screen.json(found)
    else:
        show(screen, found)


def _show_inventory(screen: Screen, found: Mapping[str, Any]) -> None:
    counts = ", ".join(f"{found[each]['total']} {each.replace('_', ' ')}" for each in _PARTS)
    screen.note(f"There are {counts}.")
    rows = [item for each in _PARTS for item in found[each]["items"]]
    if rows:
        screen.table(_ITEMS, rows)
    _more(screen, sum(found[each]["more"] for each in _PARTS))


def _show_expiring(screen: Screen, found: Mapping[str, Any]) -> None:
    _span(screen, found, f"{found['total']} certificates end, {found['renewed']} are renewed.")
    for each in found["authorities"]:
        screen.note(f"The authority {each['name']} ends at {each['not_after']}.")
    if found["certificates"]:
        screen.table(_ENDING, found["certificates"])
    _more(screen, found["more"])


def _show_revocations(screen: Screen, found: Mapping[str, Any]) -> None:
    told = found["latency"]
    _span(
        screen,
        found,
        f"{found['revoked']} revoked, {found['held']} on hold; {told['confirmed']} of {told['cuts']} gateways have "
        "confirmed what they were told to end.",
    )
    if found["certificates"]:
        screen.table(_REVOKED, found["certificates"])
    _more(screen, found["more"])


def _show_ages(screen: Screen, found: Mapping[str, Any]) -> None:
    screen.note(
        f"{found['total']} shared secrets, {found['overdue']} overdue, {found['rotating']} in rotation, "
        f"{found['none_yet']} without a value yet."
    )
    if found["secrets"]:
        screen.table(_AGES, found["secrets"])
    _more(screen, found["more"])


def _span(screen: Screen, found: Mapping[str, Any], words: str) -> None:
    screen.note(f"{found['since'][:10]} to {found['until'][:10]}: {words}")


def _more(screen: Screen, number: int) -> None:
    if number:
        screen.note(f"There are {number} more; --format csv tells them all.")
