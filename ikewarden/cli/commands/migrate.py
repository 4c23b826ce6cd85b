"""`ikewarden migrate`: the records brought to this version of the program."""

from pathlib import Path

import click

from ikewarden.cli.commands.serve import InstanceMissing
from ikewarden.cli.help import command
from ikewarden.cli.options import directory_option, example
from ikewarden.cli.place import SETTINGS
from ikewarden.cli.session import Session, pass_session


@command(epilog=example("ikewarden migrate --dir var"))
@directory_option
@click.option(
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A settings file, in place of the one in the directory.",
)
@pass_session
def migrate(session: Session, config: Path | None) -> None:
    """Bring the records to this version of the program.

    All of it or nothing, and nothing if they are at this version. Back up the database first: there is no way back.
    """
    settings = config or session.directory / SETTINGS
    if not settings.exists():
        raise InstanceMissing(
            f"There is no instance in {settings.parent}.",
            next_step="Name its directory with --dir, or its settings with --config.",
        )
    from ikewarden.settings import load_settings
    from store.schema import VERSIONS
    from store.schema import migrate as run

    run(load_settings(settings, session.environ).database.url)
    session.screen.note(f"The records are at version {VERSIONS[-1]}.")
