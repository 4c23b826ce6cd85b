"""Tokens and authorities in the console."""

import itertools
import re
from collections.abc import Callable
from datetime import timedelta

import pytest

from pki.actors import Role, Scope
from tests.api.serving import Serving
from tests.console.browser import Browser, Page
from tests.console.test_certificates import seen

Make = Callable[..., Browser]
_numbers = itertools.count(1)


def a_name() -> str:
    """A name that no other test has."""
    return f"somebody {next(_numbers)}"


def secret(page: Page) -> str:
    """The token that a page shows."""
    found = re.search(r'<pre id="token"[^>]*>(iw_[^<]+)</pre>', page.html)
    assert found is not None, page.text
    return found[1]


def test_a_token_is_shown_once_and_works(browser: Make, serving: Serving) -> None:
    visitor, name = browser(Role.ADMIN), a_name()
    at = "/tokens/create"
    made = visitor.fill(visitor.get(at), at, name=name, role="auditor", expires="2999-01-01T00:00")
    assert made.status == 200
    with serving.client(secret(made)) as fresh:
        found = fresh.get("/v1/whoami").json
        assert (found["name"], found["role"]) == (name, "auditor")
    listed = visitor.get("/tokens")
    assert name in listed.text
    assert "iw_" not in listed.html
    assert "2999-01-01 00:00Z" in listed.text


def test_a_page_with_a_secret_that_is_loaded_again_makes_no_other(
    browser: Make, serving: Serving
) -> None:
    visitor, name = browser(Role.ADMIN), a_name()
    at = "/tokens/create"
    form = visitor.get(at).form(at)
    typed = {**form.fields, "name": name, "role": "auditor"}
    assert visitor.send("POST", at, typed).status == 200
    again = visitor.send("POST", at, typed)
    assert (again.status, "idempotency_secret_not_replayable" in again.html) == (409, True)
    with serving.client(Role.ADMIN) as admin:
        items = admin.get("/v1/tokens?limit=500").json["items"]
    assert len([each for each in items if each["name"] == name]) == 1


def test_an_enrollers_token_has_limits_and_more_secrets(browser: Make, serving: Serving) -> None:
    visitor, name = browser(Role.OPERATOR), a_name()
    at = "/tokens/create"
    page = visitor.get(at)
    typed = {"name": name, "role": "enroller", "uses": "2", "names": "dns:*.gw.example"}
    refused = visitor.fill(page, at, **typed)
    assert (refused.status, "token_malformed" in refused.html) == (422, True)
    assert {**refused.form(at).fields, **typed} == refused.form(at).fields
    made = visitor.fill(page, at, **typed, profiles="gateway\r\nhost")
    assert made.status == 200
    assert "Key of external account bindings" in made.text
    assert "Secret of message protection" in made.text
    with serving.client(Role.ADMIN) as admin:
        items = admin.get("/v1/tokens?limit=500").json["items"]
    [found] = [each for each in items if each["name"] == name]
    assert (found["profiles"], found["uses_left"]) == (["gateway", "host"], 2)
    assert found["names"] == ["dns:*.gw.example"]


@pytest.mark.parametrize("role", ["admin", "gateway", "scheduler", "nonsense", ""])
def test_nobody_gives_more_than_he_has(browser: Make, role: str) -> None:
    visitor, at = browser(Role.OPERATOR), "/tokens/create"
    page = visitor.get(at)
    assert page.form(at).fields["role"] == "enroller"
    refused = visitor.fill(page, at, name=a_name(), role=role)
    assert refused.status in {403, 422}
    assert "iw_" not in refused.html.replace("It begins with iw_", "")


def test_a_token_is_ended_on_a_page_of_its_own(browser: Make, serving: Serving) -> None:
    name = a_name()
    token = serving.site.token(Role.AUDITOR, name=name)
    visitor = browser(Role.ADMIN)
    with serving.client(Role.ADMIN) as admin:
        items = admin.get("/v1/tokens?limit=500").json["items"]
    [found] = [each for each in items if each["name"] == name]
    at = f"/tokens/{found['id']}/revoke"
    page = visitor.get(at)
    assert name in page.text
    with serving.client(token) as still:
        assert still.get("/v1/whoami").status == 200
    done = visitor.submit(page, at)
    assert "The token is revoked." in done.text
    with serving.client(token) as ended:
        assert ended.get("/v1/whoami").status == 401


def test_whoever_ends_his_own_token_is_out(browser: Make, serving: Serving) -> None:
    name = a_name()
    token = serving.site.token(Role.ADMIN, name=name)
    visitor = browser(token)
    with serving.client(Role.ADMIN) as admin:
        items = admin.get("/v1/tokens?limit=500").json["items"]
    [found] = [each for each in items if each["name"] == name]
    at = f"/tokens/{found['id']}/revoke"
    page = visitor.get(at)
    assert "the token that you are signed in with" in page.text
    assert visitor.submit(page, at).status == 401


def test_a_limited_token_sees_those_within_its_limits(browser: Make, serving: Serving) -> None:
    token = serving.site.token(Role.OPERATOR, scope=Scope(gateway="gw1.example"))
    other = serving.site.token(Role.AUDITOR, name=a_name())
    assert other
    page = browser(token).get("/tokens")
    assert "somebody" not in page.text


def test_authorities_tell_how_they_are(browser: Make, serving: Serving) -> None:
    visitor = browser(Role.AUDITOR)
    listed = visitor.get("/authorities")
    assert "/authorities/issuing" in listed.links
    page = visitor.get("/authorities/issuing")
    with serving.client(Role.AUDITOR) as auditor:
        rest = auditor.get("/v1/authorities/issuing").json
    for field in ("serial", "subject", "algorithm", "ocsp_url"):
        assert rest[field] in seen(page), field
    assert rest["certificate"].split("\n")[3] in page.html
    file = visitor.send("GET", "/authorities/issuing/file").html
    assert file == rest["certificate"] + "".join(rest["chain"])
    assert visitor.get("/authorities/nobody").status == 404


def test_lists_and_their_age_are_told(browser: Make, serving: Serving) -> None:
    with serving.client(Role.ADMIN) as admin:
        body = {"name": f"listed{next(_numbers)}", "kind": "issuing", "parent": "root"}
        body["subject"] = f"CN={body['name']}"
        assert admin.post("/v1/authorities", body).status == 201
        admin.post(f"/v1/authorities/{body['name']}/crl")
    at = f"/authorities/{body['name']}"
    page = browser(Role.AUDITOR).get(at)
    assert page.status == 200
    assert "Has no signer" in page.text
    serving.site.clock.ahead += timedelta(days=30)
    try:
        late = browser(Role.AUDITOR).get(at)
        assert late.status == 200
        assert "In force" not in late.text
    finally:
        serving.site.clock.ahead -= timedelta(days=30)
