"""SCEP as Windows speaks it (ClientCertificateInstall CSP, Intune, NDES clients).

No Windows was at hand. The bytes are made here from what is written about it:

- paths, `message=` and User-Agent: what servers logged of Windows 10 and 11 (smallstep/certificates#1932,
  NeySlim/ultimate-ca-manager#228, fleetdm/fleet#26912): GET …/pkiclient.exe?operation=GetCACaps, GetCACert, a POST;
- keys encrypted by RSAES-OAEP, and opened only where the answer has the same (bcgit/bc-java#953, smallstep/pkcs7#4,
  ultimate-ca-manager#228, where that made a Windows 11 accept its certificate);
- what the registration authority must be: IX509SCEPEnrollment::Initialize in Microsoft's documentation, and
  microsoft/Intune-Resource-Access#87 (error 0x8010002c);
- the attributes of the request: [MS-WCCE] 2.2.2.7, with the key usage 0xA0 and the purposes of the CSP's example.
"""

import base64
from collections.abc import Iterator

import pytest
from asn1crypto import core
from asn1crypto import csr as asn1_csr
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID

from pki import authorities
from pki.actors import Role, Scope
from pki.certificates import find
from pki.x509 import serials
from pki.x509.csr import read_csr
from tests.api import scepping
from tests.api.plain import Listener
from tests.api.scepping import (
    DER,
    Device,
    ca_certificates,
    padding_of,
    sealed_as,
    transport_of,
)
from tests.api.site import Site
from tests.fixtures.desk import stock_key

AGENT = {
    "User-Agent": "Mozilla/4.0 (compatible; Win32; NDES client 10.0.26100.9278/ge_release_svc_prod3)"
}
REQUEST_AGENT = "1.3.6.1.4.1.311.20.2.1"  # szOID_ENROLLMENT_AGENT
INTUNE = "IntuneDeviceId://7d8a1c5e-0f5e-4a47-9d6f-5f1a2b3c4d5e"
_numbers = iter(range(10_000))


@pytest.fixture(scope="module")
def listener(site: Site) -> Iterator[Listener]:
    """Two processes that answer for an installation with an endpoint for Windows."""
    with scepping.open_doors(site) as running:
        yield running


def token(listener: Listener, *names: str, profile: str = "network-device", uses: int = 1) -> str:
    scope = Scope(profiles=(profile,), names=names)
    return listener.site.token(Role.ENROLLER, name="win1", uses=uses, scope=scope)


def windows(listener: Listener, name: str, *, oaep: str | None = "sha1", **rest: object) -> Device:
    key = stock_key("rsa-2048", 7000 + next(_numbers))
    return Device.new(listener, "devices/pkiclient.exe", name, key=key, oaep=oaep, cipher="aes256",
                      ra=ca_certificates(listener, "devices")[0], **rest)  # fmt: skip


def tagged(tag: int, *parts: bytes) -> bytes:
    """An element of DER."""
    content = b"".join(parts)
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    return bytes((tag, 0x82)) + size.to_bytes(2, "big") + content


def attribute(kind: str, value: bytes) -> bytes:
    return tagged(0x30, core.ObjectIdentifier(kind).dump(), tagged(0x31, value))


def bmp(text: str) -> bytes:
    return bytes(core.BMPString(text).dump())


def told_of_itself() -> list[bytes]:
    """What Windows puts into each request ([MS-WCCE] 2.2.2.7.1, 2.2.2.7.2, 2.2.2.7.4, 2.2.2.7.10)."""
    strings = ("WIN1", "WORKGROUP\\WIN1$", "dmcertinst.exe")
    client = [core.Integer(5).dump(), *(core.UTF8String(each).dump() for each in strings)]
    provider = bmp("Microsoft Software Key Storage Provider")
    pairs = (("ValidityPeriod", "Years"), ("ValidityPeriodUnits", "1"))
    return [
        attribute("1.3.6.1.4.1.311.13.2.3", core.IA5String("10.0.26100.2").dump()),
        attribute("1.3.6.1.4.1.311.21.20", tagged(0x30, *client)),
        attribute(
            "1.3.6.1.4.1.311.13.2.2",
            tagged(0x30, core.Integer(1).dump(), provider, tagged(0x03, b"\0")),
        ),
        *(
            attribute("1.3.6.1.4.1.311.13.2.1", tagged(0x30, bmp(name), bmp(value)))
            for name, value in pairs
        ),
    ]


