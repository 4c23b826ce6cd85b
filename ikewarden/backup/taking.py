"""Make a backup of an instance, while it runs or not."""

import fcntl
import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from secrets import token_hex
from typing import Final

from core.secret import Secret
from hsm.passphrase import require_strength
from ikewarden.backup import envelope, layout
from ikewarden.backup.archive import RECORDS, Entry, Manifest, Packed
from ikewarden.backup.errors import BackupRunning, NoRoom
from ikewarden.cli.files import check_new, move
from ikewarden.settings_model import Settings
from ikewarden.wiring import records_url
from pki import backups
from pki.actors import Actor
from pki.backups import Order
from pki.desk import Desk
from store import copying
from store.engine import parse_url

STAGE: Final = ".backup"
_NO_ROOM: Final = "There is no room for the backup."


@dataclass(frozen=True)
class Plan:
    """What to back up, into which file that does not exist, and who can open it."""

    settings_file: Path
    settings: Settings
    target: Path
    recipients: tuple[str, ...] = ()
    passphrase: Secret | None = None


@dataclass(frozen=True)
class Taken:
    """A backup that was made. `missing` names what an instance needs and the file does not have."""

    backup: str
    size: int
    sha256: str
    missing: list[str]


def take(plan: Plan, desk: Desk, actor: Actor, *, clock: Callable[[], datetime]) -> Taken:
    """Write the backup; a crash leaves it whole or leaves nothing of its name.

    Raises RoleMayNot, the errors of `pki.approvals`, FileExists, PassphraseUnusable, BackupRecipientUnusable,
    BackupLayout, BackupRunning, NoRoom, what a directory that is not private raises, the errors of the store, OSError.
    """
    home = plan.settings_file.parent.absolute()
    envelope.check_recipients(plan.recipients)
    if plan.passphrase is not None:
        require_strength(plan.passphrase)
    with no_room(_NO_ROOM):
        check_new(plan.target)  # before an approval is used up
    directories = layout.directories(home, plan.settings)
    if desk.store.dialect == "sqlite":
        layout.records_file(home, _sqlite_path(plan.settings))
    order = Order(token_hex(6), str(plan.target.absolute()), _openers(plan))
    with alone(home), staged(home, STAGE) as stage, no_room(_NO_ROOM):
        started = clock()
        backups.begin(desk, actor, order, now=started)
        # The head of the audit log before the records, or they would be behind it and the log would alarm.
        before = layout.folder_files(home, directories[0])
        schema = copying.copy_out(records_url(plan.settings), stage)
        manifest = Manifest(
            program=version("ikewarden"),
            schema=schema,
            database=desk.store.dialect,
            made_at=started.astimezone(UTC).isoformat(),
            backup=order.backup,
            directories=directories,
        )
        entries = _entries(home, plan, stage, directories, before)
        size, sha256 = _write(plan, Packed(manifest, entries))
    backups.finish(desk, actor, order, sha256, now=clock())
    return Taken(order.backup, size, sha256, layout.missing(home, plan.settings))


@contextmanager
def alone(directory: Path) -> Iterator[None]:
    """Be the only backup or restore at work in a directory; a killed one gives it back. Raises BackupRunning."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BackupRunning(f"Another backup or restore is at work in {directory}.") from None
        yield
    finally:
        os.close(descriptor)


@contextmanager
def no_room(message: str) -> Iterator[None]:
    """Say in our words that the disk is full."""
    import errno

    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise NoRoom(message) from error
        raise


@contextmanager
def staged(directory: Path, name: str) -> Iterator[Path]:
    """A private directory to make things ready in, inside another one; what a killed run left there is swept."""
    stage = directory / name
    shutil.rmtree(stage, ignore_errors=True)
    stage.mkdir(mode=0o700)
    try:
        yield stage
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _entries(
    home: Path,
    plan: Plan,
    stage: Path,
    directories: tuple[str, ...],
    before: dict[str, Entry],
) -> Iterator[Entry]:
    yield from layout.single_files(home, plan.settings_file, plan.settings)
    for file in sorted(stage.iterdir()):
        yield Entry(RECORDS + file.name, file)
        file.unlink()
    # After the records: a key or a secret that they name is there before they name it.
    yield from {**layout.folder_files(home, directories[0]), **before}.values()
    for directory in directories[1:]:
        yield from layout.folder_files(home, directory).values()


def _write(plan: Plan, packed: Packed) -> tuple[int, str]:
    target = plan.target
    temporary = target.with_name(f".{target.name}.{token_hex(6)}")
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, 0o600)
    try:
        with os.fdopen(descriptor, "w+b") as file:
            os.fchmod(descriptor, stat.S_IRUSR | stat.S_IWUSR)  # whatever the umask
            envelope.encrypt(packed, file, plan.recipients, plan.passphrase)
            file.flush()
            os.fsync(descriptor)
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        move(temporary, target, over=False)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return size, sha256


def _openers(plan: Plan) -> tuple[str, ...]:
    return (*plan.recipients, *(("passphrase",) if plan.passphrase is not None else ()))


def _sqlite_path(settings: Settings) -> Path:
    return Path(parse_url(settings.database.url).database or "")
