"""SCEP as routers and firewalls speak it, whose makers' peculiarities are written down somewhere.

None of the devices was at hand. The bytes are made here from:

- Cisco IOS: what routers logged of themselves and servers of them (micromdm/scep#211: the path, `message=` with the
  trustpoint's name, HTTP/1.0, the User-Agent; smallstep/certificates#916 and #2100: messages by GET in lines of base64,
  MD5 and single DES of old images), and the subject with unstructuredName of `fqdn` in Cisco's PKI guide;
- FortiGate: the CLI reference of FortiOS 8.0 (csr-include-device-sn, name-encoding, ca-identifier);
- MikroTik: the RouterOS manual (System/Certificates: 3DES and SHA-1 by POST where the server names them, else DES and
  MD5 by GET) and micromdm/scep#104 (a senderNonce in the answer);
- Juniper: the documents name `ca-identity`, which becomes `message=`.
"""

import base64
import socket
from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID

from pki.certificates import find
from pki.x509 import serials
from tests.api import scepping
from tests.api.plain import Listener
from tests.api.scepping import DER, Answer, Device, ca_certificates, token
from tests.api.site import Site
from tests.fixtures.desk import stock_key

CISCO = "Mozilla/4.0 (compatible; MSIE 5.0; Cisco PKI)"
UNSTRUCTURED_NAME = x509.ObjectIdentifier("1.2.840.113549.1.9.2")
CHALLENGE = x509.ObjectIdentifier("1.2.840.113549.1.9.7")
_numbers = iter(range(10_000))


@pytest.fixture(scope="module")
def listener(site: Site) -> Iterator[Listener]:
    """Two processes that answer for an installation with several endpoints."""
    with scepping.open_doors(site) as running:
        yield running


def key() -> rsa.RSAPrivateKey:
    made = stock_key("rsa-2048", 8000 + next(_numbers))
    assert isinstance(made, rsa.RSAPrivateKey)
    return made


def device(listener: Listener, endpoint: str, name: str, **rest: object) -> Device:
    ra = ca_certificates(listener, endpoint)[0]
    return Device.new(listener, endpoint, name, key=key(), ra=ra, **rest)


def request(
    own: rsa.RSAPrivateKey,
    subject: list[x509.NameAttribute[str]],
    password: str | None,
    *names: str,
    authority: bool = False,
) -> bytes:
    """A request with this subject; without names it has no subjectAltName."""
    builder = x509.CertificateSigningRequestBuilder(x509.Name(subject))
    usage = x509.KeyUsage(True, False, True, authority, False, authority, authority, False, False)
    builder = builder.add_extension(usage, critical=True)
    if names:
        alternatives = x509.SubjectAlternativeName([x509.DNSName(each) for each in names])
        builder = builder.add_extension(alternatives, critical=False)
    if password is not None:
        builder = builder.add_attribute(CHALLENGE, password.encode())
    return builder.sign(own, hashes.SHA256()).public_bytes(DER)


def common(name: str) -> x509.NameAttribute[str]:
    return x509.NameAttribute(NameOID.COMMON_NAME, name)


def of_cisco(name: str) -> list[x509.NameAttribute[str]]:
    """`fqdn` stands before the subject that was configured."""
    return [x509.NameAttribute(UNSTRUCTURED_NAME, name, _ASN1Type.IA5String), common(name)]


def by_cisco(listener: Listener, endpoint: str, query: str) -> tuple[bytes, bytes]:
    """One request as IOS writes it; head and body of the answer, read until the service hangs up."""
    head = f"GET /scep/{endpoint}/pkiclient.exe?{query} HTTP/1.0\r\nUser-Agent: {CISCO}\r\nHost: 192.0.2.1\r\n\r\n"
    with socket.create_connection(("127.0.0.1", listener.port), timeout=30) as wire:
        wire.sendall(head.encode())
        whole = b""
        while part := wire.recv(65536):
            whole += part
    before, _, body = whole.partition(b"\r\n\r\n")
    return before, body


def ask_by_cisco(listener: Listener, new: Device, kind: str, asked: bytes) -> Answer:
    """PKIOperation by GET, in lines of base64."""
    encoded = base64.encodebytes(new.message(kind, asked)).decode()
    head, body = by_cisco(
        listener, new.endpoint, f"operation=PKIOperation&message={quote(encoded, safe='')}"
    )
    assert head.startswith(b"HTTP/1.0 200") or head.startswith(b"HTTP/1.1 200"), head
    return new.opened(body)


