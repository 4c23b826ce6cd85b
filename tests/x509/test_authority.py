"""Certificates of authorities: what RFC 5280 demands of them, and what OpenSSL, strongSwan and pkilint say."""

from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID

from hsm.ports import KeyAlgorithm
from pki.x509.authority import AuthoritySpec, Pointers, draft_root, draft_subordinate
from pki.x509.constraints import NameConstraints
from pki.x509.signing import complete, default_hash, sign
from tests import judges
from tests.fixtures.desk import NOW
from tests.pki.requests import DER, name, private_key

POINTERS = Pointers("http://c.example/root.crl", "http://c.example/ocsp", "http://c.example/r.crt")


def spec(number: int, algorithm: KeyAlgorithm, **changes: object) -> AuthoritySpec:
    made = AuthoritySpec(
        subject=name(CN=f"Authority {number}", O="Example"),
        public_key=private_key(algorithm, number).public_key(),
        serial=(1 << 126) + number,
        not_before=NOW - timedelta(minutes=10),
        not_after=NOW + timedelta(days=3650),
        path_length=1,
        constraints=NameConstraints(),
        pointers=Pointers(),
    )
    return replace(made, **changes)  # type: ignore[arg-type]  # fields of the dataclass


def signed(tbs: bytes, algorithm: KeyAlgorithm, number: int) -> x509.Certificate:
    key = private_key(algorithm, number)
    return x509.load_der_x509_certificate(
        complete(tbs, sign(key, tbs, default_hash(key.public_key())))
    )


@pytest.fixture(params=["ec-p256", "ec-p384", "rsa-2048", "ed25519"])
def algorithm(request: pytest.FixtureRequest) -> KeyAlgorithm:
    wanted: KeyAlgorithm = request.param
    return wanted


def test_root_and_issuing_authority_pass_all_judges(algorithm: KeyAlgorithm) -> None:
    root = signed(draft_root(spec(20, algorithm)), algorithm, 20)
    below = spec(
        21,
        algorithm,
        path_length=0,
        pointers=POINTERS,
        constraints=NameConstraints.parse(
            ["dns:b.example", "ip:192.0.2.0/24"], ["dns:a.b.example"]
        ),
    )
    issuing = signed(
        draft_subordinate(below, root, private_key(algorithm, 20).public_key()), algorithm, 20
    )
    root.verify_directly_issued_by(root)
    issuing.verify_directly_issued_by(root)
    pair = root.public_bytes(DER), issuing.public_bytes(DER)
    judges.openssl_verify(pair[1], "-x509_strict", root=pair[0])
    judges.openssl_verify(pair[0], "-x509_strict", "-check_ss_sig", root=pair[0])
    assert "CA CRLSign self-signed" in judges.strongswan_print(pair[0]).replace("  ", " ")
    assert judges.grave(judges.pkilint_certificate(pair[0])) == []
    assert judges.grave(judges.pkilint_certificate(pair[1])) == []
    assert judges.grave(judges.pkilint_chain(*pair)) == []


def test_what_an_authority_must_say_is_critical() -> None:
    root = signed(draft_root(spec(20, "ec-p256", path_length=2)), "ec-p256", 20)
    basic = root.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (basic.critical, basic.value.ca, basic.value.path_length) == (True, True, 2)
    usage = root.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert usage.value.key_cert_sign
    assert usage.value.crl_sign
    assert not usage.value.digital_signature


def test_without_path_length_there_is_no_limit() -> None:
    root = signed(draft_root(spec(20, "ec-p256", path_length=None)), "ec-p256", 20)
    basic = root.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert basic.path_length is None


def test_identifiers_lead_from_the_subordinate_to_its_issuer() -> None:
    root = signed(draft_root(spec(20, "ec-p256")), "ec-p256", 20)
    below = draft_subordinate(spec(21, "ec-p256"), root, private_key("ec-p256", 20).public_key())
    issuing = signed(below, "ec-p256", 20)
    upper = root.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    lower = issuing.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert upper.digest == lower.key_identifier
    assert issuing.issuer == root.subject


def test_pointers_are_where_the_verifier_looks() -> None:
    kinds = {type(each.value): each for each in POINTERS.extensions()}
    assert not any(each.critical for each in kinds.values())
    access = kinds[x509.AuthorityInformationAccess].value
    assert isinstance(access, x509.AuthorityInformationAccess)
    assert {each.access_method: each.access_location.value for each in access} == {
        AuthorityInformationAccessOID.OCSP: "http://c.example/ocsp",
        AuthorityInformationAccessOID.CA_ISSUERS: "http://c.example/r.crt",
    }
    points = kinds[x509.CRLDistributionPoints].value
    assert isinstance(points, x509.CRLDistributionPoints)
    assert points[0].full_name == [x509.UniformResourceIdentifier("http://c.example/root.crl")]


@pytest.mark.parametrize("missing", ["crl", "ocsp", "ca_issuers"])
def test_a_missing_pointer_leaves_no_hole(missing: str) -> None:
    found = replace(POINTERS, **{missing: None}).extensions()
    assert [type(each.value) for each in found] == (
        [x509.AuthorityInformationAccess]
        if missing == "crl"
        else [x509.CRLDistributionPoints, x509.AuthorityInformationAccess]
    )
    assert Pointers().extensions() == []
