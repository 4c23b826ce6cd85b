"""pluto as an `ike.daemons.port.Daemon`."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from threading import Event

from cryptography import x509
from cryptography.x509.oid import ExtensionOID

from ike.daemons import matching
from ike.daemons.libreswan import associations, trust
from ike.daemons.libreswan.credentials import Credentials
from ike.daemons.libreswan.managed import Managed
from ike.daemons.libreswan.nss import Database, Entry, key_id
from ike.daemons.libreswan.places import Places
from ike.daemons.libreswan.shared import SharedSecrets
from ike.daemons.libreswan.status import Status
from ike.daemons.libreswan.trust import Trust
from ike.daemons.libreswan.whack import Whack
from ike.daemons.port import (
    Abilities,
    Connection,
    Credential,
    CredentialName,
    Cut,
    DaemonEvent,
    DaemonInfo,
    DaemonRefused,
    DaemonUnreachable,
    IkeSa,
    Inventory,
    LoadedCertificate,
    Proof,
    RevokedPeer,
    Shared,
    SharedSlot,
)


class Libreswan:
    """Implements `ike.daemons.port.Daemon` for Libreswan 4.x and later.

    `nickname` is the one that connections name as their `leftcert`; what stands under it is replaced at every renewal.
    `now` tells the time. Reauthentication is never make-before-break, so `prove` answers LOADED, having asked pluto
    which key it signs with. pluto does not tell which certificate authenticated a peer: SAs are matched by identity.
    """

    def __init__(
        self,
        *,
        now: Callable[[], datetime],
        nickname: str = "ikewarden",
        places: Places | None = None,
    ) -> None:
        self._places = places or Places()
        self._database = Database(self._places)
        self._whack = Whack(self._places)
        # An event that nobody sets: waiting for it is sleeping.
        self._credentials = Credentials(
            self._database, self._whack, nickname, clock=now, wait=Event().wait
        )
        self._trust = Trust(self._places, self._database, self._whack, now)
        self._managed = Managed(self._places, self._whack, nickname)
        self._shared = SharedSecrets(self._places, self._whack)

    # what there is

    def describe(self) -> DaemonInfo:
        """Tell the version that runs, and which process it is."""
        version = self._status().version
        incarnation = self._whack.incarnation()
        if incarnation is None:
            raise DaemonUnreachable(f"pluto's process is not to be seen by {self._places.pid}.")
        return DaemonInfo("libreswan", version, incarnation)

    def inventory(self) -> Inventory:
        """List what the database holds and which connections pluto has."""
        entries = self._database.entries()
        current = self._credentials.current()
        listed = tuple(
            LoadedCertificate(
                each.fingerprint,
                each.certificate.subject.rfc4514_string(),
                authority=_is_ca(each),
                has_key=each.has_key,
                in_use=current is not None and each.fingerprint == current.fingerprint,
            )
            for each in entries
            if not trust.is_signpost(each)
        )
        known = {
            key_id(each.certificate.public_key()): matching.key_id(each.certificate.public_key())
            for each in entries
            if each.has_key
        }
        keys = tuple(sorted(known.get(each, each) for each in self._database.keys()))
        names = associations.names(self._status(), self._managed.recorded())
        return Inventory(listed, keys, self._trust.loaded(entries), names)

    # trust

    def trust(self, authorities: Sequence[x509.Certificate]) -> None:
        """As the port says. What comes in counts at once; what goes out, after a restart (NotYetInForce)."""
        entries = self._database.entries()
        own = [each for each in entries if self._credentials.is_ours(each)]
        needed = {
            each.fingerprint
            for each in entries
            if not matching.is_root(each.certificate)
            and any(matching.issued_by(one.certificate, each.certificate) for one in own)
        }
        self._trust.trust(authorities, needed)

    def load_crls(self, crls: Sequence[x509.CertificateRevocationList]) -> None:
        """As the port says. Counts at once where `crlcheckinterval` is set, else within 60 s (NotYetInForce)."""
        self._trust.load(crls)

    # credentials

    def stage(self, credential: Credential) -> None:
        """Put it into the database beside what is in use."""
        matching.require_match(credential)
        self._credentials.stage(credential)

    def check(self, credential: Credential) -> None:
        """Have the database sign with its key."""
        self._credentials.check(credential)

    def apply(self, credential: Credential, old: CredentialName | None) -> None:
        """Put it under the nickname and have pluto look."""
        self._credentials.apply(credential)

    def prove(self, credential: Credential, connections: Sequence[str], *, seconds: float) -> Proof:
        """LOADED, when the certificate stands under the nickname and no connection signs with another of ours."""
        current = self._credentials.current()
        if current is None or current.fingerprint != credential.fingerprint:
            raise DaemonRefused("Another certificate stands under the nickname.")
        self._credentials.tell(credential.certificate)
        return Proof.LOADED

    def undo(self, credential: Credential, old: CredentialName | None) -> None:
        """Put the old one back under the nickname, and take the new one out."""
        self._credentials.undo(credential, old)

    def retire(self, old: CredentialName) -> None:
        """Take certificate and key out of the database."""
        self._credentials.retire(old)

    # connections and SAs

    def connect(self, connections: Sequence[Connection]) -> None:
        """Write our file of connections, and have pluto load what changed."""
        entries = self._database.entries()
        authorities = {each.fingerprint: each.certificate for each in entries if _is_ca(each)}
        current = self._credentials.current()
        own = current.certificate if current is not None else None
        self._managed.make(connections, authorities, own)

    def sas(self) -> tuple[IkeSa, ...]:
        """List the IKE SAs; pluto tells no IKE SPIs and no certificates."""
        return associations.listed(self._whack, self._managed.recorded())

    def cut(self, peer: RevokedPeer) -> tuple[Cut, ...]:
        """End the SAs with a peer of these identities."""
        return associations.cut(self._whack, self._managed.recorded(), peer)

    def reauthenticate(self, connection: str, *, gap: bool = True) -> int:
        """End the SAs of a connection that have a CHILD SA and start them anew: never without a gap."""
        if not gap:
            return 0
        return associations.restart(self._whack, self._managed.recorded(), connection)

    def initiate(self, connection: str) -> bool:
        """Start what pluto has of the connection; not one for any peer, which has no address to be started with."""
        return associations.initiate(self._whack, self._managed.recorded(), connection)

    # shared secrets

    def abilities(self) -> Abilities:
        """One PSK for a pair of identities, which proves and is accepted; PPKs by name, several at once."""
        return Abilities(overlap=False, ppk=True, gapless=False)

    def share(self, slots: Sequence[SharedSlot]) -> None:
        """Write our file of secrets, and have pluto read its files again."""
        self._shared.share(slots)

    def shared(self, slots: Sequence[SharedSlot]) -> Shared:
        """Compare our file, what pluto lists, and what else ipsec.secrets leads to."""
        return self._shared.shared(slots)

    def watch(self, stop: Callable[[], bool]) -> Iterator[DaemonEvent]:
        """Look several times a second; see `associations.watch` for what is taken for an authentication."""
        return associations.watch(self._whack, self._managed.recorded, stop)

    def _status(self) -> Status:
        return associations.look(self._whack)


def _is_ca(entry: Entry) -> bool:
    try:
        constraints = entry.certificate.extensions.get_extension_for_oid(
            ExtensionOID.BASIC_CONSTRAINTS
        ).value
    except (x509.ExtensionNotFound, *matching.MALFORMED):
        return False
    return isinstance(constraints, x509.BasicConstraints) and constraints.ca
