"""Tokens: listed, made, ended. A secret is on one page, once."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

from pydantic import Field

from api import cursors
from api.console import acting
from api.console.acting import told
from api.console.lists import ROWS, ListSearch, Search, behind
from api.console.mending import WORTH_KEEPING, again
from api.console.page import Answer, Form, Page, Redirect, Screen, Visit, tell, text
from api.console.render import link
from api.console.tones import Tone
from api.registry import Nothing
from pki import profiles, tokens
from pki.actors import Action, Role, Scope
from pki.approvals import ApprovalRequired
from pki.tokens import CreatedToken, TokenRequest, TokenView

PATH: Final = "/tokens"
_STATES: Final[Mapping[str, Tone]] = {
    "valid": Tone("good", text("Valid")),
    "used": Tone("off", text("Used up")),
    "expired": Tone("off", text("Expired")),
    "revoked": Tone("bad", text("Revoked")),
}
#: What each role is for.
ROLES: Final[Mapping[Role, str]] = {
    Role.AUDITOR: text("Auditor: reads everything but secrets"),
    Role.OPERATOR: text("Operator: fleet and certificates"),
    Role.ENROLLER: text("Enroller: fetches certificates of named profiles"),
    Role.APPROVER: text("Approver: the second person"),
    Role.ADMIN: text("Admin: everything but the second person's part"),
}
_LISTS: Final = ("profiles", "authorities", "names", "networks", "endpoints")


class TokenForm(Form):
    """What the new token may do; a list has a line for each entry."""

    name: str = Field(default="", max_length=200)
    role: str = Field(default="", max_length=20)
    profiles: str | None = Field(default=None, max_length=20_000)
    authorities: str | None = Field(default=None, max_length=20_000)
    names: str | None = Field(default=None, max_length=20_000)
    networks: str | None = Field(default=None, max_length=20_000)
    endpoints: str | None = Field(default=None, max_length=20_000)
    gateway: str | None = Field(default=None, max_length=200)
    uses: str | None = Field(default=None, max_length=18)
    expires: str | None = Field(default=None, max_length=40)
    approval: str | None = Field(default=None, max_length=18)


class Prefilled(Search):
    """The form as it was sent when another person had to approve it first."""

    name: str = Field(default="", max_length=200)
    role: str = Field(default="", max_length=20)
    profiles: str = Field(default="", max_length=20_000)
    authorities: str = Field(default="", max_length=20_000)
    names: str = Field(default="", max_length=20_000)
    networks: str = Field(default="", max_length=20_000)
    endpoints: str = Field(default="", max_length=20_000)
    gateway: str = Field(default="", max_length=200)
    uses: str = Field(default="", max_length=18)
    expires: str = Field(default="", max_length=40)
    approval: str = Field(default="", max_length=18)


@dataclass(frozen=True)
class _Row:
    """A token in a list. `limits` are those that it has, by name."""

    view: TokenView
    state: Tone
    limits: tuple[tuple[str, str], ...]
    own: bool
    end_at: str | None


def _row(visit: Visit[Any, Any], view: TokenView) -> _Row:
    state = "valid"
    if view.revoked_at is not None:
        state = "revoked"
    elif view.expires_at is not None and view.expires_at <= visit.now:
        state = "expired"
    elif view.uses_left == 0:
        state = "used"
    limits = [
        (each.name, ", ".join(given) if isinstance(given, tuple) else given)
        for each in fields(Scope)
        if (given := getattr(view.scope, each.name)) is not None
    ]
    if view.uses_left is not None:
        limits.append(("uses", str(view.uses_left)))
    ends = visit.may(Action.TOKEN_REVOKE) and view.role in tokens.givable(visit.actor.role)
    return _Row(
        view=view,
        state=_STATES[state],
        limits=tuple(limits),
        own=view.id == visit.actor.token_id,
        end_at=link(f"{PATH}/{view.id}/revoke") if ends and state == "valid" else None,
    )


def list_(visit: Visit[None, ListSearch]) -> Answer:
    """All tokens that somebody may see, without their secrets."""
    after = cursors.decode(PATH, visit.query.cursor, str)
    found = tokens.list_(visit.desk, visit.actor, after=after, limit=ROWS)
    shown = {
        "rows": [_row(visit, each) for each in found],
        "first": PATH if after else None,
        "more": behind(visit, PATH, found, found[-1].id if found else None),
    }
    return Screen("tokens/list.html", shown)


def ask(visit: Visit[None, Prefilled]) -> Answer:
    """The page to make a token."""
    return Screen("tokens/create.html", _choices(visit, visit.query.model_dump()))


def _choices(visit: Visit[Any, Any], typed: Mapping[str, Any]) -> dict[str, Any]:
    known = told(visit, Action.PROFILE_READ, lambda: profiles.list_(visit.desk, visit.actor)) or []
    waits = str(typed.get("approval") or "")
    may = tokens.givable(visit.actor.role)
    return {
        "typed": {name: typed.get(name) or "" for name in TokenForm.model_fields},
        "roles": [(str(role), said) for role, said in ROLES.items() if role in may],
        "profiles": [each.name for each in known if not each.internal],
        "chosen": acting.lines(typed.get("profiles")),
        "waits": waits,
        "approval": acting.approval(visit, acting.number("approval", waits or None)),
    }


def create(visit: Visit[TokenForm, Nothing]) -> Answer:
    """Make a token, and show its secret this once."""
    sent = visit.body
    try:
        actor = acting.with_approval(visit, sent.approval)
        made = tokens.create(visit.desk, actor, _request(sent), now=visit.now)
    except ApprovalRequired as missing:
        kept = sent.model_dump() | {"approval": missing.details.get("approval")}
        return Redirect(link(PATH + "/create", **kept), "approval-asked")
    except WORTH_KEEPING as error:
        return again(visit, error, "tokens/create.html", _choices(visit, sent.model_dump()))
    return Screen("tokens/made.html", {"row": _row(visit, made.view), **_secrets(made)})


def _request(sent: TokenForm) -> TokenRequest:
    if sent.role not in ROLES:
        raise acting.wrong("role", "Choose a role.")
    limits: dict[str, Any] = {name: acting.lines(getattr(sent, name)) or None for name in _LISTS}
    return TokenRequest(
        name=sent.name,
        role=Role(sent.role),
        scope=Scope(gateway=sent.gateway, **limits),
        uses=acting.number("uses", sent.uses),
        expires_at=acting.moment("expires", sent.expires),
    )


def _secrets(made: CreatedToken) -> dict[str, str | None]:
    binding = made.binding and base64.urlsafe_b64encode(made.binding.reveal()).rstrip(b"=").decode()
    return {
        "token": made.secret.reveal().decode(),
        "binding": binding,
        "cmp": made.cmp and made.cmp.reveal().decode(),
    }


def ask_end(visit: Visit[None, Nothing]) -> Answer:
    """The page that shows which token ends."""
    return Screen("tokens/revoke.html", _ending(visit))


def _ending(visit: Visit[Any, Any]) -> dict[str, Any]:
    found = tokens.get(visit.desk, visit.actor, visit.path["id"])
    return {"row": _row(visit, found), "target": link(f"{PATH}/{found.id}/revoke")}


def end(visit: Visit[Form, Nothing]) -> Answer:
    """End a token."""
    try:
        tokens.revoke(visit.desk, visit.actor, visit.path["id"], now=visit.now)
    except WORTH_KEEPING as error:
        return again(visit, error, "tokens/revoke.html", _ending(visit))
    return Redirect(PATH, "credential-ended")


tell(credential_ended="The token is revoked.")

PAGES: tuple[Page, ...] = (
    Page("GET", PATH, list_, Action.TOKEN_READ, query=ListSearch),
    Page("GET", PATH + "/create", ask, Action.TOKEN_CREATE, query=Prefilled),
    Page("POST", PATH + "/create", create, Action.TOKEN_CREATE, form=TokenForm, secret=True),
    Page("GET", PATH + "/{id}/revoke", ask_end, Action.TOKEN_REVOKE),
    Page("POST", PATH + "/{id}/revoke", end, Action.TOKEN_REVOKE, form=Form),
)
