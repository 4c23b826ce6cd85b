"""SCEP's messages as bytes: BER as OpenSSL writes it, and whatever a stranger makes of it."""

import os
import subprocess
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import IkewardenError
from pki.scep import ber, envelopes, messages, replies
from pki.scep.algorithms import CIPHERS, DIGESTS
from pki.scep.challenge import challenge_password
from pki.scep.failures import ScepAlgorithmRefused, ScepCheckFailed, ScepMessageMalformed
from pki.scep.messages import PkiMessage
from pki.scep.replies import Outcome
from pki.x509.csr import CsrMalformed, CsrSignatureInvalid, read_csr
from tests.fixtures.desk import stock_key
from tests.fixtures.needs import needs_program
from tests.pki.requests import request

NOW = datetime.now(UTC)
_EXAMPLES = int(os.environ.get("IKEWARDEN_SOAK_MESSAGES", "200"))


def hexed(text: str) -> bytes:
    return bytes.fromhex(text.replace(" ", ""))


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("30 80 02 01 05 00 00", "30 03 02 01 05"),
        ("30 80 30 80 00 00 00 00", "30 02 30 00"),
        ("24 80 04 01 41 04 01 42 00 00", "04 02 41 42"),
        ("24 06 04 01 41 04 01 42", "04 02 41 42"),
        ("24 80 24 80 04 01 41 00 00 04 01 42 00 00", "04 02 41 42"),
        ("a0 80 24 80 04 01 41 00 00 00 00", "a0 03 04 01 41"),
        # As it is: someone has signed it so.
        ("30 81 03 02 01 05", "30 81 03 02 01 05"),
        ("04 06 24 80 04 01 41 00", "04 06 24 80 04 01 41 00"),
    ],
)
def test_ber_becomes_der(given: str, wanted: str) -> None:
    assert ber.to_der(hexed(given)) == hexed(wanted)


@pytest.mark.parametrize(
    "given",
    [
        "",
        "30",
        "30 80",
        "30 80 00",
        "30 03 02 01",
        "02 80 05 00 00",
        "30 00 00",
        "1f 81 01 00",
        "30 02 00 00",
        "24 80 02 01 05 00 00",
        "2c 80 0c 01 41 00 00",
        "30 85 01 00 00 00 00",
        "30 ff",
    ],
)
def test_what_is_no_ber_is_refused(given: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        ber.to_der(hexed(given))


def test_nothing_is_nested_without_end() -> None:
    deep = hexed("30 80") * 5000 + hexed("00 00") * 5000
    with pytest.raises(ValueError, match="deep"):
        ber.to_der(deep)


def test_nothing_has_parts_without_end() -> None:
    """Each is looked at before anybody has proved anything: 64 KiB of them would take seconds."""
    few, many = (b"\x30\x80" + b"\x05\x00" * n + b"\0\0" for n in (5000, ber.MAX_ELEMENTS))
    assert len(ber.to_der(few)) > 10_000
    with pytest.raises(ValueError, match="many"):
        ber.to_der(many)


@settings(max_examples=_EXAMPLES, deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_are_too_strange_for_ber(data: bytes) -> None:
    try:
        found = ber.to_der(data)
    except ValueError:
        return
    assert ber.to_der(found) == found


# Envelopes


@cache
def _key() -> rsa.RSAPrivateKey:
    key = stock_key("rsa-2048", 7000)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


@cache
def _certificate() -> x509.Certificate:
    name = x509.Name.from_rfc4514_string("CN=A device")
    return (
        x509.CertificateBuilder(name, name, _key().public_key(), 4711)
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=1))
        .sign(_key(), hashes.SHA256())
    )


def _find(issuer: bytes, serial: int) -> rsa.RSAPrivateKey | None:
    own = _certificate()
    return _key() if (issuer, serial) == (own.issuer.public_bytes(), 4711) else None


def _sealed(content: bytes, cipher: str = "aes128_cbc") -> bytes:
    to = (_certificate().issuer.public_bytes(), 4711)
    return envelopes.seal(content, CIPHERS[cipher], to, _key().public_key())


@pytest.mark.parametrize("cipher", CIPHERS)
def test_what_is_sealed_is_opened(cipher: str) -> None:
    found = envelopes.read_envelope(_sealed(b"content", cipher), _find, legacy=True)
    assert (found.opened(), found.cipher.name) == (b"content", cipher)


@needs_program("openssl", "openssl")
@pytest.mark.parametrize("form", [["-stream"], []])
@pytest.mark.parametrize("tool", ["smime", "cms"])
def test_what_openssl_seals_is_opened(tmp_path: Path, tool: str, form: list[str]) -> None:
    content = bytes(range(256)) * 40  # in several pieces
    file, certificate = tmp_path / "content", tmp_path / "certificate.pem"
    file.write_bytes(content)
    certificate.write_bytes(_certificate().public_bytes(serialization.Encoding.PEM))
    made = subprocess.run(
        ["openssl", tool, "-encrypt", "-aes-256-cbc", "-binary", *form, "-outform", "der", "-in", file, certificate],
        capture_output=True, check=True,
    ).stdout  # fmt: skip
    assert envelopes.read_envelope(made, _find, legacy=False).opened() == content


