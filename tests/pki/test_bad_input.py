"""What issuance refuses: each with its stable code, and nothing signed, nothing on record."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from sqlalchemy import update

from core.errors import Conflict, IkewardenError, InvalidInput, NotAuthenticated, NotPermitted
from hsm.ports import KeyAlgorithm
from pki import authorities, founding, identity, issuance, profiles, reconcile, tokens
from pki.actors import Actor, Role, Scope
from pki.desk import Desk
from pki.founding import AuthorityRequest
from pki.issuance import IssueRequest
from pki.tokens import TokenRequest
from pki.x509 import der
from pki.x509.csr import MAX_OCTETS
from store.tables import authorities as authorities_table
from store.tables import certificates
from tests.fixtures.desk import ADMIN, CLOCKWORK, NOW, OPERATOR, custody, drain, reopened
from tests.pki.acts import count, issue, trail
from tests.pki.requests import (
    extension,
    extension_request,
    handmade,
    issue_request,
    name,
    private_key,
    request,
    san_extension,
)

UNKNOWN = bytes.fromhex("06042a030405")
GW = san_extension(der.tlv(0x82, b"gw1.example"))


CONSTRAINED = {
    "permitted": ("dns:corp.example", "ip:192.0.2.0/24", "email:corp.example", "uri:corp.example"),
    "excluded": ("dns:lab.corp.example", "ip:192.0.2.128/25"),
}


@pytest.fixture(scope="module", autouse=True)
def more_authorities(shared_desk: Desk) -> None:
    """One that is retired, one with constraints, one below a root with constraints."""
    for called, kind, parent, more in (
        ("old", "issuing", "root", {}),
        ("corp", "issuing", "root", CONSTRAINED),
        ("upper", "root", None, {"path_length": 1, "permitted": ("dn:O=Example",)}),
        ("lower", "issuing", "upper", {}),
    ):
        subject = f"CN={called},O=Example"
        wanted = AuthorityRequest(
            name=called,
            kind=kind,
            parent=parent,
            subject=subject,
            **more,  # type: ignore[arg-type]
        )
        founding.create(shared_desk, ADMIN, wanted, now=NOW)
    drain(shared_desk, NOW)
    with shared_desk.store.write() as connection:
        retired = update(authorities_table).where(authorities_table.c.name == "old")
        connection.execute(retired.values(status="retired"))


@pytest.fixture(autouse=True)
def nothing_signed(shared_desk: Desk) -> Iterator[None]:
    """Holds for every test here: no new certificate, no signature, no intent."""
    before = _work_done(shared_desk)
    yield
    assert _work_done(shared_desk) == before


def _work_done(desk: Desk) -> tuple[int, int, int]:
    keys = custody(desk)
    leaves = count(
        desk, certificates, certificates.c.profile.not_in(("authority", "ocsp-responder"))
    )
    return (
        leaves,
        sum(keys.made.values()),
        trail(desk, "certificate:%").count(("certificate.sign", "intent")),
    )


def refused(
    desk: Desk, code: str, asked: IssueRequest, actor: Actor = OPERATOR, now: datetime = NOW
) -> IkewardenError:
    with pytest.raises(IkewardenError) as caught:
        issuance.issue(desk, actor, asked, now=now)
    assert caught.value.code == code
    assert caught.value.message
    assert len(caught.value.message) < 400
    return caught.value


# The request itself


def _weak_rsa(e: int = 65537, bits: int = 2048, profile: str = "gateway") -> IssueRequest:
    key = rsa.generate_private_key(65537, bits) if e == 65537 else _small_exponent()
    return IssueRequest(csr=request(key=key), profile=profile)


def _small_exponent() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(3, 3072)


def _ber() -> bytes:
    raw = request()
    outer = der.read(raw, 0)
    return b"\x30\x80" + raw[outer.content :] + b"\x00\x00"


CSRS: dict[str, tuple[str, Any]] = {
    "empty": ("csr_malformed", b""),
    "junk": ("csr_malformed", b"\x00\xff junk"),
    "text": ("csr_malformed", b"hello"),
    "a certificate": (
        "csr_malformed",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----",
    ),
    "cut": ("csr_malformed", lambda: request()[:-5]),
    "trailing octets": ("csr_malformed", lambda: request() + b"\x00\x00"),
    "BER": ("csr_malformed", _ber),
    "oversized": ("csr_too_large", b"A" * (MAX_OCTETS + 1)),
    "wrong signature": (
        "csr_signature_invalid",
        lambda: request().replace(b"gw1.example", b"gw2.example"),
    ),
    "authority": (
        "csr_extension_refused",
        lambda: request(extensions=[(x509.BasicConstraints(ca=True, path_length=0), False)]),
    ),
    "unknown critical extension": (
        "csr_extension_refused",
        lambda: handmade(
            attributes=extension_request(GW, extension(UNKNOWN, b"\x05\x00", critical=True))
        ),
    ),
    "wildcard": (
        "invalid_name",
        lambda: handmade(attributes=extension_request(san_extension(der.tlv(0x82, b"*.example")))),
    ),
    "nul in a name": (
        "invalid_name",
        lambda: handmade(
            attributes=extension_request(san_extension(der.tlv(0x82, b"a.example\x00.b")))
        ),
    ),
    "no name": ("name_missing", lambda: request(())),
    "small exponent": ("weak_key", lambda: request(key=_small_exponent())),
    "RSA 2048": ("key_not_allowed", lambda: request(key=private_key("rsa-2048"))),
    "secp256k1": ("key_not_allowed", lambda: request(key=ec.generate_private_key(ec.SECP256K1()))),
    "P-224": ("key_not_allowed", lambda: request(key=ec.generate_private_key(ec.SECP224R1()))),
}


@pytest.mark.parametrize("case", CSRS)
def test_bad_requests(shared_desk: Desk, case: str) -> None:
    code, made = CSRS[case]
    error = refused(shared_desk, code, IssueRequest(made() if callable(made) else made, "gateway"))
    assert isinstance(error, InvalidInput) or code == "csr_too_large"
    assert error.next_step


@pytest.mark.parametrize(
    ("profile", "algorithm"),
    [
        ("cnsa", "ec-p256"),
        ("cnsa", "ed25519"),
        ("windows-gateway", "ed25519"),
        ("windows-gateway", "ec-p521"),
        ("network-device", "ed25519"),
        ("user", "ec-p521"),
    ],
)
def test_keys_that_the_profile_does_not_take(
    shared_desk: Desk, profile: str, algorithm: KeyAlgorithm
) -> None:
    names = ["email:a@example.com"] if profile == "user" else ["dns:gw1.example"]
    csr = request(names, key=private_key(algorithm))
    error = refused(shared_desk, "key_not_allowed", IssueRequest(csr, profile))
    assert algorithm in error.message


@pytest.mark.parametrize(
    ("profile", "names", "code"),
    [
        ("user", ["dns:a.example"], "name_missing"),
        ("user", ["ip:192.0.2.1", "email:a@example.com"], "name_kind_refused"),
        ("windows-gateway", ["email:a@example.com"], "name_kind_refused"),
        ("host", ["uri:urn:x"], "name_missing"),
    ],
)
def test_names_that_the_profile_does_not_carry(
    shared_desk: Desk, profile: str, names: list[str], code: str
) -> None:
    refused(shared_desk, code, issue_request(names, profile))


@pytest.mark.parametrize(
    "text",
    ["", "gw1.example", "dns:", "dns:*", "dns:a b", "host:a", "dns:\x00", "ip:0.0.0.0", "x" * 5000],
)
def test_bad_names_beside_the_request(shared_desk: Desk, text: str) -> None:
    asked = IssueRequest(csr=request(), profile="gateway", names=(text,))
    refused(shared_desk, "invalid_name", asked)


def test_a_subject_that_cannot_be(shared_desk: Desk) -> None:
    subject = der.tlv(
        0x30, der.tlv(0x31, der.tlv(0x30, bytes.fromhex("0603550406") + b"\x13\x02D1"))
    )
    csr = handmade(subject=subject, attributes=extension_request(GW))
    refused(shared_desk, "subject_refused", IssueRequest(csr, "gateway"))


# Profile and authority


@pytest.mark.parametrize(
    "profile", ["nope", "", "Gateway", "gateway\x00", "../gateway", "x" * 5000]
)
def test_unknown_profiles(shared_desk: Desk, profile: str) -> None:
    refused(shared_desk, "profile_not_found", issue_request(profile=profile))


@pytest.mark.parametrize("profile", ["ocsp-responder", "service-tls"])
@pytest.mark.parametrize("credential", ["token:1", "local"])
def test_internal_profiles_are_for_the_service(
    shared_desk: Desk, profile: str, credential: str
) -> None:
    # Whoever holds an ocsp-responder certificate answers for the authority: not even an admin gets one.
    names = ["dns:localhost"] if profile == "service-tls" else []
    for role in (Role.ADMIN, Role.OPERATOR):
        actor = Actor("a", role, credential=credential)
        refused(shared_desk, "profile_internal", issue_request(names, profile), actor)


@pytest.mark.parametrize("authority", ["nope", "issuing\x00", "Issuing", "../issuing", "x" * 5000])
def test_unknown_authorities(shared_desk: Desk, authority: str) -> None:
    refused(shared_desk, "authority_not_found", issue_request(authority=authority))


def test_without_a_default_one_must_say_which(shared_desk: Desk) -> None:
    several = reopened(shared_desk, default_authority=None)
    refused(several, "authority_not_named", issue_request())


def test_a_profile_and_an_authority_that_publish_differently(shared_desk: Desk) -> None:
    refused(shared_desk, "crl_distribution_refused", issue_request(authority="sharded"))
    sharded = issue_request(profile="gateway-sharded")
    refused(shared_desk, "crl_distribution_refused", sharded)


def test_a_root_certifies_authorities_only(shared_desk: Desk) -> None:
    refused(shared_desk, "root_issues_authorities_only", issue_request(authority="root"))


def test_an_authority_that_is_too_weak_for_the_profile(shared_desk: Desk) -> None:
    csr = request(key=private_key("ec-p384"))
    refused(shared_desk, "authority_too_weak", IssueRequest(csr, "cnsa"))


def test_a_retired_authority(shared_desk: Desk) -> None:
    fresh = reopened(shared_desk)
    error = refused(fresh, "authority_retired", issue_request(authority="old"))
    assert isinstance(error, Conflict)


def test_an_authority_whose_time_is_over(shared_desk: Desk) -> None:
    end = authorities.load(shared_desk, "issuing").certificate.not_valid_after_utc
    for late in (end, end + timedelta(days=1), end + timedelta(days=4000)):
        refused(shared_desk, "authority_expired", issue_request(), now=late)


def test_an_authority_whose_time_has_not_begun(shared_desk: Desk) -> None:
    # The clock of the machine is wrong: no peer whose clock is right would take the certificate for long, if at all.
    begin = authorities.load(shared_desk, "issuing").certificate.not_valid_before_utc
    for early in (begin - timedelta(seconds=1), begin - timedelta(days=400)):
        refused(shared_desk, "authority_not_yet_valid", issue_request(), now=early)


# Times


@pytest.mark.parametrize(
    "not_after",
    [
        NOW,
        NOW - timedelta(days=1),
        NOW + timedelta(microseconds=5),
        NOW + timedelta(days=398, seconds=1),
        NOW + timedelta(days=5000),
        datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC),
        datetime(1, 1, 1, tzinfo=UTC),
    ],
    ids=[
        "now",
        "past",
        "less than a second",
        "too long",
        "over the authority",
        "never",
        "antiquity",
    ],
)
def test_ends_of_validity_that_cannot_be(shared_desk: Desk, not_after: datetime) -> None:
    error = refused(shared_desk, "lifetime_refused", issue_request(not_after=not_after))
    assert error.next_step


def test_nothing_outlives_its_authority(shared_desk: Desk) -> None:
    end = authorities.load(shared_desk, "issuing").certificate.not_valid_after_utc
    late = end - timedelta(days=5)
    refused(
        shared_desk,
        "lifetime_refused",
        issue_request(not_after=end + timedelta(seconds=1)),
        now=late,
    )


# Permission


def _enroller(desk: Desk, scope: Scope, uses: int = 1, **more: Any) -> Actor:
    wanted = TokenRequest("enroll", Role.ENROLLER, scope, uses=uses, **more)
    made = tokens.create(desk, ADMIN, wanted, now=NOW)
    return identity.actor_from_token(desk, made.secret, now=NOW, request_id="r")


GATEWAYS = Scope(profiles=("gateway",), names=("dns:*.gw.example", "ip:192.0.2.0/24"))


@pytest.mark.parametrize(
    "names",
    [
        ["dns:gw1.example"],
        ["dns:a.b.gw.example"],
        ["dns:gw.example"],
        ["ip:198.51.100.1"],
        ["email:a@gw.example"],
        ["dn:CN=a.gw.example"],
        ["uri:ike://a.gw.example/", "dns:a.gw.example"],
        ["dns:a.gw.example", "dns:b.example"],
    ],
)
def test_names_outside_the_permission(shared_desk: Desk, names: list[str]) -> None:
    actor = _enroller(shared_desk, GATEWAYS)
    error = refused(shared_desk, "outside_scope", issue_request(names), actor)
    assert isinstance(error, NotPermitted)
    beside = IssueRequest(csr=request(["dns:a.gw.example"]), profile="gateway", names=tuple(names))
    refused(shared_desk, "outside_scope", beside, actor)


@pytest.mark.parametrize("common", ["*.example.com", "*.example.com.", "a.*.example.com"])
def test_a_wildcard_is_no_common_name(shared_desk: Desk, common: str) -> None:
    csr = request(["email:carol@example.com"], subject=name(CN=common))
    refused(shared_desk, "subject_refused", IssueRequest(csr, "user"))


def test_a_common_name_that_becomes_a_name_needs_permission_too(shared_desk: Desk) -> None:
    csr = request((), subject=name(CN="other.example"))
    actor = _enroller(shared_desk, GATEWAYS)
    refused(shared_desk, "outside_scope", IssueRequest(csr, "gateway"), actor)


def test_profiles_authorities_and_gateways_outside_the_permission(shared_desk: Desk) -> None:
    mine = ["dns:a.gw.example"]
    actor = _enroller(shared_desk, replace(GATEWAYS, authorities=("issuing",), gateway="a"))
    refused(shared_desk, "outside_scope", issue_request(mine, "host"), actor)
    refused(shared_desk, "outside_scope", issue_request(mine, authority="root"), actor)
    refused(shared_desk, "outside_scope", issue_request(mine, gateway="b"), actor)


def test_nobody_becomes_a_gateway_whose_name_is_not_his(shared_desk: Desk) -> None:
    # The gateway's name is who the certificate speaks for at the API: as good as any other name in it.
    actor = _enroller(shared_desk, GATEWAYS)
    asked = issue_request(["dns:a.gw.example"], gateway="b.gw.example")
    refused(shared_desk, "outside_scope", asked, actor)
    narrow = Actor("o", Role.OPERATOR, credential="token:1", scope=GATEWAYS)
    refused(shared_desk, "outside_scope", asked, narrow)


@pytest.mark.parametrize("gateway", ["", " ", "a\x00b", "a\nb", "x" * 254, "\u202eevil"])
def test_names_that_no_gateway_can_have(shared_desk: Desk, gateway: str) -> None:
    if not gateway:
        return  # not given: the first name
    refused(shared_desk, "gateway_malformed", issue_request(gateway=gateway))


def test_roles_that_do_not_issue(shared_desk: Desk) -> None:
    for role in (Role.APPROVER, Role.AUDITOR, Role.GATEWAY):
        refused(shared_desk, "role_not_permitted", issue_request(), Actor("x", role))


def test_expired_tokens(shared_desk: Desk) -> None:
    wanted = TokenRequest(
        "short", Role.ENROLLER, GATEWAYS, uses=1, expires_at=NOW + timedelta(hours=1)
    )
    made = tokens.create(shared_desk, ADMIN, wanted, now=NOW)
    actor = identity.actor_from_token(shared_desk, made.secret, now=NOW, request_id="r")
    late = NOW + timedelta(hours=1)
    with pytest.raises(NotAuthenticated) as caught:
        identity.actor_from_token(shared_desk, made.secret, now=late, request_id="r")
    assert caught.value.code == "token_refused"
    # Also when it ended between the door and the operation.
    refused(shared_desk, "token_used_up", issue_request(["dns:a.gw.example"]), actor, late)


def test_revoked_tokens(shared_desk: Desk) -> None:
    made = tokens.create(
        shared_desk, ADMIN, TokenRequest("r", Role.ENROLLER, GATEWAYS, uses=5), now=NOW
    )
    actor = identity.actor_from_token(shared_desk, made.secret, now=NOW, request_id="r")
    tokens.revoke(shared_desk, ADMIN, made.view.id, now=NOW)
    with pytest.raises(NotAuthenticated):
        identity.actor_from_token(shared_desk, made.secret, now=NOW, request_id="r")
    refused(shared_desk, "token_used_up", issue_request(["dns:a.gw.example"]), actor)


# Name constraints of the authority


@pytest.mark.parametrize(
    ("names", "profile"),
    [
        (["dns:gw.example"], "gateway"),
        (["dns:a.lab.corp.example"], "gateway"),
        (["dns:a.corp.example", "dns:gw.example"], "gateway"),
        (["ip:198.51.100.1"], "gateway"),
        (["ip:192.0.2.200"], "gateway"),
        (["ip:2001:db8::1"], "gateway"),
        (["email:a@other.example", "dns:a.corp.example"], "gateway"),
        (["uri:ike://b.example/", "dns:a.corp.example"], "gateway"),
        (["ip:192.0.2.1"], "gateway"),  # its common name 192.0.2.1 looks like a host name
        (["ip:192.0.2.1", "dns:a.corp.example"], "windows-gateway"),  # dns:192.0.2.1
    ],
)
def test_names_outside_the_authoritys_constraints(
    shared_desk: Desk, names: list[str], profile: str
) -> None:
    error = refused(
        shared_desk, "name_outside_constraints", issue_request(names, profile, authority="corp")
    )
    assert isinstance(error, InvalidInput)


def test_constraints_above_the_authority_hold_too(shared_desk: Desk) -> None:
    csr = request(subject=name(O="Other"))
    refused(
        shared_desk, "name_outside_constraints", IssueRequest(csr, "gateway", authority="lower")
    )


# Lint


def test_a_certificate_that_a_named_daemon_would_refuse(shared_desk: Desk) -> None:
    document = {
        "name": "too-strict",
        "description": "blocks on everything",
        "lifetime": "90d",
        "max_lifetime": "90d",
        "key_usage": ["nonRepudiation"],
        "extended_key_usage": ["email_protection"],
        "key_algorithms": ["ec-p256"],
        "names": ["dns"],
        "names_required": ["dns"],
        "lint": {"strongswan": "block", "windows": "block"},
    }
    if "too-strict" not in {each.name for each in profiles.list_(shared_desk, ADMIN)}:
        profiles.create(shared_desk, ADMIN, document, now=NOW)
    error = refused(shared_desk, "lint_refused", issue_request(profile="too-strict"))
    findings = error.details["findings"]
    assert isinstance(findings, list)
    assert {"dialect", "rule", "message"} <= set(findings[0])


def test_after_all_that_nothing_waits_to_be_settled(shared_desk: Desk) -> None:
    assert reconcile.settle(shared_desk, CLOCKWORK, now=NOW + timedelta(days=1)) == 0
    with pytest.raises(IkewardenError):
        issue(shared_desk, profile="nope")
