"""ipsec.secrets as pluto reads it: records, includes, and which of them answers for a pair of identities. Pure.

A record begins in the first column and goes on over indented lines: identities, a colon, the kind, the value. Of all
records whose identities fit pluto takes the one that fits best, and of those that fit equally the first. A record that
is malformed is passed over, once its text has been written to the log; so what is written here cannot be.
"""

import base64
import binascii
import ipaddress
import os.path
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from core.secret import Secret

ENCODING: Final = "latin-1"  # a value is octets
ANY: Final = "%any"
NESTING: Final = 10
# pluto reads pieces of this size and takes what is beyond for another line.
LONGEST: Final = 2000

# How well a record fits is a sum of these; only the sums below count, the highest for one that names both ends.
_DEFAULT, _ANY, _REMOTE, _LOCAL = 1, 2, 4, 8
EXACT: Final = _LOCAL | _REMOTE
_FIT: Final = {_DEFAULT, _ANY, _LOCAL | _DEFAULT, _LOCAL | _ANY, _REMOTE | _ANY, EXACT}

_KINDS: Final = {"psk": "psk", "ppks": "ppk", "xauth": "xauth"}
_SPACE: Final = " \t\n\v\f\r"
_TOKEN = re.compile(
    r"""[ \t]*(?:
        (?P<end>\#.*|$)
        |(?P<quote>["'])(?P<quoted>.*?)(?P=quote)
        |(?P<broken>["'].*)
        |(?P<text>0t.*)
        |(?P<word>[^ \t\n\v\f\r]+?(?=:?(?:[ \t\n\v\f\r]|$)))
    )""",
    re.VERBOSE | re.DOTALL,
)
_HEX = re.compile(r"[0-9A-Fa-f]{2}(?:_?[0-9A-Fa-f]{2})*")
_PPK_ID = re.compile(r"[A-Za-z0-9._@+-]{1,64}")


@dataclass(frozen=True, eq=False)
class Entry:
    """A secret: `kind` is psk, ppk or xauth; identities as they are written, none for everybody."""

    file: str
    line: int
    kind: str
    ids: tuple[str, ...]
    value: Secret
    ppk_id: str | None = None

    @property
    def where(self) -> str:
        """The place, for people."""
        return f"{self.file}:{self.line}"


@dataclass(frozen=True)
class Malformed:
    """A record that pluto passes over."""

    file: str
    line: int


@dataclass(frozen=True)
class Include:
    """Another file, or a pattern of some, that is read here."""

    file: str
    line: int
    pattern: str

    @property
    def path(self) -> str:
        """The pattern, from the folder of the file that it stands in."""
        return os.path.join(os.path.dirname(self.file), self.pattern)


@dataclass(frozen=True)
class Begun:
    """Here begins what a file holds."""

    file: str


# reading


def parse(text: str, file: str) -> Iterator[Entry | Malformed | Include]:
    """The records of one file, in order; `text` was decoded by `ENCODING`. Raises nothing."""
    for record in _records(text):
        read = _read(record, file)
        if read is not None:
            yield read


def gather(
    pattern: str, load: Callable[[str], Iterable[tuple[str, str]]], depth: int = 0
) -> Iterator[Entry | Malformed | Begun]:
    """The records of files and of all that they include, in the order in which pluto reads them.

    `load` gives name and text of the files that match a pattern, in byte order of their names.
    """
    if depth > NESTING:
        return
    for file, text in load(pattern):
        yield Begun(file)
        for each in parse(text, file):
            if isinstance(each, Include):
                yield from gather(each.path, load, depth + 1)
            else:
                yield each


@dataclass(frozen=True)
class _Token:
    text: str
    line: int
    quoted: bool = False
    broken: bool = False

    def is_word(self, word: str) -> bool:
        return not self.quoted and self.text.lower() == word


def _records(text: str) -> Iterator[list[_Token]]:
    record: list[_Token] = []
    for number, line in enumerate(text.split("\n"), 1):
        found = list(_tokens(line.rstrip(_SPACE), number))
        if found and line[0] not in " \t":
            if record:
                yield record
            record = found
        elif record:  # indented lines before the first record belong to none
            record += found
    if record:
        yield record


