"""A SCEP client (RFC 8894) written for the tests: another reader and writer of the messages than the service's own."""

import base64
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from asn1crypto import algos, cms, core
from asn1crypto import csr as asn1_csr
from asn1crypto import x509 as asn1
from cryptography import x509
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.padding import PKCS7
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from cryptography.x509.oid import AttributeOID, NameOID

from core.secret import Secret
from hsm.seal import ScryptCost, Seal
from hsm.sealedfiles import SealedFileKeyStore
from pki import ra_credential
from pki.actors import Role, Scope
from pki.endpoints import Endpoint, EstDoor, ScepDoor
from tests.api.plain import Listener, listening
from tests.api.site import CLOCKWORK, Site

DER = Encoding.DER
PROFILE = "network-device"
ENDPOINTS = (
    Endpoint("devices", PROFILE, scep=ScepDoor()),
    Endpoint("gateways", "gateway", scep=ScepDoor()),
    Endpoint("old", PROFILE, scep=ScepDoor(legacy=True)),
    Endpoint("tokens", PROFILE, scep=ScepDoor(ways=("token",))),
    Endpoint("renewals", PROFILE, scep=ScepDoor(ways=("certificate",))),
    Endpoint("watched", PROFILE, manual=True, scep=ScepDoor()),
    Endpoint("shut", PROFILE, est=EstDoor()),
)
_OID = "2.16.840.1.113733.1.9."
HASHES: dict[str, Any] = {
    "md5": hashes.MD5,
    "sha1": hashes.SHA1,
    "sha256": hashes.SHA256,
    "sha384": hashes.SHA384,
    "sha512": hashes.SHA512,
}
CIPHERS: dict[str, tuple[str, Any, int, int]] = {
    "aes128": ("2.16.840.1.101.3.4.1.2", AES, 16, 16),
    "aes256": ("2.16.840.1.101.3.4.1.42", AES, 32, 16),
    "des3": ("1.2.840.113549.3.7", TripleDES, 24, 8),
    "des": ("1.3.14.3.2.7", TripleDES, 8, 8),
}


def new_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    """An RSA key."""
    return rsa.generate_private_key(65537, bits)


