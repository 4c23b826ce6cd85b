"""The instance on this machine, for commands that work on it themselves and not over its API."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from getpass import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from ikewarden.cli.commands.serve import InstanceMissing
from ikewarden.cli.place import SETTINGS
from ikewarden.cli.session import Session

if TYPE_CHECKING:
    from hsm.sealedfiles import SealedFileKeyStore
    from pki.desk import Desk

config_option: Final = click.option(
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A settings file, in place of the one in the directory.",
)


@contextmanager
def open_desk(session: Session, config: Path | None) -> "Iterator[tuple[Desk, SealedFileKeyStore]]":
    """The instance's records and keys, until the block ends; whoever sits at the terminal is asked for what is sealed.

    Raises InstanceMissing, and what settings, keys and records raise.
    """
    settings_file = config or session.directory / SETTINGS
    if not settings_file.exists():
        raise InstanceMissing(
            f"There is no instance in {settings_file.parent}.",
            next_step="Name its directory with --dir, or its settings with --config.",
        )
    from ikewarden.settings import load_settings
    from ikewarden.wiring import make_desk, open_keys
    from store.schema import check_schema

    settings = load_settings(settings_file, session.environ)
    prompt = getpass if sys.stdin.isatty() else None
    keys = open_keys(settings, session.environ, prompt)
    desk = make_desk(settings, keys, session.environ)
    try:
        check_schema(desk.store)
        yield desk, keys.sealed
    finally:
        desk.store.close()
        keys.close()
