"""Kinds of signatures: each that `cryptography` asks for is made as asked, or refused with a word."""

from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import NoDigestInfo, Prehashed

from hsm.errors import KeyMechanismMissing
from hsm.ports import KeyAlgorithm, PrivateKey
from tests.fixtures.openbao import OpenBao
from tests.hsm.vaults import open_keys

MESSAGE = b"to be signed"
HASHES = [hashes.SHA224(), hashes.SHA256(), hashes.SHA384(), hashes.SHA512()]


@pytest.fixture(scope="module")
def mount(lasting_openbao: OpenBao) -> str:
    return lasting_openbao.transit()


def key(openbao: OpenBao, mount: str, algorithm: KeyAlgorithm) -> PrivateKey:
    """One key of each kind for all tests of this module."""
    store = open_keys(openbao, mount)
    if algorithm not in store.names():
        store.generate(algorithm, algorithm)
    return store.open(f"transit:{mount}/{algorithm}?version=1")


@pytest.fixture(scope="module")
def rsa_key(lasting_openbao: OpenBao, mount: str) -> rsa.RSAPrivateKey:
    found = key(lasting_openbao, mount, "rsa-2048")
    assert isinstance(found, rsa.RSAPrivateKey)
    return found


@pytest.fixture(scope="module", params=["ec-p256", "ec-p384", "ec-p521"])
def ec_key(
    lasting_openbao: OpenBao, mount: str, request: pytest.FixtureRequest
) -> ec.EllipticCurvePrivateKey:
    found = key(lasting_openbao, mount, request.param)
    assert isinstance(found, ec.EllipticCurvePrivateKey)
    return found


def digest(algorithm: hashes.HashAlgorithm) -> bytes:
    hashing = hashes.Hash(algorithm)
    hashing.update(MESSAGE)
    return hashing.finalize()


@pytest.mark.parametrize("algorithm", HASHES, ids=lambda each: each.name)
def test_ecdsa_with_each_hash_and_with_a_digest(
    ec_key: ec.EllipticCurvePrivateKey, algorithm: hashes.HashAlgorithm
) -> None:
    method = ec.ECDSA(algorithm)
    ec_key.public_key().verify(ec_key.sign(MESSAGE, method), MESSAGE, method)
    made = ec_key.sign(digest(algorithm), ec.ECDSA(Prehashed(algorithm)))
    ec_key.public_key().verify(made, MESSAGE, method)


@pytest.mark.parametrize("algorithm", HASHES, ids=lambda each: each.name)
def test_rsa_with_each_hash_padding_and_salt(
    rsa_key: rsa.RSAPrivateKey, algorithm: hashes.HashAlgorithm
) -> None:
    mask = padding.MGF1(algorithm)
    paddings: list[Any] = [padding.PKCS1v15()]
    paddings += [
        padding.PSS(mask, salt) for salt in (padding.PSS.DIGEST_LENGTH, padding.PSS.MAX_LENGTH, 20)
    ]
    for padded in paddings:
        made = rsa_key.sign(MESSAGE, padded, algorithm)
        rsa_key.public_key().verify(made, MESSAGE, padded, algorithm)
        made = rsa_key.sign(digest(algorithm), padded, Prehashed(algorithm))
        rsa_key.public_key().verify(made, MESSAGE, padded, algorithm)


def test_what_the_engine_does_not_make_is_refused_before_it_is_asked(
    rsa_key: rsa.RSAPrivateKey, lasting_openbao: OpenBao, mount: str
) -> None:
    curve = key(lasting_openbao, mount, "ec-p256")
    assert isinstance(curve, ec.EllipticCurvePrivateKey)
    sha256, mask, digest_length = hashes.SHA256(), padding.MGF1, padding.PSS.DIGEST_LENGTH
    made = len(lasting_openbao.signed(mount))
    for sign in (
        lambda: curve.sign(MESSAGE, ec.ECDSA(hashes.SHA3_256())),
        lambda: rsa_key.sign(MESSAGE, padding.PKCS1v15(), hashes.SHA1()),  # noqa: S303 - refused
        lambda: rsa_key.sign(MESSAGE, padding.PKCS1v15(), NoDigestInfo()),
        lambda: rsa_key.sign(MESSAGE, padding.PSS(mask(hashes.SHA1()), digest_length), sha256),  # noqa: S303 - refused
        lambda: rsa_key.sign(MESSAGE, padding.PSS(mask(sha256), padding.PSS.AUTO), sha256),
    ):
        with pytest.raises(KeyMechanismMissing) as refusal:
            sign()
        assert refusal.value.next_step
    with pytest.raises(ValueError, match="length"):
        curve.sign(b"short", ec.ECDSA(Prehashed(sha256)))
    assert len(lasting_openbao.signed(mount)) == made
