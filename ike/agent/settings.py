"""agent.toml: what the operator decides on the gateway. Read strictly, written once at enrollment."""

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from ike.agent.errors import AgentSettingsInvalid
from ike.agent.keys import KEY_TYPES
from ike.daemons.formats import FORMATS
from ike.tokens.errors import TokenUriInvalid
from ike.tokens.uri import parse as parse_token

NAME: Final = "agent.toml"
DAEMONS: Final = ("strongswan", "libreswan", "files")
FILE: Final = "file"
PROOFS: Final = ("loaded", "reauthenticate")


@dataclass(frozen=True)
class StrongswanSettings:
    """Where charon listens, and the folder that swanctl reads; empty: the adapter's default.

    `make_before_break` is charon's setting of that name: yes, no, or auto for the default of its version.
    """

    socket: str = ""
    swanctl: str = ""
    sightings: str = ""
    make_before_break: str = "auto"


@dataclass(frozen=True)
class LibreswanSettings:
    """Where pluto keeps its NSS database, its control socket and its configuration; empty: the adapter's default."""

    nss: str = ""
    control: str = ""
    configuration: str = ""
    connections: str = ""
    state: str = ""
    whack: str = ""
    addconn: str = ""
    nickname: str = "ikewarden"


@dataclass(frozen=True)
class FilesSettings:
    """Which files are written where, and what is run afterwards: a program and its arguments, no shell."""

    render: str = "pem"
    out: str = ""
    after: tuple[str, ...] = ()
    after_seconds: int = 30
    passphrase_file: str = ""


@dataclass(frozen=True)
class AuditSettings:
    """How often the host is audited, 0 for never; by which baseline; `paths` beside those that are found by itself;
    `published_keys`: lists of keys that everybody has (ike.audit.published); `policy`: a file that says by what else is
    judged (ike.audit.policies), read for each audit.
    """

    hours: int = 24
    baseline: str = "rfc"
    paths: tuple[str, ...] = ()
    published_keys: tuple[str, ...] = ()
    policy: str = ""


@dataclass(frozen=True)
class WatchSettings:
    """Where events of SAs come from: `log` is the path of the daemon's log, `journal` for journald, `kernel` for what
    becomes of the kernel's SAs, `off` for nothing; empty: what charon tells over VICI.

    Beside it: how often charon's counters are read, 0 for never; `error_notify`, the socket of charon's plugin of that
    name, for a charon that tells no failures over VICI; `kernel`: `manual` for SAs that were made by hand.
    """

    log: str = ""
    counters_seconds: int = 10
    error_notify: str = ""
    kernel: str = "off"

    @property
    def hears_kernel(self) -> bool:
        """Whether the kernel is listened to, for which the agent needs CAP_NET_ADMIN."""
        return self.log == "kernel" or self.kernel != "off"


@dataclass(frozen=True)
class AgentSettings:
    """All of agent.toml. Times are in seconds. `key` is where the gateway's keys are made: `file`, or the URI of a
    PKCS#11 token (RFC 7512).
    """

    url: str
    gateway: str
    daemon: str = "strongswan"
    key: str = FILE
    key_type: str = "ec-p256"
    proof: str = "loaded"
    proof_seconds: int = 10
    wait_seconds: int = 240
    check_seconds: int = 30
    report_seconds: int = 300
    strongswan: StrongswanSettings = field(default_factory=StrongswanSettings)
    libreswan: LibreswanSettings = field(default_factory=LibreswanSettings)
    files: FilesSettings = field(default_factory=FilesSettings)
    audit: AuditSettings = field(default_factory=AuditSettings)
    watch: WatchSettings = field(default_factory=WatchSettings)


_CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "daemon": DAEMONS,
    "key_type": KEY_TYPES,
    "proof": PROOFS,
    "files.render": FORMATS,
    "strongswan.make_before_break": ("auto", "yes", "no"),
    "watch.kernel": ("off", "manual"),
    "audit.baseline": ("rfc", "nist", "cnsa1", "cnsa2", "bsi"),
}
_RANGES: Final[Mapping[str, tuple[int, int]]] = {
    "proof_seconds": (1, 600),
    "wait_seconds": (1, 300),
    "check_seconds": (1, 3600),
    "report_seconds": (5, 86_400),
    "files.after_seconds": (1, 600),
    "audit.hours": (0, 168),
    "watch.counters_seconds": (0, 3600),
}
#: What `log` of [watch] is, where it is no path.
_LOGS: Final = ("", "journal", "kernel", "off")
_SECTIONS: Final[Mapping[str, Callable[..., Any]]] = {
    "strongswan": StrongswanSettings,
    "libreswan": LibreswanSettings,
    "files": FilesSettings,
    "audit": AuditSettings,
    "watch": WatchSettings,
}
_HEAD: Final = """\
# The agent of one gateway. `ikewarden agent enroll` wrote this file; what you change here stays.
# key = "file", or "pkcs11:…": where the next key is made; a token needs an enrollment that was made for one.
# proof = "loaded": a renewed certificate counts as in use when the daemon lists it.
# proof = "reauthenticate": running tunnels authenticate afresh with it at once, make-before-break.
# [audit] hours: how often this host's secrets and configuration are audited for the service; 0 is never.
# [audit] policy: a file as `ikewarden audit --policy` takes it, the same for the whole fleet if you like.
# [watch] log: the log of the IKE daemon, from which the service hears what happens to SAs; "journal" for journald.
# [watch] log = "": only what charon tells over VICI; "kernel": what becomes of the kernel's SAs; "off": nothing.
# [watch] counters_seconds: how often charon's counters are read, 0 is never. error_notify: the socket of charon's
# plugin of that name (charon before 6.0.3). kernel = "manual": beside the daemon's SAs those that were made by hand.
"""


