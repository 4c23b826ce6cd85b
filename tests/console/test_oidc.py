"""Signing in through OpenID Connect, at a real provider; and everything that must not let anybody in."""

import base64
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlencode

import pytest
from joserfc.jwk import ECKey

from api import oidc
from core.secret import Secret
from pki import tokens
from pki.actors import Role
from pki.desk import OidcRules
from pki.identity import actor_from_token
from pki.tokens import TokenRequest
from tests.api.serving import Serving, serve
from tests.api.site import Site
from tests.console.browser import Browser, Page
from tests.console.people import strict, with_people
from tests.console.provider import CLIENT, SECRET, OpenIdProvider
from tests.console.test_door import refusal
from tests.pki.approving import asked

COOKIE = "__Host-ikewarden-oidc"
# Its head is of lists within lists.
DEEP = base64.urlsafe_b64encode(b"[" * 200_000).decode() + ".e30.e30"


@pytest.fixture(scope="module")
def running(site: Site) -> Iterator[OpenIdProvider]:
    made = OpenIdProvider(site.clock)
    yield made
    made.stop()


def rules_of(running: OpenIdProvider, **other: Any) -> OidcRules:
    given: dict[str, Any] = {
        "issuer": running.issuer,
        "client_id": CLIENT,
        "client_secret": Secret(SECRET.encode()),
        "callback": "https://localhost/sign-in/oidc/callback",
        "roles": (
            ("vpn-admins", Role.ADMIN),
            ("vpn-operators", Role.OPERATOR),
            ("vpn-seconds", Role.APPROVER),
        ),
        **other,
    }
    return OidcRules(**given)


@pytest.fixture(scope="module")
def console(site: Site, running: OpenIdProvider) -> Iterator[Serving]:
    rules = rules_of(running)
    running.callback = rules.callback
    with serve(with_people(site, oidc=rules)) as made:
        yield made


@pytest.fixture
def provider(site: Site, running: OpenIdProvider) -> Iterator[OpenIdProvider]:
    """The provider, as it is at first, with nothing of it remembered; each time an hour later, so that nobody is locked
    out for what another test did.
    """
    oidc.provider.cache_clear()
    running.reset()
    yield running
    running.reset()
    oidc.provider.cache_clear()
    site.clock.ahead += timedelta(hours=1)


@pytest.fixture
def visitor(console: Serving) -> Iterator[Browser]:
    made = Browser(console)
    yield made
    made.close()


def begin(visitor: Browser, onward: str = "") -> str:
    """Follow the link on the page; the address that the provider is asked at."""
    page = visitor.get("/sign-in" + (f"?{urlencode({'next': onward})}" if onward else ""))
    (link,) = [each for each in page.links if each.startswith("/sign-in/oidc")]
    sent = visitor.send("GET", link)
    assert sent.status == 303, sent.text
    return sent.headers["location"]


def test_somebody_comes_in_with_the_role_of_his_group_and_goes_where_he_was_going(
    visitor: Browser, provider: OpenIdProvider
) -> None:
    address = begin(visitor, "/findings?state=all")
    secret = visitor.cookies[COOKIE].partition(".")[0]
    assert secret not in address
    back = provider.authorize(address)
    entered = visitor.send("GET", back)
    assert (entered.status, entered.headers["location"]) == (303, "/findings?state=all")
    assert COOKIE not in visitor.cookies  # the attempt is over
    page = visitor.get("/")
    assert "alice@example.com" in page.text
    assert "Role: operator" in page.text
    assert visitor.send("GET", "/audit-log").status == 403


def test_the_cookie_is_for_this_host_alone_and_ten_minutes(
    visitor: Browser, provider: OpenIdProvider
) -> None:
    sent = visitor.send("GET", "/sign-in/oidc?next=%2Fjobs")
    (cookie,) = sent.cookies
    assert cookie.startswith(f"{COOKIE}=")
    for part in ("Path=/", "Secure", "HttpOnly", "SameSite=Lax", "Max-Age=600"):
        assert part in cookie, part


