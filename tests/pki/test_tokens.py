"""Tokens and who is calling: shown once, kept as a hash, limited, ended at once."""

import base64
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from core.errors import IkewardenError, NotAuthenticated
from core.secret import Secret
from pki import identity, revocation, tokens
from pki.actors import Actor, OutsideScope, Role, RoleMayNot, Scope
from pki.desk import Desk
from pki.identity import (
    ClientCertificateExpired,
    ClientCertificateRevoked,
    ClientCertificateUnknown,
    TokenRefused,
)
from pki.tokens import BadToken, CreatedToken, TokenNotFound, TokenRequest
from pki.x509 import der as encoding
from pki.x509.names import InvalidNamePattern
from store.tables import tokens as tokens_table
from tests.fixtures.desk import ADMIN, NOW, OPERATOR, reopened
from tests.pki.acts import certificate_of, issue, trail
from tests.pki.approving import details

ENROLL: dict[str, Any] = {"role": Role.ENROLLER, "scope": Scope(profiles=("gateway",)), "uses": 1}
HOUR = timedelta(hours=1)


def create(desk: Desk, actor: Actor = ADMIN, **wanted: Any) -> CreatedToken:
    request = TokenRequest(**{"name": "t", "role": Role.OPERATOR, **wanted})
    return tokens.create(desk, actor, request, now=NOW)


def who(desk: Desk, made: CreatedToken, now: datetime = NOW) -> Actor:
    return identity.actor_from_token(desk, made.secret, now=now, request_id="r-1")


def test_a_token_is_its_holder(desk: Desk) -> None:
    made = create(desk, name=" alice ", scope=Scope(authorities=("issuing",)))
    actor = who(desk, made)
    assert (actor.name, actor.role, actor.request_id) == ("alice", Role.OPERATOR, "r-1")
    assert actor.scope == Scope(authorities=("issuing",))
    assert actor.credential == f"token:{made.view.id}"
    assert actor.token_id == made.view.id
    assert not actor.one_time
    assert who(desk, create(desk, **ENROLL)).one_time


def test_a_token_can_be_found_by_secret_scanners_and_is_not_guessed(desk: Desk) -> None:
    text = create(desk).secret.reveal().decode()
    assert text.startswith("iw_")
    assert len(base64.urlsafe_b64decode(text[3:] + "=")) == 32
    assert len({create(desk).secret.reveal() for _ in range(20)}) == 20


def test_the_secret_is_nowhere_but_in_the_answer(desk: Desk) -> None:
    made = create(desk)
    text = made.secret.reveal().decode()
    assert text not in repr(made) + str(made)
    with desk.store.read() as connection:
        rows = connection.execute(select(tokens_table)).all()
    assert text not in repr(rows)
    assert made.secret.reveal()[3:].decode() not in repr(rows)
    assert not hasattr(tokens.list_(desk, ADMIN, after=None, limit=10)[0], "secret")
    assert trail(desk, f"token:{made.view.id}") == [("token.create", "ok")]


def test_the_audit_log_tells_what_a_token_may_do(desk: Desk) -> None:
    scope = Scope(profiles=("gateway",), names=("dns:*.example",), gateway="gw1")
    create(desk, role=Role.ENROLLER, scope=scope, uses=3, expires_at=NOW + timedelta(hours=1))
    said = details(desk, "token.create")[-1]
    assert said["profiles"] == ["gateway"]
    assert said["names"] == ["dns:*.example"]
    assert (said["gateway"], said["uses"]) == ("gw1", 3)
    assert said["expires_at"] == f"{NOW + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"
    create(desk)
    assert details(desk, "token.create")[-1].keys() == {"name", "role"}


@pytest.mark.parametrize(
    "secret",
    [b"", b"iw_", b"iw_" + b"A" * 43, b"x" * 10_000, b"\x00", b"\xff\xfe", "iw_é".encode()],
    ids=["empty", "prefix", "unknown", "long", "nul", "binary", "accent"],
)
def test_unknown_tokens_are_refused(shared_desk: Desk, secret: bytes) -> None:
    with pytest.raises(TokenRefused) as caught:
        identity.actor_from_token(shared_desk, Secret(secret), now=NOW, request_id="r")
    assert caught.value.code == "token_refused"


