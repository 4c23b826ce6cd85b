"""CMP messages by hand: good ones, and whatever of them shall be another than usual."""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from pki.tokens import CreatedToken
from pki.x509 import der
from tests.api.site import new_csr

IR, CR, P10CR, KUR, RR, NESTED, GENM, ERROR, CERT_CONF, POLL_REQ = (
    0, 2, 4, 7, 11, 20, 21, 23, 24, 25,
)  # fmt: skip
_ECDSA_SHA256 = bytes.fromhex("300a06082a8648ce3d040302")
_OLD_CERTIFICATE = bytes.fromhex("06092b0601050507050105")
_NOBODY = b"\xa4\x02\x30\x00"


def oid(text: str) -> bytes:
    """An OBJECT IDENTIFIER by its content in hex."""
    return der.tlv(0x06, bytes.fromhex(text))


def sequence(*parts: bytes) -> bytes:
    """A SEQUENCE."""
    return der.tlv(der.SEQUENCE, b"".join(parts))


@dataclass(frozen=True)
class Crafted:
    """A message with a MAC by hand, in PBM (or PBMAC1) with 500 rounds and HMAC with SHA-256, or with a signature by
    `key`: the tag of its body, what stands under it, and whatever of the header shall be another than usual.
    """

    secret: bytes
    reference: str
    tag: int
    body: bytes
    transaction: bytes
    nonce: bytes = b"n" * 16
    answers: bytes = b""
    at: datetime | None = None
    rounds: int = 500
    version: int = 2
    protected: bool = True
    pbmac1: bool = False
    implicit: bool = False
    key: ec.EllipticCurvePrivateKey | None = None
    certificates: Sequence[bytes] = ()
    sender: bytes = _NOBODY
    claims: int | None = None  # rounds, that are not made
    time: bytes | None = None  # messageTime as it stands there

    def der(self) -> bytes:
        """The message."""
        algorithm = _ECDSA_SHA256 if self.key is not None else self._mac()
        octets = {2: self.reference.encode(), 4: self.transaction, 5: self.nonce, 6: self.answers}
        confirm = sequence(sequence(oid("2b0601050507040d") + b"\x05\x00"))
        header = sequence(
            der.integer(self.version),
            self.sender,
            _NOBODY,
            self._time(),
            der.tlv(0xA1, algorithm) if self.protected else b"",
            *(
                der.tlv(0xA0 | place, der.tlv(der.OCTET_STRING, value))
                for place, value in octets.items()
                if value
            ),
            der.tlv(0xA8, confirm) if self.implicit else b"",
        )
        body = der.tlv(0xA0 | self.tag, self.body)
        over = sequence(header, body)
        bits = self._signature(over) if self.key is not None else self._code(over)
        protection = der.tlv(0xA0, der.bit_string(bits)) if self.protected else b""
        shown = der.tlv(0xA1, sequence(*self.certificates)) if self.certificates else b""
        return sequence(header, body, protection, shown)

    _SALT = b"s" * 16

    def _time(self) -> bytes:
        if self.time is not None:
            return der.tlv(0xA0, der.tlv(der.GENERALIZED_TIME, self.time))
        return b"" if self.at is None else der.tlv(0xA0, der.generalized_time(self.at))

    def _mac(self) -> bytes:
        hmac_sha256 = sequence(oid("2a864886f70d0209"))
        salt = der.tlv(der.OCTET_STRING, self._SALT)
        rounds = der.integer(self.rounds if self.claims is None else self.claims)
        if self.pbmac1:
            pbkdf2 = sequence(salt, rounds, der.integer(32), hmac_sha256)
            kdf = sequence(oid("2a864886f70d01050c"), pbkdf2)
            return sequence(oid("2a864886f70d01050e"), sequence(kdf, hmac_sha256))
        owf = sequence(oid("608648016503040201"))
        return sequence(oid("2a864886f67d07420d"), sequence(salt, owf, rounds, hmac_sha256))

    def _code(self, over: bytes) -> bytes:
        if self.pbmac1:
            key = hashlib.pbkdf2_hmac(
                "sha256", self.secret, self._SALT, min(self.rounds, 100_000), 32
            )
        else:
            key = self.secret + self._SALT
            for _ in range(min(self.rounds, 10_000)):
                key = hashlib.sha256(key).digest()
        return hmac.digest(key, over, "sha256")

    def _signature(self, over: bytes) -> bytes:
        assert self.key is not None
        return self.key.sign(over, ec.ECDSA(hashes.SHA256()))


