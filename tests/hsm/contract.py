"""What any key store must do. A test class inherits `KeyStoreContract` and gives a `keys` fixture.

`algorithms` narrows the list where a device cannot make every kind; conftest.py makes a test of each.
"""

import copy
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, padding, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509 import ocsp

from core.crew import Crew, Helpers
from core.errors import IkewardenError
from hsm.errors import (
    BadKeyName,
    ExportRefused,
    KeyAlgorithmUnknown,
    KeyExists,
    KeyNotFound,
    KeyStoreError,
)
from hsm.ports import KEY_ALGORITHMS, KeyAlgorithm, KeyStore, PrivateKey
from hsm.signonly import with_key

NOW = datetime(2030, 1, 1, tzinfo=UTC)
NAME = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "contract")])
BAD_NAMES = ["", ".", "..", "-a", ".a", "A", "a/b", "../a", "a b", "a\n", "a\0", "ä", "a" * 64]
ML_DSA = (mldsa.MLDSA44PrivateKey, mldsa.MLDSA65PrivateKey, mldsa.MLDSA87PrivateKey)
HASHLESS = (ed25519.Ed25519PrivateKey, *ML_DSA)
Hash = hashes.SHA256 | hashes.SHA384 | hashes.SHA512


def hash_for(key: PrivateKey) -> Hash | None:
    """The hash to sign with; none for keys that bring their own."""
    if isinstance(key, HASHLESS):
        return None
    if isinstance(key, ec.EllipticCurvePrivateKey):
        sizes: dict[int, Hash] = {256: hashes.SHA256(), 384: hashes.SHA384()}
        return sizes.get(key.key_size, hashes.SHA512())
    return hashes.SHA256()


def paddings(key: PrivateKey) -> list[Any]:
    """Arguments of `rsa_padding` to try with this key."""
    if isinstance(key, rsa.RSAPrivateKey):
        salt = padding.PSS.DIGEST_LENGTH
        return [padding.PKCS1v15(), padding.PSS(padding.MGF1(hashes.SHA256()), salt)]
    return [None]