def test_it_is_not_told_why_a_token_is_refused(desk: Desk) -> None:
    expired = create(desk, expires_at=NOW + HOUR)
    revoked = create(desk)
    tokens.revoke(desk, ADMIN, revoked.view.id, now=NOW)
    used = create(desk, **ENROLL)
    issue(desk, actor=who(desk, used))
    said = set()
    for made, now in ((expired, NOW + HOUR), (revoked, NOW), (used, NOW)):
        with pytest.raises(NotAuthenticated) as caught:
            who(desk, made, now)
        said.add((caught.value.code, caught.value.message, caught.value.next_step))
    assert len(said) == 1
    assert who(desk, expired, NOW + HOUR - timedelta(microseconds=1))


def test_a_token_ends_at_once_and_for_every_process(desk: Desk) -> None:
    made = create(desk)
    other = reopened(desk)
    assert who(other, made)
    view = tokens.revoke(desk, ADMIN, made.view.id, now=NOW)
    assert view.revoked_at == NOW
    with pytest.raises(TokenRefused):
        who(other, made)
    again = tokens.revoke(desk, ADMIN, made.view.id, now=NOW + HOUR)
    assert again.revoked_at == NOW
    assert trail(desk, f"token:{made.view.id}") == [("token.create", "ok"), ("token.revoke", "ok")]


@pytest.mark.parametrize("token", ["", "nope", "x" * 5000, "\x00", "' OR 1=1"])
def test_unknown_ids_are_not_found(shared_desk: Desk, token: str) -> None:
    with pytest.raises(TokenNotFound) as caught:
        tokens.revoke(shared_desk, ADMIN, token, now=NOW)
    assert caught.value.code == "token_not_found"
    assert len(caught.value.message) < 300


# Who may hand out what


def test_nobody_gives_more_than_he_has(shared_desk: Desk) -> None:
    for role in Role:
        for given in Role:
            actor = Actor("a", role)
            wanted: dict[str, Any] = {**ENROLL} if given is Role.ENROLLER else {"role": given}
            allowed = (role is Role.ADMIN and given not in {Role.GATEWAY, Role.SCHEDULER}) or (
                role is Role.OPERATOR and given is Role.ENROLLER
            )
            if allowed:
                made = create(shared_desk, actor, **wanted)
                assert tokens.revoke(shared_desk, actor, made.view.id, now=NOW).revoked_at == NOW
            else:
                with pytest.raises((RoleMayNot, OutsideScope)):
                    create(shared_desk, actor, **wanted)


def test_an_operator_ends_no_admins_token(shared_desk: Desk) -> None:
    made = create(shared_desk, role=Role.ADMIN)
    with pytest.raises(OutsideScope):
        tokens.revoke(shared_desk, OPERATOR, made.view.id, now=NOW)
    assert who(shared_desk, made)


@pytest.mark.parametrize(
    ("own", "given", "within"),
    [
        (Scope(profiles=("gateway",)), Scope(profiles=("gateway",)), True),
        (Scope(profiles=("gateway", "host")), Scope(profiles=("host",)), True),
        (Scope(profiles=("gateway",)), Scope(profiles=("host",)), False),
        (Scope(authorities=("issuing",)), Scope(profiles=("gateway",)), False),
        (
            Scope(authorities=("issuing",)),
            Scope(profiles=("gateway",), authorities=("issuing",)),
            True,
        ),
        (Scope(names=("dns:*.a.example",)), Scope(profiles=("gateway",)), False),
        (
            Scope(names=("dns:*.a.example",)),
            Scope(profiles=("gateway",), names=("dns:*.a.example",)),
            True,
        ),
        (
            Scope(names=("dns:*.a.example",)),
            Scope(profiles=("gateway",), names=("dns:*.b.example",)),
            False,
        ),
        (
            Scope(names=("dns:**.example",)),
            Scope(profiles=("gateway",), names=("dns:*",)),
            False,
        ),
        (Scope(networks=("10.0.0.0/8",)), Scope(profiles=("gateway",)), False),
        (
            Scope(networks=("10.0.0.0/8", "fd00::/8")),
            Scope(profiles=("gateway",), networks=("10.1.0.0/16", "fd00:1::/32")),
            True,
        ),
        (
            Scope(networks=("10.1.0.0/16",)),
            Scope(profiles=("gateway",), networks=("10.0.0.0/8",)),
            False,
        ),
        (Scope(networks=()), Scope(profiles=("gateway",), networks=("10.0.0.0/8",)), False),
        (Scope(networks=("10.0.0.0/8",)), Scope(profiles=("gateway",), networks=()), True),
        (Scope(gateway="a"), Scope(profiles=("gateway",)), False),
        (Scope(gateway="a"), Scope(profiles=("gateway",), gateway="b"), False),
        (Scope(gateway="a"), Scope(profiles=("gateway",), gateway="a"), True),
    ],
)
def test_a_limited_credential_hands_out_within_its_limits(
    shared_desk: Desk, own: Scope, given: Scope, within: bool
) -> None:
    actor = Actor("o", Role.OPERATOR, scope=own)
    if within:
        assert (
            create(shared_desk, actor, role=Role.ENROLLER, scope=given, uses=1).view.scope == given
        )
    else:
        with pytest.raises(OutsideScope):
            create(shared_desk, actor, role=Role.ENROLLER, scope=given, uses=1)


