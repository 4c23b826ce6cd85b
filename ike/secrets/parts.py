"""The parts that people put a secret together from: words, years, addresses, runs, blocks that come again. Pure.

Each part has two prices. `told` is what it takes to tell the part to somebody who expects random characters, all
included: which kind, which one, how it is written. No more than one of 2^n random values is told in n bits less than
it has, so that what saves enough was put together by a person. `guessed` is what it takes to guess it once that is
known.
"""

import math
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain, pairwise
from typing import Final

from ike.secrets import sentences, words

LETTER_BITS: Final = math.log2(26)
DIGIT_BITS: Final = math.log2(10)
_COMMON_BITS: Final = 8.0
_FREQUENT_BITS: Final = 6.0
_LISTED_BITS: Final = 11.5
_WORD_BITS: Final = 12.9  # one of 7776, as dice choose it
_LONG_WORD: Final = 9  # letters; what is longer is several words
_FURTHER_BITS: Final = 1.84  # of a letter of a word that was chosen so
_BEGIN: Final = 6.0  # that a part begins here, and of which kind
_NEXT: Final = 2.0  # the same after another part
_SIZE_BITS: Final = 3.0
_SIGN_TOLD: Final = 5.5  # of a sign between two parts
_USUAL_TOLD: Final = 1.5  # of the one that comes most
_SIGN_GUESSED: Final = 0.5
_SIGNS: Final = frozenset("-_. !#@/")
_LIST_BITS: Final = math.log2(len(words.ALL))
_BLOCK: Final = 4
_SHORTEST: Final = 3

_LEET: Final = str.maketrans("0134578@$!|", "oieastbasii")
_ROWS: Final = (
    "qwertyuiop",
    "asdfghjkl",
    "zxcvbnm",
    "qwertzuiop",
    "yxcvbnm",
    "azertyuiop",
    "qsdfghjklm",
    "wxcvbn",
    "1234567890",
    "0123456789",
    "!@#$%^&*()",
    '!"§$%&/()=',
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol0p",
    "1qay2wsx3edc4rfv5tgb6zhn7ujm8ik9ol0p",
    "qazwsxedcrfvtgbyhnujmikolp",
    "qaywsxedcrfvtgbzhnujmikolp",
    "147258369",
    string.ascii_lowercase,
    "0123456789abcdef",
)
_BOTH_WAYS: Final = tuple(row for line in _ROWS for row in (line, line[::-1]))
_STEPS: Final = frozenset(row[at : at + 2] for row in _BOTH_WAYS for at in range(len(row) - 1))
_RUN: Final = re.compile(r"\+{3,}")
_ALTERNATION: Final = re.compile(r"\+{5,}")
_TOGETHER: Final = re.compile(r"[a-z]{12,}|[A-Z]{12,}")
_FOREIGN: Final = re.compile(r"[^\x00-\xff]{2,}")
_SYLLABLE_BITS: Final = (
    5.5  # of a sign among others: there are thousands, and they follow each other in words
)
_NAME_BITS: Final = 2.0
_CASED: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_BETWEEN: Final = re.compile(r"[-_. #!@/,+]")
_UNSPEAKABLE: Final = re.compile(r"[^aeiouy]{5}|[aeiou]{4}|^[^aeiouy]+$")
_PHRASE_SAVES: Final = 10.0
_CAMEL: Final = re.compile(r"(?:[A-Z][a-z]{2,}){4,}")
_TRAILING: Final = "0123456789!?.-_#"
_CAMEL_WORD: Final = re.compile(r"[A-Z][a-z]+")
_CAMEL_SIZE: Final = 2.5  # bits of how long a word is, where a capital is all that tells
_LETTERS: Final = re.compile(r"[a-z]{4,}")


class Kind(StrEnum):
    """What a part is, as a reason says it."""

    COMMON = "common words"
    WORD = "words or names"
    DATE = "dates or years"
    ADDRESS = "addresses or telephone numbers"
    RUN = "runs of the alphabet, of digits or of the keyboard, or of one character"
    BLOCK = "blocks that come again"
    NAME = "the name of its owner"


@dataclass(frozen=True)
class Part:
    """A part of a text, from where to where, and its two prices in bits."""

    kind: Kind
    start: int
    end: int
    told: float
    guessed: float


