"""Issuing and renewing: what comes out, for whom, and how long it holds."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from sqlalchemy import select

from core.errors import IkewardenError
from hsm.ports import KeyAlgorithm
from pki import authorities, certificates, identity, issuance, revocation, tokens
from pki.actors import Actor, OutsideScope, Role, Scope
from pki.certificates import CertificateNotFound
from pki.conditions import LifetimeRefused, ProfileIsInternal
from pki.desk import Desk
from pki.issuance import IssuedCertificate, IssueRequest
from pki.refusals import NamesChanged, NotRenewable
from pki.tokens import TokenRequest
from pki.x509.builtin import builtin_profiles
from store.engine import Unit
from store.tables import certificates as certificates_table
from tests.fixtures.desk import ADMIN, CLOCKWORK, OPERATOR, Custody, reopened
from tests.pki.acts import issue
from tests.pki.requests import PEM, issue_request, name, private_key, request
from tests.store.test_together import waits_for_the_disk

DAY = timedelta(days=1)


def load(issued: IssuedCertificate) -> x509.Certificate:
    return x509.load_der_x509_certificate(issued.der)


def test_what_is_told_is_what_is_in_the_certificate(desk: Desk, now: datetime) -> None:
    csr = request(["dns:gw1.example", "ip:192.0.2.1"], subject=name(O="Example", CN="dropped"))
    asked = IssueRequest(csr, "gateway", names=("email:gw@example.com", "dns:gw1.example"))
    made = issuance.issue(desk, OPERATOR, asked, now=now)
    found = load(made)
    found.verify_directly_issued_by(authorities.load(desk, "issuing").certificate)
    assert made.serial == format(found.serial_number, "032x")
    assert made.subject == "CN=gw1.example,O=Example"
    assert found.subject.rfc4514_string() == made.subject
    assert made.names == ("dns:gw1.example", "ip:192.0.2.1", "email:gw@example.com")
    assert made.pem == found.public_bytes(PEM).decode()
    assert (made.not_before, made.not_after) == (now - timedelta(minutes=10), now + 90 * DAY)
    assert (found.not_valid_before_utc, found.not_valid_after_utc) == (
        made.not_before,
        made.not_after,
    )
    assert made.gateway == "gw1.example"
    assert [each.subject.rfc4514_string() for each in made.authority.chain] == [
        "CN=Issuing,O=Example",
        "CN=Root,O=Example",
    ]


@pytest.mark.parametrize("algorithm", ["ec-p256", "ec-p384", "ec-p521", "rsa-3072", "ed25519"])
def test_all_the_keys_of_the_default_profile(
    shared_desk: Desk, now: datetime, algorithm: KeyAlgorithm
) -> None:
    key = private_key(algorithm)
    csr = request(["dns:gw1.example"], key=key)
    made = issuance.issue(shared_desk, OPERATOR, IssueRequest(csr, "gateway"), now=now)
    assert load(made).public_key() == key.public_key()


def test_pem_is_taken_as_der_is(desk: Desk, now: datetime) -> None:
    asked = IssueRequest(request(encoding=PEM), "gateway")
    assert issuance.issue(desk, OPERATOR, asked, now=now).names == ("dns:gw1.example",)


def test_the_end_may_be_chosen_within_the_profile(desk: Desk, now: datetime) -> None:
    for wished in (
        now + timedelta(seconds=1),
        now + 398 * DAY,
        now + DAY + timedelta(microseconds=7),
    ):
        made = issue(desk, not_after=wished)
        assert made.not_after == wished.replace(microsecond=0)
        assert load(made).not_valid_after_utc == made.not_after


def test_near_its_end_an_authority_issues_for_as_long_as_it_lives(desk: Desk) -> None:
    end = authorities.load(desk, "issuing").certificate.not_valid_after_utc
    late = end - timedelta(seconds=2)
    assert issue(desk, now=late).not_after == end
    with pytest.raises(LifetimeRefused):
        issue(desk, now=late, not_after=end + DAY)


def test_times_between_seconds_are_rounded_down(desk: Desk, now: datetime) -> None:
    made = issue(desk, now=now + timedelta(microseconds=999_999))
    assert made.not_after == now + 90 * DAY
    assert load(made).not_valid_after_utc == made.not_after


def test_the_key_is_told_from_its_fingerprint(desk: Desk) -> None:
    key = private_key("ec-p256")
    one, other = issue(desk, key=key), issue(desk, ["dns:gw2.example"], key=key)
    views = [certificates.get(desk, OPERATOR, each.serial) for each in (one, other)]
    assert views[0].spki_sha256 == views[1].spki_sha256


def test_the_gateway_is_the_one_named_or_the_credentials_or_the_first_name(desk: Desk) -> None:
    assert issue(desk, gateway="gw-berlin-1").gateway == "gw-berlin-1"
    tied = Actor("e", Role.ENROLLER, scope=Scope(gateway="berlin"))
    assert issue(desk, actor=tied).gateway == "berlin"
    assert issue(desk, ["ip:192.0.2.1"]).gateway == "192.0.2.1"
    assert issue(desk, ["dn:CN=a,O=b"]).gateway == "CN=a,O=b"
    assert issue(desk, ["email:a@example.com"], "user").gateway is None


def test_a_limited_credential_may_name_the_gateway_by_one_of_its_names(desk: Desk) -> None:
    limited = Actor("e", Role.ENROLLER, scope=Scope(names=("dns:*.example",)))
    names = ["dns:gw1.example", "dns:gw2.example"]
    assert issue(desk, names, actor=limited, gateway="gw2.example").gateway == "gw2.example"
    with pytest.raises(OutsideScope):
        issue(desk, names, actor=limited, gateway="gw3.example")


def test_windows_gets_its_address_as_a_host_name(desk: Desk) -> None:
    made = issue(desk, ["dns:gw1.example", "ip:192.0.2.1"], "windows-gateway")
    found = load(made).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert found.get_values_for_type(x509.DNSName) == ["gw1.example", "192.0.2.1"]


def test_the_scheduler_issues_what_the_service_needs(desk: Desk, now: datetime) -> None:
    made = issue(desk, ["dns:localhost"], "service-tls", actor=CLOCKWORK)
    assert made.gateway is None
    with pytest.raises(ProfileIsInternal):
        issuance.renew(desk, OPERATOR, made.serial, None, now=now)


# Renewal


def test_a_renewal_keeps_everything_but_time_and_number(desk: Desk, now: datetime) -> None:
    old = issue(desk, ["dns:gw1.example", "ip:192.0.2.1"], gateway="berlin", not_after=now + DAY)
    later = now + timedelta(hours=20)
    new = issuance.renew(desk, OPERATOR, old.serial, None, now=later)
    assert new.serial != old.serial
    assert (new.subject, new.names, new.gateway) == (old.subject, old.names, old.gateway)
    assert new.profile == old.profile
    assert new.authority.name == old.authority.name
    assert new.not_after == later + 90 * DAY
    assert load(new).public_key() == load(old).public_key()
    assert new.renewed_from == old.serial
    assert certificates.get(desk, OPERATOR, new.serial).renewed_from == old.serial
    assert certificates.get(desk, OPERATOR, old.serial).status == "valid"


@pytest.mark.parametrize("names", [[], ["dns:gw1.example"], ["ip:192.0.2.1", "dns:gw1.example"]])
def test_a_rekey_takes_the_new_key(desk: Desk, now: datetime, names: list[str]) -> None:
    old = issue(desk, ["dns:gw1.example", "ip:192.0.2.1"])
    key = private_key("ec-p384")
    new = issuance.renew(desk, OPERATOR, old.serial, request(names, key=key), now=now)
    assert load(new).public_key() == key.public_key()
    assert new.names == old.names


def test_a_renewal_asks_for_no_other_names(desk: Desk, now: datetime) -> None:
    old = issue(desk)
    with pytest.raises(NamesChanged) as caught:
        issuance.renew(desk, OPERATOR, old.serial, request(["dns:gw2.example"]), now=now)
    assert caught.value.code == "renewal_names_changed"


def test_a_rekey_is_held_to_the_profile(desk: Desk, now: datetime) -> None:
    old = issue(desk)
    for csr, code in (
        (request((), key=private_key("rsa-2048")), "key_not_allowed"),
        (b"junk", "csr_malformed"),
        (request().replace(b"gw1.example", b"gw9.example"), "csr_signature_invalid"),
    ):
        with pytest.raises(IkewardenError) as caught:
            issuance.renew(desk, OPERATOR, old.serial, csr, now=now)
        assert caught.value.code == code


def test_what_is_revoked_or_on_hold_or_never_was_is_not_renewed(
    desk: Desk, keys: Custody, now: datetime
) -> None:
    gone, held = issue(desk), issue(desk)
    revocation.revoke(desk, OPERATOR, gone.serial, "superseded", now=now)
    revocation.hold(desk, OPERATOR, held.serial, now=now)
    keys.fail()
    with pytest.raises(IkewardenError):
        issue(desk)
    keys.heal()
    with desk.store.read() as connection:
        pending = connection.execute(
            select(certificates_table.c.serial).where(certificates_table.c.status == "pending")
        ).scalar_one()
    for serial in (gone.serial, held.serial, pending):
        with pytest.raises(NotRenewable) as caught:
            issuance.renew(desk, OPERATOR, serial, None, now=now)
        assert caught.value.code == "certificate_not_renewable"
    with pytest.raises(CertificateNotFound):
        issuance.renew(desk, OPERATOR, "77" * 16, None, now=now)


def test_an_operator_may_renew_what_has_expired_and_its_gateway_may_not(
    desk: Desk, now: datetime
) -> None:
    old = issue(desk, not_after=now + DAY)
    late = old.not_after + DAY
    with pytest.raises(IkewardenError) as caught:
        identity.actor_from_certificate(desk, old.der, now=late, request_id="r")
    assert caught.value.code == "client_certificate_expired"
    assert issuance.renew(desk, OPERATOR, old.serial, None, now=late).not_after > late


def test_a_gateway_renews_its_own_and_nobody_elses(desk: Desk, now: datetime) -> None:
    mine, other = issue(desk, ["dns:a.example"]), issue(desk, ["dns:b.example"])
    me = identity.actor_from_certificate(desk, mine.der, now=now, request_id="r")
    assert me.role is Role.GATEWAY
    new = issuance.renew(desk, me, mine.serial, request((), key=private_key("ec-p384")), now=now)
    assert new.gateway == "a.example"
    with pytest.raises(IkewardenError) as caught:
        issuance.renew(desk, me, other.serial, None, now=now)
    assert caught.value.code in {"outside_scope", "certificate_not_found"}
    # With its new certificate it is the same gateway.
    again = identity.actor_from_certificate(desk, new.der, now=now, request_id="r")
    assert again.scope.gateway == "a.example"


def test_a_gateway_renews_with_every_kind_of_name(desk: Desk, now: datetime) -> None:
    names = [
        "dns:a.example",
        "ip:192.0.2.1",
        "ip:2001:db8::1",
        "email:Gw@example.com",
        "uri:ike://a.example/x?y=1",
        "dn:CN=a\\,b,O=Example",
    ]
    mine = issue(desk, names)
    me = identity.actor_from_certificate(desk, mine.der, now=now, request_id="r")
    assert issuance.renew(desk, me, mine.serial, request(names), now=now).names == mine.names
    windows = issue(desk, ["ip:192.0.2.1", "dns:a.example"], "windows-gateway")
    me = identity.actor_from_certificate(desk, windows.der, now=now, request_id="r")
    assert issuance.renew(desk, me, windows.serial, None, now=now).names == windows.names


def test_a_renewal_with_one_serial_at_two_authorities_needs_the_authority(
    desk: Desk, now: datetime
) -> None:
    twin = reopened(desk, entropy=bytes)
    one = issue(twin)
    issue(twin, profile="gateway-sharded", authority="sharded")
    with pytest.raises(IkewardenError) as caught:
        issuance.renew(desk, OPERATOR, one.serial, None, now=now)
    assert caught.value.code == "serial_ambiguous"
    new = issuance.renew(desk, OPERATOR, one.serial, None, now=now, authority="issuing")
    assert new.authority.name == "issuing"


# Tokens at work


def test_a_token_enrolls_within_its_scope(desk: Desk, now: datetime) -> None:
    scope = Scope(
        profiles=("gateway", "host"),
        authorities=("issuing",),
        names=("dns:**.gw.example", "ip:192.0.2.0/24"),
    )
    wanted = TokenRequest("batch", Role.ENROLLER, scope, uses=2)
    made = tokens.create(desk, ADMIN, wanted, now=now)
    for names, profile in (
        (["dns:a.gw.example", "ip:192.0.2.7"], "gateway"),
        (["dns:b.c.gw.example"], "host"),
    ):
        actor = identity.actor_from_token(desk, made.secret, now=now, request_id="r")
        issued = issuance.issue(desk, actor, issue_request(names, profile), now=now)
        with desk.store.read() as connection:
            row = connection.execute(
                select(certificates_table).where(certificates_table.c.serial == issued.serial)
            ).one()
        assert (row.requested_by, row.credential) == ("batch", f"token:{made.view.id}")
    with pytest.raises(IkewardenError) as caught:
        identity.actor_from_token(desk, made.secret, now=now, request_id="r")
    assert caught.value.code == "token_refused"


_PERSON = {"C": "DE", "O": "Example", "CN": "ceo@example.com", "UID": "root"}


@pytest.mark.parametrize(
    ("scope", "profile", "names", "subject", "told"),
    [
        # Not limited in names: as the profile lets him.
        (None, "user", ["email:m@example.com"], _PERSON, "UID=root,CN=ceo@example.com,O=Example,C=DE"),
        (["email:m@example.com"], "user", ["email:m@example.com"], _PERSON, "CN=m@example.com"),
        (["email:m@example.com"], "user", ["email:m@example.com"], {"O": "Example"}, ""),
        (["dns:*.example"], "gateway", ["dns:a.example"], {"O": "Other"}, "CN=a.example"),
        # A common name that is one of its names stays.
        (["email:*@a.de"], "user", ["email:b@a.de", "email:c@a.de"], {"CN": "c@a.de"}, "CN=c@a.de"),
        # A pattern of its own covers the whole of it, or nothing of it counts.
        (["dns:*.example", "dn:*,O=X"], "gateway", ["dns:a.example"], {"O": "X"}, "CN=a.example,O=X"),
        (["dns:*.example", "dn:*,O=X"], "gateway", ["dns:a.example"], {"O": "Other"}, "CN=a.example"),
        (["*"], "user", ["email:m@example.com"], _PERSON, "UID=root,CN=ceo@example.com,O=Example,C=DE"),
    ],
)  # fmt: skip
def test_a_credential_that_is_limited_in_names_is_limited_in_the_subject_too(
    desk: Desk,
    now: datetime,
    scope: list[str] | None,
    profile: str,
    names: list[str],
    subject: dict[str, str],
    told: str,
) -> None:
    limits = Scope(profiles=(profile,), names=None if scope is None else tuple(scope))
    wanted = TokenRequest("m", Role.ENROLLER, limits, uses=1)
    made = tokens.create(desk, ADMIN, wanted, now=now)
    actor = identity.actor_from_token(desk, made.secret, now=now, request_id="r")
    csr = request(names, subject=name(**subject))
    issued = issuance.issue(desk, actor, IssueRequest(csr, profile), now=now)
    assert load(issued).subject.rfc4514_string() == issued.subject == told


def test_every_public_profile_issues_with_the_smallest_honest_request(
    shared_desk: Desk, now: datetime
) -> None:
    for profile in builtin_profiles().values():
        if profile.internal or profile.name in {"cnsa", "post-quantum"}:  # another kind of key
            continue
        special = {
            "user": "email:a@example.com",
            "gateway-channel": "uri:https://channel.ikewarden.invalid/a",
        }
        names = [special.get(profile.name, "dns:a.example")]
        authority = "sharded" if profile.distribution.crl == "shard" else "issuing"
        made = issue(shared_desk, names, profile.name, authority=authority)
        if profile.lint:  # that of a channel is shown to no peer
            assert made.report.verdict("strongswan") != "fail"
        assert replace(made).profile.name == profile.name


def test_the_common_name_of_a_person_is_kept(desk: Desk, now: datetime) -> None:
    csr = request(["email:carol@example.com"], subject=name(CN="Carol", O="Example"))
    made = issuance.issue(desk, OPERATOR, IssueRequest(csr, "user"), now=now)
    common = load(made).subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert [each.value for each in common] == ["Carol"]


@pytest.mark.parametrize("elsewhere", [False, True])
def test_an_intent_waits_for_the_disk_where_the_signature_is_made_elsewhere(
    desk: Desk, now: datetime, monkeypatch: pytest.MonkeyPatch, elsewhere: bool
) -> None:
    """A device may remember what it signed; a signature of this process is gone with what a power cut undoes."""
    key = authorities.signer(desk, authorities.load(desk, "issuing"))
    monkeypatch.setattr(key, "elsewhere", elsewhere)
    waited = []

    def look(unit: Unit, _issued: IssuedCertificate, _spki: str) -> dict[str, object]:
        waited.append(waits_for_the_disk(unit))
        return {}

    issuance.issue(desk, OPERATOR, issue_request(), consent=look, now=now)
    assert waited == [elsewhere]