@pytest.mark.parametrize(
    "wanted",
    [
        {"name": ""},
        {"name": "  "},
        {"name": "x" * 101},
        {"name": "a\nb"},
        {"name": "a\x00"},
        {"expires_at": NOW},
        {"expires_at": NOW - HOUR},
        {"uses": 1},
        {**ENROLL, "uses": None},
        {**ENROLL, "uses": 0},
        {**ENROLL, "uses": -1},
        {**ENROLL, "uses": 1_000_001},
        {**ENROLL, "scope": Scope()},
        {**ENROLL, "scope": Scope(profiles=())},
        {**ENROLL, "scope": Scope(profiles=("gateway",), endpoints=("nowhere",))},
        {"scope": Scope(endpoints=("gateway",))},
        {**ENROLL, "scope": Scope(profiles=("gateway",), gateway="a\x00b")},
        {**ENROLL, "scope": Scope(profiles=("gateway",), gateway="")},
        {**ENROLL, "scope": Scope(profiles=("gateway",), gateway="x" * 254)},
    ],
    ids="-".join,  # no times: every worker must collect the same names
)
def test_tokens_that_make_no_sense(shared_desk: Desk, wanted: dict[str, Any]) -> None:
    with pytest.raises(IkewardenError) as caught:
        create(shared_desk, **wanted)
    assert caught.value.code in {"token_malformed", "gateway_malformed"}
    assert isinstance(caught.value, BadToken) or caught.value.code == "gateway_malformed"


@pytest.mark.parametrize(
    "pattern", ["", "dns:", "nope:*", "dns:a*", "*.example", "ip:192.0.2.1/24", "dns:\x00"]
)
def test_patterns_that_cannot_be_understood(shared_desk: Desk, pattern: str) -> None:
    with pytest.raises(InvalidNamePattern):
        create(shared_desk, **{**ENROLL, "scope": Scope(profiles=("gateway",), names=(pattern,))})


@pytest.mark.parametrize(
    ("scope", "code"),
    [
        (Scope(profiles=("nope",)), "profile_not_found"),
        (Scope(profiles=("gateway",), authorities=("nope",)), "authority_not_found"),
    ],
)
def test_a_scope_names_what_there_is(shared_desk: Desk, scope: Scope, code: str) -> None:
    with pytest.raises(IkewardenError) as caught:
        create(shared_desk, **{**ENROLL, "scope": scope})
    assert caught.value.code == code


def test_tokens_are_listed_in_pages(desk: Desk) -> None:
    made = sorted(create(desk).view.id for _ in range(5))
    first = tokens.list_(desk, ADMIN, after=None, limit=3)
    rest = tokens.list_(desk, ADMIN, after=first[-1].id, limit=3)
    assert [each.id for each in (*first, *rest)] == made
    shown = tokens.list_(desk, OPERATOR, after=None, limit=1)[0]
    assert (shown.name, shown.role, shown.created_by, shown.uses_left) == (
        "t",
        "operator",
        "alice",
        None,
    )


