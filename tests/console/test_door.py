"""The console's door: who is let in, what a form must bring, what an answer says to the browser."""

import re
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from api.console.page import DONE
from api.console.pages import PAGES
from pki import tokens
from pki.actors import Role
from pki.tokens import TokenRequest
from tests.api.serving import Serving
from tests.api.site import CONSOLE
from tests.console.browser import Browser, Page
from tests.fixtures.desk import NOW

Make = Callable[..., Browser]


def one_more_token(serving: Serving, name: str, role: Role = Role.OPERATOR) -> tuple[str, str]:
    """A token of its own for a test that spoils it: id and secret."""
    made = tokens.create(serving.site.desk, CONSOLE, TokenRequest(name, role), now=NOW)
    return made.view.id, made.secret.reveal().decode()


@pytest.fixture(autouse=True)
def later(serving: Serving) -> Iterator[None]:
    """Each test an hour after the one before: nobody is locked out for what another did."""
    yield
    serving.site.clock.ahead += timedelta(hours=1)


def refusal(page: Page) -> str:
    """The code that an error page shows."""
    found = re.search(r'class="quiet">([a-z_]+) ·', page.html)
    assert found is not None, page.text
    return found[1]


def test_whoever_is_not_signed_in_is_asked_to_and_gets_where_he_was_going(
    browser: Make, serving: Serving
) -> None:
    visitor = browser()
    asked = visitor.send("GET", "/")
    assert (asked.status, asked.headers["location"]) == (303, "/sign-in")
    page = visitor.get("/sign-in?next=%2Fcertificates%3Fq%3Dgw1%26status%3Dvalid")
    assert page.form("/sign-in").fields["next"] == "/certificates?q=gw1&status=valid"
    entered = visitor.fill(page, "/sign-in", token=serving.site.tokens[Role.AUDITOR])
    assert (entered.status, entered.headers["location"]) == (
        303,
        "/certificates?q=gw1&status=valid",
    )


@pytest.mark.parametrize("role", [Role.ADMIN, Role.OPERATOR, Role.APPROVER, Role.AUDITOR])
def test_people_sign_in_with_their_token(browser: Make, serving: Serving, role: Role) -> None:
    page = browser(role).get("/")
    assert page.status == 200
    assert f"Role: {role}" in page.text


@pytest.mark.parametrize(
    ("token", "status", "code"),
    [
        ("iw_" + "x" * 43, 401, "token_refused"),
        ("not a token", 401, "token_refused"),
        ("", 401, "token_refused"),
        ("enroller", 403, "console_role_refused"),
    ],
)
def test_what_is_no_persons_token_is_refused(
    browser: Make, serving: Serving, token: str, status: int, code: str
) -> None:
    visitor = browser()
    sent = serving.site.tokens[Role.ENROLLER] if token == "enroller" else token
    page = visitor.sign_in(sent)
    assert (page.status, refusal(page)) == (status, code)
    assert not visitor.cookies
    assert sent == "" or sent not in page.html  # what was typed is not sent back


def test_ten_failures_lock_an_address_for_a_while_and_for_everybody_there(
    browser: Make, serving: Serving
) -> None:
    visitor = browser()
    for _ in range(10):
        assert visitor.sign_in("iw_" + "y" * 43).status == 401
    page = visitor.sign_in(serving.site.tokens[Role.ADMIN])
    assert (page.status, refusal(page)) == (429, "sign_in_locked")
    serving.site.clock.ahead += timedelta(minutes=16)
    assert visitor.sign_in(serving.site.tokens[Role.ADMIN]).status == 303


def test_a_session_ends_when_nothing_is_done_and_in_any_case_in_the_evening(
    browser: Make, serving: Serving
) -> None:
    visitor = browser(Role.AUDITOR)
    for _ in range(3):
        serving.site.clock.ahead += timedelta(minutes=29)
        assert visitor.get("/").status == 200
    serving.site.clock.ahead += timedelta(minutes=31)
    assert visitor.send("GET", "/").status == 401
    visitor = browser(Role.AUDITOR)
    for _ in range(25):
        serving.site.clock.ahead += timedelta(minutes=28)
        assert visitor.get("/").status == 200
    serving.site.clock.ahead += timedelta(minutes=28)
    page = visitor.send("GET", "/")
    assert (page.status, refusal(page)) == (401, "session_ended")


def test_a_revoked_token_ends_its_sessions_with_the_next_request(
    browser: Make, serving: Serving
) -> None:
    number, secret = one_more_token(serving, "soon gone")
    visitor = browser(secret)
    assert visitor.get("/").status == 200
    tokens.revoke(serving.site.desk, CONSOLE, number, now=serving.site.clock())
    page = visitor.send("GET", "/")
    assert (page.status, refusal(page)) == (401, "session_ended")


def test_whoever_signed_out_is_out_also_with_a_copy_of_the_cookie(browser: Make) -> None:
    visitor = browser(Role.OPERATOR)
    copy = dict(visitor.cookies)
    page = visitor.submit(visitor.get("/"), "/sign-out")
    assert "You are signed out." in page.text
    assert "__Host-ikewarden" not in visitor.cookies
    visitor.cookies = copy
    assert visitor.send("GET", "/").status == 401


