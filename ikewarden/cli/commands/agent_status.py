"""`ikewarden agent status` and `unit`: what the agent knows, and how systemd runs it."""

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import IkewardenError
from ikewarden.cli.commands.agent import home_option
from ikewarden.cli.failures import FAILED
from ikewarden.cli.help import command
from ikewarden.cli.options import example, format_option
from ikewarden.cli.screen import shown
from ikewarden.cli.session import Session, pass_session

if TYPE_CHECKING:
    from ike.agent.home import Home


@command(epilog=example("ikewarden agent status", "ikewarden agent status --format json"))
@home_option
@format_option()
@pass_session
def status(session: Session, home: Path) -> int:
    """Show what the agent knows.

    Its identity, its certificates, the next renewal, the last contact with the service, the daemon, what is not as it
    should be, the shared secrets by version and how long ago a peer authenticated under the one in use, and the SAs of
    the last look. Asks neither service nor daemon. Exit code 1 where something is wrong.
    """
    from ike.agent.home import Home
    from ike.agent.status import may_read, published
    from ike.agent.status import status as look

    place = Home(home)
    document = None if may_read(place) else published()
    if document is None:
        document = look(place, session.clock())
    _show(session, document)
    wrong = document["errors"] or (document.get("watch") or {}).get("errors")
    return 0 if document["state"] == "working" and not wrong else FAILED


def tell(session: Session, home: "Home") -> None:
    """Show the same after a round."""
    from ike.agent.status import status as look

    _show(session, look(home, session.clock()))


def _show(session: Session, document: dict[str, Any]) -> None:
    screen = session.screen
    if screen.is_json:
        screen.json(document)
        return
    certificate = document["certificate"] or {}
    daemon = document["daemon"]
    secrets = [_slot(each) for each in document.get("secrets", [])]
    screen.fields(
        [
            ("Gateway", document["gateway"]),
            ("State", document["state"]),
            ("Service", document["url"]),
            ("Last contact", document["last_contact"]),
            *([("Contact error", document["contact_error"])] if document["contact_error"] else []),
            ("Names", document["names"]),
            ("Serial", certificate.get("serial")),
            ("Expires", certificate.get("not_after")),
            ("Key", _key(certificate)),
            ("Next renewal", document["next_renewal"]),
            ("Proof", certificate.get("proof")),
            (
                "Daemon",
                f"{daemon.get('kind', daemon['wanted'])} {daemon.get('version', '')}".strip(),
            ),
            ("State version", document["applied_version"]),
            (
                "Generations",
                [f"{each['number']} {each['stage']}" for each in document["generations"]],
            ),
            *([("Shared secrets", secrets)] if secrets else []),
            *([("Last audit", _audit(document["audit"]))] if document.get("audit") else []),
            *([("Watch over SAs", _watch(document["watch"]))] if document.get("watch") else []),
            ("Drift", [f"{each['message']} ({each['code']})" for each in document["drift"]]),
            ("Errors", [line for each in document["errors"] for line in _error(each)]),
            (
                "SAs",
                [f"{sa['connection']}: {sa['remote_id']} {sa['state']}" for sa in document["sas"]],
            ),
        ]
    )


def _key(certificate: dict[str, Any]) -> str | None:
    """Its kind, and where it is; None while there is none."""
    kind, place = certificate.get("key"), certificate.get("key_in", "file")
    return kind and (f"{kind}, in a file" if place == "file" else f"{kind}, in {place}")


def _audit(audit: dict[str, Any]) -> str:
    """When, what was found, and whether the service knows of it."""
    counts = [f"{number} {name}" for name, number in audit.get("summary", {}).items() if number]
    found = ", ".join(each for each in counts if not each.endswith((" files", " items")))
    error = f"; {audit['error']}" if audit.get("error") else ""
    told = "reported" if audit.get("told_at") else "not reported yet"
    return f"{shown(audit.get('at'))}: {found or 'nothing found'}; {told}{error}"


def _watch(watch: dict[str, Any]) -> str:
    """From where, how far the service knows of it, and what keeps it from more."""
    told = f"told at {shown(watch['told_at'])}" if watch.get("told_at") else "nothing told yet"
    waiting = f"; {watch['waiting']} events wait" if watch.get("waiting") else ""
    errors = "".join(f"; {each}" for each in watch.get("errors", []))
    return f"{watch.get('source')}: {told}{waiting}{errors}"


def _slot(slot: dict[str, Any]) -> str:
    versions = ", ".join(map(str, slot["versions"])) or "none"
    age = slot["authenticated_seconds"]
    proof = "not seen to be used" if age is None else f"authenticated {_age(age)} ago"
    wrong = f"; {slot['error']} ({slot['error_code']})" if slot["error_code"] else ""
    return f"{slot['name']}: versions loaded: {versions}; {proof}{wrong}"


def _error(error: dict[str, str]) -> list[str]:
    next_step = error.get("next_step")
    said = f"{error['message']} ({error['code']})"
    return [said, f"  Next: {next_step}"] if next_step else [said]


def _age(seconds: int) -> str:
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"


@command(
    epilog=example("ikewarden agent unit > /etc/systemd/system/ikewarden-agent.service"),
)
@home_option
@format_option()
@pass_session
def unit(session: Session, home: Path) -> None:
    """Print a systemd unit for the agent.

    Hardened: it may write its home and the daemon's folders, and talk to the network and to the daemon's socket.
    """
    from ike.agent.home import Home
    from ike.agent.unit import unit as unit_for

    try:
        settings = Home(home).settings()
    except IkewardenError:
        settings = None  # before enrollment; then all daemons' folders are named
    beside = Path(sys.executable).with_name("ikewarden")
    program = str(beside) if beside.exists() else shutil.which("ikewarden") or "ikewarden"
    text = unit_for(program, home, settings)
    if session.screen.is_json:
        session.screen.json({"unit": text})
    else:
        session.screen.verbatim(text)
