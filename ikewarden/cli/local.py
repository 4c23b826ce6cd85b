"""An instance of this machine, opened without its service: its settings, records and keys."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from getpass import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from ikewarden.cli.commands.serve import InstanceMissing
from ikewarden.cli.place import SETTINGS
from ikewarden.cli.session import Session

if TYPE_CHECKING:
    from hsm.sealedfiles import SealedFileKeyStore
    from ikewarden.settings_model import Settings
    from pki.desk import Desk


config_option: Final = click.option(
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A settings file, in place of the one in the directory.",
)


@dataclass(frozen=True)
class Opened:
    """What was opened; `keys` are the sealed ones."""

    settings_file: Path
    settings: "Settings"
    desk: "Desk"
    keys: "SealedFileKeyStore"


@contextmanager
def opened_instance(session: Session, config: Path | None) -> Iterator[Opened]:
    """Open the instance that the session names, or that of the settings `config`, until the block ends.

    Raises InstanceMissing, and what settings, key store and records raise.
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
        yield Opened(settings_file, settings, desk, keys.sealed)
    finally:
        desk.store.close()
        keys.close()
