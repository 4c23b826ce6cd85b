"""How hard a secret is to guess. Pure.

A pre-shared key is tried offline by whoever answers an initiator once (RFC 7296 §2.15: as much unpredictability as the
strongest key that is negotiated; NIST SP 800-77r1: 112 bits and more). What is estimated here is an upper bound: text
that looks random may be anything but.
"""

import math
import re
import string
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Final

from core.secret import Secret
from ike.secrets.values import Form

FAIR_BITS: Final = 80
STRONG_BITS: Final = 112
COMMON: Final = "it is a common value, a default or taken from an example"  # a reason
_SHORT: Final = 8  # octets: below, Libreswan warns
_COMMON_BITS: Final = 8  # what a word of the list below is worth
_WORD_BITS: Final = 11  # what a word of a language is worth: one of some thousands
_MAX_LENGTH: Final = 4096
_MAX_PERIOD: Final = 64

# What people type where a secret belongs, what examples show, and what devices come with; compared without case,
# with digits read as the letters that they stand for.
_WORDS: Final = frozenset(
    (
        "password passwd passphrase passwort secret secrets geheim sharedsecret presharedkey preshared preshare psk"
        " vpn vpnkey vpnpassword ipsec ipsecvpn ike ikev2 swan strongswan libreswan openswan freeswan pluto charon"
        " swanctl racoon tunnel tunnelkey gateway firewall router cisco juniper fortinet fortigate paloalto sonicwall"
        " watchguard mikrotik vyos vyatta pfsense opnsense ubiquiti edgerouter zyxel draytek checkpoint azure amazon"
        " admin administrator root user guest test testing tester testkey default changeme change replace replaceme"
        " example sample demo lab mykey mysecret mypassword mypsk yourkey yoursecret yourpassword yourpsk verysecret"
        " topsecret supersecret strongpassword longsecret letmein welcome login access master key keykey private"
        " company office branch site sitetosite hub spoke hello world qwerty azerty abc abcd monkey dragon iloveyou"
        " sunshine princess football baseball superman batman shadow trustno trustnoone whatever computer internet"
        " network server security summer winter spring autumn january february march april june july august september"
        " october november december monday friday sunday insecure thisisasecret thisisaverysecurekey dontusethis"
        " sharedkey jrx roadwarrior roadwarriors eastwest westeast foobar foobarbaz dictionary placeholder"
        " pre shared post quantum extra"
    ).split()
)
_LEET: Final = str.maketrans("0134578@$!|", "oieastbasii")
_ROWS: Final = (
    "qwertyuiop",
    "asdfghjkl",
    "zxcvbnm",
    "qwertzuiop",
    "yxcvbnm",
    "azertyuiop",
    "1234567890",
    "0123456789",
    "!@#$%^&*()",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm",
    string.ascii_lowercase,
    "0123456789abcdef",
)
_STEPS: Final = frozenset(
    row[at : at + 2] for line in _ROWS for row in (line, line[::-1]) for at in range(len(row) - 1)
)
_WORD: Final = re.compile(r"(?<![A-Za-z])(?:[A-Za-z][a-z]{2,13}|[A-Z]{3,14})(?![a-z])")
_UNSPEAKABLE: Final = re.compile(r"[^aeiouy]{5}|[aeiou]{4}")
_RUN: Final = re.compile(r"\+{3,}")
_HEX: Final = re.compile(r"(?:[0-9a-f]+|[0-9A-F]+)\Z")
_CLASSES: Final = (
    (string.ascii_lowercase, 26),
    (string.ascii_uppercase, 26),
    (string.digits, 10),
    (string.punctuation + " ", 33),
)


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


def judge(value: Secret, form: Form = Form.QUOTED) -> Strength:
    """How hard a value is to guess. Octets that are no text count as they are; text by what it is made of."""
    octets = value.reveal()
    text = _as_text(octets[:_MAX_LENGTH])
    bits, reasons = _of_text(text) if text is not None else _of_octets(octets[:_MAX_LENGTH])
    if text is not None and form in (Form.HEX, Form.BASE64) and octets:
        reasons.append(f"it is text, written as {form.value}")
    if not octets:
        reasons = ["it is empty"]
    elif len(octets) < _SHORT:
        reasons.append(f"it is shorter than {_SHORT} characters")
    whole = int(bits)
    if whole < FAIR_BITS and not reasons:
        reasons.append("it is too short for what it is made of")
    if whole >= STRONG_BITS:
        verdict = Verdict.STRONG
    else:
        verdict = Verdict.FAIR if whole >= FAIR_BITS and len(octets) >= _SHORT else Verdict.WEAK
    return Strength(len(octets), whole, verdict, tuple(reasons))


