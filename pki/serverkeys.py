"""Keys that the service makes for devices that cannot make their own (RFC 7030 §4.4). They are kept nowhere."""

from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from core.errors import InvalidInput
from core.secret import Secret
from hsm.keys import new_key
from hsm.ports import KEY_ALGORITHMS, KeyAlgorithm
from pki import profiles
from pki.desk import Desk
from pki.endpoints import Endpoint
from pki.x509.csr import read_csr
from pki.x509.keys import key_algorithm
from pki.x509.profile import Profile

# RFC 7030 §4.4.1.1, §4.4.1.2: the attributes by which a client asks for a key that is encrypted beside TLS.
_ENCRYPTED: Final = (
    bytes.fromhex("060b2a864886f70d0109100225"),
    bytes.fromhex("060b2a864886f70d0109100236"),
)


class KeyEncryptionRefused(InvalidInput):
    """The key was to be encrypted with another key, which is not done here; in the clear it is not handed out then."""

    code = "key_encryption_refused"
    next_step = "Leave DecryptKeyIdentifier and AsymmetricDecryptKeyIdentifier out; TLS protects the key on its way."


@dataclass(frozen=True)
class NewPair:
    """A new key, as PKCS #8 in DER, and a request (DER) for it with subject and names of the one that was sent."""

    key: Secret
    csr: bytes


def make(desk: Desk, through: Endpoint, csr: bytes) -> NewPair:
    """Make a key of the kind of that in the request; where the endpoint's profile takes no such, of one that it takes.

    Raises KeyEncryptionRefused, and what `read_csr` raises: who asks signs with any key, as tools do.
    """
    asked = read_csr(csr)
    if any(attribute in asked.der for attribute in _ENCRYPTED):
        raise KeyEncryptionRefused("Keys are not encrypted here but by TLS.")
    profile = profiles.load(desk, through.profile)
    key = new_key(_algorithm(key_algorithm(asked.public_key), profile))
    builder = x509.CertificateSigningRequestBuilder(asked.subject)
    if asked.names:
        names = x509.SubjectAlternativeName([name.to_x509() for name in asked.names])
        builder = builder.add_extension(names, critical=False)
    hashed = isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey)
    digest = hashes.SHA256() if hashed else None
    request = builder.sign(key, digest)
    return NewPair(
        Secret(
            key.private_bytes(
                serialization.Encoding.DER,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        ),
        request.public_bytes(serialization.Encoding.DER),
    )


def _algorithm(wished: str, profile: Profile) -> KeyAlgorithm:
    able = [name for name in KEY_ALGORITHMS if name in profile.key_algorithms]
    return next((name for name in able if name == wished), able[0])