@pytest.mark.parametrize("onward", ["https://evil.example/", "//evil.example", "/\\evil.example"])
def test_nobody_is_led_elsewhere(visitor: Browser, provider: OpenIdProvider, onward: str) -> None:
    entered = visitor.send("GET", provider.authorize(begin(visitor, onward)))
    assert (entered.status, entered.headers["location"]) == (303, "/")


def attempt(visitor: Browser, provider: OpenIdProvider, **changed: str) -> Page:
    """Come back with an answer in which some parameters are others; empty ones are left out."""
    path, _, query = provider.authorize(begin(visitor)).partition("?")
    given = {name: value for name, (value,) in parse_qs(query).items()} | changed
    kept = {name: value for name, value in given.items() if value}
    return visitor.send("GET", f"{path}?{urlencode(kept)}")


@pytest.mark.parametrize(
    ("changed", "status", "code"),
    [
        ({"state": "x" * 43}, 401, "oidc_attempt_over"),
        ({"state": ""}, 401, "oidc_attempt_over"),
        ({"iss": "https://other.example"}, 401, "oidc_refused"),
        ({"iss": ""}, 401, "oidc_refused"),
        ({"code": "", "error": "access_denied"}, 401, "oidc_declined"),
        ({"code": ""}, 401, "oidc_declined"),
        ({"code": "another"}, 401, "oidc_refused"),
    ],
)
def test_answers_that_are_not_as_they_should_be(
    visitor: Browser, provider: OpenIdProvider, changed: dict[str, str], status: int, code: str
) -> None:
    page = attempt(visitor, provider, **changed)
    assert (page.status, refusal(page)) == (status, code)
    assert "__Host-ikewarden" not in visitor.cookies
    assert COOKIE not in visitor.cookies


class FromNow(int):
    """A time, by how many seconds it is from now."""


@pytest.mark.parametrize(
    "claims",
    [
        {"nonce": "another"},
        {"nonce": None},
        {"aud": "another"},
        {"aud": None},
        {"aud": [CLIENT, "another"]},  # whose is it? azp would say
        {"aud": [CLIENT, "another"], "azp": "another"},
        {"azp": "another"},
        {"iss": "https://other.example"},
        {"iss": None},
        {"exp": FromNow(-3600)},
        {"exp": None},
        {"nbf": FromNow(3600)},
        {"iat": None},
        {"sub": None},
        {"sub": ""},
        {"sub": 4711},
        {"email": None},
        {"email": "a\u202eb\n@example.com"},
        {"email": "x" * 300},
        {"email_verified": False},
        {"email_verified": "false"},
        {"email_verified": []},
        {"email_verified": {"a": 1}},
        {"at_hash": "AAAA"},
    ],
    ids=str,
)
def test_id_tokens_that_prove_nobody(
    visitor: Browser, provider: OpenIdProvider, claims: dict[str, Any]
) -> None:
    provider.claims = {
        name: int(provider.clock().timestamp()) + value if isinstance(value, FromNow) else value
        for name, value in claims.items()
    }
    page = attempt(visitor, provider)
    assert (page.status, refusal(page)) == (401, "oidc_refused")
    assert "__Host-ikewarden" not in visitor.cookies


@pytest.mark.parametrize("how", ["unsigned", "confused", "by_another"])
def test_signatures_that_prove_nothing(
    visitor: Browser, provider: OpenIdProvider, how: str
) -> None:
    provider.sign = getattr(provider, how)
    page = attempt(visitor, provider)
    assert (page.status, refusal(page)) == (401, "oidc_refused")


@pytest.mark.parametrize("token", ["", "nonsense", "a.b.c", "e30.e30.e30", "x" * 10_000, DEEP])
def test_nonsense_in_place_of_a_token(
    visitor: Browser, provider: OpenIdProvider, token: str
) -> None:
    provider.sign = lambda _: token
    page = attempt(visitor, provider)
    assert (page.status, refusal(page)) == (401, "oidc_refused")


@pytest.mark.parametrize("groups", [None, [], "staff", ["staff", 7], {"a": 1}, "vpn-admins2"])
def test_who_has_no_role_is_told_so(
    visitor: Browser, provider: OpenIdProvider, groups: object
) -> None:
    provider.claims = {"groups": groups}
    page = attempt(visitor, provider)
    assert (page.status, refusal(page)) == (403, "oidc_no_role")
    assert "__Host-ikewarden" not in visitor.cookies


