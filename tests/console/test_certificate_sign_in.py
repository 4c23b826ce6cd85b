"""Signing in with a client certificate: who may, bound to what, until when; and who may get such a certificate."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from core.errors import NotAuthenticated
from core.secret import Secret
from pki import decisions, issuance, revocation, tokens
from pki.actors import Actor, Role
from pki.approvals import ApprovalMismatch, ApprovalNotUsable
from pki.guarded import Step
from pki.identity import actor_from_token, person_from_certificate
from pki.issuance import IssueRequest
from pki.persons import NameOfPerson
from pki.tokens import TokenRequest
from tests.api.serving import Serving, serve
from tests.api.site import ClientCertificate, Site
from tests.console.browser import Browser, Page
from tests.console.people import certificate_for, request_for, strict, with_people
from tests.console.test_door import refusal
from tests.pki.approving import asked

MAIL = "alice@example.com"


@pytest.fixture(scope="module")
def peopled(site: Site) -> Site:
    return with_people(
        site, alice=Role.OPERATOR, bob=Role.APPROVER, carol=Role.ADMIN, dave=Role.AUDITOR
    )


@pytest.fixture(scope="module")
def console(peopled: Site) -> Iterator[Serving]:
    with serve(peopled) as running:
        yield running


@pytest.fixture(scope="module")
def alices(peopled: Site) -> ClientCertificate:
    return certificate_for(peopled, MAIL)


def enter(console: Serving, certificate: ClientCertificate | None) -> tuple[Browser, Page]:
    visitor = Browser(console, certificate=certificate)
    return visitor, visitor.fill(visitor.get("/sign-in"), "/sign-in/certificate")


def test_a_person_enters_with_the_role_of_the_settings_and_goes_where_he_was_going(
    console: Serving, alices: ClientCertificate
) -> None:
    visitor = Browser(console, certificate=alices)
    page = visitor.get("/findings?state=all")
    entered = visitor.fill(page, "/sign-in/certificate")
    assert (entered.status, entered.headers["location"]) == (303, "/findings?state=all")
    page = visitor.get("/")
    assert "Role: operator" in page.text
    assert MAIL in page.text
    visitor.close()


def test_the_session_is_worth_nothing_without_the_certificate_or_with_another(
    console: Serving, peopled: Site, alices: ClientCertificate
) -> None:
    visitor, _ = enter(console, alices)
    assert visitor.send("GET", "/").status == 200
    for other in (None, certificate_for(peopled, MAIL)):
        thief = Browser(console, certificate=other)
        thief.cookies = dict(visitor.cookies)
        answer = thief.send("GET", "/")
        assert (answer.status, "session_ended" in answer.html) == (401, True)
        thief.close()
    visitor.close()


@pytest.mark.parametrize(
    ("mails", "status", "code"),
    [
        (("mallory@example.com",), 401, "client_certificate_unknown"),
        ((MAIL, "mallory@example.com"), 401, "client_certificate_unknown"),
    ],
)
def test_other_names_or_more_of_them_are_nobody(
    console: Serving, peopled: Site, mails: tuple[str, ...], status: int, code: str
) -> None:
    visitor, answer = enter(console, certificate_for(peopled, *mails))
    assert (answer.status, refusal(answer)) == (status, code)
    assert "__Host-ikewarden" not in visitor.cookies
    visitor.close()


def test_a_gateways_certificate_and_none_at_all(console: Serving, peopled: Site) -> None:
    gateway = peopled.client_certificate("gw1.example")
    for certificate, status, code in (
        (gateway, 401, "client_certificate_unknown"),
        (None, 403, "console_role_refused"),
    ):
        visitor, answer = enter(console, certificate)
        assert (answer.status, refusal(answer)) == (status, code)
        visitor.close()


def test_revoked_is_out_with_the_next_request_and_does_not_come_in_again(
    console: Serving, peopled: Site
) -> None:
    certificate = certificate_for(peopled, "dave@example.com")
    visitor, _ = enter(console, certificate)
    page = visitor.send("GET", "/")
    assert page.status == 200
    admin = Actor("console", Role.ADMIN)
    revocation.revoke(
        peopled.desk,
        admin,
        certificate.issued.serial,
        "keyCompromise",
        now=peopled.clock(),
    )
    assert visitor.send("GET", "/").status == 401
    again = visitor.fill(visitor.get("/sign-in"), "/sign-in/certificate")
    assert (again.status, refusal(again)) == (401, "client_certificate_revoked")
    visitor.close()


def test_expired_or_not_named_any_more_is_out(peopled: Site) -> None:
    certificate = certificate_for(peopled, "bob@example.com")
    now = peopled.clock()
    found = person_from_certificate(peopled.desk, certificate.issued.der, now=now, request_id="r")
    assert (found.name, found.role) == ("bob@example.com", Role.APPROVER)
    late = certificate.issued.not_after + timedelta(seconds=1)
    for desk, at in ((peopled.desk, late), (with_people(peopled).desk, now)):
        with pytest.raises(NotAuthenticated):
            person_from_certificate(desk, certificate.issued.der, now=at, request_id="r")


def test_only_an_admin_gets_a_certificate_with_the_name_of_a_person(
    console: Serving, peopled: Site, alices: ClientCertificate
) -> None:
    _, csr = request_for("carol@example.com")
    with console.client(Role.OPERATOR) as operator:
        reply = operator.post("/v1/certificates", {"csr": csr.decode(), "profile": "user"})
        assert (reply.status, reply.code) == (403, "name_of_a_person")
        _, csr = request_for(MAIL)
        path = f"/v1/certificates/{alices.issued.serial}/renew"
        reply = operator.post(path, {"csr": csr.decode()})
        assert (reply.status, reply.code) == (403, "name_of_a_person")
        _, csr = request_for("somebody@example.com")
        reply = operator.post("/v1/certificates", {"csr": csr.decode(), "profile": "user"})
        assert reply.status == 201
    with console.client(Role.ADMIN) as admin:
        _, csr = request_for("carol@example.com")
        reply = admin.post("/v1/certificates", {"csr": csr.decode(), "profile": "user"})
        assert reply.status == 201


def test_where_roles_need_a_second_person_so_does_such_a_certificate(peopled: Site) -> None:
    desk, now = strict(peopled.desk, "role.change"), peopled.clock()
    token = peopled.token(Role.ADMIN, name="erna")
    erna = actor_from_token(desk, Secret(token), now=now, request_id="r")
    _, csr = request_for("bob@example.com")
    wanted = IssueRequest(csr=csr, profile="user")
    number = asked(lambda: issuance.issue(desk, erna, wanted, now=now))
    shown = decisions.get(desk, erna, number, now=now)
    assert shown.parameters["certificate_for"] == {"email:bob@example.com": "approver"}
    bobs = certificate_for(peopled, "bob@example.com")
    bob = person_from_certificate(desk, bobs.issued.der, now=now, request_id="r")
    decisions.decide(desk, bob, number, Step.APPROVE, "he joined us", now=now)
    other = IssueRequest(csr=request_for("bob@example.com")[1], profile="user")
    with pytest.raises(ApprovalMismatch):  # for this key alone
        issuance.issue(desk, replace(erna, approval=number), other, now=now)
    issuance.issue(desk, replace(erna, approval=number), wanted, now=now)
    with pytest.raises(NameOfPerson):
        issuance.issue(desk, replace(erna, role=Role.OPERATOR), other, now=now)


def test_an_approver_with_a_certificate_decides_until_it_is_revoked(peopled: Site) -> None:
    desk, now = strict(peopled.desk, "role.change"), peopled.clock()
    token = peopled.token(Role.ADMIN, name="frieda")
    frieda = actor_from_token(desk, Secret(token), now=now, request_id="r")
    wanted = TokenRequest("gerd", Role.OPERATOR)
    number = asked(lambda: tokens.create(desk, frieda, wanted, now=now))
    bobs = certificate_for(peopled, "bob@example.com")
    bob = person_from_certificate(desk, bobs.issued.der, now=now, request_id="r")
    decisions.decide(desk, bob, number, Step.APPROVE, "ticket", now=now)
    revocation.revoke(
        peopled.desk,
        Actor("console", Role.ADMIN),
        bobs.issued.serial,
        "keyCompromise",
        now=now,
    )
    with pytest.raises(ApprovalNotUsable):
        tokens.create(desk, replace(frieda, approval=number), wanted, now=now)


def test_the_first_approvers_token_needs_one_where_people_approve_with_certificates(
    peopled: Site,
) -> None:
    desk, now = strict(peopled.desk, "role.change"), peopled.clock()
    token = peopled.token(Role.ADMIN, name="a approver")  # nobody else ever was one
    admin = actor_from_token(desk, Secret(token), now=now, request_id="r")
    asked(lambda: tokens.create(desk, admin, TokenRequest("a approver", Role.APPROVER), now=now))
