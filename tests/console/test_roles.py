"""Every page and every role. The table is the specification: it is written by hand, not made from code."""

from collections.abc import Iterator

import pytest

from api.console.page import Page
from api.console.pages import PAGES
from pki.actors import Role
from tests.api.serving import Serving
from tests.console.browser import Browser
from tests.console.browser import Page as Answer

COLUMNS = ("nobody", "admin", "operator", "approver", "auditor")
# y: may; -: 403 role_not_permitted (nobody: led to the sign-in page)
TABLE = """
                                       nobody admin operator approver auditor
    GET  /                                -      y       y        y       y
    GET  /sign-in                         y      y       y        y       y
    POST /sign-in                         y      y       y        y       y
    POST /sign-out                        -      y       y        y       y
    POST /view                            y      y       y        y       y
    GET  /certificates                    -      y       y        y       y
    GET  /certificates/{serial}           -      y       y        y       y
    GET  /certificates/{serial}/file      -      y       y        y       y
    GET  /certificates/issue              -      y       y        -       -
    POST /certificates/issue              -      y       y        -       -
    GET  /certificates/{serial}/renew     -      y       y        -       -
    POST /certificates/{serial}/renew     -      y       y        -       -
    GET  /certificates/{serial}/revoke    -      y       y        -       -
    POST /certificates/{serial}/revoke    -      y       y        -       -
    GET  /certificates/{serial}/hold      -      y       y        -       -
    POST /certificates/{serial}/hold      -      y       y        -       -
    GET  /certificates/{serial}/release   -      y       y        -       -
    POST /certificates/{serial}/release   -      y       y        -       -
    GET  /certificates/{serial}/reach     -      y       y        y       y
    GET  /authorities                     -      y       y        y       y
    GET  /authorities/{name}              -      y       y        y       y
    GET  /authorities/{name}/file         -      y       y        y       y
    GET  /tokens                          -      y       y        -       y
    GET  /tokens/create                   -      y       y        -       -
    POST /tokens/create                   -      y       y        -       -
    GET  /tokens/{id}/revoke              -      y       y        -       -
    POST /tokens/{id}/revoke              -      y       y        -       -
    GET  /sessions                        -      y       -        -       -
    GET  /sessions/end                    -      y       -        -       -
    POST /sessions/end                    -      y       -        -       -
    GET  /sessions/{id}/end               -      y       -        -       -
    POST /sessions/{id}/end               -      y       -        -       -
    GET  /own-sessions                    -      y       y        y       y
    POST /own-sessions/end                -      y       y        y       y
    POST /sign-in/certificate             y      y       y        y       y
    GET  /sign-in/oidc                    y      y       y        y       y
    GET  /sign-in/oidc/callback           y      y       y        y       y
    GET  /findings                        -      y       y        y       y
    GET  /findings/rules                  -      y       y        y       y
    GET  /findings/verdicts               -      y       y        y       y
    GET  /findings/trend                  -      y       y        y       y
    GET  /findings/accept                 -      y       y        -       -
    POST /findings/accept                 -      y       y        -       -
    GET  /findings/{id}                   -      y       y        y       y
    POST /findings/{id}/accept            -      y       y        -       -
    POST /findings/{id}/reopen            -      y       y        -       -
    GET  /reports                         -      y       y        y       y
    GET  /reports/inventory               -      y       y        y       y
    GET  /reports/expiring                -      y       y        y       y
    GET  /reports/revocations             -      y       y        y       y
    GET  /reports/psk-age                 -      y       y        y       y
    GET  /reports/sa-health               -      y       y        -       y
    GET  /reports/audit                   -      y       y        y       y
    GET  /reports/compliance              -      y       y        y       y
    GET  /approvals                       -      y       y        y       y
    GET  /approvals/{id}                  -      y       y        y       y
    POST /approvals/{id}                  -      -       -        y       -
    POST /approvals/{id}/withdraw         -      y       y        -       -
    GET  /audit-log                       -      y       -        y       y
    GET  /audit-log/head                  -      y       -        y       y
    POST /audit-log/head                  -      y       -        y       y
    GET  /audit-log/head.txt              -      y       -        y       y
    GET  /audit-log/key.pub               -      y       -        y       y
    GET  /audit-log/{id}                  -      y       -        y       y
    GET  /audit-log/{id}/proof.json       -      y       -        y       y
    GET  /jobs                            -      y       y        y       y
    GET  /jobs/{name}                     -      y       y        y       y
    POST /jobs/dead-letters/{id}/retry    -      y       y        -       -
    GET  /settings                        -      y       y        y       y
    GET  /settings/endpoints              -      y       y        y       y
    GET  /settings/profiles               -      y       y        y       y
    GET  /settings/profiles/{name}        -      y       y        y       y
    GET  /map                             -      y       y        y       y
    GET  /gateways                        -      y       y        y       y
    GET  /gateway-new                     -      y       y        y       y
    POST /gateway-new                     -      y       y        -       -
    GET  /gateways/{name}                 -      y       y        y       y
    GET  /gateways/{name}/enroll          -      y       y        y       y
    POST /gateways/{name}/enroll          -      y       y        -       -
    POST /gateways/{name}/renew           -      y       y        -       -
    POST /gateways/{name}/afresh          -      y       y        -       -
    GET  /gateways/{name}/remove          -      y       y        y       y
    POST /gateways/{name}/remove          -      y       y        -       -
    GET  /tunnels                         -      y       y        y       y
    GET  /tunnels/{name}                  -      y       y        y       y
    GET  /tunnels/{name}/remove           -      y       y        y       y
    POST /tunnels/{name}/remove           -      y       y        -       -
    GET  /tunnels/{name}/rotate           -      y       y        -       -
    POST /tunnels/{name}/rotate           -      y       y        -       -
    GET  /tunnels/{name}/handover         -      y       y        y       y
    POST /tunnels/{name}/handover         -      y       y        -       -
    GET  /rotations                       -      y       y        y       y
    GET  /rotations/{id}                  -      y       y        y       y
    GET  /rotations/{id}/cancel           -      y       y        y       y
    POST /rotations/{id}/cancel           -      y       y        -       -
    POST /rotations/{id}/confirm          -      y       y        -       -
    GET  /sas                             -      y       y        -       y
    GET  /sas/connection                  -      y       y        -       y
    GET  /alerts                          -      y       y        y       y
    GET  /alerts/{id}                     -      y       y        y       y
    POST /alerts/{id}/silence             -      y       y        -       -
    POST /alerts/{id}/unsilence           -      y       y        -       -
"""
ROWS = {
    f"{method} {path}": dict(zip(COLUMNS, marks, strict=True))
    for method, path, *marks in (line.split() for line in TABLE.strip().splitlines()[1:])
}
BY_NAME = {page.name.removeprefix("console "): page for page in PAGES}
ROLES = {
    "admin": Role.ADMIN,
    "operator": Role.OPERATOR,
    "approver": Role.APPROVER,
    "auditor": Role.AUDITOR,
}


