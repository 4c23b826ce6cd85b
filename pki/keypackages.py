"""Private keys on their way to a device, encrypted to a certificate that it has (RFC 7030 §4.4.2, RFC 5958 §4).

A key stands in an AsymmetricKeyPackage, that in a SignedData by who made the key, that in an EnvelopedData.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from core.errors import InvalidInput
from core.secret import Secret
from pki.scep import envelopes
from pki.scep.algorithms import CIPHERS, DIGESTS, Cipher, oid
from pki.x509 import der
from pki.x509.malformed import MALFORMED
from pki.x509.request_attributes import attribute_values

# RFC 7030 §4.4.1.1 (RFC 4108 §2.2.5), §4.4.1.2; RFC 8551 §2.5.2
_SYMMETRIC: Final = bytes.fromhex("2a864886f70d0109100225")
_ASYMMETRIC: Final = bytes.fromhex("2a864886f70d0109100236")
_CAPABILITIES: Final = bytes.fromhex("2a864886f70d01090f")
# The strongest first; what else SCEP knows is for old devices.
_CIPHERS: Final = (CIPHERS["aes256_cbc"], CIPHERS["aes128_cbc"])
_SIGNED_DATA: Final = oid("1.2.840.113549.1.7.2")
_KEY_PACKAGE: Final = oid("2.16.840.1.101.2.1.2.78.5")
_CONTENT_TYPE, _MESSAGE_DIGEST = oid("1.2.840.113549.1.9.3"), oid("1.2.840.113549.1.9.4")
_ECDSA_SHA256: Final = der.tlv(der.SEQUENCE, oid("1.2.840.10045.4.3.2"))
_SET, _HELD = 0x31, 0xA0


class KeyEncryptionRefused(InvalidInput):
    """The key was to be encrypted in a way that is not done here; in the clear it is not handed out then."""

    code = "key_encryption_refused"
    next_step = (
        "Name by AsymmetricDecryptKeyIdentifier the subjectKeyIdentifier of an RSA certificate of this service with "
        "keyEncipherment: that of the TLS connection, or one of the same gateway. Or leave it out, and "
        "DecryptKeyIdentifier too: TLS protects the key on its way."
    )


@dataclass(frozen=True)
class Wish:
    """How a key shall be encrypted: to the certificate with this subjectKeyIdentifier, with this cipher."""

    key_identifier: bytes
    cipher: Cipher


@dataclass(frozen=True)
class Maker:
    """Who made a key: its own key, and its certificates, the own one first."""

    key: ec.EllipticCurvePrivateKey
    certificates: Sequence[x509.Certificate]


def wish(csr: bytes) -> Wish | None:
    """How the key that is asked for shall be encrypted beside TLS, if it shall. Raises KeyEncryptionRefused."""
    try:
        if attribute_values(csr, _SYMMETRIC):
            raise KeyEncryptionRefused("There are no secret keys here that devices know.")
        named = attribute_values(csr, _ASYMMETRIC)
        if not named:
            return None
        [value] = named
        return Wish(_octets(value), _cipher(csr))
    except (ValueError, IndexError):
        raise KeyEncryptionRefused("The key to encrypt with cannot be read.") from None


def _octets(value: bytes) -> bytes:
    element = der.read(value, 0)
    if element.tag != der.OCTET_STRING:
        raise ValueError("no OCTET STRING")
    return value[element.content : element.end]


def _cipher(csr: bytes) -> Cipher:
    """The best that the device has; without a word of it (RFC 7030 §4.4.1 wants one) the best there is."""
    told = attribute_values(csr, _CAPABILITIES)
    if not told:
        return _CIPHERS[0]
    [value] = told
    able = {
        value[kind.start : kind.end]
        for each in der.children(value, der.read(value, 0))
        for kind in der.children(value, each)[:1]
    }
    found = next((each for each in _CIPHERS if each.oid in able), None)
    if found is None:
        raise KeyEncryptionRefused("SMIMECapabilities has neither AES-256-CBC nor AES-128-CBC.")
    return found


def is_named(certificate: x509.Certificate, wanted: Wish) -> bool:
    """Whether this is the certificate that is meant."""
    kind = x509.SubjectKeyIdentifier
    try:
        known = certificate.extensions.get_extension_for_class(kind).value.key_identifier
    except (*MALFORMED, x509.ExtensionNotFound):
        return False
    return known == wanted.key_identifier


def seal(key: Secret, to: x509.Certificate, wanted: Wish, maker: Maker) -> bytes:
    """Encrypt a key (PKCS #8) to a certificate; a ContentInfo in DER. Raises KeyEncryptionRefused."""
    package = der.tlv(der.SEQUENCE, key.reveal())
    signed = _signed(package, maker)
    recipient = (to.issuer.public_bytes(), to.serial_number)
    return envelopes.seal(signed, wanted.cipher, recipient, _recipient(to), kind=_SIGNED_DATA)


def _recipient(certificate: x509.Certificate) -> rsa.RSAPublicKey:
    key = certificate.public_key()
    if not isinstance(key, rsa.RSAPublicKey):
        raise KeyEncryptionRefused("Keys are encrypted to RSA keys alone.")
    try:
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return key
    if not usage.key_encipherment:
        raise KeyEncryptionRefused("The certificate's key is not for encrypting (keyEncipherment).")
    return key


def _signed(content: bytes, maker: Maker) -> bytes:
    """A SignedData (RFC 5652 §5.1) of a key package."""
    digest, own = DIGESTS["sha256"], maker.certificates[0]
    over = hashes.Hash(digest.make())
    over.update(content)
    attributes = b"".join(
        sorted(  # X.690 §11.6
            [
                _attribute(_CONTENT_TYPE, _KEY_PACKAGE),
                _attribute(_MESSAGE_DIGEST, der.tlv(der.OCTET_STRING, over.finalize())),
            ]
        )
    )
    signature = maker.key.sign(der.tlv(_SET, attributes), ec.ECDSA(hashes.SHA256()))
    by = der.tlv(
        der.SEQUENCE,
        der.integer(1)
        + der.tlv(der.SEQUENCE, own.issuer.public_bytes() + der.integer(own.serial_number))
        + digest.identifier
        + der.tlv(_HELD, attributes)
        + _ECDSA_SHA256
        + der.tlv(der.OCTET_STRING, signature),
    )
    held = sorted(each.public_bytes(Encoding.DER) for each in maker.certificates)
    inner = _KEY_PACKAGE + der.tlv(_HELD, der.tlv(der.OCTET_STRING, content))
    return der.tlv(
        der.SEQUENCE,
        der.integer(3)  # for a content that is not plain data
        + der.tlv(_SET, digest.identifier)
        + der.tlv(der.SEQUENCE, inner)
        + der.tlv(_HELD, b"".join(held))
        + der.tlv(_SET, by),
    )


def _attribute(name: bytes, value: bytes) -> bytes:
    return der.tlv(der.SEQUENCE, name + der.tlv(_SET, value))
