"""`ikewarden overview`: what needs a person now."""

from collections.abc import Mapping
from typing import Any, Final

from ikewarden.cli.help import command
from ikewarden.cli.options import client_command, example
from ikewarden.cli.screen import Column
from ikewarden.cli.session import Session, pass_session

# What was counted, and what shows it.
_KINDS: Final = {
    "alerts_critical": ("critical alerts", "alert list --severity critical"),
    "alerts_high": ("high alerts", "alert list --severity high"),
    "approvals_pending": ("approvals that wait for a decision", "approval list"),
    "authorities_expiring": ("CAs that end within 90 days", "ca list"),
    "certificates_expiring": (
        "certificates that end within 14 days and were not renewed",
        "cert list --status valid --expires-before 14d --not-renewed",
    ),
    "dead_letters": ("work after commit that failed for good", "job dead-letters"),
    "findings_critical": ("critical findings", "finding list --severity critical"),
    "findings_high": ("high findings", "finding list --severity high"),
    "gateways_no_certificate": (
        "gateways without a valid certificate",
        "gateway list --status no_certificate",
    ),
    "gateways_unreachable": ("gateways that are silent", "gateway list --status unreachable"),
    "jobs_failed": ("jobs that failed when they last ran", "job list"),
    "lists_late": ("CAs without a revocation list that is in its time", "ca list"),
    "ocsp_late": ("CAs for which nobody answers OCSP", "ca list"),
    "rotations_rolled_back": (
        "rotations undone within a day",
        "rotation list --state rolled_back",
    ),
    "rotations_stuck": ("rotations that are stuck", "rotation list --state stuck"),
}


def _command(entry: Mapping[str, Any]) -> str | None:
    known = _KINDS.get(entry["kind"])
    return None if known is None else f"ikewarden {known[1]}"


_COLUMNS: Final = (
    Column("Severity", "severity", whole=True),
    Column(
        "Count",
        lambda entry: f"{entry['count']}{'+' if entry['count_is_more'] else ''}",
        whole=True,
    ),
    Column("What", lambda entry: _KINDS.get(entry["kind"], (entry["kind"], ""))[0]),
    Column("Among them", lambda entry: ", ".join(entry["about"]) or None, spare=1),
    Column("Look with", _command),
)


@command(epilog=example("ikewarden overview", "ikewarden overview --format json"))
@client_command()
@pass_session
def overview(session: Session) -> None:
    """Tell what needs a person now.

    What you may not read is left out. With `--format json` also when certificates end, how old shared secrets are, and
    how often SAs were rekeyed.
    """
    found = session.connect().get("/v1/overview")
    if session.screen.is_json:
        session.screen.json(found)
        return
    needs = [each for each in found["needs"] if each["count"]]
    well = len(found["needs"]) - len(needs)
    session.screen.entries(_COLUMNS, needs, more=False, nothing="Nothing needs anybody now.")
    session.screen.note(f"{well} of {len(found['needs'])} things that were looked at are well.")
