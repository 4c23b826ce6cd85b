"""Pages as data: from these come Flask's rules, the menu and the role table; and what a page's view gets and gives."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Generic, Literal, TypeVar

from pydantic import ConfigDict

from api.console.language import Language
from api.registry import Nothing, Sent
from core.errors import NotAuthenticated
from pki.actors import GRANTS, PEOPLE, Action, Actor, Role
from pki.desk import Desk
from pki.sessions import Session

Body = TypeVar("Body")
Query = TypeVar("Query")


class Form(Sent):
    """What a form sends: every field a text, a number as it is written, an unchecked box left out. What nobody filled
    in counts as left out; `once` and `csrf` are taken off before. A form without fields of its own is this one.
    """

    model_config = ConfigDict(extra="forbid", strict=False, frozen=True, str_strip_whitespace=True)


@dataclass(frozen=True, slots=True)
class Visit(Generic[Body, Query]):
    """One decoded request for a page. `path` holds the values of the braces in the page's path; `here` is the path and
    query string as they came; `done` the code of what the page before did (`Redirect`), from a cookie, or empty.
    """

    desk: Desk
    session: Session | None
    now: datetime
    body: Body
    query: Query
    path: Mapping[str, str]
    here: str
    client: str
    language: Language
    csrf: str
    request_id: str
    theme: str = ""
    done: str = ""
    certificate: bytes | None = field(default=None, repr=False)
    cookies: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def actor(self) -> Actor:
        """Who is signed in. Raises NotAuthenticated on a public page."""
        if self.session is None:
            raise NotAuthenticated("This needs somebody who is signed in.")
        return self.session.actor

    def may(self, action: Action | str) -> bool:
        """Whether the role of who is signed in grants an action: for what is shown; operations decide themselves."""
        return self.session is not None and Action(action) in GRANTS[self.session.actor.role]

    def say(self, text: str, /, **values: object) -> str:
        """The text in the visitor's language, with `{name}` replaced."""
        return self.language.say(text).format(**values) if values else self.language.say(text)


@dataclass(frozen=True, slots=True)
class Screen:
    """A template with what it shows. In an answer to htmx only the block `part` of it is sent, where it is named."""

    template: str
    shown: Mapping[str, Any] = field(default_factory=dict)
    status: int = 200
    part: str = ""
    cookies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Redirect:
    """After a form: on to another page of ours (a path), which says what was done by the text of `done`. To sign in:
    on to the address of the OpenID provider.
    """

    to: str
    done: str = ""
    cookies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Download:
    """A file to keep."""

    content: bytes
    media_type: str
    filename: str


#: Characters of a form that is kept while its sender signs in; of a longer one nothing is.
MAX_KEPT: Final = 60_000

Answer = Screen | Redirect | Download


@dataclass(frozen=True)
class Page:
    """One method of one path.

    `action` None: anybody who is signed in, or anybody at all where it is `public`. A POST has a `form`. `live`: the
    page may be watched; its part is sent again whenever it has changed (`text/event-stream`). `menu` is the name under
    which it stands in the menu. `secret`: the answer holds a secret, and is never kept for a repetition.
    """

    method: Literal["GET", "POST"]
    path: str
    view: Callable[[Visit[Any, Any]], Answer]
    action: Action | None
    query: type[Sent] = Nothing
    form: type[Form] | None = None
    public: bool = False
    live: bool = False
    secret: bool = False
    menu: str = ""

    @property
    def rule(self) -> str:
        """The path as Flask writes it."""
        return re.sub(r"{(\w+)}", r"<\1>", self.path)

    @property
    def name(self) -> str:
        """A name for this page that no other has."""
        return f"console {self.method} {self.path}"

    @property
    def roles(self) -> list[Role]:
        """Who may call it; an operation may still refuse by scope."""
        return [
            role
            for role in Role
            if role in PEOPLE and (self.action is None or self.action in GRANTS[role])
        ]


#: What a page did, by code: shown once, on the page that it leads to. Each room adds its own (`tell`).
DONE: Final[dict[str, str]] = {}


def tell(**texts: str) -> None:
    """Add texts for `Redirect.done`; `-` in a code is written `_` here."""
    DONE.update({code.replace("_", "-"): text for code, text in texts.items()})


def text(said: str) -> str:
    """A text that is translated where it is shown (`|say`): so the test of the translations finds it."""
    return said


@dataclass(frozen=True)
class Mistake:
    """One field that does not fit: the text of its label, or its name where it has none; and what is wrong, as a text
    with places for `values`.
    """

    label: str
    words: str
    values: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Refused:
    """An error as a page shows it."""

    status: int
    title: str
    message: str
    next_step: str
    code: str
    request_id: str
    errors: tuple[Mistake, ...] = ()
    details: Mapping[str, object] = field(default_factory=dict)
