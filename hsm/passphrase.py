"""Where the passphrase of the key store comes from: a file, an environment variable, or a prompt.

Never from the command line: arguments are visible to every user of the machine.
"""

import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from core.secret import Secret
from hsm.errors import KeyStoreError, NotAPlainFile, PassphraseUnusable, WeakMode, WrongOwner

LONGEST: Final = 4096
SHORTEST_NEW: Final = 12


def find_passphrase(
    *,
    file: Path | None = None,
    variable: str | None = None,
    environ: Mapping[str, str] | None = None,
    prompt: Callable[[], str] | None = None,
) -> Secret:
    """The passphrase from the first source there is: `file`, then `variable` if set, then `prompt`.

    Raises `PassphraseUnusable` where there is none, and what the source raises.
    """
    if file is not None:
        return passphrase_from_file(file)
    if variable is not None and variable in (environ or {}):
        return passphrase_from_environment(variable, environ or {})
    if prompt is not None:
        return passphrase_from_prompt(prompt)
    raise PassphraseUnusable(
        "There is no passphrase for the key store.",
        next_step="Set [keys] passphrase_file, or the environment variable that [keys] "
        "passphrase_env names, or start from a terminal.",
    )


def passphrase_from_file(path: Path) -> Secret:
    """The content of a file, without the line end that an editor adds.

    The file must be private (`read_private`). A symbolic link is followed (that is how container secrets are mounted):
    what counts is the file that is read. Raises `PassphraseUnusable`, `NotAPlainFile`, `WrongOwner`, `WeakMode`.
    """
    line = line_from_file(path, "passphrase", LONGEST, PassphraseUnusable)
    return _usable(line, f"The passphrase file {path}")


def line_from_file(path: Path, what: str, longest: int, unusable: type[KeyStoreError]) -> bytes:
    """What stands in a private file, without the line end that an editor adds; of what is longer than `longest` octets,
    something that is longer too.

    Raises `unusable`, which says `what` should be there; `NotAPlainFile`, `WrongOwner`, `WeakMode`.
    """
    try:
        content = read_private(path, longest + 3)
    except OSError as error:
        raise unusable(
            f"The {what} file {path} cannot be read: {os.strerror(error.errno or 0)}.",
            next_step=f"Put the {what} into {path} with mode 0600, or set another source.",
        ) from None
    return content.removesuffix(b"\n").removesuffix(b"\r")


def read_private(path: Path, limit: int) -> bytes:
    """Up to `limit` bytes of a file that is ours or root's and closed to group and others.

    A group may read what is root's, where we are not root: we are the group that it was given to, as Kubernetes does it
    by fsGroup and systemd by the mask of an access list. Raises `OSError`, `NotAPlainFile`, `WrongOwner`, `WeakMode`.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise NotAPlainFile(f"{path} is not a plain file.")
        if status.st_uid not in (0, os.geteuid()):
            raise WrongOwner(path, status.st_uid, wanted=os.geteuid())
        given = status.st_uid == 0 and os.geteuid() != 0
        if status.st_mode & (0o037 if given else 0o077):
            raise WeakMode(path, stat.S_IMODE(status.st_mode), wanted=0o600)
        return os.read(descriptor, limit)
    finally:
        os.close(descriptor)


def passphrase_from_environment(variable: str, environ: Mapping[str, str]) -> Secret:
    """The value of an environment variable, as it is. Raises `PassphraseUnusable`."""
    if variable not in environ:
        raise PassphraseUnusable(
            f"The environment variable {variable} is not set.",
            next_step=f"Set {variable}, or use [keys] passphrase_file.",
        )
    return _usable(os.fsencode(environ[variable]), f"The environment variable {variable}")


def passphrase_from_prompt(prompt: Callable[[], str]) -> Secret:
    """What `prompt` returns (a function that reads a line without echo). Raises
    `PassphraseUnusable`.
    """
    return _usable(os.fsencode(prompt()), "The answer")


def require_strength(passphrase: Secret) -> Secret:
    """The passphrase itself, if it may seal a new key store. Raises `PassphraseUnusable`.

    Whoever copies the key directory can try passphrases at leisure, so a short one is not accepted.
    """
    length = len(passphrase.reveal())
    if not SHORTEST_NEW <= length <= LONGEST:
        raise PassphraseUnusable(
            f"A new passphrase has {SHORTEST_NEW} to {LONGEST} bytes.",
            next_step="Use six random words, or the output of: openssl rand -base64 24",
        )
    return passphrase


def _usable(value: bytes, source: str) -> Secret:
    if not value:
        raise PassphraseUnusable(f"{source} is empty.", next_step="Give the passphrase.")
    if len(value) > LONGEST:
        raise PassphraseUnusable(
            f"{source} is longer than {LONGEST} bytes.",
            next_step="Check that it is a passphrase and not another file.",
        )
    return Secret(value)
