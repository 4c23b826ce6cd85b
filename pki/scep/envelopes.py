"""Envelopes (RFC 5652 §6): opened with the registration authority's key, sealed to a device's.

Whatever goes wrong once a key is at work is one failure: who could tell a wrong padding from a wrong content would read
other people's messages by asking often enough (Bleichenbacher 1998, Vaudenay 2002; RFC 3218).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from secrets import token_bytes
from typing import Any, ClassVar, Final

from asn1crypto import algos, cms, core
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.ciphers import Cipher as Operation
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.padding import PKCS7

from pki.scep.algorithms import PKCS1, Cipher, Transport, cipher_named, oid, transport_named
from pki.scep.ber import joined_octets, to_der
from pki.scep.failures import unreadable
from pki.x509 import der
from pki.x509.malformed import MALFORMED

_UNREADABLE: Final = (*MALFORMED, KeyError, AttributeError, RecursionError)
ENVELOPED_DATA: Final = oid("1.2.840.113549.1.7.3")
DATA: Final = oid("1.2.840.113549.1.7.1")
_WHOLE: Final = 0x80

# Finds the key for the name of an issuer (DER) and a serial number.
KeyFinder = Callable[[bytes, int], rsa.RSAPrivateKey | None]


# As asn1crypto has them, but for strings in pieces, which it does not read under an implicit tag; and without fields of
# later versions of the structure, which SCEP does not use.
class _Encrypted(core.Sequence):  # type: ignore[misc]
    _fields: ClassVar = [
        ("content_type", cms.ContentType),
        ("content_encryption_algorithm", algos.EncryptionAlgorithm),
        ("encrypted_content", core.Any),
    ]


class _Enveloped(core.Sequence):  # type: ignore[misc]
    _fields: ClassVar = [
        ("version", cms.CMSVersion),
        ("recipient_infos", cms.RecipientInfos),
        ("encrypted_content_info", _Encrypted),
    ]


class _Info(core.Sequence):  # type: ignore[misc]
    _fields: ClassVar = [
        ("content_type", cms.ContentType),
        ("content", _Enveloped, {"explicit": 0}),
    ]


@dataclass(frozen=True)
class _Sealed:
    cipher_name: str
    iv: bytes
    content: bytes
    recipients: tuple[tuple[bytes, int, bytes, bytes], ...]


@dataclass(frozen=True)
class Envelope:
    """An envelope to a key of ours: the cipher that it is sealed with, and how its key is encrypted."""

    cipher: Cipher
    transport: Transport
    _key: rsa.RSAPrivateKey = field(repr=False)
    _encrypted_key: bytes = field(repr=False)
    _sealed: _Sealed = field(repr=False)

    def opened(self) -> bytes:
        """What is in it; where the padding is wrong, with that. Raises ScepCheckFailed for what cannot be decrypted;
        whoever calls this answers in the same way what is not whole, or has something behind it.
        """
        secret = _unwrap(self._key, self._encrypted_key, self.transport, self.cipher)
        return _decrypt(self.cipher, secret, self._sealed)


def read_envelope(data: bytes, find: KeyFinder, *, legacy: bool) -> Envelope:
    """Read an envelope; no key is at work yet. Raises ScepAlgorithmRefused, by what it says of itself, and
    ScepCheckFailed.
    """
    try:
        sealed = _read(to_der(data))
    except _UNREADABLE:
        raise unreadable() from None
    cipher = cipher_named(sealed.cipher_name, legacy=legacy)
    for issuer, serial, identifier, encrypted in sealed.recipients:
        key = find(issuer, serial)
        if key is not None:
            return Envelope(cipher, transport_named(identifier), key, encrypted, sealed)
    raise unreadable()


def _read(encoded: bytes) -> _Sealed:
    info = _Info.load(encoded, strict=True)
    if info["content_type"].native != "enveloped_data":
        raise ValueError("not enveloped")
    enveloped = info["content"]
    inner = enveloped["encrypted_content_info"]
    algorithm = inner["content_encryption_algorithm"]
    if not 1 <= len(enveloped["recipient_infos"]) <= 10:
        raise ValueError("too many recipients")
    return _Sealed(
        cipher_name=_cipher_name(algorithm),
        iv=bytes(algorithm["parameters"].native),
        content=_encrypted(inner.dump()),
        recipients=tuple(
            _recipient(each.chosen) for each in enveloped["recipient_infos"] if each.name == "ktri"
        ),
    )


def _cipher_name(algorithm: Any) -> str:
    name: str = algorithm["algorithm"].native
    return name


def _recipient(found: Any) -> tuple[bytes, int, bytes, bytes]:
    who = found["rid"].chosen
    return (
        who["issuer"].dump(),
        int(who["serial_number"].native),
        found["key_encryption_algorithm"].dump(),
        bytes(found["encrypted_key"].native),
    )


def _encrypted(inner: bytes) -> bytes:
    """The encrypted octets: under its implicit tag a string in pieces cannot be told before (X.690 §8.14.3)."""
    field = der.children(inner, der.read(inner, 0))[2]
    if field.tag == _WHOLE:
        return inner[field.content : field.end]
    return joined_octets([inner[each.start : each.end] for each in der.children(inner, field)])


def _unwrap(
    key: rsa.RSAPrivateKey, encrypted: bytes, transport: Transport, cipher: Cipher
) -> bytes:
    # RFC 3218 §2.3.2: a key that cannot be right is replaced by one at random, and all goes on as if it were. The same
    # for OAEP, where telling the failures apart is as bad (Manger 2001).
    instead = token_bytes(cipher.key_size)
    try:
        found = key.decrypt(encrypted, transport.padding)
    except ValueError:
        return instead
    return found if len(found) == cipher.key_size else instead


def _decrypt(cipher: Cipher, key: bytes, sealed: _Sealed) -> bytes:
    try:
        operation = Operation(cipher.make(key), CBC(sealed.iv)).decryptor()
        padded = operation.update(sealed.content) + operation.finalize()
    except ValueError:
        raise unreadable() from None
    remover = PKCS7(cipher.block_size * 8).unpadder()
    try:
        return remover.update(padded) + remover.finalize()
    except ValueError:
        return padded  # and not at once a failure: by the time until that a wrong padding could be told too


def seal(
    content: bytes,
    cipher: Cipher,
    recipient: tuple[bytes, int],
    key: rsa.RSAPublicKey,
    transport: Transport = PKCS1,
    kind: bytes = DATA,
) -> bytes:
    """Encrypt to a key whose certificate has this issuer's name (DER) and serial number; an EnvelopedData in DER.
    `kind` is the type (an OID in DER) of what is encrypted.
    """
    secret, iv = token_bytes(cipher.key_size), token_bytes(cipher.block_size)
    adder = PKCS7(cipher.block_size * 8).padder()
    padded = adder.update(content) + adder.finalize()
    operation = Operation(cipher.make(secret), CBC(iv)).encryptor()
    encrypted = operation.update(padded) + operation.finalize()
    issuer, serial = recipient
    to = der.tlv(
        der.SEQUENCE,
        der.integer(0)
        + der.tlv(der.SEQUENCE, issuer + signed_integer(serial))
        + transport.identifier
        + der.tlv(der.OCTET_STRING, key.encrypt(secret, transport.padding)),
    )
    inner = der.tlv(
        der.SEQUENCE,
        kind
        + der.tlv(der.SEQUENCE, cipher.oid + der.tlv(der.OCTET_STRING, iv))
        + der.tlv(_WHOLE, encrypted),
    )
    enveloped = der.tlv(der.SEQUENCE, der.integer(0) + der.tlv(0x31, to) + inner)
    return der.tlv(der.SEQUENCE, ENVELOPED_DATA + der.tlv(0xA0, enveloped))


def signed_integer(value: int) -> bytes:
    """Encode an INTEGER: serial numbers that devices give themselves may be negative."""
    octets = value.to_bytes((value + (value < 0)).bit_length() // 8 + 1, "big", signed=True)
    return der.tlv(der.INTEGER, octets)
