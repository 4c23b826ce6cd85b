"""An embedded instance: one directory with settings, records, sealed keys, and what a client needs to talk to it."""

import base64
import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from core.errors import Conflict, IkewardenError, InvalidInput
from core.secret import Secret
from hsm.folder import PrivateFolder
from hsm.keystores import KeyStores
from hsm.ports import KeyAlgorithm
from hsm.seal import Seal
from hsm.sealedfiles import SealedFileKeyStore
from hsm.token.pin import find_pin
from ikewarden.cli.place import (
    ADMIN_TOKEN,
    ROOT_CERTIFICATE,
    SETTINGS,
    UNFINISHED,
    require_finished,
)
from ikewarden.settings import load_settings
from ikewarden.settings_keys import Pkcs11Settings
from ikewarden.settings_model import Settings
from ikewarden.wiring import PIN_QUESTION, Prompt, make_desk, open_stores, records_url
from pki import authorities, founding, tokens
from pki.actors import Actor, Role
from pki.desk import Desk
from pki.founding import AuthorityRequest
from pki.tokens import TokenRequest
from store.schema import migrate

PASSPHRASE = "passphrase"  # noqa: S105 - a file's name
CONSOLE = Actor(name="init", role=Role.ADMIN)

_TEMPLATE = """\
# Settings of this ikewarden instance. Everything left out has its default:
# `ikewarden check-config --reference` prints all keys with their meaning.

[database]
url = {database_url}
{password}
[keys]
directory = "keys"
{passphrase}
{token}
[api]
host = {host}
port = {port}
names = {names}

[validation]
host = {validation_host}
port = {validation_port}
url = {validation_url}

[issuing]
default_authority = "issuing"
"""


class InstanceExists(Conflict):
    """There is an instance in this directory."""

    code = "instance_exists"
    next_step = "Start it with `ikewarden serve --dir DIR`, or choose another directory."


class DirectoryNotEmpty(InvalidInput):
    """Something else is in the directory."""

    code = "directory_not_empty"
    next_step = "Choose a directory that is empty or does not exist."


@dataclass(frozen=True)
class TokenPlan:
    """The token that the keys of the authorities are made in: its PKCS#11 module and label. The PIN is in a file, or
    in the variable that `[keys.pkcs11] pin_env` names by default, or asked for.
    """

    module: Path
    label: str
    pin_file: Path | None = None


@dataclass(frozen=True)
class InstancePlan:
    """What `init` shall make. `names` are what clients call the API; the first stands in the printed URL.

    `passphrase_env` names the variable that will hold the passphrase, where it is not written to a file,
    `passphrase_file` the file that has it, `database_password_file` that with the database's password. With a `token`
    the keys of the authorities are made in it; with `transit`, the tables [keys.transit] and [secrets] of the settings
    in TOML, in that engine.
    """

    directory: Path
    organization: str = "ikewarden"
    host: str = "127.0.0.1"
    port: int = 8443
    names: tuple[str, ...] = ("localhost", "127.0.0.1")
    validation_host: str = "127.0.0.1"
    validation_port: int = 8080
    validation_url: str | None = None
    algorithm: KeyAlgorithm = "ec-p256"
    database_url: str = "sqlite:///ikewarden.db"
    passphrase_env: str | None = None
    passphrase_file: Path | None = None
    database_password_file: Path | None = None
    token: TokenPlan | None = None
    transit: str | None = None


@dataclass(frozen=True)
class Instance:
    """What `init` made."""

    directory: Path
    settings: Settings
    admin_token: Secret
    url: str


def exists(directory: Path) -> bool:
    """Whether a whole instance is there. Raises InstanceUnfinished for half of one."""
    require_finished(directory)
    return (directory / SETTINGS).exists()


def make(
    plan: InstancePlan,
    passphrase: Secret | None,
    *,
    now: datetime,
    environ: Mapping[str, str] | None = None,
    prompt: Prompt | None = None,
    report: Callable[[str], None] = lambda step: None,
) -> Instance:
    """Make an instance: settings, records, sealed keys, a root and an issuing CA, an admin token.

    Without a passphrase a random one is written to a file of mode 0600 beside the keys. `environ` and `prompt` may have
    the PIN of a token. `report` hears of each step.
    A token or a server that cannot be used is told before anything is founded, and nothing is left of the try then.
    A marker file stands in the directory until all is done, so that a killed `init` is noticed. Raises
    InstanceExists, InstanceUnfinished, DirectoryNotEmpty, PinUnusable, and what the parts raise.
    """
    directory = plan.directory
    # Before anything is made: without a PIN nothing can be finished.
    answer = _pin_of(plan.token, environ or {}, prompt) if plan.token else prompt
    with _claimed(directory) as was_there:
        settings = _settle(plan, in_file=passphrase is None)
        report("sealing the key store")
        try:
            keys = _open_keys(directory, settings, passphrase, environ or {}, answer)
        except IkewardenError:
            _clear(directory, keep=was_there)
            raise
        PrivateFolder(settings.secrets.directory).make()
        report("making the database")
        migrate(records_url(settings))
        desk = make_desk(settings, keys)
        try:
            report("making the root and the issuing authority")
            _found(desk, plan, now)
            created = tokens.create(desk, CONSOLE, TokenRequest("admin", Role.ADMIN), now=now)
            root = authorities.pem(authorities.load(desk, "root").certificate)
        finally:
            desk.store.close()
            keys.close()
        _write(directory / ADMIN_TOKEN, created.secret.reveal() + b"\n")
        _write(directory / ROOT_CERTIFICATE, root.encode(), mode=0o644)
        (directory / UNFINISHED).unlink()
        _sync(directory)
    return Instance(directory, settings, created.secret, f"https://{plan.names[0]}:{plan.port}")


