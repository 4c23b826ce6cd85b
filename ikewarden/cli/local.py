"""An instance of this machine, opened without its service: its settings, records and keys."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from core.errors import NotFound
from ikewarden.cli.place import SETTINGS, require_finished
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


class InstanceMissing(NotFound):
    """There is nothing to serve."""

    code = "instance_missing"


@dataclass(frozen=True)
class Opened:
    """What was opened; `keys` are the sealed ones."""

    settings_file: Path
    settings: "Settings"
    desk: "Desk"
    keys: "SealedFileKeyStore"


def settings_file(session: Session, config: Path | None) -> Path:
    """The settings `config`, or those of the instance that the session names.

    Raises InstanceMissing, and InstanceUnfinished for half of one.
    """
    file = config or session.directory / SETTINGS
    require_finished(file.parent)
    if not file.exists():
        raise InstanceMissing(
            f"There is no instance in {file.parent}.",
            next_step=f"Make one with `ikewarden init --dir {file.parent}`, or name another: --dir or --config.",
        )
    return file


def settings_of(session: Session, config: Path | None) -> "Settings":
    """What they say. Raises InstanceMissing, InstanceUnfinished, and what settings raise."""
    from ikewarden.settings import load_settings

    return load_settings(settings_file(session, config), session.environ)


@contextmanager
def opened_instance(session: Session, config: Path | None) -> Iterator[Opened]:
    """Open the instance that the session names, or that of the settings `config`, until the block ends.

    Raises InstanceMissing, InstanceUnfinished, and what settings, key store and records raise.
    """
    from ikewarden.wiring import make_desk, open_keys
    from store.schema import check_schema

    settings = settings_of(session, config)
    keys = open_keys(settings, session.environ, session.ask)
    desk = make_desk(settings, keys, session.environ)
    try:
        check_schema(desk.store)
        yield Opened(settings_file(session, config), settings, desk, keys.sealed)
    finally:
        desk.store.close()
        keys.close()
