"""The PIN of the token: where it comes from, and that a wrong one is tried once.

Tokens lock after a few wrong PINs. So a refused PIN is remembered beside the sealed keys, sealed, and not tried again
by any process of this instance, nor after a restart, until another one stands in its place. Never from the command
line: arguments are visible to every user of the machine.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from core.secret import Secret
from hsm.errors import KeyNotFound, KeyStoreUnavailable, PinLocked, PinRefused, PinUnusable
from hsm.folder import PrivateFolder
from hsm.passphrase import line_from_file
from hsm.sealedfiles import SealedFileKeyStore

_LONGEST: Final = 256
_REFUSED: Final = "pkcs11-pin-refused"
_LOCK: Final = ".pkcs11-login"

Source = Callable[[], Secret]


def find_pin(
    *,
    file: Path | None,
    variable: str,
    environ: Mapping[str, str],
    prompt: Callable[[], str] | None = None,
) -> Source:
    """Where the PIN comes from: the file, looked at again at every login; else the variable if set; else what `prompt`
    gives now. Raises PinUnusable where there is none of these.
    """
    if file is not None:
        return lambda: _from_file(file)
    if variable in environ:
        held = _usable(os.fsencode(environ[variable]), f"The environment variable {variable}")
        return lambda: held
    if prompt is not None:
        given = _usable(os.fsencode(prompt()), "The answer")
        return lambda: given
    raise PinUnusable(
        "There is no PIN for the token.",
        next_step="Set [keys.pkcs11] pin_file, or the environment variable that pin_env names, or start "
        "from a terminal.",
    )


class PinGuard:
    """The PIN, given out for one login at a time on this machine."""

    def __init__(self, source: Source, keys: SealedFileKeyStore) -> None:
        self._source = source
        self._keys = keys
        # Also here: where the sealed keys cannot be written, each process has a try of its own, and no more.
        self._last_refused = ""
        self._folder = PrivateFolder(keys.directory)

    @contextmanager
    def one_try(self, token: str, *, seconds: float) -> Iterator[Secret]:
        """The PIN for one login to this token, in the body; another process that logs in is waited for so long.

        PinRefused out of the body is remembered, and raised here from then on without a try. Raises what the source
        raises, PinLocked, KeyStoreUnavailable.
        """
        with self._folder.alone(_LOCK, seconds=seconds):
            pin = self._source()
            mark = hashlib.sha256(token.encode() + b"\0" + pin.reveal()).hexdigest()
            if mark in (self._last_refused, self._refused()):
                raise PinRefused("The token refused this PIN before; it was not tried again.")
            try:
                yield pin
            except PinLocked:
                raise
            except PinRefused:
                self._last_refused = mark
                with suppress(KeyStoreUnavailable):
                    self._keys.put_blob(_REFUSED, json.dumps({"sha256": mark}).encode())
                raise

    def forget(self) -> None:
        """Let a PIN that was refused be tried once more."""
        self._last_refused = ""
        if self._refused():
            self._keys.put_blob(_REFUSED, json.dumps({"sha256": ""}).encode())

    def _refused(self) -> str:
        with suppress(KeyNotFound):
            return str(json.loads(self._keys.get_blob(_REFUSED).reveal())["sha256"])
        return ""


def _from_file(path: Path) -> Secret:
    line = line_from_file(path, "PIN", _LONGEST, PinUnusable)
    return _usable(line, f"The PIN file {path}")


def _usable(value: bytes, source: str) -> Secret:
    try:
        fits = 1 <= len(value) <= _LONGEST and value.decode().isprintable()
    except UnicodeDecodeError:
        fits = False
    if not fits:
        raise PinUnusable(
            f"{source} does not hold one line of 1 to {_LONGEST} octets of text.",
            next_step="Give the token's user PIN.",
        )
    return Secret(value)
