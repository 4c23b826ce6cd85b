"""By what a certificate is found: every place in its names at which a word begins, and the digits that it is known by.

Pure: text in, text out.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

LENGTH: Final = 24
"""So much of a word is kept. What is longer finds more than it should, which is looked at once more."""
DIGITS: Final = 8
"""From so many hexadecimal digits on, they may be the beginning of a number or digest."""
_DIGEST: Final = "#"  # no word begins with it
_MOST: Final = 600  # of one certificate; a hundred long names have fewer
# Where a word begins: a letter or digit behind something else; a digit behind a letter; each sign of a script that is
# written without blanks.
_BEGIN: Final = re.compile(
    r"(?<![^\W_])[^\W_]|(?<=[^\W\d_])\d|[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff]"
)
_TYPE: Final = re.compile(r"[a-z][a-z0-9-]*=|(?:\d+\.)+\d+=", re.ASCII)  # of an attribute: `cn=`
_KIND: Final = re.compile(r"(?:dns|ip|email|uri|dn):")  # of a name
_HEX: Final = re.compile(r"[0-9a-f]{1,64}")
_BASE64: Final = re.compile(r"[0-9A-Za-z+/_-]{43}=?")


@dataclass(frozen=True)
class Needle:
    """What is looked for: text with which a word begins, and digits with which a number or digest does; each may be
    missing.
    """

    text: str = ""
    digits: str = ""

    @property
    def keys(self) -> tuple[str, ...]:
        """With what the kept words begin that may be meant."""
        digits = _DIGEST + self.digits if self.digits else ""
        return tuple(each[:LENGTH] for each in (self.text, digits) if each)

    @property
    def is_long(self) -> bool:
        """Whether a kept word is too short to tell."""
        return any(len(each) == LENGTH for each in self.keys)

    def fits(self, row: Any) -> bool:
        """Whether a certificate's row (subject, names, gateway, serial, fingerprint, spki_sha256) is meant."""
        if self.text and any(each.startswith(self.text) for each in _suffixes(row)):
            return True
        known = (row.serial, row.fingerprint or "", row.spki_sha256)
        return bool(self.digits) and any(each.startswith(self.digits) for each in known)


def of_names(text: str) -> Needle:
    """A needle for names alone."""
    folded = _folded(text.strip())
    for kind in (_KIND, _TYPE):
        found = kind.match(folded)
        if found is not None and found.end() < len(folded):
            folded = folded[found.end() :]
    first = _BEGIN.search(folded)
    # What stands before the first word is in no index: `.example.com` is found by `example.com`.
    return Needle("" if first is None else folded[first.start() :])


def of_anything(text: str) -> Needle:
    """A needle for names, serial numbers and digests in any spelling."""
    return Needle(of_names(text).text, of_digits(text, whole=False))


def of_digits(text: str, *, whole: bool = True) -> str:
    """The hexadecimal digits that are meant: with colons, blanks or 0x, in upper case; or SHA-256 in base64. Empty for
    what is none, and unless `whole` for what is too short to be looked for.
    """
    bare = re.sub(r"^(?:pin-)?sha-?256[:/=]", "", text.strip(), flags=re.IGNORECASE).strip('"')
    digits = re.sub(r"[:\s]", "", bare.lower()).removeprefix("0x")
    if _HEX.fullmatch(digits):
        return digits if whole or len(digits) >= DIGITS else ""
    if _BASE64.fullmatch(bare):
        try:
            octets = base64.b64decode(
                bare.rstrip("=") + "=", b"-_" if "-" in bare or "_" in bare else None
            )
        except binascii.Error:
            return ""
        return octets.hex()
    return ""


def words(row: Any) -> set[str]:
    """The words to keep of a certificate's row."""
    found: set[str] = set()
    for each in _suffixes(row):
        found.add(each[:LENGTH])
        if len(found) == _MOST:
            break
    if row.fingerprint:
        found.add((_DIGEST + row.fingerprint)[:LENGTH])
    return found


def _suffixes(row: Any) -> Iterator[str]:
    for text in _texts(row):
        for begin in _BEGIN.finditer(text):
            rest = text[begin.start() :]
            if not _TYPE.match(rest):
                yield rest


def _texts(row: Any) -> Iterable[str]:
    yield _folded(row.subject)
    for name in row.names.split("\n"):
        yield _folded(name).partition(":")[2]
    if row.gateway:
        yield _folded(row.gateway)


def _folded(text: str) -> str:
    return text.casefold()
