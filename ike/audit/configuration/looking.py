"""The configuration of all daemons of a host: what is in force, and what is wrong with it.

`look` reads files; `Configuration.judge` is pure.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Final, Protocol

from ike.audit.configuration import (
    daemon_rules,
    effective_ipsec,
    effective_swanctl,
    fixes,
    judging,
    networkmanager,
    opnsense,
    racoon,
    rules,
    strongswan_conf,
    systems,
    tunnel_settings,
    vyos,
)
from ike.audit.configuration.strongswan_conf import Guessable, Logging, Option
from ike.audit.configuration.systems import OPNSENSE, PFSENSE, VYOS, System
from ike.audit.configuration.values import Tunnel, Writer
from ike.audit.values import Finding, Policy, Rule, Severity
from ike.secrets import ipsec_conf
from ike.secrets.ipsec_conf import Sections
from ike.secrets.reading import Files, Reading, dialect_of
from ike.secrets.settings_syntax import parse as parse_settings
from ike.secrets.stumbling import stumbling
from ike.secrets.values import Dialect, Place, Problem, Source

_CRYPTO_POLICIES: Final = "/etc/crypto-policies/back-ends/libreswan.config"
# A system's own configuration: judged where what the system made of it is not there.
_OWN: Final = {"vyos-config": (VYOS,), "opnsense-xml": (OPNSENSE, PFSENSE)}
_CONNECTIONS: Final = ("swanctl", "ipsec.conf")
_KINDS: Final = frozenset(
    {"swanctl", "strongswan.conf", "ipsec.conf", "racoon", "networkmanager", *_OWN}
)
_KEYS_LEVEL: Final = 4
_PACKETS_LEVEL: Final = 3
_AGGRESSIVE: Final = "i_dont_care_about_security_and_use_aggressive_mode_psk"
_OPTIONS: Final[Mapping[str, Rule]] = MappingProxyType(
    {
        _AGGRESSIVE: rules.AGGRESSIVE_PSK_ALLOWED,
        "accept_unencrypted_mainmode_messages": rules.UNENCRYPTED_MAIN_MODE,
        "send_vendor_id": rules.VENDOR_ID,
        "plugins.load-tester.enable": daemon_rules.LOAD_TESTER,
    }
)
_SOCKETS: Final = ("plugins.vici.socket", "plugins.stroke.socket")
_LOOPBACK: Final = re.compile(r"tcp://(127\.|\[?::1\b|localhost\b)", re.I)


class Start(Protocol):
    """A configuration to begin with; `ike.audit.discovery.Start` is one."""

    @property
    def path(self) -> str:
        """Where it is on the host."""

    @property
    def kind(self) -> str:
        """swanctl, ipsec.conf, strongswan.conf, racoon, networkmanager, vyos-config, opnsense-xml; others are left."""


@dataclass(frozen=True)
class Lax:
    """A setting for all connections of a daemon that lets certificates in without word of their revocation."""

    value: str
    place: Place
    writer: Writer


@dataclass(frozen=True)
class Configuration:
    """What the daemons of a host are told to do."""

    tunnels: tuple[Tunnel, ...] = ()
    logs: tuple[Logging, ...] = ()
    options: tuple[Option, ...] = ()
    sockets: tuple[Option, ...] = ()  # by which charon takes orders from the network
    radius: tuple[Guessable, ...] = ()
    lax: tuple[Lax, ...] = ()
    without_policy: tuple[Place, ...] = ()  # where the system's crypto policy is to be included
    problems: tuple[Problem, ...] = ()
    systems: tuple[System, ...] = ()  # that write some of the files
    revocation_unnamed: bool = False  # see `judging.Surroundings`; who looks at certificates knows

    def judge(self, policy: Policy, now: datetime) -> Iterator[Finding]:
        """The findings. Pure."""
        _ = now  # nothing here grows old
        for finding in self._judge(policy):
            yield systems.told(finding, self.systems)

    def _judge(self, policy: Policy) -> Iterator[Finding]:
        answers = any(each.name.endswith(_AGGRESSIVE) for each in self.options)
        around = judging.Surroundings(answers, self.revocation_unnamed)
        yield from judging.judge(self.tunnels, policy, around)
        for log in self.logs:
            yield from _logged(log)
        for option in self.options:
            rule = _OPTIONS[option.name.partition(".")[2]]
            yield Finding(rule, option.place, f"`{option.name}` is on.", option.name)
        for socket in self.sockets:
            yield _by_tcp(socket)
        for each in self.radius:
            why = f": {'; '.join(each.reasons)}" if each.reasons else ""
            said = f"The secret of {each.name} has about {each.bits} bits{why}."
            yield Finding(daemon_rules.RADIUS_SECRET, each.place, said, each.name)
        for lax in self.lax:
            yield _revocation(lax, unnamed=self.revocation_unnamed)
        for place in self.without_policy:
            said = f"{_CRYPTO_POLICIES} is there, and ipsec.conf does not include it."
            yield Finding(rules.NO_CRYPTO_POLICY, place, said)


def _by_tcp(socket: Option) -> Finding:
    local = _LOOPBACK.match(socket.value)
    where = "the host itself: every user of it gets there" if local else "the network"
    said = f"`{socket.name}` is a port of TCP that can be reached from {where}."
    severity = Severity.HIGH if local else None
    return Finding(daemon_rules.CONTROL_BY_TCP, socket.place, said, socket.name, severity=severity)


def _logged(log: Logging) -> Iterator[Finding]:
    if log.level >= _PACKETS_LEVEL:
        holds_keys = log.level >= _KEYS_LEVEL
        rule = rules.LOGGED_KEYS if holds_keys else rules.LOGGED_RAW
        what = "keys and other secrets" if holds_keys else "messages as they are"
        yield Finding(rule, log.place, f"`{log.name}` is told to log {what}.", log.name)


def _revocation(lax: Lax, *, unnamed: bool) -> Finding:
    setting = "crl-strict" if lax.writer is Writer.LIBRESWAN else "strictcrlpolicy"
    rule = rules.REVOCATION_IF_URI if lax.value == "ifuri" else rules.REVOCATION
    value = "ifuri" if lax.value == "ifuri" else "not set to yes"
    said = f"`{setting}` is {value}, and connections prove themselves by certificates."
    fix = fixes.strict(f"{setting}=yes", "`config setup`", unnamed=unnamed)
    return Finding(rule, lax.place, said, setting, fix)


def look(files: Files, starts: Iterable[Start], dialect: Dialect | None = None) -> Configuration:
    """What stands in these configurations and all that they include.

    `dialect`: whose ipsec.conf it is; else that is told by what stands there. What cannot be read is among the
    problems, and the rest is read.
    """
    starts = tuple(starts)
    looking = _Looking(files, dialect)
    looking.systems = systems.seen((each.path, each.kind) for each in starts)
    for start in starts:
        if start.kind not in _KINDS:
            continue  # of another room; a database is not even a file
        if start.kind in _OWN and _is_written(_OWN[start.kind], starts):
            continue
        reading = Reading(files, again=True)
        source = reading.start(start.path)
        if source is not None:
            with stumbling(Place(start.path, 0), looking.problems):
                looking.read(start.kind, source, reading)
        looking.problems += reading.problems
    return looking.found()


def _is_written(by: Iterable[System], starts: Iterable[Start]) -> bool:
    """Whether the connections are there that one of these systems writes for its daemon."""
    paths = [each.path for each in starts if each.kind in _CONNECTIONS]
    return any(system.writes(path) for system in by for path in paths)


class _Looking:
    def __init__(self, files: Files, dialect: Dialect | None) -> None:
        self.files = files
        self.dialect = dialect
        self.tunnels: list[Tunnel] = []
        self.logs: list[Logging] = []
        self.options: list[Option] = []
        self.sockets: list[Option] = []
        self.radius: list[Guessable] = []
        self.lax: list[Lax] = []
        self.without_policy: list[Place] = []
        self.problems: list[Problem] = []
        self.systems: tuple[System, ...] = ()

    def found(self) -> Configuration:
        return Configuration(
            tuple(_unique(self.tunnels)),
            tuple(self.logs),
            tuple(self.options),
            tuple(self.sockets),
            tuple(self.radius),
            tuple(self.lax),
            tuple(self.without_policy),
            tuple(dict.fromkeys(self.problems)),
            self.systems,
        )

    def read(self, kind: str, source: Source, reading: Reading) -> None:
        if kind == "swanctl":
            top, problems = parse_settings(source, reading.include)
            self._add(effective_swanctl.effective(top))
            self.problems += problems
        elif kind == "strongswan.conf":
            top, problems = parse_settings(source, reading.include)
            self.logs += strongswan_conf.logs(top)
            self.options += (each for each in strongswan_conf.options(top, *_OPTIONS) if each.is_on)
            sockets = strongswan_conf.options(top, *_SOCKETS)
            self.sockets += (each for each in sockets if each.value.lower().startswith("tcp://"))
            self.radius += strongswan_conf.radius(top)
            self.problems += problems
        elif kind == "ipsec.conf":
            self._ipsec(source, reading)
        elif kind == "racoon":
            self._add(racoon.effective(source, reading.include))
        elif kind == "networkmanager":
            self._add(networkmanager.effective(source))
        elif kind == "vyos-config":
            self._add(vyos.effective(source))
        elif kind == "opnsense-xml":
            self._add(opnsense.effective(source))
            self._add(tunnel_settings.effective(source))

    def _add(self, found: tuple[list[Tunnel], list[Problem]]) -> None:
        self.tunnels += found[0]
        self.problems += found[1]

    def _ipsec(self, source: Source, reading: Reading) -> None:
        dialect = self.dialect or dialect_of(self.files, [source.path])
        sections = ipsec_conf.read(source, reading.include)
        tunnels, problems = effective_ipsec.effective(sections, dialect)
        self.problems += [*sections.problems, *problems]
        self.tunnels += tunnels
        is_pluto = dialect is Dialect.LIBRESWAN
        self.logs += _setup_logs(sections, is_pluto)
        value, place = effective_ipsec.strict_crls(sections)
        if value != "yes" and any(_by_certificate(each) for each in tunnels):
            writer = Writer.LIBRESWAN if is_pluto else Writer.IPSEC
            place = place if place.line else Place(source.path, 0)
            self.lax.append(Lax(value, place, writer))
        if is_pluto and tunnels and self.files.exists(_CRYPTO_POLICIES):
            if _CRYPTO_POLICIES not in reading.changed:
                self.without_policy.append(Place(source.path, 0))


def _unique(tunnels: Iterable[Tunnel]) -> Iterator[Tunnel]:
    seen: set[tuple[str, Place]] = set()
    for each in tunnels:
        if (each.name, each.place) not in seen:
            seen.add((each.name, each.place))
            yield each


def _by_certificate(tunnel: Tunnel) -> bool:
    return any(each.auth == "pubkey" for each in tunnel.remote)


def _setup_logs(sections: Sections, is_pluto: bool) -> Iterator[Logging]:
    name = "plutodebug" if is_pluto else "charondebug"
    setting = sections.setup.values.get(name)
    if setting is None:
        return
    if not is_pluto:
        log = strongswan_conf.charondebug(setting.text, setting.place)
        if log is not None:
            yield log
    elif "private" in re.split(r"[\s,]+", setting.text.lower()):
        yield Logging(name, _KEYS_LEVEL, setting.place)
