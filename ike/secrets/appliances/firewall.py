"""config.xml of OPNsense and pfSense: pre-shared keys of tunnels, of everybody, and of users. Pure."""

import base64
from collections.abc import Container, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final
from xml.parsers import expat

from core.secret import Secret
from ike.secrets import forms, identities, ipsec_secrets
from ike.secrets.identities import Identity
from ike.secrets.values import (
    Connection,
    Dialect,
    End,
    Entry,
    Form,
    Kind,
    Parsed,
    Place,
    Problem,
    Source,
)

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
_CONNECTION: Final = ("OPNsense", "Swanctl", "Connections", "Connection")
_ENDS: Final[dict[tuple[str, ...], str]] = {
    ("OPNsense", "Swanctl", "locals", "local"): "local",
    ("OPNsense", "Swanctl", "remotes", "remote"): "remote",
}
_WANTED: Final = frozenset({_KEY, _PHASE1, _MOBILE, _USER, *_PRIVATE, _CONNECTION, *_ENDS})
_VERSIONS: Final = {"1": (1,), "2": (2,), "ikev1": (1,), "ikev2": (2,), "": (1,)}
_EVERYBODY: Final = frozenset({"any", "allusers", "*", ""})


@dataclass
class Record:
    """An element that is wanted, with the text of what is directly in it, and the line where that stands.

    `root` is the document's: pfsense or opnsense. `inner` are the wanted elements within this one; `texts` has the last
    of those that are called alike, `every` has them all.
    """

    path: tuple[str, ...]
    line: int
    uuid: str = ""
    root: str = ""
    texts: dict[str, tuple[str, int]] = field(default_factory=dict)
    every: list[tuple[str, str, int]] = field(default_factory=list)
    inner: list["Record"] = field(default_factory=list)

    def text(self, name: str) -> str:
        """The text of an element in it, empty where there is none."""
        return self.texts.get(name, ("", 0))[0]

    def all(self, name: str) -> list["Record"]:
        """The wanted elements in it that are called so, with none between."""
        return [each for each in self.inner if each.path[-1] == name]


class _Malicious(Exception):
    """The document is what no configuration is; says how."""


def parse(source: Source) -> Parsed:
    """The entries; of a document that is not well formed, those before the mistake."""
    reading = _Reading(_WANTED)
    problems = []
    try:
        reading.read(source.text)
    except expat.ExpatError as error:
        problems.append(Problem(Place(source.path, error.lineno), "the XML is not well formed"))
    except _Malicious as error:
        problems.append(Problem(Place(source.path, reading.line), f"{error}: not read on"))
    entries = [
        entry for record in reading.records for entry in _entries(record, source.path, problems)
    ]
    connections = tuple(_connections(reading.records, source.path))
    return Parsed(tuple(entries), connections, tuple(problems))


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
        self._open: list[Record] = []
        self._text: list[str] = []
        self._line = 0
        self._parser = expat.ParserCreate("utf-8")
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._characters
        self._parser.EntityDeclHandler = self._entity

    @property
    def line(self) -> int:
        """How far it has come."""
        return self._parser.CurrentLineNumber

    def read(self, text: str) -> None:
        self._parser.Parse(text.encode("utf-8", "surrogateescape"), True)

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if len(self._path) > _MAX_DEPTH:
            raise _Malicious("the XML is nested too deeply")
        self._path.append(name)
        self._text, self._line = [], self._parser.CurrentLineNumber
        below = tuple(self._path[1:])
        if below in self._wanted:
            record = Record(below, self._line, attributes.get("uuid", ""), self._path[0])
            if self._open:
                self._open[-1].inner.append(record)
            self._open.append(record)
            self.records.append(record)

    def _end(self, name: str) -> None:
        below = tuple(self._path[1:])
        self._path.pop()
        if self._open and below == self._open[-1].path:
            self._open.pop()
        if self._open and below[:-1] == self._open[-1].path:
            text = "".join(self._text).strip()
            self._open[-1].texts[name] = (text, self._line)
            self._open[-1].every.append((name, text, self._line))

    def _characters(self, text: str) -> None:
        if self._open and len(self._text) < _MAX_TEXT:
            self._text.append(text)

    def _entity(self, *_declaration: object) -> None:
        raise _Malicious("the XML declares entities")  # to be replaced, without bounds


