"""The proof of a renewal through a channel: the present key signs the request for the next one.

ECDSA or RSASSA-PKCS1-v1_5 with the hash that goes with the key, EdDSA or ML-DSA, over a text of our own and the
request's DER.
"""

import base64
import binascii
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding

from pki.x509.signing import HashlessPublicKey, PrivateKey, PublicKey, default_hash, sign

# What else a gateway's key signs never begins so: IKE's octets begin with a message header or an SPI.
_CONTEXT: Final = b"ikewarden: the key after this one is that of the request "
CHANNEL_NAMES: Final = "uri:https://channel.ikewarden.invalid/"
"""How the one name in a channel's certificate begins."""


def prove(key: PrivateKey, csr: bytes) -> bytes:
    """Sign the DER of a request with the present key."""
    return sign(key, _CONTEXT + csr, default_hash(key.public_key()))


def verify(key: PublicKey, csr: bytes, proof: bytes) -> None:
    """Make sure that `proof` is by this key and for this request. Raises InvalidSignature."""
    signed, digest = _CONTEXT + csr, default_hash(key)
    if isinstance(key, HashlessPublicKey):
        key.verify(proof, signed)
    elif digest is None:
        raise InvalidSignature
    elif isinstance(key, ec.EllipticCurvePublicKey):
        key.verify(proof, signed, ec.ECDSA(digest))
    else:
        key.verify(proof, signed, padding.PKCS1v15(), digest)


def decode(proof: str) -> bytes:
    """The octets of a proof in base64; none, which proves nothing, where it is no base64."""
    try:
        return base64.b64decode(proof, validate=True)
    except (binascii.Error, ValueError):
        return b""
