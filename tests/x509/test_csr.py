"""Requests: what honest tools send is read; everything else is refused with one of our codes, and never crashes."""

import base64
import ipaddress
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, padding, rsa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import IkewardenError
from hsm.ports import KeyAlgorithm
from pki.x509 import der
from pki.x509.csr import (
    MAX_OCTETS,
    CsrExtensionRefused,
    CsrMalformed,
    CsrSignatureInvalid,
    CsrTooLarge,
    read_csr,
)
from pki.x509.names import GeneralName, InvalidName
from tests.pki import requests
from tests.pki.requests import (
    DER,
    PEM,
    extension,
    extension_request,
    handmade,
    private_key,
    request,
    san_extension,
)

# What a stranger's request is told about on stderr: pki.x509.csr silences it, pytest brings it back.
pytestmark = pytest.mark.filterwarnings("ignore:Attribute's length must be")

UNKNOWN_OID = bytes.fromhex("06042a030405")  # 1.2.3.4.5
ALGORITHMS: tuple[KeyAlgorithm, ...] = (
    "ec-p256",
    "ec-p384",
    "ec-p521",
    "rsa-2048",
    "rsa-3072",
    "ed25519",
)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_keys_of_all_kinds_are_read(algorithm: KeyAlgorithm) -> None:
    key = private_key(algorithm)
    read = read_csr(request(("dns:gw1.example", "ip:192.0.2.1"), key=key))
    assert read.public_key == key.public_key()
    assert [str(each) for each in read.names] == ["dns:gw1.example", "ip:192.0.2.1"]


@pytest.mark.parametrize("algorithm", ["ec-p256", "ed25519"])
def test_pem_der_and_base64_are_the_same_request(algorithm: KeyAlgorithm) -> None:
    raw = request((), key=private_key(algorithm))
    text = x509.load_der_x509_csr(raw).public_bytes(PEM)
    one_line = base64.b64encode(raw)
    wrapped = base64.encodebytes(raw)
    for form in (raw, text, b"\n " + text + b"\n", one_line, wrapped, b"\r\n" + wrapped):
        assert read_csr(form).der == raw


def test_a_second_request_is_not_passed_over() -> None:
    text = x509.load_der_x509_csr(request((), key=private_key("ec-p256"))).public_bytes(PEM)
    with pytest.raises(CsrMalformed, match="more than one"):
        read_csr(text + text)


def test_the_shortest_possible_request_is_not_taken_for_base64() -> None:
    raw = handmade(
        key=private_key("ed25519"), algorithm=bytes.fromhex("300506032b6570"), attributes=b""
    )
    assert read_csr(raw).der == raw


def test_a_request_by_openssl_is_read() -> None:
    command = (
        "openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout /dev/null "
        "-config /dev/null -subj /O=Example/CN=gw1 "
        "-addext subjectAltName=DNS:gw1.example,IP:2001:db8::1,email:a@example.com"
    )
    made = subprocess.run(command.split(), capture_output=True, check=True)
    read = read_csr(made.stdout)
    assert read.subject.rfc4514_string() == "CN=gw1,O=Example"
    assert [str(each) for each in read.names] == [
        "dns:gw1.example",
        "ip:2001:db8::1",
        "email:a@example.com",
    ]


def test_a_request_by_strongswan_is_read() -> None:
    key = subprocess.run(
        ["pki", "--gen", "--type", "ecdsa", "--outform", "pem"], capture_output=True, check=True
    )
    command = "pki --req --type priv --dn CN=gw1 --san gw1.example --san 192.0.2.1"
    made = subprocess.run(command.split(), input=key.stdout, capture_output=True, check=True)
    read = read_csr(made.stdout)
    assert [str(each) for each in read.names] == ["dns:gw1.example", "ip:192.0.2.1"]