def _entries(record: Record, path: str, problems: list[Problem]) -> Iterator[Entry]:
    if record.path == _KEY:
        kind = Kind.USER if record.text("keyType") == "EAP" else Kind.PSK
        ends = [record.text("ident"), record.text("remote_ident")]
        yield from _entry(record, problems, path, kind, "Key", [each for each in ends if each])
    elif record.path == _PHASE1:
        peer = record.text("peerid_data") or record.text("remote-gateway")
        # OPNsense writes the peer alone for its daemon, unless anybody may be the peer.
        peer_alone = record.root == "opnsense" and "mobile" not in record.texts
        own = "" if peer_alone else record.text("myid_data")
        ends = [each for each in (own, peer) if each]
        yield from _entry(
            record, problems, path, Kind.PSK, "pre-shared-key", ends, record.text("descr")
        )
    elif record.path == _MOBILE:
        kind = Kind.USER if record.text("type") == "EAP" else Kind.PSK
        yield from _entry(record, problems, path, kind, "pre-shared-key", [record.text("ident")])
    elif record.path == _USER:
        yield from _entry(record, problems, path, Kind.PSK, "ipsecpsk", [record.text("name")])


def _entry(
    record: Record,
    problems: list[Problem],
    path: str,
    kind: Kind,
    field_name: str,
    ends: list[str],
    name: str = "",
) -> Iterator[Entry]:
    text, line = record.texts.get(field_name, ("", 0))
    # An empty one is the form of a field that is not used, a key without an owner that of nobody's.
    if not text:
        return
    place = Place(path, line)
    owners: list[Identity] = []
    for each in ends[:1] if kind is Kind.USER else ends:
        everybody = each in _EVERYBODY and kind is Kind.PSK
        found = identities.ANY if everybody else ipsec_secrets.owner(each, kind)
        if found is None:
            problems.append(Problem(place, "what stands as the key's owner is no identity"))
            return
        owners.append(found)
    value = Secret(forms.octets(text))
    yield Entry(kind, tuple(owners), value, Form.PLAIN, place, Dialect.STRONGSWAN, name)


def _connections(found: list[Record], path: str) -> Iterator[Connection]:
    """Who talks to whom, where this firewall is one of them."""
    for record in found:
        if record.path == _PHASE1 and "disabled" not in record.texts:
            yield _of_phase1(record, path)
        elif record.path == _CONNECTION and record.text("enabled") != "0":
            ends = [each for each in found if each.text("connection") == record.uuid]
            yield Connection(
                name=record.text("description") or record.uuid[:8],
                place=Place(path, record.line),
                dialect=Dialect.STRONGSWAN,
                versions=_VERSIONS.get(record.text("version") or "0", (1, 2)),
                local=_end(record, "local", ends),
                remote=_end(record, "remote", ends),
            )


def _of_phase1(record: Record, path: str) -> Connection:
    gateway, peer = record.text("remote-gateway"), record.text("peerid_data")
    is_mobile = "mobile" in record.texts
    # Whose keys those of mobile clients are is not to be told here: their users'.
    psk = record.text("authentication_method") == "pre_shared_key" and not is_mobile
    return Connection(
        name=record.text("descr") or f"phase 1 {record.text('ikeid')}".strip(),
        place=Place(path, record.line),
        dialect=Dialect.STRONGSWAN,
        versions=_VERSIONS.get(record.text("iketype"), (1, 2)),
        local=End(_identity(record.text("myid_data")), (), psk),
        remote=End() if is_mobile else End(_identity(peer or gateway), _addresses(gateway), psk),
    )


def _end(record: Record, side: str, ends: list[Record]) -> End:
    ours = [each for each in ends if _ENDS.get(each.path) == side and each.text("enabled") != "0"]
    psk = [each for each in ours if each.text("auth") == "psk"]
    addresses = _addresses(record.text(f"{side}_addrs"))
    named = next((each.text("id") for each in (psk or ours) if each.text("id")), "")
    return End(
        _identity(named or (addresses[0] if len(addresses) == 1 else "")), addresses, bool(psk)
    )


def _identity(text: str) -> Identity | None:
    return ipsec_secrets.owner(text, Kind.PSK) if text and text not in _EVERYBODY else None


def _addresses(text: str) -> tuple[str, ...]:
    given = (each.strip() for each in text.split(","))
    return tuple(each for each in given if identities.strongswan(each).kind == "ip")
