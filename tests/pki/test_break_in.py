"""What an attacker tried and got through with, once."""

from datetime import timedelta

import pytest

from pki import certificates, founding, identity, issuance, profiles, revocation, tokens
from pki.actors import Actor, OutsideScope, Role, Scope
from pki.authorities import PROFILE
from pki.certificates import CertificateQuery
from pki.conditions import RootIssuesAuthorities
from pki.desk import Desk
from pki.founding import AuthorityExists, AuthorityRequest
from pki.profiles import ProfileExists, ProfileNotFound
from pki.refusals import NotRenewable
from pki.tokens import TokenRequest
from pki.x509.constraints import NameConstraints, NameOutsideConstraints
from pki.x509.names import GeneralName, InvalidName
from pki.x509.profile import to_document
from tests.fixtures.desk import ADMIN, NOW, OPERATOR
from tests.pki.requests import issue_request, request


def _issue(desk: Desk, *names: str, profile: str = "gateway") -> issuance.IssuedCertificate:
    asked = issuance.IssueRequest(csr=request(names), profile=profile)
    return issuance.issue(desk, OPERATOR, asked, now=NOW)


@pytest.mark.parametrize("value", ["CN=x\\0adns:hq.example.com", "CN=a\\00b", "CN=a\\0d"])
def test_no_line_feed_hides_in_a_distinguished_name(value: str) -> None:
    with pytest.raises(InvalidName):
        GeneralName.parse(f"dn:{value}")


def test_a_limited_operator_touches_nothing_outside_his_scope(desk: Desk) -> None:
    mine, other = _issue(desk, "dns:gwa.example"), _issue(desk, "dns:gwb.example")
    scopes = (
        Scope(gateway="gwa.example"),
        Scope(names=("dns:gwa.example",)),
        Scope(profiles=("user",)),
        Scope(authorities=("sharded",)),
    )
    for number, scope in enumerate(scopes):
        actor = Actor("olga", Role.OPERATOR, credential="token:x", scope=scope)
        with pytest.raises(OutsideScope):
            revocation.revoke(desk, actor, other.serial, "keyCompromise", now=NOW)
        with pytest.raises(OutsideScope):
            revocation.hold(desk, actor, other.serial, now=NOW)
        with pytest.raises(certificates.CertificateNotFound):
            certificates.get(desk, actor, other.serial)
        seen = {c.serial for c in certificates.search(desk, actor, CertificateQuery(), now=NOW)}
        assert other.serial not in seen
        assert (mine.serial in seen) is (number < 2)
    limited = Actor("olga", Role.OPERATOR, credential="token:x", scope=scopes[0])
    assert revocation.revoke(desk, limited, mine.serial, "superseded", now=NOW).status == "revoked"


def test_a_page_of_a_limited_caller_is_full_although_others_lie_between(desk: Desk) -> None:
    for number in range(12):
        _issue(desk, f"dns:gw{number}.{'mine' if number % 3 == 0 else 'theirs'}.example")
    actor = Actor("o", Role.OPERATOR, credential="t", scope=Scope(names=("dns:*.mine.example",)))
    first = certificates.search(desk, actor, CertificateQuery(limit=3), now=NOW)
    second = certificates.search(
        desk, actor, CertificateQuery(limit=3, cursor=first[-1].id), now=NOW
    )
    assert [len(first), len(second)] == [3, 1]


def test_a_limited_operator_ends_only_tokens_within_his_scope(desk: Desk) -> None:
    wanted = TokenRequest("t", Role.ENROLLER, Scope(profiles=("user",)), uses=1)
    made = tokens.create(desk, ADMIN, wanted, now=NOW)
    actor = Actor("o", Role.OPERATOR, credential="t", scope=Scope(profiles=("gateway",)))
    with pytest.raises(OutsideScope):
        tokens.revoke(desk, actor, made.view.id, now=NOW)


def test_a_token_is_for_profiles_that_exist(desk: Desk) -> None:
    wanted = TokenRequest("t", Role.ENROLLER, Scope(profiles=("nope",)), uses=1)
    with pytest.raises(ProfileNotFound):
        tokens.create(desk, ADMIN, wanted, now=NOW)


def test_nobody_makes_a_profile_that_authorities_are_kept_under(desk: Desk) -> None:
    document = {**to_document(desk.rules.profiles["gateway"]), "name": PROFILE}
    with pytest.raises(ProfileExists):
        profiles.create(desk, ADMIN, document, now=NOW)


def test_nobody_renews_the_certificate_of_an_authority(desk: Desk) -> None:
    found = certificates.search(
        desk, ADMIN, CertificateQuery(profile=PROFILE, authority="root"), now=NOW
    )
    for each in found:
        with pytest.raises(NotRenewable):
            issuance.renew(desk, ADMIN, each.serial, request(), now=NOW)
    assert found


def test_a_root_certifies_authorities_only(desk: Desk) -> None:
    with pytest.raises(RootIssuesAuthorities):
        issuance.issue(desk, ADMIN, issue_request(authority="root"), now=NOW)


def test_no_two_authorities_have_one_subject(desk: Desk) -> None:
    again = AuthorityRequest(
        name="twin", kind="issuing", parent="root", subject="CN=Issuing,O=Example"
    )
    with pytest.raises(AuthorityExists, match="subject"):
        founding.create(desk, ADMIN, again, now=NOW)


@pytest.mark.parametrize("name", ["dns:10.1.1.1", "ip:::ffff:10.1.1.1"])
def test_an_excluded_address_has_no_other_spelling(name: str) -> None:
    constraints = NameConstraints.parse((), ("ip:10.0.0.0/8",))
    with pytest.raises(NameOutsideConstraints):
        constraints.check([GeneralName.parse(name)])


def test_an_expired_certificate_is_called_so(desk: Desk) -> None:
    made = _issue(desk, "dns:gw.example")
    found = certificates.get(desk, ADMIN, made.serial)
    assert found.status_at(NOW) == "valid"
    assert found.status_at(made.not_after + timedelta(seconds=1)) == "expired"
    with pytest.raises(identity.ClientCertificateExpired):
        identity.actor_from_certificate(
            desk, made.der, now=made.not_after + timedelta(seconds=1), request_id="r"
        )
