"""CMP messages of OpenSSL's client, taken apart, checked and proved; and whatever else may come."""

from pathlib import Path

import pytest
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import InvalidInput
from core.secret import Secret
from pki.cmp.errors import (
    CmpMalformed,
    CmpVersion,
    PossessionUnproven,
    ProtectionInvalid,
)
from pki.cmp.messages import read
from pki.cmp.protection import mac_of, verify_mac, verify_signature
from pki.cmp.requests import wanted
from tests.cmp.openssl import REFERENCE, SECRET, Requester

NEW = ("-newkey", "key.pem", "-subject", "/CN=gw1", "-sans", "gw1.example")


@pytest.fixture(scope="module")
def requester(tmp_path_factory: pytest.TempPathFactory) -> Requester:
    return Requester(tmp_path_factory.mktemp("cmp"))


@pytest.mark.parametrize("kind", ["ir", "cr", "p10cr"])
@pytest.mark.parametrize("mac", ["hmac-sha1", "hmacWithSHA256", "hmacWithSHA512"])
def test_a_request_with_a_secret_is_read_and_proved(
    requester: Requester, kind: str, mac: str
) -> None:
    given = ("-csr", "gw1.csr") if kind == "p10cr" else NEW
    message = read(requester.made(kind, "-mac", mac, *given))
    assert (message.kind, message.sender_kid) == (kind, REFERENCE.encode())
    how = mac_of(message)
    assert how is not None
    verify_mac(message, how, Secret(SECRET))
    with pytest.raises(ProtectionInvalid):
        verify_mac(message, how, Secret("another"))
    asked = wanted(message)
    assert asked.number == (-1 if kind == "p10cr" else 0)
    assert [str(name) for name in asked.request.names] == ["dns:gw1.example"]
    assert asked.request.subject.rfc4514_string() == "CN=gw1"


@pytest.mark.parametrize(
    "key_options",
    [
        ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"),
        ("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"),
    ],
)
def test_a_signed_request_is_read_and_proved(tmp_path: Path, key_options: tuple[str, ...]) -> None:
    requester = Requester(tmp_path, *key_options)
    message = read(requester.made("kur", "-newkey", "key.pem", signed=True))
    assert mac_of(message) is None
    key = x509.load_pem_x509_certificate((tmp_path / "old.pem").read_bytes()).public_key()
    verify_signature(message, key)  # type: ignore[arg-type]  # of a kind that there is
    assert wanted(message).request.public_key == key


def test_implicit_confirmation_is_seen(requester: Requester) -> None:
    assert read(requester.made("ir", *NEW, "-implicit_confirm")).implicit_confirm
    assert not read(requester.made("ir", *NEW)).implicit_confirm


def test_without_proof_of_possession_nothing_is_wanted(requester: Requester) -> None:
    for how in ("-1", "0", "2"):  # none, "an RA looked", by encryption
        message = read(requester.made("ir", *NEW, "-popo", how))
        with pytest.raises(PossessionUnproven):
            wanted(message)


def test_what_was_changed_on_its_way_is_refused(requester: Requester) -> None:
    sent = requester.made("ir", *NEW)
    at = sent.index(b"gw1.example")
    changed = read(sent[:at] + b"gw2" + sent[at + 3 :])
    how = mac_of(changed)
    assert how is not None
    with pytest.raises(ProtectionInvalid):
        verify_mac(changed, how, Secret(SECRET))
    with pytest.raises(PossessionUnproven):
        wanted(changed)


def test_an_old_version_is_told(requester: Requester) -> None:
    sent = bytearray(requester.made("genm"))
    at = sent.index(b"\x02\x01\x02")
    sent[at + 2] = 1
    with pytest.raises(CmpVersion):
        read(bytes(sent))


@pytest.mark.parametrize("data", [b"", b"0", b"0\x80", b"\x30\x00", b"x" * 100, b"0" * 70_000])
def test_what_is_no_message(data: bytes) -> None:
    with pytest.raises(CmpMalformed):
        read(data)


_CACHED: dict[str, bytes] = {}


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_no_bytes_are_too_strange(requester: Requester, data: st.DataObject) -> None:
    for kind in ("ir", "p10cr", "genm"):
        if kind not in _CACHED:
            given = {"p10cr": ("-csr", "gw1.csr"), "ir": NEW}.get(kind, ())
            _CACHED[kind] = requester.made(kind, *given)
    sent = bytearray(_CACHED[data.draw(st.sampled_from(sorted(_CACHED)))])
    for _ in range(data.draw(st.integers(1, 4))):
        sent[data.draw(st.integers(0, 10_000)) % len(sent)] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, 3))
    try:
        message = read(bytes(sent[: len(sent) - cut]))
        mac_of(message)
        wanted(message)
    except InvalidInput:
        return  # each says what is wrong
