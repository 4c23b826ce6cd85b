"""Debian's Chromium on the console: what a person would do, and what he would see."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

from tests.fixtures.needs import left_out

CHROMIUM: Final = "/usr/bin/chromium"
#: Where pictures of the pages are kept: `.ci/run` names a folder.
PICTURES: Final = Path(os.environ.get("IKEWARDEN_PICTURES", "build/pictures"))
_SIZES: Final = ((1440, 900), (390, 844))
_SCHEMES: Final = ("light", "dark")


@contextmanager
def chromium(ca_file: Path, home: Path) -> Iterator[Browser]:
    """A Chromium that trusts this root and no other; `home` is a folder of its own."""
    store = home / ".pki" / "nssdb"
    store.mkdir(parents=True)
    where = ["-d", f"sql:{store}"]
    subprocess.run(["certutil", *where, "-N", "--empty-password"], check=True, timeout=60)
    trusted = ["-A", "-n", "root", "-t", "C,,", "-i", str(ca_file)]
    subprocess.run(["certutil", *where, *trusted], check=True, timeout=60)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu"],
            env={**_own_environment(), "HOME": str(home)},
        )
        try:
            yield browser
        finally:
            browser.close()


def _own_environment() -> Mapping[str, str]:
    # libfaketime in its processes would stop the browser's clocks.
    return {k: v for k, v in os.environ.items() if k not in {"LD_PRELOAD", "FAKETIME"}}


class Visitor:
    """Somebody at a screen. `complaints` are what the browser objected to: errors of scripts, what is forbidden.

    `elsewhere` is the one other host that he may come to: that of a provider.
    """

    def __init__(
        self, browser: Browser, url: str, name: str, *, elsewhere: str = "", **context: Any
    ) -> None:
        self.url = url
        self.name = name
        self._own = (url + "/", "data:", "blob:", *([elsewhere + "/"] if elsewhere else []))
        self.complaints: list[str] = []
        self._context = browser.new_context(
            viewport={"width": 1440, "height": 900}, color_scheme="light", **context
        )
        self._context.set_default_timeout(60_000)
        self.page: Page = self._context.new_page()
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        self._foreign: list[str] = []
        self.page.on("request", self._asked)

    def _heard(self, message: Any) -> None:
        # A page that is refused on purpose is told of as a failed resource.
        if (
            message.type == "error"
            and "the server responded with a status of 4" not in message.text
        ):
            self.complaints.append(message.text)

    def _asked(self, request: Any) -> None:
        if not request.url.startswith(self._own):
            self._foreign.append(request.url)

    def close(self) -> None:
        """Leave; nothing may have gone wrong on the way, and no other host was asked for anything."""
        self._context.close()
        assert self.complaints == []
        assert self._foreign == []

    def go(self, path: str) -> None:
        """Look at a path."""
        self.page.goto(self.url + path)

    def sign_in(self, token: str) -> None:
        """Sign in with a token."""
        self.go("/sign-in")
        self.page.get_by_label("Token").fill(token)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.wait_for_url(self.url + "/")

    def look(self, name: str) -> None:
        """Look closely at the page: with both widths and both schemes, a picture of each; nothing runs out of the side,
        and axe-core finds no barrier that is serious.
        """
        PICTURES.mkdir(parents=True, exist_ok=True)
        for width, height in _SIZES:
            for scheme in _SCHEMES:
                self.page.set_viewport_size({"width": width, "height": height})
                self.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
                self.page.wait_for_timeout(300)  # charts are drawn anew
                self.page.screenshot(
                    path=PICTURES / f"{self.name}-{name}-{width}-{scheme}.png", full_page=True
                )
                assert barriers(self.page) == [], f"{name} at {width} px, {scheme}"
                wide = self.page.evaluate("document.documentElement.scrollWidth - innerWidth")
                assert wide <= 0, f"{name} is {wide} px wider than {width} px"
        self.page.set_viewport_size({"width": 1440, "height": 900})
        self.page.emulate_media(color_scheme="light", reduced_motion="no-preference")


def barriers(page: Page) -> list[str]:
    """What axe-core calls serious or critical on the page."""
    found = Axe().run(page).response["violations"]
    return [
        f"{each['id']}: {each['help']}: {[node['html'][:160] for node in each['nodes'][:3]]}"
        for each in found
        if each["impact"] in {"serious", "critical"}
    ]


def required() -> None:
    """Skip where there is no Chromium; fail there with CI=true."""
    missing = [each for each in (CHROMIUM, "certutil") if shutil.which(each) is None]
    if missing:
        left_out(f"needs {' and '.join(missing)}")
