"""What octets say as text, in whatever encoding and script, and how that reads in Latin letters. Pure.

Only for the estimate of how hard a value is to guess: the daemons take the octets as they are.
"""

import base64
import binascii
import re
import unicodedata
from typing import Final

_BOMS: Final = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}
_HIGH: Final = frozenset(
    range(6)
)  # the upper octets of Latin, Greek and Cyrillic letters in UTF-16
_SHORTEST_WIDE: Final = 8
_SHORTEST_CODED: Final = 8
_WESTERN: Final = "€\u2018\u2019“”„\u2013\u2014§°\u00b4\u00a0"  # beside letters, what people have on their keyboards
_BLANKS: Final = "\t\r\n"
_IGNORED: Final = "Cf"  # zero-width signs and the like
_HEX: Final = re.compile(r"(?:0[xX])?((?:[0-9a-fA-F]{2}){8,})\Z")
_BASE64: Final = re.compile(r"(?:0[sS])?([A-Za-z0-9+/]{10,}={0,2})\Z")

_CYRILLIC: Final = dict(
    zip(
        "абвгдеёжзийклмнопрстуфхцчшщъыьэюяіїєґ",
        "a b v g d e e zh z i y k l m n o p r s t u f kh ts ch sh shch ' y ' e yu ya i yi ye g".split(),
        strict=True,
    )
)
_GREEK: Final = dict(
    zip(
        "αβγδεζηθικλμνξοπρσςτυφχψω",
        "a v g d e z i th i k l m n x o p r s s t y f ch ps o".split(),
        strict=True,
    )
)
_LATIN: Final = {
    "ä": "ae",
    "ö": "oe",
    "ü": "ue",
    "ß": "ss",
    "æ": "ae",
    "ø": "o",
    "ł": "l",
    "\u0131": "i",
}
_LETTERS: Final = {
    letter: read.replace("'", "") for letter, read in (_CYRILLIC | _GREEK | _LATIN).items()
}


def text_of(octets: bytes) -> str | None:
    """What octets say in UTF-8, with every blank a space, and no NUL behind; None where they are no text."""
    try:
        return _shown((octets.rstrip(b"\0") or octets).decode())
    except UnicodeDecodeError:
        return None


def wide_text_of(octets: bytes) -> str | None:
    """What octets say in UTF-16; None where they are none of that."""
    encoding = _BOMS.get(octets[:2])
    body = octets[2:] if encoding else octets
    if len(body) < _SHORTEST_WIDE or len(body) % 2:
        return None
    for at, guess in ((1, "utf-16-le"), (0, "utf-16-be")):
        if encoding in (None, guess) and _HIGH.issuperset(body[at::2]):
            shown = _shown(body.decode(guess, "replace"))
            if shown is not None and "\ufffd" not in shown:
                return shown
    return None


def western_text_of(octets: bytes) -> str | None:
    """What octets say in Latin-1 or as Windows writes western languages; None where less than three quarters are plain.

    One of ten thousand random keys of 16 octets reads so: it is text only if words are found in it.
    """
    try:
        text = octets.decode("cp1252")
    except UnicodeDecodeError:
        return None
    others = [each for each in text if not each.isascii()]
    if 4 * len(others) > len(text) or not all(
        each.isalpha() or each in _WESTERN for each in others
    ):
        return None
    return _shown(text)


def coded_in(text: str) -> tuple[str, str] | None:
    """The text that stands in a text as hexadecimal or base64, and which of these; None where there is none.

    One of ten million random keys of 16 octets has nothing but printable characters in it.
    """
    found = _HEX.match(text)
    if found:
        return _coded(bytes.fromhex(found[1]), "hex")
    found = _BASE64.match(text)
    if found:
        whole = found[1].rstrip("=")
        try:
            octets = base64.b64decode(whole + "=" * (-len(whole) % 4), validate=True)
        except binascii.Error:
            return None
        return _coded(octets, "base64")
    return None


def latin(text: str) -> str:
    """How a text reads in Latin letters: without accents, Cyrillic and Greek as they sound. The rest stays."""
    return text if text.isascii() else "".join(map(_read, text))


def foreign_share(text: str) -> float:
    """Which part of the letters of a text are not Latin."""
    letters = [character for character in text if character.isalpha()]
    others = [each for each in letters if not each.isascii() and not _is_latin(each)]
    return len(others) / len(letters) if letters else 0.0


def accents(text: str) -> int:
    """How many Latin letters of a text have something above or below them."""
    return sum(not each.isascii() and _is_latin(each) for each in text)


def _shown(text: str) -> str | None:
    if not text.isascii() or not text.isprintable():
        shown = "".join(
            " " if each in _BLANKS or unicodedata.category(each) == "Zs" else each
            for each in text
            if unicodedata.category(each) != _IGNORED
        ).rstrip(" ")
        text = shown or text
    return text if text.isprintable() else None


def _coded(octets: bytes, how: str) -> tuple[str, str] | None:
    shown = text_of(octets) if len(octets) >= _SHORTEST_CODED else None
    if shown is not None and (shown.isascii() or foreign_share(shown) > 0.5):
        return shown, how
    wide = wide_text_of(octets)
    return None if wide is None else (wide, how)


def _read(character: str) -> str:
    if character.isascii():
        return character
    small = character.lower()
    read = _LETTERS.get(small)
    if read is None:
        base = unicodedata.normalize("NFKD", small)[0]
        read = base if base.isascii() else _LETTERS.get(base, small)
    return read.capitalize() if character.isupper() else read


def _is_latin(character: str) -> bool:
    return unicodedata.name(character, "").startswith("LATIN")
