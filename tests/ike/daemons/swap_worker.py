"""Swaps one credential for another and is killed while it does: `python -m tests.ike.daemons.swap_worker FILE`.

FILE is JSON: socket, swanctl, and the credentials new and old as `dump` writes them.
"""

import json
import sys
from pathlib import Path
from typing import Any

from cryptography import x509

from core.secret import Secret
from ike.daemons.port import Credential
from ike.daemons.strongswan import StrongSwan
from tests.ike.daemons.charon_rig import now
from tests.ike.daemons.contract import install, name_of, pem


def dump(credential: Credential) -> dict[str, Any]:
    certificates = [credential.certificate, *credential.chain]
    return {
        "key": credential.key.reveal().decode(),
        "certificates": [pem(each).decode() for each in certificates],
    }


def _load(dumped: dict[str, Any]) -> Credential:
    own, *chain = [x509.load_pem_x509_certificate(each.encode()) for each in dumped["certificates"]]
    return Credential(Secret(dumped["key"]), own, tuple(chain))


def main(path: Path) -> None:
    told = json.loads(path.read_text())
    new, old = _load(told["new"]), _load(told["old"])
    daemon = StrongSwan(now=now, socket=Path(told["socket"]), swanctl=Path(told["swanctl"]))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    install(daemon, new, old)
    daemon.retire(name_of(old))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