def self_signed(key: rsa.RSAPrivateKey, name: str) -> x509.Certificate:
    """What a device signs with that has no certificate yet."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )


def csr(key: Any, name: str, password: str | None = None) -> bytes:
    """A request for a DNS name, with a challenge password or without."""
    builder = x509.CertificateSigningRequestBuilder(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    ).add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    if password is not None:
        builder = builder.add_attribute(AttributeOID.CHALLENGE_PASSWORD, password.encode())
    return builder.sign(key, hashes.SHA256()).public_bytes(DER)


def signed_with_sha1(request: bytes, key: rsa.RSAPrivateKey) -> bytes:
    """The same request as an old device signs it, and no library of today."""
    whole = asn1_csr.CertificationRequest.load(request)
    info = whole["certification_request_info"]
    whole["signature_algorithm"] = {"algorithm": "sha1_rsa"}
    whole["signature"] = key.sign(info.dump(), padding.PKCS1v15(), hashes.SHA1())  # noqa: S303
    return bytes(whole.dump(force=True))


@dataclass(frozen=True)
class Answer:
    """A CertRep, taken apart."""

    status: str
    fail: str | None
    text: str
    transaction: str
    recipient_nonce: bytes
    sender_nonce: bytes
    content: bytes | None
    signature_algorithm: str
    signer: x509.Certificate

    @property
    def certificates(self) -> list[x509.Certificate]:
        """What a success holds."""
        assert self.status == "0", self
        assert self.content is not None
        return pkcs7.load_der_pkcs7_certificates(self.content)

    @property
    def certificate(self) -> x509.Certificate:
        """The certificate that a success holds."""
        [found] = self.certificates
        return found


@dataclass(frozen=True)
class Device:
    """A device: its key, the certificate that it signs with, and how it speaks."""

    listener: Listener
    endpoint: str
    key: rsa.RSAPrivateKey
    certificate: x509.Certificate
    cipher: str = "aes128"
    digest: str = "sha256"
    oaep: str | None = None  # the hash function of OAEP, where keys are encrypted so
    by_get: bool = False
    ra: x509.Certificate | None = None
    signing_time: datetime | None = None
    nonce: bytes = field(default_factory=lambda: secrets.token_bytes(16))
    transaction: str = field(default_factory=lambda: secrets.token_hex(16))

    @classmethod
    def new(cls, listener: Listener, endpoint: str, name: str, **rest: Any) -> "Device":
        """A device without a certificate."""
        key = rest.pop("key", None) or new_key()
        return cls(listener, endpoint, key, self_signed(key, name), **rest)

    def with_certificate(self, certificate: x509.Certificate, **rest: Any) -> "Device":
        """The same with a certificate of the service, and a new transaction."""
        fresh = {"nonce": secrets.token_bytes(16), "transaction": secrets.token_hex(16)}
        return replace(self, certificate=certificate, **(fresh | rest))

    def authority(self) -> x509.Certificate:
        """The registration authority that messages are encrypted to."""
        return self.ra or ca_certificates(self.listener, self.endpoint)[0]

    def message(self, kind: str, content: bytes) -> bytes:
        """A signed and encrypted message."""
        return self.signed(kind, self.sealed(content))

    def sealed(self, content: bytes) -> bytes:
        """An envelope."""
        oid, algorithm, size, block = CIPHERS[self.cipher]
        secret, iv = secrets.token_bytes(size), secrets.token_bytes(block)
        adder = PKCS7(block * 8).padder()
        full = secret * 3 if self.cipher == "des" else secret  # one key thrice is single DES
        operation = Cipher(algorithm(full), CBC(iv)).encryptor()
        padded = adder.update(content) + adder.finalize()
        ra = self.authority()
        key = ra.public_key()
        assert isinstance(key, rsa.RSAPublicKey)
        return sealed_as(
            oid,
            iv,
            operation.update(padded) + operation.finalize(),
            ra,
            key.encrypt(secret, self._padding()),
            transport_of(self.oaep),
        )

    def _padding(self) -> padding.AsymmetricPadding:
        return padding_of(self.oaep) if self.oaep else padding.PKCS1v15()

    def signed(self, kind: str, content: bytes, **changes: Any) -> bytes:
        """A pkiMessage around an envelope."""
        made = hashes.Hash(HASHES[self.digest]())
        made.update(content)
        attributes = [
            _attribute("content_type", cms.ContentType("data")),
            _attribute("message_digest", core.OctetString(made.finalize())),
            _attribute(f"{_OID}2", core.PrintableString(kind)),
            _attribute(f"{_OID}5", core.OctetString(changes.get("nonce", self.nonce))),
            _attribute(f"{_OID}7", core.PrintableString(self.transaction)),
        ]
        if self.signing_time is not None:
            moment = self.signing_time.astimezone(UTC)
            form = "utc_time" if moment.year < 2050 else "generalized_time"  # RFC 5652 §11.3
            attributes.append(_attribute("signing_time", cms.Time({form: moment})))
        signed = cms.CMSAttributes(attributes)
        signature = self.key.sign(signed.dump(), padding.PKCS1v15(), HASHES[self.digest]())
        who = asn1.Certificate.load(self.certificate.public_bytes(DER))
        algorithm = {"algorithm": self.digest}
        by = cms.SignerInfo(
            {
                "version": "v1",
                "sid": cms.SignerIdentifier(
                    {"issuer_and_serial_number": name_and_number(self.certificate)}
                ),
                "digest_algorithm": algorithm,
                "signed_attrs": signed,
                "signature_algorithm": {"algorithm": "rsassa_pkcs1v15"},
                "signature": signature,
            }
        )
        whole = {
            "version": "v1",
            "digest_algorithms": [algorithm],
            "encap_content_info": {"content_type": "data", "content": content},
            "certificates": [who],
            "signer_infos": [by],
        }
        return bytes(cms.ContentInfo({"content_type": "signed_data", "content": whole}).dump())

    def send(self, message: bytes) -> Answer:
        """Send a message; the answer must be a CertRep for it, signed by the registration authority."""
        reply = exchange(self.listener, self.endpoint, message, by_get=self.by_get)
        assert reply.status == 200, reply
        assert reply.headers["content-type"] == "application/x-pki-message"
        return self.opened(reply.body)

    def ask(self, kind: str, content: bytes) -> Answer:
        """Send a message with this content."""
        return self.send(self.message(kind, content))

    def enroll(self, name: str, password: str | None) -> Answer:
        """Ask for a first certificate."""
        return self.ask("19", csr(self.key, name, password))

    def renew(self, name: str, key: rsa.RSAPrivateKey | None = None, kind: str = "17") -> Answer:
        """Ask for the next certificate, for another key."""
        return self.ask(kind, csr(key or new_key(), name))

    def poll(self) -> Answer:
        """Ask whether the certificate is there."""
        return self.ask("20", self.names())

    def names(self) -> bytes:
        """What CertPoll holds: IssuerAndSubject."""
        return _sequence(
            self.authority().issuer.public_bytes(), self.certificate.subject.public_bytes()
        )

    def look(self, kind: str, certificate: x509.Certificate) -> Answer:
        """GetCert or GetCRL."""
        return self.ask(kind, name_and_number(certificate).dump())

    def opened(self, body: bytes) -> Answer:
        """Check an answer and open it."""
        signed = cms.ContentInfo.load(body, strict=True)["content"]
        [by] = signed["signer_infos"]
        signer = x509.load_der_x509_certificate(signed["certificates"][0].chosen.dump())
        key = signer.public_key()
        assert isinstance(key, rsa.RSAPublicKey)
        digest = HASHES[by["digest_algorithm"]["algorithm"].native]()
        over = b"\x31" + by["signed_attrs"].dump()[1:]
        key.verify(by["signature"].native, over, padding.PKCS1v15(), digest)
        found = {each["type"].native: each["values"][0].native for each in by["signed_attrs"]}
        content = signed["encap_content_info"]["content"].native
        made = hashes.Hash(digest)
        made.update(content or b"")
        assert found["message_digest"] == made.finalize()
        assert found[f"{_OID}2"] == "3"
        return Answer(
            status=found[f"{_OID}3"],
            fail=found.get(f"{_OID}4"),
            text=found.get("1.3.6.1.5.5.7.24.1", ""),
            transaction=found[f"{_OID}7"],
            recipient_nonce=found[f"{_OID}6"],
            sender_nonce=found[f"{_OID}5"],
            content=self._opened(content) if content else None,
            signature_algorithm=by["signature_algorithm"]["algorithm"].native,
            signer=signer,
        )

    def _opened(self, content: bytes) -> bytes:
        enveloped = cms.ContentInfo.load(content, strict=True)["content"]
        [to] = enveloped["recipient_infos"]
        assert to.chosen["rid"].chosen["serial_number"].native == self.certificate.serial_number
        how = to.chosen["key_encryption_algorithm"]
        assert how.dump() == cms.KeyEncryptionAlgorithm(transport_of(self.oaep)).dump()
        secret = self.key.decrypt(to.chosen["encrypted_key"].native, self._padding())
        inner = enveloped["encrypted_content_info"]
        oid, algorithm, _, block = CIPHERS[self.cipher]
        assert inner["content_encryption_algorithm"]["algorithm"].dotted == oid
        iv = inner["content_encryption_algorithm"]["parameters"].native
        operation = Cipher(algorithm(secret), CBC(iv)).decryptor()
        padded = operation.update(inner["encrypted_content"].native) + operation.finalize()
        remover = PKCS7(block * 8).unpadder()
        return remover.update(padded) + remover.finalize()


def padding_of(oaep: str) -> padding.OAEP:
    """OAEP with this hash function, in its mask too."""
    return padding.OAEP(padding.MGF1(HASHES[oaep]()), HASHES[oaep](), None)


def transport_of(oaep: str | None) -> dict[str, Any]:
    """The name of a way to encrypt keys; that of OAEP with SHA-1 has no parts, as they are the defaults."""
    if oaep is None:
        return {"algorithm": "rsaes_pkcs1v15"}
    within = {
        "hash_algorithm": {"algorithm": oaep},
        "mask_gen_algorithm": {"algorithm": "mgf1", "parameters": {"algorithm": oaep}},
    }
    parameters = algos.RSAESOAEPParams.load(b"\x30\x00") if oaep == "sha1" else within
    return {"algorithm": "rsaes_oaep", "parameters": parameters}


def sealed_as(
    cipher: str,
    iv: bytes,
    content: bytes,
    ra: x509.Certificate,
    encrypted_key: bytes,
    transport: dict[str, Any] | None = None,
) -> bytes:
    """An EnvelopedData of these parts."""
    to = {
        "version": "v0",
        "rid": cms.RecipientIdentifier({"issuer_and_serial_number": name_and_number(ra)}),
        "key_encryption_algorithm": transport or transport_of(None),
        "encrypted_key": encrypted_key,
    }
    whole = {
        "version": "v0",
        "recipient_infos": [cms.RecipientInfo({"ktri": to})],
        "encrypted_content_info": {
            "content_type": "data",
            "content_encryption_algorithm": {
                "algorithm": cipher,
                "parameters": core.OctetString(iv),
            },
            "encrypted_content": content,
        },
    }
    return bytes(cms.ContentInfo({"content_type": "enveloped_data", "content": whole}).dump())


def exchange(listener: Listener, endpoint: str, message: bytes, *, by_get: bool = False) -> Any:
    """Send a message as it is."""
    path = f"/scep/{endpoint}?operation=PKIOperation"
    if by_get:
        return listener.send("GET", f"{path}&message={quote(base64.b64encode(message), safe='')}")
    return listener.send("POST", path, message, {"Content-Type": "application/x-pki-message"})


def ca_certificates(listener: Listener, endpoint: str) -> Sequence[x509.Certificate]:
    """GetCACert: the registration authority first, then who issues, then all above."""
    reply = listener.send("GET", f"/scep/{endpoint}?operation=GetCACert")
    assert reply.status == 200, reply
    assert reply.headers["content-type"] == "application/x-x509-ca-ra-cert"
    found = pkcs7.load_der_pkcs7_certificates(reply.body)
    return sorted(found, key=lambda each: (_is_authority(each), each.issuer == each.subject))


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _attribute(name: str, value: Any) -> Any:
    return cms.CMSAttribute({"type": name, "values": [value]})


def name_and_number(certificate: x509.Certificate) -> Any:
    """What GetCert and GetCRL hold."""
    return cms.IssuerAndSerialNumber(
        {
            "issuer": asn1.Name.load(certificate.issuer.public_bytes()),
            "serial_number": certificate.serial_number,
        }
    )


def _sequence(*parts: bytes) -> bytes:
    content = b"".join(parts)
    size = len(content)
    head = bytes((0x30, size)) if size < 0x80 else bytes((0x30, 0x82)) + size.to_bytes(2, "big")
    return head + content


@contextmanager
def open_doors(site: Site) -> Iterator[Listener]:
    """Two processes that answer for a site with several endpoints, for the duration of a block."""
    directory = site.directory / f"keys-{site.url.rpartition('/')[2]}"
    seal = Seal.create(directory, Secret("correct horse battery"), cost=ScryptCost(n=2**14))
    rules = replace(site.desk.rules, endpoints={each.name: each for each in ENDPOINTS})
    site.desk = replace(site.desk, rules=rules, blobs=SealedFileKeyStore(directory, seal))
    assert ra_credential.ensure(site.desk, CLOCKWORK, now=site.clock()) == 1
    with listening(site) as running:
        yield running


def token(listener: Listener, name: str, uses: int = 1, profile: str = PROFILE) -> str:
    """An enroller's token for one device."""
    scope = Scope(profiles=(profile,), names=(f"dns:{name}",))
    return listener.site.token(Role.ENROLLER, name=name, uses=uses, scope=scope)