def _as_text(octets: bytes) -> str | None:
    try:
        text = octets.decode()
    except UnicodeDecodeError:
        return None
    return text if text.isprintable() else None


def _of_octets(octets: bytes) -> tuple[float, list[str]]:
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
    # Of n random octets nearly as many are different; of a few different ones there are few keys.
    return len(counted) * min(8.0, math.log2(2 * len(set(counted)) ** 2 or 1)), reasons


def _of_text(text: str) -> tuple[float, list[str]]:
    reasons: list[str] = []
    plain = text.lower().translate(_LEET)
    if _is_known(text.lower()) or _is_known(plain):
        return float(_COMMON_BITS), [COMMON]
    period = _period(text)
    if period < len(text):
        reasons.append("it repeats itself")
    uncommon, common = _without_common(text[:period], plain[:period])
    if 3 * (period - len(uncommon)) > period:
        reasons.append("it is made of common words")
    left, words = _without_words(uncommon)
    if 2 * (len(uncommon) - len(left)) > period:
        reasons.append("it is made of words")
    fresh = _without_steps(left)
    if 3 * (len(left) - len(fresh)) > len(left):
        reasons.append(
            "it has runs of the alphabet, of digits or of the keyboard, or of one character"
        )
    if 2 * len(set(text)) < len(text) ** 0.5 * 3:
        reasons.append("it is made of few different characters")
    bits = len(fresh) * math.log2(_alphabet(left)) + (len(left) - len(fresh))
    return bits + common * _COMMON_BITS + words * _WORD_BITS, reasons


def _without_words(text: str) -> tuple[str, int]:
    """What is left of a text without what reads like words of a language, and how many they were."""
    left: list[str] = []
    words, at = 0, 0
    for match in _WORD.finditer(text):
        word = match[0].lower()
        vowels = sum(letter in "aeiouy" for letter in word)
        if 0.2 <= vowels / len(word) <= 0.7 and not _UNSPEAKABLE.search(word):
            left.append(text[at : match.start()])
            words, at = words + 1, match.end()
    return "".join([*left, text[at:]]), words


def _alphabet(text: str) -> int:
    """From how many characters each was taken, as far as that shows."""
    if text.isdigit():
        classes = 10
    elif len(text) >= 16 and _HEX.match(text):
        classes = 16
    else:
        classes = sum(size for letters, size in _CLASSES if any(c in letters for c in text))
        classes += 100 if not text.isascii() else 0
    return max(2, min(classes, 3 * len(set(text))))


def _is_known(text: str) -> bool:
    """Whether it is a word of the list, or such words and a few digits or signs."""
    stripped = re.sub(r"[\W\d_]+", "", text)
    if not stripped and len(text) <= 12 and text.isdigit():
        return len(_without_steps(text)) <= 3
    if text in _WORDS or stripped in _WORDS:
        return len(text) - len(stripped) <= 6
    return len(text) - len(stripped) <= 4 and not _without_common(stripped, stripped)[0]


def _without_common(text: str, plain: str) -> tuple[str, int]:
    """What is left of a text without the words of the list, and how many they were."""
    left: list[str] = []
    words, at = 0, 0
    lengths = range(min(20, len(plain)), 3, -1)
    while at < len(plain):
        length = next((n for n in lengths if plain[at : at + n] in _WORDS), 0)
        if length:
            words += 1
            at += length
        else:
            left.append(text[at])
            at += 1
    return "".join(left), words


def _without_steps(text: str) -> str:
    """The text without characters that go on from the one before, where a run of four and more does so."""
    lower = text.lower()
    signs = "".join("+" if a == b or a + b in _STEPS else "-" for a, b in pairwise(lower))
    within = {at for run in _RUN.finditer(signs) for at in range(run.start() + 1, run.end() + 1)}
    return "".join(character for at, character in enumerate(text) if at not in within)


def _period(value: str | bytes) -> int:
    """After how many characters it repeats itself; its length where it does not."""
    for period in range(1, min(len(value) // 2, _MAX_PERIOD) + 1):
        if value[period:] == value[:-period]:
            return period
    return len(value)
