"""ipsec.secrets as pluto takes it apart: records with owners, a kind and a value. Pure.

A record begins in the first column and goes on over indented lines. A colon ends the word before it, and a value needs
quotation marks or 0x, 0s, 0t. A record that is malformed is passed over, once its text has been written to the log.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from core.secret import Secret
from ike.secrets import forms
from ike.secrets.values import Form, Kind

_KINDS: Final = {"PSK": Kind.PSK, "PPKS": Kind.PPK, "XAUTH": Kind.USER}
_KEYS: Final = frozenset({"RSA", "ECDSA", "BLISS", "PKCS8", "P12", "PIN"})
_SPACE: Final = " \t\n\v\f\r"
# Only blanks and tabs are skipped before a word, and all kinds of space end one.
_TOKEN: Final = re.compile(
    r"""[ \t]*(?:(?P<comment>\#.*)|(?P<q>["'`])(?P<quoted>.*?)(?P=q)|(?P<open>["'`].*)
    |(?P<text>0t.*)|(?P<word>[^ \t][^ \t\n\v\f\r]*))""",
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True)
class _Token:
    """A word, or what stood between marks; `broken` if those have no end."""

    text: str
    line: int
    mark: str = ""
    broken: bool = False

    @property
    def quoted(self) -> bool:
        return self.mark in ('"', "'")


@dataclass(frozen=True, eq=False)
class Record:
    """A secret: owners as they are written, none for everybody. They may be anything, a misplaced secret too."""

    line: int
    kind: Kind
    owners: tuple[str, ...]
    value: Secret
    form: Form
    ppk_id: str | None = None


@dataclass(frozen=True)
class Malformed:
    """What pluto passes over, and why; quotes nothing of it."""

    line: int
    why: str


@dataclass(frozen=True)
class Included:
    """Another file, or a pattern of some, that is read here."""

    line: int
    pattern: str


class _Refused(ValueError):
    """A record that pluto passes over. Says why, and quotes nothing."""


def read(text: str) -> Iterator[Record | Malformed | Included]:
    """The records of one file, in order; those of private keys are left out. Raises nothing."""
    for tokens, whole in _records(text):
        line = tokens[0].line
        if not whole:
            yield Malformed(line, "lines before the first entry are indented")
            continue
        try:
            found = _read(tokens)
        except (_Refused, forms.Unreadable) as error:
            yield Malformed(line, str(error))
            continue
        if found is not None:
            yield found


def _records(text: str) -> Iterator[tuple[list[_Token], bool]]:
    """The words of each record, and whether it begins in the first column, which only the first may not."""
    record: list[_Token] = []
    whole = False
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.rstrip(_SPACE)
        tokens = list(_tokens(line, number))
        if tokens and line[0] not in " \t":
            if record:
                yield record, whole
            record, whole = [], True
        record += tokens
    if record:
        yield record, whole


def _tokens(line: str, number: int) -> Iterator[_Token]:
    at = 0
    while match := _TOKEN.match(line, at):
        at = match.end()
        if match["comment"] is not None:
            return
        if match["quoted"] is not None:
            yield _Token(match["quoted"], number, match["q"])
        elif match["open"] is not None:
            yield _Token(match["open"], number, broken=True)
        elif match["text"] is not None:
            yield _Token(match["text"], number)
        elif match["word"] != ":" and match["word"].endswith(":"):
            yield _Token(match["word"][:-1], number)
            yield _Token(":", number)
        else:
            yield _Token(match["word"], number)


def _read(tokens: list[_Token]) -> Record | Included | None:
    if tokens[0].text.lower() == "include" and not tokens[0].quoted:
        if len(tokens) != 2 or tokens[1].broken:
            raise _Refused("an include names one file or pattern")
        return Included(tokens[0].line, tokens[1].text)
    colon = next((n for n, t in enumerate(tokens) if t.text == ":" and not t.quoted), None)
    if colon is None:
        raise _Refused("there is no colon before the secret")
    owners, after = tokens[:colon], tokens[colon + 1 :]
    word = after[0].text.upper() if after else ""
    if word in _KEYS:
        return None
    kind = _KINDS.get(word)
    if kind is None:
        raise _Refused("what follows the colon is no kind of secret")
    if any(each.broken for each in owners):
        raise _Refused("a quotation mark has no end")
    values = after[1:]
    ppk_id = None
    if kind is Kind.PPK:
        if not values or not values[0].quoted:
            raise _Refused("a PPK has its PPK_ID in quotation marks before its value")
        ppk_id = values.pop(0).text
    if len(values) != 1:
        raise _Refused("one value follows the kind of secret, and nothing more")
    secret, form = _value(values[0])
    names = tuple(each.text for each in owners)
    return Record(tokens[0].line, kind, names, secret, form, ppk_id)


def _value(token: _Token) -> tuple[Secret, Form]:
    if token.broken:
        raise _Refused("a quotation mark has no end")
    if token.mark == "`":
        raise _Refused("a value does not stand between backquotes")
    if token.quoted:
        return Secret(forms.octets(token.text)), Form.QUOTED
    return forms.libreswan(token.text)