# Client certificates


def test_a_gateway_is_known_by_its_certificate(desk: Desk) -> None:
    made = issue(desk, ["dns:gw1.example", "ip:192.0.2.1"], gateway="berlin")
    actor = identity.actor_from_certificate(desk, made.der, now=NOW, request_id="r-2")
    assert (actor.name, actor.role, actor.request_id) == ("gateway berlin", Role.GATEWAY, "r-2")
    assert actor.credential == f"certificate:issuing:{made.serial}"
    assert actor.scope == Scope(
        ("gateway",), ("issuing",), ("dns:gw1.example", "ip:192.0.2.1"), "berlin"
    )
    assert actor.token_id is None
    assert not actor.one_time


def test_certificates_that_speak_for_nobody(desk: Desk) -> None:
    person = issue(desk, ["email:a@example.com"], "user")
    device = issue(desk, profile="network-device")
    altered = bytearray(issue(desk).der)
    altered[-1] ^= 1
    for der in (
        person.der,
        device.der,
        bytes(altered),
        certificate_of(desk, "issuing"),
        b"",
        b"junk",
        encoding.tlv(encoding.SEQUENCE, b""),
    ):
        with pytest.raises(ClientCertificateUnknown) as caught:
            identity.actor_from_certificate(desk, der, now=NOW, request_id="r")
        assert caught.value.code == "client_certificate_unknown"


def test_a_revoked_certificate_is_refused_from_the_next_moment(desk: Desk) -> None:
    made = issue(desk)
    other = reopened(desk)
    identity.actor_from_certificate(other, made.der, now=NOW, request_id="r")
    revocation.hold(desk, OPERATOR, made.serial, now=NOW)
    with pytest.raises(ClientCertificateRevoked) as caught:
        identity.actor_from_certificate(other, made.der, now=NOW, request_id="r")
    assert caught.value.code == "client_certificate_revoked"
    revocation.release(desk, OPERATOR, made.serial, now=NOW)
    identity.actor_from_certificate(other, made.der, now=NOW, request_id="r")
    revocation.revoke(desk, OPERATOR, made.serial, "keyCompromise", now=NOW)
    with pytest.raises(ClientCertificateRevoked):
        identity.actor_from_certificate(other, made.der, now=NOW, request_id="r")


def test_a_certificate_counts_within_its_time(desk: Desk) -> None:
    made = issue(desk, not_after=NOW + HOUR)
    for now in (made.not_before, made.not_after - timedelta(microseconds=1)):
        identity.actor_from_certificate(desk, made.der, now=now, request_id="r")
    for now in (made.not_before - timedelta(microseconds=1), made.not_after):
        with pytest.raises(ClientCertificateExpired) as caught:
            identity.actor_from_certificate(desk, made.der, now=now, request_id="r")
        assert caught.value.code == "client_certificate_expired"


@pytest.mark.parametrize(
    "values",
    [
        {"role": "emperor"},
        {"scope": "gateway"},
        {"scope": ["gateway"]},
        {"scope": 7},
        {"scope": {"profiles": "gateway"}},
        {"scope": {"gateway": ["gw1"]}},
        {"scope": {"networks": "192.0.2.0/24"}},
        {"scope": {"continents": ["europe"]}},
    ],
)
def test_a_row_that_cannot_be_read_permits_nothing_and_can_be_ended(
    desk: Desk, values: dict[str, Any]
) -> None:
    made = tokens.create(desk, ADMIN, TokenRequest("t", Role.AUDITOR), now=NOW)
    row = tokens_table.c.id == made.view.id
    with desk.store.write() as connection:
        connection.execute(update(tokens_table).where(row).values(**values))
    with pytest.raises(TokenRefused):
        identity.actor_from_token(desk, made.secret, now=NOW, request_id="r")
    shown = tokens.list_(desk, ADMIN, after=None, limit=10)
    assert made.view.id in {each.id for each in shown}
    with pytest.raises(OutsideScope):
        tokens.revoke(desk, OPERATOR, made.view.id, now=NOW)
    assert tokens.revoke(desk, ADMIN, made.view.id, now=NOW).revoked_at == NOW
