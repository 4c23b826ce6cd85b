"""Names that may be anything: as a person can read them, and as the host has them."""

import re
from typing import Final

from core.escaping import escaped

# What JSON can write, and other readers than ours (PostgreSQL, for one) do not take.
_UNLIKED: Final = re.compile("[\x00\ud800-\udfff]")


def visible(text: str) -> str:
    r"""The text with `\xff` for an octet that is no UTF-8: what every reader of Unicode takes."""
    return _UNLIKED.sub(lambda found: _octet(ord(found[0])), text)


def shown(text: str) -> str:
    """The text in one line, with nothing in it that acts in a terminal or deceives the eye."""
    return escaped(visible(text))


def octets(path: str) -> bytes:
    """The octets of a path as the host has them."""
    try:
        return path.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # of a Windows host: half a pair
        return path.encode("utf-8", "surrogatepass")


def _octet(number: int) -> str:
    if number == 0 or 0xDC80 <= number <= 0xDCFF:
        return f"\\x{number & 0xFF:02x}"
    return f"\\u{number:04x}"
