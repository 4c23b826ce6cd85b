"""What is to be signed, apart from the signature.

`cryptography`'s builders only give a finished object. House rule 3 (nothing is signed that is not on record first)
needs the to-be-signed bytes *before* the authority's key is touched, so the builders here sign with a `Recorder`:
a private key that knows the authority's public key, keeps what it was asked to sign, and gives a dummy signature.
The bytes go on record, then the real key signs exactly them, and `complete` puts the two together. One build, one
signature, and the linter sees the very bytes that will be signed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Never

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, padding, rsa

from pki.x509 import der

# Those that hash by themselves: EdDSA (RFC 8410) and ML-DSA (RFC 9881).
HashlessPublicKey = (
    ed25519.Ed25519PublicKey
    | mldsa.MLDSA44PublicKey
    | mldsa.MLDSA65PublicKey
    | mldsa.MLDSA87PublicKey
)
HashlessPrivateKey = (
    ed25519.Ed25519PrivateKey
    | mldsa.MLDSA44PrivateKey
    | mldsa.MLDSA65PrivateKey
    | mldsa.MLDSA87PrivateKey
)
PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | HashlessPublicKey
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | HashlessPrivateKey
Hash = hashes.SHA256 | hashes.SHA384 | hashes.SHA512
HASHES: dict[str, Hash] = {
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}


def default_hash(key: PublicKey) -> Hash | None:
    """The hash that goes with an authority's key: RFC 4754 pairs curve and hash; EdDSA and ML-DSA have
    their own (None).
    """
    if isinstance(key, HashlessPublicKey):
        return None
    if isinstance(key, ec.EllipticCurvePublicKey):
        return {384: HASHES["sha384"], 521: HASHES["sha512"]}.get(key.key_size, HASHES["sha256"])
    return HASHES["sha256"]


def chosen_hash(key: PublicKey, name: str) -> Hash | None:
    """The hash a profile asks for by name, or the key's default for "auto"."""
    default = default_hash(key)
    return default if default is None or name == "auto" else HASHES[name]


def sign(key: PrivateKey, tbs: bytes, digest: Hash | None) -> bytes:
    """Sign to-be-signed bytes as the builders would: ECDSA, RSASSA-PKCS1-v1_5 (RFC 4055), EdDSA (RFC 8410), ML-DSA
    with an empty context (RFC 9881).
    """
    if isinstance(key, HashlessPrivateKey):
        return key.sign(tbs)
    if digest is None:
        raise ValueError("a hash is needed with this key")
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(tbs, ec.ECDSA(digest))
    return key.sign(tbs, padding.PKCS1v15(), digest)


def complete(tbs: bytes, signature: bytes) -> bytes:
    """Put a certificate or CRL together from its to-be-signed part and the signature.

    The outer AlgorithmIdentifier is copied from inside: RFC 5280 §4.1.1.2 and §5.1.1.2 want them the same.
    """
    return der.tlv(der.SEQUENCE, tbs + signature_algorithm(tbs) + der.bit_string(signature))


def signature_algorithm(tbs: bytes) -> bytes:
    """The AlgorithmIdentifier inside a TBSCertificate or TBSCertList: its first SEQUENCE."""
    for element in der.children(tbs, der.read(tbs, 0)):
        if element.tag == der.SEQUENCE:
            return tbs[element.start : element.end]
    raise ValueError("no AlgorithmIdentifier")


@dataclass
class _Record:
    tbs: bytes = b""

    def keep(self, data: Any) -> None:
        self.tbs = bytes(data)


class _RefusesExport:
    def private_numbers(self) -> Never:
        raise TypeError("a recorder has no private key")

    def private_bytes(self, *_: Any, **__: Any) -> Never:
        raise TypeError("a recorder has no private key")

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, memo: Any) -> Any:
        return self


class _EcRecorder(_RefusesExport, ec.EllipticCurvePrivateKey):
    def __init__(self, public: ec.EllipticCurvePublicKey, record: _Record) -> None:
        self._public, self._record = public, record

    def sign(self, data: Any, signature_algorithm: Any) -> bytes:
        self._record.keep(data)
        return b"\x30\x06\x02\x01\x01\x02\x01\x01"

    def public_key(self) -> ec.EllipticCurvePublicKey:
        return self._public

    @property
    def curve(self) -> ec.EllipticCurve:
        return self._public.curve

    @property
    def key_size(self) -> int:
        return self._public.key_size

    def exchange(self, algorithm: Any, peer_public_key: Any) -> Never:
        raise TypeError("a recorder only records")


class _RsaRecorder(_RefusesExport, rsa.RSAPrivateKey):
    def __init__(self, public: rsa.RSAPublicKey, record: _Record) -> None:
        self._public, self._record = public, record

    def sign(self, data: Any, padding: Any, algorithm: Any) -> bytes:
        self._record.keep(data)
        return bytes(self._public.key_size // 8)

    def public_key(self) -> rsa.RSAPublicKey:
        return self._public

    @property
    def key_size(self) -> int:
        return self._public.key_size

    def decrypt(self, ciphertext: Any, padding: Any) -> Never:
        raise TypeError("a recorder only records")


class _EdRecorder(_RefusesExport, ed25519.Ed25519PrivateKey):
    def __init__(self, public: ed25519.Ed25519PublicKey, record: _Record) -> None:
        self._public, self._record = public, record

    def sign(self, data: Any) -> bytes:
        self._record.keep(data)
        return bytes(64)

    def public_key(self) -> ed25519.Ed25519PublicKey:
        return self._public

    def private_bytes_raw(self) -> Never:
        raise TypeError("a recorder has no private key")


class _MlDsaRecorder(_RefusesExport):
    size = 0

    def __init__(self, public: Any, record: _Record) -> None:
        self._public, self._record = public, record

    def sign(self, data: Any, context: Any = None) -> bytes:
        self._record.keep(data)
        return bytes(self.size)

    def sign_mu(self, mu: Any) -> Never:
        raise TypeError("a recorder only records")

    def public_key(self) -> Any:
        return self._public

    def private_bytes_raw(self) -> Never:
        raise TypeError("a recorder has no private key")


# The sizes of signatures are those of FIPS 204, table 2.
class _MlDsa44Recorder(_MlDsaRecorder, mldsa.MLDSA44PrivateKey):
    size = 2420


class _MlDsa65Recorder(_MlDsaRecorder, mldsa.MLDSA65PrivateKey):
    size = 3309


class _MlDsa87Recorder(_MlDsaRecorder, mldsa.MLDSA87PrivateKey):
    size = 4627


_RECORDERS: Final[tuple[tuple[type, Callable[[Any, _Record], PrivateKey]], ...]] = (
    (ec.EllipticCurvePublicKey, _EcRecorder),
    (rsa.RSAPublicKey, _RsaRecorder),
    (ed25519.Ed25519PublicKey, _EdRecorder),
    (mldsa.MLDSA44PublicKey, _MlDsa44Recorder),
    (mldsa.MLDSA65PublicKey, _MlDsa65Recorder),
    (mldsa.MLDSA87PublicKey, _MlDsa87Recorder),
)


class Recorder:
    """A stand-in for an authority's private key: `key` goes to a builder, then `tbs` holds what was to be signed."""

    def __init__(self, public: PublicKey) -> None:
        self._record = _Record()
        make = next(make for kind, make in _RECORDERS if isinstance(public, kind))
        self.key: PrivateKey = make(public, self._record)

    @property
    def tbs(self) -> bytes:
        """The to-be-signed bytes of the last object built with `key`."""
        return self._record.tbs