def test_the_same_key_has_the_same_fingerprint() -> None:
    one, other = read_csr(request()), read_csr(request(("dns:gw2.example",)))
    assert one.spki_sha256 == other.spki_sha256
    assert one.spki_sha256 != read_csr(request(key=private_key("ec-p384"))).spki_sha256


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" ",
        b"0",
        b"-----",
        b"-----BEGIN CERTIFICATE REQUEST-----\n-----END CERTIFICATE REQUEST-----",
        b"MII",
        b"\xff\xfe",
        "MIIé".encode(),
        request(encoding=DER)[:-1],
        request(encoding=DER) + b"\x00",
        request(encoding=PEM)[:-40],
        private_key()
        .public_key()
        .public_bytes(PEM, serialization.PublicFormat.SubjectPublicKeyInfo),
        b"0" * 100,
    ],
    ids=[
        "nothing",
        "blank",
        "zero",
        "dashes",
        "empty pem",
        "short base64",
        "binary",
        "not ascii",
        "cut der",
        "trailing octet",
        "cut pem",
        "public key",
        "zeros",
    ],
)
def test_what_is_no_request_is_malformed(data: bytes) -> None:
    with pytest.raises(CsrMalformed) as caught:
        read_csr(data)
    assert caught.value.code == "csr_malformed"


def _ber(raw: bytes) -> bytes:
    """The same request with an outer indefinite length, as BER allows and DER does not."""
    outer = der.read(raw, 0)
    return b"\x30\x80" + raw[outer.content :] + b"\x00\x00"


def _long_length(raw: bytes) -> bytes:
    """The same request with one octet of length more than is needed."""
    outer = der.read(raw, 0)
    size = outer.end - outer.content
    return b"\x30\x83" + size.to_bytes(3, "big") + raw[outer.content :]


@pytest.mark.parametrize("spoil", [_ber, _long_length], ids=["indefinite", "long length"])
def test_ber_is_malformed(spoil: object) -> None:
    assert callable(spoil)
    with pytest.raises(CsrMalformed):
        read_csr(spoil(request()))


def test_the_limit_is_on_octets() -> None:
    filler = extension(UNKNOWN_OID, bytes(MAX_OCTETS))
    with pytest.raises(CsrTooLarge) as caught:
        read_csr(handmade(attributes=extension_request(filler)))
    assert caught.value.code == "csr_too_large"
    big = handmade(attributes=extension_request(extension(UNKNOWN_OID, bytes(MAX_OCTETS - 500))))
    assert read_csr(big).names == ()


def test_another_version_is_malformed() -> None:
    with pytest.raises(CsrMalformed):
        read_csr(handmade(version=1))


def test_a_signature_by_another_key_proves_nothing() -> None:
    other = private_key("ec-p256", 1001)
    stolen = handmade(
        public_key=private_key()
        .public_key()
        .public_bytes(DER, serialization.PublicFormat.SubjectPublicKeyInfo),
        key=other,
    )
    with pytest.raises(CsrSignatureInvalid) as caught:
        read_csr(stolen)
    assert caught.value.code == "csr_signature_invalid"


def test_an_altered_request_proves_nothing() -> None:
    raw = request()
    with pytest.raises(CsrSignatureInvalid):
        read_csr(raw.replace(b"gw1.example", b"gw2.example"))


@pytest.mark.parametrize(
    ("signature", "algorithm"),
    [
        (b"", requests.SHA256_ECDSA),
        (b"\x30\x06\x02\x01\x01\x02\x01\x01", requests.SHA256_ECDSA),
        (b"\x30\x06\x02\x01\x00\x02\x01\x00", requests.SHA256_ECDSA),
        (bytes(64), bytes.fromhex("300506032b6570")),  # Ed25519 over an EC key
        (bytes(256), bytes.fromhex("300d06092a864886f70d01010b0500")),  # RSA over an EC key
        (bytes(8), bytes.fromhex("300606042a030405")),  # 1.2.3.4.5
        (bytes(8), b"\x30\x00"),
    ],
    ids=["empty", "one", "zero", "ed25519", "rsa", "unknown", "no algorithm"],
)
def test_signatures_that_cannot_be_are_refused(signature: bytes, algorithm: bytes) -> None:
    with pytest.raises((CsrSignatureInvalid, CsrMalformed)):
        read_csr(handmade(signature=signature, algorithm=algorithm))


