"""How a message is protected (RFC 9810 §5.1.3, RFC 9481): by a secret that both know, or by a signature."""

import hashlib
import hmac
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

from core.secret import Secret
from pki.cmp.errors import AlgorithmRefused, CmpMalformed, ProtectionInvalid
from pki.cmp.messages import Message, members, sequence
from pki.x509 import der
from pki.x509.signing import PublicKey

# They are made before it is known who asks, by the process that answers OCSP too: ten times as many would take it most
# of a second. More are of no use: secrets have 256 bits.
_MOST_ROUNDS: Final = 10_000
_FEWEST_ROUNDS: Final = 100  # RFC 9481 §6.1.1
_OID: Final = 0x06


def _oid(text: str) -> bytes:
    return bytes.fromhex(text)


# The contents of OBJECT IDENTIFIERs.
_PBM: Final = _oid("2a864886f67d07420d")
_PBMAC1: Final = _oid("2a864886f70d01050e")
_PBKDF2: Final = _oid("2a864886f70d01050c")
_DIGESTS: Final = {
    _oid("608648016503040201"): "sha256",
    _oid("608648016503040202"): "sha384",
    _oid("608648016503040203"): "sha512",
}
# HMAC with SHA-1 is what OpenSSL 3.0 takes unasked; as a MAC it is not broken (RFC 6194 §3).
_MACS: Final = {
    _oid("2b06010505080102"): "sha1",
    _oid("2a864886f70d0207"): "sha1",
    _oid("2a864886f70d0209"): "sha256",
    _oid("2a864886f70d020a"): "sha384",
    _oid("2a864886f70d020b"): "sha512",
}
_HASHES: Final[dict[str, hashes.HashAlgorithm]] = {
    "sha1": hashes.SHA1(),  # noqa: S303 - in HMAC alone
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}
_ECDSA: Final = {
    _oid("2a8648ce3d040302"): "sha256",
    _oid("2a8648ce3d040303"): "sha384",
    _oid("2a8648ce3d040304"): "sha512",
}
_RSA: Final = {
    _oid("2a864886f70d01010b"): "sha256",
    _oid("2a864886f70d01010c"): "sha384",
    _oid("2a864886f70d01010d"): "sha512",
}
_ED25519: Final = _oid("2b6570")


@dataclass(frozen=True)
class Mac:
    """A MAC by a secret, with its parameters. `identifier` is the AlgorithmIdentifier (DER)."""

    identifier: bytes
    scheme: bytes
    salt: bytes
    rounds: int
    digest: str
    mac: str
    size: int = 32

    def over(self, secret: Secret, data: bytes) -> bytes:
        """The MAC of `data`."""
        return hmac.digest(self._key(secret.reveal()), data, self.mac)

    def _key(self, secret: bytes) -> bytes:
        if self.scheme == _PBMAC1:
            kdf = PBKDF2HMAC(_HASHES[self.digest], self.size, self.salt, self.rounds)
            return kdf.derive(secret)
        key = secret + self.salt  # RFC 9810 §5.1.3.1
        for _ in range(self.rounds):
            key = hashlib.new(self.digest, key).digest()
        return key


def mac_of(message: Message) -> Mac | None:
    """How a message is protected by a secret; None where it is protected otherwise.

    Raises CmpMalformed, AlgorithmRefused.
    """
    found = message.algorithm
    if found is None:
        return None
    try:
        kind, parameters = algorithm(found)
        if kind == _PBM:
            return _pbm(found, parameters)
        return _pbmac1(found, parameters) if kind == _PBMAC1 else None
    except (ValueError, IndexError):
        raise CmpMalformed("The parameters of the protection cannot be read.") from None


def verify_mac(message: Message, mac: Mac, secret: Secret) -> None:
    """Raises ProtectionInvalid unless the message was made by somebody who knows the secret."""
    good = message.protection is not None and hmac.compare_digest(
        mac.over(secret, message.protected), message.protection
    )
    if not good:
        raise ProtectionInvalid("The protection of the message is not valid.")


def verify_signature(message: Message, key: PublicKey) -> None:
    """Raises ProtectionInvalid unless the message is signed with the key; AlgorithmRefused for a weak signature."""
    if message.protection is None or message.algorithm is None:
        raise ProtectionInvalid("The message is not protected.")
    try:
        verify(key, message.algorithm, message.protection, message.protected)
    except InvalidSignature:
        raise ProtectionInvalid("The protection of the message is not valid.") from None


