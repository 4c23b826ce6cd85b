"""The strongSwan adapter: `ike.daemons.port.Daemon` over charon's VICI socket and swanctl's files."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

from cryptography import x509

from ike.daemons.port import (
    Abilities,
    Connection,
    Credential,
    CredentialName,
    Cut,
    DaemonEvent,
    DaemonInfo,
    IkeSa,
    Inventory,
    Proof,
    RevokedPeer,
    Shared,
    SharedSlot,
)
from ike.daemons.strongswan import listing, names
from ike.daemons.strongswan.beside import Beside
from ike.daemons.strongswan.files import SWANCTL, SwanctlFiles
from ike.daemons.strongswan.managed import ManagedConnections
from ike.daemons.strongswan.proving import Proving
from ike.daemons.strongswan.renewing import Renewing
from ike.daemons.strongswan.revoking import Cutting, RevocationLists
from ike.daemons.strongswan.sas import listed_sas
from ike.daemons.strongswan.session import SOCKET, Endpoint, Session
from ike.daemons.strongswan.sharing import Sharing
from ike.daemons.strongswan.sightings import Sightings
from ike.daemons.strongswan.swapping import Swapping
from ike.daemons.strongswan.trusting import Trusting
from ike.daemons.strongswan.watching import Watching


class StrongSwan:
    """charon 5.9.8 or later. May be used by several threads, one of which may be in `watch`.

    `now` tells the time. `swanctl` is the folder that swanctl reads. `sightings` is where the record of which
    certificate authenticated which SA is kept; it should outlive the agent, not the machine's next start.
    `make_before_break` is charon's setting of that name (None: the default of its version); without it `prove` does
    not reauthenticate. `seconds` is how long charon may take for one command.
    """

    def __init__(
        self,
        *,
        now: Callable[[], datetime],
        socket: Path = SOCKET,
        swanctl: Path = SWANCTL,
        sightings: Path | None = None,
        make_before_break: bool | None = None,
        seconds: float = 10.0,
    ) -> None:
        self._now = now
        self._endpoint = Endpoint(socket, seconds)
        self._files = SwanctlFiles(swanctl)
        record = sightings or self._files.own / "sightings.json"
        self._sightings = Sightings(record, self._files)
        self._swapping = Swapping(self._endpoint, self._files, self._flush)
        self._trusting = Trusting(self._endpoint, self._files)
        self._lists = RevocationLists(self._endpoint, self._files, self._trusting)
        self._cutting = Cutting(self._endpoint, self._sightings, now)
        self._sharing = Sharing(self._endpoint, self._files)
        self._managed = ManagedConnections(self._endpoint, self._files, self._sharing.ppk_ids)
        self._proving = Proving(
            self._endpoint,
            make_before_break=make_before_break,
            is_widened=self._managed.is_widened,
            now=now,
        )
        self._beside = Beside(self._endpoint, section=self._managed.section, now=now)
        self._renewing = Renewing(
            self._endpoint,
            prove_beside=self._beside.start,
            is_gapless=self._proving.is_gapless,
            may_differ=lambda name: (
                bool(self._sharing.ppk_ids(name)) or self._managed.is_widened(name)
            ),
            now=now,
        )
        self._watching = Watching(
            self._endpoint,
            self._files,
            self._sightings,
            secrets=self._sharing.ids,
            sweep=self._beside.sweep,
            incarnation=lambda: self.describe().incarnation,
            flush=self._flush,
            now=now,
        )

    def describe(self) -> DaemonInfo:
        """See the port. What charon tells of its start is computed anew each time, and wavers by a second."""
        with self._endpoint.session() as session:
            version = session.ask("version").get("version")
            if not version:
                raise session.not_vici()
            return DaemonInfo("strongswan", version, session.incarnation())

    def inventory(self) -> Inventory:
        """See the port."""
        with self._endpoint.session() as session:
            certificates = listing.loaded_certificates(listing.certificates(session))
            lists = [listing.loaded_crl(each) for each in listing.crls(session)]
            lists += [each for each in self._lists.files() if each not in lists]
            connections = session.ask("get-conns").get("conns", [])
            keys = listing.keys(session)
        ours = {names.connection_of(each) for each in connections if not names.is_proof(each)}
        return Inventory(certificates, keys, tuple(lists), tuple(sorted(ours)))

    def trust(self, authorities: Sequence[x509.Certificate]) -> None:
        """See the port."""
        self._trusting.trust(authorities)

    def stage(self, credential: Credential) -> None:
        """See the port. An authentication that begins before `apply` may use it already."""
        self._swapping.stage(credential)

    def check(self, credential: Credential) -> None:
        """See the port."""
        self._swapping.check(credential)

    def apply(self, credential: Credential, old: CredentialName | None) -> None:
        """See the port."""
        self._swapping.apply(credential, old)

    def prove(self, credential: Credential, connections: Sequence[str], *, seconds: float) -> Proof:
        """See the port."""
        return self._proving.prove(credential, connections, seconds=seconds)

    def undo(self, credential: Credential, old: CredentialName | None) -> None:
        """See the port. Of two certificates for one key charon goes on with the newer one until its next start."""
        self._swapping.undo(credential, old)

    def retire(self, old: CredentialName) -> None:
        """See the port. charon cannot unload a certificate; without its key it is passed over."""
        self._swapping.retire(old)

    def load_crls(self, crls: Sequence[x509.CertificateRevocationList]) -> None:
        """See the port. Raises DaemonRefused for a list that no trusted CA signed; the others are loaded."""
        self._lists.load(crls)

    def connect(self, connections: Sequence[Connection]) -> None:
        """See the port."""
        self._beside.sweep()
        self._managed.connect(connections)

    def sas(self) -> tuple[IkeSa, ...]:
        """See the port."""
        with self._endpoint.session() as session:
            found = listed_sas(session, self._now())
            self._sightings.keep_only(found)
            listed = listing.certificates(session)
        return tuple(self._sightings.told(sa, listed) for sa in found)

    def cut(self, peer: RevokedPeer) -> tuple[Cut, ...]:
        """See the port."""
        return self._cutting.cut(peer)

    def reauthenticate(self, connection: str, *, gap: bool = True) -> int:
        """See the port. A managed connection (IKEv2) is authenticated beside its SAs unless `gap`, also while it has
        none. With `gap`, and another PPK than its SAs have, it waits until that has shown itself.
        """
        return self._renewing.reauthenticate(connection, gap=gap)

    def initiate(self, connection: str) -> bool:
        """See the port."""
        return self._renewing.initiate(connection)

    def abilities(self) -> Abilities:
        """See the port."""
        return self._proving.abilities()

    def share(self, slots: Sequence[SharedSlot]) -> None:
        """See the port. PPK_IDs are put into managed connections by the next `connect`."""
        self._beside.sweep()
        self._sharing.share(slots)

    def shared(self, slots: Sequence[SharedSlot]) -> Shared:
        """See the port. Of what others gave charon it sees what stands in swanctl's files."""
        return self._sharing.shared(slots)

    def watch(self, stop: Callable[[], bool]) -> Iterator[DaemonEvent]:
        """See the port."""
        return self._watching.watch(stop)

    def _flush(self, session: Session) -> None:
        session.ask("flush-certs", {"type": "X509"})
        self._sightings.flushed(listed_sas(session, self._now()))
