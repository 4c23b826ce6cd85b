"""ipsec.conf of strongSwan and Libreswan, as far as it says who talks to whom and how they prove it. Pure."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from ike.secrets import identities
from ike.secrets.identities import Identity
from ike.secrets.values import (
    MAX_PROBLEMS,
    Connection,
    Dialect,
    End,
    Include,
    Parsed,
    Place,
    Problem,
    Source,
    nothing,
)

_SECTION: Final = re.compile(
    r"(conn|config|ca)(?:[ \t]+(?P<name>\"[^\"]*\"|[^\s#]+))?[ \t]*(?:#.*)?\Z"
)
_INCLUDE: Final = re.compile(r"[ \t]*include[ \t]+(?P<pattern>\"[^\"]*\"|(?:\\.|[^\s#\\])+)")
_SETTING: Final = re.compile(r"[ \t]+(?P<name>[A-Za-z0-9_.-]+)[ \t]*=[ \t]*(?P<value>.*)\Z")
_MAX_ALSO: Final = 64  # sections that a section takes in
_UNSET_ADDRESSES: Final = (
    "%any",
    "%any4",
    "%any6",
    "%defaultroute",
    "%group",
    "%opportunisticgroup",
)
_PSK: Final = frozenset({"psk", "secret", "xauthpsk"})

# Older names, and other ones for the same.
_ALIASES: Final = {
    "phase2alg": "esp",
    "keylife": "lifetime",
    "salifetime": "lifetime",
    "ipsec-lifetime": "lifetime",
    "aggrmode": "aggressive",
    "sha2_truncbug": "sha2-truncbug",
}

IsOwn = Callable[[str], bool]


def never(_text: str) -> bool:
    """An `IsOwn` that knows nothing of this gateway."""
    return False


@dataclass(frozen=True)
class Setting:
    """What stands behind a name, and where."""

    text: str
    place: Place


@dataclass
class Section:
    """A section as it is written, and the names of those that it takes in."""

    name: str
    place: Place
    values: dict[str, Setting] = field(default_factory=dict)
    also: list[str] = field(default_factory=list)


@dataclass
class Sections:
    """All that a file and its includes hold: `config setup`, `conn %default`, and the others by name."""

    setup: Section
    default: Section | None = None
    connections: dict[str, Section] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def settings(self, section: Section) -> dict[str, Setting]:
        """What is in force for a connection: its own, then what it takes in, then `conn %default`."""
        values: dict[str, Setting] = {}
        _gather(section, self.connections, values, self.problems)
        if self.default is not None:
            _gather(self.default, self.connections, values, self.problems)
        return values

    def whole(self) -> Iterator[tuple[Section, dict[str, Setting]]]:
        """The connections that are some by themselves, with their settings."""
        taken_in = {name for section in self.connections.values() for name in section.also}
        for section in self.connections.values():
            values = self.settings(section)
            auto = values.get("auto")
            loaded = auto is not None and auto.text != "ignore"
            # What others take in, and what is never loaded by itself or has but one end, is a part of them.
            is_part = section.name in taken_in and not (
                {"left", "right"} <= values.keys() and loaded
            )
            if not is_part and ("left" in values or "right" in values):
                yield section, values


def parse(
    source: Source, dialect: Dialect, include: Include = nothing, is_own: IsOwn = never
) -> Parsed:
    """The connections of a file and of those that it includes.

    `is_own` says of an address or identity that it is this gateway's: then that end is the local one. Else the left
    one is.
    """
    sections = read(source, include)
    connections = [
        _connection(section, {name: each.text for name, each in values.items()}, dialect, is_own)
        for section, values in sections.whole()
    ]
    return Parsed((), tuple(connections), tuple(sections.problems))


def read(source: Source, include: Include = nothing) -> Sections:
    """The sections of a file and of those that it includes, as they are written."""
    found = Sections(Section("setup", Place(source.path, 0)))
    _read(source, include, found)
    found.default = found.connections.pop("%default", None)
    return found


def _read(source: Source, include: Include, found: Sections) -> None:
    current: Section | None = None
    problems = found.problems
    for number, line in _lines(source.text):
        place = Place(source.path, number)
        if match := _INCLUDE.match(line):
            for each in include(match["pattern"].strip('"'), source):
                _read(each, include, found)
        elif match := _SECTION.match(line):
            current = _opened(match, place, found)
        elif match := _SETTING.match(line):
            if current is not None:
                _set(current, match["name"].lower(), Setting(_unquoted(match["value"]), place))
        elif line.strip() and not line.lstrip().startswith(("#", "version")):
            problems.append(Problem(place, "the line is neither a section nor a setting"))
        if len(problems) > MAX_PROBLEMS:
            problems.append(Problem(place, "too much is wrong: the rest is not read"))
            return


def _lines(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.split("\n"), 1):
        yield number, line.rstrip(" \t\r")


def _opened(match: re.Match[str], place: Place, found: Sections) -> Section | None:
    name = (match["name"] or "").strip('"')
    if match[1] == "config" and name == "setup":
        if not found.setup.place.line:
            found.setup.place = place
        return found.setup
    if match[1] != "conn" or not name:
        return None
    # A section that comes again goes on with the first one, for strongSwan; Libreswan refuses the second.
    return found.connections.setdefault(name, Section(name, place))


def _set(section: Section, name: str, value: Setting) -> None:
    if name == "also":
        section.also = [*section.also, *value.text.split()[:_MAX_ALSO]][:_MAX_ALSO]
    else:
        section.values[_ALIASES.get(name, name)] = value


def _unquoted(text: str) -> str:
    if text.startswith('"'):
        return re.sub(r"\\(.)", r"\1", re.split(r'(?<!\\)"', text[1:], maxsplit=1)[0])
    if text.startswith("{"):
        return text.partition("}")[0].lstrip("{").strip()
    # A # ends a value where a blank is before it, for both; `@#6162` is an identity.
    return re.split(r"[ \t]+#", text, maxsplit=1)[0].strip().strip('"')


def _gather(
    section: Section,
    sections: Mapping[str, Section],
    values: dict[str, Setting],
    problems: list[Problem],
) -> None:
    """Fill in what a section says, then what those say that it takes in; what is there already stays."""
    waiting, seen = [section], {section.name}
    while waiting:
        one = waiting.pop(0)
        for name, value in one.values.items():
            values.setdefault(name, value)
        for also in one.also:
            other = sections.get(also)
            if other is None:
                problems.append(Problem(one.place, "a section that `also` names is not there"))
            elif also not in seen and len(seen) < _MAX_ALSO:
                seen.add(also)
                waiting.append(other)


def _connection(
    section: Section, values: Mapping[str, str], dialect: Dialect, is_own: IsOwn
) -> Connection:
    left, right = (_end(values, side, dialect) for side in ("left", "right"))
    if _is_ours(right, values, "right", is_own) and not _is_ours(left, values, "left", is_own):
        left, right = right, left
    found = versions(values, dialect)
    return Connection(section.name, section.place, dialect, found, left, right)


def _is_ours(end: End, values: Mapping[str, str], side: str, is_own: IsOwn) -> bool:
    if values.get(side) == "%defaultroute":
        return True
    known = identities.on_record(end.identity)
    return any(map(is_own, end.addresses)) or (known is not None and is_own(known))


def _end(values: Mapping[str, str], side: str, dialect: Dialect) -> End:
    address = values.get(side, "")
    addresses = tuple(
        each.strip() for each in address.split(",") if each.strip() and each[:1] != "%"
    )
    return End(
        identity=_identity(values.get(f"{side}id"), addresses, dialect),
        addresses=addresses if address not in _UNSET_ADDRESSES else (),
        psk=_proves_by_psk(values, side, dialect),
    )


def _identity(text: str | None, addresses: tuple[str, ...], dialect: Dialect) -> Identity | None:
    """What is configured, else the end's only address: so do both daemons."""
    read = identities.strongswan if dialect is Dialect.STRONGSWAN else identities.libreswan
    if text:
        # strongSwan: with % before it the identity is expected, but not told to the peer.
        plain = text.removeprefix("%") if text[:5] not in ("%any", "%any6") else text
        if text.startswith(("%from", "%none", "%null")):
            return None
        return read(plain)
    return read(addresses[0]) if len(addresses) == 1 else None


def _proves_by_psk(values: Mapping[str, str], side: str, dialect: Dialect) -> bool:
    own = values.get(f"{side}auth", "").lower()
    if own:
        return own.split("-")[0] in _PSK
    methods = re.split(r"[,|]", values.get("authby", "").lower())
    # Neither daemon proves itself by a PSK unless it is told to.
    return any(method.strip() in _PSK for method in methods)


def versions(values: Mapping[str, str], dialect: Dialect) -> tuple[int, ...]:
    """Those of IKE that a connection with these settings is made with."""
    exchange = values.get("keyexchange", "").lower()
    if exchange in ("ikev1", "ikev2"):
        return (int(exchange[-1]),)
    if dialect is Dialect.STRONGSWAN:
        return (1, 2)  # `ike`: begins with 2, takes both
    wanted = values.get("ikev2", "").lower()
    if wanted in ("no", "never"):
        return (1,)
    return (1, 2) if wanted == "permit" else (2,)
