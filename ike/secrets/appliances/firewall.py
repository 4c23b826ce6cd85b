"""config.xml of OPNsense and pfSense: pre-shared keys of tunnels, of everybody, and of users. Pure."""

import base64
from collections.abc import Container, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final
from xml.parsers import expat

from core.secret import Secret
from ike.secrets import forms, identities
from ike.secrets.identities import Identity
from ike.secrets.values import Dialect, Entry, Form, Kind, Parsed, Place, Problem, Source

_MAX_DEPTH: Final = 100
_MAX_TEXT: Final = 64 * 1024

# The element that holds a secret, below the root; and what of its siblings matters.
_KEY: Final = ("OPNsense", "IPsec", "preSharedKeys", "preSharedKey")
_PHASE1: Final = ("ipsec", "phase1")
_MOBILE: Final = ("ipsec", "mobilekey")
_USER: Final = ("system", "user")
# In these stand private keys, as PEM or as Base64 of it.
_PRIVATE: Final = {
    ("ca",): "prv",
    ("cert",): "prv",
    ("OPNsense", "IPsec", "keyPairs", "keyPair"): "privateKey",
}
_WANTED: Final = frozenset({_KEY, _PHASE1, _MOBILE, _USER, *_PRIVATE})
_EVERYBODY: Final = frozenset({"any", "allusers", "*", ""})


@dataclass
class Record:
    """An element that is wanted, with the text of what is directly in it, and the line where that stands."""

    path: tuple[str, ...]
    line: int
    uuid: str = ""
    texts: dict[str, tuple[str, int]] = field(default_factory=dict)

    def text(self, name: str) -> str:
        """The text of an element in it, empty where there is none."""
        return self.texts.get(name, ("", 0))[0]


class _Malicious(Exception):
    """The document would have entities replaced, which no configuration does."""


def parse(source: Source) -> Parsed:
    """The entries; of a document that is not well formed, those before the mistake."""
    reading = _Reading(_WANTED)
    problems = []
    try:
        reading.read(source.text)
    except expat.ExpatError as error:
        problems.append(Problem(Place(source.path, error.lineno), "the XML is not well formed"))
    except _Malicious:
        problems.append(Problem(Place(source.path, 0), "the XML declares entities: not read on"))
    entries = [entry for record in reading.records for entry in _entries(record, source.path)]
    return Parsed(tuple(entries), (), tuple(problems))


def keys(source: Source) -> list[tuple[Place, bytes]]:
    """The private keys of certificates, authorities and key pairs, each as PEM."""
    found = []
    for record in records(source, _WANTED):
        text, line = record.texts.get(_PRIVATE.get(record.path, ""), ("", 0))
        octets = forms.octets(text)
        if not octets.startswith(b"-----BEGIN"):
            with suppress(ValueError):
                octets = base64.b64decode(octets)
        if octets:
            found.append((Place(source.path, line), octets))
    return found


def records(source: Source, wanted: Container[tuple[str, ...]]) -> list[Record]:
    """The elements at these paths below the root; of a document with mistakes, those before the first."""
    reading = _Reading(wanted)
    with suppress(expat.ExpatError, _Malicious):
        reading.read(source.text)
    return reading.records


class _Reading:
    def __init__(self, wanted: Container[tuple[str, ...]]) -> None:
        self._wanted = wanted
        self.records: list[Record] = []
        self._path: list[str] = []
        self._record: Record | None = None
        self._text: list[str] = []
        self._line = 0
        self._parser = expat.ParserCreate("utf-8")
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._characters
        self._parser.EntityDeclHandler = self._entity

    def read(self, text: str) -> None:
        self._parser.Parse(text.encode("utf-8", "surrogateescape"), True)

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if len(self._path) > _MAX_DEPTH:
            raise _Malicious
        self._path.append(name)
        self._text, self._line = [], self._parser.CurrentLineNumber
        below = tuple(self._path[1:])
        if below in self._wanted:
            self._record = Record(below, self._line, attributes.get("uuid", ""))
            self.records.append(self._record)

    def _end(self, name: str) -> None:
        below = tuple(self._path[1:])
        self._path.pop()
        if self._record is None:
            return
        if below == self._record.path:
            self._record = None
        elif below[:-1] == self._record.path:
            self._record.texts[name] = ("".join(self._text).strip(), self._line)

    def _characters(self, text: str) -> None:
        if self._record is not None and len(self._text) < _MAX_TEXT:
            self._text.append(text)

    def _entity(self, *_declaration: object) -> None:
        raise _Malicious


def _entries(record: Record, path: str) -> Iterator[Entry]:
    if record.path == _KEY:
        kind = Kind.USER if record.text("keyType") == "EAP" else Kind.PSK
        ends = [record.text("ident"), record.text("remote_ident")]
        yield from _entry(record, path, kind, "Key", [each for each in ends if each])
    elif record.path == _PHASE1:
        peer = record.text("peerid_data") or record.text("remote-gateway")
        ends = [each for each in (record.text("myid_data"), peer) if each]
        yield from _entry(record, path, Kind.PSK, "pre-shared-key", ends, record.text("descr"))
    elif record.path == _MOBILE:
        kind = Kind.USER if record.text("type") == "EAP" else Kind.PSK
        yield from _entry(record, path, kind, "pre-shared-key", [record.text("ident")])
    elif record.path == _USER:
        yield from _entry(record, path, Kind.PSK, "ipsecpsk", [record.text("name")])


def _entry(
    record: Record, path: str, kind: Kind, field_name: str, ends: list[str], name: str = ""
) -> Iterator[Entry]:
    text, line = record.texts.get(field_name, ("", 0))
    # An empty one is the form of a field that is not used, a key without an owner that of nobody's.
    if not text:
        return
    owners: list[Identity] = []
    for each in ends:
        owners.append(identities.ANY if each in _EVERYBODY else identities.strongswan(each))
    if kind is Kind.USER:
        owners = [Identity("keyid", each) for each in ends[:1]]
    place = Place(path, line)
    value = Secret(forms.octets(text))
    yield Entry(kind, tuple(owners), value, Form.PLAIN, place, Dialect.STRONGSWAN, name)
