"""The way in and out: sign in with a token, go on with a form that came too late, sign out, language and theme."""

from typing import Literal

from pydantic import Field

from api.console import cookies
from api.console.door import session_of
from api.console.mending import again
from api.console.page import MAX_KEPT, Answer, Form, Page, Redirect, Screen, Visit, tell
from api.problems import status_of
from api.registry import Nothing, Sent
from core.errors import IkewardenError
from core.secret import Secret
from pki import sessions

_MAX: int = 4000


class SignInQuery(Sent):
    """Where to go afterwards."""

    next: str = Field(default="", max_length=_MAX)


class EntryForm(Form):
    """Where to go. `kept` are the fields, as a query string, of a form for `kept_for` that came after the session."""

    next: str = Field(default="", max_length=_MAX)
    kept_for: str = Field(default="", max_length=_MAX)
    kept: str = Field(default="", max_length=MAX_KEPT)


class SignInForm(EntryForm):
    """A token, and where to go."""

    token: str = Field(default="", max_length=300)


class ViewForm(Form):
    """What somebody wants to see; `next` is the page that he is on."""

    language: Literal["en", "zh"]
    theme: Literal["light", "dark"] | None = None
    next: str = Field(default="/", max_length=_MAX)


def ask(visit: Visit[None, SignInQuery]) -> Answer:
    """The page to sign in."""
    shown = {"next": visit.query.next, "error": None, "kept": "", "kept_for": ""}
    return Screen("sign_in.html", shown)


def sign_in(visit: Visit[SignInForm, Nothing]) -> Answer:
    """Begin a session, and go where somebody was going."""
    sent = visit.body
    try:
        opened = sessions.sign_in_with_token(
            visit.desk,
            Secret(sent.token.strip()),
            client=visit.client,
            now=visit.now,
            request_id=visit.request_id,
            before=cookies.read_session(visit.cookies),
        )
    except IkewardenError as error:
        if status_of(error) >= 500:
            raise
        shown = {"next": sent.next, "kept": sent.kept, "kept_for": sent.kept_for}
        return again(visit, error, "sign_in.html", shown)
    return entered(opened, next=sent.next, kept_for=sent.kept_for, kept=sent.kept)


def entered(opened: sessions.Opened, *, next: str, kept_for: str = "", kept: str = "") -> Answer:
    """What somebody sees who has signed in: where he was going, or the form that he had filled in."""
    cookie = (cookies.session(opened.secret),)
    target = local(kept_for)
    if kept and target != "/":
        shown = {"target": target, "kept": kept, "csrf": cookies.csrf(opened.secret)}
        return Screen("resume.html", shown, cookies=cookie)
    return Redirect(local(next), cookies=cookie)


def sign_out(visit: Visit[Form, Nothing]) -> Answer:
    """End the session."""
    sessions.end(visit.desk, session_of(visit), now=visit.now)
    return Redirect("/sign-in", "signed-out", cookies=(cookies.gone(cookies.SESSION),))


def choose(visit: Visit[ViewForm, Nothing]) -> Answer:
    """Keep language and theme."""
    sent = visit.body
    return Redirect(local(sent.next), cookies=(cookies.view(sent.language, sent.theme or ""),))


def local(path: str) -> str:
    """A path of ours; whatever could lead elsewhere becomes `/`.

    Browsers take `\\` for `/`, and leave out tabs and line ends; `//host` is another host.
    """
    plain = path.isprintable() and path.isascii() and "\\" not in path
    return path if plain and path.startswith("/") and not path.startswith("//") else "/"


tell(signed_out="You are signed out.")

PAGES: tuple[Page, ...] = (
    Page("GET", "/sign-in", ask, None, query=SignInQuery, public=True),
    Page("POST", "/sign-in", sign_in, None, form=SignInForm, public=True, secret=True),
    Page("POST", "/sign-out", sign_out, None, form=Form),
    Page("POST", "/view", choose, None, form=ViewForm, public=True),
)
