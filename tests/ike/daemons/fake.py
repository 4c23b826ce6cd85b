"""An IKE daemon in memory, for tests of whatever stands on the port; it obeys the contract (contract.py beside it).

What it holds is open to look at (`certificates`, `keys`, `in_use()`, `calls`). What can go wrong is switched on by an
attribute, for as long as the test likes:

    daemon.refuse_key = True          stage: DaemonRefused, nothing loaded
    daemon.refuse_check = True        check: DaemonRefused
    daemon.refuse_proof = True        prove: DaemonRefused, as a peer would that rejects the new certificate
    daemon.unreachable = True         every method: DaemonUnreachable; the watch says LOST
    daemon.disk_full = True           whatever writes files: DaemonFilesUnwritable
    daemon.slow = 0.5                 every method takes that many seconds
    daemon.fail_next("apply")         the next call of one method: DaemonUnreachable before it did anything
    daemon.break_off("apply")         the next call of one method: DaemonUnreachable after it did everything
    daemon.restart()                  forgets what was only loaded, reads its files; the watch says RESTARTED
    daemon.restart(reads_files=False) a daemon that nobody told to read its files
    daemon.refuse_slot = "x.psk"      share: DaemonRefused for the slot of that name, the others are done
    daemon.wipe()                     forgets keys, as `swanctl --load-creds` or --clear does; the watch says RESTARTED

Tunnels come and go by `daemon.establish(...)`, `authenticate(...)`, `rekey(sa_id)` and `lose(sa_id)`. The
peer of a connection by shared secret is `daemon.peer_keys`: the values that it has, by kind, the first of which it
proves itself by. Secrets of others are put in by `daemon.foreign_secrets`.
"""

import queue
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from cryptography import x509

from core.errors import IkewardenError
from ike.daemons import matching
from ike.daemons.connections import is_identity, require_valid
from ike.daemons.port import (
    Abilities,
    ChildSa,
    Connection,
    ConnectionForeign,
    ConnectionInvalid,
    Credential,
    CredentialName,
    Cut,
    DaemonEvent,
    DaemonFilesUnwritable,
    DaemonInfo,
    DaemonRefused,
    DaemonUnreachable,
    EventKind,
    ForeignSecret,
    IkeSa,
    Inventory,
    LoadedCertificate,
    LoadedCrl,
    LoadedSlot,
    Proof,
    RevokedPeer,
    Shared,
    SharedKey,
    SharedSlot,
    fingerprint,
)

Certificates = dict[str, x509.Certificate]


@dataclass(frozen=True)
class Foreign:
    """A shared secret that somebody else gave the daemon; `peer` is an identity as in Connection."""

    where: str
    peer: str
    value: bytes
    kind: str = "psk"
    shadows: bool = False


@dataclass
class Store:
    """What a daemon has loaded, or what its files hold. The certificate that came last is used first."""

    certificates: Certificates = field(default_factory=dict)
    keys: set[str] = field(default_factory=set)
    authorities: Certificates = field(default_factory=dict)
    crls: dict[x509.Name, x509.CertificateRevocationList] = field(default_factory=dict)
    connections: dict[str, Connection] = field(default_factory=dict)
    slots: dict[str, SharedSlot] = field(default_factory=dict)

    def copy(self) -> "Store":
        return Store(
            dict(self.certificates),
            set(self.keys),
            dict(self.authorities),
            dict(self.crls),
            dict(self.connections),
            dict(self.slots),
        )


