"""Keys made on the gateway, requests for them, and what must hold before a certificate is believed."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_public_key,
    load_pem_private_key,
)

from core.errors import InvalidInput
from core.secret import Secret
from ike.daemons.matching import MALFORMED, issued_by
from ike.daemons.port import Credential, CredentialMismatch, TokenKey
from pki.x509.keys import key_algorithm
from pki.x509.names import GeneralName
from pki.x509.signing import PrivateKey, PublicKey, default_hash

_MAKE: Final[Mapping[str, Callable[[], PrivateKey]]] = {
    "ec-p256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ec-p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "rsa-3072": lambda: rsa.generate_private_key(65537, 3072),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
}
KEY_TYPES: Final = tuple(_MAKE)
LONGEST_CHAIN: Final = 8


class CertificateUnusable(InvalidInput):
    """The service answered with a certificate that is not for this gateway's key, or not under the pinned root."""

    code = "certificate_unusable"
    next_step = "Nothing was changed. Look at the service's log; enroll again if it stays so."


def make_key(kind: str) -> Secret:
    """A new private key of one of KEY_TYPES: PKCS #8 in PEM, not encrypted."""
    made = _MAKE[kind]()
    return Secret(made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def read_key(pem: Secret) -> PrivateKey:
    """The key in a PEM. Raises CredentialMismatch."""
    try:
        key = load_pem_private_key(pem.reveal(), None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, PrivateKey):
        raise CredentialMismatch("The private key cannot be read.")
    return key


def public_of(key: Secret | TokenKey) -> PublicKey:
    """The public half of a key, wherever it is. Raises CredentialMismatch."""
    if isinstance(key, Secret):
        return read_key(key).public_key()
    public = load_der_public_key(key.public)
    if not isinstance(public, PublicKey):
        raise CredentialMismatch("The public key of the key in the token cannot be read.")
    return public


def kind_of(key: Secret | TokenKey) -> str:
    """Which kind of key it is, as KEY_TYPES name them."""
    return key_algorithm(public_of(key))


def make_request(pem: Secret, names: Sequence[str]) -> str:
    """A PKCS #10 request in PEM for names written `kind:value`; the service makes the subject.

    Raises InvalidName.
    """
    return request_by(read_key(pem), names)


def request_by(key: PrivateKey, names: Sequence[str]) -> str:
    """The same, signed by a key that may be in a token. Raises InvalidName."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    if names:
        alternatives = [GeneralName.parse(name).to_x509() for name in names]
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    digest = default_hash(key.public_key())
    return builder.sign(key, digest).public_bytes(Encoding.PEM).decode()


def read_certificate(pem: str) -> x509.Certificate:
    """One certificate in PEM. Raises CertificateUnusable."""
    try:
        return x509.load_pem_x509_certificate(pem.encode())
    except ValueError:
        raise CertificateUnusable("What should be a certificate cannot be read.") from None


def public_der(certificate: x509.Certificate) -> bytes:
    """SubjectPublicKeyInfo of a certificate."""
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def fits(key: Secret | TokenKey, certificate: x509.Certificate) -> bool:
    """Whether the certificate is for this key."""
    own = public_of(key).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return own == public_der(certificate)


def credential_of(
    key: Secret | TokenKey,
    certificate: x509.Certificate,
    chain: Sequence[x509.Certificate],
    root: x509.Certificate,
) -> Credential:
    """Put key, certificate and chain together after checking that they belong together and under `root`.

    A root in the chain is left out of the credential (the port wants none). Raises CertificateUnusable. Time is not
    looked at: the caller knows whether its clock can be trusted.
    """
    if not fits(key, certificate):
        raise CertificateUnusable("The certificate is for another key than this gateway's.")
    between = tuple(each for each in chain if each.subject != each.issuer)
    # The service proved itself by the pinned root; its authorities may stand under another one, which it sends along.
    tops = [each for each in chain if each.subject == each.issuer] + [root]
    if len(chain) > LONGEST_CHAIN:
        raise CertificateUnusable("The chain of the certificate is too long.")
    path = (certificate, *between)
    for lower, upper in pairwise(path):
        if not (is_authority(upper) and issued_by(lower, upper)):
            raise CertificateUnusable("The chain of the certificate does not hold together.")
    if not any(is_authority(top) and issued_by(path[-1], top) for top in tops):
        raise CertificateUnusable("The certificate leads to no root that the service names.")
    return Credential(key, certificate, between)


def is_authority(certificate: x509.Certificate) -> bool:
    """Whether it may issue certificates (RFC 5280 §4.2.1.9)."""
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, *MALFORMED):
        return False


def names_of(certificate: x509.Certificate) -> tuple[str, ...]:
    """Its subjectAltNames, written `kind:value`; other kinds are left out."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, *MALFORMED):
        return ()
    names = []
    for each in found:
        try:
            names.append(str(GeneralName.from_x509(each)))
        except InvalidInput:
            continue
    return tuple(names)


def validity(certificate: x509.Certificate) -> tuple[datetime, datetime]:
    """From when to when it is valid, in UTC."""
    return certificate.not_valid_before_utc, certificate.not_valid_after_utc
