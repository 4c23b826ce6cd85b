"""The files that an audit is given beside its subject: TOML, read whole or not at all."""

import os
import stat
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from core.errors import InvalidInput

MAX_OCTETS: Final = 2**22


def octets(path: Path, most: int, invalid: type[InvalidInput]) -> bytes:
    """All of a file, or of a pipe of the shell's: `--accepted <(…)`.

    Raises OSError, and `invalid` where it is larger than `most`, or a pipe that nobody writes to.
    """
    with open(path, "rb", opener=_without_waiting) as opened:
        descriptor, content = opened.fileno(), b""
        if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
            with suppress(BlockingIOError):  # somebody is there, and has written nothing yet
                content = os.read(descriptor, 1)
                if not content:
                    raise invalid(f"{path} is a pipe that nobody writes to.")
        os.set_blocking(descriptor, True)
        content += opened.read(most + 1)
    if len(content) > most:
        raise invalid(f"{path} is larger than {most // 2**20} MiB.")
    return content


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)


def load(path: Path, invalid: type[InvalidInput]) -> dict[str, Any]:
    """The document. Raises OSError, and `invalid` where it is no TOML; never quotes the file."""
    content = octets(path, MAX_OCTETS, invalid)
    try:
        return tomllib.loads(content.decode())
    except UnicodeDecodeError:
        raise invalid(f"{path} is not UTF-8.") from None
    except tomllib.TOMLDecodeError as error:
        raise invalid(f"{path} is no TOML: {error}.") from None
    except ValueError:  # a number of thousands of digits
        raise invalid(f"{path} holds a number that is too long.") from None
    except RecursionError:
        raise invalid(f"{path} is nested too deeply.") from None
