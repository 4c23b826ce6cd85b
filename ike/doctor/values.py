"""What is gathered about a tunnel, and what is said of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from cryptography import x509

from ike.audit.certificates import Held
from ike.audit.configuration.values import Tunnel
from ike.daemons.port import IkeSa
from ike.events.event import SaEvent
from ike.secrets.values import Problem
from pki.x509.profile import Dialect


class Verdict(StrEnum):
    """How a check ended."""

    OK = "ok"
    WRONG = "wrong"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Check:
    """The answer to one question of the list. `next_step` says what to do about it, or how to get to know."""

    name: str
    verdict: Verdict
    evidence: str
    next_step: str = ""


@dataclass(frozen=True)
class Host:
    """What the files of one end say. `secrets`: a fingerprint of the pre-shared key by connection, keyed anew for each
    run, so that equal ones are known as equal and nothing else is. `keys`: digests of the private keys there.

    `sealed`: there are keys that only a passphrase or a token opens, whose certificates are not known. `whole`: all its
    files were looked at; where only some were given, what lacks may stand in others. `written`: when the latest of them
    was, by the clock of its host.
    """

    tunnels: tuple[Tunnel, ...] = ()
    problems: tuple[Problem, ...] = ()
    held: tuple[Held, ...] = ()
    keys: frozenset[str] = frozenset()
    crls: tuple[x509.CertificateRevocationList, ...] = ()
    secrets: Mapping[str, str] | None = None
    dialect: Dialect = "strongswan"
    sealed: bool = False
    whole: bool = True
    written: datetime | None = None


class Loaded(NamedTuple):
    """A connection as the daemon has it: the peer's addresses as they were given, and its Child SAs by name."""

    remote_addrs: tuple[str, ...] = ()
    children: tuple[str, ...] = ()


@dataclass(frozen=True)
class Daemon:
    """What charon answered over VICI, or pluto through whack; `failure` says why it did not, in one sentence.

    What only one of them tells is empty for the other: DER of CA certificates and CRLs charon's, the rest pluto's.
    """

    failure: str = ""
    kind: str = "charon"
    version: str = ""
    connections: frozenset[str] = frozenset()
    loaded: Mapping[str, Loaded] = field(default_factory=dict)  # charon's
    authorities: frozenset[bytes] = frozenset()  # CA certificates that it holds, DER
    crls: tuple[x509.CertificateRevocationList, ...] = ()
    secrets: int = 0  # shared secrets that it holds
    sas: tuple[IkeSa, ...] = ()
    serials: frozenset[int] = frozenset()  # of the CA certificates that it trusts
    unoriented: frozenset[str] = frozenset()  # connections with no address of this host
    complaints: tuple[str, ...] = ()  # of the program that reads its configuration

    @property
    def is_pluto(self) -> bool:
        """Whether it is Libreswan's."""
        return self.kind == "pluto"

    @property
    def is_without_secrets(self) -> bool:
        """Whether it tells that it has no pre-shared key. charon does not tell of all that it has."""
        return self.is_pluto and not self.failure and not self.secrets


class Answer(StrEnum):
    """What came back for a probe."""

    ANSWERED = "answered"
    REFUSED = "refused"  # ICMP: nobody listens at this port
    UNREACHABLE = "unreachable"  # ICMP or the routing table: there is no way
    FORBIDDEN = "forbidden"  # a rule of this host lets nothing out
    SILENT = "silent"
    NOT_TRIED = "not tried"


@dataclass(frozen=True)
class Network:
    """What this host sees of its own ports and of the way to `peer`; `source` is the address that it would speak from.

    `large`: a probe that does not fit into one packet. `states`: IPsec states in the kernel between the two.
    """

    bound: frozenset[int] = frozenset()
    peer: str = ""
    source: str = ""
    ike: Answer = Answer.NOT_TRIED
    nat: Answer = Answer.NOT_TRIED
    large: Answer = Answer.NOT_TRIED
    path_mtu: int = 0
    states: int | None = None


@dataclass(frozen=True)
class Log:
    """What a log says of the tunnel. `failures`: those of the last try that failed, the most telling first; none where
    the last try went well. `duplicates`: identities that threw each other out, with the addresses they came from.
    """

    failures: tuple[SaEvent, ...] = ()
    ike_came_up: bool = False  # in that try
    tried: bool = False
    came_up: bool = False
    duplicates: Mapping[str, frozenset[str]] | None = None
    behind_nat: frozenset[str] = frozenset()  # "local", "remote"
    newest: float | None = None
    theirs: tuple[SaEvent, ...] = ()  # which of the failures stand in the peer's log
    both: bool = False  # the peer's log was given too
    doubtful: bool = False  # no line shows that it is of this tunnel

    @property
    def ours(self) -> tuple[SaEvent, ...]:
        """Which of the failures stand in this end's log."""
        return tuple(each for each in self.failures if each not in self.theirs)


@dataclass(frozen=True)
class Case:
    """All that is known. `daemon` and `network` are None where they were not asked, `peer` where it was not given.

    `clocks` is what other clocks say it is now, by their names; `unkept`: nothing keeps this host's clock right.
    `name` is what was asked for, which may stand in no file.
    """

    now: datetime
    here: Host
    tunnel: Tunnel | None = None
    peer: Host | None = None
    peer_tunnel: Tunnel | None = None
    peer_kind: Dialect | None = None
    daemon: Daemon | None = None
    network: Network | None = None
    log: Log | None = None
    clocks: Mapping[str, datetime] = field(default_factory=dict)
    unkept: bool = False
    name: str = ""

    @property
    def sas(self) -> tuple[IkeSa, ...]:
        """The SAs of the tunnel that the daemon has."""
        if self.daemon is None:
            return ()
        name = self.tunnel.name if self.tunnel is not None else self.name
        return tuple(each for each in self.daemon.sas if each.connection == name)

    @property
    def unwritten(self) -> Loaded | None:
        """The connection as the daemon has it, where it stands in no file."""
        if self.daemon is None or self.tunnel is not None:
            return None
        return self.daemon.loaded.get(self.name)

    @property
    def is_up(self) -> bool:
        """Whether it stands, with a Child SA."""
        return any(
            sa.established and any(child.state == "INSTALLED" for child in sa.children)
            for sa in self.sas
        )

    @property
    def failure(self) -> SaEvent | None:
        """What the last failed negotiation said, unless the tunnel stands by now."""
        if self.is_up or self.log is None or not self.log.failures:
            return None
        return self.log.failures[0]
