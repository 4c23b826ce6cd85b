"""The files that an audit is given beside its subject: TOML, read whole or not at all."""

import tomllib
from pathlib import Path
from typing import Any, Final

from core.errors import InvalidInput

MAX_OCTETS: Final = 2**22


def load(path: Path, invalid: type[InvalidInput]) -> dict[str, Any]:
    """The document. Raises OSError, and `invalid` where it is no TOML; never quotes the file."""
    with path.open("rb") as opened:  # also a pipe of the shell's: `--accepted <(…)`
        content = opened.read(MAX_OCTETS + 1)
    if len(content) > MAX_OCTETS:
        raise invalid(f"{path} is larger than 4 MiB.")
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
