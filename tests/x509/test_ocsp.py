"""OCSP: requests read with suspicion, answers that OpenSSL and pkilint accept."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509 import ocsp as theirs
from hypothesis import given, settings
from hypothesis import strategies as st

from hsm.ports import KeyAlgorithm
from pki.x509 import der, ocsp
from pki.x509.authority import AuthoritySpec, Pointers, draft_root
from pki.x509.builtin import builtin_profiles
from pki.x509.constraints import NameConstraints
from pki.x509.crl import Reason
from pki.x509.draft import Mould, Subject
from pki.x509.names import GeneralName
from pki.x509.ocsp import (
    MAX_NONCE_OCTETS,
    MAX_OCTETS,
    CertId,
    Good,
    OcspMalformed,
    ResponderKey,
    Revoked,
    Status,
    Unknown,
    read_request,
    sign_answer,
)
from pki.x509.signing import complete, default_hash, sign
from tests import judges
from tests.fixtures.desk import NOW
from tests.pki.requests import DER, name, private_key

SHA1, SHA256 = hashes.SHA1(), hashes.SHA256()  # noqa: S303 - CertID hashes
DIGESTS: dict[str, hashes.SHA1 | hashes.SHA256] = {"sha1": SHA1, "sha256": SHA256}
SERIAL = (1 << 126) + 77


class Village:
    """An authority, a leaf, and a delegated signer, of one kind of key."""

    def __init__(self, algorithm: KeyAlgorithm = "ec-p256") -> None:
        self.key = private_key(algorithm, 40)
        spec = AuthoritySpec(
            subject=name(CN="Issuing", O="Example"),
            public_key=self.key.public_key(),
            serial=1,
            not_before=NOW - timedelta(days=1),
            not_after=NOW + timedelta(days=1000),
            path_length=0,
            constraints=NameConstraints(),
            pointers=Pointers(),
        )
        self.issuer = self._signed(draft_root(spec))
        self.leaf = self._issued("gateway", SERIAL, "gw1.example", 1000)
        signer = self._issued("ocsp-responder", SERIAL + 1, "ocsp", 41)
        self.responder = ResponderKey(signer, private_key("ec-p256", 41))

    def _issued(self, profile: str, serial: int, common: str, number: int) -> x509.Certificate:
        mould = Mould(builtin_profiles()[profile], self.issuer, self.key.public_key(), Pointers())
        names = (GeneralName.parse(f"dns:{common}"),) if profile == "gateway" else ()
        made = mould.draft(
            Subject(name(CN=common), names),
            private_key("ec-p256", number).public_key(),
            serial=serial,
            not_before=NOW - timedelta(hours=1),
            not_after=NOW + timedelta(days=20),
            shard=0,
        )
        return self._signed(made.tbs)

    def _signed(self, tbs: bytes) -> x509.Certificate:
        signature = sign(self.key, tbs, default_hash(self.key.public_key()))
        return x509.load_der_x509_certificate(complete(tbs, signature))

    def request(self, digest: str = "sha1", nonce: bytes | None = None) -> bytes:
        builder = theirs.OCSPRequestBuilder().add_certificate(
            self.leaf, self.issuer, DIGESTS[digest]
        )
        if nonce is not None:
            builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
        return builder.build().public_bytes(DER)

    def answer(self, status: Status, digest: str = "sha1", nonce: bytes | None = None) -> bytes:
        names, keys = ocsp.issuer_hashes(self.issuer, digest)
        return sign_answer(
            self.responder,
            CertId(digest, names, keys, SERIAL),
            status,
            this_update=NOW,
            next_update=NOW + timedelta(hours=12),
            nonce=nonce,
        )


# Requests


@pytest.mark.parametrize("digest", ["sha1", "sha256"])
def test_a_request_is_read_and_the_hashes_are_ours(digest: str) -> None:
    village = Village()
    asked = read_request(village.request(digest))
    assert asked.nonce is None
    assert asked.certificate == CertId(digest, *ocsp.issuer_hashes(village.issuer, digest), SERIAL)


@pytest.mark.parametrize("size", [1, 16, 32, MAX_NONCE_OCTETS])
def test_nonces_up_to_the_limit_are_read(size: int) -> None:
    nonce = bytes(range(size))
    assert read_request(Village().request(nonce=nonce)).nonce == nonce


@pytest.mark.parametrize("size", [0, MAX_NONCE_OCTETS + 1])
def test_other_nonces_are_malformed(size: int) -> None:
    # RFC 9654 §2.1
    with pytest.raises(OcspMalformed):
        read_request(Village().request(nonce=bytes(size)))


def _cert_id(number: bytes = b"\x02\x01\x05", algorithm: str = "300906052b0e03021a0500") -> bytes:
    return der.tlv(
        der.SEQUENCE,
        bytes.fromhex(algorithm)
        + der.tlv(der.OCTET_STRING, bytes(20))
        + der.tlv(der.OCTET_STRING, bytes(20))
        + number,
    )


def by_hand(*cert_ids: bytes, extensions: bytes = b"") -> bytes:
    """An OCSPRequest from DER CertIDs; `extensions` is the content of requestExtensions."""
    wanted = b"".join(der.tlv(der.SEQUENCE, each) for each in cert_ids)
    more = der.tlv(0xA2, der.tlv(der.SEQUENCE, extensions)) if extensions else b""
    return der.tlv(der.SEQUENCE, der.tlv(der.SEQUENCE, der.tlv(der.SEQUENCE, wanted) + more))


def test_a_request_for_several_certificates_is_malformed() -> None:
    # RFC 5019 §2.1.1: clients MUST include one Request; a list would make every answer different.
    assert read_request(by_hand(_cert_id())).certificate.serial == 5
    for several in ([_cert_id(), _cert_id(b"\x02\x01\x06")], [_cert_id()] * 2, []):
        with pytest.raises(OcspMalformed) as caught:
            read_request(by_hand(*several))
        assert caught.value.code == "ocsp_malformed"


@pytest.mark.parametrize(
    "algorithm",
    [
        "300b0609608648016503040202",  # SHA-384
        "300c06082a864886f70d02050500",  # MD5
        "300606042a030405",
    ],
    ids=["sha384", "md5", "unknown"],
)
def test_other_hashes_are_malformed(algorithm: str) -> None:
    with pytest.raises(OcspMalformed):
        read_request(by_hand(_cert_id(algorithm=algorithm)))


def _extension(oid: str, value: bytes, *, critical: bool) -> bytes:
    flag = b"\x01\x01\xff" if critical else b""
    return der.tlv(der.SEQUENCE, bytes.fromhex(oid) + flag + der.tlv(der.OCTET_STRING, value))


def test_extensions_nobody_knows_are_ignored_unless_critical() -> None:
    # RFC 6960 §4.4: unrecognized extensions MUST be ignored, unless they have the critical flag set.
    unknown = "06042a030405"
    read_request(by_hand(_cert_id(), extensions=_extension(unknown, b"\x05\x00", critical=False)))
    with pytest.raises(OcspMalformed):
        read_request(
            by_hand(_cert_id(), extensions=_extension(unknown, b"\x05\x00", critical=True))
        )
    nonce = _extension("06092b0601050507300102", b"\x04\x01x", critical=True)
    assert read_request(by_hand(_cert_id(), extensions=nonce)).nonce == b"x"


def test_the_same_extension_twice_is_malformed() -> None:
    nonce = _extension("06092b0601050507300102", b"\x04\x01x", critical=False)
    with pytest.raises(OcspMalformed):
        read_request(by_hand(_cert_id(), extensions=nonce * 2))


def test_large_requests_are_malformed_before_they_are_read() -> None:
    filler = _extension("06042a030405", bytes(MAX_OCTETS), critical=False)
    with pytest.raises(OcspMalformed, match="large"):
        read_request(by_hand(_cert_id(), extensions=filler))


@settings(max_examples=300)
@given(st.data())
def test_mutated_requests_are_read_or_malformed(data: st.DataObject) -> None:
    raw = bytearray(
        by_hand(
            _cert_id(),
            extensions=_extension("06092b0601050507300102", b"\x04\x01x", critical=False),
        )
    )
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        read_request(bytes(raw))
    except OcspMalformed:
        return


@given(st.binary(max_size=300))
def test_junk_is_malformed(data: bytes) -> None:
    with pytest.raises(OcspMalformed):
        read_request(data)


# Answers


@pytest.mark.parametrize("algorithm", ["ec-p256", "ec-p384", "rsa-2048", "ed25519"])
@pytest.mark.parametrize("digest", ["sha1", "sha256"])
def test_openssl_and_pkilint_accept_every_status(algorithm: KeyAlgorithm, digest: str) -> None:
    village = Village(algorithm)
    for status, said in (
        (Good(), "good"),
        (Unknown(), "unknown"),
        (Revoked(NOW, Reason.keyCompromise), "revoked keyCompromise"),
        (Revoked(NOW, Reason.certificateHold), "revoked certificateHold"),
        (Revoked(NOW, Reason.unspecified), "revoked"),
    ):
        made = village.answer(status, digest)
        verdict = judges.openssl_ocsp(
            made,
            leaf=village.leaf.public_bytes(DER),
            issuer=village.issuer.public_bytes(DER),
            root=village.issuer.public_bytes(DER),
            digest=digest,
        )
        assert verdict == said
        assert judges.grave(judges.pkilint_ocsp(made)) == []


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_reads_back(reason: Reason) -> None:
    read = theirs.load_der_ocsp_response(Village().answer(Revoked(NOW, reason)))
    found = read.revocation_reason
    assert (found.value if found else "unspecified") == reason.name
    assert read.revocation_time_utc == NOW


def test_an_answer_names_the_signer_by_its_key_and_brings_it_along() -> None:
    village = Village()
    read = theirs.load_der_ocsp_response(village.answer(Good()))
    assert read.responder_name is None
    assert read.responder_key_hash == hashes_of(village.responder.certificate)
    assert read.certificates == [village.responder.certificate]
    assert (read.this_update_utc, read.next_update_utc) == (NOW, NOW + timedelta(hours=12))


def hashes_of(certificate: x509.Certificate) -> bytes:
    return x509.SubjectKeyIdentifier.from_public_key(certificate.public_key()).digest  # type: ignore[arg-type]  # a signing key


def test_a_nonce_comes_back_only_where_it_was_asked_for() -> None:
    village = Village()
    with_nonce = theirs.load_der_ocsp_response(village.answer(Good(), nonce=b"n" * 16))
    assert with_nonce.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == b"n" * 16
    assert list(theirs.load_der_ocsp_response(village.answer(Good())).extensions) == []


def test_answers_past_2050_are_in_order() -> None:
    village = Village()
    at = datetime(2056, 1, 1, tzinfo=UTC)
    made = sign_answer(
        village.responder,
        CertId("sha1", bytes(20), bytes(20), 5),
        Revoked(at, Reason.superseded),
        this_update=at,
        next_update=at + timedelta(hours=1),
    )
    assert theirs.load_der_ocsp_response(made).this_update_utc == at


@pytest.mark.parametrize(
    ("status", "number"),
    [("malformedRequest", 1), ("internalError", 2), ("tryLater", 3), ("unauthorized", 6)],
)
def test_error_answers_are_those_of_the_rfc(status: str, number: int) -> None:
    # RFC 6960 §4.2.1: five octets, unsigned.
    assert ocsp.error_answer(status) == b"\x30\x03\x0a\x01" + bytes((number,))
    assert theirs.load_der_ocsp_response(ocsp.error_answer(status)).response_status.value == number
