"""The port to an IKE daemon: what the agent asks of charon, pluto or any other, and the values that pass.

Every method may be repeated: what is already so is left alone. None of them touches a connection, key or certificate
that the agent did not put there. A credential is changed in steps, so that the one in use never stops working before
the new one is proven::

    stage(new) ─▶ check(new) ─▶ apply(new) ─▶ prove(new) ─▶ retire(old)
       └──────────────┴────────────┴─────▶ undo(new, old)

The contract tests (tests/ike/daemons/contract.py) run on every implementation and on the fake.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Protocol

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from core.errors import Conflict, InvalidInput, Unavailable
from core.secret import Secret
from ike.tokens.uri import TokenUri


class DaemonUnreachable(Unavailable):
    """The IKE daemon does not answer, or broke off in the middle."""

    code = "daemon_unreachable"
    next_step = "Look whether the daemon runs, and whether the agent may use its control socket."


class DaemonRefused(InvalidInput):
    """The IKE daemon answered, and refused what it was given; it goes on with what it had."""

    code = "daemon_refused"
    next_step = "Read the daemon's words in the message, and its log."


class NotYetInForce(DaemonRefused):
    """The daemon has what it was given, kept over a restart, but goes on without it for now; everything else that was
    asked in the same call was done.
    """

    code = "not_yet_in_force"
    next_step = "Restart the daemon when its tunnels may be interrupted."


class CredentialMismatch(InvalidInput):
    """Key, certificate and chain do not belong together; nothing was given to the daemon."""

    code = "credential_mismatch"
    next_step = "Enroll again; the key in use stays."


class ConnectionForeign(Conflict):
    """A connection of this name is in the daemon already, and was not put there by the agent."""

    code = "connection_foreign"
    next_step = "Rename the tunnel, or take the connection out of the daemon's own configuration."


class ConnectionInvalid(InvalidInput):
    """A managed connection that cannot be written for this daemon; the others were loaded all the same."""

    code = "connection_invalid"
    next_step = "Correct the tunnel's definition."


class DaemonFilesUnwritable(Unavailable):
    """The daemon's files cannot be used: disk full, read-only, not permitted. The files that were there stand."""

    code = "daemon_files_unwritable"
    next_step = "Make room, or see to the permissions, in the folder named in the message."


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 of the certificate's DER, lower-case hexadecimal: how certificates are named everywhere."""
    return hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest()


class KeyInToken(DaemonRefused):
    """The key is in a PKCS#11 token, and this daemon's adapter takes keys from files only; nothing was given to it."""

    code = "token_daemon_unsupported"
    next_step = (
        'Set key = "file" in agent.toml and enroll again with --force: tokens work with strongSwan.'
    )


@dataclass(frozen=True)
class TokenKey:
    """A private key that stays in a PKCS#11 token: where it is, and its public half (SubjectPublicKeyInfo, DER)."""

    uri: TokenUri
    public: bytes


@dataclass(frozen=True)
class Credential:
    """A private key (PKCS #8 in PEM, not encrypted; or one in a token), its certificate, and its issuers without the
    root, nearest first.
    """

    key: Secret | TokenKey
    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...] = ()

    @cached_property
    def fingerprint(self) -> str:
        """Names the credential: see `fingerprint`."""
        return fingerprint(self.certificate)

    @property
    def pem(self) -> Secret:
        """The private key in PEM. Raises KeyInToken."""
        if isinstance(self.key, TokenKey):
            raise KeyInToken("The key of this gateway is in a token, and does not leave it.")
        return self.key


@dataclass(frozen=True)
class CredentialName:
    """What is left to say of a credential whose key may be gone: enough to take it out of a daemon."""

    certificate: x509.Certificate

    @cached_property
    def fingerprint(self) -> str:
        """Names the credential: see `fingerprint`."""
        return fingerprint(self.certificate)


@dataclass(frozen=True)
class Child:
    """A CHILD_SA of a managed connection. Traffic selectors are networks in CIDR."""

    name: str
    local_ts: tuple[str, ...]
    remote_ts: tuple[str, ...]
    esp_proposals: tuple[str, ...] = ()
    start_action: str = "none"  # none, trap or start
    rekey_seconds: int | None = None


