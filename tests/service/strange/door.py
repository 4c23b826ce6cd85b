"""What the doors have in common: what they were opened with, and what may be answered."""

import random
from dataclasses import dataclass
from typing import Any, Protocol, cast

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from pki.x509 import der
from tests.api.serving import Reply
from tests.service.strange.spoil import Ask, spoiled

NAME = "strange.example"
_REFUSED = {400, 401, 403, 404, 405, 406, 408, 409, 411, 413, 414, 415, 417, 422, 426, 429, 431}


@dataclass(frozen=True)
class Given:
    """What the doors were opened with: an enroller's token of many uses in its three forms, two keys (PEM) and the
    registration authority (DER). All of it can be sent to another process.
    """

    token: str
    reference: str
    eab_key: str
    cmp_secret: str
    ec_key: bytes
    rsa_key: bytes
    ra: bytes

    @property
    def curve(self) -> ec.EllipticCurvePrivateKey:
        """The key of EST, CMP and ACME's certificates."""
        return cast(ec.EllipticCurvePrivateKey, load_pem_private_key(self.ec_key, None))

    @property
    def modulus(self) -> rsa.RSAPrivateKey:
        """The key of SCEP."""
        return cast(rsa.RSAPrivateKey, load_pem_private_key(self.rsa_key, None))


class Door(Protocol):
    """One door."""

    def ask(self, dice: random.Random) -> Ask:
        """The next request."""

    def fits(self, ask: Ask, reply: Reply) -> None:
        """AssertionError where that was no answer of the protocol. Statuses of 500 and more are refused before."""


def sequence(*parts: bytes) -> bytes:
    return der.tlv(der.SEQUENCE, b"".join(parts))


def resigned(dice: random.Random, csr: bytes, key: Any) -> bytes:
    """A request whose information was spoiled before the holder of the key signed it."""
    info, algorithm, _ = der.children(csr, der.read(csr, 0))
    changed = spoiled(dice, csr[info.start : info.end], [csr])
    if isinstance(key, ec.EllipticCurvePrivateKey):
        signature = key.sign(changed, ec.ECDSA(hashes.SHA256()))
    else:
        signature = key.sign(changed, padding.PKCS1v15(), hashes.SHA256())
    return sequence(changed, csr[algorithm.start : algorithm.end], der.bit_string(signature))


def refused(reply: Reply) -> None:
    """A refusal of HTTP, with the project's own words unless nothing was understood at all."""
    assert reply.status in _REFUSED, reply
    if reply.body and reply.headers.get("content-type") == "application/problem+json":
        assert reply.json["code"]