def request(
    key: rsa.RSAPrivateKey, name: str, password: str, *alternatives: x509.GeneralName
) -> bytes:
    """A request as CertEnroll makes it for the CSP."""
    usage = x509.KeyUsage(True, False, True, False, False, False, False, False, False)
    purposes = (ExtendedKeyUsageOID.CLIENT_AUTH, x509.ObjectIdentifier("1.3.6.1.4.1.311.10.3.4"))
    policies = bytes.fromhex(
        "300c300a06082b06010505070302"
    )  # application policies: the purposes once more
    builder = (
        x509.CertificateSigningRequestBuilder(
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        )
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        .add_extension(
            x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.311.21.10"), policies),
            critical=False,
        )
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(name), *alternatives]), critical=False
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_attribute(x509.ObjectIdentifier("1.2.840.113549.1.9.7"), password.encode())
    )
    return with_attributes(builder.sign(key, hashes.SHA256()).public_bytes(DER), key)


def with_attributes(made: bytes, key: rsa.RSAPrivateKey) -> bytes:
    """The same request with what Windows tells of itself."""
    whole = asn1_csr.CertificationRequest.load(made)
    info = whole["certification_request_info"]
    fixed = (info[each].dump() for each in ("version", "subject", "subject_pk_info"))
    attributes = sorted([*told_of_itself(), *(each.dump() for each in info["attributes"])])
    signed = tagged(0x30, *fixed, tagged(0xA0, *attributes))
    signature = key.sign(signed, padding.PKCS1v15(), hashes.SHA256())
    return tagged(0x30, signed, whole["signature_algorithm"].dump(), tagged(0x03, b"\0", signature))


def refused(answer: scepping.Answer) -> tuple[str | None, str]:
    assert answer.status == "2", answer
    return answer.fail, answer.text.partition(":")[0]


@pytest.mark.parametrize("message", ["", "&message=default"])
def test_windows_finds_what_it_looks_for(listener: Listener, message: str) -> None:
    """It adds /pkiclient.exe to the URL that it was given."""
    path = "/scep/devices/pkiclient.exe?operation="
    said = listener.send("GET", f"{path}GetCACaps{message}", b"", AGENT)
    assert (said.status, said.headers["content-type"]) == (200, "text/plain")
    assert {"AES", "SHA-256", "SHA-512", "POSTPKIOperation", "Renewal"} <= {
        *said.body.decode().split("\n")
    }
    reply = listener.send("GET", f"{path}GetCACert{message}", b"", AGENT)
    assert reply.headers["content-type"] == "application/x-x509-ca-ra-cert"
    # One of these is meant by the CSP's CAThumbprint.
    assert all(
        each.public_bytes(DER) in reply.body
        for each in authorities.load(listener.site.desk, "issuing").chain
    )


def test_windows_takes_the_registration_authority_for_one(listener: Listener) -> None:
    """Signed by who issues; for signatures and for keys; and of a purpose that makes it one."""
    ra, issuing, _ = ca_certificates(listener, "devices")
    ra.verify_directly_issued_by(issuing)
    usage = ra.extensions.get_extension_for_oid(ExtensionOID.KEY_USAGE).value
    assert usage.digital_signature and usage.key_encipherment  # type: ignore[attr-defined]  # noqa: PT018
    purposes = ra.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert REQUEST_AGENT in {each.dotted_string for each in purposes}


