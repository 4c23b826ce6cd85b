"""Certificate signing requests: honest ones, and ones put together by hand that no honest tool would make."""

from collections.abc import Iterable
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID

from hsm.keys import new_key
from hsm.ports import KeyAlgorithm, PrivateKey
from pki.issuance import IssueRequest
from pki.x509 import der
from pki.x509.names import GeneralName
from pki.x509.signing import HashlessPrivateKey
from tests.fixtures.desk import stock_key

DER = serialization.Encoding.DER
PEM = serialization.Encoding.PEM
OID_EXTENSION_REQUEST = bytes.fromhex("06092a864886f70d01090e")  # 1.2.840.113549.1.9.14
OID_SAN = bytes.fromhex("0603551d11")
SHA256_ECDSA = bytes.fromhex("300a06082a8648ce3d040302")
GW1 = ("dns:gw1.example",)


def private_key(algorithm: KeyAlgorithm = "ec-p256", number: int = 1000) -> PrivateKey:
    """A requester's key; the same one for the same arguments."""
    return stock_key(algorithm, number)


def name(**attributes: str) -> x509.Name:
    """A distinguished name: `name(CN="gw1", O="Example")`."""
    oids = {
        "CN": NameOID.COMMON_NAME,
        "O": NameOID.ORGANIZATION_NAME,
        "OU": NameOID.ORGANIZATIONAL_UNIT_NAME,
        "C": NameOID.COUNTRY_NAME,
        "SN": NameOID.SERIAL_NUMBER,
        "UID": NameOID.USER_ID,
    }
    return x509.Name([x509.NameAttribute(oids[key], value) for key, value in attributes.items()])


def request(
    names: Iterable[str] = GW1,
    *,
    key: PrivateKey | None = None,
    subject: x509.Name | None = None,
    extensions: Iterable[tuple[x509.ExtensionType, bool]] = (),
    digest: Any = "default",
    encoding: serialization.Encoding = DER,
) -> bytes:
    """A PKCS#10 request that asks for these names."""
    signer = key or private_key()
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject or x509.Name([]))
    wanted = [GeneralName.parse(each).to_x509() for each in names]
    if wanted:
        builder = builder.add_extension(x509.SubjectAlternativeName(wanted), critical=False)
    for value, critical in extensions:
        builder = builder.add_extension(value, critical)
    if digest == "default":
        digest = None if isinstance(signer, HashlessPrivateKey) else hashes.SHA256()
    return builder.sign(signer, digest).public_bytes(encoding)


def issue_request(
    names: Iterable[str] = GW1,
    profile: str = "gateway",
    *,
    key: PrivateKey | None = None,
    **rest: Any,
) -> IssueRequest:
    """What a door would pass on for an honest request: with a key of its own, as nobody else's may be compromised."""
    return IssueRequest(csr=request(names, key=key or new_key("ec-p256")), profile=profile, **rest)


def san_extension(general_names: bytes, *, critical: bool = False) -> bytes:
    """A subjectAltName extension around DER GeneralNames."""
    return extension(OID_SAN, der.tlv(der.SEQUENCE, general_names), critical=critical)


def extension(oid: bytes, value: bytes, *, critical: bool = False) -> bytes:
    """One Extension; `oid` with its header."""
    flag = der.tlv(0x01, b"\xff") if critical else b""
    return der.tlv(der.SEQUENCE, oid + flag + der.tlv(der.OCTET_STRING, value))


def extension_request(*extensions: bytes) -> bytes:
    """The attribute that asks for extensions (RFC 2985 §5.4.2)."""
    wanted = der.tlv(der.SEQUENCE, b"".join(extensions))
    return der.tlv(der.SEQUENCE, OID_EXTENSION_REQUEST + der.tlv(0x31, wanted))


def handmade(
    *,
    key: PrivateKey | None = None,
    version: int = 0,
    subject: bytes = b"\x30\x00",
    public_key: bytes | None = None,
    attributes: bytes = b"",
    tail: bytes = b"",
    algorithm: bytes = SHA256_ECDSA,
    signature: bytes | None = None,
) -> bytes:
    """A request from its parts, each of them DER as it shall stand there.

    It is rightly signed unless `signature` is given.
    """
    signer = key or private_key()
    spki = public_key or signer.public_key().public_bytes(
        DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    info = der.tlv(
        der.SEQUENCE,
        der.integer(version) + subject + spki + der.tlv(0xA0, attributes) + tail,
    )
    made = sign(signer, info) if signature is None else signature
    return der.tlv(der.SEQUENCE, info + algorithm + der.bit_string(made))


def sign(key: PrivateKey, data: bytes) -> bytes:
    """A signature with SHA-256."""
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(data, ec.ECDSA(hashes.SHA256()))
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(data, padding.PKCS1v15(), hashes.SHA256())
    return key.sign(data)
