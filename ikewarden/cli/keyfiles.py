"""Files with a shared secret alone, as a person gives them: read, and refused where they are plainly something else."""

import base64
import os
import re
import stat
import sys
from pathlib import Path
from typing import Final

from core.errors import InvalidInput
from core.secret import Secret

_LONGEST: Final = 8192
_QUOTES: Final = (b'"', b"'")
# `@gw-a @vpn : PSK "…"` and `secret = …`
_SECRETS_LINE: Final = re.compile(
    rb"(?:^|\s):\s*(?:PSK|PPKS?|EAP|XAUTH|RSA)(?:\s|$)", re.IGNORECASE
)
_SWANCTL_LINE: Final = re.compile(rb"^\s*secret\s*=")


class SecretFileUnusable(InvalidInput):
    """A file that holds no shared secret, or that others can read."""

    code = "secret_file_unusable"
    next_step = "Name a file of mode 0600 with the secret alone: as text, 0x and hexadecimal, or 0s and Base64."


def read(file: Path) -> Secret:
    """The secret in a file of mode 0600, or on standard input for `-`. Raises SecretFileUnusable; it quotes nothing."""
    content = sys.stdin.buffer.read(_LONGEST + 1) if str(file) == "-" else _content(file)
    text = content.rstrip(b"\r\n")
    if text.lower() in (b"", b"0x", b"0s") or len(content) > _LONGEST:
        raise SecretFileUnusable("There is no shared secret in it, or it is too long.")
    _check_alone(text)
    try:
        if text[:2] in (b"0x", b"0X"):
            return Secret(bytes.fromhex(text[2:].decode()))
        if text[:2] in (b"0s", b"0S"):
            return Secret(base64.b64decode(text[2:], validate=True))
    except ValueError:
        raise SecretFileUnusable("It begins like hexadecimal or Base64, and is neither.") from None
    return Secret(text)


def _content(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            mode = os.fstat(opened.fileno()).st_mode
            if stat.S_ISREG(mode) and mode & 0o077:
                raise SecretFileUnusable(
                    f"The file {file} is open to others (mode {stat.S_IMODE(mode):04o}).",
                    next_step=f"Run chmod 600 '{file}'. Rotate the secret if others had it.",
                )
            return opened.read(_LONGEST + 1)
    except OSError as error:
        # What was given as a name may be the key itself.
        raise SecretFileUnusable(
            f"The file named by --import cannot be read: {error.strerror or type(error).__name__}.",
            next_step="Name a file of mode 0600 that holds the secret, or - for standard input. If you gave the secret "
            "itself, it is in your shell's history now: rotate it.",
        ) from None


def _check_alone(text: bytes) -> None:
    """Refuse what surrounds a secret in the files of daemons: taken as a part of it, no peer would have the same."""
    for line, where in ((_SECRETS_LINE, "ipsec.secrets"), (_SWANCTL_LINE, "swanctl.conf")):
        if line.search(text):
            raise SecretFileUnusable(
                f"It looks like a line of {where}, not like a secret alone.",
                next_step="Use `ikewarden tunnel import`, which reads such files; or write the secret alone into one.",
            )
    if b"\n" in text or b"\r" in text:
        raise SecretFileUnusable("It has several lines; a secret is one.")
    if len(text) > 1 and text[:1] in _QUOTES and text[-1:] == text[:1]:
        raise SecretFileUnusable(
            "It stands in quotes, which would be a part of it.",
            next_step="Take the quotes away. If they are a part of it, write it as 0x and hexadecimal.",
        )
