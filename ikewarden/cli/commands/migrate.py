"""`ikewarden migrate`: the records brought to this version of the program."""

from pathlib import Path

from ikewarden.cli.help import command
from ikewarden.cli.local import config_option, settings_of
from ikewarden.cli.options import directory_option, example
from ikewarden.cli.session import Session, pass_session


@command(epilog=example("ikewarden migrate --dir var"))
@directory_option
@config_option
@pass_session
def migrate(session: Session, config: Path | None) -> None:
    """Bring the records to this version of the program.

    All of it or nothing, and nothing if they are at this version. Back up the database first: there is no way back.
    """
    from ikewarden.wiring import records_url
    from store.schema import VERSIONS
    from store.schema import migrate as run

    run(records_url(settings_of(session, config)))
    session.screen.note(f"The records are at version {VERSIONS[-1]}.")
