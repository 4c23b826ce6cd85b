"""From paths to what stands in them: includes followed, layouts known, everything told that could not be read."""

import posixpath
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol

from ike.secrets import ipsec_conf, ipsec_secrets, settings_syntax, swanctl_conf
from ike.secrets.ipsec_conf import IsOwn
from ike.secrets.settings_syntax import Section
from ike.secrets.stumbling import stumbling
from ike.secrets.tree import CUT_OFF, File
from ike.secrets.values import Connection, Dialect, Entry, Parsed, Place, Problem, Source

# Where daemons and systems that generate their files keep them.
PLACES: Final = (
    "/etc/swanctl/swanctl.conf",  # strongSwan; VyOS
    "/etc/strongswan/swanctl/swanctl.conf",  # Fedora, RHEL
    "/usr/local/etc/swanctl/swanctl.conf",  # OPNsense
    "/var/etc/ipsec/swanctl.conf",  # pfSense
    "/etc/ipsec.conf",
    "/etc/ipsec.secrets",
    "/etc/strongswan/ipsec.conf",
    "/etc/strongswan/ipsec.secrets",
    "/usr/local/etc/ipsec.conf",
    "/usr/local/etc/ipsec.secrets",
)
_LIBRESWAN_SIGNS: Final = (
    "/usr/libexec/ipsec/pluto",
    "/var/lib/ipsec/nss/cert9.db",
    "/etc/ipsec.d/cert9.db",
    "/etc/ipsec.d/policies",
)
_LIBRESWAN_WORDS: Final = re.compile(
    r"^[ \t]+(?:ikev2|plutodebug|protostack|virtual-private|logfile|leftrsasigkey|authby=.*secret)\s*=?"
    r"|:\s+PPKS\s|^include\s+/etc/(?:ipsec\.d/\*\.(?:conf|secrets)|crypto-policies)",
    re.MULTILINE,
)
_STRONGSWAN_WORDS: Final = re.compile(
    r"^[ \t]+(?:keyexchange\s*=\s*ike|charondebug|leftauth|rightauth|leftfirewall|authby\s*=\s*psk)"
    r"|^ca\s|\s:\s+(?:EAP|NTLM|ECDSA|P12|RSA\s+[^{\s])\s",
    re.MULTILINE,
)
_SWANCTL_WORDS: Final = re.compile(
    r"^[ \t]*(?:connections|secrets|authorities|pools)\b[^=\n]*\{", re.M
)
_SECRETS_WORDS: Final = re.compile(
    r"(?:^|\s):\s+(?:PSK|RSA|ECDSA|EAP|XAUTH|PPKS?|NTLM|P12|PIN)\s", re.MULTILINE
)
_IN_FOLDER: Final = ("swanctl.conf", "ipsec.conf", "ipsec.secrets")
_MAX_FILES: Final = 1000
_MAX_PATTERNS: Final = 1000
_MAX_DEPTH: Final = 10
_MAX_TOTAL: Final = 16 * 2**20


class Files(Protocol):
    """What is needed of a tree of files; `ike.secrets.tree.Tree` is one."""

    cut_off: set[str]  # patterns of which not all was found

    def read(self, path: str) -> File:
        """A file. Raises OSError."""

    def exists(self, path: str) -> bool:
        """Whether there is one."""

    def is_folder(self, path: str) -> bool:
        """Whether it is a folder."""

    def matching(self, pattern: str) -> list[str]:
        """The paths that an absolute pattern means."""


@dataclass(frozen=True)
class Opened:
    """A file that was read. `kind`: swanctl, ipsec (ipsec.conf) or secrets (ipsec.secrets); an include has that of the
    file that it stands in.
    """

    path: str
    kind: str
    included_by: str = ""


@dataclass(frozen=True)
class Found:
    """All that stands in the files, when each was changed last, what could not be read, and which were."""

    entries: tuple[Entry, ...]
    connections: tuple[Connection, ...]
    problems: tuple[Problem, ...]
    changed: dict[str, datetime]
    opened: tuple[Opened, ...] = ()
    dialect: Dialect = Dialect.STRONGSWAN


