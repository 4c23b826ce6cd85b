"""Looking at certificates and profiles: who sees what, and searches that find it."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography import x509

from core.errors import IkewardenError
from pki import certificates, identity, profiles, revocation
from pki.actors import Actor, OutsideScope, Role, Scope
from pki.certificates import BadQuery, CertificateNotFound, CertificateQuery
from pki.desk import Desk
from pki.profiles import ProfileExists, ProfileNotFound
from pki.x509.builtin import builtin_profiles
from pki.x509.profile import InvalidProfile
from tests.fixtures.desk import ADMIN, NOW, OPERATOR, Custody, reopened
from tests.pki.acts import issue

AUDITOR = Actor("a", Role.AUDITOR)
DAY = timedelta(days=1)


def search(desk: Desk, actor: Actor = OPERATOR, now: datetime = NOW, **query: Any) -> list[str]:
    found = certificates.search(desk, actor, CertificateQuery(**query), now=now)
    return [each.serial for each in found]


def test_a_certificate_is_found_by_what_one_knows_of_it(desk: Desk) -> None:
    one = issue(desk, ["dns:gw1.Berlin.example", "ip:192.0.2.1"], gateway="berlin-1")
    issue(desk, ["dns:gw2.paris.example"])
    spaced = " ".join(one.fingerprint[n : n + 2] for n in range(0, 64, 2)).upper()
    for text in (
        "berlin.example",
        "GW1.BERLIN",
        "192.0.2.1",
        "CN=gw1",
        one.serial,
        ":".join(one.serial[n : n + 2] for n in range(0, 32, 2)).upper(),
        "0x" + one.serial,
        one.fingerprint,
        spaced,
        "berlin-1",
    ):
        assert search(desk, q=text) == [one.serial], text
    assert search(desk, q="nothing like that") == []


@pytest.mark.parametrize(
    "text", ["%", "_", "\\", "'", '"', "\x00", "\ud800", "x" * 5000, "' OR 1=1 --"]
)
def test_searches_with_odd_characters_find_nothing_and_do_no_harm(
    shared_desk: Desk, text: str
) -> None:
    issue(shared_desk)
    for field in ("q", "gateway", "profile", "authority"):
        assert search(shared_desk, **{field: text}) == []


def test_statuses(desk: Desk, keys: Custody) -> None:
    good, gone, held = issue(desk), issue(desk), issue(desk)
    old = issue(desk, not_after=NOW + DAY)
    revocation.revoke(desk, OPERATOR, gone.serial, "superseded", now=NOW)
    revocation.hold(desk, OPERATOR, held.serial, now=NOW)
    keys.fail()
    with pytest.raises(IkewardenError):
        issue(desk)
    late = NOW + 2 * DAY
    mine = {"profile": "gateway", "now": late}
    assert search(desk, status="valid", **mine) == [good.serial]
    assert search(desk, status="revoked", **mine) == [gone.serial]
    assert search(desk, status="held", **mine) == [held.serial]
    assert search(desk, status="expired", **mine) == [old.serial]
    assert len(search(desk, status="pending", **mine)) == 1
    assert search(desk, status="abandoned", **mine) == []
    assert search(desk, status="valid", profile="gateway") == [old.serial, good.serial]


@pytest.mark.parametrize(
    "query", [{"status": "good"}, {"status": ""}, {"limit": 0}, {"limit": 501}, {"limit": -1}]
)
def test_queries_that_make_no_sense(shared_desk: Desk, query: dict[str, Any]) -> None:
    with pytest.raises(BadQuery) as caught:
        search(shared_desk, **query)
    assert caught.value.code == "query_malformed"


def test_pages_have_everything_once_while_more_is_issued(desk: Desk) -> None:
    made = [issue(desk).serial for _ in range(7)]
    seen: list[str] = []
    cursor = None
    while True:
        query = CertificateQuery(profile="gateway", cursor=cursor, limit=3)
        page = certificates.search(desk, OPERATOR, query, now=NOW)
        if not page:
            break
        seen += [each.serial for each in page]
        cursor = page[-1].id
        issue(desk)
    assert seen == made[::-1]


def test_what_ends_soon_and_what_belongs_to_a_gateway(desk: Desk) -> None:
    soon = issue(desk, gateway="berlin", not_after=NOW + DAY)
    later = issue(desk, gateway="berlin", not_after=NOW + 30 * DAY)
    issue(desk, gateway="paris", not_after=NOW + 30 * DAY)
    assert search(desk, expires_before=NOW + 2 * DAY) == [soon.serial]
    assert search(desk, gateway="berlin") == [later.serial, soon.serial]
    assert search(desk, authority="sharded", profile="gateway") == []
    assert search(desk, profile="host") == []


def test_a_gateway_sees_its_own_only(desk: Desk) -> None:
    mine, other = issue(desk, ["dns:a.example"]), issue(desk, ["dns:b.example"])
    me = identity.actor_from_certificate(desk, mine.der, now=NOW, request_id="r")
    assert certificates.get(desk, me, mine.serial).serial == mine.serial
    # Somebody else's looks as if it were not there.
    with pytest.raises(CertificateNotFound) as caught:
        certificates.get(desk, me, other.serial)
    with pytest.raises(CertificateNotFound) as nothing:
        certificates.get(desk, me, "77" * 16)
    assert caught.value.message.replace(other.serial, "") == nothing.value.message.replace(
        "77" * 16, ""
    )
    assert search(desk, me) == [mine.serial]
    assert search(desk, me, q=other.serial) == []
    with pytest.raises(OutsideScope):
        search(desk, me, gateway="b.example")
    nobody = Actor("g", Role.GATEWAY)
    with pytest.raises(CertificateNotFound):
        certificates.get(desk, nobody, issue(desk, ["email:a@example.com"], "user").serial)


def test_a_scope_of_authorities_limits_what_is_seen(desk: Desk) -> None:
    one = issue(desk)
    other = issue(desk, profile="gateway-sharded", authority="sharded")
    narrow = Actor("o", Role.OPERATOR, scope=Scope(authorities=("sharded",)))
    assert other.serial in search(desk, narrow)
    assert one.serial not in search(desk, narrow)
    with pytest.raises(CertificateNotFound):
        certificates.get(desk, narrow, one.serial)


def test_a_view_has_the_certificate(desk: Desk, keys: Custody) -> None:
    made = issue(desk)
    view = certificates.get(desk, AUDITOR, made.serial)
    assert view.pem == made.pem
    assert x509.load_der_x509_certificate(view.der or b"").serial_number == int(made.serial, 16)
    keys.fail()
    with pytest.raises(IkewardenError):
        issue(desk)
    (pending,) = search(desk, status="pending")
    view = certificates.get(desk, AUDITOR, pending)
    assert view.pem is view.der is view.fingerprint is view.issued_at is None


# Profiles

DOCUMENT: dict[str, object] = {
    "name": "branch",
    "description": "A branch office",
    "lifetime": "30d",
    "max_lifetime": "60d",
    "key_usage": ["digitalSignature"],
    "extended_key_usage": ["server_auth", "client_auth"],
    "key_algorithms": ["ec-p256"],
    "names": ["dns"],
    "names_required": ["dns"],
    "cn_from_san": True,
    "authenticates_as": "gateway",
}


def test_a_profile_is_made_and_used(desk: Desk) -> None:
    made = profiles.create(desk, ADMIN, DOCUMENT, now=NOW)
    other = reopened(desk)
    assert profiles.get(other, OPERATOR, "branch") == made
    assert "branch" in [each.name for each in profiles.list_(other, OPERATOR)]
    issued = issue(other, ["dns:a.example"], "branch")
    assert issued.not_after == NOW + 30 * DAY
    assert issued.gateway == "a.example"


def test_the_built_in_profiles_are_there(desk: Desk) -> None:
    found = profiles.list_(desk, OPERATOR)
    assert {each.name for each in found} == set(builtin_profiles())
    assert [each.name for each in found] == sorted(each.name for each in found)


def test_a_profile_never_changes(desk: Desk) -> None:
    profiles.create(desk, ADMIN, DOCUMENT, now=NOW)
    for name in ("branch", "gateway", "ocsp-responder"):
        with pytest.raises(ProfileExists) as caught:
            profiles.create(desk, ADMIN, {**DOCUMENT, "name": name}, now=NOW)
        assert caught.value.code == "profile_exists"


def test_two_who_make_one_profile_at_once_make_one(desk: Desk) -> None:
    from functools import partial

    from tests.pki.acts import at_once

    results = at_once(*(partial(profiles.create, desk, ADMIN, DOCUMENT, now=NOW) for _ in range(4)))
    assert sum(not isinstance(each, Exception) for each in results) == 1
    assert {type(each) for each in results if isinstance(each, Exception)} == {ProfileExists}


@pytest.mark.parametrize(
    "change",
    [
        {"internal": True},
        {"extended_key_usage": ["ocsp_signing"]},
        {"name": "A B"},
        {"lifetime": "90d", "max_lifetime": "30d"},
        {"unknown": 1},
        {"names": ["fax"]},
        {"key_algorithms": []},
    ],
    ids=str,
)
def test_profiles_that_cannot_be(shared_desk: Desk, change: dict[str, object]) -> None:
    with pytest.raises(InvalidProfile) as caught:
        profiles.create(shared_desk, ADMIN, {**DOCUMENT, **change}, now=NOW)
    assert caught.value.code == "invalid_profile"
    assert profiles.list_(shared_desk, ADMIN) == sorted(
        builtin_profiles().values(), key=lambda each: each.name
    )


def test_unknown_profiles_are_not_found(desk: Desk) -> None:
    with pytest.raises(ProfileNotFound):
        profiles.get(desk, OPERATOR, "nope")
