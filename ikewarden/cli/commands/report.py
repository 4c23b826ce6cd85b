"""`ikewarden report`: what there is in the whole fleet, what its audits came to, and how its tunnels fared."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import click

from ikewarden.cli.commands.finding import SEVERITIES, place
from ikewarden.cli.help import command
from ikewarden.cli.lazy import Lazy, LazyGroup
from ikewarden.cli.options import example
from ikewarden.cli.reporting import PATH, is_file, period_option, plain, report_options
from ikewarden.cli.screen import Column, Screen
from ikewarden.cli.session import Session, pass_session


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
        "inventory": Lazy(f"{__name__}_lists:inventory", "Report what there is."),
        "expiring": Lazy(
            f"{__name__}_lists:expiring", "Report which certificates end, the soonest first."
        ),
        "revocations": Lazy(
            f"{__name__}_lists:revocations",
            "Report what was revoked, and how soon gateways confirmed it.",
        ),
        "psk-age": Lazy(
            f"{__name__}_lists:psk_age", "Report how old shared secrets are, the oldest first."
        ),
        "audit": Lazy(f"{__name__}:audit", "Report what was found: by severity, rule and gateway."),
        "compliance": Lazy(
            f"{__name__}:compliance",
            "Report which gateways are as their baseline wants them, and what is evidence for which control.",
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
            "[default: 20; html, json: 200; csv: always all]",
        ),
        report_options,
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
        "ikewarden report compliance --period 2026-Q3 --format pdf --signed --out compliance.pdf",
    ),
)
@period_option("last-90d", "Of which time the evidence is counted")
@_options
@pass_session
def compliance(session: Session, /, out: Path | None, **asked: Any) -> None:
    """Report which gateways are as their baseline wants them, and what is evidence for which control.

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
    found = client.get(f"{PATH}/{kind}", plain(asked))
    if screen.is_json:
        screen.json(found)
    else:
        show(screen, found)


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
    _show_controls(screen, found["frameworks"])


_CONTROLS: Final = (
    Column("Framework", "framework", spare=1),
    Column("Control", "id", whole=True),
    Column("What it is about", "title"),
    Column("State", "state", whole=True),
)


def _show_controls(screen: Screen, frameworks: list[dict[str, Any]]) -> None:
    rows = [
        {"framework": each["title"], **control}
        for each in frameworks
        for control in each["controls"]
    ]
    screen.line()
    screen.table(_CONTROLS, rows)
    screen.note("The mapping is ours and certifies nothing; --format html or pdf has the evidence.")


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