def _tokens(line: str, number: int) -> Iterator[_Token]:
    at = 0
    while (match := _TOKEN.match(line, at)) and match["end"] is None:
        at = match.end()
        if match["quote"]:
            yield _Token(match["quoted"], number, quoted=True)
        elif match["broken"]:
            yield _Token(match["broken"], number, broken=True)
        else:
            yield _Token(match["text"] or match["word"], number)


def _read(record: list[_Token], file: str) -> Entry | Malformed | Include | None:
    line = record[0].line
    if record[0].is_word("include"):
        whole = len(record) == 2 and not record[1].broken
        return Include(file, line, record[1].text) if whole else Malformed(file, line)
    colon = next((index for index, each in enumerate(record) if each.is_word(":")), len(record))
    ids, rest = record[:colon], record[colon + 1 :]
    if not rest:
        return Malformed(file, line)
    kind = _KINDS.get(rest[0].text.lower())
    if kind is None:
        return None  # RSA and the like, which are no shared secrets
    ppk_id = None
    if kind == "ppk":
        if len(rest) < 2 or not rest[1].quoted:
            return Malformed(file, line)
        ppk_id = rest.pop(1).text
    value = _decoded(rest[1]) if len(rest) == 2 else None
    if value is None or any(each.broken for each in ids):
        return Malformed(file, line)
    return Entry(file, line, kind, tuple(each.text for each in ids), value, ppk_id)


def _decoded(token: _Token) -> Secret | None:
    if token.quoted:
        return Secret(token.text.encode(ENCODING))
    form, body = token.text[:2].lower(), token.text[2:]
    if form == "0x" and _HEX.fullmatch(body):
        return Secret(bytes.fromhex(body.replace("_", "")))
    if form == "0s" and body:
        try:
            return Secret(base64.b64decode(body, validate=True))
        except (binascii.Error, ValueError):
            return None
    if form == "0t" and body:
        return Secret(body.encode(ENCODING))
    return None


# whom it answers for


def rank(ids: Sequence[str], local: str, remote: str) -> int:
    """How well the identities of a record fit those of a connection: 0 not at all, `EXACT` best.

    A host name without `@` is looked up by pluto, and fits nobody here.
    """
    known = [each for each in map(normal, ids) if each]
    fit = 0 if known else _ANY
    for each in known:
        if each == ANY:
            fit |= _ANY
            continue
        fit |= _LOCAL if each == normal(local) else 0
        fit |= _REMOTE if each == normal(remote) else 0
    if fit == _LOCAL and len(known) == 1:
        fit |= _DEFAULT
    return fit if fit in _FIT else 0


def normal(identity: str) -> str:
    """An identity as pluto writes it, in the form in which two that pluto holds for equal are equal."""
    text = identity.strip().lower()
    if text in (ANY, "%any6", "%none"):
        return ANY
    if "=" in text:
        parts = re.split(r"[,/]", text.removeprefix("@"))
        return ", ".join(part.strip() for part in parts if part.strip())
    if "@" in text:
        return text.rstrip(".")
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return f"host {text}" if text else ""
    return ANY if address.is_unspecified else str(address)


# writing


def record(ids: Sequence[str], value: Secret, ppk_id: str | None = None) -> str:
    """A line that pluto cannot misread, without its end; raises ValueError, whose words tell nothing of the value."""
    octets = value.reveal()
    if not octets:
        raise ValueError("the value is empty")
    for each in ids:
        if not each.isprintable() or not each.isascii() or '"' in each:
            raise ValueError(f"{each!r} cannot be written into ipsec.secrets")
    if ppk_id is not None and not _PPK_ID.fullmatch(ppk_id):
        raise ValueError(f"{ppk_id!r} is no PPK_ID for Libreswan: 1 to 64 of A-Z a-z 0-9 . _ @ + -")
    kind = "PSK" if ppk_id is None else f'PPKS "{ppk_id}"'
    # In quotes nothing of an identity is taken for something else, such as 0t, which swallows the line.
    names = " ".join(f'"{each}"' for each in ids)
    line = f"{names} : {kind} 0x{octets.hex()}"
    if len(line) > LONGEST:
        raise ValueError("identities and value are longer than a line of ipsec.secrets may be")
    return line
