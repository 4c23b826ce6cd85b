"""What a client is told to put into its request: the CSR attributes of EST (RFC 7030 §4.5.2, RFC 9908)."""

from typing import Final

from pki.x509 import der

_OID: Final = 0x06
_SET: Final = 0x31
# SubjectPublicKeyInfo algorithms (RFC 5480, 8017, 8410, 9881) and signature algorithms, as the content of an OID.
_EC: Final = "1.2.840.10045.2.1"
_RSA: Final = "1.2.840.113549.1.1.1"
_CURVES: Final = {
    "ec-p256": ("1.2.840.10045.3.1.7", "1.2.840.10045.4.3.2"),
    "ec-p384": ("1.3.132.0.34", "1.2.840.10045.4.3.3"),
    "ec-p521": ("1.3.132.0.35", "1.2.840.10045.4.3.4"),
}
_ALONE: Final = {
    "ed25519": "1.3.101.112",
    "ed448": "1.3.101.113",
    "ml-dsa-44": "2.16.840.1.101.3.4.3.17",
    "ml-dsa-65": "2.16.840.1.101.3.4.3.18",
    "ml-dsa-87": "2.16.840.1.101.3.4.3.19",
}
_RSA_WITH_SHA256: Final = "1.2.840.113549.1.1.11"


def csr_attributes(algorithm: str) -> bytes:
    """CsrAttrs (DER) for a kind of key, such as "ec-p256" or "rsa-3072": the key, and how to sign with it."""
    if algorithm in _CURVES:
        curve, signature = _CURVES[algorithm]
        # RFC 9908 §3.2: an algorithm's parameters, or the size of an RSA key, are the value of its attribute.
        found = [_attribute(_EC, _oid(curve)), _oid(signature)]
    elif algorithm.startswith("rsa-"):
        size = der.integer(int(algorithm.removeprefix("rsa-")))
        found = [_attribute(_RSA, size), _oid(_RSA_WITH_SHA256)]
    else:
        found = [_oid(_ALONE[algorithm])]
    return der.tlv(der.SEQUENCE, b"".join(found))


def _attribute(kind: str, value: bytes) -> bytes:
    return der.tlv(der.SEQUENCE, _oid(kind) + der.tlv(_SET, value))


def _oid(text: str) -> bytes:
    """Encode an OBJECT IDENTIFIER (X.690 §8.19)."""
    first, second, *rest = map(int, text.split("."))
    return der.tlv(_OID, b"".join(map(_arc, [first * 40 + second, *rest])))


def _arc(value: int) -> bytes:
    octets = [value & 0x7F]
    while value := value >> 7:
        octets.append(value & 0x7F | 0x80)
    return bytes(reversed(octets))