def parse(content: bytes, path: Path) -> AgentSettings:
    """Read agent.toml. Raises AgentSettingsInvalid, which names the line or the setting."""
    try:
        document = tomllib.loads(content.decode("utf-8"))
    except ValueError as error:  # TOMLDecodeError and UnicodeDecodeError are ValueErrors
        raise AgentSettingsInvalid(f"{path} is not TOML: {error}") from None
    for name in ("url", "gateway"):
        if name not in document:
            raise AgentSettingsInvalid(f"{path}: {name} is missing.")
    return AgentSettings(**_table(AgentSettings, document, "", path))


def render(settings: AgentSettings) -> bytes:
    """The file for these settings; sections that are not for the chosen daemon are left out."""
    lines = [_HEAD]
    for each in fields(settings):
        value = getattr(settings, each.name)
        if each.name not in _SECTIONS:
            lines.append(f"{each.name} = {_spelled(value)}")
    for name in (settings.daemon, "audit", "watch"):
        section = getattr(settings, name)
        lines += ["", f"[{name}]"]
        lines += [f"{e.name} = {_spelled(getattr(section, e.name))}" for e in fields(section)]
    return ("\n".join(lines) + "\n").encode()


def with_changes(settings: AgentSettings, changes: Sequence[str]) -> AgentSettings:
    """The settings with changes written `name=value` or `section.name=value`; values of lists are divided at commas.

    Raises AgentSettingsInvalid.
    """
    document: dict[str, Any] = _document(settings)
    for change in changes:
        name, separator, text = change.partition("=")
        section, _, inner = name.rpartition(".")
        table = document.get(section) if section else document
        if not separator or not isinstance(table, dict) or inner not in table:
            raise AgentSettingsInvalid(f"There is no setting {name}.")
        before = table[inner]
        if isinstance(before, int):
            table[inner] = int(text) if text.isdecimal() else text
        elif isinstance(before, list) and text.startswith("["):
            raise AgentSettingsInvalid(
                f"--set {name} takes values with commas between them, not a list of TOML."
            )
        else:
            table[inner] = text.split(",") if isinstance(before, list) else text
    return AgentSettings(**_table(AgentSettings, document, "", Path("--set")))


def _document(value: Any) -> dict[str, Any]:
    found = {}
    for each in fields(value):
        inner = getattr(value, each.name)
        if each.name in _SECTIONS:
            inner = _document(inner)
        found[each.name] = list(inner) if isinstance(inner, tuple) else inner
    return found


def _table(kind: Any, document: Mapping[str, Any], prefix: str, path: Path) -> dict[str, Any]:
    known = {each.name: each for each in fields(kind)}
    values = {}
    for name, value in document.items():
        if name not in known:
            raise AgentSettingsInvalid(f"{path}: there is no setting {prefix}{name}.")
        if not prefix and name in _SECTIONS:
            if not isinstance(value, dict):
                raise AgentSettingsInvalid(f"{path}: {name} is a section.")
            values[name] = _SECTIONS[name](**_table(_SECTIONS[name], value, f"{name}.", path))
        else:
            values[name] = _value(prefix + name, value, known[name].type, path)
    return values


def _value(name: str, value: Any, kind: Any, path: Path) -> Any:
    if kind is int or kind == "int":
        low, high = _RANGES[name]
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise AgentSettingsInvalid(f"{path}: {name} is a number from {low} to {high}.")
        return value
    if kind is str or kind == "str":
        if not isinstance(value, str):
            raise AgentSettingsInvalid(f"{path}: {name} is a text in quotes.")
        if name in _CHOICES and value not in _CHOICES[name]:
            known = ", ".join(_CHOICES[name])
            raise AgentSettingsInvalid(f"{path}: {name} is one of: {known}.")
        if name in _CHECKS:
            _CHECKS[name](value, path)
        return value
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise AgentSettingsInvalid(f"{path}: {name} is a list of texts.")
    return tuple(value)


def _require_log(value: str, path: Path) -> None:
    if value not in _LOGS and not value.startswith("/"):
        known = ", ".join(f'"{each}"' for each in _LOGS)
        raise AgentSettingsInvalid(
            f"{path}: watch.log is one of {known}, or a path that begins with /."
        )


def _require_token(value: str, path: Path) -> None:
    if value == FILE:
        return
    try:
        parse_token(value)
    except TokenUriInvalid as error:
        raise AgentSettingsInvalid(
            f'{path}: key is "file" or a token. {error.message}', next_step=error.next_step
        ) from None


_CHECKS: Final[Mapping[str, Callable[[str, Path], None]]] = {
    "key": _require_token,
    "watch.log": _require_log,
}


def _spelled(value: Any) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_spelled, value)) + "]"
    if isinstance(value, int):
        return str(value)
    text = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text) + '"'
