"""A live pluto for the contract of shared secrets; its peer is a charon.

Where the kernel has no ESP the ends do not agree on a CHILD_SA, and keep the IKE SA all the same: what the lab does
elsewhere, to have pluto ask for none, ends a pluto 4.10 that has a PPK.
"""

import contextlib
import time

from ike.daemons.port import SharedKey
from tests.ike.daemons.contract import OWN, PEER
from tests.ike.daemons.pluto_rig import PlutoRig
from tests.ike.daemons.sharedcontract import SHARED
from tests.lab import Lab, LabError, Pluto

INCLUDE = "include {folder}/*.secrets"
# Nothing that pluto offers by itself.
UNWANTED = "aes192-sha1"


def include_folder(gateway: Pluto, *before: str) -> None:
    """What stands in ipsec.secrets as it is packaged, after some lines of the operator's."""
    gateway.write_secrets(*before, INCLUDE.format(folder=gateway.connections))


class SharedPlutoRig(PlutoRig):
    """See `sharedcontract.SharedRig`."""

    overlaps = False
    has_ppk = True

    def __init__(self, lab: Lab) -> None:
        super().__init__(lab, setup={"ikev1-policy": "accept"})
        include_folder(self.gateway)
        self.gateway.whack("--rereadsecrets")
        self.gateway.add_connection(SHARED, self.shared_end())
        self.peer.add_connection(SHARED, self._peer_shared_end())
        self._peer_keys: dict[str, tuple[SharedKey, ...]] = {}

    def shared_end(self) -> dict[str, object]:
        common = {k: v for k, v in self.own_end().items() if k not in ("leftcert", "sendca")}
        return {**common, "authby": "secret"}

    def share_with_peer(self, *keys: SharedKey, kind: str = "psk") -> None:
        gone = self._peer_keys.get(kind, ())
        self._peer_keys[kind] = keys
        with self.peer.session() as session:
            for each in gone:
                session.unload_shared({"id": f"{kind}-{each.version}"})
            # What was loaded last is what it proves itself by.
            for each in reversed(keys):
                session.load_shared(
                    {
                        "id": f"{kind}-{each.version}",
                        "type": "IKE" if kind == "psk" else "ppk",
                        "data": each.value.reveal(),
                        "owners": [OWN if kind == "psk" else each.ppk_id],
                    }
                )

    def bring_up_shared(self, connection: str = SHARED) -> bool:
        self.end_all(connection)
        try:
            self.gateway.initiate(connection)
        except LabError:
            return False
        self.peer.wait_until(SHARED, up=True)
        return True

    def end_all(self, connection: str = SHARED) -> None:
        """End what SAs there are, on both ends."""
        for name in (SHARED, connection):
            self.gateway.terminate(name)
            self.gateway.wait_until(name, up=False)
        with contextlib.suppress(LabError):
            self.peer.terminate(SHARED, force=True)
        self.peer.wait_until(SHARED, up=False)

    def rekey(self, connection: str) -> None:
        before = self.gateway.established(connection)
        self.gateway.whack("--rekey-ike", "--name", connection)
        deadline = time.monotonic() + 60
        while self.gateway.established(connection) in (before, None):
            assert time.monotonic() < deadline, self.gateway.states()
            time.sleep(0.02)

    def add_foreign_secret(self, value: bytes, peer: str = PEER) -> str:
        path = self.gateway.connections / "operator.secrets"
        lines = path.read_text().splitlines() if path.exists() else []
        lines.append(f"@{OWN} @{peer} : PSK 0x{value.hex()}")
        path.touch(mode=0o600)
        path.write_text("".join(f"{line}\n" for line in lines))
        self.gateway.whack("--rereadsecrets")
        return f"operator.secrets:{len(lines)}"

    def everything_said(self) -> str:
        return self.gateway.log.text() + (self.gateway.directory / "output").read_text()

    def _calm(self) -> None:
        # What was ended stays so.
        self.gateway.whack("--impair", "revival")

    def _peer_shared_end(self) -> dict[str, object]:
        child: dict[str, object] = {
            "local_ts": self.peer.inside.network,
            "remote_ts": self.gateway.inside.network,
        }
        if not self.has_children:
            child["esp_proposals"] = UNWANTED
        return {
            "version": 2,
            "local_addrs": self.peer.outside,
            "remote_addrs": self.gateway.outside,
            "local": {"auth": "psk", "id": PEER},
            "remote": {"auth": "psk", "id": OWN},
            "children": {SHARED: child},
        }
