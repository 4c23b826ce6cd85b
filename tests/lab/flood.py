"""IKE_SA_INIT requests without a daemon behind them: each opens an IKE SA at its receiver and never goes on."""

import os
import socket
import struct
import time
from collections.abc import Sequence

from tests.lab.namespaces import Namespace, ip_batch

_SA, _KE, _NONCE = 33, 34, 40  # RFC 7296 §3.2
_IKE_SA_INIT, _INITIATOR = 34, 0x08
# AES-CBC-256, PRF and AUTH of HMAC-SHA2-256, Curve25519: type, id, attributes (RFC 7296 §3.3.2).
_TRANSFORMS = ((1, 12, b"\x80\x0e\x01\x00"), (2, 5, b""), (3, 12, b""), (4, 31, b""))


def request() -> bytes:
    """An IKE_SA_INIT request as a real initiator sends it, with a fresh SPI, key and nonce."""
    transforms = b"".join(
        struct.pack("!BxHBxH", 0 if last else 3, 8 + len(attributes), kind, number) + attributes
        for last, (kind, number, attributes) in zip(
            (False, False, False, True), _TRANSFORMS, strict=True
        )
    )
    proposal = struct.pack("!BxHBBBB", 0, 8 + len(transforms), 1, 1, 0, 4) + transforms
    body = _payload(_KE, proposal)
    body += _payload(_NONCE, struct.pack("!Hxx", 31) + os.urandom(32))
    body += _payload(0, os.urandom(32))
    head = os.urandom(8) + bytes(8)
    return (
        head + struct.pack("!BBBBII", _SA, 0x20, _IKE_SA_INIT, _INITIATOR, 0, 28 + len(body)) + body
    )


def _payload(following: int, content: bytes) -> bytes:
    return struct.pack("!BxH", following, 4 + len(content)) + content


def add_addresses(host: Namespace, addresses: Sequence[str]) -> None:
    """Give a host of the lab more addresses outside."""
    ip_batch(host.name, *(f"addr add {each}/24 dev eth0" for each in addresses))


def flood(
    host: Namespace, target: str, sources: Sequence[str], *, each: int, pause: float = 0.01
) -> None:
    """Send `each` requests from every source in turn, `pause` seconds apart; answers are not read."""

    def bound(address: str) -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.bind((address, 500))
        made.connect((target, 500))
        return made

    sockets = [host.within(lambda address=address: bound(address)) for address in sources]  # type: ignore[misc]
    try:
        for _ in range(each):
            for one in sockets:
                one.send(request())
                time.sleep(pause)
    finally:
        for one in sockets:
            one.close()
