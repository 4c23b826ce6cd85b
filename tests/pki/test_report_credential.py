"""What signs reports: made when it is needed, kept, renewed, and never two at once."""

from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509

from pki import authorities, report_credential, revocation
from pki.certificates import find
from pki.desk import Desk
from pki.report_credential import ReportCredential, ReportSignerMissing
from pki.x509 import serials
from store import leases
from tests.fixtures.desk import ADMIN, CLOCKWORK, NOW, reopened
from tests.pki.test_clockwork import Blobs

DAY = timedelta(days=1)


@pytest.fixture
def service(desk: Desk) -> Desk:
    return reopened(desk, blobs=Blobs())


def ensured(desk: Desk, after: timedelta = timedelta(0)) -> ReportCredential:
    return report_credential.ensure(desk, CLOCKWORK, now=NOW + after)


def test_it_is_for_documents_and_nothing_else(service: Desk) -> None:
    made = ensured(service)
    known = made.certificate.extensions
    purposes = known.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert [each.dotted_string for each in purposes] == ["1.3.6.1.5.5.7.3.36"]  # RFC 9336 §3.1
    usage = known.get_extension_for_class(x509.KeyUsage).value
    assert (usage.digital_signature, usage.key_encipherment, usage.key_cert_sign) == (
        True,
        False,
        False,
    )
    assert made.certificate.subject.rfc4514_string() == "CN=Reports of issuing"
    made.certificate.verify_directly_issued_by(authorities.load(service, "issuing").certificate)
    assert made.key.public_key() == made.certificate.public_key()
    assert [each.subject.rfc4514_string() for each in made.chain] == ["CN=Issuing,O=Example"]
    assert "PRIVATE KEY" not in repr(made)
    serial = serials.to_hex(made.certificate.serial_number)
    assert find(service, serial).profile == report_credential.PROFILE


def test_it_is_kept_and_renewed(service: Desk) -> None:
    # Near its authority's end, as with the lifetime that it has, a new one would live no longer.
    assert ensured(service, 900 * DAY).certificate == ensured(service, 999 * DAY).certificate
    signer = replace(service.rules.profiles[report_credential.PROFILE], lifetime=300 * DAY)
    profiles = {**service.rules.profiles, report_credential.PROFILE: signer}
    service = reopened(service, blobs=Blobs(), profiles=profiles)
    first = ensured(service)
    life = first.certificate.not_valid_after_utc - NOW
    assert ensured(service, life * 0.6).certificate == first.certificate
    second = ensured(service, life * 0.7)
    assert second.certificate != first.certificate
    assert ensured(service, life * 0.7).certificate == second.certificate
    # Another process has the same.
    assert (
        ensured(reopened(service, blobs=service.blobs), life * 0.7).certificate
        == second.certificate
    )


def test_one_that_was_revoked_signs_no_more(service: Desk) -> None:
    first = ensured(service)
    serial = serials.to_hex(first.certificate.serial_number)
    revocation.revoke(service, ADMIN, serial, "keyCompromise", now=NOW)
    second = ensured(service, DAY)
    assert second.certificate != first.certificate
    assert second.key.private_numbers() != first.key.private_numbers()


def test_another_authority_that_issues_by_default_issues_another(service: Desk) -> None:
    ensured(service)
    other = reopened(service, blobs=service.blobs, default_authority="sharded")
    assert ensured(other).certificate.issuer.rfc4514_string() == "CN=Sharded,O=Example"


def test_one_process_makes_it(service: Desk) -> None:
    held = leases.take(service.store, "report_credential", "another", timedelta(minutes=1), NOW)
    assert held is not None
    with pytest.raises(ReportSignerMissing):
        ensured(service)
    leases.release(service.store, held)
    assert ensured(service)


def test_without_a_place_for_keys_nothing_is_signed(desk: Desk) -> None:
    with pytest.raises(ReportSignerMissing) as refused:
        ensured(desk)
    assert refused.value.next_step