@dataclass
class Reading:
    """One run: which files were read, and which are being read.

    With `again` a file is read wherever it is included: what stands there may mean something else each time.
    """

    files: Files
    again: bool = False
    problems: list[Problem] = field(default_factory=list)
    changed: dict[str, datetime] = field(default_factory=dict)
    seen: set[tuple[int, int]] = field(default_factory=set)
    active: list[tuple[int, int]] = field(default_factory=list)
    opened: list[Opened] = field(default_factory=list)
    octets: int = 0
    count: int = 0
    full: bool = False
    meant: dict[str, list[str]] = field(
        default_factory=dict
    )  # patterns that were looked for already

    def start(self, path: str) -> Source | None:
        """A file to begin with; None where it was read already, as an include of another too, or cannot be."""
        source, identity = self._opened(path, Place(path, 0))
        if source is None or identity is None or identity in self.seen:
            return None
        self.seen.add(identity)
        self.active = [identity]
        self.opened.append(Opened(path, _kind(source)))
        return source

    def include(self, pattern: str, source: Source) -> Iterator[Source]:
        """See `ike.secrets.values.Include`."""
        place = Place(source.path, 0)
        whole = posixpath.join(posixpath.dirname(source.path), pattern)
        if not pattern or not whole.isprintable():
            self.problems.append(Problem(place, "an include names no file"))
            return
        paths = self._matching(whole, place)
        # A system-wide policy need not be there, and holds nothing that is looked for.
        needed = "crypto-policies/" not in whole and not any(sign in whole for sign in "*?[")
        if not paths and needed and not self.full:
            self.problems.append(
                Problem(Place(whole, 0), f"{source.path} includes it: no such file")
            )
        if self.full:
            return
        kind = next((each.kind for each in self.opened if each.path == source.path), "")
        for path in paths:
            yield from self._entered(path, place, kind)

    def _matching(self, pattern: str, place: Place) -> list[str]:
        if pattern not in self.meant:
            if len(self.meant) >= _MAX_PATTERNS:
                self._stop(place)
            self.meant[pattern] = [] if self.full else self.files.matching(pattern)
            if pattern in self.files.cut_off:
                self.problems.append(Problem(Place(pattern, 0), CUT_OFF))
        return [] if self.full else self.meant[pattern]

    def _stop(self, place: Place) -> None:
        if not self.full:
            self.problems.append(Problem(place, "too many files: the rest is not read"))
        self.full = True

    def _entered(self, path: str, place: Place, kind: str) -> Iterator[Source]:
        if len(self.active) > _MAX_DEPTH:
            self.problems.append(Problem(place, "includes are nested too deeply"))
            return
        source, identity = self._opened(path, Place(path, 0))
        if source is None or identity is None:
            return
        if identity in self.active:
            self.problems.append(Problem(Place(path, 0), "it includes itself"))
            return
        if identity in self.seen and not self.again:
            return  # what stands there is known already
        self.seen.add(identity)
        self.active.append(identity)
        self.opened.append(Opened(path, kind, place.path))
        try:
            yield source
        finally:
            self.active.pop()

    def _opened(self, path: str, place: Place) -> tuple[Source | None, tuple[int, int] | None]:
        if self.count >= _MAX_FILES or self.octets > _MAX_TOTAL:
            self._stop(place)
            return None, None
        self.count += 1
        try:
            file = self.files.read(path)
        except OSError as error:
            self.problems.append(Problem(place, error.strerror or "it cannot be read"))
            return None, None
        self.octets += len(file.content)
        if b"\0" in file.content:
            self.problems.append(Problem(place, "it is not text"))
            return None, None
        self.changed[path] = file.changed
        text = file.content.decode("utf-8", "surrogateescape").removeprefix("\ufeff")
        return Source(path, text), file.identity