MD5, SHA1 = hashes.MD5(), hashes.SHA1()  # noqa: S303 - to show that they are refused


@pytest.mark.parametrize("digest", [MD5, SHA1], ids=["md5", "sha1"])
def test_broken_hashes_prove_nothing(digest: hashes.HashAlgorithm) -> None:
    key = private_key("rsa-2048")
    algorithm = {
        "md5": bytes.fromhex("300d06092a864886f70d0101040500"),
        "sha1": bytes.fromhex("300d06092a864886f70d0101050500"),
    }[digest.name]
    assert isinstance(key, rsa.RSAPrivateKey)
    raw = rsa_request(key, algorithm, digest)
    with pytest.raises(CsrSignatureInvalid, match=digest.name):
        read_csr(raw)


def rsa_request(key: rsa.RSAPrivateKey, algorithm: bytes, digest: hashes.HashAlgorithm) -> bytes:
    raw = handmade(key=key, algorithm=algorithm, signature=b"")
    info = der.children(raw, der.read(raw, 0))[0]
    tbs = raw[info.start : info.end]
    # `cryptography` makes no MD5 signature; a DigestInfo by hand is the same thing.
    signature = (
        _md5_signature(key, tbs)
        if isinstance(digest, hashes.MD5)
        else key.sign(tbs, padding.PKCS1v15(), digest)
    )
    return handmade(key=key, algorithm=algorithm, signature=signature)


def _md5_signature(key: rsa.RSAPrivateKey, data: bytes) -> bytes:
    digest = hashes.Hash(MD5)
    digest.update(data)
    info = bytes.fromhex("3020300c06082a864886f70d020505000410") + digest.finalize()
    size = key.key_size // 8
    block = b"\x00\x01" + b"\xff" * (size - len(info) - 3) + b"\x00" + info
    numbers = key.private_numbers()
    number = pow(int.from_bytes(block, "big"), numbers.d, numbers.public_numbers.n)
    return number.to_bytes(size, "big")


@pytest.mark.parametrize("kind", ["dsa", "ed448", "x25519", "unknown", "broken", "off curve"])
def test_other_kinds_of_keys_are_malformed(kind: str) -> None:
    public = {
        "dsa": lambda: _spki(dsa.generate_private_key(2048).public_key()),
        "ed448": lambda: _spki(ed448.Ed448PrivateKey.generate().public_key()),
        "x25519": lambda: bytes.fromhex("302a300506032b656e032100") + bytes(32),
        "unknown": lambda: bytes.fromhex("300b300606042a030405030100"),
        "broken": lambda: bytes.fromhex("300a300506032b6570030100"),
        "off curve": lambda: _off(_spki(private_key().public_key())),
    }[kind]()
    with pytest.raises(CsrMalformed):
        read_csr(handmade(public_key=public))


def _spki(key: dsa.DSAPublicKey | ed448.Ed448PublicKey | object) -> bytes:
    return key.public_bytes(DER, serialization.PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined]  # any public key


def _off(point: bytes) -> bytes:
    """With another y, which is neither that of the point nor of its opposite."""
    return point[:-1] + bytes([point[-1] ^ 2])


def test_curves_and_sizes_are_left_to_the_profile() -> None:
    key = ec.generate_private_key(ec.SECP256K1())
    assert isinstance(read_csr(request(key=key)).public_key, ec.EllipticCurvePublicKey)


# Extensions


def test_who_asks_to_be_an_authority_is_refused() -> None:
    wanted = (x509.BasicConstraints(ca=True, path_length=None), True)
    with pytest.raises(CsrExtensionRefused, match="authority") as caught:
        read_csr(request(extensions=[wanted]))
    assert caught.value.code == "csr_extension_refused"


