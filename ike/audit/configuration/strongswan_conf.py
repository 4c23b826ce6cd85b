"""strongswan.conf, as far as it makes charon tell secrets or believe too much. Pure."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from core.secret import Secret
from ike.secrets import strength
from ike.secrets.settings_syntax import Section, Value, resolved
from ike.secrets.strength import Verdict
from ike.secrets.values import Place

# Each daemon's own section, behind that of charon, which they all take what they do not have from.
_DAEMONS: Final = ("charon-systemd", "charon", "charon-nm", "charon-cmd", "charon-svc")
_LOGS: Final = ("filelog", "syslog", "journal")
_GROUPS: Final = (
    *("default", "app", "asn", "cfg", "chd", "dmn", "enc", "esp", "ike", "imc", "imv", "job"),
    *("knl", "lib", "mgr", "net", "pts", "tls", "tnc"),
)
_TRUE: Final = frozenset({"yes", "true", "enabled", "1"})
_DEBUG: Final = re.compile(r"\b([a-z]{3}|all)[ \t=]+(-?[0-9])")


@dataclass(frozen=True)
class Logging:
    """A log that is told to write more than others may read. `level` 4 writes keys."""

    name: str
    level: int
    place: Place


@dataclass(frozen=True)
class Option:
    """A setting of the daemon that is in force."""

    name: str
    value: str
    place: Place

    @property
    def is_on(self) -> bool:
        """Whether it is switched on."""
        return self.value.lower() in _TRUE


def logs(top: Section) -> Iterator[Logging]:
    """What is logged, by log: its highest level."""
    for daemon in _daemons(top):
        for kind in _LOGS:
            whole = daemon.sections.get(kind)
            for section in _each(whole, kind):
                levels = [
                    (level, value.place)
                    for group in _GROUPS
                    if (value := section.values.get(group)) is not None
                    and (level := _level(value)) is not None
                ]
                if levels:
                    level, place = max(levels, key=lambda each: each[0])
                    yield Logging(f"{daemon.name}.{kind}.{section.name}", level, place)


def _each(whole: Section | None, kind: str) -> Iterator[Section]:
    if whole is not None:
        yield from whole.sections.values()
        if kind == "journal":
            yield whole


def _level(value: Value) -> int | None:
    text = (value.text or "").strip()
    return int(text) if re.fullmatch(r"-?[0-9]{1,2}", text) else None


@dataclass(frozen=True)
class Guessable:
    """A secret of a RADIUS server that can be guessed, by how many bits it is worth."""

    name: str
    bits: int
    reasons: tuple[str, ...]
    place: Place


def radius(top: Section) -> Iterator[Guessable]:
    """The secrets of RADIUS servers that can be guessed."""
    for daemon in _daemons(top):
        plugin = _below(daemon, "plugins", "eap-radius")
        servers = _below(plugin, "servers") if plugin is not None else None
        inner = servers.sections.values() if servers is not None else ()
        for section in (*((plugin,) if plugin is not None else ()), *inner):
            value = section.values.get("secret")
            if value is not None and value.text:
                judged = strength.judge(Secret(value.text.encode("utf-8", "surrogateescape")))
                if judged.verdict is Verdict.WEAK:
                    name = f"{daemon.name}.plugins.eap-radius"
                    yield Guessable(name, judged.bits, tuple(judged.reasons), value.place)


def _below(section: Section, *names: str) -> Section | None:
    found: Section | None = section
    for name in names:
        found = found.sections.get(name) if found is not None else None
    return found


def options(top: Section, *names: str) -> Iterator[Option]:
    """Settings by their names, such as `plugins.x.y` below a daemon's section."""
    for daemon in _daemons(top):
        for name in names:
            *path, last = name.split(".")
            section = _below(daemon, *path)
            value = section.values.get(last) if section is not None else None
            if value is not None and value.text is not None:
                yield Option(f"{daemon.name}.{name}", value.text, value.place)


def _daemons(top: Section) -> Iterator[Section]:
    for name in _DAEMONS:
        section = top.sections.get(name)
        if section is not None:
            yield resolved(top, section)


def charondebug(text: str, place: Place) -> Logging | None:
    """What `charondebug` of ipsec.conf comes to."""
    levels = [int(level) for _, level in _DEBUG.findall(text.lower())]
    return Logging("charondebug", max(levels), place) if levels else None
