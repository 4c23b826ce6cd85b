"""Put a backup into an empty directory and, for PostgreSQL, an empty database.

The whole file is verified before anything is written. Then all is made ready in a directory of its own inside the
target, and given its names at the end, the settings last: without them there is no instance.
"""

import os
import shutil
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from core.escaping import escaped
from ikewarden.backup import envelope, layout
from ikewarden.backup.archive import FILES, RECORDS, Manifest, Weighed, unpack
from ikewarden.backup.envelope import Opener
from ikewarden.backup.errors import (
    BackupUnreadable,
    BackupVersionUnknown,
    NoRoom,
    RestoreDatabaseDiffers,
    RestoreTargetTaken,
)
from ikewarden.backup.taking import alone, no_room, staged
from ikewarden.cli.files import sync
from ikewarden.cli.place import SETTINGS
from ikewarden.settings import load_settings
from ikewarden.settings_model import Settings
from ikewarden.wiring import records_url
from pki import backups
from pki.actors import Action, Actor, require
from store import copying
from store.engine import open_store, parse_url
from store.schema import VERSIONS

_STAGE: Final = ".restore"


def verify(file: envelope.File, opener: Opener) -> tuple[Manifest, int]:
    """Read the whole backup; tell what it is, and how large it is inside. Writes nothing.

    Raises BackupNotForThis, BackupUnreadable, BackupVersionUnknown.
    """
    inside = Weighed()
    envelope.decrypt(file, inside, opener)
    manifest = inside.manifest()
    if manifest.schema != VERSIONS[-1]:
        raise BackupVersionUnknown(
            f"The backup was made by ikewarden {escaped(manifest.program)} and has tables of version "
            f"{escaped(manifest.schema)}; this program has {VERSIONS[-1]}."
        )
    return manifest, inside.size


def restore(
    file: Any,
    opener: Opener,
    target: Path,
    actor: Actor,
    *,
    environ: Mapping[str, str],
    now: datetime,
) -> Manifest:
    """Restore into `target`, which is empty or does not exist; `environ` may overrule the settings' database.

    Nothing is signed or served from it before `sequencing.accept_gap`. Raises RoleMayNot, what `verify` raises,
    RestoreTargetTaken, RestoreDatabaseDiffers, DatabaseNotEmpty, BackupLayout, BackupRunning, NoRoom, OSError.
    """
    require(actor, Action.BACKUP_RESTORE)
    target = target.absolute()
    _refuse_taken(target)
    manifest, size = verify(file, opener)
    room = shutil.disk_usage(_existing(target)).free
    if room < 2 * size:
        raise NoRoom(f"The backup needs {2 * size} bytes, and {target} has {room}.")
    made = not target.exists()
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        with alone(target), no_room("There is no room for what is in the backup."):
            _refuse_taken(target)
            target.chmod(0o700)
            with staged(target, _STAGE) as stage:
                _fill(file, opener, stage, manifest, (actor, environ, now))
                _give_names(stage / FILES, target)
    except BaseException:
        if made and not any(target.iterdir()):
            target.rmdir()
        raise
    return manifest


def _refuse_taken(target: Path) -> None:
    if target.exists() and any(each.name != _STAGE for each in target.iterdir()):
        raise RestoreTargetTaken(f"{target} is not empty.")


def _existing(path: Path) -> Path:
    path = path.absolute()
    return path if path.exists() else _existing(path.parent)


def _fill(
    file: Any,
    opener: Opener,
    stage: Path,
    manifest: Manifest,
    surroundings: tuple[Actor, Mapping[str, str], datetime],
) -> None:
    """Make the instance ready in the stage, and its records, which say that they were restored."""
    actor, environ, now = surroundings
    archive = stage / "archive"
    with archive.open("w+b") as opened:
        archive.unlink()  # gone with this process, whatever happens
        envelope.decrypt(file, opened, opener)
        opened.seek(0)
        unpack(opened, stage)
    home, records = stage / FILES, stage / RECORDS
    for directory in manifest.directories:
        place = home / layout.restored_place(home, stage.parent, home / directory)
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not (home / SETTINGS).exists():
        raise BackupUnreadable("The backup has no settings.")
    settings = load_settings(home / SETTINGS, environ)
    layout.require_own(home, stage.parent, settings)
    url = records_url(settings)
    if copying.dialect_of(url) != manifest.database:
        raise RestoreDatabaseDiffers(
            f"The backup has records of {manifest.database}, and the settings name {copying.dialect_of(url)}."
        )
    mark = partial(
        backups.mark_restored,
        actor=actor,
        backup=manifest.backup,
        made_at=manifest.made_at,
        now=now,
    )
    if manifest.database == "postgresql":
        copying.copy_in(url, records, mark)
        return
    place = _place_records(home, records / copying.SQLITE_FILE, settings)
    store = open_store(f"sqlite:///{place}", pool_size=1)
    try:
        with store.write() as connection:
            mark(connection)
    finally:
        store.close()


def _place_records(home: Path, copy: Path, settings: Settings) -> Path:
    copying.check_file(copy)
    file = Path(parse_url(settings.database.url).database or "")
    place = home / layout.restored_place(home, home.parent.parent, file)
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    copy.rename(place)
    return place


def _give_names(home: Path, target: Path) -> None:
    """Move what is ready into its place, the settings last, and bring it to disk."""
    for directory, _, _ in os.walk(home):
        sync(Path(directory))
    for each in sorted(home.iterdir(), key=lambda path: path.name == SETTINGS):
        each.rename(target / each.name)
    sync(target)
