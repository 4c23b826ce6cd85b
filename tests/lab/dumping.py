"""`python -m tests.lab.dumping`: have a real kernel and real daemons list their SAs, and keep what they print.

Played under User-Mode Linux where this kernel has no ESP. The keys in the dumps were those of a lab, and are kept in
them: the tests look that nobody keeps them.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any, Final

from tests.lab import sas, uml
from tests.lab.charon import Gateway
from tests.lab.lab import Lab
from tests.lab.namespaces import ip_batch, run

SAMPLES: Final = Path(__file__).parents[1] / "ike/sas/samples"
_BLOCK: Final = re.compile(r"^=== (\S+)\r?\n(.*?)^=== end\r?$", re.DOTALL | re.MULTILINE)
#: SAs that somebody makes by hand.
MANUAL: Final = (
    "xfrm state add src 192.0.2.1 dst 203.0.113.9 proto ah spi 0x1001 reqid 0 mode transport"
    " auth-trunc hmac(sha256) 0x" + "c0ffee42" * 8 + " 128",
    "xfrm state add src 203.0.113.9 dst 192.0.2.1 proto esp spi 0x2002 reqid 0 mode tunnel"
    " enc cbc(aes) 0x" + "deadbeef" * 4 + " auth-trunc hmac(sha256) 0x" + "c0ffee42" * 8 + " 128",
)


def _show(name: str, text: str) -> None:
    sys.stdout.write(f"=== {name}\n{text.rstrip()}\n=== end\n")
    sys.stdout.flush()


def _connection(here: Gateway, there: Gateway, **more: Any) -> dict[str, Any]:
    return {
        "version": 2,
        "local_addrs": here.outside,
        "remote_addrs": there.outside,
        "local": {"auth": "psk", "id": f"{here.name}.example.net"},
        "remote": {"auth": "psk", "id": f"{there.name}.example.net"},
        "children": {
            "net": {
                "mode": "tunnel",
                "local_ts": str(here.inside.network),
                "remote_ts": str(there.inside.network),
                "esp_proposals": "aes256gcm16-x25519",
            },
            "host": {"mode": "transport", "ah_proposals": "sha256-x25519"},
        },
        **more,
    }


def play() -> None:
    """In a kernel with ESP: two charons, one behind an encapsulation, and SAs that were made by hand."""
    with Lab() as lab:
        left, right = lab.gateway("left"), lab.gateway("right")
        for here, there in ((left, right), (right, left)):
            with here.session() as session:
                session.load_shared({"id": "k", "type": "IKE", "data": "lab-key-of-the-dumps"})
            here.add_connection("site", _connection(here, there))
        left.initiate("net")
        left.initiate("host")
        left.namespace.run(["ping", "-c", "3", "-i", "0.2", "-I", "10.1.0.1", "10.2.0.1"])
        for line in MANUAL:
            ip_batch(left.namespace.name, line)
        xfrm = ["ip", "-n", left.namespace.name, "-s", "xfrm", "state"]
        _show("xfrm.txt", run(xfrm).stdout)
        _show("xfrm-nokeys.txt", run([*xfrm, "list", "nokeys"]).stdout)
        with left.session() as session:
            listed = [sas.text(each) for each in session.list_sas({})]
        _show("vici.json", json.dumps(listed, indent=1))
        left.terminate("site")
        for here, there in ((left, right), (right, left)):
            here.add_connection("site", _connection(here, there, encap="yes"))
        left.initiate("net")
        _show("xfrm-encap.txt", run(xfrm).stdout)
        with left.session() as session:
            listed = [sas.text(each) for each in session.list_sas({})]
        _show("vici-encap.json", json.dumps(listed, indent=1))


def main(arguments: list[str]) -> int:
    """Play, where told so; else boot a guest that does, and keep what it shows."""
    if arguments == ["play"]:
        play()
        return 0
    ran = uml.run([sys.executable, "-m", "tests.lab.dumping", "play"], timeout=300.0)
    found = _BLOCK.findall(ran.output)
    for name, text in found:
        (SAMPLES / name).write_text(text.replace("\r\n", "\n"))
        sys.stdout.write(f"{name}\n")
    if ran.status or not found:
        sys.stderr.write(ran.output[-6000:])
    return ran.status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