def test_usages_may_be_asked_for_and_are_not_heeded() -> None:
    read = read_csr(
        request(
            extensions=[
                (x509.BasicConstraints(ca=False, path_length=None), True),
                (x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.CODE_SIGNING]), True),
                (x509.SubjectKeyIdentifier(b"mine"), False),
                (x509.OCSPNoCheck(), False),
            ]
        )
    )
    assert len(read.names) == 1


@pytest.mark.parametrize("critical", [True, False])
def test_unknown_extensions_are_refused_when_critical(critical: bool) -> None:
    attributes = extension_request(extension(UNKNOWN_OID, b"\x05\x00", critical=critical))
    if critical:
        with pytest.raises(CsrExtensionRefused, match=r"1\.2\.3\.4\.5"):
            read_csr(handmade(attributes=attributes))
    else:
        assert read_csr(handmade(attributes=attributes)).names == ()


def test_known_but_unsuitable_critical_extensions_are_refused() -> None:
    constraints = x509.NameConstraints([x509.DNSName("example")], None)
    with pytest.raises(CsrExtensionRefused, match=r"2\.5\.29\.30"):
        read_csr(request(extensions=[(constraints, True)]))


@pytest.mark.parametrize(
    "attributes",
    [
        extension_request(san_extension(b"\x82\x01a"), san_extension(b"\x82\x01b")),
        extension_request(san_extension(b"\x82\x01a"))
        + extension_request(extension(UNKNOWN_OID, b"")),
        extension_request(extension(requests.OID_SAN, b"")),
        extension_request(extension(requests.OID_SAN, b"\x30\x05")),
        extension_request(san_extension(b"\x82\x02\xff\xff")),
        extension_request(san_extension(b"\x87\x03\x01\x02\x03")),  # an address of three octets
        extension_request(san_extension(b"\xa3\x02\x30\x00")),  # x400Address
        extension_request(san_extension(b"\xa5\x04\xa1\x02\x0c\x00")),  # ediPartyName
        extension_request(san_extension(b"\xa4\x04\x30\x02\x05\x00")),
        extension_request(san_extension(b"\x9f\x1f\x00")),
        extension_request(b"\x30\x00"),
        der.tlv(der.SEQUENCE, requests.OID_EXTENSION_REQUEST),
        der.tlv(der.SEQUENCE, requests.OID_EXTENSION_REQUEST + b"\x31\x00"),
        der.tlv(der.SEQUENCE, requests.OID_EXTENSION_REQUEST + b"\x31\x02\x05\x00"),
    ],
    ids=[
        "same twice",
        "two attributes",
        "empty value",
        "cut value",
        "not IA5",
        "short address",
        "x400",
        "edi",
        "bad dn",
        "high tag",
        "empty extension",
        "no values",
        "empty set",
        "null",
    ],
)
def test_unreadable_extensions_are_refused(attributes: bytes) -> None:
    with pytest.raises((CsrMalformed, InvalidName)):
        read_csr(handmade(attributes=attributes))


@pytest.mark.parametrize(
    "general_name",
    [
        b"\x82\x00",
        b"\x82\x0b*.gw.example",
        der.tlv(0x82, b"gw1.example\x00.evil"),
        der.tlv(0x82, b"gw 1"),
        der.tlv(0x81, b"no mailbox"),
        der.tlv(0x86, b"relative"),
        der.tlv(0x88, b"\x2a\x03"),  # registeredID
        der.tlv(0xA0, UNKNOWN_OID + der.tlv(0xA0, b"\x05\x00")),  # otherName
        der.tlv(0x87, bytes(4)),
        der.tlv(0xA4, b"\x30\x00"),
    ],
    ids=["empty", "wildcard", "nul", "blank", "email", "uri", "oid", "other", "zero", "empty dn"],
)
def test_names_no_certificate_may_carry_are_refused(general_name: bytes) -> None:
    with pytest.raises((InvalidName, CsrMalformed)):
        read_csr(handmade(attributes=extension_request(san_extension(general_name))))


# Subjects


