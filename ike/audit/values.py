"""What the audit sees of a host, and what it says of it."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Protocol

from ike.audit.published import PublishedKeys
from ike.secrets.values import Place, Problem


class Severity(StrEnum):
    """How bad it is; `rank` is 0 for the worst."""

    CRITICAL = "critical"  # somebody who should not can read or replace a key now
    HIGH = "high"  # it takes one more step, or a key can be guessed
    MEDIUM = (
        "medium"  # against a standard that is in force, or dangerous together with something else
    )
    LOW = "low"  # worth mending with the next change
    INFO = "info"  # worth knowing

    @property
    def rank(self) -> int:
        """0 for the worst."""
        return list(Severity).index(self)


class Area(StrEnum):
    """What a rule is about."""

    ACCESS = "access"
    EXPOSURE = "exposure"
    SECRETS = "secrets"
    KEYS = "keys"
    CERTIFICATES = "certificates"
    CONFIGURATION = "configuration"
    WINDOWS = "windows"


@dataclass(frozen=True)
class Rule:
    """Something that can be wrong. `id` is lower-case words with hyphens and never changes its meaning.

    `title` is a sentence without its full stop, `why` says what an attacker makes of it, `fix` how it is mended in
    general, `references` name a standard and its section. Texts are plain, and shown to people as they are.
    """

    id: str
    area: Area
    severity: Severity
    title: str
    why: str
    fix: str
    references: tuple[str, ...] = ()


@dataclass(frozen=True)
class Finding:
    """A rule that is broken, and where. `evidence` is a sentence that quotes no secret and nothing that may be one.

    `subject` tells findings of one rule in one file apart (a connection, an owner, a key's fingerprint), and is the
    same in the next run, whatever line it then stands in. `fix`, `severity` and `references` stand in for those of
    the rule.
    """

    rule: Rule
    place: Place
    evidence: str
    subject: str = ""
    fix: str = ""
    severity: Severity | None = None
    references: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """Sixteen hexadecimal digits by which the same finding is known in another run."""
        text = "\0".join((self.rule.id, self.place.path, self.subject))
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]

    @property
    def weight(self) -> Severity:
        """How bad this one is."""
        return self.severity or self.rule.severity

    @property
    def sources(self) -> tuple[str, ...]:
        """Where it is said that this is wrong."""
        return self.references or self.rule.references


# ---------------------------------------------------------------- files


class Role(StrEnum):
    """What a file or folder is to the keys of this host."""

    SECRETS = "secrets"  # values of pre-shared keys and passwords stand in it
    KEY = "private key"
    PASSWORD = "password"  # noqa: S105 - of a token, a key or a database: nsspassword, a file with a PIN
    DATABASE = "key database"  # NSS: key4.db, cert9.db, pkcs11.txt
    CONFIGURATION = "configuration"  # whoever writes it decides whom the daemon trusts
    TRUST = "trusted certificates"
    CERTIFICATE = "certificate"
    REVOCATION = "revocation list"
    SOCKET = "control socket"
    FOLDER = "folder of keys"
    OWN = "ikewarden"  # its own state and credentials
    PROGRAM = "program"  # of a daemon


class Sort(StrEnum):
    """What stands under a name."""

    FILE = "file"
    FOLDER = "folder"
    LINK = "link"
    SOCKET = "socket"
    OTHER = "other"  # FIFO, device


@dataclass(frozen=True)
class Status:
    """What the file system says. `mode` are the twelve permission bits, `links` hard links."""

    sort: Sort
    mode: int
    uid: int
    gid: int
    size: int
    links: int
    changed: datetime
    identity: tuple[int, int]


@dataclass(frozen=True)
class Grant:
    """An entry of a POSIX ACL beside owner and others. `who`: user, group or mask; `bits`: 0 to 7 as of one digit of a
    mode. The group without a number is the file's own: the mode shows the mask in its stead.
    """

    who: str
    number: int | None
    bits: int


@dataclass(frozen=True)
class Step:
    """A folder or link that is passed on the way to a file, by its path on the host. `target` is that of a link."""

    path: str
    status: Status
    grants: tuple[Grant, ...] = ()
    target: str = ""


@dataclass(frozen=True)
class Item:
    """A file or folder that matters. `path` is what the configuration calls it, `real` where that is after all links.

    `steps` are all folders and links from the root to it, those that links lead through included, in their order.
    `named_by` is the line of a configuration that leads here. `capabilities`: those of the file (cap_…), if any.
    """

    path: str
    role: Role
    status: Status
    real: str
    steps: tuple[Step, ...] = ()
    grants: tuple[Grant, ...] = ()
    named_by: Place | None = None
    capabilities: str = ""


@dataclass(frozen=True)
class Accounts:
    """The host's own users and groups, by number; members of groups by name. Empty where its files cannot be read."""

    users: Mapping[int, str] = field(default_factory=dict)
    groups: Mapping[int, str] = field(default_factory=dict)
    members: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    homes: Mapping[str, str] = field(default_factory=dict)  # folder → user

    def user(self, number: int) -> str:
        """The name, or the number where it has none."""
        return self.users.get(number, str(number))

    def group(self, number: int) -> str:
        """The name, or the number where it has none."""
        return self.groups.get(number, str(number))


@dataclass(frozen=True)
class Policy:
    """What the rules are to judge by; all of it can be set on the command line and in the audit's settings file."""

    baseline: str = "rfc"  # ike.audit.baselines names them
    # Files of keys may belong to these groups with mode 0640, and to these users beside root.
    groups: frozenset[str] = frozenset()
    users: frozenset[str] = frozenset()
    encrypted_keys: bool = False  # private keys must have a passphrase
    certificates_only: bool = False  # no connection may prove itself by a PSK
    expiring_days: int = 30
    psk_bits: int = 112
    published: tuple[PublishedKeys, ...] = ()  # lists of keys whose private part everybody has


class Facts(Protocol):
    """What a room of the audit has seen. Each judges its own (`judge`), and knows nothing of the others."""

    def judge(self, policy: Policy, now: datetime) -> Iterator[Finding]:
        """The findings. Pure."""


@dataclass(frozen=True)
class Seen:
    """All that was seen of a host: facts by area, and what could not be read.

    `files` were looked at, `items` are those that matter.
    """

    facts: tuple[Facts, ...]
    problems: tuple[Problem, ...]
    files: int = 0
    items: int = 0


@dataclass(frozen=True)
class Acceptance:
    """Why a finding is lived with, until the end of which day (UTC), and who says so (may be empty)."""

    reason: str
    until: date
    by: str = ""


@dataclass(frozen=True)
class Gone:
    """A finding of the report that was given as the one before, which is not there any more."""

    id: str
    rule: str
    severity: Severity
    place: Place
    title: str


@dataclass(frozen=True)
class Audit:
    """What an audit came to. `host` is a name or a folder, `root` the folder where that is not `/`.

    `suppressed` were accepted by name with a reason (`ike.audit.accepted`), `known` stood in the report that was given
    as the one before. Findings are sorted: the worst first, then by path and line. `problems` is what could not be
    read, `unread_before` those of it that stood in the report before. `accepted` says why each suppressed finding is,
    by its id. `earlier` is when the report before was made, None without one; `gone` is what stood in it.
    `remarks` are sentences about the audit itself, such as an acceptance that has ended.
    """

    host: str
    root: str
    started: datetime
    seconds: float
    policy: Policy
    findings: tuple[Finding, ...]
    suppressed: tuple[Finding, ...] = ()
    known: tuple[Finding, ...] = ()
    problems: tuple[Problem, ...] = ()
    unread_before: frozenset[Problem] = frozenset()
    files: int = 0  # looked at
    items: int = 0  # that matter
    accepted: Mapping[str, Acceptance] = field(default_factory=dict)
    earlier: datetime | None = None
    gone: tuple[Gone, ...] = ()
    remarks: tuple[str, ...] = ()
