"""The site of the documentation: built strictly, and read without asking any other host."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.docs.blocks import ROOT
from tests.fixtures.needs import left_out

CHROMIUM = shutil.which("chromium")
_CSS_URL = re.compile(r"(?:url\(|@import)\s*['\"]?\s*(?:https?:)?//", re.I)


def build(pages: Path, out: Path) -> subprocess.CompletedProcess[str]:
    """What `make docs` does, with `pages` for the folder of pages."""
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-c", str(ROOT / "docs" / "site")]
    return subprocess.run(
        [*command, "-W", "--keep-going", "-q", str(pages), str(out)],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    built = build(ROOT / "docs", out)
    assert built.returncode == 0, built.stderr
    return out


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        left_out("needs Debian's chromium")
    with sync_playwright() as playwright:
        # No process of it is root's sandbox helper; it reads files of our own alone.
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


class _Fetched(HTMLParser):
    """What a browser fetches by itself for a page; links that a reader may follow are none of it."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.found += [given[name] for name in ("src", "srcset", "data", "poster") if name in given]
        if tag == "link":
            self.found.append(given.get("href", ""))
        assert not _CSS_URL.search(given.get("style", ""))


def test_no_page_asks_another_host(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 80
    for page in pages:
        fetched = _Fetched()
        fetched.feed(page.read_text("utf-8"))
        assert not [each for each in fetched.found if re.match(r"(?:https?:)?//", each)], page
    for style in site.rglob("*.css"):
        assert not _CSS_URL.search(style.read_text("utf-8")), style


@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_read_and_searched_from_a_folder(
    site: Path, browser: Browser, width: int, scheme: str
) -> None:
    asked: list[str] = []
    complaints: list[str] = []
    context = browser.new_context(
        viewport={"width": width, "height": 900},
        color_scheme="dark" if scheme == "dark" else "light",
    )
    page = context.new_page()
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    for name in ("index", "how-to/rotate", "reference/rest", "explanation/architecture"):
        page.goto(f"file://{site}/{name}.html")
        # Nothing but a table or a block of code is to be moved sideways.
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", ground)[:3])) > 380) == (scheme == "light")
    page.goto(f"file://{site}/search.html?q=rotation")
    page.wait_for_selector("#search-results li a")
    assert "How a shared secret is rotated" in page.inner_text("#search-results")
    assert not complaints
    assert not [url for url in asked if not url.startswith(("file:", "data:"))]
    context.close()


_INDEX = "# A\n\n[b](b.md)\n"


@pytest.mark.parametrize(
    ("page", "told"),
    [
        ("# B\n\n[c](c.md)\n", "c.md"),
        ("# B\n\n[a](index.md#nothing)\n", "nothing"),
        ("# B\n\n[file](keys/none.toml)\n", "none.toml"),
        ("# B\n\n![](none.svg)\n", "none.svg"),
    ],
)
def test_what_leads_nowhere_is_an_error(tmp_path: Path, page: str, told: str) -> None:
    (tmp_path / "pages" / "part").mkdir(parents=True)
    (tmp_path / "pages" / "index.md").write_text("# Top\n\n[part](part/index.md)\n")
    (tmp_path / "pages" / "part" / "index.md").write_text(_INDEX)
    (tmp_path / "pages" / "part" / "b.md").write_text("# B\n")
    assert build(tmp_path / "pages", tmp_path / "right").returncode == 0
    (tmp_path / "pages" / "part" / "b.md").write_text(page)
    built = build(tmp_path / "pages", tmp_path / "wrong")
    assert built.returncode == 1
    assert told in built.stderr


def test_a_page_that_no_list_names_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "index.md").write_text("# Top\n")
    (tmp_path / "pages" / "lost.md").write_text("# Lost\n")
    built = build(tmp_path / "pages", tmp_path / "wrong")
    assert built.returncode == 1
    assert "lost.md" in built.stderr