def certificate(key: PrivateKey, rsa_padding: Any = None) -> x509.Certificate:
    """A self-signed certificate made by the ordinary builder."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(NAME)
        .issuer_name(NAME)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=1))
    )
    return builder.sign(key, hash_for(key), rsa_padding=rsa_padding)


def spki(key: PrivateKey) -> bytes:
    """The public key, DER."""
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def check_certificate(key: PrivateKey, rsa_padding: Any) -> None:
    made = certificate(key, rsa_padding)
    made.verify_directly_issued_by(made)


def check_request(key: PrivateKey, rsa_padding: Any) -> None:
    builder = x509.CertificateSigningRequestBuilder().subject_name(NAME)
    assert builder.sign(key, hash_for(key), rsa_padding=rsa_padding).is_signature_valid


def check_crl(key: PrivateKey, rsa_padding: Any) -> None:
    public: Any = key.public_key()
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(NAME)
        .last_update(NOW)
        .next_update(NOW + timedelta(days=1))
    )
    made = builder.sign(key, hash_for(key), rsa_padding=rsa_padding)
    assert made.is_signature_valid(public)


def check_ocsp_answer(key: PrivateKey) -> None:
    signer = certificate(key)
    builder = (
        ocsp.OCSPResponseBuilder()
        .add_response(
            cert=signer,
            issuer=signer,
            algorithm=hashes.SHA256(),
            cert_status=ocsp.OCSPCertStatus.GOOD,
            this_update=NOW,
            next_update=NOW + timedelta(days=1),
            revocation_time=None,
            revocation_reason=None,
        )
        .responder_id(ocsp.OCSPResponderEncoding.HASH, signer)
    )
    made = builder.sign(key, hash_for(key))
    public: Any = key.public_key()
    arguments: tuple[Any, ...] = ()
    if isinstance(public, rsa.RSAPublicKey):
        arguments = (padding.PKCS1v15(), hash_for(key))
    elif isinstance(public, ec.EllipticCurvePublicKey):
        arguments = (ec.ECDSA(hash_for(key) or hashes.SHA256()),)
    public.verify(made.signature, made.tbs_response_bytes, *arguments)


class KeyStoreContract:
    """Inherit this, and give a fixture `keys` that returns an empty key store."""

    algorithms: ClassVar[tuple[KeyAlgorithm, ...]] = KEY_ALGORITHMS
    elsewhere: ClassVar[bool] = False  # whether a device or a server signs

    @pytest.fixture
    def keys(self) -> KeyStore:
        raise NotImplementedError

    @pytest.fixture
    def key(self, keys: KeyStore, algorithm: KeyAlgorithm) -> PrivateKey:
        return keys.open(keys.generate("signer", algorithm))

    def test_the_ordinary_builders_sign_with_it(self, key: PrivateKey) -> None:
        for rsa_padding in paddings(key):
            check_certificate(key, rsa_padding)
            check_request(key, rsa_padding)
            check_crl(key, rsa_padding)
        check_ocsp_answer(key)

    def test_a_crew_goes_on_while_it_signs_elsewhere(self, key: PrivateKey) -> None:
        done, threads = threading.Event(), []

        def work() -> None:
            threads.append(threading.get_ident())
            certificate(key)

        helpers = Helpers(1, "helper")
        with Crew(helpers, done.set) as crew:
            crew.start(lambda: with_key(key, work))
            if self.elsewhere:
                assert done.wait(60)
                crew.go_on()
        helpers.close()
        assert (threads[0] != threading.get_ident()) is self.elsewhere

    def test_signs_and_does_nothing_else(self, key: PrivateKey) -> None:
        forbidden: list[Callable[[], object]] = [
            lambda: key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        ]
        if isinstance(key, ed25519.Ed25519PrivateKey):
            forbidden.append(key.private_bytes_raw)
        elif isinstance(key, ML_DSA):
            forbidden += [
                key.private_bytes_raw,
                lambda: key.sign_mu(bytes(64)),
                lambda: key.sign(b"x", b"context"),
            ]
        elif isinstance(key, ec.EllipticCurvePrivateKey):
            other = ec.generate_private_key(key.curve).public_key()
            forbidden += [key.private_numbers, lambda: key.exchange(ec.ECDH(), other)]
        else:
            message = key.public_key().encrypt(b"x", padding.PKCS1v15())
            forbidden += [key.private_numbers, lambda: key.decrypt(message, padding.PKCS1v15())]
        for call in forbidden:
            with pytest.raises(ExportRefused):
                call()
        with pytest.raises(TypeError):
            pickle.dumps(key)
        assert spki(copy.copy(key)) == spki(copy.deepcopy(key)) == spki(key)

    def test_key_size_and_curve_are_the_public_keys(self, key: PrivateKey) -> None:
        public = key.public_key()
        if isinstance(key, ec.EllipticCurvePrivateKey):
            assert isinstance(public, ec.EllipticCurvePublicKey)
            assert key.curve.name == public.curve.name
        if isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
            assert isinstance(public, ec.EllipticCurvePublicKey | rsa.RSAPublicKey)
            assert key.key_size == public.key_size

    def test_the_same_uri_is_the_same_key(self, keys: KeyStore) -> None:
        uri = keys.generate("a", self.algorithms[0])
        other = keys.generate("b", self.algorithms[0])
        assert spki(keys.open(uri)) == spki(keys.open(uri)) != spki(keys.open(other))

    def test_a_name_leads_to_its_key(self, keys: KeyStore) -> None:
        made = keys.open(keys.generate("led-to", "ec-p256"))
        assert spki(keys.open(keys.uri_of("led-to"))) == spki(made)
        with pytest.raises(KeyNotFound):
            keys.open(keys.uri_of("led-nowhere"))
        with pytest.raises(BadKeyName):
            keys.uri_of("../led")

    def test_names_are_sorted_and_complete(self, keys: KeyStore) -> None:
        assert keys.names() == []
        wanted = ["0", "a", "a.b-c_d", "z" * 63]
        for name in reversed(wanted):
            keys.generate(name, self.algorithms[0])
        assert keys.names() == wanted

    @pytest.mark.parametrize("name", BAD_NAMES)
    def test_bad_names_are_refused(self, keys: KeyStore, name: str) -> None:
        with pytest.raises(BadKeyName):
            keys.generate(name, self.algorithms[0])
        assert keys.names() == []

    def test_unknown_algorithms_are_refused(self, keys: KeyStore) -> None:
        unknown: Any = "dsa-1024"
        with pytest.raises(KeyAlgorithmUnknown):
            keys.generate("a", unknown)
        assert keys.names() == []

    def test_a_name_is_given_once(self, keys: KeyStore) -> None:
        uri = keys.generate("a", self.algorithms[0])
        before = spki(keys.open(uri))
        with pytest.raises(KeyExists):
            keys.generate("a", self.algorithms[0])
        assert spki(keys.open(uri)) == before

    def test_of_many_with_one_name_one_wins(self, keys: KeyStore) -> None:
        def try_it(_: int) -> str:
            try:
                return keys.generate("race", self.algorithms[0])
            except KeyExists:
                return ""

        with ThreadPoolExecutor(8) as pool:
            results = list(pool.map(try_it, range(16)))
        assert len([uri for uri in results if uri]) == 1
        assert keys.names() == ["race"]

    def test_unknown_keys_are_not_found(self, keys: KeyStore) -> None:
        uri = keys.generate("a", self.algorithms[0])
        keys.destroy(uri)
        with pytest.raises(KeyNotFound):
            keys.open(uri)
        with pytest.raises(KeyNotFound):
            keys.destroy(uri)
        assert keys.names() == []

    def test_a_destroyed_name_can_be_used_again(self, keys: KeyStore) -> None:
        uri = keys.generate("a", self.algorithms[0])
        old = spki(keys.open(uri))
        keys.destroy(uri)
        assert spki(keys.open(keys.generate("a", self.algorithms[0]))) != old

    @pytest.mark.parametrize("uri", ["", "a", "nosuch:a", "file:///etc/passwd", "sealed:../a"])
    def test_uris_of_another_kind_are_refused(self, keys: KeyStore, uri: str) -> None:
        for act in (keys.open, keys.destroy):
            with pytest.raises(KeyStoreError) as refusal:
                act(uri)
            assert refusal.value.code != KeyStoreError.code

    def test_many_threads_sign_at_once(self, keys: KeyStore) -> None:
        uri = keys.generate("a", self.algorithms[0])
        with ThreadPoolExecutor(8) as pool:
            made = list(pool.map(lambda _: certificate(keys.open(uri)), range(64)))
        for each in made:
            each.verify_directly_issued_by(each)

    def test_errors_say_what_to_do(self, keys: KeyStore) -> None:
        with pytest.raises(IkewardenError) as refusal:
            keys.generate("UPPER", self.algorithms[0])
        assert refusal.value.next_step
        assert refusal.value.message.endswith(".")
