"""`ikewarden check-config`: a settings file before it is used."""

from pathlib import Path

import click

from ikewarden.cli.failures import FAILED
from ikewarden.cli.help import command
from ikewarden.cli.options import example, format_option
from ikewarden.cli.session import Session, pass_session


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
    """Check a settings file, and tell all that is wrong.

    Environment variables that overrule the file are checked with it, as `serve` does.
    """
    from ikewarden.settings import SettingsInvalid, load_settings
    from ikewarden.settings_reference import render

    screen = session.screen
    if reference:
        screen.verbatim(render())
        return 0
    if file is None:
        raise click.UsageError("Name a settings file, or give --reference.")
    try:
        load_settings(file, session.environ)
    except SettingsInvalid as error:
        if screen.is_json:
            screen.json({"ok": False, "problems": [vars(each) for each in error.problems]})
        for problem in error.problems if not screen.is_json else ():
            screen.line(str(problem))
        count = len(error.problems)
        screen.note(f"{count} problem{'s' if count > 1 else ''} ({error.code})")
        screen.note(f"  Next: {error.next_step}")
        return FAILED
    if screen.is_json:
        screen.json({"ok": True, "problems": []})
    else:
        screen.line("ok")
    return 0
