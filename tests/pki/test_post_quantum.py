"""ML-DSA authorities and certificates (RFC 9881), judged by an implementation of FIPS 204 that is not ours."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ocsp
from dilithium_py.ml_dsa import ML_DSA_44, ML_DSA_65, ML_DSA_87

from hsm.ports import KeyAlgorithm
from pki import issuance, publication, revocation
from pki.desk import Desk
from pki.issuance import IssueRequest
from pki.ocsp_responder import OcspResponder
from pki.refusals import LintRefused
from pki.x509 import renewal
from pki.x509.lint import lint
from store.engine import open_store
from tests import judges
from tests.fixtures.desk import NOW, OPERATOR, Founding, drain
from tests.pki.acts import certificate_of, crl, listed, ocsp_request
from tests.pki.requests import issue_request, private_key

JUDGES: dict[KeyAlgorithm, tuple[Any, str]] = {
    "ml-dsa-44": (ML_DSA_44, "2.16.840.1.101.3.4.3.17"),
    "ml-dsa-65": (ML_DSA_65, "2.16.840.1.101.3.4.3.18"),
    "ml-dsa-87": (ML_DSA_87, "2.16.840.1.101.3.4.3.19"),
}


@pytest.fixture(scope="module", params=JUDGES)
def algorithm(request: pytest.FixtureRequest) -> KeyAlgorithm:
    found: KeyAlgorithm = request.param
    return found


@pytest.fixture(scope="module")
def village(
    algorithm: KeyAlgorithm,
    tmp_path_factory: pytest.TempPathFactory,
    sqlite_template: Path,
    foundings: Callable[[KeyAlgorithm], Founding],
) -> Iterator[Desk]:
    """A desk whose authorities have keys of this kind. The database does not matter here."""
    path = tmp_path_factory.mktemp("post-quantum") / "records.db"
    path.write_bytes(sqlite_template.read_bytes())
    path.chmod(0o600)
    desk = foundings(algorithm).into(open_store(f"sqlite:///{path}"))
    yield desk
    desk.store.close()


def is_signed(algorithm: KeyAlgorithm, signer: bytes, tbs: bytes, signature: bytes) -> bool:
    """What the other implementation says of a signature by the certificate `signer`."""
    key = x509.load_der_x509_certificate(signer).public_key()
    raw = key.public_bytes(Encoding.Raw, PublicFormat.Raw)
    verdict: bool = JUDGES[algorithm][0].verify(raw, tbs, signature)
    return verdict


def test_a_chain_a_list_and_an_answer(village: Desk, algorithm: KeyAlgorithm) -> None:
    asked = issue_request(profile="post-quantum", key=private_key(algorithm))
    made = issuance.issue(village, OPERATOR, asked, now=NOW)
    root, between = certificate_of(village, "root"), certificate_of(village, "issuing")
    for signed, signer in ((made.der, between), (between, root), (root, root)):
        one = x509.load_der_x509_certificate(signed)
        one.verify_directly_issued_by(x509.load_der_x509_certificate(signer))
        assert one.signature_algorithm_oid.dotted_string == JUDGES[algorithm][1]
        assert is_signed(algorithm, signer, one.tbs_certificate_bytes, one.signature)
        assert not is_signed(algorithm, signer, one.tbs_certificate_bytes + b"x", one.signature)
    assert judges.grave(judges.pkilint_certificate(made.der)) == []
    revocation.revoke(village, OPERATOR, made.serial, "keyCompromise", now=NOW)
    drain(village, NOW)
    told = crl(village)
    assert listed(told) == {made.serial: "keyCompromise"}
    assert is_signed(algorithm, between, told.tbs_certlist_bytes, told.signature)
    answer = ocsp.load_der_ocsp_response(
        OcspResponder(village).answer("issuing", ocsp_request(made), NOW).body
    )
    assert answer.certificate_status is ocsp.OCSPCertStatus.REVOKED
    [delegate] = answer.certificates
    signer = delegate.public_bytes(Encoding.DER)
    assert is_signed(algorithm, signer, answer.tbs_response_bytes, answer.signature)
    assert is_signed(algorithm, between, delegate.tbs_certificate_bytes, delegate.signature)
    for kind in ("full", "delta"):
        assert publication.published(village, "issuing", kind).der


def test_the_verdicts_say_that_no_ike_daemon_can_use_it(
    village: Desk, algorithm: KeyAlgorithm
) -> None:
    asked = issue_request(profile="post-quantum", key=private_key(algorithm, 1001))
    made = issuance.issue(village, OPERATOR, asked, now=NOW)
    report = lint(x509.load_der_x509_certificate(made.der), ("strongswan", "libreswan", "windows"))
    for dialect in ("strongswan", "libreswan", "windows"):
        assert report.verdict(dialect) == "fail"
        assert "x509.ml_dsa" in {each.rule for each in report.findings(dialect)}
    with pytest.raises(LintRefused, match="strongswan"):
        issuance.issue(village, OPERATOR, issue_request(), now=NOW)


def test_a_renewal_keeps_or_changes_the_key(village: Desk, algorithm: KeyAlgorithm) -> None:
    key, later = private_key(algorithm, 1002), private_key(algorithm, 1003)
    asked = issue_request(profile="post-quantum", key=key)
    made = issuance.issue(village, OPERATOR, asked, now=NOW)
    kept = issuance.renew(village, OPERATOR, made.serial, None, now=NOW)
    csr = issue_request(profile="post-quantum", key=later).csr
    changed = issuance.renew(village, OPERATOR, kept.serial, csr, now=NOW)
    keys = [x509.load_der_x509_certificate(each.der).public_key() for each in (kept, changed)]
    assert keys == [key.public_key(), later.public_key()]
    renewal.verify(key.public_key(), csr, renewal.prove(key, csr))


def test_a_request_whose_signature_is_another_is_refused(
    village: Desk, algorithm: KeyAlgorithm
) -> None:
    good = issue_request(profile="post-quantum", key=private_key(algorithm)).csr
    bad = good[:-1] + bytes([good[-1] ^ 1])
    with pytest.raises(Exception, match="signature does not fit"):
        issuance.issue(village, OPERATOR, IssueRequest(bad, "post-quantum"), now=NOW)