@dataclass(frozen=True)
class Connection:
    """A connection that the operator lets the service manage. Identities are written as in GeneralName:
    `dns:a.example`, `ip:192.0.2.1`, `email:a@b`, `dn:CN=a`. `remote_authority` is the fingerprint of a certificate of
    the CA set; `more_authorities` are those that the peer's certificate may be of as well, as in a rollover.
    """

    name: str
    local_addresses: tuple[str, ...]
    remote_addresses: tuple[str, ...]
    local_id: str
    remote_id: str
    remote_authority: str | None
    children: tuple[Child, ...]
    proposals: tuple[str, ...] = ()
    rekey_seconds: int | None = None
    revocation: str = "strict"  # strict, ifuri or relaxed
    # How both ends prove who they are: by certificate, or by a shared secret of a slot of this connection (`share`).
    authentication: str = "certificate"  # certificate, psk
    ike_version: int = 2
    # RFC 8784, where the connection has a slot of kind ppk: whether it comes up without one.
    ppk: str = "none"  # none, preferred, required
    more_authorities: tuple[str, ...] = ()

    @property
    def remote_authorities(self) -> tuple[str, ...]:
        """All that the peer's certificate may be of; none: any of the CA set."""
        own = () if self.remote_authority is None else (self.remote_authority,)
        return (*own, *self.more_authorities)


@dataclass(frozen=True)
class SharedKey:
    """One version of a shared secret: raw octets. `ppk_id` is the PPK_ID of RFC 8784 §5.1, for kind ppk alone."""

    version: int
    value: Secret
    ppk_id: str | None = None


@dataclass(frozen=True)
class SharedSlot:
    """The shared secrets of one end of a tunnel, of one kind (`psk`, `ppk`).

    The order is the whole of it: the first key is the one that this end uses to prove itself, the others are those
    that it takes from the peer too. A daemon that knows one secret for a peer (`Abilities.overlap` false) is given
    the first and holds no other. No keys: the slot is empty. Identities are written as in Connection; `connection` is
    the daemon's name of the connection, which may be none of the agent's. `name` is of `[A-Za-z0-9_.-]`.
    """

    name: str
    kind: str
    connection: str
    local_id: str
    remote_id: str
    keys: tuple[SharedKey, ...]
    ike_version: int = 2


@dataclass(frozen=True)
class LoadedSlot:
    """What a daemon holds of a slot: versions, the one it uses first, as far as it tells."""

    name: str
    versions: tuple[int, ...]


@dataclass(frozen=True)
class ForeignSecret:
    """A shared secret in a daemon that the agent did not put there, and that answers for the peer of a slot.

    `where` says where it is from, for people: a file and line, or the daemon's name of it. `same_as` is the version of
    the slot that has the same value, where the agent can read it. `shadows`: the daemon takes it in the place of ours.
    """

    slot: str
    where: str
    same_as: int | None = None
    shadows: bool = False


@dataclass(frozen=True)
class Shared:
    """The shared secrets of a daemon, without their values."""

    slots: tuple[LoadedSlot, ...] = ()
    foreign: tuple[ForeignSecret, ...] = ()


@dataclass(frozen=True)
class Abilities:
    """What a daemon can do for a rotation.

    `overlap`: it takes several secrets from a peer at once (IKEv2 only). `ppk`: RFC 8784. `gapless`: it authenticates
    an SA afresh without an interruption. `beside`: it authenticates a connection of the agent's (IKEv2) afresh beside
    its SAs, without touching them.
    """

    overlap: bool
    ppk: bool
    gapless: bool
    beside: bool = False


@dataclass(frozen=True)
class ChildSa:
    """A CHILD_SA as the daemon lists it. SPIs are eight hexadecimal digits. `protocol` is ESP or AH, `mode` tunnel,
    transport or another word of the daemon's; seconds are from when it was listed, and it is the same SA when they have
    gone by. What is not told is empty, or None.
    """

    name: str
    state: str
    spi_in: str
    spi_out: str
    local_ts: tuple[str, ...] = ()
    remote_ts: tuple[str, ...] = ()
    bytes_in: int = 0
    bytes_out: int = 0
    protocol: str = ""
    mode: str = ""
    nat_t: bool | None = None
    algorithms: str = ""
    rekey_seconds: int | None = field(default=None, compare=False)
    expire_seconds: int | None = field(default=None, compare=False)


