"""How answers are protected (RFC 9483 §3.2): by the secret where the request was, else by a signature."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.serialization import Encoding

from core.secret import Secret
from pki.cmp.messages import Message, Reply, body_of, header_for, message, protected_part
from pki.cmp.protection import Mac
from pki.ra_credential import RaCredential
from pki.x509 import der

_DIRECTORY_NAME: Final = 0xA4
# sha256WithRSAEncryption (RFC 4055 §5)
_RSA_SHA256: Final = bytes.fromhex("300d06092a864886f70d01010b0500")


@dataclass(frozen=True)
class Outgoing:
    """An answer, before it is protected. `confirmed`: nothing will be confirmed. `chain`: what comes with it."""

    asked: Message
    reply: Reply
    nonce: bytes
    now: datetime
    confirmed: bool = False
    chain: tuple[x509.Certificate, ...] = ()


class Shield(Protocol):
    """What protects an answer."""

    def around(self, out: Outgoing) -> bytes:
        """The whole PKIMessage (DER)."""
        ...


@dataclass(frozen=True)
class MacShield:
    """A MAC by the secret of the request, with the same parameters; the sender is who issues."""

    mac: Mac
    secret: Secret
    issuer: x509.Name

    def around(self, out: Outgoing) -> bytes:
        """The whole PKIMessage (DER)."""
        header = header_for(
            out.asked,
            _named(self.issuer),
            now=out.now,
            nonce=out.nonce,
            algorithm=self.mac.identifier,
            kid=out.asked.sender_kid,
            confirmed=out.confirmed,
        )
        body = body_of(out.reply)
        protection = self.mac.over(self.secret, protected_part(header, body))
        return message(header, body, protection, _encoded(out.chain))


@dataclass(frozen=True)
class SignatureShield:
    """A signature by the registration authority, which comes first in extraCerts, with its chain."""

    ra: RaCredential
    chain: tuple[x509.Certificate, ...]

    def around(self, out: Outgoing) -> bytes:
        """The whole PKIMessage (DER)."""
        certificate = self.ra.certificate
        key = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
        header = header_for(
            out.asked,
            _named(certificate.subject),
            now=out.now,
            nonce=out.nonce,
            algorithm=_RSA_SHA256,
            kid=key.value.digest,
            confirmed=out.confirmed,
        )
        body = body_of(out.reply)
        signed = self.ra.key.sign(protected_part(header, body), padding.PKCS1v15(), hashes.SHA256())
        return message(header, body, signed, _encoded((certificate, *self.chain, *out.chain)))


@dataclass(frozen=True)
class NoShield:
    """Nothing: the registration authority is not there yet."""

    issuer: x509.Name

    def around(self, out: Outgoing) -> bytes:
        """The whole PKIMessage (DER)."""
        sender = _named(self.issuer)
        header = header_for(out.asked, sender, now=out.now, nonce=out.nonce, algorithm=None)
        return message(header, body_of(out.reply), None)


def _named(name: x509.Name) -> bytes:
    """A GeneralName (DER)."""
    return der.tlv(_DIRECTORY_NAME, name.public_bytes())


def _encoded(certificates: Iterable[x509.Certificate]) -> tuple[bytes, ...]:
    """Each once, and no root: whoever does not have it must not take it from here (RFC 9483 §3.3)."""
    found = (each for each in certificates if each.subject != each.issuer)
    return tuple(dict.fromkeys(each.public_bytes(Encoding.DER) for each in found))