def test_cisco_ios_enrolls_and_renews(listener: Listener) -> None:
    name = "branch1.example"
    head, body = by_cisco(listener, "devices", "operation=GetCACert&message=IKEWARDEN")
    assert b"application/x-x509-ca-ra-cert" in head
    assert ca_certificates(listener, "devices")[1].public_bytes(DER) in body
    new = device(listener, "devices", name)
    word = token(listener, name)
    first = ask_by_cisco(listener, new, "19", request(new.key, of_cisco(name), word, name))
    made = first.certificate
    assert made.subject.rfc4514_string() == f"CN={name}", "unstructuredName is left out"
    # `auto-enroll … regenerate`: another key, the old certificate signs, the used-up password is still there.
    holder = new.with_certificate(made)
    again = ask_by_cisco(listener, holder, "19", request(key(), of_cisco(name), word, name))
    kept = find(listener.site.desk, serials.to_hex(again.certificate.serial_number))
    assert kept.renewed_from == serials.to_hex(made.serial_number)


def test_cisco_ios_without_alternative_names(listener: Listener) -> None:
    """`fqdn none`: the common name becomes the dNSName, in the renewal too."""
    name = "branch2.example"
    new = device(listener, "devices", name)
    asked = request(new.key, [common(name)], token(listener, name))
    made = ask_by_cisco(listener, new, "19", asked).certificate
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [name]
    renewed = ask_by_cisco(
        listener, new.with_certificate(made), "17", request(key(), [common(name)], None)
    )
    assert renewed.certificate.subject == made.subject


@pytest.mark.parametrize("endpoint", ["devices", "old"])
def test_old_images_of_cisco_are_refused_whatever_the_endpoint(
    listener: Listener, endpoint: str
) -> None:
    name = "branch3.example"
    new = device(listener, endpoint, name, cipher="des", digest="md5")
    answer = ask_by_cisco(
        listener, new, "19", request(new.key, of_cisco(name), token(listener, name), name)
    )
    assert (answer.status, answer.fail) == ("2", "0")


@pytest.mark.parametrize("encoding", [_ASN1Type.PrintableString, _ASN1Type.UTF8String])
def test_fortigate_asks_with_its_serial_number(listener: Listener, encoding: _ASN1Type) -> None:
    name = "branch4.example"
    new = device(listener, "devices", name)
    subject = [
        x509.NameAttribute(NameOID.COUNTRY_NAME, "DE"),
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Example", encoding),
        x509.NameAttribute(NameOID.COMMON_NAME, name, encoding),
        x509.NameAttribute(NameOID.SERIAL_NUMBER, "FGT60F0000000001", encoding),
    ]
    reply = listener.send("GET", "/scep/devices?operation=GetCACaps&message=ikewarden")
    assert reply.status == 200
    made = new.ask("19", request(new.key, subject, token(listener, name), name)).certificate
    assert made.subject.rfc4514_string() == f"CN={name}", "the token is for this name and no more"


def test_mikrotik_enrolls_where_old_algorithms_are_taken(listener: Listener) -> None:
    """By default its templates ask to be an authority's too; the profile decides."""
    name = "branch5.example"
    new = device(listener, "old", name, cipher="des3", digest="sha1")
    asked = request(new.key, [common(name)], token(listener, name), name, authority=True)
    answer = new.ask("19", asked)
    assert len(answer.sender_nonce) == 16
    usage = answer.certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    assert not usage.key_cert_sign
    elsewhere = replace(new, endpoint="devices", ra=ca_certificates(listener, "devices")[0])
    refused = elsewhere.ask("19", asked)
    assert (refused.status, refused.fail) == ("2", "0")


def test_mikrotik_without_what_it_looks_for_speaks_des_and_is_refused(listener: Listener) -> None:
    name = "branch6.example"
    new = device(listener, "old", name, cipher="des", digest="md5", by_get=True)
    answer = new.enroll(name, token(listener, name))
    assert (answer.status, answer.fail) == ("2", "0")
    assert len(answer.sender_nonce) == 16


def test_juniper_says_whom_it_means(listener: Listener) -> None:
    for operation, kind in (
        ("GetCACaps", "text/plain"),
        ("GetCACert", "application/x-x509-ca-ra-cert"),
    ):
        reply = listener.send("GET", f"/scep/devices?operation={operation}&message=ikewarden")
        assert (reply.status, reply.headers["content-type"]) == (200, kind)
