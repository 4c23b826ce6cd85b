"""To-be-signed bytes first, the signature after: the two fit, and the stand-in for the key gives nothing away."""

import copy

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from hypothesis import given
from hypothesis import strategies as st

from hsm.ports import KeyAlgorithm
from pki.x509 import der
from pki.x509.signing import (
    HASHES,
    Recorder,
    chosen_hash,
    complete,
    default_hash,
    sign,
    signature_algorithm,
)
from tests.fixtures.desk import NOW
from tests.pki.requests import name, private_key

ALGORITHMS: tuple[KeyAlgorithm, ...] = (
    *("ec-p256", "ec-p384", "ec-p521", "rsa-2048", "ed25519"),
    *("ml-dsa-44", "ml-dsa-65", "ml-dsa-87"),
)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_certificate_put_together_is_the_one_the_library_makes(algorithm: KeyAlgorithm) -> None:
    key = private_key(algorithm)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(CN="a"))
        .issuer_name(name(CN="a"))
        .public_key(key.public_key())
        .serial_number(5)
        .not_valid_before(NOW)
        .not_valid_after(NOW)
    )
    digest = default_hash(key.public_key())
    recorder = Recorder(key.public_key())
    builder.sign(recorder.key, digest)
    made = x509.load_der_x509_certificate(complete(recorder.tbs, sign(key, recorder.tbs, digest)))
    made.verify_directly_issued_by(made)
    theirs = builder.sign(key, digest)
    assert made.tbs_certificate_bytes == theirs.tbs_certificate_bytes
    if algorithm in {"rsa-2048", "ed25519"}:  # ECDSA signatures differ each time
        assert made == theirs


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_recorder_only_records(algorithm: KeyAlgorithm) -> None:
    public = private_key(algorithm).public_key()
    recorder = Recorder(public)
    assert recorder.key.public_key() is public
    assert recorder.tbs == b""
    assert copy.copy(recorder.key) is recorder.key
    assert copy.deepcopy(recorder.key) is recorder.key
    with pytest.raises(TypeError):
        recorder.key.private_bytes(
            serialization.Encoding.DER,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    for secret in ("private_numbers", "private_bytes_raw"):
        if hasattr(recorder.key, secret):
            with pytest.raises(TypeError):
                getattr(recorder.key, secret)()


def test_recorders_agree_on_no_secret_and_decrypt_nothing() -> None:
    key = Recorder(private_key("ec-p256").public_key()).key
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    other = private_key("ec-p256", 1001).public_key()
    assert isinstance(other, ec.EllipticCurvePublicKey)
    with pytest.raises(TypeError):
        key.exchange(ec.ECDH(), other)
    assert isinstance(key.curve, ec.SECP256R1)
    rsa_key = Recorder(private_key("rsa-2048").public_key()).key
    assert isinstance(rsa_key, rsa.RSAPrivateKey)
    assert rsa_key.key_size == 2048
    with pytest.raises(TypeError):
        rsa_key.decrypt(b"", padding.PKCS1v15())


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_dummy_signature_verifies_for_nobody(algorithm: KeyAlgorithm) -> None:
    key = private_key(algorithm)
    recorder = Recorder(key.public_key())
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(name())
        .sign(recorder.key, default_hash(key.public_key()))
    )
    assert not request.is_signature_valid


@pytest.mark.parametrize(
    ("algorithm", "default"),
    [
        ("ec-p256", hashes.SHA256),
        ("ec-p384", hashes.SHA384),
        ("ec-p521", hashes.SHA512),
        ("rsa-3072", hashes.SHA256),
        ("ed25519", type(None)),
    ],
)
def test_the_hash_goes_with_the_key(algorithm: KeyAlgorithm, default: type) -> None:
    key = private_key(algorithm).public_key()
    assert isinstance(default_hash(key), default)
    assert chosen_hash(key, "auto") == default_hash(key)
    wanted = chosen_hash(key, "sha512")
    assert wanted is (None if algorithm == "ed25519" else HASHES["sha512"])


def test_signing_with_no_hash_is_a_mistake_where_one_is_needed() -> None:
    with pytest.raises(ValueError, match="hash"):
        sign(private_key("ec-p256"), b"", None)


@pytest.mark.parametrize("tbs", [b"", b"\x30\x00", b"\x30\x03\x02\x01\x05", b"\x30\x05\x02"])
def test_what_is_no_tbs_has_no_algorithm(tbs: bytes) -> None:
    with pytest.raises(ValueError, match=r"AlgorithmIdentifier|early"):
        signature_algorithm(tbs)


@given(st.binary(max_size=40))
def test_the_algorithm_of_junk_is_part_of_it_or_value_error(data: bytes) -> None:
    try:
        found = signature_algorithm(data)
    except ValueError:
        return
    assert found in data
    assert found[0] == der.SEQUENCE
