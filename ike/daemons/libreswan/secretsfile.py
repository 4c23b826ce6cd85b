"""ipsec.secrets for the adapter: read with includes, which record answers for a pair of identities, written. Pure.

Of all records whose identities fit pluto takes the one that fits best, and of those that fit equally the first. A
record that is malformed is passed over, once its text has been written to the log; so what is written here cannot be.
"""

import ipaddress
import os.path
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from core.secret import Secret
from ike.secrets.pluto_records import Included, Malformed, Record, read
from ike.secrets.values import Kind

ANY: Final = "%any"
NESTING: Final = 10
# pluto reads pieces of this size and takes what is beyond for another line.
LONGEST: Final = 2000

# How well a record fits is a sum of these; only the sums below count, the highest for one that names both ends.
_DEFAULT, _ANY, _REMOTE, _LOCAL = 1, 2, 4, 8
EXACT: Final = _LOCAL | _REMOTE
_FIT: Final = {_DEFAULT, _ANY, _LOCAL | _DEFAULT, _LOCAL | _ANY, _REMOTE | _ANY, EXACT}

_KINDS: Final = {Kind.PSK: "psk", Kind.PPK: "ppk", Kind.USER: "xauth"}
_PPK_ID: Final = re.compile(r"[A-Za-z0-9._@+-]{1,64}")


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
class Begun:
    """Here begins what a file holds."""

    file: str


# reading


def parse(text: str, file: str) -> Iterator[Entry | Malformed | Included]:
    """The records of one file, in order. Raises nothing."""
    for each in read(text):
        if isinstance(each, Record):
            kind = _KINDS[each.kind]
            yield Entry(file, each.line, kind, each.owners, each.value, each.ppk_id)
        else:
            yield each


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
            if isinstance(each, Included):
                # From the folder of the file that it stands in.
                below = os.path.join(os.path.dirname(file), each.pattern)
                yield from gather(below, load, depth + 1)
            else:
                yield each


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
