"""A live pair of charons for the contract of shared secrets."""

import contextlib
import time
from collections.abc import Mapping
from typing import Any

from ike.daemons.port import SharedKey
from tests.ike.daemons.charon_rig import CharonRig
from tests.ike.daemons.contract import OWN, PEER
from tests.ike.daemons.sharedcontract import SHARED
from tests.lab import Gateway, Lab, LabError

_PPK = "ppk-peer"


class SharedCharonRig(CharonRig):
    """See `sharedcontract.SharedRig`. What the operators have at both ends is the connection SHARED."""

    overlaps = has_ppk = True

    def __init__(self, lab: Lab, *, settings: Mapping[str, Any] | None = None) -> None:
        super().__init__(lab, settings=settings)
        by_secret(self.gateway, self.peer, OWN, PEER)
        # One that names no PPK answers to any, and does without where the other end has none.
        by_secret(self.peer, self.gateway, PEER, OWN)
        self._shared: dict[str, list[str]] = {}

    def share_with_peer(self, *keys: SharedKey, kind: str = "psk") -> None:
        had = self._shared.get(kind, [])
        self._shared[kind] = []
        with self.peer.session() as session:
            for each in had:
                session.unload_shared({"id": each})
            for key in reversed(keys):
                name = f"peer-{kind}-{key.version}"
                self._shared[kind].append(name)
                owner = f"fqdn:{OWN}" if kind == "psk" else key.ppk_id
                message = {
                    "id": name,
                    "type": "IKE" if kind == "psk" else "ppk",
                    "data": key.value.reveal(),
                    "owners": [owner],
                }
                session.load_shared(message)

    def bring_up_shared(self, connection: str = SHARED) -> bool:
        self.end_all()
        try:
            self.gateway.swanctl("--initiate", "--ike", connection, "--child", "net")
        except LabError:
            return False
        self.peer.wait_until(SHARED, up=True)
        return True

    def rekey(self, connection: str) -> None:
        before = self.gateway.established(connection)
        assert before is not None
        with self.gateway.session() as session:
            session.rekey({"ike": connection})
        deadline = time.monotonic() + 60
        while (
            self.gateway.established(connection) in (None, before) and time.monotonic() < deadline
        ):
            time.sleep(0.02)

    def add_foreign_secret(self, value: bytes, peer: str = PEER) -> str:
        folder = self.gateway.swanctl_folder / "conf.d"
        name = f"ike-operator-{len(list(folder.glob('operator-*')))}"
        # Before ours in the order of the folder's files, or after: what was loaded last is told by charon.
        text = f'secrets {{\n  {name} {{\n    id-1 = {peer}\n    secret = "0x{value.hex()}"\n  }}\n}}\n'
        (folder / f"operator-{name}.conf").write_text(text)
        self.gateway.load_credentials()
        return name

    def everything_said(self) -> str:
        return self.gateway.log.text()

    def end_all(self) -> None:
        """End what SAs there are, on both ends."""
        for gateway in (self.gateway, self.peer):
            names = {sa.name for sa in gateway.list_sas()}
            for name in names:
                with contextlib.suppress(LabError):
                    gateway.terminate(name, force=True)
            deadline = time.monotonic() + 60
            while gateway.list_sas() and time.monotonic() < deadline:
                time.sleep(0.02)


def by_secret(here: Gateway, there: Gateway, own: str, peer: str) -> None:
    """An operator's connection that is authenticated by a shared secret."""
    section = {
        "version": 2,
        "local_addrs": here.outside,
        "remote_addrs": there.outside,
        "unique": "no",
        "local": {"auth": "psk", "id": own},
        "remote": {"auth": "psk", "id": peer},
        "children": {
            "net": {"local_ts": here.inside.network, "remote_ts": there.inside.network},
        },
    }
    here.add_connection(SHARED, section)
