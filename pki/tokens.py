"""Bearer tokens: made, listed, revoked. The secret is shown once; the database keeps its hash."""

import base64
from dataclasses import dataclass, field, replace
from datetime import datetime
from ipaddress import ip_network
from typing import Any, Final

from sqlalchemy import select, update

from core.errors import InvalidInput, NotFound
from core.secret import Secret
from pki import authorities, profiles
from pki.acme import reach
from pki.actors import Action, Actor, OutsideScope, Role, Scope, require
from pki.approvals import asked_for, require_approval
from pki.conditions import check_gateway
from pki.desk import Desk
from pki.guarded import Act, Guarded
from pki.identity import TOKEN_PREFIX, role_on_record, scope_on_record, token_hash
from pki.trail import leave
from pki.x509.names import NamePattern
from store.engine import Unit
from store.tables import tokens
from store.text import storable

_MAX_NAME = 100
# What a role may hand out: never more than it has itself. Gateways prove themselves by certificate only.
_MAY_GIVE: dict[Role, frozenset[Role]] = {
    Role.ADMIN: frozenset({Role.ADMIN, Role.OPERATOR, Role.APPROVER, Role.AUDITOR, Role.ENROLLER}),
    Role.OPERATOR: frozenset({Role.ENROLLER}),
}
# Who has one of these can do what the two-person rule is about, or is the second person.
_POWERFUL = frozenset({Role.ADMIN, Role.OPERATOR, Role.APPROVER})


class BadToken(InvalidInput):
    """A token that makes no sense."""

    code = "token_malformed"
    next_step = "Correct what is named here, and ask again."


class TokenNotFound(NotFound):
    """No token with this id."""

    code = "token_not_found"
    next_step = "`ikewarden token list` shows their ids (GET /v1/tokens)."


# What a scope on record permits that cannot be read.
_NOTHING: Final = Scope(profiles=(), authorities=(), names=(), networks=(), endpoints=())


@dataclass(frozen=True)
class TokenRequest:
    """What a new token shall be: None means unlimited. `uses` counts issued certificates."""

    name: str
    role: Role
    scope: Scope = field(default_factory=Scope)
    uses: int | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True)
class TokenView:
    """A token as it may be shown."""

    id: str
    name: str
    role: str
    scope: Scope
    uses_left: int | None
    created_by: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True)
class CreatedToken:
    """A new token with its secret, which is nowhere else. `binding`: of an enroller's, the key of external account
    bindings (RFC 8555 §7.3.4) whose kid is the token's id; `cmp`: of the same, the secret of a MAC in CMP (RFC 9810
    §5.1.3.1) whose senderKID is the token's id.
    """

    view: TokenView
    secret: Secret
    binding: Secret | None = None
    cmp: Secret | None = None


def binding_key(desk: Desk, token_id: str) -> Secret:
    """The key by which the holder of an enroller's token binds an ACME account to it.

    Derived from the seal, and so on no record: whoever reads the database can neither make nor check a binding.
    """
    return desk.derive(f"acme external account {token_id}")


def cmp_secret(desk: Desk, token_id: str) -> Secret:
    """The secret, as text, by which the holder of an enroller's token protects messages of CMP.

    Derived from the seal, and so on no record. Like a token it has 256 random bits: whoever records a message on its
    way finds nothing by guessing.
    """
    key = desk.derive(f"cmp shared secret {token_id}").reveal()
    return Secret(base64.urlsafe_b64encode(key).rstrip(b"=").decode())