def verify(key: PublicKey, identifier: bytes, signature: bytes, data: bytes) -> None:
    """Check a signature by its AlgorithmIdentifier (DER). Raises InvalidSignature, AlgorithmRefused, CmpMalformed."""
    try:
        kind, _ = algorithm(identifier)
    except (ValueError, IndexError):
        raise CmpMalformed("The algorithm of the signature cannot be read.") from None
    if isinstance(key, rsa.RSAPublicKey) and kind in _RSA:
        key.verify(signature, data, padding.PKCS1v15(), _HASHES[_RSA[kind]])
    elif isinstance(key, ec.EllipticCurvePublicKey) and kind in _ECDSA:
        key.verify(signature, data, ec.ECDSA(_HASHES[_ECDSA[kind]]))
    elif isinstance(key, ed25519.Ed25519PublicKey) and kind == _ED25519:
        key.verify(signature, data)
    else:
        raise AlgorithmRefused("The message is signed with an algorithm that is not taken here.")


def algorithm(identifier: bytes) -> tuple[bytes, bytes]:
    """The content of an AlgorithmIdentifier's OID, and its parameters (DER, empty where there are none).

    Raises ValueError.
    """
    whole = sequence(identifier, 0)
    oid, *parameters = members(identifier, whole)
    if oid.tag != _OID or len(parameters) > 1:
        raise ValueError("no AlgorithmIdentifier")
    rest = identifier[parameters[0].start : parameters[0].end] if parameters else b""
    return identifier[oid.content : oid.end], rest


def digest_name(oid: bytes) -> str:
    """The name of a hash function by the content of its OID. Raises AlgorithmRefused."""
    return _known(_DIGESTS, oid)


def _pbm(identifier: bytes, parameters: bytes) -> Mac:
    """RFC 9810 §5.1.3.1: PBMParameter."""
    salt, owf, count, mac = members(parameters, sequence(parameters, 0))
    owf_oid, _ = algorithm(parameters[owf.start : owf.end])
    mac_oid, _ = algorithm(parameters[mac.start : mac.end])
    return Mac(
        identifier=identifier,
        scheme=_PBM,
        salt=parameters[salt.content : salt.end],
        rounds=_rounds(parameters, count),
        digest=_known(_DIGESTS, owf_oid),
        mac=_known(_MACS, mac_oid),
    )


def _pbmac1(identifier: bytes, parameters: bytes) -> Mac:
    """RFC 8018 §7.1: PBMAC1 with PBKDF2; the length of the key is stated (RFC 9579 §3)."""
    kdf, mac = members(parameters, sequence(parameters, 0))
    kdf_oid, kdf_parameters = algorithm(parameters[kdf.start : kdf.end])
    mac_oid, _ = algorithm(parameters[mac.start : mac.end])
    if kdf_oid != _PBKDF2:
        raise AlgorithmRefused("The key of the MAC is derived by an algorithm that is not taken.")
    salt, count, *others = members(kdf_parameters, sequence(kdf_parameters, 0))
    size, prf = 32, "sha1"
    for each in others:
        if each.tag == der.INTEGER:
            size = int.from_bytes(kdf_parameters[each.content : each.end], "big")
        else:
            oid, _ = algorithm(kdf_parameters[each.start : each.end])
            prf = _known(_MACS, oid)
    if not 16 <= size <= 64:
        raise AlgorithmRefused("The key of the MAC is too short or too long.")
    return Mac(
        identifier=identifier,
        scheme=_PBMAC1,
        salt=kdf_parameters[salt.content : salt.end],
        rounds=_rounds(kdf_parameters, count),
        digest=prf,
        mac=_known(_MACS, mac_oid),
        size=size,
    )


def _rounds(data: bytes, element: der.Element) -> int:
    count = int.from_bytes(data[element.content : element.end], "big")
    if element.tag != der.INTEGER or not _FEWEST_ROUNDS <= count <= _MOST_ROUNDS:
        raise AlgorithmRefused(
            f"The protection has not between {_FEWEST_ROUNDS} and {_MOST_ROUNDS} iterations."
        )
    return count


def _known(table: dict[bytes, str], oid: bytes) -> str:
    found = table.get(oid)
    if found is None:
        raise AlgorithmRefused("The protection uses an algorithm that is not taken here.")
    return found