def _open_keys(
    directory: Path,
    settings: Settings,
    passphrase: Secret | None,
    environ: Mapping[str, str],
    answer: Prompt | None,
) -> KeyStores:
    """Seal the key store, and make sure that the token or the server is there that the keys will be made in."""
    sealed_by = passphrase or Secret(secrets.token_urlsafe(32))
    if passphrase is None:
        _write(directory / PASSPHRASE, sealed_by.reveal() + b"\n")
    sealed = SealedFileKeyStore(settings.keys.directory, Seal.create(directory / "keys", sealed_by))
    keys = open_stores(settings, sealed, environ, answer)
    try:
        keys.check(settings.keys.store)
    except IkewardenError:
        keys.close()
        raise
    return keys


def _clear(directory: Path, *, keep: bool) -> None:
    """Take away all that was made in a directory that was empty; the directory too, if it was not there."""
    for each in directory.iterdir():
        if each.is_dir():
            shutil.rmtree(each)
        else:
            each.unlink()
    if not keep:
        directory.rmdir()


def _pin_of(token: TokenPlan, environ: Mapping[str, str], prompt: Prompt | None) -> Prompt:
    """Look for the PIN, and ask for it once. Raises PinUnusable, and what `hsm.passphrase.read_private` raises."""
    pin = find_pin(
        file=token.pin_file,
        variable=Pkcs11Settings.model_fields["pin_env"].default,
        environ=environ,
        prompt=prompt and partial(prompt, PIN_QUESTION),
    )()
    return lambda _question: pin.reveal().decode()


@contextmanager
def _claimed(directory: Path) -> Iterator[bool]:
    """Take the directory for this run; gives whether it was there, empty."""
    if exists(directory):
        raise InstanceExists(f"There is an instance in {directory}.")
    was_there = directory.exists()
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if any(directory.iterdir()):
        require_finished(directory)  # another one was faster
        raise DirectoryNotEmpty(f"{directory} is not empty.")
    directory.chmod(0o700)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        marker = os.open(directory / UNFINISHED, flags, 0o600)
    except FileExistsError:
        require_finished(directory)
        raise
    try:
        fcntl.flock(marker, fcntl.LOCK_EX)
        _sync(directory)
        yield was_there
    finally:
        os.close(marker)


def _settle(plan: InstancePlan, *, in_file: bool) -> Settings:
    """Write the settings and read them back; leave nothing behind when they are refused."""
    file = plan.directory / SETTINGS
    _write(file, _settings_text(plan, in_file=in_file).encode())
    try:
        return load_settings(file, {})
    except IkewardenError:
        file.unlink()
        (plan.directory / UNFINISHED).unlink()
        raise


def _settings_text(plan: InstancePlan, *, in_file: bool) -> str:
    host = f"[{plan.validation_host}]" if ":" in plan.validation_host else plan.validation_host
    passphrase = f"passphrase_file = {_toml(PASSPHRASE)}" if in_file else ""
    if not in_file and plan.passphrase_env:
        passphrase = f"passphrase_env = {_toml(plan.passphrase_env)}"
    if plan.passphrase_file:
        passphrase = f"passphrase_file = {_toml(str(plan.passphrase_file.absolute()))}"
    password = ""
    if plan.database_password_file:
        password = f"password_file = {_toml(str(plan.database_password_file.absolute()))}\n"
    token = _token_text(plan.token) if plan.token else ""
    if plan.transit is not None:
        token = 'store = "transit"\n'  # noqa: S105 - no secret
    text = _TEMPLATE.format(
        database_url=_toml(plan.database_url),
        password=password,
        passphrase=passphrase,
        token=token,
        host=_toml(plan.host),
        port=plan.port,
        names=_toml(list(plan.names)),
        validation_host=_toml(plan.validation_host),
        validation_port=plan.validation_port,
        validation_url=_toml(plan.validation_url or f"http://{host}:{plan.validation_port}"),
    )
    return text if plan.transit is None else f"{text}\n{plan.transit}"


def _token_text(plan: TokenPlan) -> str:
    lines = [
        'store = "pkcs11"',
        "",
        "[keys.pkcs11]",
        f"module = {_toml(str(plan.module.absolute()))}",
        f"token = {_toml(plan.label)}",
    ]
    if plan.pin_file is not None:
        lines.append(f"pin_file = {_toml(str(plan.pin_file.absolute()))}")
    return "\n".join(lines) + "\n"


def _toml(value: object) -> str:
    # JSON's strings and lists of strings are TOML's too, once nothing but ASCII is left in them (TOML 1.0).
    return json.dumps(value)


def _found(desk: Desk, plan: InstancePlan, now: datetime) -> None:
    # A random word in the subject: two installations of one organization must not have CAs of the same name.
    word = base64.b32encode(desk.entropy(5)).decode().lower()
    for request in (
        AuthorityRequest(
            name="root",
            kind="root",
            subject=f"CN={plan.organization} root {word},O={plan.organization}",
            algorithm=plan.algorithm,
            lifetime=timedelta(days=7305),
            path_length=1,
        ),
        AuthorityRequest(
            name="issuing",
            kind="issuing",
            parent="root",
            subject=f"CN={plan.organization} issuing {word},O={plan.organization}",
            algorithm=plan.algorithm,
            lifetime=timedelta(days=3653),
            path_length=0,
        ),
    ):
        founding.create(desk, CONSOLE, request, now=now)


def _write(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Write a file durably, with its mode from the start."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    descriptor = os.open(path, flags, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
