"""`ikewarden report`: what the audits of the whole fleet came to, and how its tunnels fared."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import click

from ikewarden.cli.commands.finding import SEVERITIES, place
from ikewarden.cli.files import PUBLIC, write_over
from ikewarden.cli.help import command
from ikewarden.cli.lazy import Lazy, LazyGroup
from ikewarden.cli.options import client_command, example
from ikewarden.cli.screen import Column, Screen
from ikewarden.cli.session import Session, pass_session

PATH: Final = "/v1/reports"
FILES: Final = ("html", "csv")


def _accepted(entry: Mapping[str, Any]) -> str:
    worst = entry["accepted_worst"]
    up_to = f" (up to {worst})" if entry["accepted"] > 1 else f" ({worst})"
    return f"{entry['accepted']}{up_to if worst else ''}"


_FINDINGS: Final = (
    Column("Finding", "id", whole=True),
    Column("Severity", "severity", whole=True),
    Column("Gateway", "gateway", whole=True),
    Column("Where", place),
    Column("Rule", "rule", spare=1),
)
_EXCEPTIONS: Final = (
    *_FINDINGS[:4],
    Column("By", lambda entry: entry["accepted"]["by"], spare=1),
    Column("Why", lambda entry: entry["accepted"]["why"], spare=2),
    Column("Until", lambda entry: entry["accepted"]["until"][:10], whole=True),
)
_UNREAD: Final = (
    Column("Gateway", "gateway"),
    Column("Where", place),
    Column("Why", "error"),
)
_MORE: Final = {
    "findings": "findings; --format csv tells them all",
    "exceptions": "exceptions; --format csv tells them all",
    "unread": "unread places; `ikewarden finding unread GATEWAY` tells those of one",
}
# As many as one reads on a screen.
_FEW: Final = 20
_COUNTS: Final = tuple(Column(name.capitalize(), name, whole=True) for name in SEVERITIES)
_RULES: Final = (
    Column("Severity", "severity", whole=True),
    Column("Rule", "rule"),
    Column("What", "title", spare=True),
    Column("Open", "open", whole=True),
    Column("Accepted", "accepted", whole=True),
    Column("Gateways", "gateways", whole=True),
)
_GATEWAYS: Final = (
    Column("Gateway", "gateway"),
    Column("Baseline", "baseline", whole=True, spare=True),
    Column("Verdict", "verdict", whole=True),
    *_COUNTS,
    Column("Accepted", _accepted, whole=True, spare=True),
    Column("Unread", "errors", whole=True, spare=True),
    Column("Last report", "reported_at", whole=True, spare=True),
)


def _verdicts(name: str, entry: Mapping[str, Any]) -> object:
    return entry["verdicts"][name]


_BASELINES: Final = (
    Column("Baseline", lambda entry: entry["baseline"] or "never reported"),
    Column("Gateways", "gateways", whole=True),
    *(
        Column(name.capitalize(), partial(_verdicts, name), whole=True)
        for name in ("compliant", "excepted", "failing", "unknown")
    ),
    Column("Failing by area", lambda entry: entry["areas"] or None, spare=True),
)


@click.group(
    cls=LazyGroup,
    lazy={
        "audit": Lazy(f"{__name__}:audit", "Report what was found: by severity, rule and gateway."),
        "compliance": Lazy(
            f"{__name__}:compliance", "Report which gateways are as their baseline wants them."
        ),
        "sa-health": Lazy(
            f"{__name__}_health:sa_health", "Report how tunnels fared, the worst first."
        ),
    },
    epilog=example("ikewarden report audit --format html --out audit.html"),
)
def report() -> None:
    """Reports of the whole fleet."""


def _options(function: Callable[..., Any]) -> Callable[..., Any]:
    options = (
        click.option("--baseline", metavar="NAME", help="Only gateways audited by this one."),
        click.option(
            "--gateways",
            type=click.IntRange(0, 100_000),
            metavar="N",
            help="How many gateways are told of one by one, the worst first. "
            "[default: 100; csv: always all]",
        ),
        click.option(
            "--findings",
            type=click.IntRange(0, 5000),
            metavar="N",
            help="How many findings, exceptions and unread places are told of, the worst first. "
            "[default: 20; html, json: 500; csv: always all]",
        ),
        click.option(
            "--out",
            type=click.Path(dir_okay=False, path_type=Path),
            metavar="FILE",
            help="Write it there, in the place of what is there.",
        ),
        client_command(*FILES),
    )
    for option in reversed(options):
        function = option(function)
    return function


@command(
    "audit",
    epilog=example(
        "ikewarden report audit",
        "ikewarden report audit --baseline nist --format html --out audit.html",
    ),
)
@_options
@pass_session
def audit(session: Session, /, out: Path | None, **asked: Any) -> None:
    """Report what was found: by severity, rule and gateway."""
    _report(session, "audit", asked, out, _show_audit)


@command(
    "compliance",
    epilog=example(
        "ikewarden report compliance",
        "ikewarden report compliance --format csv --out compliance.csv",
    ),
)
@_options
@pass_session
def compliance(session: Session, /, out: Path | None, **asked: Any) -> None:
    """Report which gateways are as their baseline wants them.

    `failing`: something of medium severity or worse is open; `excepted`: what there is was accepted; `unknown`: no
    report for over eight days, or one that could not see everything.
    """
    _report(session, "compliance", asked, out, _show_compliance)


def _report(
    session: Session,
    kind: str,
    asked: Mapping[str, Any],
    out: Path | None,
    show: Callable[[Screen, Mapping[str, Any]], None],
) -> None:
    client, screen = session.connect(), session.screen
    if is_file(session, kind, asked, out):
        return
    if session.format == "text" and asked["findings"] is None:
        asked = {**asked, "findings": _FEW}
    found = client.get(f"{PATH}/{kind}", asked)
    if screen.is_json:
        screen.json(found)
    else:
        show(screen, found)


def is_file(session: Session, kind: str, asked: Mapping[str, Any], out: Path | None) -> bool:
    """Whether it is a report for a file; then it is written, to `out` or to the screen."""
    if out is not None and session.format == "text":
        raise click.UsageError("--out takes a report in --format html, csv or json.")
    if session.format not in FILES and out is None:
        return False
    parts = session.connect().parts(f"{PATH}/{kind}", {**asked, "format": session.format})
    content = _without_heads(parts) if session.format == "csv" else parts
    if out is None:
        for part in content:
            session.out.write(part.decode())
    else:
        write_over(out, content, PUBLIC)
        session.screen.note(f"Written to {out}.")
    return True


def _without_heads(parts: Iterable[bytes]) -> Iterator[bytes]:
    """The parts of a table as one: the first line of each names the columns."""
    for number, part in enumerate(parts):
        yield part.partition(b"\r\n")[2] if number else part


def _show_audit(screen: Screen, found: Mapping[str, Any]) -> None:
    rows = [{"state": state, **found[state]} for state in ("open", "accepted")]
    screen.table((Column("Findings", "state", whole=True), *_COUNTS), rows)
    screen.note(
        f"{found['reported']} of {found['gateways']} gateways have reported, "
        f"{found['late']} of them not for over eight days."
    )
    if found["rules"]:
        screen.line()
        screen.table(_RULES, [each for each in found["rules"] if each["open"] or each["accepted"]])
    _show_gateways(screen, found["worst"])
    _show_details(screen, found["details"])


def _show_compliance(screen: Screen, found: Mapping[str, Any]) -> None:
    if not found["baselines"]:
        screen.note("There is no gateway yet.")
        return
    screen.table(_BASELINES, found["baselines"])
    _show_gateways(screen, found["gateways"])
    _show_details(screen, found["details"])


def _show_gateways(screen: Screen, rows: list[dict[str, Any]]) -> None:
    if rows:
        screen.line()
        screen.table(_GATEWAYS, rows)


def _show_details(screen: Screen, details: Mapping[str, Any]) -> None:
    for name, columns in (
        ("findings", _FINDINGS),
        ("exceptions", _EXCEPTIONS),
        ("unread", _UNREAD),
    ):
        if details[name]:
            screen.line()
            screen.line(f"{name.capitalize()}:")
            screen.table(columns, details[name])
        if details["more"][name]:
            screen.note(f"There are {details['more'][name]} more {_MORE[name]}.")