def plain(text: str) -> str:
    """The text in small letters, with digits and signs read as the letters that they stand for."""
    lower = text.lower()
    # There are letters that become two: places must stay what they are.
    return (lower if len(lower) == len(text) else text).translate(_LEET)


def find(
    text: str, each: float, names: Collection[str] = (), *, phrase: bool = False
) -> list[Part]:
    """All parts of a text that show, of characters of `each` bits; they overlap.

    `names` are of whom it belongs to, in small letters. In a `phrase` every word is one, however it reads.
    """
    # Among digits, and in hexadecimal, a digit is what it is.
    letters = plain(text) if each > 4 else text.lower()
    if len(letters) != len(text):
        letters = text
    every = chain(
        _listed(text, letters),
        _worded(text, letters, phrase=phrase),
        _together(text),
        _foreign(text),
        _named(text, names),
        _shaped(text),
        _runs(text),
        _alternations(text),
        _blocks(letters),
    )
    signs = Counter(character for character in text if character in _SIGNS)
    usual = max(signs, key=lambda sign: signs[sign], default="")
    found: list[Part] = []
    for part in every:
        saving = part.told - _BEGIN + _NEXT < (part.end - part.start) * each
        if saving or (part.kind is Kind.WORD and (phrase or _stands_apart(text, part))):
            found.append(part)
            after = text[part.end : part.end + 1]
            if after in _SIGNS:
                sign = _USUAL_TOLD if after == usual else _SIGN_TOLD
                more = part.told + sign, part.guessed + _SIGN_GUESSED
                found.append(Part(part.kind, part.start, part.end + 1, *more))
    return found


def is_phrase(text: str) -> bool:
    """Whether it is three words and more, with signs between them, or four with a capital each, whose letters follow
    each other as in words.
    """
    if _CAMEL.fullmatch(text.rstrip(_TRAILING)):
        read = _CAMEL_WORD.findall(text)
        # That each word has one capital, its first letter, saves the bits: random letters have that by no chance.
        each, size, saves = LETTER_BITS + 1, _CAMEL_SIZE, 0.0
    else:
        apart = [word for word in _BETWEEN.split(text) if word]
        if not all(_CASED.fullmatch(word) or word.isdigit() for word in apart):
            return False
        read = [word for word in apart if not word.isdigit()] if len(apart) > 2 else []
        each, size, saves = LETTER_BITS, 0.0, _PHRASE_SAVES
    bits = sum(sentences.letters_bits(word.lower()) + size for word in read)
    return len(read) > 2 and bits + saves < sum(map(len, read)) * each


def _stands_apart(text: str, part: Part) -> bool:
    around = text[max(0, part.start - 1) : part.start] + text[part.end : part.end + 1]
    return part.end - part.start >= _SHORTEST and not any(sign.isalnum() for sign in around)


def told(length: int, each: float, found: Iterable[Part]) -> float:
    """The least bits to tell a text of so many characters of `each` bits, by its parts and what is between them."""
    ending = _by_end(found)
    # Up to each place: the least bits in any way, and in those ways that end with a part.
    best, within = [0.0], [math.inf]
    for end in range(1, length + 1):
        prices = [
            part.told + min(best[part.start], within[part.start] - _BEGIN + _NEXT)
            for part in ending.get(end, ())
        ]
        within.append(min(prices, default=math.inf))
        best.append(min(best[-1] + each, within[-1]))
    return best[-1]


def guessed(length: int, each: float, found: Iterable[Part]) -> tuple[float, list[Part]]:
    """The least bits to guess such a text, and the parts that this takes."""
    ending = _by_end(found)
    best: list[float] = [0.0]
    chosen: list[Part | None] = [None]
    for end in range(1, length + 1):
        prices = [(best[part.start] + part.guessed, part) for part in ending.get(end, ())]
        least, by = min(prices, key=lambda price: price[0], default=(math.inf, None))
        if best[-1] + each <= least:
            least, by = best[-1] + each, None
        best.append(least)
        chosen.append(by)
    taken, at = [], length
    while at:
        last = chosen[at]
        if last is not None:
            taken.append(last)
        at = last.start if last is not None else at - 1
    return best[-1], taken


def _by_end(found: Iterable[Part]) -> dict[int, list[Part]]:
    ending: dict[int, list[Part]] = {}
    for part in found:
        ending.setdefault(part.end, []).append(part)
    return ending


