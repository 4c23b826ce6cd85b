"""Which belongs to which: key to certificate, certificate to issuer, certificate to identity. Pure."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from ike.daemons.port import Credential, CredentialMismatch, TokenKey

_SPKI: Final = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
# What reading extensions raises where they are not as RFC 5280 wants them.
MALFORMED: Final = (x509.DuplicateExtension, x509.UnsupportedGeneralNameType, ValueError)


def key_id(public: CertificatePublicKeyTypes) -> str:
    """SHA-1 of the key bits of a SubjectPublicKeyInfo (RFC 5280 §4.2.1.2 (1)), lower-case hexadecimal.

    charon and NSS name keys by it.
    """
    return x509.SubjectKeyIdentifier.from_public_key(public).digest.hex()


def issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether the issuer's name and key are those that stand behind the certificate's signature."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def is_root(certificate: x509.Certificate) -> bool:
    """Whether a certificate names itself as its issuer, and so is a trust anchor for every daemon."""
    return certificate.issuer == certificate.subject


def require_match(credential: Credential) -> None:
    """Make sure that key, certificate and chain belong together; raises CredentialMismatch."""
    if _public_half(credential) != credential.certificate.public_key().public_bytes(*_SPKI):
        raise CredentialMismatch("The private key is not the one that was certified.")
    _require_chain([credential.certificate, *credential.chain])


def _public_half(credential: Credential) -> bytes:
    if isinstance(credential.key, TokenKey):
        return credential.key.public
    try:
        private = load_pem_private_key(credential.key.reveal(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # The library's words may quote the key.
        raise CredentialMismatch("The private key is no unencrypted PKCS #8 key in PEM.") from None
    return private.public_key().public_bytes(*_SPKI)


def _require_chain(chain: Sequence[x509.Certificate]) -> None:
    for below, above in pairwise(chain):
        if not issued_by(below, above):
            raise CredentialMismatch(
                f"The certificate of {below.subject.rfc4514_string()} was not issued by the next in the"
                f" chain, {above.subject.rfc4514_string()}."
            )


def identities(certificate: x509.Certificate) -> Iterator[str]:
    """The identities that a certificate proves to an IKE peer, written as in Connection: `dns:`, `ip:`, `email:` of
    subjectAltName, then `dn:` with the subject as RFC 4514 text.
    """
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, *MALFORMED):
        names = None  # a peer may show anything
    for name in names or ():
        if isinstance(name, x509.DNSName):
            yield f"dns:{name.value}"
        elif isinstance(name, x509.IPAddress):
            yield f"ip:{name.value}"
        elif isinstance(name, x509.RFC822Name):
            yield f"email:{name.value}"
    if certificate.subject.rdns:
        yield f"dn:{certificate.subject.rfc4514_string()}"
