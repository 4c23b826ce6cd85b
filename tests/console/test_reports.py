"""Reports in the console: each kind as a file, in every form; what cannot be made is said on the page."""

import io
import json
import sys
import zipfile
from collections.abc import Callable
from copy import copy
from dataclasses import replace

import pytest

from api.console.reports import OFFERED
from api.reporting.kinds import KINDS, TIMELESS
from pki.actors import Role, Scope
from tests.api.serving import Serving, serve
from tests.api.site import Site
from tests.console.browser import Browser
from tests.pki.logkeeping import Memory

Make = Callable[..., Browser]


def test_every_kind_is_offered_by_its_title_and_its_usual_period() -> None:
    assert [each.name for each in OFFERED] == list(KINDS)
    for each in OFFERED:
        kind = KINDS[each.name]
        assert each.title == kind.title
        assert (each.usual == "") == (each.name in TIMELESS)
        assert each.usual in {kind.usual, ""} or kind.usual is None


@pytest.mark.parametrize("kind", [each.name for each in OFFERED])
def test_each_kind_as_it_comes_from_its_form(browser: Make, kind: str) -> None:
    visitor = browser(Role.AUDITOR)
    form = visitor.get("/reports").form(f"/reports/{kind}")
    given = "&".join(f"{name}={value}" for name, value in form.fields.items())
    for format, sign in (("json", "{"), ("csv", ""), ("html", "<!doctype html>")):
        answer = visitor.send("GET", f"/reports/{kind}?{given}&format={format}")
        assert answer.status == 200, answer.text
        assert answer.headers["content-disposition"].startswith("attachment")
        assert answer.html.lower().startswith(sign)


def test_what_cannot_be_made_is_not_offered_first(
    browser: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def first() -> str:
        page = browser(Role.AUDITOR).get("/reports")
        return next(v for tag, name, v in page.attributes if (tag, name) == ("button", "value"))

    assert first() == "pdf"
    # As it is where the extra is not installed.
    monkeypatch.setitem(sys.modules, "weasyprint", None)
    assert first() == "html"


def test_in_chinese_and_as_pdf(browser: Make) -> None:
    visitor = browser(Role.AUDITOR, language="zh")
    page = visitor.get("/reports")
    assert page.form("/reports/inventory").fields["lang"] == "zh"
    answer = visitor.send("GET", "/reports/inventory?format=html&lang=zh")
    assert 'lang="zh-CN"' in answer.html
    answer = visitor.send("GET", "/reports/inventory?format=pdf&lang=zh")
    assert answer.html.startswith("%PDF-")


def test_the_numbers_are_those_of_the_api(browser: Make, serving: Serving) -> None:
    path = "/reports/expiring?period=2026-01&format=json"
    with serving.client(Role.AUDITOR) as client:
        expected = client.get(f"/v1{path}")
    assert json.loads(browser(Role.AUDITOR).send("GET", path).html) == expected.json


def test_signed_it_is_an_archive_with_the_signature(site: Site) -> None:
    signing = copy(site)
    signing.desk = replace(site.desk, blobs=Memory())
    with serve(signing) as serving:
        visitor = Browser(serving)
        visitor.sign_in(site.tokens[Role.AUDITOR])
        cookies = "; ".join(f"{name}={value}" for name, value in visitor.cookies.items())
        path = "/reports/expiring?format=json&period=2026-01&signed=true"
        visitor.connection.request("GET", path, headers={"Cookie": cookies})
        answer = visitor.connection.getresponse()
        content = answer.read()
        assert answer.status == 200, content
        names = zipfile.ZipFile(io.BytesIO(content)).namelist()
        assert [name.rpartition(".")[2] for name in names] == ["json", "p7s"]
        visitor.close()


def test_where_nothing_can_be_signed_the_page_says_so(browser: Make) -> None:
    page = browser(Role.AUDITOR).send("GET", "/reports/expiring?signed=true")
    assert (page.status, 'role="alert"' in page.html) == (503, True)
    assert page.form("/reports/expiring").fields["period"] == "next-30d"


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/reports/expiring?period=someday", 422, ""),
        ("/reports/inventory?period=2026", 422, "report_period_unwanted"),
        ("/reports/sa-health?period=last-7d&gateway=nobody.example", 404, "gateway_not_found"),
        ("/reports/inventory?format=docx", 422, "query_invalid"),
        ("/reports/nothing", 404, "route_not_found"),
    ],
)
def test_what_cannot_be_made(browser: Make, path: str, status: int, code: str) -> None:
    page = browser(Role.AUDITOR).send("GET", path)
    assert (page.status, code in page.html) == (status, True)
    assert 'role="alert"' in page.html


def test_what_the_form_had_is_still_there(browser: Make) -> None:
    page = browser(Role.AUDITOR).send("GET", "/reports/expiring?period=someday&lang=zh")
    assert page.form("/reports/expiring").fields["period"] == "someday"


def test_a_token_of_one_gateway_has_no_reports_of_all(browser: Make, serving: Serving) -> None:
    token = serving.site.token(Role.AUDITOR, name="one", scope=Scope(gateway="gw1.example"))
    visitor = browser(token)
    assert "Your token is of one gateway" in visitor.get("/reports").text
    assert visitor.send("GET", "/reports/inventory").status == 403
