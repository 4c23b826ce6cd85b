"""Who is signed in: seen and ended by an admin over REST and in the console, and by whose sessions they are."""

import itertools
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from pki import tokens
from pki.actors import Role, Scope
from pki.history import AuditQuery, audit_events
from tests.api.serving import Serving
from tests.api.site import CONSOLE, Site
from tests.console.browser import Browser
from tests.console.test_door import one_more_token, refusal
from tests.console.test_live import watching

Make = Callable[..., Browser]
_numbers = itertools.count(1)


def a_person(site: Site, role: Role = Role.AUDITOR) -> tuple[str, str]:
    """Somebody whom no other test knows: the name, and a token."""
    name = f"Person {next(_numbers)}"
    return name, site.token(role, name=name)


def listed(serving: Serving, person: str | None = None) -> list[dict[str, Any]]:
    """The sessions in force as an admin sees them over REST."""
    with serving.client(Role.ADMIN) as admin:
        query = f"&person={person.replace(' ', '%20')}" if person else ""
        found = admin.get(f"/v1/sessions?limit=500{query}")
        assert found.status == 200, found
        items: list[dict[str, Any]] = found.json["items"]
        return items


def trail(serving: Serving, number: int) -> list[tuple[str, str, Any]]:
    """What the audit log says of a session: who, did what, how."""
    about = AuditQuery(object=f"session:{number}", limit=10)
    events = audit_events(serving.site.desk, CONSOLE, about)
    return [(each.actor, each.action, each.detail) for each in reversed(events)]


@pytest.fixture
def admin(serving: Serving) -> Iterator[Any]:
    with serving.client(Role.ADMIN) as client:
        yield client


def test_an_admin_sees_who_is_signed_in_and_never_the_secret(
    browser: Make, serving: Serving
) -> None:
    name, token = a_person(serving.site)
    visitor = browser(token)
    [found] = listed(serving, name.upper())
    assert (found["name"], found["role"], found["way"]) == (name, "auditor", "token")
    assert found["client"] in {"127.0.0.1", "::1"}
    assert found["credential"].startswith("token:")
    assert found["created_at"] == found["seen_at"] < found["expires_at"]
    with serving.client(Role.ADMIN) as admin:
        whole = admin.get("/v1/sessions?limit=500").body.decode()
    secret = visitor.cookies["__Host-ikewarden"]
    assert secret not in whole
    page = browser(Role.ADMIN).get(f"/sessions?person={name.replace(' ', '+')}")
    assert name in page.text
    assert secret not in page.html


def test_a_session_that_an_admin_ended_is_out_at_once_and_so_is_what_it_watches(
    browser: Make, serving: Serving, admin: Any
) -> None:
    name, token = a_person(serving.site)
    visitor, other = browser(token), browser(token)
    newer, older = listed(serving, name)
    assert newer["id"] > older["id"]
    with watching(serving, visitor) as stream:
        assert stream.next() is not None
        assert admin.send("DELETE", f"/v1/sessions/{older['id']}").status == 204
        assert stream.next() == ("over", "")
        assert stream.next() is None
    page = visitor.send("GET", "/")
    assert (page.status, refusal(page)) == (401, "session_ended")
    assert other.send("GET", "/").status == 200
    again = admin.send("DELETE", f"/v1/sessions/{older['id']}")
    assert (again.status, again.code) == (404, "session_not_found")
    begun, ended = trail(serving, older["id"])
    assert begun[:2] == (name, "console.sign_in")
    assert ended[1:] == ("console.sign_out", {"of": name})
    assert ended[0] != name


def test_all_sessions_of_a_person_end_and_nobody_elses(
    browser: Make, serving: Serving, admin: Any
) -> None:
    name, token = a_person(serving.site)
    twin = serving.site.token(Role.OPERATOR, name=name.lower())
    visitors = [browser(token), browser(token), browser(twin)]
    _, foreign = a_person(serving.site)
    stranger = browser(foreign)
    ended = admin.send("DELETE", f"/v1/sessions?person={name.upper().replace(' ', '%20')}")
    assert (ended.status, ended.json) == (200, {"ended": 3})
    assert [each.send("GET", "/").status for each in visitors] == [401, 401, 401]
    assert stranger.send("GET", "/").status == 200
    assert listed(serving, name) == []
    again = admin.send("DELETE", f"/v1/sessions?person={name.replace(' ', '%20')}")
    assert again.json == {"ended": 0}
    nobody = admin.send("DELETE", "/v1/sessions")
    assert nobody.status == 422
    assert stranger.send("GET", "/").status == 200


def test_only_sessions_in_force_are_listed(browser: Make, serving: Serving) -> None:
    number, secret = one_more_token(serving, "Soon gone", Role.AUDITOR)
    browser(secret)
    assert len(listed(serving, "Soon gone")) == 1
    tokens.revoke(serving.site.desk, CONSOLE, number, now=serving.site.clock())
    assert listed(serving, "Soon gone") == []
    name, token = a_person(serving.site)
    browser(token)
    serving.site.clock.ahead += timedelta(minutes=31)
    assert listed(serving, name) == []


