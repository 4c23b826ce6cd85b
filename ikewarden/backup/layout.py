"""Which files of an instance a backup has, and what may not be outside its directory."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from hsm.errors import KeyStoreMissing
from hsm.folder import PrivateFolder
from ikewarden.backup.archive import FILES, Entry
from ikewarden.backup.errors import BackupLayout
from ikewarden.cli.place import ADMIN_TOKEN, ROOT_CERTIFICATE, SETTINGS
from ikewarden.settings_model import Settings

_LARGEST: Final = 16 * 2**20
_PUBLIC: Final = 0o644


def directories(home: Path, settings: Settings) -> tuple[str, ...]:
    """The private directories of an instance, relative to `home`. Raises BackupLayout."""
    found = [settings.keys.directory]
    if settings.secrets.store == "files":
        found.append(settings.secrets.directory)
    return tuple(_inside(home, each) for each in found)


def records_file(home: Path, path: Path) -> str:
    """The place of a SQLite file, relative to `home`. Raises BackupLayout."""
    return _inside(home, path)


def restored_place(home: Path, target: Path, path: Path) -> Path:
    """Where what the restored settings name is, relative to the instance that is made ready in `home` for `target`.

    Raises BackupLayout where that is elsewhere: it would be another instance's, which may be alive.
    """
    plain = Path(os.path.normpath(path))
    for base in (home, target):
        if plain.is_relative_to(base):
            return plain.relative_to(base)
    raise BackupLayout(
        f"The settings of the backup name {plain}, which is not in {target}.",
        next_step="Restore into the directory that the backup was made of; or overrule the setting by an environment "
        "variable (IKEWARDEN_KEYS__DIRECTORY=keys), here and for all that uses the instance. Nothing was written.",
    )


def require_own(home: Path, target: Path, settings: Settings) -> None:
    """Make sure that a restored instance writes in its own directory only. Raises BackupLayout."""
    restored_place(home, target, settings.keys.directory)
    if settings.secrets.store == "files":
        restored_place(home, target, settings.secrets.directory)


def folder_files(home: Path, directory: str) -> dict[str, Entry]:
    """The files of a private directory and of those in it, by their names there.

    Raises what a directory that is not private raises (WrongOwner, WeakMode, NotAPlainFile).
    """
    folder = PrivateFolder(home / directory)
    found: dict[str, Entry] = {}
    try:
        for name in folder.names():
            # Shared secrets are in directories of their own, which may be made at any time.
            if stat.S_ISDIR((folder.path / name).lstat().st_mode):
                below = folder_files(home, f"{directory}/{name}")
                found |= {f"{name}/{each}": entry for each, entry in below.items()}
                continue
            content = folder.read(name, limit=_LARGEST)
            found[name] = Entry(f"{FILES}{directory}/{name}", content)
    except KeyStoreMissing:
        return {}
    return found


def single_files(home: Path, settings_file: Path, settings: Settings) -> Iterator[Entry]:
    """The settings, and what stands beside them: profiles, enrollment endpoints, the passphrase of the keys, the
    admin's token, the root.
    """
    yield Entry(FILES + SETTINGS, settings_file.read_bytes())
    for written in (settings.issuing.profiles_directory, settings.enrollment.endpoints_directory):
        if written is None:
            continue
        place = _inside(home, written)
        for file in sorted(written.glob("*.toml")):
            yield Entry(f"{FILES}{place}/{file.name}", file.read_bytes(), _PUBLIC)
    passphrase = settings.keys.passphrase_file
    if passphrase is not None and passphrase.is_relative_to(home):
        yield Entry(FILES + _inside(home, passphrase), passphrase.read_bytes())
    for name, mode in ((ADMIN_TOKEN, 0o600), (ROOT_CERTIFICATE, _PUBLIC)):
        if (home / name).is_file():
            yield Entry(FILES + name, (home / name).read_bytes(), mode)


def missing(home: Path, settings: Settings) -> list[str]:
    """What the instance needs and the backup does not have, in words."""
    found = []
    passphrase = settings.keys.passphrase_file
    if passphrase is None or not passphrase.is_relative_to(home):
        found.append("the passphrase of the key store")
    if settings.keys.pkcs11.module is not None:
        found.append("the keys in the HSM and its PIN")
    if settings.keys.uses_transit:
        found.append("the keys in the Transit engine and the login for it")
    if settings.secrets.store == "vault":
        found.append("the shared secrets in Vault and the login for it")
    if settings.database.password_file is not None:
        found.append("the password of the database")
    if settings.notices.webhook_key_file is not None:
        found.append("the key of the webhook")
    return found


def _inside(home: Path, path: Path) -> str:
    try:
        return path.relative_to(home).as_posix()
    except ValueError:
        raise BackupLayout(f"{path} is not in {home}.") from None