def test_the_cookie_is_for_this_host_over_tls_and_no_script(
    browser: Make, serving: Serving
) -> None:
    page = browser().sign_in(serving.site.tokens[Role.ADMIN])
    (cookie,) = page.cookies
    name, _, rest = cookie.partition("=")
    value, *attributes = rest.split("; ")
    assert name == "__Host-ikewarden"
    assert len(value) == 43
    assert {"Path=/", "Secure", "HttpOnly", "SameSite=Lax"} <= set(attributes)
    assert not any(each.startswith(("Domain", "Expires", "Max-Age")) for each in attributes)


FOREIGN = [
    ({"Sec-Fetch-Site": "cross-site"}, {}),
    ({"Sec-Fetch-Site": "same-site"}, {}),
    ({"Sec-Fetch-Site": "none"}, {}),
    ({"Sec-Fetch-Site": "", "Origin": "https://evil.example"}, {}),
    ({"Sec-Fetch-Site": "", "Origin": "null"}, {}),
    ({"Sec-Fetch-Site": "", "Origin": "https://[::1"}, {}),
    ({"Sec-Fetch-Site": "", "Origin": "http://ours"}, {}),
    ({}, {"csrf": ""}),
    ({}, {"csrf": "0" * 64}),
]


@pytest.mark.parametrize(("headers", "fields"), FOREIGN)
def test_a_form_of_another_site_does_nothing(
    browser: Make, headers: dict[str, str], fields: dict[str, str]
) -> None:
    visitor = browser(Role.OPERATOR)
    form = visitor.get("/").form("/sign-out")
    if headers.get("Origin") == "http://ours":  # by plain HTTP, where CRLs are
        headers = {**headers, "Origin": visitor.origin.replace("https", "http")}
    page = visitor.send("POST", "/sign-out", {**form.fields, **fields}, headers)
    assert (page.status, refusal(page)) == (403, "form_foreign")
    assert visitor.get("/").status == 200  # still signed in


def test_a_form_of_another_session_does_nothing(browser: Make) -> None:
    theirs = browser(Role.OPERATOR).get("/").form("/sign-out")
    visitor = browser(Role.OPERATOR)
    page = visitor.send("POST", "/sign-out", theirs.fields)
    assert (page.status, refusal(page)) == (403, "form_foreign")


def test_nobody_is_signed_in_by_a_page_of_another_site(browser: Make, serving: Serving) -> None:
    visitor = browser()
    fields = {"token": serving.site.tokens[Role.ADMIN]}
    page = visitor.send("POST", "/sign-in", fields, {"Sec-Fetch-Site": "cross-site"})
    assert (page.status, refusal(page)) == (403, "form_foreign")
    assert not visitor.cookies


ELSEWHERE = (
    "https://evil.example/",
    "//evil.example/",
    "/\\evil.example/",
    "\\\\evil.example",
    "/\t/evil.example",
    "javascript:alert(1)",
    " //evil.example",
    "/\r\nSet-Cookie: a=b",
    "http:evil.example",
)


@pytest.mark.parametrize("next_", ELSEWHERE)
def test_nobody_is_led_to_another_host(browser: Make, serving: Serving, next_: str) -> None:
    visitor = browser()
    page = visitor.fill(
        visitor.get("/sign-in"), "/sign-in", token=serving.site.tokens[Role.AUDITOR], next=next_
    )
    assert (page.status, page.headers["location"]) == (303, "/")
    chosen = visitor.send("POST", "/view", {"language": "zh", "next": next_})
    assert (chosen.status, chosen.headers["location"]) == (303, "/")


def test_every_page_forbids_what_could_be_turned_against_it(browser: Make) -> None:
    visitor = browser(Role.ADMIN)
    for path in ("/", "/nowhere", "/sign-in"):
        page = visitor.get(path)
        policy = dict(
            part.strip().split(" ", 1)
            for part in page.headers["content-security-policy"].split(";")
        )
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == policy["form-action"] == "'self'"
        assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
        assert page.headers["cache-control"] == "no-store"
        assert page.headers["x-content-type-options"] == "nosniff"
        assert page.headers["referrer-policy"] == "no-referrer"
        named = [(tag, name) for tag, name, _ in page.attributes]
        assert not [each for each in named if each[1].startswith("on") or each[1] == "style"]
        for tag, name, value in page.attributes:
            if name in {"src", "href", "action"}:
                assert value.startswith(("/", "#")), (tag, name, value)
                assert not value.startswith("//")


def test_a_form_that_came_too_late_is_kept_and_sent_afterwards(
    browser: Make, serving: Serving
) -> None:
    visitor = browser(Role.OPERATOR)
    form = visitor.get("/").form("/sign-out")
    serving.site.clock.ahead += timedelta(minutes=45)
    late = visitor.send("POST", "/sign-out", {**form.fields, "reason": "first line\nsecond <b>"})
    assert (late.status, refusal(late)) == (401, "session_ended")
    offered = visitor.fill(late, "/sign-in", token=serving.site.tokens[Role.OPERATOR])
    assert offered.status == 200
    again = offered.form("/sign-out")
    assert again.fields["reason"] == "first line\nsecond <b>"
    assert "<b>" not in offered.html
    assert "first line<br>second" in offered.html
    # It is looked at as any other: this one has a field too many.
    sent = visitor.send("POST", "/sign-out", again.fields)
    assert (sent.status, refusal(sent)) == (422, "form_invalid")
    assert "reason" in sent.text


