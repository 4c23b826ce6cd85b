"""How hard a secret is to guess. Pure.

A pre-shared key is tried offline by whoever answers an initiator once (RFC 7296 §2.15: as much unpredictability as the
strongest key that is negotiated; NIST SP 800-77r1: 112 bits and more). What is estimated here is an upper bound: text
that looks random may be anything but.

Random keys hold words and runs by chance. So a value counts as random, with all bits of its characters, unless it can
be told in clearly fewer bits by its words, dates, runs and repetitions; only then it is priced as something that a
person thought of.
"""

import base64
import binascii
import math
import re
import string
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Final

from core.secret import Secret
from ike.secrets import alphabets, parts, words
from ike.secrets.parts import Kind, Part
from ike.secrets.values import Form

FAIR_BITS: Final = 80
STRONG_BITS: Final = 112
COMMON: Final = "it is a common value, a default or taken from an example"  # a reason
_SHORT: Final = 8  # octets: below, Libreswan warns
_COMMON_BITS: Final = 8
_CLEAR: Final = 12.0  # one of 2^12 random values seems that much simpler than it is, at the most
_CERTAIN: Final = 16.0  # below, what may be a strong random value is not called weak
_ACCENT: Final = 3.0  # bits of which sign a letter bears
_FOREIGN: Final = 0.5
_SHORTEST_NAME: Final = 3
_NO_WORD: Final = re.compile(r"[\W_]+")
_MAX_LENGTH: Final = 4096
_MAX_PERIOD: Final = 64
_MAX_KNOWN: Final = 64
_DIGESTS: Final = (16, 20, 32)

_PUNCTUATION: Final = string.punctuation + " "
_CLASSES: Final = (
    (string.ascii_lowercase, 26),
    (string.ascii_uppercase, 26),
    (string.digits, 10),
    (_PUNCTUATION, 33),
)
# What generators write, the narrowest first, and from how many characters.
_WRITINGS: Final = (
    (re.compile(r"\d+"), 10),
    (re.compile(r"[0-9a-f]{16,}|[0-9A-F]{16,}"), 16),
    (re.compile(r"[0-9a-f]{2}(?:([:\- ])[0-9a-f]{2})(?:\1[0-9a-f]{2}){6,}", re.IGNORECASE), 16),
    (re.compile(r"[a-z]+|[A-Z]+"), 26),
    (re.compile(r"[A-Z2-7]{16,}={0,6}|[a-z2-7]{16,}={0,6}"), 32),
    (re.compile(r"[a-z0-9]+|[A-Z0-9]+"), 36),
    (re.compile(r"[A-Za-z0-9]+"), 62),
    (re.compile(r"[A-Za-z0-9+/]{10,}|[A-Za-z0-9_-]{10,}"), 64),
    (re.compile(r"(?:[A-Za-z0-9+/]{4}){2,}(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)"), 64),
)
_SEPARATORS: Final = re.compile(r"[:\- ]")
_UUID: Final = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-([0-9a-f])[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE
)
_UUID_BITS: Final = {"4": 122.0, "7": 74.0}  # what is random of a version; of others, nothing is


class Verdict(StrEnum):
    """What comes of it."""

    WEAK = "weak"
    FAIR = "fair"
    STRONG = "strong"


@dataclass(frozen=True)
class Strength:
    """A judgment: octets, estimated bits, and in words what takes bits away. Says nothing of the value itself."""

    octets: int
    bits: int
    verdict: Verdict
    reasons: tuple[str, ...]