@needs_program("openssl", "openssl")
def test_openssl_opens_what_is_sealed(tmp_path: Path) -> None:
    file = tmp_path / "pair.pem"
    file.write_bytes(
        _key().private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + _certificate().public_bytes(serialization.Encoding.PEM)
    )
    opened = subprocess.run(
        ["openssl", "smime", "-decrypt", "-inform", "der", "-inkey", file, file],
        input=_sealed(b"content" * 100), capture_output=True, check=True,
    ).stdout  # fmt: skip
    assert opened == b"content" * 100


def test_whatever_is_wrong_inside_is_one_failure() -> None:
    good = _sealed(b"content" * 10)
    parts = {
        "the padding": len(good) - 1,
        "the middle": len(good) - 20,
        "the key": len(good) - 200,
    }
    said = set()
    for at in parts.values():
        data = bytearray(good)
        data[at] ^= 1
        try:
            envelopes.read_envelope(bytes(data), _find, legacy=False).opened()
        except ScepCheckFailed as failed:
            said.add((failed.code, failed.message))
    other = envelopes.seal(b"x", CIPHERS["aes128_cbc"], (b"0\x00", 1), _key().public_key())
    for data in (other, b"", b"\x30\x00", good[:-1]):
        with pytest.raises(ScepCheckFailed) as caught:
            envelopes.read_envelope(bytes(data), _find, legacy=False).opened()
        said.add((caught.value.code, caught.value.message))
    assert len(said) == 1


def test_a_wrong_padding_is_left_to_who_reads_the_content() -> None:
    """What is done with the content takes its time; a failure before that would be told by the time alone."""
    good = bytearray(_sealed(b"content" * 10))
    good[-17] ^= 0x80
    found = envelopes.read_envelope(bytes(good), _find, legacy=False).opened()
    assert len(found) == 80
    assert found.startswith(b"content" * 6)


def test_old_ciphers_are_refused_by_name() -> None:
    with pytest.raises(ScepAlgorithmRefused, match="tripledes"):
        envelopes.read_envelope(_sealed(b"x", "tripledes_3key"), _find, legacy=False)


# Messages


@cache
def _message() -> bytes:
    """A message; an answer is built as one is."""
    to = PkiMessage("T1", "19", b"n" * 16, _certificate(), b"", None, "", "", b"", b"", b"")
    made = Outcome(replies.SUCCESS, envelope=_sealed(b"content"))
    return replies.cert_rep(to, made, _key(), _certificate(), DIGESTS["sha256"])


def test_a_message_is_read_and_checked() -> None:
    found = messages.read(_message())
    assert (found.transaction_id, found.message_type) == ("T1", "3")
    assert messages.check(found, legacy=False, now=NOW).name == "sha256"
    assert envelopes.read_envelope(found.content, _find, legacy=False).opened() == b"content"


@settings(max_examples=2 * _EXAMPLES, deadline=None)
@given(data=st.data())
def test_a_changed_message_is_refused_or_the_same(data: st.DataObject) -> None:
    good = bytearray(_message())
    for at in data.draw(st.lists(st.integers(0, len(good) - 1), min_size=1, max_size=4)):
        good[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.sampled_from([len(good), len(good), len(good) // 2]))
    try:
        found = messages.read(bytes(good[:cut]))
        messages.check(found, legacy=True, now=NOW)
        content = envelopes.read_envelope(found.content, _find, legacy=True).opened()
    except IkewardenError:
        return
    assert content == b"content"
    assert found.transaction_id == "T1"


@settings(max_examples=_EXAMPLES, deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_are_too_strange_for_messages(data: bytes) -> None:
    with pytest.raises(ScepMessageMalformed):
        messages.read(data)
    with suppress(ScepCheckFailed):
        messages.read_issuer_and_serial(data)


# Requests


def test_attributes_may_be_in_another_order() -> None:
    """charon's `pki --scep` 5.9.8 writes them as they come."""
    key = stock_key("rsa-2048", 7001)
    plain = request(("dns:gw1.example",), key=key)
    wanted = read_csr(plain)
    made = _with_password(plain, key)
    with pytest.raises(ValueError, match=r"."):
        x509.load_der_x509_csr(made)
    found = read_csr(made)
    assert (found.names, found.public_key, found.der) == (wanted.names, wanted.public_key, made)
    password = challenge_password(found.der)
    assert password is not None
    assert password.reveal() == b"secret"
    broken = bytearray(made)
    broken[-3] ^= 1
    with pytest.raises(CsrSignatureInvalid):
        read_csr(bytes(broken))
    with pytest.raises(CsrMalformed):
        read_csr(made[:-1])


def _with_password(plain: bytes, key: object) -> bytes:
    """A request whose password stands behind its longer extensions, and that is signed so."""
    from cryptography.hazmat.primitives.asymmetric import padding

    from pki.x509 import der

    assert isinstance(key, rsa.RSAPrivateKey)
    info, algorithm, _ = der.children(plain, der.read(plain, 0))
    *fixed, attributes = der.children(plain, info)
    word = der.tlv(0x31, der.tlv(0x0C, b"secret"))
    password = der.tlv(der.SEQUENCE, hexed("06 09 2a 86 48 86 f7 0d 01 09 07") + word)
    both = plain[attributes.content : attributes.end] + password
    parts = b"".join(plain[each.start : each.end] for each in fixed)
    signed = der.tlv(der.SEQUENCE, parts + der.tlv(0xA0, both))
    signature = key.sign(signed, padding.PKCS1v15(), hashes.SHA256())
    rest = plain[algorithm.start : algorithm.end] + der.bit_string(signature)
    return der.tlv(der.SEQUENCE, signed + rest)
