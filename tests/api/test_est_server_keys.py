"""Keys that the service makes (RFC 7030 §4.4) and encrypts to a certificate that the device has (§4.4.2)."""

import base64
import email
import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from hypothesis import given, settings
from hypothesis import strategies as st

from core.secret import Secret
from hsm.seal import ScryptCost, Seal
from hsm.sealedfiles import SealedFileKeyStore
from pki import authorities, identity, revocation, serverkeys, tls_credential
from pki.endpoints import Endpoint, EstDoor
from pki.scep.algorithms import oid
from pki.serverkeys import KeyMakerMissing
from pki.x509 import der, serials
from tests.api.refusals import recorded
from tests.api.serving import Reply, Serving, serve
from tests.api.site import CLOCKWORK, CONSOLE, ClientCertificate, Site
from tests.api.test_est import basic, certificate, enroller, post
from tests.fixtures.desk import stock_key

PROFILE = "network-device"
ASYMMETRIC, SYMMETRIC = "1.2.840.113549.1.9.16.2.54", "1.2.840.113549.1.9.16.2.37"
CAPABILITIES = "1.2.840.113549.1.9.15"
AES_256, AES_128, DES3 = "2.16.840.1.101.3.4.1.42", "2.16.840.1.101.3.4.1.2", "1.2.840.113549.3.7"
NAME = "weak.example"
ENDPOINTS = (
    Endpoint("gateway", "gateway", est=EstDoor(server_keys=True)),
    Endpoint("devices", PROFILE, est=EstDoor(server_keys=True)),
)


@pytest.fixture(scope="module")
def serving(site: Site) -> Iterator[Serving]:
    """A listener of a service that has a certificate of its own."""
    directory = site.directory / f"keys-{site.url.rpartition('/')[2]}"
    seal = Seal.create(directory, Secret("correct horse battery"), cost=ScryptCost(n=2**14))
    blobs = SealedFileKeyStore(directory, seal)
    rules = replace(site.desk.rules, endpoints={each.name: each for each in ENDPOINTS})
    site.desk = replace(site.desk, rules=rules, blobs=blobs)
    assert tls_credential.ensure(site.desk, CLOCKWORK, blobs, ("localhost",), now=site.clock())
    with serve(site) as running:
        yield running


@dataclass(frozen=True)
class Device:
    """A device with a certificate, and the file of its key and its chain."""

    certificate: x509.Certificate
    file: Path

    @property
    def named(self) -> dict[str, bytes]:
        """What names its certificate in a request."""
        kind = x509.SubjectKeyIdentifier
        known = self.certificate.extensions.get_extension_for_class(kind).value.key_identifier
        return {ASYMMETRIC: der.tlv(der.OCTET_STRING, known)}

    @property
    def client(self) -> ClientCertificate:
        """The same as `ssl` wants it."""
        return ClientCertificate(None, self.file)  # type: ignore[arg-type]  # only the file is needed