def judge(value: Secret, form: Form = Form.QUOTED, names: Iterable[str] = ()) -> Strength:
    """How hard a value is to guess. Octets that are no text count as they are; text by what it is made of.

    `names` are those of whom it belongs to: a password that is made of them is no other than they.
    """
    octets = value.reveal()
    written = form.value if form in (Form.HEX, Form.BASE64) else ""
    text, how = _as_text(octets[:_MAX_LENGTH], written)
    if _is_digest(octets, text):
        bits, reasons = float(2 * _COMMON_BITS), ["it is the digest of a common word"]
    elif text is not None:
        bits, reasons = _of_text(text, _parts_of(names))
    else:
        bits, reasons = _of_octets(octets[:_MAX_LENGTH], _parts_of(names))
    if how and octets:
        reasons.append(f"it is text, written as {how}")
    if not octets:
        reasons = ["it is empty"]
    elif len(octets) < _SHORT:
        reasons.append(f"it is shorter than {_SHORT} characters")
    whole = int(bits + 1e-6)
    if whole < FAIR_BITS and not reasons:
        reasons.append("it is too short, even if it is random")
    if whole >= STRONG_BITS:
        verdict = Verdict.STRONG
    else:
        verdict = Verdict.FAIR if whole >= FAIR_BITS and len(octets) >= _SHORT else Verdict.WEAK
    return Strength(len(octets), whole, verdict, tuple(reasons))


def _as_text(octets: bytes, written: str) -> tuple[str | None, str]:
    """What a value says as text, if it is any, and as what this is written."""
    wide = alphabets.wide_text_of(octets)
    if wide is not None:
        return wide, "UTF-16"
    text = alphabets.text_of(octets)
    if text is None:
        return None, ""
    return alphabets.coded_in(text) or (text, written)


def _parts_of(names: Iterable[str]) -> frozenset[str]:
    """The words of names that are long enough to be known again, in small Latin letters."""
    small = [alphabets.latin(name).lower() for name in names]
    whole = (name for name in small if name.isascii())
    parted = (part for name in small for part in _NO_WORD.split(name))
    return frozenset(part for part in (*whole, *parted) if len(part) >= _SHORTEST_NAME)


def _is_digest(octets: bytes, text: str | None) -> bool:
    """Whether it is a digest of a word, as octets, hexadecimal or base64."""
    found = octets
    if text is not None and len(text) <= 64:
        try:
            if len(text) in {2 * size for size in _DIGESTS}:
                found = bytes.fromhex(text)
            elif len(text) in (24, 28, 44):
                found = base64.b64decode(text, validate=True)
        except (ValueError, binascii.Error):
            return False
    return len(found) in _DIGESTS and found in words.digests()


def _of_octets(octets: bytes, names: frozenset[str]) -> tuple[float, list[str]]:
    western = alphabets.western_text_of(octets)
    if western is not None:
        bits, said = _of_text(western, names)
        if said:
            return bits, said
    reasons = []
    period = _period(octets)
    counted = octets[:period]
    if period < len(octets):
        reasons.append("it repeats itself")
    differences = Counter((after - before) % 256 for before, after in pairwise(counted))
    steps = max(differences.values(), default=0)
    if steps > 4 and steps * 4 > len(counted):
        reasons.append("it counts up or down, or stays the same")
        return float(8 * (len(counted) - steps)), reasons
    all_of_it, few = 8.0 * period, _of_few(len(set(counted)), period, 256)
    if few + _CLEAR < all_of_it:
        reasons.append("it is made of few different octets")
    return min(all_of_it, few), reasons


def _of_text(text: str, names: frozenset[str]) -> tuple[float, list[str]]:
    read = alphabets.latin(text)
    if _is_known(read):
        return float(_COMMON_BITS), [COMMON]
    uuid = _UUID.fullmatch(text)
    if uuid and len(set(text)) > 8:
        bits = _UUID_BITS.get(uuid[1], 60.0)
        return bits, [] if uuid[1] == "4" else ["it is a UUID of the kind that can be guessed"]
    reasons: list[str] = []
    counted = text[: _period(text)]
    if len(counted) < len(text):
        reasons.append("it repeats itself")
    bits, few = _of_random(counted)
    read = alphabets.latin(counted)
    each = bits / len(read) if read else 0.0
    # No generator chooses from Cyrillic letters: they are somebody's words.
    phrase = parts.is_phrase(read) or alphabets.foreign_share(counted) > _FOREIGN
    found = parts.find(read, each, names, phrase=phrase)
    # What is weak even if it is random may sooner be called by its name.
    clear = _CLEAR if bits >= FAIR_BITS else _CLEAR / 2
    saved = bits - parts.told(len(read), each, found) - _ACCENT * alphabets.accents(counted)
    certain = saved > _CERTAIN or _reads(read, found) or phrase
    if saved > clear or certain:
        least = 0.0 if certain or bits < FAIR_BITS + _CERTAIN else float(FAIR_BITS)
        bits, taken = parts.guessed(len(read), each, found)
        bits = max(bits, least)
        reasons += _reasons(taken, len(read))
    elif few:
        reasons.append("it is made of few different characters")
    return bits, reasons