def _writing(text: str) -> float:
    """Bits of how letters are written: small, a capital first, all capitals, or one of the many other ways."""
    if text.islower() and text.isalpha():
        return 1.0
    if text.isalpha() and text[1:].islower():
        return 1.3
    if text.isalpha() and text.isupper():
        return 2.5
    letters = sum(character.isalpha() for character in text)
    changes = sum(character.isupper() for character in text[1:])
    return 3.0 + 4.0 * min(changes, letters - changes) + 2.0 * (len(text) - letters)


def _listed(text: str, letters: str) -> Iterator[Part]:
    for start in range(len(letters) - _SHORTEST + 1):
        for end in range(start + _SHORTEST, min(start + words.LONGEST, len(letters)) + 1):
            word = letters[start:end]
            if word in words.ALL:
                written = _writing(text[start:end])
                common = word in words.COMMON
                price = _COMMON_BITS if common else _LISTED_BITS
                kind = Kind.COMMON if common else Kind.WORD
                told = _BEGIN + _LIST_BITS + written
                yield Part(kind, start, end, told, price + max(0.0, written - 3))


def _worded(text: str, letters: str, *, phrase: bool) -> Iterator[Part]:
    seen = {(found.start(), found.end()) for found in _CASED.finditer(text)}
    seen |= {(found.start(), found.end()) for found in _LETTERS.finditer(letters)}
    for start, end in seen:
        word = letters[start:end]
        size = end - start
        written = _writing(text[start:end])
        told = sentences.letters_bits(word)
        apart = phrase or not any(
            sign.isalnum() for sign in text[max(0, start - 1) : start] + text[end : end + 1]
        )
        readable = told < size * LETTER_BITS or (apart and not _UNSPEAKABLE.search(word))
        told += _SIZE_BITS + max(0, size - 8) / 2
        if word in words.FREQUENT:
            told = min(told, math.log2(len(words.FREQUENT)))
        told += _BEGIN + written
        if size > 1 and readable:
            further = max(0, size - _LONG_WORD) * _FURTHER_BITS
            price = min(size * LETTER_BITS, _WORD_BITS + further)
            price = _FREQUENT_BITS if word in words.FREQUENT else price
            yield Part(Kind.WORD, start, end, told, price + max(0.0, written - 3))


def _together(text: str) -> Iterator[Part]:
    """Sentences without blanks."""
    for found in _TOGETHER.finditer(text):
        bits = sentences.bits(found[0].lower())
        told = _BEGIN + _writing(found[0]) + 2 * math.log2(len(found[0])) + bits
        yield Part(Kind.WORD, found.start(), found.end(), told, bits)


def _foreign(text: str) -> Iterator[Part]:
    """Words of scripts that are not read here; of one whose signs are syllables or words, each sign is chosen."""
    for found in _FOREIGN.finditer(text):
        size = len(found[0])
        wide = sum(unicodedata.east_asian_width(sign) in "WF" for sign in found[0])
        price = min(size * LETTER_BITS, _WORD_BITS + max(0, size - _LONG_WORD) * _FURTHER_BITS)
        price = max(price, wide * _SYLLABLE_BITS)
        yield Part(Kind.WORD, found.start(), found.end(), _BEGIN + price, price)


def _named(text: str, names: Collection[str]) -> Iterator[Part]:
    small = text.lower()
    if len(small) != len(text):
        return
    for name in names:
        start = small.find(name)
        while start >= 0:
            end = start + len(name)
            written = _writing(text[start:end])
            told = _BEGIN + _NAME_BITS + math.log2(len(names)) + written
            yield Part(Kind.NAME, start, end, told, _NAME_BITS + max(0.0, written - 3))
            start = small.find(name, end)


