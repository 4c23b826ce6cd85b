"""Which algorithms SCEP messages may use, and how they are encoded.

By default AES in CBC mode with SHA-2 (RFC 8894 §3.5.2). An endpoint for old devices takes 3DES and SHA-1 too; single
DES and MD5 are taken nowhere.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from asn1crypto.cms import KeyEncryptionAlgorithm
from asn1crypto.core import ObjectIdentifier
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.ciphers import CipherAlgorithm
from cryptography.hazmat.primitives.ciphers.algorithms import AES

from pki.scep.failures import ScepAlgorithmRefused
from pki.x509 import der
from pki.x509.malformed import MALFORMED

NULL: Final = b"\x05\x00"


def oid(dotted: str) -> bytes:
    """An OBJECT IDENTIFIER in DER."""
    encoded: bytes = ObjectIdentifier(dotted).dump()
    return encoded


@dataclass(frozen=True)
class Digest:
    """A hash function: its name, and its AlgorithmIdentifier in DER."""

    name: str
    make: Callable[[], hashes.HashAlgorithm]
    identifier: bytes
    legacy: bool = False


@dataclass(frozen=True)
class Cipher:
    """A block cipher in CBC mode. Sizes in octets."""

    name: str
    make: Callable[[bytes], CipherAlgorithm]
    key_size: int
    block_size: int
    oid: bytes
    legacy: bool = False


@dataclass(frozen=True)
class Transport:
    """How the key of an envelope is encrypted with RSA: the padding, and the AlgorithmIdentifier in DER."""

    padding: padding.AsymmetricPadding
    identifier: bytes


PKCS1: Final = Transport(
    padding.PKCS1v15(), der.tlv(der.SEQUENCE, oid("1.2.840.113549.1.1.1") + NULL)
)


def _digest(
    name: str, make: Callable[[], hashes.HashAlgorithm], dotted: str, *, legacy: bool = False
) -> Digest:
    return Digest(name, make, der.tlv(der.SEQUENCE, oid(dotted) + NULL), legacy)


_NIST: Final = "2.16.840.1.101.3.4"
# By the names that asn1crypto gives their identifiers.
DIGESTS: Final[Mapping[str, Digest]] = {
    "sha256": _digest("sha256", hashes.SHA256, f"{_NIST}.2.1"),
    "sha384": _digest("sha384", hashes.SHA384, f"{_NIST}.2.2"),
    "sha512": _digest("sha512", hashes.SHA512, f"{_NIST}.2.3"),
    "sha1": _digest("sha1", hashes.SHA1, "1.3.14.3.2.26", legacy=True),
}
CIPHERS: Final[Mapping[str, Cipher]] = {
    "aes128_cbc": Cipher("aes128_cbc", AES, 16, 16, oid(f"{_NIST}.1.2")),
    "aes256_cbc": Cipher("aes256_cbc", AES, 32, 16, oid(f"{_NIST}.1.42")),
    "tripledes_3key": Cipher(
        "tripledes_3key", TripleDES, 24, 8, oid("1.2.840.113549.3.7"), legacy=True
    ),
}


def digest_named(name: str, *, legacy: bool) -> Digest:
    """A hash function that may be used. Raises ScepAlgorithmRefused."""
    found = DIGESTS.get(name)
    if found is None or (found.legacy and not legacy):
        raise ScepAlgorithmRefused(f"The hash function {name[:40]} is not taken here.")
    return found


def cipher_named(name: str, *, legacy: bool) -> Cipher:
    """A cipher that may be used. Raises ScepAlgorithmRefused."""
    found = CIPHERS.get(name)
    if found is None or (found.legacy and not legacy):
        raise ScepAlgorithmRefused(f"The cipher {name[:40]} is not taken here.")
    return found


def transport_named(identifier: bytes) -> Transport:
    """A way to encrypt keys that may be used, by its AlgorithmIdentifier in DER. Raises ScepAlgorithmRefused.

    OAEP (RFC 4055 §4.1) is what Windows sends. SHA-1 in it needs no `legacy`: nothing there rests on collisions.
    """
    try:
        found = KeyEncryptionAlgorithm.load(identifier, strict=True)
        name: str = found["algorithm"].native
        if name == "rsaes_pkcs1v15":
            return PKCS1
        if name == "rsaes_oaep":
            return Transport(_oaep(found["parameters"].native), identifier)
    except (*MALFORMED, KeyError, AttributeError):
        pass
    raise ScepAlgorithmRefused(
        "Keys are encrypted by RSA, with PKCS #1 v1.5 or OAEP without a label."
    )


def _oaep(parameters: Mapping[str, Any] | None) -> padding.OAEP:
    """Raises KeyError for another hash function, ValueError for what else is not taken."""
    if parameters is None:  # all defaults, which RFC 4055 wants written out
        return padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)  # noqa: S303
    mask, source = parameters["mask_gen_algorithm"], parameters["p_source_algorithm"]
    if mask["algorithm"] != "mgf1" or source["parameters"]:
        raise ValueError("another mask, or a label")
    over, within = parameters["hash_algorithm"]["algorithm"], mask["parameters"]["algorithm"]
    return padding.OAEP(padding.MGF1(DIGESTS[within].make()), DIGESTS[over].make(), None)