def _reads(text: str, found: list[Part]) -> bool:
    """Whether it is nothing but words, dates and the like, and too short for that to be told by its bits."""
    known = [part for part in found if part.kind in (Kind.COMMON, Kind.DATE, Kind.RUN, Kind.NAME)]
    covered = set().union(*(range(part.start, part.end) for part in known))
    return len(text) < 16 and 3 * len(covered) >= 2 * len(text)


def _reasons(taken: list[Part], length: int) -> list[str]:
    """What it is made of, the most of it first; what is next to nothing of it is not told."""
    sizes: Counter[Kind] = Counter()
    for part in taken:
        sizes[part.kind] += part.end - part.start
    told = [kind for kind, size in sizes.most_common() if 6 * size >= length]
    if Kind.COMMON in told and Kind.WORD in told:
        told.remove(Kind.WORD)  # one of the two says it
    return [f"it is made of {kind.value}" for kind in told] or ["parts of it can be guessed"]


def _of_random(text: str) -> tuple[float, bool]:
    """Bits of a text if its characters were chosen at random, and whether there are too few different ones for that.

    The characters are those that a generator would have chosen from, or, where that is clearly less, each kind of them
    for itself and which kind comes where.
    """
    length, size = len(text), 94 + (100 if not text.isascii() else 0)
    for writing, letters in _WRITINGS:
        if writing.fullmatch(text):
            length = len(_SEPARATORS.sub("", text) if letters == 16 else text.rstrip("="))
            size = letters
            break
    bits = length * math.log2(size)
    few, kinds = _of_few(len(set(text)), len(text), size), _of_kinds(text)
    bits = kinds if kinds + _CLEAR / 2 < bits else bits
    return (few, True) if few + _CLEAR < bits else (bits, False)


def _of_kinds(text: str) -> float:
    """Bits of which kind of character comes where, and of which one of its kind it is."""
    bits, rest = 0.0, len(text)
    for letters, size in _CLASSES:
        here = sum(map(text.count, letters))
        bits += here * math.log2(size) + _choices(rest, here)
        rest -= here
    return bits + rest * math.log2(100) + _choices(len(text) + 3, 3)


def _of_few(different: int, length: int, size: int) -> float:
    """Bits of the choice of so many different characters of all, and of a text of these."""
    different = min(different, size)
    return _choices(size, different) + length * math.log2(different or 1)


def _choices(of: int, chosen: int) -> float:
    return (
        math.lgamma(of + 1) - math.lgamma(chosen + 1) - math.lgamma(of - chosen + 1)
    ) / math.log(2)


def _is_known(text: str) -> bool:
    """Whether it is a word of the list, or such words and a few digits or signs."""
    if len(text) > _MAX_KNOWN:
        return False
    if len(text) <= 12 and text.isdigit():
        return _left(text, Kind.RUN) <= 2
    for read in (text.lower(), parts.plain(text)):
        stripped = re.sub(r"[\W\d_]+", "", read)
        others = len(read) - len(stripped)
        if read in words.COMMON or (stripped in words.COMMON and others <= 6):
            return True
        if stripped and others <= 4 and not _left(stripped, Kind.COMMON):
            return True
    return False


def _left(text: str, kind: Kind) -> int:
    """How many characters are left of a text without the parts of a kind."""
    within = {
        at
        for part in parts.find(text, math.inf)
        if part.kind is kind
        for at in range(part.start, part.end)
    }
    return len(text) - len(within)


def _period(value: str | bytes) -> int:
    """After how many characters it repeats itself; its length where it does not."""
    for period in range(1, min(len(value) // 2, _MAX_PERIOD) + 1):
        if value[period:] == value[:-period]:
            return period
    return len(value)