def read(
    files: Files,
    paths: Sequence[str] = (),
    *,
    dialect: Dialect | None = None,
    is_own: IsOwn = ipsec_conf.never,
) -> Found:
    """The secrets and connections in these files and folders, or in all the known places.

    `dialect`: whose ipsec.conf and ipsec.secrets they are, where that is known. `is_own` as of `ipsec_conf.parse`.
    """
    reading = Reading(files)
    parsed: list[Parsed] = []
    starts = list(_starts(files, paths, reading.problems))
    known = dialect or dialect_of(files, starts)
    for path in starts:
        with stumbling(Place(path, 0), reading.problems):
            source = reading.start(path)
            if source is None:
                continue
            kind = reading.opened[-1].kind
            if kind == "swanctl":
                parsed.append(swanctl_conf.parse(source, reading.include))
            elif kind == "secrets":
                parsed.append(ipsec_secrets.parse(source, known, reading.include))
            else:
                parsed.append(ipsec_conf.parse(source, known, reading.include, is_own))
    return Found(
        tuple(entry for each in parsed for entry in each.entries),
        tuple(connection for each in parsed for connection in each.connections),
        (*reading.problems, *(problem for each in parsed for problem in each.problems)),
        reading.changed,
        tuple(reading.opened),
        known,
    )


@dataclass(frozen=True)
class Settings:
    """strongswan.conf and its includes as one tree."""

    top: Section
    opened: tuple[Opened, ...]
    problems: tuple[Problem, ...]


def read_settings(files: Files, path: str) -> Settings:
    """A file in strongSwan's settings syntax, such as strongswan.conf, with all that it includes."""
    reading = Reading(files)
    source = reading.start(path)
    if source is None:
        return Settings(Section("", Place(path, 0)), (), tuple(reading.problems))
    top, problems = settings_syntax.parse(source, reading.include)
    return Settings(top, tuple(reading.opened), (*reading.problems, *problems))


def _starts(files: Files, paths: Sequence[str], problems: list[Problem]) -> Iterator[str]:
    if not paths:
        yield from (place for place in PLACES if files.exists(place))
        return
    for path in paths:
        if not files.exists(path):
            problems.append(Problem(Place(path, 0), "no such file"))
        elif files.is_folder(path):
            named = [posixpath.join(path, name) for name in _IN_FOLDER]
            there = [name for name in named if files.exists(name)]
            # A folder of parts, as /etc/ipsec.d is one.
            yield from there or [
                found
                for pattern in ("*.conf", "*.secrets")
                for found in files.matching(posixpath.join(path, pattern))
            ]
        else:
            yield path


def _kind(source: Source) -> str:
    """Which of the three syntaxes, by the name where that tells, else by what stands there."""
    name = posixpath.basename(source.path)
    if name.endswith(".secrets") or name.startswith("ipsec.secrets"):
        return "secrets"
    if "swanctl" in source.path or _SWANCTL_WORDS.search(source.text):
        return "swanctl"
    if _SECRETS_WORDS.search(source.text) and "conn " not in source.text:
        return "secrets"
    return "ipsec"


def dialect_of(files: Files, paths: Iterable[str]) -> Dialect:
    """Whose ipsec.conf and ipsec.secrets they are: by what only one of them has in it, else by what is installed."""
    votes = {Dialect.LIBRESWAN: 0, Dialect.STRONGSWAN: 0}
    for path in paths:
        with stumbling(Place(path, 0), []):  # told when it is read for good
            text = files.read(path).content.decode("utf-8", "surrogateescape")
            if _kind(Source(path, text)) != "swanctl":
                votes[Dialect.LIBRESWAN] += len(_LIBRESWAN_WORDS.findall(text))
                votes[Dialect.STRONGSWAN] += len(_STRONGSWAN_WORDS.findall(text))
    if votes[Dialect.LIBRESWAN] != votes[Dialect.STRONGSWAN]:
        return max(votes, key=lambda each: votes[each])
    if any(map(files.exists, _LIBRESWAN_SIGNS)):
        return Dialect.LIBRESWAN
    return Dialect.STRONGSWAN
