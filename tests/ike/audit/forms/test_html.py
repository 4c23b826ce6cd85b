"""The page: what is in it, and what Chromium makes of it."""

import base64
import hashlib
import html
import json
import re
import subprocess
import time
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from ike.audit.forms import html as form
from ike.audit.values import Audit
from tests.fixtures.needs import program
from tests.ike.audit.forms.audits import (
    OLD,
    OPEN,
    WEAK,
    audit,
    clean,
    compared,
    finding,
    folder,
    odd,
)

AUDITS = {"some": audit(), "compared": compared(), "clean": clean(), "odd": odd()}
_VOID = {"meta", "input", "br"}


class Elements(HTMLParser):
    """All elements of a page, which must be closed in their order."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def elements(page: str) -> Elements:
    parser = Elements()
    parser.feed(page)
    parser.close()
    assert not parser.open
    return parser


@pytest.mark.parametrize("name", AUDITS)
def test_one_file_with_nothing_from_elsewhere(name: str) -> None:
    page = form.write(AUDITS[name])
    page.encode("utf-8")
    found = elements(page).found
    allowed = {"html", "head", "meta", "title", "style", "body", "header", "main", "footer", "nav"}
    allowed |= {"h1", "h2", "p", "section", "span", "code", "ul", "li", "br", "dl", "dt", "dd"}
    allowed |= {"input", "label", "b", "a", "div"}
    assert {tag for tag, _ in found} <= allowed
    for tag, attributes in found:
        assert not any(each.startswith("on") or each in ("src", "style") for each in attributes)
        if tag == "a":
            assert re.match("https://(www.rfc-editor|doi).org/", attributes["href"] or "")
    assert "url(" not in page
    assert "@import" not in page


def test_the_policy_in_it_fits_its_style() -> None:
    page = form.write(audit())
    [style] = re.findall("<style>(.*)</style>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'sha256-{digest}'" in html.unescape(page)


def test_it_says_all_of_it() -> None:
    text = elements(form.write(compared())).text
    for said in (
        "204 new findings: 1 critical, 202 high, 1 medium.",
        "Mode 0644, owner root:root; it holds 4 secrets.",
        "and 197 more in /etc/swanctl/private",
        "/etc/swanctl/private/gw199.pem",
        "No such file or directory",
        "The peer moves in January. (until 2027-01-31 by anna)",
        "Gone since the report before",
        "does not count",
    ):
        assert said in text
    assert "Nothing wrong was found." in form.write(clean())
    assert "what could be read" in form.write(replace(clean(), problems=audit().problems))


# A page around the report, which measures it: the report itself has no script.
_AROUND = """<!doctype html><body style="margin:0"><iframe style="border:0;width:{width}px;height:900px"
 srcdoc="{page}"></iframe><pre id="told"></pre><script>
addEventListener("load", () => {{
  const frame = document.querySelector("iframe"), inner = frame.contentDocument;
  const seen = (each) => frame.contentWindow.getComputedStyle(each).display !== "none";
  const sections = [...inner.querySelectorAll("section.high")];
  const before = sections.filter(seen).length;
  const more = inner.querySelector(".rest");
  const folded = more ? !seen(more) : null;
  inner.querySelector(".more")?.click();
  const unfolded = more ? seen(more) : null;
  const wide = inner.documentElement.scrollWidth;
  inner.querySelector('label[for="see-high"]')?.click();
  document.getElementById("told").textContent = JSON.stringify({{
    wide, before, after: sections.filter(seen).length, folded, unfolded,
    styled: frame.contentWindow.getComputedStyle(inner.querySelector("h1")).marginTop,
    scripts: inner.scripts.length, images: inner.images.length,
    loaded: frame.contentWindow.performance.getEntriesByType("resource").length,
    alerted: window.alerted === true || frame.contentWindow.alerted === true,
  }});
}});
</script>"""


def rendered(what: Audit, width: int, folder: Path) -> Any:
    chromium = program("chromium", "chromium")
    around = folder / "around.html"
    page = html.escape(form.write(what))
    around.write_text(_AROUND.format(width=width, page=page), "utf-8")
    done = subprocess.run(
        [
            *(chromium, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
            *("--disable-background-networking", "--dns-prefetch-disable"),
            *(f"--user-data-dir={folder / 'profile'}", "--dump-dom", around.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=90,
        check=True,
    )
    found = re.search(r'<pre id="told">(.+?)</pre>', done.stdout)
    assert found, done.stderr[-2000:]
    return json.loads(html.unescape(found[1]))


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("name", ["compared", "odd"])
def test_chromium_shows_it(name: str, width: int, tmp_path: Path) -> None:
    told = rendered(AUDITS[name], width, tmp_path)
    assert told["wide"] <= width  # nothing stands out at the side
    assert told["styled"] == "0px"
    assert told["before"] > told["after"] == 0
    assert (told["folded"], told["unfolded"]) == (True, True)
    assert (told["scripts"], told["images"], told["loaded"]) == (0, 0, 0)
    assert told["alerted"] is False


def test_fifty_thousand_findings_take_a_moment() -> None:
    begun = time.process_time()
    page = form.write(audit(findings=folder(50_000)))
    assert time.process_time() - begun < 10  # it took minutes when each asked all
    assert page.count("<li>") >= 50_000


def test_commands_are_set_as_code_and_prose_as_prose() -> None:
    told = (
        finding(WEAK, "/a", evidence="`ike` is <old>."),
        finding(OPEN, "/b", fix="chmod 600 '/b <x>'"),
        finding(OLD, "/c", fix="`chmod 600 /c`, then make it anew."),
    )
    page = form.write(audit(findings=told))
    assert "`" not in page
    assert "<code>ike</code> is &lt;old&gt;." in page
    assert "<code>ikewarden tunnel rotate</code> make one" in page
    assert "<code>chmod 600 &#x27;/b &lt;x&gt;&#x27;</code>" in page
    assert "<code>chmod 600 /c</code>, then make it anew." in page
    style = re.findall("<style>(.*)</style>", page, re.DOTALL)[0]
    assert not re.search(r"\.fix \{[^}]*background", style)


def test_sources_are_those_of_the_finding() -> None:
    told = finding(WEAK, "/a", references=("RFC 9206 §5",))
    page = form.write(audit(findings=(told,)))
    assert "RFC 9206 §5" in page
    assert "RFC 8247 §2" not in page