def create(desk: Desk, actor: Actor, request: TokenRequest, *, now: datetime) -> CreatedToken:
    """Make a token. An enroller's token is limited in profile and uses, or it is refused.

    Raises RoleMayNot, OutsideScope (nobody gives more than he has), BadToken, BadGateway,
    InvalidNamePattern, and for a powerful role the errors of `pki.approvals`.
    """
    require(actor, Action.TOKEN_CREATE)
    _check(desk, actor, request, now)
    act = _act(request)
    secret = Secret(TOKEN_PREFIX + base64.urlsafe_b64encode(desk.entropy(32)).rstrip(b"=").decode())
    view = TokenView(
        id=desk.entropy(8).hex(),
        name=request.name.strip(),
        role=str(request.role),
        scope=request.scope,
        uses_left=request.uses,
        created_by=actor.name,
        created_at=now,
        expires_at=request.expires_at,
        revoked_at=None,
    )

    def work(unit: Unit) -> None:
        said = require_approval(unit, desk, actor, act, now=now)
        unit.insert(
            tokens,
            {
                "id": view.id,
                "name": view.name,
                "hash": token_hash(secret),
                "role": view.role,
                "scope": _document(view.scope),
                "uses_left": view.uses_left,
                "created_by": view.created_by,
                "created_at": now,
                "expires_at": view.expires_at,
                "revoked_at": None,
                "last_used_at": None,
            },
        )
        shown: dict[str, Any] = {"name": view.name, "role": view.role, **_limits(view), **said}
        leave(unit, actor, "token.create", f"token:{view.id}", now=now, **shown)

    with asked_for(desk, actor, now=now):
        desk.store.together(work)
    if request.role is not Role.ENROLLER:
        return CreatedToken(view, secret)
    return CreatedToken(view, secret, binding_key(desk, view.id), cmp_secret(desk, view.id))


def _limits(view: TokenView) -> dict[str, object]:
    """What the token is limited to, for whoever asks later what it could do."""
    expires = None if view.expires_at is None else f"{view.expires_at:%Y-%m-%dT%H:%M:%SZ}"
    found = {**_document(view.scope), "uses": view.uses_left, "expires_at": expires}
    return {name: value for name, value in found.items() if value is not None}


def _act(request: TokenRequest) -> Act:
    names = (Guarded.ROLE_CHANGE,) if request.role in _POWERFUL else ()
    whole = vars(replace(request, name=request.name.strip()))
    return Act(names, whole, makes_approver=request.role is Role.APPROVER)


def _check(desk: Desk, actor: Actor, request: TokenRequest, now: datetime) -> None:
    if request.role not in _MAY_GIVE.get(actor.role, frozenset()):
        raise OutsideScope(f"The role {actor.role} may not make a token of role {request.role}.")
    _check_within(actor.scope, request.scope)
    if not 1 <= len(request.name.strip()) <= _MAX_NAME or not request.name.isprintable():
        raise BadToken("A token needs a name of 1 to 100 printable characters.")
    if request.expires_at is not None and request.expires_at <= now:
        raise BadToken("The token would have expired already.")
    if request.uses is not None and not 1 <= request.uses <= 1_000_000:
        raise BadToken("A token has between 1 and 1,000,000 uses.")
    if request.uses is not None and request.role is not Role.ENROLLER:
        raise BadToken("Only an enroller's token counts its uses.")
    if request.role is Role.ENROLLER and (not request.scope.profiles or request.uses is None):
        raise BadToken(
            "An enroller's token is for named profiles and a number of uses.",
            next_step="Give profiles (--profile) and uses (--uses; 1 for a one-time token).",
        )
    if request.scope.endpoints is not None and request.role is not Role.ENROLLER:
        raise BadToken("Only an enroller's token is for named endpoints.")
    _check_scope(desk, request.scope)


def _check_scope(desk: Desk, scope: Scope) -> None:
    for profile in scope.profiles or ():
        profiles.load(desk, profile)
    for authority in scope.authorities or ():
        authorities.load(desk, authority)
    for pattern in scope.names or ():
        NamePattern.parse(pattern)
    for network in scope.networks or ():
        _check_network(network)
    for endpoint in scope.endpoints or ():
        if endpoint not in desk.rules.endpoints:
            raise BadToken(
                f"There is no enrollment endpoint {endpoint[:100]!r}.",
                next_step="`ikewarden enroll-endpoint list` shows them (GET /v1/enroll-endpoints).",
            )
    if scope.gateway is not None:
        check_gateway(scope.gateway)


def _check_network(text: str) -> None:
    try:
        ip_network(text)
    except ValueError:
        raise BadToken(
            f"{text[:100]!r} is no network.",
            next_step="Write networks as 10.0.0.0/8 or fd00:1::/32, with no bit set behind the prefix.",
        ) from None