class FakeDaemon:
    """Implements `ike.daemons.port.Daemon`; see the module."""

    def __init__(
        self,
        *,
        kind: str = "strongswan",
        reauthenticates: bool = True,
        beside: bool = False,
        overlaps: bool = True,
        has_ppk: bool = True,
    ) -> None:
        self.kind = kind
        self.reauthenticates = reauthenticates
        self.beside = beside
        self.overlaps = overlaps
        self.has_ppk = has_ppk
        self.refuse_slot = ""
        self.peer_keys: dict[str, list[SharedKey]] = {}
        self.foreign_secrets: list[Foreign] = []
        self.refuse_key = False
        self.refuse_check = False
        self.refuse_proof = False
        self.unreachable = False
        self.disk_full = False
        self.slow = 0.0
        self.calls: list[str] = []
        self.loaded = Store()
        self.files = Store()
        self.current: str | None = None  # set by apply: wins over what came last
        self.foreign_connections: set[str] = set()
        self.foreign_authorities: Certificates = {}
        self.peer_saw: str | None = None  # the certificate shown in the last authentication
        self._next: dict[str, str] = {}
        self._sas: dict[str, IkeSa] = {}
        self._number = 0
        self._incarnation = 1
        self._events: list[queue.SimpleQueue[DaemonEvent]] = []
        self._lock = threading.RLock()

    # switches

    def fail_next(self, method: str) -> None:
        """Have the next call of a method fail before it does anything."""
        self._next[method] = "before"

    def break_off(self, method: str) -> None:
        """Have the next call of a method do its work and then not answer."""
        self._next[method] = "after"

    def restart(self, *, reads_files: bool = True) -> None:
        """Start anew: SAs are gone, what was loaded is what the files hold."""
        with self._lock:
            self._incarnation += 1
            self._sas.clear()
            self.loaded = self.files.copy() if reads_files else Store()
            if not reads_files:
                self.current = None
            self._tell(DaemonEvent(EventKind.RESTARTED))

    def wipe(self) -> None:
        """Forget the keys and shared secrets; everything else stays."""
        with self._lock:
            self.loaded.keys.clear()
            self.loaded.slots.clear()
            self._tell(DaemonEvent(EventKind.RESTARTED))

    def establish(
        self,
        connection: str,
        remote_id: str,
        certificate: x509.Certificate | None = None,
        *,
        established: bool = True,
        children: int = 1,
    ) -> IkeSa:
        """Bring up an IKE_SA; `certificate` is the peer's, None when nobody saw it. `remote_id` as the daemon writes
        it: without `dns:`.
        """
        with self._lock:
            self._number += 1
            self.peer_saw = self.in_use()
            sa = IkeSa(
                id=str(self._number),
                connection=connection,
                state="ESTABLISHED" if established else "CONNECTING",
                version=2,
                local_address="192.0.2.1",
                remote_address="192.0.2.2",
                local_id="gw-a.example",
                remote_id=remote_id,
                established=established,
                initiator=True,
                spi_initiator=secrets.token_hex(8),
                spi_responder=secrets.token_hex(8),
                local_certificate=self.in_use(),
                remote_certificate=fingerprint(certificate) if certificate else None,
                children=tuple(
                    ChildSa(
                        f"{connection}-{n}", "INSTALLED", secrets.token_hex(4), secrets.token_hex(4)
                    )
                    for n in range(children)
                ),
            )
            self._sas[sa.id] = sa
            self._tell(DaemonEvent(EventKind.UP, sa))
            return sa

    def rekey(self, sa_id: str) -> None:
        """Give an IKE_SA new SPIs, with nobody authenticated."""
        with self._lock:
            spis = {"spi_initiator": secrets.token_hex(8), "spi_responder": secrets.token_hex(8)}
            self._sas[sa_id] = replace(self._sas[sa_id], **spis)  # type: ignore[arg-type]
            self._tell(DaemonEvent(EventKind.CHANGED, self._sas[sa_id]))

    def authenticate(self, connection: str) -> IkeSa | None:
        """Bring up a connection by shared secret with the peer of `peer_keys`; None where one end refused."""
        with self._lock:
            peer = self._agreed(connection)
            return None if peer is None else self.establish(connection, peer)

    def lose(self, sa_id: str) -> None:
        """End an IKE_SA from the other side."""
        with self._lock:
            self._tell(DaemonEvent(EventKind.DOWN, self._sas.pop(sa_id)))

    # to look at

    @property
    def certificates(self) -> list[str]:
        """Fingerprints of what is loaded, without CAs."""
        return list(self.loaded.certificates)

    @property
    def keys(self) -> set[str]:
        """Ids of the keys that are loaded."""
        return set(self.loaded.keys)

    def in_use(self) -> str | None:
        """The certificate that the next authentication would show."""
        usable = [
            print_
            for print_, certificate in self.loaded.certificates.items()
            if matching.key_id(certificate.public_key()) in self.loaded.keys
        ]
        if self.current in usable:
            return self.current
        return usable[0] if usable else None

    # the port

    def describe(self) -> DaemonInfo:
        with self._call("describe"):
            return DaemonInfo(self.kind, "5.9.8", str(self._incarnation))

    def inventory(self) -> Inventory:
        with self._call("inventory"):
            loaded = self.loaded
            own = tuple(
                LoadedCertificate(
                    print_,
                    each.subject.rfc4514_string(),
                    authority=False,
                    has_key=matching.key_id(each.public_key()) in loaded.keys,
                    in_use=print_ == self.in_use(),
                )
                for print_, each in loaded.certificates.items()
            )
            authorities = {**self.foreign_authorities, **loaded.authorities}
            anchors = tuple(
                LoadedCertificate(print_, each.subject.rfc4514_string(), True, False)
                for print_, each in authorities.items()
            )
            crls = tuple(
                LoadedCrl(name.rfc4514_string(), _number(crl)) for name, crl in loaded.crls.items()
            )
            names = tuple(sorted({*loaded.connections, *self.foreign_connections}))
            return Inventory(own + anchors, tuple(sorted(loaded.keys)), crls, names)

    def trust(self, authorities: Sequence[x509.Certificate]) -> None:
        with self._call("trust", writes=True):
            self.loaded.authorities = {fingerprint(each): each for each in authorities}
            self.files.authorities = dict(self.loaded.authorities)

    def stage(self, credential: Credential) -> None:
        with self._call("stage"):
            matching.require_match(credential)
            if self.refuse_key:
                raise DaemonRefused("The daemon refused the key: parsing ANY private key failed.")
            self._require_room()
            for store in (self.loaded, self.files):
                store.keys.add(matching.key_id(credential.certificate.public_key()))
            self.loaded.certificates.setdefault(credential.fingerprint, credential.certificate)

    def check(self, credential: Credential) -> None:
        with self._call("check"):
            if self.refuse_check or not self._usable(credential):
                raise DaemonRefused("The daemon does not list the certificate with its key.")

    def apply(self, credential: Credential, old: CredentialName | None) -> None:
        with self._call("apply", writes=True):
            if not self._usable(credential):
                raise DaemonRefused("The daemon does not list the certificate with its key.")
            self.files.certificates[credential.fingerprint] = credential.certificate
            if old is not None and old.fingerprint != credential.fingerprint:
                self.files.certificates.pop(old.fingerprint, None)
            self.current = credential.fingerprint

    def prove(self, credential: Credential, connections: Sequence[str], *, seconds: float) -> Proof:
        with self._call("prove"):
            if self.in_use() != credential.fingerprint:
                raise DaemonRefused("Another certificate goes before this one.")
            again = [sa for sa in self._sas.values() if sa.connection in connections]
            again = [sa for sa in again if sa.established and sa.children]
            if not self.reauthenticates or not again:
                return Proof.LOADED
            if self.refuse_proof:
                raise DaemonRefused(
                    "A peer refused the certificate: received AUTHENTICATION_FAILED."
                )
            for sa in again:
                self._reauthenticate(sa)
            return Proof.AUTHENTICATED

    def undo(self, credential: Credential, old: CredentialName | None) -> None:
        with self._call("undo"):
            # Nothing is written anew: the old one's files were moved aside, not deleted.
            same_key = old is not None and _same_key(credential.certificate, old.certificate)
            same = old is not None and old.fingerprint == credential.fingerprint
            if old is not None and credential.fingerprint in self.files.certificates:
                if matching.key_id(old.certificate.public_key()) not in self.files.keys:
                    raise DaemonRefused("The former certificate's key is gone.")
            if old is not None:
                self.files.certificates[old.fingerprint] = old.certificate
                self.loaded.certificates.setdefault(old.fingerprint, old.certificate)
                old_key = matching.key_id(old.certificate.public_key())
                if old_key in self.files.keys:
                    self.loaded.keys.add(old_key)
                self.current = old.fingerprint
            if not same:
                self._take_out(credential.certificate, keep_key=same_key)

    def retire(self, old: CredentialName) -> None:
        with self._call("retire"):
            others = [
                each
                for print_, each in self.files.certificates.items()
                if print_ != old.fingerprint
            ]
            keep = any(_same_key(old.certificate, each) for each in others)
            self._take_out(old.certificate, keep_key=keep)

    def load_crls(self, crls: Sequence[x509.CertificateRevocationList]) -> None:
        with self._call("load_crls", writes=True):
            for crl in crls:
                had = self.loaded.crls.get(crl.issuer)
                if had is None or (_number(had) or 0) <= (_number(crl) or 0):
                    self.loaded.crls[crl.issuer] = self.files.crls[crl.issuer] = crl

    def connect(self, connections: Sequence[Connection]) -> None:
        with self._call("connect", writes=True):
            wanted: dict[str, Connection] = {}
            refused: list[IkewardenError] = []
            for each in connections:
                try:
                    require_valid(each, self.loaded.authorities)
                    self._require_ours(each.name)
                except (ConnectionForeign, ConnectionInvalid) as refusal:
                    refused.append(refusal)
                else:
                    wanted[each.name] = each
            for name, had in list(self.loaded.connections.items()):
                if wanted.get(name) != had:
                    for sa in [sa for sa in self._sas.values() if sa.connection == name]:
                        self.lose(sa.id)
            self.loaded.connections = dict(wanted)
            self.files.connections = dict(wanted)
            if refused:
                raise refused[0]

    def sas(self) -> tuple[IkeSa, ...]:
        with self._call("sas"):
            return tuple(self._sas.values())

    def cut(self, peer: RevokedPeer) -> tuple[Cut, ...]:
        with self._call("cut"):
            cuts = []
            names = {each.partition(":")[2].lower() for each in peer.identities}
            for sa in list(self._sas.values()):
                seen = sa.remote_certificate
                if seen == peer.fingerprint:
                    matched = "certificate"
                elif seen is None and sa.remote_id.lower() in names:
                    matched = "identity"
                else:
                    continue
                self.lose(sa.id)
                cuts.append(Cut(sa, matched))
            return tuple(cuts)

    def reauthenticate(self, connection: str, *, gap: bool = True) -> int:
        with self._call("reauthenticate"):
            managed = self.loaded.connections.get(connection)
            if self.beside and not gap and managed is not None and managed.ike_version == 2:
                self._prove_beside(connection)
                return 1
            again = [sa for sa in self._sas.values() if sa.connection == connection]
            again = [sa for sa in again if sa.established and sa.children]
            if not gap and not self.reauthenticates:
                return 0
            for sa in again:
                if self._is_by_secret(connection) and self._agreed(connection) is None:
                    if not self.reauthenticates:
                        self.lose(sa.id)
                else:
                    self._reauthenticate(sa)
            return len(again)

    def initiate(self, connection: str) -> bool:
        with self._call("initiate"):
            up = any(sa.connection == connection for sa in self._sas.values())
            if up or not (self._is_by_secret(connection) or connection in self._known()):
                return False
            if self._is_by_secret(connection):
                self.authenticate(connection)
            else:
                managed = self.loaded.connections.get(connection)
                peer = managed.remote_id.partition(":")[2] if managed else "peer.example"
                self.establish(connection, peer)
            return True

    def abilities(self) -> Abilities:
        with self._call("abilities"):
            return Abilities(self.overlaps, self.has_ppk, self.reauthenticates, self.beside)

    def share(self, slots: Sequence[SharedSlot]) -> None:
        with self._call("share", writes=True):
            wanted: dict[str, SharedSlot] = {}
            refused: list[DaemonRefused] = []
            for slot in slots:
                if self._is_refused(slot):
                    refused.append(DaemonRefused(f"Shared secret {slot.name}: it is refused."))
                    if slot.name in self.loaded.slots:
                        wanted[slot.name] = self.loaded.slots[slot.name]
                elif slot.keys:
                    several = self.overlaps and slot.ike_version == 2
                    wanted[slot.name] = slot if several else replace(slot, keys=slot.keys[:1])
            self.loaded.slots = wanted
            self.files.slots = dict(wanted)
            if refused:
                raise refused[0]

    def shared(self, slots: Sequence[SharedSlot]) -> Shared:
        with self._call("shared"):
            loaded = tuple(
                LoadedSlot(name, tuple(each.version for each in slot.keys))
                for name, slot in sorted(self.loaded.slots.items())
            )
            foreign = tuple(
                ForeignSecret(slot.name, each.where, _version_of(slot, each.value), each.shadows)
                for slot in slots
                for each in self.foreign_secrets
                if (each.kind, each.peer) == (slot.kind, slot.remote_id)
            )
            return Shared(loaded, foreign)

    def watch(self, stop: Callable[[], bool]) -> Iterator[DaemonEvent]:
        events: queue.SimpleQueue[DaemonEvent] = queue.SimpleQueue()
        with self._lock:
            self._events.append(events)
        lost = False
        try:
            while not stop():
                if self.unreachable != lost:
                    lost = self.unreachable
                    yield DaemonEvent(EventKind.LOST if lost else EventKind.RESTARTED)
                try:
                    yield events.get(timeout=0.01)
                except queue.Empty:
                    continue
        finally:
            with self._lock:
                self._events.remove(events)

    # inside

    def _call(self, name: str, *, writes: bool = False) -> "_Call":
        return _Call(self, name, writes)

    def _require_ours(self, name: str) -> None:
        if name in self.foreign_connections:
            raise ConnectionForeign(f"The daemon has a connection '{name}' of its own.")

    def _known(self) -> set[str]:
        return {*self.loaded.connections, *self.foreign_connections}

    def _is_by_secret(self, connection: str) -> bool:
        return any(slot.connection == connection for slot in self.loaded.slots.values())

    def _is_refused(self, slot: SharedSlot) -> bool:
        return (
            slot.name == self.refuse_slot
            or not is_identity(slot.remote_id)
            or (slot.kind == "ppk" and not self.has_ppk)
            or any(not each.value.reveal() for each in slot.keys)
        )

    def _agreed(self, connection: str) -> str | None:
        """The peer's identity as the daemon prints it, where each end takes the secret that the other proves itself
        by; None where it does not.
        """
        slots = [each for each in self.loaded.slots.values() if each.connection == connection]
        managed = self.loaded.connections.get(connection)
        ppk = [key for slot in slots if slot.kind == "ppk" for key in slot.keys]
        if managed is not None and managed.ppk == "required" and not self._same_ppk(ppk):
            return None
        psk = [slot for slot in slots if slot.kind == "psk"]
        peers = {slot.remote_id for slot in psk} or {each.peer for each in self.foreign_secrets}
        others = [each.value for each in self.foreign_secrets if each.peer in peers]
        ours = [key.value.reveal() for slot in psk for key in slot.keys] + others
        theirs = [each.value.reveal() for each in self.peer_keys.get("psk", [])]
        if ours and theirs and ours[0] in theirs and theirs[0] in ours:
            return peers.pop().partition(":")[2]
        return None

    def _same_ppk(self, ours: Sequence[SharedKey]) -> bool:
        theirs = {each.ppk_id: each.value.reveal() for each in self.peer_keys.get("ppk", [])}
        return bool(ours) and theirs.get(ours[0].ppk_id) == ours[0].value.reveal()

    def _require_room(self) -> None:
        if self.disk_full:
            raise DaemonFilesUnwritable("The daemon's files cannot be written: no space left.")

    def _tell(self, event: DaemonEvent) -> None:
        for listener in self._events:
            listener.put(event)

    def _usable(self, credential: Credential) -> bool:
        key = matching.key_id(credential.certificate.public_key())
        return credential.fingerprint in self.loaded.certificates and key in self.loaded.keys

    def _reauthenticate(self, sa: IkeSa) -> None:
        del self._sas[sa.id]
        self._number += 1
        new = replace(
            sa,
            id=str(self._number),
            local_certificate=self.in_use(),
            spi_initiator=secrets.token_hex(8),
            spi_responder=secrets.token_hex(8),
        )
        self._sas[new.id] = new
        self.peer_saw = self.in_use()
        self._tell(DaemonEvent(EventKind.UP, new))
        self._tell(DaemonEvent(EventKind.DOWN, sa))

    def _prove_beside(self, connection: str) -> None:
        """An IKE_SA without a CHILD_SA, which comes up where the ends agree, and goes at once."""
        if (peer := self._agreed(connection)) is not None:
            made = self.establish(connection, peer, children=0)
            self.lose(made.id)

    def _take_out(self, certificate: x509.Certificate, *, keep_key: bool) -> None:
        for store in (self.loaded, self.files):
            store.certificates.pop(fingerprint(certificate), None)
            if not keep_key:
                store.keys.discard(matching.key_id(certificate.public_key()))
        if self.current == fingerprint(certificate):
            self.current = None