@pytest.mark.parametrize(
    ("content", "media_type", "status"),
    [
        ("token=a", "text/plain", 415),
        ("token=%ff", "application/x-www-form-urlencoded", 400),
        ("token=a%00", "application/x-www-form-urlencoded", 400),
        ("to%00ken=a", "application/x-www-form-urlencoded", 400),
        ("&".join(f"f{n}=1" for n in range(300)), "application/x-www-form-urlencoded", 400),
        ("token=" + "a" * 400, "application/x-www-form-urlencoded", 422),
        ("unknown=1", "application/x-www-form-urlencoded", 422),
        ("", "", 415),
    ],
)
def test_what_no_form_of_ours_sends_is_refused(
    browser: Make, content: str, media_type: str, status: int
) -> None:
    visitor = browser()
    headers = {"Content-Type": media_type, "Sec-Fetch-Site": "same-origin", "Accept": "text/html"}
    visitor.connection.request("POST", "/sign-in", body=content, headers=headers)
    answer = visitor.connection.getresponse()
    said = answer.read().decode()
    assert answer.status == status, said
    assert "Traceback" not in said


def test_a_program_gets_problems_and_a_person_pages(browser: Make, serving: Serving) -> None:
    with serving.client(Role.ADMIN) as program:
        assert program.get("/nowhere").code == "route_not_found"
    with serving.client(None) as program:
        asked = program.get("/v1/certificates", headers={"Accept": "text/html"})
        assert asked.code == "credentials_missing"
    assert refusal(browser().get("/nowhere")) == "route_not_found"


def test_pages_have_the_language_that_the_browser_asks_for_or_somebody_chose(browser: Make) -> None:
    assert '<html lang="en"' in browser(language="fr, de;q=0.5").get("/sign-in").html
    assert '<html lang="zh"' in browser(language="zh-CN,zh;q=0.9,en;q=0.8").get("/sign-in").html
    visitor = browser()
    page = visitor.submit(visitor.get("/sign-in"), "/view", language="zh", theme="dark")
    assert '<html lang="zh" data-theme="dark"' in page.html
    assert "登录" in page.text


def test_assets_are_kept_for_ever_under_a_name_of_their_content(browser: Make) -> None:
    visitor = browser()
    page = visitor.get("/sign-in")
    for tag, name, value in page.attributes:
        if tag in {"script", "link"} and name in {"src", "href"}:
            found = visitor.send("GET", value)
            assert found.status == 200, value
            assert "immutable" in found.headers["cache-control"]
    assert visitor.send("GET", "/assets/console.js").status == 404
    assert visitor.send("GET", "/assets/..%2fdoor.py").status == 404


def test_every_page_names_who_may_see_it_and_what_its_form_holds() -> None:
    assert len({page.name for page in PAGES}) == len(PAGES)
    for page in PAGES:
        assert (page.method == "POST") == (page.form is not None), page.name
        assert not (page.public and page.action), page.name


def test_what_was_done_is_said_once_and_by_no_link(browser: Make) -> None:
    visitor = browser(Role.OPERATOR)
    for code in DONE:
        page = visitor.send("GET", f"/certificates?done={code}")
        assert DONE[code] not in page.text
        assert 'role="status"' not in page.html
    sent = visitor.fill(visitor.get("/"), "/sign-out")
    assert "?" not in sent.headers["location"]
    [note] = [each for each in sent.cookies if "done" in each]
    assert {"Path=/", "Secure", "HttpOnly", "SameSite=Lax"} <= set(note.split("; "))
    # What a live page fetches by itself does not take the note away.
    assert "signed out" not in visitor.send("GET", "/sign-in", headers={"HX-Request": "true"}).text
    assert "You are signed out." in visitor.follow(sent).text
    assert "You are signed out." not in visitor.get("/sign-in").text


def test_a_note_of_nothing_that_a_page_does_says_nothing(browser: Make) -> None:
    visitor = browser(Role.OPERATOR)
    visitor.cookies["__Host-ikewarden-done"] = "<b>bold</b>"
    page = visitor.get("/")
    assert page.status == 200
    assert 'role="status"' not in page.html


def test_a_search_with_nothing_filled_in_is_as_if_nothing_was_asked_for(browser: Make) -> None:
    visitor = browser(Role.ADMIN)
    tried = 0
    for page in PAGES:
        if page.method != "GET" or page.public or "{" in page.path:
            continue
        for form in visitor.get(page.path).forms:
            if form.method == "get" and form.action == page.path:
                blank = "&".join(f"{name}=" for name in form.fields)
                assert visitor.send("GET", f"{page.path}?{blank}").status == 200, page.path
                tried += 1
    assert tried >= 8
