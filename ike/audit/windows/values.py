"""What the collector saw of a Windows machine."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from ike.secrets.values import Problem
from pki.x509.lint.facts import Facts as CertificateFacts


@dataclass(frozen=True)
class Entry:
    """What an ACL allows or denies to one SID. `rights`: an access mask of 32 bits."""

    sid: str
    rights: int
    allow: bool


@dataclass(frozen=True)
class Access:
    """The owner of a file, and its ACL."""

    owner: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Certificate:
    """A certificate of the machine's store. `key_name` is that of the key's file; exportable is None if unknown."""

    thumbprint: str
    facts: CertificateFacts
    subject: str
    private_key: bool
    exportable: bool | None
    provider: str
    key_name: str

    @property
    def path(self) -> str:
        """As PowerShell calls it."""
        return f"Cert:\\LocalMachine\\My\\{self.thumbprint}"


@dataclass(frozen=True)
class KeyFile:
    """A private key's file. Without `access` its ACL could not be read."""

    path: str
    name: str
    access: Access | None


@dataclass(frozen=True)
class PfxFile:
    """A file that holds a certificate with its key."""

    path: str
    octets: int
    changed: datetime
    access: Access | None


@dataclass(frozen=True)
class IpsecRule:
    """A connection security rule."""

    name: str
    display_name: str
    enabled: bool
    mode: str
    key_module: str
    inbound: str
    outbound: str
    phase1_auth_set: str
    quick_mode_set: str
    local_endpoint: str
    remote_endpoint: str


@dataclass(frozen=True)
class MainModeRule:
    """Which sets are used in main mode."""

    name: str
    display_name: str
    enabled: bool
    main_mode_set: str
    phase1_auth_set: str


@dataclass(frozen=True)
class Proposal:
    """Algorithms as Windows names or numbers them; empty where there is none of the kind."""

    encryption: str
    hash: str
    group: str = ""
    encapsulation: str = ""
    ah_hash: str = ""


class SetKind(StrEnum):
    """Which kind of set, as its cmdlets name it."""

    MAIN_MODE = "NetIPsecMainModeCryptoSet"
    QUICK_MODE = "NetIPsecQuickModeCryptoSet"
    AUTH = "NetIPsecPhase1AuthSet"


@dataclass(frozen=True)
class CryptoSet:
    """Proposals of main or of quick mode; `pfs` of quick mode."""

    kind: SetKind
    name: str
    display_name: str
    proposals: tuple[Proposal, ...]
    pfs: str = ""


@dataclass(frozen=True)
class SecretMark:
    """A pre-shared key: how many characters, and a fingerprint that means something in one document only."""

    length: int
    fingerprint: str


@dataclass(frozen=True)
class AuthMethod:
    """A way to prove who one is."""

    method: str
    psk: SecretMark | None


@dataclass(frozen=True)
class AuthSet:
    """Ways to prove who one is, in their order."""

    name: str
    display_name: str
    methods: tuple[AuthMethod, ...]


@dataclass(frozen=True)
class TunnelPolicy:
    """The VPN server, whose `name` is empty, or one of its site-to-site interfaces.

    Without `custom` the built-in algorithms are used, whatever the other fields say.
    """

    name: str
    method: str
    custom: bool
    main: Proposal
    quick: Proposal
    pfs: str


@dataclass(frozen=True)
class Collected:
    """A whole document."""

    host: str
    system: str
    collected: datetime
    elevated: bool
    certificates: tuple[Certificate, ...]
    key_files: tuple[KeyFile, ...]
    pfx_files: tuple[PfxFile, ...]
    rules: tuple[IpsecRule, ...]
    main_mode_rules: tuple[MainModeRule, ...]
    crypto_sets: tuple[CryptoSet, ...]
    auth_sets: tuple[AuthSet, ...]
    vpn: tuple[TunnelPolicy, ...]
    problems: tuple[Problem, ...]
