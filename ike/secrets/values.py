"""What is read from secrets files and configurations."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from core.secret import Secret
from ike.secrets.identities import Identity


class Dialect(StrEnum):
    """Whose daemon reads the file: both call theirs ipsec.secrets, and read it differently."""

    STRONGSWAN = "strongswan"
    LIBRESWAN = "libreswan"


class Kind(StrEnum):
    """What a secret is for."""

    PSK = "psk"
    PPK = "ppk"  # RFC 8784; its owners are PPK_IDs
    USER = "user"  # EAP, XAuth: a person's, not a gateway's
    PASSPHRASE = "passphrase"  # noqa: S105 - of a private key
    PIN = "pin"  # of a token


class Form(StrEnum):
    """How a value is written."""

    QUOTED = "quoted"
    PLAIN = "plain"
    HEX = "hex"
    BASE64 = "base64"
    TEXT = "text"  # Libreswan's 0t


@dataclass(frozen=True)
class Source:
    """A file's text. Octets that are no UTF-8 are surrogates, as of `surrogateescape`."""

    path: str
    text: str


# The files that a pattern in a source means, for the parsers to go on with. Gives nothing where it has been enough.
Include = Callable[[str, Source], Iterable[Source]]


MAX_PROBLEMS = 100  # of one file and its includes; then it is something else than it seemed


def nothing(_pattern: str, _source: Source) -> Iterable[Source]:
    """An `Include` that follows none."""
    return ()


@dataclass(frozen=True)
class Place:
    """Where something stands; lines count from 1, and 0 is the file as a whole."""

    path: str
    line: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}" if self.line else self.path


@dataclass(frozen=True)
class Problem:
    """What could not be read, and why. Never quotes the file: what was misread may be a secret."""

    place: Place
    message: str


@dataclass(frozen=True, eq=False)
class Entry:
    """A secret with those whom it belongs to; without owners it is everybody's. `name` is that of its section, `file`
    that of the key which a passphrase opens, as it stands there.
    """

    kind: Kind
    owners: tuple[Identity, ...]
    value: Secret
    form: Form
    place: Place
    dialect: Dialect
    name: str = ""
    # Where a line is damaged, it may be the passphrase that stands in its place.
    file: str = field(default="", repr=False)


@dataclass(frozen=True)
class End:
    """One end of a connection, as far as it is configured."""

    identity: Identity | None = None
    addresses: tuple[str, ...] = ()
    psk: bool = False


@dataclass(frozen=True)
class Connection:
    """A connection; `versions` are those of IKE that it may be made with."""

    name: str
    place: Place
    dialect: Dialect
    versions: tuple[int, ...]
    local: End
    remote: End

    @property
    def psk(self) -> bool:
        """Whether an end proves itself by a pre-shared key."""
        return self.local.psk or self.remote.psk


@dataclass(frozen=True)
class Parsed:
    """What one configuration says, in the order of the files."""

    entries: tuple[Entry, ...] = ()
    connections: tuple[Connection, ...] = ()
    problems: tuple[Problem, ...] = field(default=())