def device(serving: Serving, path: Path, key: Any, endpoint: str = "devices") -> Device:
    """A device that came in by EST."""
    token = enroller(serving, NAME, profile=PROFILE if endpoint == "devices" else "gateway")
    with serving.client() as client:
        made = certificate(post(client, f"{endpoint}/simpleenroll", wanted({}, key), basic(token)))
    file = path / f"{made.serial_number:x}.pem"
    private = key.private_bytes(
        Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    chain = (made, *authorities.load(serving.site.desk, "issuing").chain[:-1])
    file.write_bytes(private + b"".join(each.public_bytes(Encoding.PEM) for each in chain))
    return Device(made, file)


def wanted(attributes: Mapping[str, bytes], key: Any = None) -> bytes:
    """A request with attributes, each given as the DER of its one value."""
    own = key or ec.generate_private_key(ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder(x509.Name([])).add_extension(
        x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False
    )
    plain = request.sign(own, hashes.SHA256()).public_bytes(Encoding.DER)
    info, algorithm, _ = der.children(plain, der.read(plain, 0))
    *fixed, held = der.children(plain, info)
    parts = [plain[each.start : each.end] for each in der.children(plain, held)]
    parts += [
        der.tlv(der.SEQUENCE, oid(name) + der.tlv(0x31, value))
        for name, value in attributes.items()
    ]
    before = b"".join(plain[each.start : each.end] for each in fixed)
    new = der.tlv(der.SEQUENCE, before + der.tlv(0xA0, b"".join(sorted(parts))))
    if isinstance(own, ec.EllipticCurvePrivateKey):
        signature = own.sign(new, ec.ECDSA(hashes.SHA256()))
    else:
        signature = own.sign(new, padding.PKCS1v15(), hashes.SHA256())
    whole = new + plain[algorithm.start : algorithm.end] + der.bit_string(signature)
    return base64.b64encode(der.tlv(der.SEQUENCE, whole))


def able(*names: str) -> dict[str, bytes]:
    """SMIMECapabilities."""
    each = b"".join(der.tlv(der.SEQUENCE, oid(name)) for name in names)
    return {CAPABILITIES: der.tlv(der.SEQUENCE, each)}


def ask(
    serving: Serving,
    attributes: Mapping[str, bytes],
    shows: Device | None = None,
    *,
    token: str | None = None,
    endpoint: str = "devices",
) -> Reply:
    """serverkeygen, by the certificate that is shown or by a token."""
    headers = basic(token) if token else None
    with serving.client(shows.client if shows else None) as client:
        return post(client, f"{endpoint}/serverkeygen", wanted(attributes), headers)


def opened(
    reply: Reply, holder: Device, site: Site, path: Path
) -> tuple[Any, x509.Certificate, str]:
    """The key and the certificate of an answer, as OpenSSL decrypts and checks it; and the cipher."""
    assert reply.status == 200, reply
    head = f"Content-Type: {reply.headers['content-type']}\r\n\r\n".encode()
    _, first, second = email.message_from_bytes(head + reply.body).walk()
    assert first["Content-Type"] == "application/pkcs7-mime; smime-type=server-generated-key"
    sealed, signed = path / "sealed.der", path / "signed.der"
    sealed.write_bytes(first.get_payload(decode=True))
    shown = openssl("cms", "-cmsout", "-print", "-inform", "DER", "-in", sealed).decode()
    inside = openssl(
        "cms", "-decrypt", "-inform", "DER", "-in", sealed,
        "-recip", holder.file, "-inkey", holder.file,
    )  # fmt: skip
    # What is encrypted is the SignedData itself (RFC 5652 §6.1); OpenSSL checks one that stands in a ContentInfo.
    signed.write_bytes(der.tlv(der.SEQUENCE, oid("1.2.840.113549.1.7.2") + der.tlv(0xA0, inside)))
    root = path / "root.pem"
    root.write_text(authorities.pem(authorities.load(site.desk, "root").certificate))
    package = openssl(
        "cms", "-verify", "-inform", "DER", "-in", signed, "-CAfile", root, "-purpose", "any",
    )  # fmt: skip
    [one] = der.children(package, der.read(package, 0))
    key = serialization.load_der_private_key(package[one.start : one.end], None)
    (made,) = pkcs7.load_der_pkcs7_certificates(second.get_payload(decode=True))
    cipher = next(each for each in ("aes-256-cbc", "aes-128-cbc") if each in shown)
    return key, made, cipher


def openssl(*arguments: object) -> bytes:
    done = subprocess.run(
        ["openssl", *map(str, arguments)], capture_output=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("capabilities", "cipher"),
    [
        ({}, "aes-256-cbc"),
        (able(AES_128), "aes-128-cbc"),
        (able(DES3, AES_128, AES_256), "aes-256-cbc"),
    ],
)
def test_a_key_comes_encrypted_to_the_certificate_of_the_connection(
    serving: Serving, tmp_path: Path, capabilities: dict[str, bytes], cipher: str
) -> None:
    holder = device(serving, tmp_path, stock_key("rsa-2048", 7700))
    reply = ask(serving, holder.named | capabilities, holder)
    key, made, used = opened(reply, holder, serving.site, tmp_path)
    assert made.public_key() == key.public_key()
    assert used == cipher


def test_a_key_may_come_by_a_token_to_who_shows_a_certificate(
    serving: Serving, tmp_path: Path
) -> None:
    holder = device(serving, tmp_path, stock_key("rsa-2048", 7701))
    token = enroller(serving, NAME, profile=PROFILE)
    reply = ask(serving, holder.named, holder, token=token)
    key, made, _ = opened(reply, holder, serving.site, tmp_path)
    assert made.public_key() == key.public_key()


def test_without_a_word_the_key_comes_as_ever(serving: Serving) -> None:
    reply = ask(serving, able(AES_256), token=enroller(serving, NAME, profile=PROFILE))
    assert reply.status == 200
    assert b"Content-Type: application/pkcs8" in reply.body


def test_a_key_that_was_to_be_encrypted_is_not_sent_in_the_clear(
    serving: Serving, tmp_path: Path
) -> None:
    site = serving.site
    holder = device(serving, tmp_path, stock_key("rsa-2048", 7702))
    other = device(serving, tmp_path, stock_key("rsa-2048", 7703))
    curve = device(serving, tmp_path, ec.generate_private_key(ec.SECP256R1()))
    signs = device(serving, tmp_path, stock_key("rsa-3072", 7704), "gateway")
    gone = device(serving, tmp_path, stock_key("rsa-2048", 7705))
    serial = serials.to_hex(gone.certificate.serial_number)
    revocation.revoke(site.desk, CONSOLE, serial, "superseded", now=site.clock())
    token = enroller(serving, NAME, uses=20, profile=PROFILE)
    octets = der.tlv(der.OCTET_STRING, b"a key")
    before = recorded(site.desk)
    found = {
        "a secret key": ask(serving, {SYMMETRIC: octets} | able(AES_256), holder),
        "both": ask(serving, holder.named | {SYMMETRIC: octets}, holder),
        "nobody's": ask(serving, {ASYMMETRIC: octets}, holder),
        "another's": ask(serving, other.named, holder),
        "no certificate shown": ask(serving, holder.named, token=token),
        "a revoked one": ask(serving, gone.named, gone, token=token),
        "one that cannot encrypt": ask(serving, curve.named, curve),
        "one that must not": ask(serving, signs.named, signs, endpoint="gateway"),
        "old ciphers": ask(serving, holder.named | able(DES3), holder),
        "no octets": ask(serving, {ASYMMETRIC: b"\x05\x00"}, holder),
        "no list": ask(serving, holder.named | {CAPABILITIES: b"\x05\x00"}, holder),
    }
    assert {name: (reply.status, reply.code) for name, reply in found.items()} == dict.fromkeys(
        found, (422, "key_encryption_refused")
    )
    assert recorded(site.desk) == before


def test_without_a_key_of_its_own_the_service_makes_none(serving: Serving, tmp_path: Path) -> None:
    holder = device(serving, tmp_path, stock_key("rsa-2048", 7706))
    now, shown = serving.site.clock(), holder.certificate.public_bytes(Encoding.DER)
    bare = replace(serving.site.desk, blobs=None)
    actor = identity.actor_from_certificate(bare, shown, now=now, request_id="r", by_itself=True)
    with pytest.raises(KeyMakerMissing):
        serverkeys.make(bare, actor, ENDPOINTS[1], wanted(holder.named), shown, now=now)


_VALUES = st.one_of(
    st.binary(max_size=60),
    st.builds(
        der.tlv, st.sampled_from([0x04, 0x24, 0x30, 0x31, 0x05, 0x80]), st.binary(max_size=60)
    ),
)


@settings(max_examples=int(os.environ.get("IKEWARDEN_SOAK_MESSAGES", "100")), deadline=None)
@given(attributes=st.dictionaries(st.sampled_from([ASYMMETRIC, SYMMETRIC, CAPABILITIES]), _VALUES))
def test_no_attribute_is_too_strange(serving: Serving, attributes: dict[str, bytes]) -> None:
    token = _good_for_nothing(serving)
    reply = ask(serving, attributes, token=token)
    assert reply.status in {403, 422}


_held: dict[str, str] = {}


def _good_for_nothing(serving: Serving) -> str:
    """A token that is for none of what is asked for, but lets the request be read."""
    known = _held.get(serving.site.url)
    if known is None:
        known = _held[serving.site.url] = enroller(serving, "nobody.example", profile=PROFILE)
    return known
