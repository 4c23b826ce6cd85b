"""A live pluto for the contract: `gw-a` is fed by the adapter alone; its peer `gw-b`, a charon, by the lab.

Where the kernel has no ESP the IKE SAs have no children.
"""

import contextlib
from collections.abc import Mapping
from datetime import UTC, datetime

from cryptography import x509

from ike.daemons.libreswan import Libreswan, Places
from ike.daemons.port import Daemon, fingerprint
from tests.ike.daemons.contract import OWN, PEER, Pki
from tests.lab import Gateway, Lab, LabError, Pluto
from tests.lab.handmade import Authority, Leaf

TUNNEL = "tunnel"
NICKNAME = "ikewarden"
# So that lists count at once (docs/how-to/libreswan.md).
SETUP = {"crlcheckinterval": "1h"}


def now() -> datetime:
    return datetime.now(UTC)


def places(gateway: Pluto) -> Places:
    """Where the programs and files of a pluto of the lab are."""
    return Places(
        certutil=str(gateway.programs / "certutil"),
        pk12util=str(gateway.programs / "pk12util"),
        crlutil=str(gateway.programs / "crlutil"),
        whack=str(gateway.programs / "whack"),
        addconn=str(gateway.programs / "addconn"),
        nss=gateway.nss,
        control=gateway.control,
        configuration=gateway.configuration,
        connections=gateway.connections,
        state=gateway.connections / "ikewarden",
    )


def adapter(gateway: Pluto) -> Libreswan:
    """The adapter of a pluto of the lab."""
    return Libreswan(now=now, nickname=NICKNAME, places=places(gateway))


class PlutoRig:
    """See `contract.Rig`."""

    reauthenticates = False

    def __init__(
        self, lab: Lab, *, setup: Mapping[str, object] | None = None, pki: Pki | None = None
    ) -> None:
        self.lab = lab
        self.pki = pki or Pki()
        self.has_children = lab.kernel_esp
        self.gateway = lab.pluto("gw-a", setup={**SETUP, **(setup or {})})
        self.peer = lab.gateway("gw-b")
        self.daemon: Daemon = adapter(self.gateway)
        self._peer_leaf = self._install_peer()
        self.gateway.add_connection_file(TUNNEL, self.own_end())
        self.peer.add_connection(TUNNEL, self._peer_end())
        self.peer.load_all()
        self._calm()

    @property
    def peer_certificate(self) -> x509.Certificate:
        return self._peer_leaf.certificate

    def bring_up(self) -> str:
        self._forget()
        self.gateway.load(TUNNEL)
        self.gateway.initiate(TUNNEL)
        self.peer.wait_until(TUNNEL, up=True)
        return TUNNEL

    def peer_saw(self) -> str:
        # Flushed each time, so what is there was shown since.
        (shown,) = seen_by(self.peer, OWN)
        self.peer.flush_certs("x509")
        return shown

    def renew_peer(self) -> x509.Certificate:
        self._peer_leaf = self._install_peer()
        return self.peer_certificate

    def peer_is_refused(self) -> bool:
        """Whoever begins."""
        self._forget()
        with contextlib.suppress(LabError):
            self.gateway.load(TUNNEL)
            self.gateway.initiate(TUNNEL)
            return False
        self._forget()  # refused by an initiator without a word, the peer believes that the SA is up
        mark = self.gateway.log.mark()
        self.peer.swanctl("--initiate", "--ike", TUNNEL, "--timeout", "5", check=False)
        self.gateway.log.wait_for("AUTHENTICATION_FAILED", since=mark)
        return self.gateway.established(TUNNEL) is None

    def restart(self) -> None:
        self.gateway.stop()
        self.gateway.start()
        self.gateway.load_automatic()
        self._calm()

    def wipe(self) -> None:
        raise NotImplementedError

    def add_foreign_connection(self, name: str) -> None:
        self.gateway.add_connection(
            name,
            {
                "left": self.gateway.outside,
                "right": "192.0.2.77",
                "authby": "secret",
                "ikev2": "insist",
                "auto": "add",
            },
        )

    def add_foreign_authority(self) -> x509.Certificate:
        made = Authority("Foreign Root").certificate
        self.gateway.trust(made)
        return made

    def _calm(self) -> None:
        if not self.has_children:
            self.gateway.childless()

    def _install_peer(self) -> Leaf:
        leaf = self.pki.leaf(PEER)
        self.peer.install(leaf.key_pem, leaf.pem, self.pki.issuing.chain)
        return leaf

    def _forget(self) -> None:
        """End what is left of earlier tunnels, on both ends."""
        self.gateway.terminate(TUNNEL)
        with contextlib.suppress(LabError):
            self.peer.terminate(TUNNEL, force=True)
        self.gateway.wait_until(TUNNEL, up=False)
        self.peer.wait_until(TUNNEL, up=False)
        self.peer.flush_certs("x509")

    def own_end(self) -> Mapping[str, object]:
        return {
            "left": self.gateway.outside,
            "right": self.peer.outside,
            "leftid": f"@{OWN}",
            "rightid": f"@{PEER}",
            "leftcert": NICKNAME,
            "sendca": "all",
            "leftsubnet": self.gateway.inside.network,
            "rightsubnet": self.peer.inside.network,
            "authby": "ecdsa",
            "ikev2": "insist",
            "auto": "add",
        }

    def _peer_end(self) -> Mapping[str, object]:
        return {
            "version": 2,
            "local_addrs": self.peer.outside,
            "remote_addrs": self.gateway.outside,
            "send_cert": "always",
            "local": {"auth": "pubkey", "id": PEER},
            "remote": {"auth": "pubkey", "id": OWN, "revocation": "relaxed"},
            "children": {
                TUNNEL: {
                    "local_ts": self.peer.inside.network,
                    "remote_ts": self.gateway.inside.network,
                }
            },
        }


def seen_by(gateway: Gateway, subject: str) -> list[str]:
    """Fingerprints of the end-entity certificates of a name that a charon holds without their key."""
    with gateway.session() as session:
        listed = list(session.list_certs({"type": "X509", "subject": f"CN={subject}"}))
    return [
        fingerprint(x509.load_der_x509_certificate(each["data"]))
        for each in listed
        if each.get("has_privkey") != b"yes"
    ]
