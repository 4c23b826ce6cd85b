"""`ikewarden serve`: the service."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ikewarden.cli.help import command
from ikewarden.cli.local import config_option, settings_file
from ikewarden.cli.options import directory_option, example
from ikewarden.cli.place import ADMIN_TOKEN, api_url, program
from ikewarden.cli.session import Session, pass_session

if TYPE_CHECKING:
    from ikewarden.settings_model import Settings


@command(epilog=example("ikewarden serve --dir var", "ikewarden serve --only scheduler --dir var"))
@directory_option
@config_option
@click.option(
    "--only",
    type=click.Choice(["api", "validation", "scheduler", "syslog"]),
    help="Run one part only, where the parts run on several machines.",
)
@pass_session
def serve(session: Session, config: Path | None, only: str | None) -> int:
    """Run the API, the validation listener and the scheduler.

    In one group of processes, until SIGTERM or Ctrl-C; with the receiver of syslog, where it is on.
    """
    settings = settings_file(session, config)
    from ikewarden.serve import run

    return run(
        settings,
        session.environ,
        only=only,
        announce=lambda known: _announce(session, settings.parent, known),
    )


def _announce(session: Session, directory: Path, settings: "Settings") -> None:
    """Say where the service is, while it starts: a person may be watching."""
    screen = session.screen
    url = api_url(directory, session.environ) or ""
    lines = [
        ("Console", f"{url}/"),
        ("API", url),
        ("CRLs and OCSP", settings.validation.public_url),
    ]
    if (directory / ADMIN_TOKEN).exists():
        lines.append(("Admin token", f"in {directory / ADMIN_TOKEN}, to sign in to the console"))
    screen.fields(lines)
    where = f" --dir {directory}" if "dir" in session.given else ""
    # Where that was done once, the same would find its files in the way.
    first = "cert list" if Path("gw1").exists() else "cert issue gw1.example.com --out gw1"
    screen.line(f"Try:  {program()} {first}{where}")
    screen.line("Stop: Ctrl-C")
    session.out.flush()