@pytest.mark.parametrize("oaep", [None, "sha1", "sha256", "sha384", "sha512"])
def test_the_answer_opens_as_the_request_did(listener: Listener, oaep: str | None) -> None:
    """`Device` looks at it: the way in which the key of the answer is encrypted is, octet by octet, the request's."""
    name = "win1.example"
    new = windows(listener, name, oaep=oaep)
    made = new.ask("19", request(new.key, name, token(listener, f"dns:{name}"))).certificate
    usage = made.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [name]
    purposes = made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert "1.3.6.1.5.5.7.3.17" in {each.dotted_string for each in purposes}, "the profile decides"


def test_windows_renews_by_its_certificate(listener: Listener) -> None:
    name = "win2.example"
    new = windows(listener, name)
    first = new.ask("19", request(new.key, name, token(listener, f"dns:{name}"))).certificate
    holder = new.with_certificate(first)
    next_key = stock_key("rsa-2048", 7000 + next(_numbers))
    assert isinstance(next_key, rsa.RSAPrivateKey)
    second = holder.ask("17", request(next_key, name, "")).certificate
    kept = find(listener.site.desk, serials.to_hex(second.serial_number))
    assert kept.renewed_from == serials.to_hex(first.serial_number)


def test_the_id_that_intune_gives_a_device_needs_a_profile_with_uris(listener: Listener) -> None:
    name, uri = "win3.example", x509.UniformResourceIdentifier(INTUNE)
    new = windows(listener, name)
    asked = request(new.key, name, token(listener, f"dns:{name}", f"uri:{INTUNE}"), uri)
    assert refused(new.ask("19", asked)) == ("2", "name_kind_refused")


def test_a_upn_is_refused_by_its_kind(listener: Listener) -> None:
    name = "win4.example"
    upn = x509.OtherName(
        x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3"), core.UTF8String("ann@corp.example").dump()
    )
    new = windows(listener, name)
    answer = new.ask("19", request(new.key, name, token(listener, f"dns:{name}"), upn))
    assert refused(answer) == ("2", "invalid_name")


def envelope(new: Device, how: dict[str, object], encrypted: bytes) -> bytes:
    oid = scepping.CIPHERS["aes256"][0]
    return sealed_as(oid, bytes(16), bytes(64), new.authority(), encrypted, how)


def test_other_ways_to_encrypt_a_key_are_refused(listener: Listener) -> None:
    new = windows(listener, "win5.example")
    labelled = transport_of("sha256")
    labelled["parameters"]["p_source_algorithm"] = {"algorithm": "p_specified", "parameters": b"x"}
    md5 = transport_of("md5")
    for how in (labelled, md5, {"algorithm": "aes256_wrap"}):
        answer = new.send(new.signed("19", envelope(new, how, bytes(256))))
        assert refused(answer) == ("0", "scep_algorithm_refused"), how


def test_no_failure_of_oaep_is_told_from_another(listener: Listener) -> None:
    """A padding that is none, a key of another length, no content: Manger (2001) needed to tell them apart."""
    new = windows(listener, "win6.example")
    public = new.authority().public_key()
    assert isinstance(public, rsa.RSAPublicKey)
    how = transport_of("sha1")
    short, whole = (public.encrypt(bytes(size), padding_of("sha1")) for size in (16, 32))
    answers = {
        (answer.fail, answer.text)
        for each in (bytes(256), b"\xff" * 256, b"", short, whole)
        for answer in [new.send(new.signed("19", envelope(new, how, each)))]
    }
    assert len(answers) == 1
    assert next(iter(answers))[0] == "1"


def test_what_certreq_writes_is_read() -> None:
    """`certreq -new`: NEW CERTIFICATE REQUEST, in lines that end as Windows ends them."""
    key = stock_key("rsa-2048", 7000 + next(_numbers))
    assert isinstance(key, rsa.RSAPrivateKey)
    encoded = base64.encodebytes(request(key, "win7.example", "")).decode().replace("\n", "\r\n")
    mark = "-----{} NEW CERTIFICATE REQUEST-----\r\n"
    read = read_csr((mark.format("BEGIN") + encoded + mark.format("END")).encode())
    assert [str(each) for each in read.names] == ["dns:win7.example"]