def test_the_first_role_that_fits_counts(visitor: Browser, provider: OpenIdProvider) -> None:
    provider.claims = {"groups": ["vpn-operators", "vpn-admins"]}
    assert attempt(visitor, provider).status == 303
    assert "Role: admin" in visitor.get("/").text


def test_an_answer_counts_once_and_in_the_browser_that_began(
    console: Serving, visitor: Browser, provider: OpenIdProvider
) -> None:
    back = provider.authorize(begin(visitor))
    other = Browser(console)
    page = other.send("GET", back)
    assert (page.status, refusal(page)) == (401, "oidc_attempt_over")
    other.close()
    kept = dict(visitor.cookies)
    assert visitor.send("GET", back).status == 303
    visitor.cookies = kept
    page = visitor.send("GET", back)
    assert (page.status, refusal(page)) == (401, "oidc_refused")  # the provider knows the code


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://other.example"},
        {"authorization_endpoint": "http://other.example/authorize"},
        {"token_endpoint": "http://192.0.2.1/token"},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": None},
        {"authorization_endpoint": "https://user@other.example/"},
    ],
    ids=str,
)
def test_a_provider_that_says_something_odd_of_itself(
    visitor: Browser, provider: OpenIdProvider, metadata: dict[str, Any]
) -> None:
    provider.metadata = metadata
    page = visitor.send("GET", "/sign-in/oidc")
    assert (page.status, refusal(page)) == (503, "oidc_unavailable")
    assert "token" in page.form("/sign-in").fields  # there are other ways


def test_what_it_says_is_kept_and_a_new_key_is_found(
    visitor: Browser, provider: OpenIdProvider
) -> None:
    provider.asked.clear()
    assert attempt(visitor, provider).status == 303
    assert attempt(visitor, provider).status == 303
    assert len([each for each in provider.asked if "well-known" in each]) == 1
    assert provider.asked.count("/realm/keys") == 1
    before = provider.key
    provider.key = ECKey.generate_key("P-256", {"kid": "two", "use": "sig", "alg": "ES256"})
    page = attempt(visitor, provider)
    assert (page.status, refusal(page)) == (401, "oidc_refused")  # the keys were asked for just now
    provider.key = before


def test_a_new_key_is_asked_for_when_a_token_names_it(
    console: Serving, visitor: Browser, provider: OpenIdProvider
) -> None:
    assert attempt(visitor, provider).status == 303
    before = provider.key
    provider.key = ECKey.generate_key("P-256", {"kid": "three", "use": "sig", "alg": "ES256"})
    console.site.clock.ahead += timedelta(minutes=1)
    try:
        assert attempt(visitor, provider).status == 303
    finally:
        provider.key = before


def test_keys_that_cannot_be_read_are_let_be(visitor: Browser, provider: OpenIdProvider) -> None:
    # RFC 7517 §5: whoever publishes a new kind of key beside the one that signs locks nobody out.
    provider.other_keys = [
        {"kty": "EC", "crv": "P-9999", "x": "AA", "y": "AA", "kid": "new"},
        {"kty": "OKP", "crv": "Ed9999", "x": "AA", "kid": provider.key.kid},
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"},
        {"kty": "RSA", "n": "!!", "e": "AQAB"},
        {"kty": "RSA", "kid": 5},
        {"kty": ["RSA"], "use": []},
        {"kty": "ML-KEM"},
        "no key",
        None,
    ]
    assert attempt(visitor, provider).status == 303


def test_an_approver_from_the_provider_decides(
    site: Site, visitor: Browser, provider: OpenIdProvider
) -> None:
    desk, now = strict(site.desk, "role.change"), site.clock()
    admin = actor_from_token(
        desk, Secret(site.token(Role.ADMIN, name="erna")), now=now, request_id="r"
    )
    wanted = TokenRequest("gerd", Role.OPERATOR)
    number = asked(lambda: tokens.create(desk, admin, wanted, now=now))
    provider.claims = {"groups": ["vpn-seconds"], "email": "bob@example.com"}
    assert attempt(visitor, provider).status == 303
    page = visitor.get(f"/approvals/{number}")
    done = visitor.submit(page, f"/approvals/{number}", decision="approve", reason="ticket 3")
    assert "You approved it." in done.text
    made = tokens.create(desk, replace(admin, approval=number), wanted, now=site.clock())
    assert made.view.name == "gerd"


