"""`ikewarden health`: what a container or a load balancer asks."""

from pathlib import Path

import click

from ikewarden.cli.failures import FAILED
from ikewarden.cli.help import command
from ikewarden.cli.local import config_option, settings_file
from ikewarden.cli.options import directory_option, example, format_option
from ikewarden.cli.place import ROOT_CERTIFICATE
from ikewarden.cli.session import Session, pass_session


@command(epilog=example("ikewarden health", "ikewarden health --only scheduler"))
@directory_option
@config_option
@click.option(
    "--only",
    type=click.Choice(["api", "validation", "scheduler"]),
    help="Ask one part only. [default: all three]",
)
@click.option(
    "--live", is_flag=True, help="Ask the API only whether it lives, not whether it is ready."
)
@format_option()
@pass_session
def health(session: Session, config: Path | None, only: str | None, live: bool) -> int:
    """Ask the service on this machine how it is.

    Ends with 0 when all is well and with 1 when something is not, which is told. Nobody needs a token for it: the API
    is asked at /readyz, the listener for CRLs and OCSP at /healthz, and what the scheduler did last is in the records.
    """
    from ikewarden import health as asking
    from ikewarden.settings import load_settings

    file = settings_file(session, config)
    settings = load_settings(file, session.environ)
    root = session.directory / ROOT_CERTIFICATE if config else file.parent / ROOT_CERTIFICATE
    parts = asking.PARTS if only is None else (only,)
    found = asking.troubles(settings, root, parts, ready=not live, now=session.clock())
    screen = session.screen
    if screen.is_json:
        troubles = [{"part": each.part, "code": each.code, "detail": each.detail} for each in found]
        screen.json({"ok": not found, "troubles": troubles})
    elif found:
        for each in found:
            screen.line(f"{each.part}: {each.detail} ({each.code})")
    else:
        screen.line("ok")
    return FAILED if found else 0