def crafted(made: CreatedToken, tag: int, body: bytes, transaction: bytes, **rest: Any) -> Crafted:
    """A message of the holder of a token."""
    assert made.cmp is not None
    return Crafted(made.cmp.reveal(), made.view.id, tag, body, transaction, **rest)


def signed(
    key: ec.EllipticCurvePrivateKey,
    certificate: bytes,
    tag: int,
    body: bytes,
    transaction: bytes,
    **rest: Any,
) -> Crafted:
    """A message of the holder of a certificate (DER)."""
    return Crafted(
        b"", "", tag, body, transaction, **{"key": key, "certificates": (certificate,), **rest}
    )


def csr(name: str, key: Any = None) -> bytes:
    """A request for a DNS name (DER)."""
    return x509.load_pem_x509_csr(new_csr(name, key).encode()).public_bytes(Encoding.DER)


@dataclass(frozen=True)
class Template:
    """A certificate request in CRMF for a DNS name, signed with its own key. `before` and `after` are fields of the
    template beside subject, publicKey and extensions; `extensions` come after the subjectAltName; `proof`, where it is
    given, stands in the place of the signature; `old` is a certificate (DER) that is to be succeeded.
    """

    name: str
    key: ec.EllipticCurvePrivateKey
    number: int = 0
    before: bytes = b""
    after: bytes = b""
    extensions: bytes = b""
    proof: bytes | None = None
    old: bytes | None = None

    def message(self) -> bytes:
        """A CertReqMsg."""
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)]).public_bytes()
        known = self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        inside = known[der.read(known, 0).content :]
        name = sequence(der.tlv(0x82, self.name.encode()))
        alternative = sequence(oid("551d11"), der.tlv(der.OCTET_STRING, name))
        template = sequence(
            self.before,
            der.tlv(0xA5, subject),
            der.tlv(0xA6, inside),
            self.after,
            der.tlv(0xA9, alternative + self.extensions),
        )
        controls = (
            b"" if self.old is None else sequence(sequence(_OLD_CERTIFICATE, named(self.old)))
        )
        asked = sequence(der.integer(self.number), template, controls)
        proof = self.proof
        if proof is None:
            signature = self.key.sign(asked, ec.ECDSA(hashes.SHA256()))
            proof = der.tlv(0xA1, _ECDSA_SHA256 + der.bit_string(signature))
        return sequence(asked, proof)

    def body(self) -> bytes:
        """The body of an ir, cr or kur."""
        return sequence(self.message())


def named(certificate: bytes) -> bytes:
    """A CertId (RFC 4211 §6.5)."""
    known = x509.load_der_x509_certificate(certificate)
    issuer = der.tlv(0xA4, known.issuer.public_bytes())
    return sequence(issuer, der.integer(known.serial_number))


def revocation(certificate: bytes, reason: int | None = None) -> bytes:
    """The body of an rr for a certificate (DER)."""
    known = x509.load_der_x509_certificate(certificate)
    serial = der.integer(known.serial_number)
    template = sequence(b"\x81" + serial[1:], der.tlv(0xA3, known.issuer.public_bytes()))
    details = b""
    if reason is not None:
        octets = reason.to_bytes(reason.bit_length() // 8 + 1, "big")
        value = der.tlv(der.OCTET_STRING, der.tlv(der.ENUMERATED, octets))
        details = sequence(sequence(oid("551d15"), value))
    return sequence(sequence(template, details))


def confirmation(certificate: bytes, number: int = -1, *, accepted: bool = True) -> bytes:
    """The body of a certConf, for a certificate whose signature has SHA-256."""
    status = b"" if accepted else sequence(der.integer(2))
    digest = der.tlv(der.OCTET_STRING, hashlib.sha256(certificate).digest())
    return sequence(sequence(digest, _number(number), status))


def poll(number: int = -1) -> bytes:
    """The body of a pollReq."""
    return sequence(sequence(_number(number)))


def _number(number: int) -> bytes:
    return der.tlv(der.INTEGER, number.to_bytes(1, "big", signed=True))
