"""ipsec.secrets, as strongSwan and as Libreswan read it. Pure.

Both know lines such as `gw1.example.com 192.0.2.1 : PSK "…"`. Libreswan's entries may go on in lines that are indented,
a colon ends the word before it, and a value needs quotes or 0x, 0s, 0t; for strongSwan an entry is a line, blanks stand
around the colon, and a value may be written as it is.

A line that was meant otherwise than it is read may have its secret where the owners are. So owners that do not look
like identities are never kept.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Final

from core.secret import Secret
from ike.secrets import forms, identities, pluto_records
from ike.secrets.identities import Identity
from ike.secrets.pluto_records import Record
from ike.secrets.values import (
    MAX_PROBLEMS,
    Dialect,
    Entry,
    Form,
    Include,
    Kind,
    Parsed,
    Place,
    Problem,
    Source,
    nothing,
)

_KINDS: Final = {
    "PSK": Kind.PSK,
    "PPK": Kind.PPK,
    "PPKS": Kind.PPK,
    "EAP": Kind.USER,
    "XAUTH": Kind.USER,
    "NTLM": Kind.USER,
}
# Entries of a key, by its file or its numbers: strongSwan's may have its passphrase behind.
_KEYS: Final = frozenset({"RSA", "ECDSA", "BLISS", "PKCS8", "P12", "PIN"})
_WORDS: Final = _KINDS.keys() | _KEYS
_HOST: Final = re.compile(r"[A-Za-z0-9*_](?:[A-Za-z0-9._*-]{0,251}[A-Za-z0-9_])?\Z")
_QUOTED: Final = re.compile(r"""(?P<q>["'])(?P<value>.*?)(?P=q)(?P<rest>.*)\Z""", re.S)

_FIRST: Final = re.compile(
    r"""(?:(?P<q>["'])(?P<quoted>[^"']{1,4096})(?P=q)|(?P<word>[^ \t"'{#]{1,4096}))(?=[ \t])(?P<rest>.*)\Z""",
    re.S,
)


class _Malformed(ValueError):
    """An entry that cannot be read. Says why, and quotes nothing."""


def parse(source: Source, dialect: Dialect, include: Include = nothing) -> Parsed:
    """The secrets of a file and of those that it includes, in the order in which its daemon loads them."""
    read = _strongswan if dialect is Dialect.STRONGSWAN else _libreswan
    entries: list[Entry] = []
    problems: list[Problem] = []
    for found in read(source, include):
        if isinstance(found, Entry):
            entries.append(found)
        else:
            problems.append(found)
        if len(problems) > MAX_PROBLEMS:
            problems.append(Problem(found.place, "too much is wrong: the rest is not read"))
            break
    return Parsed(tuple(entries), (), tuple(problems))


def _included(
    pattern: str, source: Source, include: Include, dialect: Dialect
) -> Iterator[Entry | Problem]:
    read = _strongswan if dialect is Dialect.STRONGSWAN else _libreswan
    for each in include(pattern, source):
        yield from read(each, include)


# strongSwan: a line is an entry


def _strongswan(source: Source, include: Include) -> Iterator[Entry | Problem]:
    for number, raw in enumerate(source.text.split("\n"), 1):
        line = raw.removesuffix("\r").lstrip(" \t")
        place = Place(source.path, number)
        if not line or line.startswith("#"):
            continue
        if line.startswith("include "):
            pattern = line.removeprefix("include ").lstrip(" ").split(" ")[0].rstrip("\t")
            yield from _included(pattern, source, include, Dialect.STRONGSWAN)
            continue
        try:
            entry = _line(line, place)
        except (_Malformed, forms.Unreadable) as error:
            # charon leaves out the rest of the file; what stands there is shown all the same.
            yield Problem(place, f"{error}; strongSwan reads no further than this line")
            continue
        if entry is not None:
            yield entry


def _line(line: str, place: Place) -> Entry | None:
    before, owners_end, after = line.partition(" : ")
    if line.startswith(": "):
        before, owners_end, after = "", " : ", line[1:]
    if not owners_end:
        raise _Malformed("there is no colon with blanks around it")
    word, _, rest = after.replace("\t", " ").lstrip(" ").partition(" ")
    # As it stands: a value may hold tabs.
    value = after.lstrip(" \t")[len(word) :].lstrip(" \t")
    if word in _KEYS:
        return _opening(word, value, place)
    kind = _KINDS.get(word)
    if kind is None or word == "PPKS":
        raise _Malformed("what follows the colon is no kind of secret")
    owners = _owners(_words(before), Dialect.STRONGSWAN)
    if not rest.strip() or value.startswith("#"):
        raise _Malformed("the value is missing")
    secret, form = _value(value)
    return Entry(kind, owners, secret, form, place, Dialect.STRONGSWAN)


def _opening(word: str, text: str, place: Place) -> Entry | None:
    """The passphrase of a key, behind its file, or the PIN of a token, behind its place; None where none is written."""
    match = _FIRST.match(text)
    if match is None:
        return None
    name, value = match["quoted"] or match["word"] or "", match["rest"].lstrip(" \t")
    if not value or value.startswith(("#", "%prompt")) or not name.isprintable():
        return None
    secret, form = _value(value)
    if word != "PIN":
        kind, file = Kind.PASSPHRASE, name
    elif name.startswith("%smartcard"):
        kind, file = Kind.PIN, ""
    else:
        return None
    return Entry(kind, (), secret, form, place, Dialect.STRONGSWAN, file=file)


def _value(text: str) -> tuple[Secret, Form]:
    if text[:1] in ("'", '"'):
        end = text.find(text[0], 1)
        if end < 0:
            raise _Malformed("a quotation mark has no end")
        return Secret(forms.octets(text[1:end])), Form.QUOTED
    return forms.strongswan(re.split(r"[ \t]", text, maxsplit=1)[0])


def _words(text: str) -> Iterator[str]:
    """The words of a list of owners, which may be quoted."""
    rest = text.strip(" \t")
    while rest:
        match = _QUOTED.match(rest)
        if match:
            yield match["value"]
            rest = match["rest"].lstrip(" \t")
        elif rest[0] in "\"'":
            raise _Malformed("a quotation mark has no end")
        else:
            word, *more = re.split(r"[ \t]+", rest, maxsplit=1)
            yield word
            rest = more[0] if more else ""


# Libreswan: as pluto takes it apart


def _libreswan(source: Source, include: Include) -> Iterator[Entry | Problem]:
    for each in pluto_records.read(source.text):
        place = Place(source.path, each.line)
        if isinstance(each, pluto_records.Included):
            yield from _included(each.pattern, source, include, Dialect.LIBRESWAN)
        elif isinstance(each, pluto_records.Malformed):
            yield Problem(place, f"{each.why}; Libreswan leaves the entry out")
        else:
            yield _entry(each, place)


def _entry(record: Record, place: Place) -> Entry | Problem:
    try:
        owners = _owners(record.owners, Dialect.LIBRESWAN)
    except _Malformed as error:
        return Problem(place, f"{error}; Libreswan leaves the entry out")
    if record.ppk_id is not None:
        owners = (Identity("keyid", record.ppk_id),)
    return Entry(record.kind, owners, record.value, record.form, place, Dialect.LIBRESWAN)


# owners


def _owners(words: Iterable[str], dialect: Dialect) -> tuple[Identity, ...]:
    read = identities.strongswan if dialect is Dialect.STRONGSWAN else identities.libreswan
    found = []
    for text in words:
        if text.upper().rpartition(":")[2] in _WORDS or not is_plausible(text):
            raise _Malformed("what stands before the colon is no list of identities")
        found.append(read(text))
    return tuple(found)


def owner(text: str, kind: Kind) -> Identity | None:
    """What stands as an owner of a secret, as strongSwan reads it; None for what may be a misplaced secret, and is not
    to be shown.
    """
    if kind is Kind.PSK:
        return identities.strongswan(text) if is_plausible(text) else None
    # Names of people and PPK_IDs may be anything, but a secret that slipped into the line of an id.
    shown = text.isprintable() and "=" not in text and " " not in text and len(text) <= 255
    return Identity("keyid", text) if shown else None


def is_plausible(text: str) -> bool:
    """Whether a word may be shown as an identity. One that is read where owners stand may be a secret whose line was
    written wrongly.
    """
    if not text.isprintable() or len(text) > 1024:
        return False
    if text.startswith("%") or text == "*":
        return text in ("%any", "%any4", "%any6", "%none", "%null", "%fromcert", "*")
    identity = identities.strongswan(text)
    if identity.kind == "dn":
        # `C=CH secret = …`: what was to be another line.
        return all("=" not in part.partition("=")[2] for part in identity.value.split(", "))
    if identity.kind in ("ip", "net", "any"):
        return True
    if " " in text or text[:2].lower() in ("0x", "0s", "0t"):
        return False
    return (
        "@" in text
        or text.partition(":")[0] in ("keyid", "fqdn", "dns", "email")
        or (_HOST.match(text) is not None)
    )
