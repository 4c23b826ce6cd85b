"""What is left out of findings before anybody sees them: secrets that stand where a name belongs. Pure.

A secret is told by its value where the audit has read it as one, and by its looks where only its place is wrong: a key
in the line of an identity, a description or a connection's name.
"""

import base64
import ipaddress
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from core.secret import Secret
from ike.audit.secrets import SecretFacts
from ike.audit.values import Area, Facts, Finding
from ike.secrets import strength
from ike.secrets.values import Form

# These areas speak of names and identities; the others of paths and of keys by their fingerprints.
_NAMING: Final = frozenset({Area.SECRETS, Area.CONFIGURATION})
_SHORT: Final = 8  # characters; what is shorter is a part of many words
_LONG: Final = 16  # found as a part of other words, too: `ike-…`
_KEY: Final = 20
_EACH: Final = 4.5  # bits of a character, as no names have them
_WORDS: Final = re.compile(r"[^\W\d_]+(?:[ -][^\W\d_]+)*")
_QUOTED: Final = re.compile(r'"([^"]*)"|`([^`]*)`')
_TOKEN: Final = re.compile(rf"[A-Za-z0-9+/=_-]{{{_KEY},}}")
_HEX: Final = re.compile(rf"(?<![A-Za-z0-9])[0-9A-Fa-f]{{{_KEY},}}(?![A-Za-z0-9])")
_RUN: Final = re.compile(rf"[A-Za-z0-9+/]{{{_KEY},}}={{0,2}}")
_BOTH_CASES: Final = re.compile(r"(?=.*[A-Z])(?=.*[a-z])")
_MIXED: Final = re.compile(r"(?=.*[0-9])(?=.*[A-Za-z])")
_PATH: Final = re.compile(r"/[a-z]{2,}/")
_HOST: Final = re.compile(r"\.[A-Za-z0-9]|@")


class Guard:
    """Leaves out of findings what is or may be a secret; the same one always as the same number.

    Ids are made after it, so that nothing can be learned from them. `facts` are all of the audit.
    """

    def __init__(self, facts: Iterable[Facts]) -> None:
        self._whole: set[str] = set()
        self._beginnings: dict[str, set[str]] = {}
        self._numbers: dict[str, int] = {}
        self._judged: dict[str, bool] = {}
        for form in {form for value in _values(facts) for form in _forms(value)}:
            self._whole.add(form)
            if not _is_ordinary(form):
                self._beginnings.setdefault(form[:_SHORT], set()).add(form)

    def passed(self, finding: Finding) -> Finding:
        """The finding as it may be shown."""
        naming = finding.rule.area in _NAMING
        subject = finding.subject
        if subject.lower() in self._whole:
            subject = self._instead(subject)
        evidence, subject, fix = (
            self._text(text, naming=naming) for text in (finding.evidence, subject, finding.fix)
        )
        if (evidence, subject, fix) == (finding.evidence, finding.subject, finding.fix):
            return finding
        return replace(finding, evidence=evidence, subject=subject, fix=fix)

    def _text(self, text: str, *, naming: bool) -> str:
        spans = [*self._known(text), *self._quoted(text)]
        if naming:
            spans += self._alike(text)
        told, at = "", 0
        for start, end in sorted(spans, key=lambda span: (span[0], -span[1])):
            if start >= at:
                told += text[at:start] + self._instead(text[start:end])
            at = max(at, end)  # where one begins within another, neither is shown
        return told + text[at:]

    def _instead(self, secret: str) -> str:
        number = self._numbers.setdefault(secret.lower(), len(self._numbers) + 1)
        return f"[not shown: may be a secret #{number}]"

    def _quoted(self, text: str) -> Iterator[tuple[int, int]]:
        if not self._whole:
            return
        for match in _QUOTED.finditer(text):
            group = 1 if match[1] is not None else 2
            if match[group].lower() in self._whole:
                yield match.span(group)

    def _known(self, text: str) -> Iterator[tuple[int, int]]:
        if not self._beginnings:
            return
        lower = _small(text)
        for start in range(len(lower) - _SHORT + 1):
            for form in self._beginnings.get(lower[start : start + _SHORT], ()):
                end = start + len(form)
                if lower.startswith(form, start) and _stands_out(lower, start, end):
                    yield start, end

    def _alike(self, text: str) -> Iterator[tuple[int, int]]:
        """Where something stands that looks like a key."""
        for match in _TOKEN.finditer(text):
            start, end = match.span()
            if _PATH.match(match[0]) or _is_named_otherwise(text, start, end):
                continue
            if match[0] not in self._judged:
                self._judged[match[0]] = is_like_key(match[0])
            if self._judged[match[0]]:
                yield start, end


def is_like_key(text: str) -> bool:
    """Whether a word looks like a random key: long, of digits and letters, and with no words in it.

    UUIDs are names, and so is what has hyphens.
    """
    if any(map(_MIXED.match, _HEX.findall(text))):
        return True
    return any(_is_random(part) for run in _RUN.findall(text) for part in _parts(run))


def _parts(run: str) -> list[str]:
    """In small letters alone a slash is more likely between two names than in base64."""
    return [run] if _BOTH_CASES.match(run) else re.split("[+/]", run)


def _is_random(part: str) -> bool:
    if len(part) < _KEY or not _MIXED.match(part):
        return False
    if part.endswith("=") and len(part) % 4 == 0:
        return True
    return strength.judge(Secret(part.encode()), Form.PLAIN).bits >= _EACH * len(part)


def _is_named_otherwise(text: str, start: int, end: int) -> bool:
    """Whether what stands around a word tells that it is no key: a host's or a person's name, or a key's id."""
    before = text[:start]
    if before.endswith(("connections.", "children.")):
        return False
    is_part = before.endswith((".", "@")) or _HOST.match(text, end) is not None
    return is_part or before.endswith("keyid:#")


def _values(facts: Iterable[Facts]) -> Iterator[bytes]:
    for each in facts:
        if isinstance(each, SecretFacts):
            for seen in each.overview.secrets:
                yield seen.entry.value.reveal()


def _forms(octets: bytes) -> Iterator[str]:
    """How a value may be written, in small letters."""
    if not octets:
        return
    yield _small(octets.decode("utf-8", "surrogateescape"))
    if len(octets) >= _SHORT:
        yield octets.hex()
        yield octets.hex(":")
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield encode(octets).decode().rstrip("=").lower()


def _small(text: str) -> str:
    """In small letters, each in its place: there are some that become two."""
    lower = text.lower()
    return lower if len(lower) == len(text) else "".join(
        each.lower() if len(each.lower()) == 1 else each for each in text
    )  # fmt: skip


def _is_ordinary(form: str) -> bool:
    """Whether a value is a part of many sentences: short, a few words, an address."""
    if len(form) < _SHORT or (len(form) < _LONG and _WORDS.fullmatch(form)):
        return True
    try:
        ipaddress.ip_address(form)
    except ValueError:
        return False
    return True


def _stands_out(text: str, start: int, end: int) -> bool:
    if end - start >= _LONG:
        return True
    around = text[max(start - 1, 0) : start] + text[end : end + 1]
    return not any(sign.isalnum() for sign in around)