def test_the_list_has_pages(browser: Make, serving: Serving, admin: Any) -> None:
    name, token = a_person(serving.site)
    for _ in range(3):
        browser(token)
    asked = f"/v1/sessions?person={name.replace(' ', '%20')}&limit=2"
    first = admin.get(asked).json
    rest = admin.get(f"{asked}&cursor={first['next_cursor']}").json
    numbers = [each["id"] for page in (first, rest) for each in page["items"]]
    assert len(numbers) == 3
    assert numbers == sorted(numbers, reverse=True)
    assert rest["next_cursor"] is None


@pytest.mark.parametrize(
    "scope",
    [
        Scope(gateway="gw1.example"),
        Scope(authorities=("issuing",)),
        Scope(names=("dns:*.example",)),
        Scope(profiles=("gateway",)),
        Scope(networks=()),
    ],
    ids=lambda scope: next(name for name, value in vars(scope).items() if value is not None),
)
def test_a_limited_credential_ends_nobodys_session(
    browser: Make, serving: Serving, scope: Scope
) -> None:
    name, token = a_person(serving.site)
    visitor = browser(token)
    [found] = listed(serving, name)
    with serving.client(serving.site.token(Role.ADMIN, scope=scope)) as limited:
        for method, path in (
            ("GET", "/v1/sessions"),
            ("DELETE", f"/v1/sessions/{found['id']}"),
            ("DELETE", f"/v1/sessions?person={name.replace(' ', '%20')}"),
        ):
            refused = limited.send(method, path)
            assert (refused.status, refused.code) == (403, "outside_scope")
    assert visitor.send("GET", "/").status == 200


def test_an_admin_ends_a_session_on_a_page_that_shows_it(browser: Make, serving: Serving) -> None:
    name, token = a_person(serving.site)
    visitor, admin = browser(token), browser(Role.ADMIN)
    [found] = listed(serving, name)
    page = admin.get("/sessions")
    at = f"/sessions/{found['id']}/end"
    assert at in page.links
    asked = admin.get(at)
    assert name in asked.text
    assert visitor.send("GET", "/").status == 200
    done = admin.submit(asked, at)
    assert (done.status, done.path.partition("?")[0]) == (200, "/sessions")
    assert "The session is ended." in done.text
    assert visitor.send("GET", "/").status == 401
    assert admin.get(at).status == 404


def test_an_admin_ends_all_of_a_person_also_his_own(browser: Make, serving: Serving) -> None:
    name, token = a_person(serving.site, Role.ADMIN)
    admin, other = browser(token), browser(token)
    [link] = {
        each
        for each in admin.get(f"/sessions?person={name.replace(' ', '+')}").links
        if "/sessions/end?" in each
    }
    asked = admin.get(link)
    assert "you are out at once" in asked.text
    out = admin.submit(asked, "/sessions/end")
    assert "All sessions of this person are ended." in out.text
    assert "__Host-ikewarden" not in admin.cookies
    assert other.send("GET", "/").status == 401


def test_anybody_sees_his_own_sessions_and_signs_out_everywhere(
    browser: Make, serving: Serving
) -> None:
    _, token = a_person(serving.site)
    foreign, theirs = a_person(serving.site)
    visitor, elsewhere, stranger = browser(token), browser(token), browser(theirs)
    copy = dict(visitor.cookies)
    assert "/own-sessions" in visitor.get("/").links
    page = visitor.get("/own-sessions")
    assert page.html.count("(this session)") == 1
    assert page.html.count('data-label="Signed in from"') == 2
    assert foreign not in page.text
    out = visitor.submit(page, "/own-sessions/end")
    assert "You are signed out everywhere." in out.text
    visitor.cookies = copy
    assert visitor.send("GET", "/").status == 401
    assert elsewhere.send("GET", "/").status == 401
    assert stranger.send("GET", "/").status == 200


def test_a_new_sign_in_of_the_same_browser_ends_the_session_that_it_had(
    browser: Make, serving: Serving
) -> None:
    name, token = a_person(serving.site)
    other, theirs = a_person(serving.site)
    visitor = browser(token)
    [before] = listed(serving, name)
    copy = dict(visitor.cookies)
    assert visitor.sign_in("iw_" + "z" * 43).status == 401
    assert visitor.send("GET", "/").status == 200  # who fails to sign in keeps what he has
    assert visitor.sign_in(theirs).status == 303
    assert listed(serving, name) == []
    assert len(listed(serving, other)) == 1
    visitor.cookies = copy
    assert visitor.send("GET", "/").status == 401
    assert trail(serving, before["id"])[-1] == (
        other,
        "console.sign_out",
        {"by": "sign_in", "of": name},
    )


@pytest.fixture(autouse=True)
def later(serving: Serving) -> Iterator[None]:
    """Each test an hour after the one before: nobody is locked out for what another did."""
    yield
    serving.site.clock.ahead += timedelta(hours=1)