@pytest.fixture(scope="module")
def signed_in(serving: Serving) -> Iterator[dict[str, Browser]]:
    """A browser for each column."""
    found = {"nobody": Browser(serving)}
    for name, role in ROLES.items():
        found[name] = Browser(serving)
        assert found[name].sign_in(serving.site.tokens[role]).status == 303
    yield found
    for one in found.values():
        one.close()


def test_the_table_has_every_page() -> None:
    assert set(ROWS) == set(BY_NAME)


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("who", COLUMNS)
def test_who_may(name: str, who: str, signed_in: dict[str, Browser], serving: Serving) -> None:
    page, may = BY_NAME[name], ROWS[name][who] == "y"
    browser = signed_in[who]
    if name in {"POST /sign-out", "POST /sign-in", "POST /own-sessions/end"} and who != "nobody":
        browser = Browser(serving)  # of its own, since it would be out
        browser.sign_in(serving.site.token(ROLES[who], name="somebody else"))
    answer = _ask(browser, page)
    if may:
        assert answer.status not in {401, 403} or "session_ended" not in answer.html, answer.text
        assert "role_not_permitted" not in answer.html
    elif who == "nobody":
        assert answer.status in {303, 401}
        if answer.status == 303:
            assert answer.headers["location"].startswith("/sign-in")
    else:
        assert (answer.status, "role_not_permitted" in answer.html) == (403, True), answer.text
    if browser is not signed_in[who]:
        browser.close()


def _ask(browser: Browser, page: Page) -> Answer:
    path = page.path.replace("{serial}", "77" * 16).replace("{id}", "4711")
    for name in ("{name}", "{kind}", "{authority}", "{format}"):
        path = path.replace(name, "nobody-has-this-name")
    if page.method == "GET":
        return browser.send("GET", path)
    csrf = (
        browser.get("/").form("/sign-out").fields["csrf"]
        if "__Host-ikewarden" in browser.cookies
        else ""
    )
    return browser.send("POST", path, {"csrf": csrf})