_SHAPES: Final = (
    (Kind.DATE, re.compile(r"(?:19|20)\d\d"), 7.0),
    (Kind.DATE, re.compile(r"(?:19|20)\d\d[-./_]?(?:0\d|1[0-2])[-./_]?(?:[0-2]\d|3[01])"), 15.0),
    (Kind.DATE, re.compile(r"(?:[0-2]\d|3[01])[-./_]?(?:0\d|1[0-2])[-./_]?(?:19|20)\d\d"), 15.0),
    (Kind.DATE, re.compile(r"(?:[0-2]?\d|3[01])[-./](?:0?\d|1[0-2])[-./](?:\d\d)"), 15.0),
    (Kind.ADDRESS, re.compile(r"192\.168\.\d{1,3}\.\d{1,3}(?:/\d\d)?"), 18.0),
    (Kind.ADDRESS, re.compile(r"\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}(?:/\d\d)?"), 32.0),
    # Half of a hardware address is its maker's.
    (Kind.ADDRESS, re.compile(r"(?i:[0-9a-f]{2}([:-])(?:[0-9a-f]{2}\1){4}[0-9a-f]{2})"), 36.0),
)
_TELEPHONE: Final = re.compile(r"(?<!\d)(?:\+|00?)\d[\d ()/-]{6,18}\d(?!\d)")


def _shaped(text: str) -> Iterator[Part]:
    for kind, shape, bits in _SHAPES:
        for found in shape.finditer(text):
            # A hardware address told to somebody is told in full.
            told = max(bits, 48.0) if bits > 32 else bits
            yield Part(kind, found.start(), found.end(), _BEGIN + 2 + told, bits)
    for found in _TELEPHONE.finditer(text):
        digits = sum(character.isdigit() for character in found[0]) * DIGIT_BITS
        others = sum(not character.isdigit() for character in found[0]) * 3
        yield Part(
            Kind.ADDRESS, found.start(), found.end(), _BEGIN + 2 + digits + others, min(digits, 34)
        )


def _runs(text: str) -> Iterator[Part]:
    """Where characters go on from the one before, four and more of them."""
    signs = "".join(
        "+" if before == after or before + after in _STEPS else "-"
        for before, after in pairwise(text.lower())
    )
    for found in _RUN.finditer(signs):
        start, end = found.start(), min(found.end() + 1, len(text))
        size = end - start
        run = text[start:end].lower()
        straight = len(set(run)) == 1 or any(run in row + row for row in _BOTH_WAYS)
        further = (0 if straight else 2 * size) + (
            0 if text[start:end] in (run, run.upper()) else size
        )
        told = _BEGIN + LETTER_BITS + 2 + 2 * math.log2(size) + further
        yield Part(Kind.RUN, start, end, told, 5 + math.log2(size) + further / 2)


def _alternations(text: str) -> Iterator[Part]:
    """Where characters go on from the last but one: two runs by turns, as in a1b2c3d4."""
    small = text.lower()
    signs = "".join(
        "+" if before == after or before + after in _STEPS else "-"
        for before, after in zip(small, small[2:], strict=False)
    )
    for found in _ALTERNATION.finditer(signs):
        start, end = found.start(), min(found.end() + 2, len(text))
        run = small[start:end]
        further = 0 if text[start:end] in (run, run.upper()) else len(run)
        for one in (run[::2], run[1::2]):
            straight = len(set(one)) == 1 or any(one in row + row for row in _BOTH_WAYS)
            further += 0 if straight else 2 * len(one)
        told = _BEGIN + 2 * (LETTER_BITS + 2) + 2 * math.log2(len(run)) + further
        yield Part(Kind.RUN, start, end, told, 10 + math.log2(len(run)) + further / 2)


def _blocks(letters: str) -> Iterator[Part]:
    """Blocks that were there before, the same or mirrored."""
    known: dict[str, int] = {}
    place = math.log2(len(letters) or 1)
    at, noted = 0, 0
    while at + _BLOCK <= len(letters):
        while noted + _BLOCK <= at:
            block = letters[noted : noted + _BLOCK]
            known.setdefault(block, noted)
            known.setdefault(block[::-1], -noted - 1)
            noted += 1
        source = known.get(letters[at : at + _BLOCK])
        if source is None:
            at += 1
            continue
        end = at + _extent(letters, at, source)
        told = _BEGIN + 1 + place + 2 * math.log2(end - at)
        yield Part(Kind.BLOCK, at, end, told, 2 + place)
        at = end


def _extent(letters: str, at: int, source: int) -> int:
    """How many characters from a place on are those of an earlier one; below zero, read backwards from there."""
    size = _BLOCK
    while at + size < len(letters):
        before = source + size if source >= 0 else -source - 1 + _BLOCK - 1 - size
        if before < 0 or letters[before] != letters[at + size]:
            break
        size += 1
    return size
