"""The registration authority of SCEP and CMP: made, renewed, replaced, shared by several processes."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from pki import authorities, enrollments, issuance, ra_credential, revocation
from pki.certificates import find
from pki.desk import Desk
from pki.endpoints import CmpDoor, Endpoint, EstDoor, ScepDoor
from pki.ra_credential import NoRaCredential, RaCredentials
from pki.rollover import phases
from pki.rollover.phases import Order
from pki.rollover.successor import RolloverRequest
from pki.x509 import serials
from store import leases
from tests.fixtures.desk import ADMIN, CLOCKWORK, OPERATOR, drain, reopened
from tests.pki.test_clockwork import Blobs

DAY = timedelta(days=1)
ENDPOINTS = {
    "devices": Endpoint("devices", "network-device", scep=ScepDoor()),
    "more": Endpoint("more", "host", authority="issuing", cmp=CmpDoor()),
    "others": Endpoint("others", "host", authority="sharded", est=EstDoor()),
}


@pytest.fixture
def service(desk: Desk) -> Desk:
    """A service with SCEP, by one authority."""
    return reopened(desk, blobs=Blobs(), endpoints=ENDPOINTS)


def held(desk: Desk, now: datetime) -> RaCredentials:
    return ra_credential.held(desk, CLOCKWORK, now=now)


def serial_of(certificate: x509.Certificate) -> str:
    return serials.to_hex(certificate.serial_number)


def test_there_is_one_for_each_authority_that_needs_one(service: Desk, now: datetime) -> None:
    assert ra_credential.ensure(service, CLOCKWORK, now=now) == 1
    assert ra_credential.ensure(service, CLOCKWORK, now=now) == 0
    [made] = held(service, now).all
    made.certificate.verify_directly_issued_by(authorities.load(service, "issuing").certificate)
    assert made.key.public_key() == made.certificate.public_key()
    assert isinstance(made.key, rsa.RSAPrivateKey)
    assert find(service, serial_of(made.certificate)).profile == ra_credential.PROFILE
    # True for both doors, and what clients of CMP look for.
    assert made.certificate.subject.rfc4514_string() == "CN=RA of issuing"
    purposes = made.certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert [each.dotted_string for each in purposes] == [
        "1.3.6.1.5.5.7.3.28",
        "1.3.6.1.4.1.311.20.2.1",  # and what Windows looks for
    ]


def test_one_that_an_older_version_made_stays_until_it_is_renewed(
    service: Desk, now: datetime
) -> None:
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "SCEP RA of issuing")])
    csr = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    wanted = issuance.IssueRequest(
        csr.public_bytes(Encoding.DER), "scep-ra", "issuing", itself=True
    )
    made = issuance.issue(service, CLOCKWORK, wanted, now=now)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    assert service.blobs is not None
    service.blobs.put_blob("scep-ra", pem + made.pem.encode())
    assert ra_credential.ensure(service, CLOCKWORK, now=now) == 0
    issuing = authorities.load(service, "issuing")
    assert held(service, now).of(issuing).certificate.subject == name
    later = now + 250 * DAY
    assert ra_credential.ensure(service, CLOCKWORK, now=later) == 1
    renewed = held(service, later).of(issuing).certificate
    assert renewed.subject.rfc4514_string() == "CN=RA of issuing"


def test_an_endpoint_without_its_authority_takes_it_from_no_other(
    desk: Desk, now: datetime
) -> None:
    wrong = Endpoint("a-typo", "hots", authority="isuing", scep=ScepDoor())
    other = Endpoint("b-typo", "hots", scep=ScepDoor())
    endpoints = {"a-typo": wrong, "b-typo": other, **ENDPOINTS}
    service = reopened(desk, blobs=Blobs(), endpoints=endpoints)
    assert ra_credential.ensure(service, CLOCKWORK, now=now) == 1
    told = [(each.name, why.code) for each, why in enrollments.incomplete(service, now=now)]
    assert told == [("a-typo", "profile_not_found"), ("b-typo", "profile_not_found")]


def test_without_scep_and_cmp_there_is_none(desk: Desk, now: datetime) -> None:
    blobs = Blobs()
    shut = reopened(desk, blobs=blobs, endpoints={"others": ENDPOINTS["others"]})
    assert ra_credential.ensure(shut, CLOCKWORK, now=now) == 0
    assert blobs.kept == {}


def test_it_is_renewed_in_time_and_the_old_one_still_opens(service: Desk, now: datetime) -> None:
    ra_credential.ensure(service, CLOCKWORK, now=now)
    [first] = held(service, now).all
    assert ra_credential.ensure(service, CLOCKWORK, now=now + 240 * DAY) == 0
    later = now + 250 * DAY
    assert ra_credential.ensure(service, CLOCKWORK, now=later) == 1
    present = held(service, later)
    assert present.of(authorities.load(service, "issuing")).certificate != first.certificate
    name, number = first.certificate.issuer.public_bytes(), first.certificate.serial_number
    assert present.addressed(name, number) is not None
    assert held(service, now + 370 * DAY).addressed(name, number) is None


def test_one_of_an_earlier_purpose_is_replaced_and_still_opens(
    service: Desk, now: datetime
) -> None:
    """What was made before Windows was thought of has no Certificate Request Agent among its purposes."""
    known = service.rules.profiles
    before = replace(known["scep-ra"], extended_key_usage=("1.3.6.1.5.5.7.3.28",))
    earlier = reopened(service, blobs=service.blobs, profiles={**known, "scep-ra": before})
    assert ra_credential.ensure(earlier, CLOCKWORK, now=now) == 1
    assert ra_credential.ensure(earlier, CLOCKWORK, now=now) == 0
    [first] = held(earlier, now).all
    today = reopened(earlier, blobs=service.blobs, profiles=known)
    assert ra_credential.ensure(today, CLOCKWORK, now=now) == 1
    assert ra_credential.ensure(today, CLOCKWORK, now=now) == 0
    name, number = first.certificate.issuer.public_bytes(), first.certificate.serial_number
    assert held(today, now).addressed(name, number) is not None
    assert held(today, now).all[0] != first


@pytest.mark.parametrize("what", ["revoked", "held"])
def test_one_that_does_not_count_is_replaced(service: Desk, now: datetime, what: str) -> None:
    ra_credential.ensure(service, CLOCKWORK, now=now)
    [first] = held(service, now).all
    if what == "revoked":
        revocation.revoke(service, OPERATOR, serial_of(first.certificate), "keyCompromise", now=now)
    else:
        revocation.hold(service, OPERATOR, serial_of(first.certificate), now=now)
    assert held(service, now).all == ()
    assert ra_credential.ensure(service, CLOCKWORK, now=now) == 1
    [second] = held(service, now).all
    assert second.certificate != first.certificate


def test_of_two_that_make_it_at_once_one_does(service: Desk, now: datetime) -> None:
    lease = leases.take(service.store, "ra_credential", "another", timedelta(minutes=1), now)
    assert lease is not None
    assert ra_credential.ensure(service, CLOCKWORK, now=now) == 0
    with pytest.raises(NoRaCredential):
        held(service, now).of(authorities.load(service, "issuing"))
    leases.release(service.store, lease)
    assert ra_credential.ensure(service, CLOCKWORK, now=now) == 1


def test_a_successor_has_one_before_it_issues(service: Desk, now: datetime) -> None:
    ra_credential.ensure(service, CLOCKWORK, now=now)
    begun = phases.prepare(service, ADMIN, RolloverRequest("issuing"), now=now)
    drain(service, now)
    assert ra_credential.ensure(service, CLOCKWORK, now=now) == 0
    phases.move(service, ADMIN, begun.id, Order("published"), now=now)
    assert ra_credential.ensure(service, CLOCKWORK, now=now) == 1
    heir = authorities.load(service, begun.successor)
    present = held(service, now)
    present.of(heir).certificate.verify_directly_issued_by(heir.certificate)
    old = authorities.load(service, "issuing")
    assert present.of(old).certificate.issuer == old.certificate.subject
    phases.move(service, ADMIN, begun.id, Order("switched", despite=True), now=now)
    assert ra_credential.ensure(service, CLOCKWORK, now=now) == 0
    # It keeps nobody from the end of the rollover: no peer meets it.
    assert phases.usage(service, ADMIN, begun.id, now=now).total == 0


def test_its_key_is_shown_nowhere(service: Desk, now: datetime) -> None:
    ra_credential.ensure(service, CLOCKWORK, now=now)
    assert service.blobs is not None
    assert "PRIVATE KEY" not in repr(service.blobs.get_blob(ra_credential.BLOB))