def test_too_many_answers_that_prove_nobody_lock_the_address(
    visitor: Browser, provider: OpenIdProvider
) -> None:
    provider.claims = {"aud": "another"}
    for _ in range(10):
        assert attempt(visitor, provider).status == 401
    page = visitor.send("GET", "/sign-in/oidc")
    assert (page.status, refusal(page)) == (429, "sign_in_locked")


def test_answers_of_other_attempts_lock_nobody_out(
    visitor: Browser, provider: OpenIdProvider
) -> None:
    for _ in range(12):
        page = attempt(visitor, provider, state="x" * 43)
        assert refusal(page) == "oidc_attempt_over"
    assert attempt(visitor, provider).status == 303


def test_a_provider_that_is_away_is_not_asked_for_by_everybody_at_once(
    console: Serving, visitor: Browser, provider: OpenIdProvider
) -> None:
    provider.metadata = {"issuer": "https://other.example"}
    provider.asked.clear()
    for _ in range(5):
        assert visitor.send("GET", "/sign-in/oidc").status == 503
    assert len(provider.asked) == 1
    provider.reset()
    console.site.clock.ahead += timedelta(seconds=11)
    assert attempt(visitor, provider).status == 303


def test_whom_the_settings_give_no_role_any_more_is_out(
    site: Site, running: OpenIdProvider, visitor: Browser, provider: OpenIdProvider
) -> None:
    assert attempt(visitor, provider).status == 303
    fewer = rules_of(running, roles=(("vpn-admins", Role.ADMIN),))
    for changed in (fewer, replace(fewer, issuer="https://other.example"), None):
        with serve(with_people(site, oidc=changed)) as other:
            again = Browser(other)
            again.cookies = dict(visitor.cookies)
            assert again.send("GET", "/").status == 401
            again.close()


def test_a_client_that_the_provider_does_not_know(
    site: Site, running: OpenIdProvider, provider: OpenIdProvider
) -> None:
    wrong = rules_of(running, client_secret=Secret(b"guessed"))
    with serve(with_people(site, oidc=wrong)) as other:
        again = Browser(other)
        page = attempt(again, provider)
        assert (page.status, refusal(page)) == (401, "oidc_refused")
        again.close()


def test_without_settings_there_is_no_such_way(serving: Serving) -> None:
    again = Browser(serving)
    assert "/sign-in/oidc" not in again.get("/sign-in").html
    for path in ("/sign-in/oidc", "/sign-in/oidc/callback?code=x&state=y"):
        assert again.send("GET", path).status == 404
    again.close()


@pytest.mark.parametrize(
    ("claims", "claim", "found"),
    [
        ({"realm_access": {"roles": ["vpn-admins"]}}, "realm_access.roles", Role.ADMIN),
        ({"https://example.com/role": "vpn-admins"}, "https://example.com/role", Role.ADMIN),
        ({"realm_access": ["roles"]}, "realm_access.roles", None),
    ],
)
def test_claims_may_be_nested(
    running: OpenIdProvider, claims: dict[str, Any], claim: str, found: Role | None
) -> None:
    made = oidc.Provider(rules_of(running, claim=claim, name="sub"))
    look: Callable[..., Any] = made._actor
    if found is None:
        with pytest.raises(oidc.OidcNoRole):
            look({"sub": "x", **claims}, "r")
    else:
        assert look({"sub": "x", **claims}, "r").role is found


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("https://id.example/x", True),
        ("http://localhost:8080/x", True),
        ("http://[::1]/x", True),
        ("http://id.example/x", False),
        ("https://id.example:99999/", False),
        ("https:///x", False),
        ("ftp://localhost/", False),
        ("https://id.example/ü", False),
        (None, False),
    ],
)
def test_addresses_that_are_asked(url: object, safe: bool) -> None:
    assert oidc.is_safe(url) is safe
