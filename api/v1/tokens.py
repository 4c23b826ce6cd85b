"""Bearer tokens: made, listed, revoked."""

import base64
from datetime import datetime
from typing import Literal

from pydantic import Field

from api import cursors
from api.cursors import PageQuery
from api.registry import Call, Nothing, Reply, Route, Sent, Shown
from api.v1.certificates import When, Word
from pki import tokens
from pki.actors import Action, Role, Scope
from pki.tokens import TokenRequest, TokenView

_PATH = "/v1/tokens"
_TAG = "Tokens"


class CreateToken(Sent):
    """What the new token may do. Every limit left out means no limit beyond the role's."""

    name: Word = Field(
        description="Whom it is for; it stands in the audit log. Tokens of one name are one person's, as when one "
        "replaces another: nobody approves with one what was asked for with the other."
    )
    role: Literal["admin", "operator", "approver", "auditor", "enroller"]
    profiles: list[Word] | None = Field(default=None, max_length=100)
    authorities: list[Word] | None = Field(default=None, max_length=100)
    names: list[Word] | None = Field(
        default=None, max_length=100, description="Patterns: `dns:*.gw.example`, `ip:192.0.2.0/24`."
    )
    networks: list[Word] | None = Field(
        default=None,
        max_length=100,
        description="Of an ACME account with this token: in which of the networks that its endpoint opens beside the "
        "public ones its names are looked for, as `10.0.0.0/8`; in none where the list is empty. Left out: in all, "
        "unless the endpoint says `networks_by_token`.",
    )
    endpoints: list[Word] | None = Field(
        default=None,
        max_length=100,
        description="Of an enroller's token: the only enrollment endpoints through which it fetches certificates; not "
        "over REST then.",
    )
    gateway: Word | None = Field(
        default=None,
        description="The one gateway it is tied to: all that it reads and changes is that gateway's. What is of no "
        "single gateway, as the audit log, jobs and reports of the fleet, is refused (`outside_scope`).",
    )
    uses: int | None = Field(
        default=None, description="How many certificates; an enroller's token must say."
    )
    expires_at: When | None = None


class Token(Shown):
    """A token without its secret."""

    id: str
    name: str
    role: str
    profiles: list[str] | None
    authorities: list[str] | None
    names: list[str] | None
    networks: list[str] | None
    endpoints: list[str] | None
    gateway: str | None
    uses_left: int | None
    created_by: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


class CreatedToken(Token):
    """A new token with its secret, shown this once."""

    token: str = Field(description="Send it as Authorization: Bearer. It is kept nowhere.")
    eab_hmac_key: str | None = Field(
        description="Of an enroller's token: the key of external account bindings (RFC 8555 §7.3.4), in base64url; "
        "their kid is `id`. An ACME account that is bound with it uses the token up as a certificate would."
    )

    cmp_secret: str | None = Field(
        description="Of an enroller's token: the secret of message protection in CMP (RFC 9810 §5.1.3.1); the "
        "reference (senderKID) is `id`. A certificate that is fetched by it uses the token up as any other."
    )


class TokenPage(Shown):
    """Some tokens, by id."""

    items: list[Token]
    next_cursor: str | None


def _fields(view: TokenView) -> dict[str, object]:
    scope = {
        name: None if value is None else list(value)
        for name in ("profiles", "authorities", "names", "networks", "endpoints")
        for value in (getattr(view.scope, name),)
    }
    plain = {name: value for name, value in vars(view).items() if name != "scope"}
    return {**plain, **scope, "gateway": view.scope.gateway}


def create(call: Call[CreateToken, Nothing]) -> Reply:
    """Make a token."""
    body = call.body
    wanted = TokenRequest(
        name=body.name,
        role=Role(body.role),
        scope=Scope(
            profiles=None if body.profiles is None else tuple(body.profiles),
            authorities=None if body.authorities is None else tuple(body.authorities),
            names=None if body.names is None else tuple(body.names),
            gateway=body.gateway,
            networks=None if body.networks is None else tuple(body.networks),
            endpoints=None if body.endpoints is None else tuple(body.endpoints),
        ),
        uses=body.uses,
        expires_at=body.expires_at,
    )
    made = tokens.create(call.desk, call.actor, wanted, now=call.now)
    key = made.binding and base64.urlsafe_b64encode(made.binding.reveal()).rstrip(b"=").decode()
    secrets = {
        "token": made.secret.reveal().decode(),
        "eab_hmac_key": key,
        "cmp_secret": made.cmp and made.cmp.reveal().decode(),
    }
    shown = CreatedToken.model_validate({**_fields(made.view), **secrets})
    return Reply(shown, status=201)


def list_(call: Call[None, PageQuery]) -> Reply:
    """List tokens."""
    after = cursors.decode(_PATH, call.query.cursor, str)
    found = tokens.list_(call.desk, call.actor, after=after, limit=call.query.limit)
    last = found[-1].id if found else None
    cursor, headers = cursors.next_page(_PATH, call.query, found, last)
    items = [Token.model_validate(_fields(view)) for view in found]
    return Reply(TokenPage(items=items, next_cursor=cursor), headers=headers)


def revoke(call: Call[Nothing, Nothing]) -> Reply:
    """End a token."""
    ended = tokens.revoke(call.desk, call.actor, call.path["id"], now=call.now)
    return Reply(Token.model_validate(_fields(ended)))


ROUTES = (
    Route(
        method="POST",
        path=_PATH,
        view=create,
        summary="Make a token; its secret is shown this once",
        description=(
            "Nobody gives more than he has. An enroller's token names the profiles it is for and how many "
            "certificates it may fetch. A replay with the same Idempotency-Key is answered with 409 "
            "`idempotency_secret_not_replayable`, because the secret is kept nowhere."
        ),
        tag=_TAG,
        action=Action.TOKEN_CREATE,
        body=CreateToken,
        answer=CreatedToken,
        status=201,
        approval=True,
        secret=True,
        example={"name": "gw1", "role": "enroller", "profiles": ["gateway"], "uses": 1},
        refusals=(409, 422),
    ),
    Route(
        method="GET",
        path=_PATH,
        view=list_,
        summary="List tokens, without their secrets",
        tag=_TAG,
        action=Action.TOKEN_READ,
        query=PageQuery,
        answer=TokenPage,
        refusals=(422,),
    ),
    Route(
        method="POST",
        path=_PATH + "/{id}/revoke",
        view=revoke,
        summary="End a token at once",
        tag=_TAG,
        action=Action.TOKEN_REVOKE,
        body=Nothing,
        answer=Token,
        refusals=(404, 422),
    ),
)
