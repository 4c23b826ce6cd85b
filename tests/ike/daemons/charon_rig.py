"""A live pair of charons for the contract: `gw-a` is fed by the adapter alone, `gw-b` by the lab."""

import contextlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from cryptography import x509

from ike.daemons.port import Daemon, fingerprint
from ike.daemons.strongswan import StrongSwan
from ike.daemons.strongswan.session import Endpoint
from tests.ike.daemons.contract import OWN, PEER, Pki, pem
from tests.lab import Gateway, Lab, LabError
from tests.lab.handmade import Authority, Leaf

TUNNEL = "tunnel"


def now() -> datetime:
    return datetime.now(UTC)


def adapter(gateway: Gateway, **settings: Any) -> StrongSwan:
    """The adapter of a gateway of the lab."""
    values: dict[str, Any] = {"make_before_break": True, **settings}
    return StrongSwan(now=now, socket=gateway.vici_socket, swanctl=gateway.swanctl_folder, **values)


class CharonRig:
    """See `contract.Rig`."""

    reauthenticates = has_children = True

    def __init__(self, lab: Lab, *, settings: Mapping[str, Any] | None = None) -> None:
        self.lab = lab
        self.pki = Pki()
        charon = {"make_before_break": "yes", **(settings or {})}
        self.gateway = lab.gateway("gw-a", settings=charon)
        self.peer = lab.gateway("gw-b", settings=charon)
        self.daemon: Daemon = adapter(self.gateway)
        self._peer_leaf = self._install_peer()
        add_tunnel(self.gateway, self.peer, OWN, PEER)
        add_tunnel(self.peer, self.gateway, PEER, OWN)
        self.gateway.load_all()
        self.peer.load_all()

    @property
    def peer_certificate(self) -> x509.Certificate:
        return self._peer_leaf.certificate

    def bring_up(self) -> str:
        self._forget()
        self.gateway.initiate(TUNNEL)
        self.peer.wait_until(TUNNEL, up=True)
        return TUNNEL

    def peer_saw(self) -> str:
        # Flushed each time, so what is there was shown since.
        (shown,) = self.seen_by_peer()
        self.peer.flush_certs("x509")
        return shown

    def seen_by_peer(self) -> list[str]:
        """What the peer's cache holds of us."""
        return in_cache(self.peer, OWN)

    def renew_peer(self) -> x509.Certificate:
        self._peer_leaf = self._install_peer()
        return self.peer_certificate

    def peer_is_refused(self) -> bool:
        self._forget()
        try:
            self.gateway.initiate(TUNNEL)
        except LabError:
            return True
        return False

    def restart(self) -> None:
        self.gateway.stop()
        self.gateway.start()
        self.gateway.load_all()

    def wipe(self) -> None:
        with self.gateway.session() as session:
            session.clear_creds()

    def add_foreign_connection(self, name: str) -> None:
        with self.gateway.session() as session:
            session.load_conn({name: {"version": "2", "remote_addrs": ["192.0.2.77"]}})

    def add_foreign_authority(self) -> x509.Certificate:
        made = Authority("Foreign Root").certificate
        (self.gateway.swanctl_folder / "x509ca" / "foreign.pem").write_bytes(pem(made))
        self.gateway.load_credentials()
        return made

    def _install_peer(self) -> Leaf:
        leaf = self.pki.leaf(PEER)
        self.peer.install(leaf.key_pem, leaf.pem, self.pki.issuing.chain)
        return leaf

    def _forget(self) -> None:
        """End what is left of earlier tunnels, on both ends."""
        for gateway in (self.gateway, self.peer):
            with contextlib.suppress(LabError):
                gateway.terminate(TUNNEL, force=True)
            gateway.wait_until(TUNNEL, up=False)
        self.peer.flush_certs("x509")


def add_tunnel(
    here: Gateway,
    there: Gateway,
    own: str,
    peer: str,
    *,
    name: str = TUNNEL,
    unique: str = "no",
    local: Mapping[str, Any] | None = None,
) -> None:
    """An operator's connection in a gateway's own files."""
    section = {
        "version": 2,
        "local_addrs": here.outside,
        "remote_addrs": there.outside,
        "send_cert": "always",
        "unique": unique,
        "local": {"auth": "pubkey", "id": own, **(local or {})},
        "remote": {"auth": "pubkey", "id": peer, "revocation": "relaxed"},
        "children": {
            name: {"local_ts": here.inside.network, "remote_ts": there.inside.network},
        },
    }
    here.add_connection(name, section)


def in_cache(gateway: Gateway, subject: str) -> list[str]:
    """Fingerprints of the end-entity certificates of a name that a charon holds without their key."""
    with Endpoint(gateway.vici_socket).session() as session:
        listed = session.stream("list-certs", "list-cert", {"type": "X509", "subject": subject})
    return [
        fingerprint(x509.load_der_x509_certificate(each["data"]))
        for each in listed
        if each.get("has_privkey") != "yes"
    ]