def _check_within(own: Scope, given: Scope) -> None:
    passed = _limit_passed(own, given)
    if passed == "gateway":
        raise OutsideScope("Your own token belongs to one gateway; a new one must too.")
    if passed is not None:
        raise OutsideScope(f"Your own token is limited in {passed}; a new one must be within.")


def _limit_passed(own: Scope, given: Scope) -> str | None:
    """In what a scope goes beyond another one, if it does."""
    for what in ("profiles", "authorities", "names", "endpoints"):
        mine, theirs = getattr(own, what), getattr(given, what)
        if mine is not None and (theirs is None or not set(theirs) <= set(mine)):
            return what
    mine, theirs = own.networks, given.networks
    if mine is not None and (theirs is None or not reach.is_within(theirs, mine)):
        return "networks"
    return "gateway" if own.gateway not in (None, given.gateway) else None


def list_(desk: Desk, actor: Actor, *, after: str | None, limit: int) -> list[TokenView]:
    """List tokens by id, without secrets: those within the limits of the caller's own. Raises RoleMayNot."""
    require(actor, Action.TOKEN_READ)
    query = select(tokens).order_by(tokens.c.id)
    if after is not None:
        query = query.where(tokens.c.id > after)
    found: list[TokenView] = []
    few = query.execution_options(yield_per=limit)
    with desk.store.read() as connection, connection.execute(few) as rows:
        for row in rows:
            each = _view(row)
            if _limit_passed(actor.scope, each.scope) is None:
                found.append(each)
            if len(found) == limit:
                break
    return found


def get(desk: Desk, actor: Actor, token_id: str) -> TokenView:
    """Look at one token within the limits of the caller's own. Raises RoleMayNot, TokenNotFound."""
    require(actor, Action.TOKEN_READ)
    with desk.store.read() as connection:
        query = select(tokens).where(tokens.c.id == storable(token_id))
        row = connection.execute(query).one_or_none()
    if row is None or _limit_passed(actor.scope, _view(row).scope) is not None:
        raise TokenNotFound(f"There is no token {token_id[:100]!r}.")
    return _view(row)


def givable(role: Role) -> frozenset[Role]:
    """The roles of the tokens that somebody of this role makes and ends."""
    return _MAY_GIVE.get(role, frozenset())


def revoke(desk: Desk, actor: Actor, token_id: str, *, now: datetime) -> TokenView:
    """End a token at once; ending it again changes nothing. Raises RoleMayNot, OutsideScope, TokenNotFound."""
    require(actor, Action.TOKEN_REVOKE)

    def work(unit: Unit) -> TokenView:
        this = tokens.c.id == storable(token_id)
        row = unit.connection.execute(select(tokens).where(this)).one_or_none()
        if row is None:
            raise TokenNotFound(f"There is no token {token_id[:100]!r}.")
        # One that nobody can read is no use to anybody; an admin ends it all the same.
        role = role_on_record(row.role) or Role.ADMIN
        if role not in _MAY_GIVE.get(actor.role, frozenset()):
            raise OutsideScope(f"The role {actor.role} may not end a token of role {row.role}.")
        _check_within(actor.scope, scope_on_record(row.scope) or _NOTHING)
        if row.revoked_at is None:
            unit.connection.execute(update(tokens).where(this).values(revoked_at=now))
            leave(unit, actor, "token.revoke", f"token:{token_id}", now=now, name=row.name)
        return _view(row, revoked_at=row.revoked_at or now)

    return desk.store.together(work)


def _document(scope: Scope) -> dict[str, object]:
    return {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in vars(scope).items()
        if value is not None
    }


def _view(row: Any, *, revoked_at: datetime | None = None) -> TokenView:
    return TokenView(
        id=row.id,
        name=row.name,
        role=row.role,
        scope=scope_on_record(row.scope) or _NOTHING,
        uses_left=row.uses_left,
        created_by=row.created_by,
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=revoked_at or row.revoked_at,
    )
