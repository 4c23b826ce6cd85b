"""A browser without a screen: it keeps cookies, follows redirects, and sends forms with all that the page put in."""

import http.client
from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urlencode, urljoin, urlsplit

from tests.api.serving import Listening
from tests.api.site import ClientCertificate


@dataclass
class FoundForm:
    """A form of a page: where it goes, what it has filled in."""

    action: str
    method: str
    fields: dict[str, str] = field(default_factory=dict)
    buttons: list[str] = field(default_factory=list)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[FoundForm] = []
        self.links: list[str] = []
        self.text: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self._inside: FoundForm | None = None
        self._select: str | None = None
        self._area: str | None = None
        self._silent = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.attributes += [(tag, name, value) for name, value in given.items()]
        if tag == "form":
            self._inside = FoundForm(given.get("action", ""), given.get("method", "get").lower())
            self.forms.append(self._inside)
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag in {"script", "style"}:
            self._silent += 1
        if self._inside is None or "name" not in given:
            return
        name = given["name"]
        if tag == "input" and (
            given.get("type") not in {"checkbox", "radio"} or "checked" in given
        ):
            self._inside.fields[name] = given.get("value", "")
        if tag == "button":
            self._inside.buttons.append(name)
        if tag == "textarea":
            self._area, self._inside.fields[name] = name, ""
        if tag == "select":
            self._select = name
            self._inside.fields.setdefault(name, "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._inside = None
        if tag == "select":
            self._select = None
        if tag == "textarea":
            self._area = None
        if tag in {"script", "style"}:
            self._silent -= 1

    def handle_data(self, data: str) -> None:
        if self._area is not None and self._inside is not None:
            self._inside.fields[self._area] += data
        if not self._silent and data.strip():
            self.text.append(" ".join(data.split()))


class _Options(HTMLParser):
    """The chosen option of each select: the selected one, else the first."""

    def __init__(self) -> None:
        super().__init__()
        self.chosen: dict[str, str] = {}
        self._name = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "select":
            self._name = given.get("name", "")
        if tag == "option" and ("selected" in given or self._name not in self.chosen):
            self.chosen[self._name] = given.get("value", "")


@dataclass(frozen=True)
class Page:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    cookies: tuple[str, ...]
    html: str
    path: str

    @property
    def _read(self) -> _Reader:
        reader = _Reader()
        reader.feed(self.html)
        return reader

    @property
    def text(self) -> str:
        """What a reader sees, with single spaces."""
        return " ".join(self._read.text)

    @property
    def links(self) -> list[str]:
        """Where its links lead."""
        return self._read.links

    @property
    def attributes(self) -> list[tuple[str, str, str]]:
        """All attributes: (element, name, value)."""
        return self._read.attributes

    @property
    def forms(self) -> list[FoundForm]:
        """Its forms as they stand."""
        options = _Options()
        options.feed(self.html)
        found = self._read.forms
        for one in found:
            for name in one.fields:
                if name in options.chosen:
                    one.fields[name] = options.chosen[name]
        return found

    def form(self, action: str) -> FoundForm:
        """The first form whose action begins with this path."""
        for one in self.forms:
            if (one.action or self.path).startswith(action):
                return one
        raise AssertionError(
            f"no form for {action} among {[f.action for f in self.forms]}: {self.text[:500]}"
        )


class Browser:
    """One browser with its cookies. `language` is what it asks for."""

    def __init__(
        self,
        serving: Listening,
        *,
        language: str = "en",
        certificate: ClientCertificate | None = None,
    ) -> None:
        self.cookies: dict[str, str] = {}
        self.language = language
        self.origin = f"https://localhost:{serving.port}"
        self.connection = http.client.HTTPSConnection(
            "localhost", serving.port, context=serving.site.trust(certificate), timeout=60
        )

    def close(self) -> None:
        """Hang up."""
        self.connection.close()

    def send(
        self,
        method: str,
        path: str,
        fields: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Page:
        """One request as a browser makes it, and its answer as it is."""
        given = {
            "Accept": "text/html,application/xhtml+xml",
            "Accept-Language": self.language,
            "Sec-Fetch-Site": "same-origin",
        }
        if self.cookies:
            given["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        body = None
        if fields is not None:
            body = urlencode(fields)
            given["Content-Type"] = "application/x-www-form-urlencoded"
            given["Origin"] = self.origin
        given |= headers or {}
        wanted = {name: value for name, value in given.items() if value}
        self.connection.request(method, path, body=body, headers=wanted)
        answer = self.connection.getresponse()
        content = answer.read().decode("utf-8", "replace")
        cookies = tuple(
            value for name, value in answer.getheaders() if name.lower() == "set-cookie"
        )
        for cookie in cookies:
            name, _, rest = cookie.partition("=")
            value = rest.partition(";")[0]
            if "max-age=0" in cookie.lower():
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = value
        found = {name.lower(): value for name, value in answer.getheaders()}
        return Page(answer.status, found, cookies, content, path)

    def get(self, path: str, **headers: str) -> Page:
        """Look at a path, and go where it leads."""
        page = self.send("GET", path, headers=headers)
        return self.follow(page)

    def follow(self, page: Page) -> Page:
        """Go on where a redirect leads."""
        for _ in range(5):
            if page.status not in {302, 303}:
                return page
            target = urljoin(self.origin + page.path, page.headers["location"])
            assert target.startswith(self.origin), target
            parts = urlsplit(target)
            page = self.send("GET", parts.path + (f"?{parts.query}" if parts.query else ""))
        raise AssertionError("it leads in a circle")

    def fill(self, page: Page, action: str, **fields: str) -> Page:
        """Fill in a form of the page and send it; gives the answer as it is (`follow` goes on)."""
        form = page.form(action)
        target = form.action or page.path
        return self.send("POST", target, {**form.fields, **fields})

    def submit(self, page: Page, action: str, **fields: str) -> Page:
        """The same, and go where it leads."""
        return self.follow(self.fill(page, action, **fields))

    def sign_in(self, token: str) -> Page:
        """Sign in with a token."""
        return self.fill(self.get("/sign-in"), "/sign-in", token=token)
