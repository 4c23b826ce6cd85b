"""Answers: CertRep (RFC 8894 §3.3.2), and the certificates of GetCACert and GetNextCACert (§4.2, §4.7)."""

from collections.abc import Iterable
from dataclasses import dataclass
from secrets import token_bytes
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.hazmat.primitives.serialization.pkcs7 import serialize_certificates

from pki.scep import messages
from pki.scep.algorithms import DIGESTS, NULL, Digest, oid
from pki.scep.envelopes import DATA
from pki.scep.messages import PkiMessage
from pki.x509 import der

SUCCESS, FAILURE, PENDING = "0", "2", "3"
BAD_ALG, BAD_MESSAGE_CHECK, BAD_REQUEST, BAD_TIME, BAD_CERT_ID = "0", "1", "2", "3", "4"
_SIGNED_DATA: Final = oid("1.2.840.113549.1.7.2")
# Not the name of hash and RSA together: charon's pki before 6.0 knows only this one.
_RSA: Final = der.tlv(der.SEQUENCE, oid("1.2.840.113549.1.1.1") + NULL)
_CONTENT_TYPE, _MESSAGE_DIGEST = oid("1.2.840.113549.1.9.3"), oid("1.2.840.113549.1.9.4")
_FAIL_INFO_TEXT: Final = oid("1.3.6.1.5.5.7.24.1")
_SET, _PRINTABLE, _UTF8 = 0x31, 0x13, 0x0C
_NONCE: Final = 16


@dataclass(frozen=True)
class Outcome:
    """What became of a message. `envelope` is what a success holds; `fail_info` and its text tell why there is none."""

    status: str
    envelope: bytes | None = None
    fail_info: str | None = None
    text: str = ""


def cert_rep(
    to: PkiMessage,
    outcome: Outcome,
    key: rsa.RSAPrivateKey,
    certificate: x509.Certificate,
    digest: Digest,
) -> bytes:
    """Encode and sign the answer to a message (RFC 8894 §3.2)."""
    attributes = [
        _text(messages.TRANSACTION_ID, to.transaction_id),
        _text(messages.MESSAGE_TYPE, messages.CERT_REP),
        _text(messages.PKI_STATUS, outcome.status),
        _attribute(oid(messages.SENDER_NONCE), der.tlv(der.OCTET_STRING, token_bytes(_NONCE))),
        _attribute(oid(messages.RECIPIENT_NONCE), der.tlv(der.OCTET_STRING, to.sender_nonce)),
    ]
    if outcome.fail_info is not None:
        attributes.append(_text(messages.FAIL_INFO, outcome.fail_info))
    if outcome.text:
        attributes.append(
            _attribute(_FAIL_INFO_TEXT, der.tlv(_UTF8, outcome.text.encode(errors="replace")))
        )
    return _signed(outcome.envelope, attributes, key, certificate, digest)


def next_ca(content: bytes, key: rsa.RSAPrivateKey, certificate: x509.Certificate) -> bytes:
    """The certificates of who will issue (`certs_only`), signed by who answers now (RFC 8894 §4.7.1)."""
    return _signed(content, [], key, certificate, DIGESTS["sha256"])


def certs_only(certificates: Iterable[x509.Certificate]) -> bytes:
    """A SignedData with certificates and nothing signed (RFC 8894 §3.4), in DER."""
    return serialize_certificates(list(certificates), Encoding.DER)


def crl_only(crl: bytes) -> bytes:
    """The same with a revocation list (DER) and nothing else."""
    return _degenerate(der.tlv(0xA1, crl))


def _degenerate(held: bytes) -> bytes:
    signed = der.integer(1) + der.tlv(_SET, b"") + der.tlv(der.SEQUENCE, DATA) + held
    whole = der.tlv(der.SEQUENCE, signed + der.tlv(_SET, b""))
    return der.tlv(der.SEQUENCE, _SIGNED_DATA + der.tlv(0xA0, whole))


def _attribute(name: bytes, value: bytes) -> bytes:
    return der.tlv(der.SEQUENCE, name + der.tlv(_SET, value))


def _text(name: str, value: str) -> bytes:
    return _attribute(oid(name), der.tlv(_PRINTABLE, value.encode("ascii")))


def _signed(
    content: bytes | None,
    attributes: list[bytes],
    key: rsa.RSAPrivateKey,
    certificate: x509.Certificate,
    digest: Digest,
) -> bytes:
    over = hashes.Hash(digest.make())
    over.update(content or b"")
    every = [
        *attributes,
        _attribute(_CONTENT_TYPE, DATA),
        _attribute(_MESSAGE_DIGEST, der.tlv(der.OCTET_STRING, over.finalize())),
    ]
    octets = b"".join(sorted(every))  # X.690 §11.6
    signature = key.sign(der.tlv(_SET, octets), padding.PKCS1v15(), digest.make())
    issuer = certificate.issuer.public_bytes()
    by = der.tlv(
        der.SEQUENCE,
        der.integer(1)
        + der.tlv(der.SEQUENCE, issuer + der.integer(certificate.serial_number))
        + digest.identifier
        + der.tlv(0xA0, octets)
        + _RSA
        + der.tlv(der.OCTET_STRING, signature),
    )
    # RFC 8894 §3.3.2: a failure and a wait hold nothing. That is told by an empty content: OpenSSL's PKCS7_verify, with
    # which devices check answers, does not do without one.
    held = der.tlv(der.OCTET_STRING, content or b"")
    signed = (
        der.integer(1)
        + der.tlv(_SET, digest.identifier)
        + der.tlv(der.SEQUENCE, DATA + der.tlv(0xA0, held))
        + der.tlv(0xA0, certificate.public_bytes(Encoding.DER))
        + der.tlv(_SET, by)
    )
    return der.tlv(der.SEQUENCE, _SIGNED_DATA + der.tlv(0xA0, der.tlv(der.SEQUENCE, signed)))