def _subject(oid: str, tag: int, value: bytes) -> bytes:
    attribute = der.tlv(der.SEQUENCE, bytes.fromhex(oid) + der.tlv(tag, value))
    return der.tlv(der.SEQUENCE, der.tlv(0x31, attribute))


@pytest.mark.parametrize(
    "subject",
    [
        b"\x30\x02\x31\x00",
        _subject("0603550403", 0x13, b"\xff\xfe"),
        _subject("0603550403", 0x0C, b"\xff\xfe"),
        _subject("0603550403", 0x1E, b"abc"),
        _subject("0603550403", 0x05, b""),
        _subject("0603550403", 0x30, b"\x05\x00"),
        _subject("0603550403", 0x0C, b""),
    ],
    ids=["empty rdn", "not printable", "not utf-8", "odd bmp", "null", "sequence", "empty"],
)
def test_unreadable_subjects_are_refused_or_read(subject: bytes) -> None:
    try:
        read = read_csr(handmade(subject=subject))
    except CsrMalformed:
        return
    read.subject.rfc4514_string()


# Junk


BASES = [
    request(("dns:gw1.example", "ip:192.0.2.1", "email:a@example.com", "dn:CN=a,O=b")),
    request(subject=requests.name(CN="gw1", O="Example", C="DE"), key=private_key("ec-p384")),
    handmade(attributes=extension_request(extension(UNKNOWN_OID, b"\x05\x00"))),
    request(key=private_key("ed25519")),
    request(key=private_key("rsa-2048")),
]


@settings(max_examples=600, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(BASES),
    st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), min_size=1, max_size=6),
    st.sampled_from(["set", "insert", "delete"]),
)
def test_a_mutated_request_gives_our_error_and_nothing_else(
    base: bytes, changes: list[tuple[int, int]], how: str
) -> None:
    data = bytearray(base)
    for place, value in changes:
        at = place % len(data)
        if how == "set":
            data[at] = value
        elif how == "insert":
            data.insert(at, value)
        else:
            del data[at]
    _read_or_refuse(bytes(data))


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(BASES[:3]), st.integers(0, 5000), st.integers(0, 255))
def test_a_mutated_request_that_is_signed_again_gives_a_request_or_our_error(
    base: bytes, place: int, value: int
) -> None:
    # The signature would catch nearly all mutations before names and extensions are looked at.
    info = der.children(base, der.read(base, 0))[0]
    tbs = bytearray(base[info.start : info.end])
    tbs[place % len(tbs)] = value
    key = private_key("ec-p384") if base is BASES[1] else private_key()
    signed = der.bit_string(requests.sign(key, bytes(tbs)))
    _read_or_refuse(der.tlv(der.SEQUENCE, bytes(tbs) + requests.SHA256_ECDSA + signed))


@given(st.binary(max_size=600))
def test_junk_gives_our_error_and_nothing_else(data: bytes) -> None:
    _read_or_refuse(data)


@given(
    st.lists(
        st.builds(
            der.tlv,
            st.sampled_from([0x81, 0x82, 0x86, 0x87, 0x88, 0xA4, 0xA0]),
            st.binary(max_size=24),
        ),
        max_size=4,
    )
)
def test_any_general_names_give_names_or_our_error(general_names: list[bytes]) -> None:
    attributes = extension_request(san_extension(b"".join(general_names)))
    read = _read_or_refuse(handmade(attributes=attributes))
    if read:
        for each in read:
            assert GeneralName.parse(str(each)) == each


def _read_or_refuse(data: bytes) -> tuple[GeneralName, ...] | None:
    try:
        read = read_csr(data)
    except IkewardenError as error:
        assert error.code != "internal_error"  # noqa: PT017 - either outcome is right
        return None
    read.subject.rfc4514_string()
    return read.names


def test_addresses_keep_their_shortest_form() -> None:
    raw = request(("ip:2001:db8:0:0::1",))
    assert ipaddress.ip_address(read_csr(raw).names[0].value).compressed == "2001:db8::1"