@dataclass(frozen=True)
class IkeSa:
    """An IKE_SA as the daemon lists it.

    `id` is the daemon's own number, good for `terminate`. `remote_certificate` is the fingerprint of the certificate
    that authenticated the peer where the daemon or the agent's watching tells it, else None; so is
    `local_certificate`. `remote_id` is written as the daemon writes it. Seconds are from when it was listed.
    """

    id: str
    connection: str
    state: str
    version: int
    local_address: str
    remote_address: str
    local_id: str
    remote_id: str
    established: bool
    established_at: datetime | None = None
    initiator: bool = False
    spi_initiator: str = ""
    spi_responder: str = ""
    algorithms: str = ""
    local_certificate: str | None = None
    remote_certificate: str | None = None
    children: tuple[ChildSa, ...] = ()
    nat_t: bool | None = None
    rekey_seconds: int | None = field(default=None, compare=False)
    reauth_seconds: int | None = field(default=None, compare=False)


@dataclass(frozen=True)
class LoadedCertificate:
    """A certificate that the daemon holds. `has_key`: it can sign with it. `cached`: it came from a peer or the
    cache. `in_use`: the daemon takes it, before any other of this issuer, to prove one of its identities.
    """

    fingerprint: str
    subject: str
    authority: bool
    has_key: bool
    cached: bool = False
    in_use: bool = False


@dataclass(frozen=True)
class LoadedCrl:
    """A revocation list that the daemon holds or has cached; issuer as RFC 4514 text, number as in its extension."""

    issuer: str
    number: int | None


@dataclass(frozen=True)
class Inventory:
    """What is loaded, to be compared with what is desired."""

    certificates: tuple[LoadedCertificate, ...] = ()
    keys: tuple[
        str, ...
    ] = ()  # SHA-1 of SubjectPublicKeyInfo's key bits (RFC 5280 §4.2.1.2 (1)), hexadecimal
    crls: tuple[LoadedCrl, ...] = ()
    connections: tuple[str, ...] = ()


@dataclass(frozen=True)
class DaemonInfo:
    """Which daemon it is. `incarnation` changes whenever it was restarted and so has forgotten what was only loaded."""

    kind: str  # strongswan, libreswan, files
    version: str
    incarnation: str


class Proof(StrEnum):
    """How sure it is that the daemon uses a credential."""

    LOADED = (
        "loaded"  # the daemon lists the certificate, with its key, and nothing that goes before it
    )
    AUTHENTICATED = "authenticated"  # a peer accepted a fresh IKE_AUTH under it


class EventKind(StrEnum):
    """What happened in a daemon, as far as the agent must act on it."""

    UP = "up"  # an IKE_AUTH was completed: not a rekeying
    DOWN = "down"
    CHANGED = "changed"  # an SA was rekeyed, or its CHILD_SAs came or went
    RESTARTED = "restarted"
    LOST = "lost"


@dataclass(frozen=True)
class DaemonEvent:
    """Something the agent must look at; `sa` is the IKE_SA it is about, where there is one."""

    kind: EventKind
    sa: IkeSa | None = None


@dataclass(frozen=True)
class Cut:
    """An IKE_SA that was ended, and why it was the one: its certificate was seen, or only its identity matches."""

    sa: IkeSa
    matched_by: str  # certificate, identity
    ended: bool = True
    error: str = ""


@dataclass(frozen=True)
class RevokedPeer:
    """A revoked certificate, as far as an SA can be recognised by it; `identities` as in Connection."""

    fingerprint: str
    serial: str
    identities: tuple[str, ...]
    # Certificates with the same identities that are still good: an SA known to be under one of them is not cut.
    good: frozenset[str] = field(default_factory=frozenset)


