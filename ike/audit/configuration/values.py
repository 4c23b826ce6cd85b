"""What an IKE daemon makes of its configuration, the same whoever's configuration it is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from ike.audit.configuration.proposals import Proposal, Protocol
from ike.secrets.values import Place


class Writer(StrEnum):
    """In what the configuration is written: it decides what is to be written there to mend it."""

    SWANCTL = "swanctl.conf"
    IPSEC = "ipsec.conf of strongSwan"
    LIBRESWAN = "ipsec.conf of Libreswan"
    NM_STRONGSWAN = "NetworkManager's strongSwan plugin"
    NM_LIBRESWAN = "NetworkManager's Libreswan plugin"
    NM_L2TP = "NetworkManager's L2TP plugin"
    RACOON = "racoon.conf"
    VYOS = "config.boot of VyOS"
    OPNSENSE = "config.xml of OPNsense"
    OPNSENSE_OLD = "Tunnel Settings in config.xml of OPNsense"
    PFSENSE = "config.xml of pfSense"


@dataclass(frozen=True)
class Offer:
    """What is offered and taken for one protocol. `is_default`: the daemon's own, as nothing is configured.

    `added` are the daemon's own that come behind what is configured.
    """

    protocol: Protocol
    proposals: tuple[Proposal, ...]
    place: Place
    is_default: bool = False
    added: tuple[Proposal, ...] = ()


@dataclass(frozen=True)
class Round:
    """How one end proves itself. `auth` is psk, pubkey, eap, xauth, null, or any where that is left open; `method` is
    what stands there, in small letters. `pinned`: certificates are narrowed down otherwise than by the identity.
    """

    auth: str
    place: Place
    identity: str = ""
    revocation: str = ""  # strict, ifuri, relaxed
    revocation_place: Place | None = None
    method: str = ""
    pinned: bool = True


@dataclass(frozen=True)
class Child:
    """What goes through the tunnel. Seconds are None where the SA is never replaced by age.

    `life` is when it ends if it could not be replaced. `pfs` is what the configuration says of it apart from the
    proposals, None where only they do.
    """

    name: str
    place: Place
    offers: tuple[Offer, ...]
    rekey: int | None
    life: int | None
    mode: str = "tunnel"
    local: tuple[str, ...] = ()
    remote: tuple[str, ...] = ()
    pfs: bool | None = None
    truncated: str = ""  # the setting that cuts SHA-256 to 96 bits, whatever the proposals say
    places: Mapping[str, Place] = field(default_factory=dict)

    @property
    def is_shunt(self) -> bool:
        """Whether its traffic is let through or dropped, so that no SA is ever made for it."""
        return self.mode in ("pass", "drop")

    def at(self, setting: str) -> Place:
        """Where a setting stands that is in force, else the section."""
        return self.places.get(setting, self.place)


@dataclass(frozen=True)
class Tunnel:
    """A connection as it is in force: everything that it takes over, and every default, in place."""

    name: str
    place: Place
    writer: Writer
    versions: tuple[int, ...]
    ike: Offer
    rekey: int | None
    reauth: int | None
    local_addrs: tuple[str, ...]
    remote_addrs: tuple[str, ...]
    local: tuple[Round, ...]
    remote: tuple[Round, ...]
    children: tuple[Child, ...]
    aggressive: bool = False
    over: int = 0
    clear: tuple[str, ...] = ()  # settings that let traffic through while the tunnel does not stand
    places: Mapping[str, Place] = field(default_factory=dict)
    fragmentation: str = ""  # of IKE messages, as it stands there; the daemons' own is to do it

    def at(self, setting: str) -> Place:
        """Where a setting stands that is in force, else the section."""
        return self.places.get(setting, self.place)

    def subject(self, child: str = "") -> str:
        """By what the connection, or a child of it, is known in another run."""
        if child and self.writer is Writer.RACOON:
            return f"sainfo {child}"
        return f"{self.name}/{child}" if child else self.name

    def named(self, child: str = "") -> str:
        """How evidence calls it."""
        return f'"{self.subject(child)}"'

    @property
    def psk(self) -> bool:
        """Whether an end may prove itself by a pre-shared key."""
        return any(each.auth == "psk" for each in (*self.local, *self.remote))
