"""`ikewarden agent enroll`: from one pasted line to a certificate in use."""

import os
import shlex
import stat
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from core.errors import IkewardenError, InvalidInput
from ikewarden.cli.commands.agent import HOME, files_options, home_option
from ikewarden.cli.help import command
from ikewarden.cli.options import example, format_option
from ikewarden.cli.place import program
from ikewarden.cli.session import Session, pass_session

if TYPE_CHECKING:
    from ike.agent.home import Home, Notes
    from ike.agent.settings import AgentSettings

_LONGEST = 16_384


class EnrollmentExposed(InvalidInput):
    """The enrollment stands in the arguments, where every user of the machine can read it."""

    code = "enrollment_exposed"
    next_step = (
        "Run `ikewarden agent enroll` and paste it when asked, or give it by --enrollment-file."
    )


enrollment_file_option = click.option(
    "--enrollment-file",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
    help="A file with the line of `ikewarden gateway enrollment`. [default: asked for, or standard input]",
)


@dataclass(frozen=True)
class Wanted:
    """What the command line says."""

    home: Path
    enrollment_file: Path | None
    daemon: str
    key_type: str
    key: str
    proof: str
    render: str | None
    out: Path | None
    changes: tuple[str, ...]
    force: bool


@command(
    epilog=example(
        "ikewarden agent enroll",
        "ikewarden agent enroll --enrollment-file gw1.enrollment --proof reauthenticate",
        "ikewarden agent enroll --key 'pkcs11:token=gw?module-path=/usr/lib/softhsm/libsofthsm2.so"
        "&pin-source=file:/etc/ikewarden/token-pin'",
        "ikewarden agent enroll --render pem --out /etc/myvpn/tls < gw1.enrollment",
    )
)
@click.argument("exposed", nargs=-1, type=click.UNPROCESSED, metavar="")
@enrollment_file_option
@click.option(
    "--daemon",
    type=click.Choice(["auto", "strongswan", "libreswan", "files"]),
    default="auto",
    show_default=True,
    help="Which IKE daemon runs here.",
)
@click.option(
    "--key-type",
    type=click.Choice(["ec-p256", "ec-p384", "rsa-3072", "ed25519"]),
    default="ec-p256",
    show_default=True,
    help="The kind of key to make, now and at renewals.",
)
@click.option(
    "--key",
    metavar="file|pkcs11:…",
    default="file",
    show_default=True,
    help="Where keys are made: a file, or a PKCS#11 token by its URI with module-path and pin-source.",
)
@click.option(
    "--proof",
    type=click.Choice(["loaded", "reauthenticate"]),
    default="loaded",
    show_default=True,
    help="When a renewed certificate counts as in use: the daemon lists it, or a peer accepted it.",
)
@files_options
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="NAME=VALUE",
    help="Another setting of agent.toml: strongswan.socket=/run/charon.vici, say. May be repeated.",
)
@click.option(
    "--force", is_flag=True, help="Enroll again; the key in use stays until the new one is."
)
@home_option
@format_option()
@pass_session
def enroll(session: Session, /, exposed: tuple[str, ...], **given: Any) -> int:
    """Make this gateway's key, get its certificate, and give both to the IKE daemon.

    The enrollment is one line that `ikewarden gateway enrollment NAME` prints. It pins the service's root, so that
    nobody else is believed, and holds a token for one certificate: it is read from the terminal, standard input or a
    file, never from the arguments.
    """
    if exposed:
        raise EnrollmentExposed("The enrollment does not belong into the arguments.")
    from ike.agent.enrollment import enroll as enroll_here
    from ike.agent.enrollment import read_line, settled
    from ike.agent.home import Home

    wanted = Wanted(**given)
    settings = _settings(wanted)
    enrollment = read_line(read_pasted(wanted.enrollment_file))
    home = Home(wanted.home)
    with home.locked(make=True):
        enroll_here(home, enrollment, settings, clock=session.clock, force=wanted.force)
        notes = _bring_into_use(session, home, settled(home))
    _tell(session, home, notes)
    return 0


def _settings(wanted: Wanted) -> "AgentSettings":
    from ike.agent.daemons import detect
    from ike.agent.settings import AgentSettings, FilesSettings, with_changes

    daemon = "files" if wanted.render else wanted.daemon
    if daemon == "files" and not wanted.out:
        raise click.UsageError("Give --out for the files, and --render for their kind.")
    settings = AgentSettings(
        url="",
        gateway="",
        daemon=detect() if daemon == "auto" else daemon,
        key_type=wanted.key_type,
        proof=wanted.proof,
    )
    if wanted.out:
        files = FilesSettings(render=wanted.render or "pem", out=str(wanted.out.absolute()))
        settings = replace(settings, files=files)
    return with_changes(settings, (f"key={wanted.key}", *wanted.changes))


def read_pasted(file: Path | None) -> str:
    """The enrollment from a file, standard input, or the terminal, where it is not shown."""
    if file is not None and str(file) != "-":
        with file.open("rb") as opened:
            mode = stat.S_IMODE(os.fstat(opened.fileno()).st_mode)
            if mode & 0o077:
                click.echo(
                    f"{file} is open to others (mode {mode:04o}), and the enrollment is a secret until it is used.",
                    err=True,
                )
            return opened.read(_LONGEST).decode("ascii", "replace")
    if file is None and os.isatty(0):
        # hidden: it holds a token, and screens are shared
        line: str = click.prompt("Enrollment (paste the whole line)", hide_input=True, err=True)
        return line
    return sys.stdin.read(_LONGEST)


def _bring_into_use(session: Session, home: "Home", settings: "AgentSettings") -> "Notes":
    """The first round; what it cannot do, the running agent will."""
    from ike.agent.clock import Clock
    from ike.agent.daemons import build
    from ike.agent.loop import Agent
    from ike.agent.report import error_entry

    try:
        daemon = build(settings, session.clock)
    except IkewardenError as error:
        notes = home.notes()
        notes.errors = [error_entry(error)]
        return notes
    return Agent(home, daemon, settings, Clock(session.clock)).once()


def _tell(session: Session, home: "Home", notes: "Notes") -> None:
    from ike.agent.status import status

    document = status(home, session.clock())
    screen = session.screen
    if screen.is_json:
        screen.json(document)
        return
    newest = document["generations"][-1]
    screen.fields(
        [
            ("Gateway", document["gateway"]),
            ("Serial", newest["serial"]),
            ("Expires", newest["not_after"]),
            ("In use", newest["stage"] == "current"),
        ]
    )
    for error in notes.errors:
        screen.note(f"{error['message']} ({error['code']})")
        if error.get("next_step"):
            screen.note(f"  Next: {error['next_step']}")
    if newest["stage"] != "current":
        screen.note("It is not in use yet: `ikewarden agent run` goes on with it.")
    where = "" if str(home.path) == HOME else f" --home {shlex.quote(str(home.path))}"
    unit = "/etc/systemd/system/ikewarden-agent.service"
    screen.note(f"Next: {program()} agent unit{where} > {unit}")
    screen.note("      systemctl enable --now ikewarden-agent")
