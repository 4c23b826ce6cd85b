"""`ikewarden check-config`: a settings file before it is used."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from core.errors import IkewardenError
from ikewarden.cli.failures import FAILED
from ikewarden.cli.help import command
from ikewarden.cli.options import example, format_option
from ikewarden.cli.screen import Screen
from ikewarden.cli.session import Session, pass_session

if TYPE_CHECKING:
    from ikewarden.settings import Problem


@command(
    "check-config",
    epilog=example(
        "ikewarden check-config var/ikewarden.toml", "ikewarden check-config --reference"
    ),
)
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), required=False)
@click.option(
    "--reference", is_flag=True, help="Print all settings with their meaning, in Markdown."
)
@format_option()
@pass_session
def check_config(session: Session, file: Path | None, reference: bool) -> int:
    """Check a settings file and its enrollment endpoints, and tell all that is wrong.

    Environment variables that overrule the file are checked with it, as `serve` does.
    """
    from ikewarden.settings import Problem, SettingsInvalid, load_settings
    from ikewarden.settings_endpoints import InvalidEndpoint, endpoints_in
    from ikewarden.settings_reference import render

    screen = session.screen
    if reference:
        screen.verbatim(render())
        return 0
    if file is None:
        raise click.UsageError("Name a settings file, or give --reference.")
    try:
        endpoints_in(load_settings(file, session.environ).enrollment.endpoints_directory)
    except SettingsInvalid as error:
        return _tell(screen, error.problems, error)
    except InvalidEndpoint as error:
        found = Problem(str(file), "enrollment.endpoints_directory", error.message)
        return _tell(screen, (found,), error)
    if screen.is_json:
        screen.json({"ok": True, "problems": []})
    else:
        screen.line("ok")
    return 0


def _tell(screen: Screen, problems: "Sequence[Problem]", error: IkewardenError) -> int:
    if screen.is_json:
        screen.json({"ok": False, "problems": [vars(each) for each in problems]})
    for problem in problems if not screen.is_json else ():
        screen.line(str(problem))
    count = len(problems)
    screen.note(f"{count} problem{'s' if count > 1 else ''} ({error.code})")
    screen.note(f"  Next: {error.next_step}")
    return FAILED