class Daemon(Protocol):
    """An IKE daemon. Methods raise DaemonUnreachable and DaemonRefused, DaemonFilesUnwritable where files are written,
    and what is named beside them.
    """

    def describe(self) -> DaemonInfo:
        """Tell which daemon answers."""
        ...

    def inventory(self) -> Inventory:
        """List what is loaded."""
        ...

    def trust(self, authorities: Sequence[x509.Certificate]) -> None:
        """Make these the CA certificates that the agent gave the daemon: new ones in first, then those no longer
        named out.

        Kept over a restart of the daemon. CA certificates that others put there stay. Raises NotYetInForce, at every
        call until it is restarted, where the daemon goes on trusting one that was taken out.
        """
        ...

    def stage(self, credential: Credential) -> None:
        """Load key, chain and certificate beside what is in use. Raises CredentialMismatch with nothing loaded."""
        ...

    def check(self, credential: Credential) -> None:
        """Make sure that the daemon has the staged certificate and can sign with it; raises DaemonRefused when not."""
        ...

    def apply(self, credential: Credential, old: CredentialName | None) -> None:
        """Let new authentications use it, now and after a restart of the daemon; running SAs are not disturbed."""
        ...

    def prove(self, credential: Credential, connections: Sequence[str], *, seconds: float) -> Proof:
        """Authenticate afresh, make-before-break, the SAs of these connections that are up, and tell what that showed.

        Where the daemon cannot reauthenticate without a gap, or nothing is up, LOADED is the answer. Raises
        DaemonRefused when a peer refused or nothing was heard within `seconds`.
        """
        ...

    def undo(self, credential: Credential, old: CredentialName | None) -> None:
        """Take the staged credential out again, wherever it had got to; the old one is in use as before.

        Raises DaemonRefused, and leaves the new one in use, where the old one's key is gone.
        """
        ...

    def retire(self, old: CredentialName) -> None:
        """Take an old key and certificate out of the daemon and its files."""
        ...

    def load_crls(self, crls: Sequence[x509.CertificateRevocationList]) -> None:
        """Have these lists count from the next authentication on, now and after a restart, in the place of older
        ones. Raises NotYetInForce where the daemon will read them only later.
        """
        ...

    def connect(self, connections: Sequence[Connection]) -> None:
        """Make these the managed connections. An unchanged one is not touched, a changed one is replaced, one that is
        no longer named is unloaded and its SAs ended. One that is to be up (`start`) and has no SA is started, without
        waiting. Raises ConnectionForeign; the others are loaded all the same.
        Raises NotYetInForce where the daemon does not check revocation as strictly as one of them asks.
        """
        ...

    def sas(self) -> tuple[IkeSa, ...]:
        """List the IKE_SAs, with the certificates that authenticated them where known."""
        ...

    def cut(self, peer: RevokedPeer) -> tuple[Cut, ...]:
        """End every IKE_SA that a revoked certificate authenticated, half-open ones too.

        An SA whose certificate was seen is matched by that alone. Only where it was not seen, the identity decides.
        """
        ...

    def reauthenticate(self, connection: str, *, gap: bool = True) -> int:
        """Start fresh authentications of a connection; gives how many.

        With `gap` its SAs are made anew, make-before-break where the daemon can, else with an interruption. Without, no
        packet is to be lost: a managed connection is authenticated beside its SAs where the daemon can
        (`Abilities.beside`), which stay, also where it has none; others make-before-break, or not at all. Uses the
        connection as it is loaded now.
        """
        ...

    def initiate(self, connection: str) -> bool:
        """Start a connection that has no IKE_SA, without waiting for what comes of it; tell whether it was started."""
        ...

    # shared secrets

    def abilities(self) -> Abilities:
        """Tell what the daemon can do for a rotation."""
        ...

    def share(self, slots: Sequence[SharedSlot]) -> None:
        """Make these the shared secrets that the agent gave the daemon, now and after a restart.

        SAs are not disturbed. What is so already is left alone; a slot that is no longer named, and a key no longer in
        its slot, is taken out. New keys are in before old ones go. For kind ppk the first key is the one whose PPK_ID
        the connection sends, and all are answered. Raises DaemonRefused, naming the slot: the others are done all the
        same, and no daemon is left without a key that it had.
        """
        ...

    def shared(self, slots: Sequence[SharedSlot]) -> Shared:
        """Tell what the daemon holds of these slots and of any other that the agent gave it, and what else answers for
        the peers of these.
        """
        ...

    def watch(self, stop: Callable[[], bool]) -> Iterator[DaemonEvent]:
        """Tell what happens until `stop()` is true (asked at least once a second; when it is asked for the second time,
        nothing that happens from then on is missed). Never raises: LOST says that the daemon is gone, RESTARTED that it
        is back without what was loaded.
        """
        ...
