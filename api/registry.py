"""Routes as data: from these come Flask's rules, the OpenAPI document, the page at /docs and the
role table.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict

from api.bridge import Hold
from core.errors import NotAuthenticated
from pki.actors import GRANTS, Action, Actor, Role
from pki.desk import Desk

Method = Literal["GET", "POST", "PATCH", "DELETE"]
Body = TypeVar("Body")
Query = TypeVar("Query")
JSON = "application/json"


class Sent(BaseModel):
    """What a client sends: nothing is guessed, nothing unknown is let pass."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Shown(BaseModel):
    """What a client gets; fields may be added, so a client ignores what it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, from_attributes=True)


class Nothing(Sent):
    """No parameters, or an empty body."""


@dataclass(frozen=True, slots=True)
class Call(Generic[Body, Query]):
    """One decoded request on its way to an operation. `path` holds the values of the braces in
    the route's path, `known` the entity tags of If-None-Match, `client` the address that it came from.
    """

    desk: Desk
    caller: Actor | None
    now: datetime
    body: Body
    query: Query
    path: Mapping[str, str]
    known: frozenset[str] = frozenset()
    client: str = ""

    @property
    def actor(self) -> Actor:
        """Who calls. Raises NotAuthenticated on a public route, where nobody asked."""
        if self.caller is None:
            raise NotAuthenticated("This needs a caller.")
        return self.caller


@dataclass(frozen=True, slots=True)
class Reply:
    """What a view gives back: a model to be shown as JSON, or content of another media type.

    With `hold`, the answer may wait until what the caller knows has changed (api/front.py).
    """

    content: Shown | bytes
    status: int = 200
    media_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()
    hold: Hold | None = None


@dataclass(frozen=True)
class Route:
    """One method of one path.

    `action` None: any authenticated caller, or anybody at all where it is `public`. `answer` is a
    model, a media type, or empty where there is no content. `secret`: the
    answer to a POST holds a secret, so that it is never kept for a replay; `secret_body`: its body
    does, so that not even a digest of it is kept, which a weak value could be guessed from.
    `approval`: settings may want another person's approval of what it does. `example` is a body
    that the model accepts, shown in the reference. `forms` are media types that it can answer with too,
    where it is asked for them. `refusals` are statuses beside those that any
    route can answer with.
    """

    method: Method
    path: str
    view: Callable[[Call[Any, Any]], Reply]
    summary: str
    tag: str
    action: Action | None
    answer: type[Shown] | str
    body: type[Sent] | None = None
    query: type[Sent] = Nothing
    status: int = 200
    description: str = ""
    example: Mapping[str, object] = field(default_factory=dict)
    public: bool = False
    secret: bool = False
    secret_body: bool = False
    approval: bool = False
    forms: tuple[str, ...] = ()
    refusals: tuple[int, ...] = ()

    @property
    def rule(self) -> str:
        """The path as Flask writes it."""
        return re.sub(r"{(\w+)}", r"<\1>", self.path)

    @property
    def name(self) -> str:
        """A name for this route that no other has."""
        return f"{self.method} {self.path}"

    @property
    def operation_id(self) -> str:
        """The name as OpenAPI's operationId, which generators make functions from."""
        words = re.findall(r"\w+", self.path.removeprefix("/v1"))
        return "_".join([self.method.lower(), *words])

    @property
    def parameters(self) -> list[str]:
        """The names in the braces of the path."""
        return re.findall(r"{(\w+)}", self.path)

    @property
    def roles(self) -> list[Role]:
        """Who may call it; an operation may still refuse by scope. The scheduler calls from within only."""
        callers = [role for role in Role if role is not Role.SCHEDULER]
        return [role for role in callers if self.action is None or self.action in GRANTS[role]]