class _Call:
    """One call of the port: counted, slowed down, failed as the switches say; one at a time."""

    def __init__(self, daemon: FakeDaemon, name: str, writes: bool) -> None:
        self._daemon, self._name, self._writes = daemon, name, writes

    def __enter__(self) -> None:
        daemon = self._daemon
        daemon.calls.append(self._name)
        if daemon.slow:
            time.sleep(daemon.slow)
        if daemon.unreachable or daemon._next.get(self._name) == "before":
            daemon._next.pop(self._name, None)
            raise DaemonUnreachable("The daemon does not answer.")
        if self._writes:
            daemon._require_room()
        daemon._lock.acquire()

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        daemon = self._daemon
        daemon._lock.release()
        if kind is None and daemon._next.pop(self._name, ""):
            raise DaemonUnreachable("The daemon broke off in the middle.")


def _version_of(slot: SharedSlot, value: bytes) -> int | None:
    same = [each.version for each in slot.keys if each.value.reveal() == value]
    return same[0] if same else None


def _same_key(one: x509.Certificate, other: x509.Certificate) -> bool:
    return matching.key_id(one.public_key()) == matching.key_id(other.public_key())


def _number(crl: x509.CertificateRevocationList) -> int | None:
    try:
        return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    except x509.ExtensionNotFound:
        return None
