"""`ikewarden change-passphrase`: the sealed keys and secrets under a new passphrase."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from core.secret import Secret
from ikewarden.cli.help import command
from ikewarden.cli.local import config_option, settings_of
from ikewarden.cli.options import directory_option, example, format_option
from ikewarden.cli.session import Session, pass_session

if TYPE_CHECKING:
    from ikewarden.settings_model import Settings


@command(
    epilog=example(
        "openssl rand -base64 24 | (umask 077 && cat > /etc/ikewarden/passphrase-2)",
        "ikewarden change-passphrase --new-file /etc/ikewarden/passphrase-2 --dir /var/lib/ikewarden",
    )
)
@click.option(
    "--new-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A file (mode 0600) with the new passphrase. [default: it is asked for]",
)
@directory_option
@config_option
@format_option()
@pass_session
def change_passphrase(session: Session, new_file: Path | None, config: Path | None) -> None:
    """Seal the keys and secrets in files under a new passphrase.

    The present one comes from where the settings say. A service that runs goes on; its next start needs the new one.
    Killed at any moment, exactly one of the two opens the keys. Keys stay as they are: who has the old passphrase and
    an old copy of the key directory still opens that copy.
    """
    from hsm.passphrase import require_strength
    from hsm.seal import Seal
    from hsm.seal import change_passphrase as change
    from ikewarden.wiring import sealing_passphrase

    settings = settings_of(session, config)
    old = sealing_passphrase(settings, session.environ, session.ask)
    Seal.open(settings.keys.directory, old)
    new = require_strength(_new(session, settings, new_file))
    change(settings.keys.directory, old, new, first=lambda: _record(session, settings))
    screen = session.screen
    if screen.is_json:
        file = None if new_file is None else str(new_file.absolute())
        screen.json({"directory": str(settings.keys.directory), "new_file": file})
    screen.note(_told(settings, new_file))


def _record(session: Session, settings: "Settings") -> None:
    from ikewarden.wiring import records_url
    from pki.actors import Actor, Role
    from pki.trail import leave
    from store.engine import open_store
    from store.schema import check_schema

    now, actor = session.clock(), Actor("console", Role.ADMIN)
    store = open_store(records_url(settings))
    try:
        check_schema(store)
        store.together(lambda unit: leave(unit, actor, "keys.passphrase", "keys:sealed", now=now))
    finally:
        store.close()


def _new(session: Session, settings: "Settings", file: Path | None) -> Secret:
    from hsm.passphrase import passphrase_from_file

    if file is not None:
        present = settings.keys.passphrase_file
        if present is not None and file.exists() and file.samefile(present):
            raise click.BadParameter(
                "That is the file with the present passphrase. Write the new one into another file.",
                param_hint="--new-file",
            )
        return passphrase_from_file(file)
    if session.ask is None:
        raise click.UsageError("Give --new-file: there is no terminal to ask for a passphrase.")
    text: str = click.prompt(
        "New passphrase for the keys", hide_input=True, confirmation_prompt=True, err=True
    )
    return Secret(text)


def _told(settings: "Settings", file: Path | None) -> str:
    keys = settings.keys
    if keys.passphrase_file is None and file is None:
        return f"Done. Give the new passphrase at the next start, or in {keys.passphrase_env}."
    if file is None:
        return f"Done. Write the new passphrase into {keys.passphrase_file} before the next start."
    told = f'Done. Set [keys] passphrase_file = "{file.absolute()}" before the next start.'
    old = "" if keys.passphrase_file is None else f" Then remove {keys.passphrase_file}."
    return told + old
