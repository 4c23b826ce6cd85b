"""Accounts of ACME (RFC 8555 §7.3): registered with a key, bound to an enroller's token, changed, deactivated."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import exists, insert, select, update

from pki import tokens
from pki.acme import jws, limits
from pki.acme.jws import Envelope, PublicJwk
from pki.acme.refusals import (
    AccountRefused,
    AccountUnknown,
    AlgorithmRefused,
    ContactRefused,
    ContactUnsupported,
    ExternalAccountRefused,
    ExternalAccountRequired,
    KeyRefused,
    KeyTaken,
    RequestMalformed,
)
from pki.actors import Action, Actor, Role, Scope, require
from pki.desk import Desk
from pki.endpoints import AcmeDoor, Endpoint
from pki.identity import TokenRefused, TokenUsedUp, enroller_by_id, scope_of_token, use_up
from pki.trail import leave
from pki.x509.signing import PublicKey
from store.acme_tables import acme_accounts
from store.engine import Unit
from store.errors import Duplicate

VALID: Final = "valid"
DEACTIVATED: Final = "deactivated"
_MAILBOX: Final = re.compile(r"[^\s@,?%\x00-\x1f]{1,64}@[A-Za-z0-9.-]{1,255}")
_MOST_CONTACTS: Final = 10


@dataclass(frozen=True)
class Account:
    """An account; `jwk` is the public key that signs for it, `token_id` the token that it is bound to."""

    id: int
    endpoint: str
    thumbprint: str
    jwk: Mapping[str, str]
    state: str
    contacts: tuple[str, ...]
    token_id: str | None
    created_at: datetime

    @property
    def key(self) -> PublicJwk:
        """Its key, to verify with."""
        return jws.known_jwk(dict(self.jwk))


@dataclass(frozen=True)
class Registration:
    """What a client sends to register; `binding` is its externalAccountBinding, and `url` where it was sent to."""

    key: PublicJwk
    contacts: tuple[str, ...]
    binding: object
    url: str


def find(desk: Desk, through: Endpoint, number: int) -> Account:
    """Find the account that signs. Raises AccountUnknown, AccountRefused for one that may not any more."""
    this = select(acme_accounts).where(
        acme_accounts.c.id == number, acme_accounts.c.endpoint == through.name
    )
    return _usable(_read(desk, this))


def find_by_key(desk: Desk, through: Endpoint, key: PublicJwk) -> Account:
    """Find the account of a key (RFC 8555 §7.3.1). Raises as `find` does."""
    return _usable(_read(desk, _of_key(through, key)))


def has_key(desk: Desk, key: PublicKey) -> bool:
    """Whether any account, at whatever endpoint, has this key."""
    thumbprint = jws.thumbprint_of(key)
    if thumbprint is None:
        return False
    with desk.store.read() as connection:
        of = exists().where(
            acme_accounts.c.endpoint.in_(desk.rules.endpoints),
            acme_accounts.c.thumbprint == thumbprint,
        )
        return bool(connection.scalar(select(of)))


def _of_key(through: Endpoint, key: PublicJwk) -> Any:
    return select(acme_accounts).where(
        acme_accounts.c.endpoint == through.name, acme_accounts.c.thumbprint == key.thumbprint
    )


def _read(desk: Desk, query: Any) -> Account | None:
    with desk.store.read() as connection:
        row = connection.execute(query).one_or_none()
    return None if row is None else _account(row)


def _usable(found: Account | None) -> Account:
    if found is None:
        raise AccountUnknown("There is no such account.")
    if found.state != VALID:
        raise AccountRefused("This account was deactivated.")  # RFC 8555 §7.3.6
    return found


def actor_of(
    desk: Desk, through: Endpoint, account: Account, request_id: str, now: datetime
) -> Actor:
    """Who an account is, and what it may ask for now.

    Raises AccountRefused where its token was revoked, ExternalAccountRequired where it has none and the endpoint now
    wants one.
    """
    scope = Scope(profiles=(through.profile,))
    if account.token_id is not None:
        try:
            scope = scope_of_token(desk, account.token_id, now=now)
        except TokenRefused:
            raise AccountRefused("The token that this account is bound to was revoked.") from None
    elif _door(through).external_account:
        raise ExternalAccountRequired("This account is bound to no token, and here it must be.")
    return Actor(
        name=f"acme account {account.id}",
        role=Role.ENROLLER,
        credential=f"acme:{account.id}",
        scope=scope,
        request_id=request_id,
    )


def register(
    desk: Desk, through: Endpoint, asked: Registration, request_id: str, *, now: datetime
) -> tuple[Account, bool]:
    """Register an account, or find the one that the key has; tell whether it is new (RFC 8555 §7.3).

    Raises AccountRefused, ExternalAccountRequired, ExternalAccountRefused, ContactRefused, ContactUnsupported,
    LimitReached, KeyRefused.
    """
    known = _read(desk, _of_key(through, asked.key))
    if known is not None:
        return _usable(known), False
    contacts = check_contacts(asked.contacts)
    actor = _bound(desk, through, asked, request_id, now)
    require(actor, Action.CERTIFICATE_ISSUE)
    row: dict[str, Any] = {
        "endpoint": through.name,
        "thumbprint": asked.key.thumbprint,
        "jwk": dict(asked.key.document),
        "state": VALID,
        "contacts": list(contacts),
        "token_id": actor.token_id,
        "created_at": now,
    }

    def work(unit: Unit) -> Account:
        limits.check_accounts(unit.connection, through.name, _door(through), now)
        use_up(unit, actor, now)
        made = insert(acme_accounts).values(**row).returning(acme_accounts)
        account = _account(unit.connection.execute(made).one())
        about = {"endpoint": through.name, "thumbprint": account.thumbprint}
        leave(unit, actor, "acme.account.create", _about(account), now=now, **about)
        return account

    try:
        return desk.store.together(work), True
    except Duplicate:  # the same, a moment ago
        return find_by_key(desk, through, asked.key), False
    except TokenUsedUp:
        raise _refused() from None


def _bound(
    desk: Desk, through: Endpoint, asked: Registration, request_id: str, now: datetime
) -> Actor:
    if asked.binding is None:
        if _door(through).external_account:
            raise ExternalAccountRequired("This endpoint wants an external account binding.")
        return Actor(
            "acme client", Role.ENROLLER, "acme", Scope(profiles=(through.profile,)), request_id
        )
    try:
        binding = jws.read_binding(asked.binding)
    except (RequestMalformed, AlgorithmRefused):
        raise _refused() from None
    kid = binding.header.get("kid")
    if not isinstance(kid, str) or not _is_binding(desk, binding, kid, asked):
        raise _refused()
    try:
        actor = enroller_by_id(desk, kid, now=now, request_id=request_id)
    except TokenRefused as refused:
        raise _refused() from refused
    if through.profile not in (actor.scope.profiles or ()):
        raise _refused()
    return actor


def _is_binding(desk: Desk, binding: Envelope, kid: str, asked: Registration) -> bool:
    """RFC 8555 §7.3.4: a MAC over the account's key, for this URL. Any kid has a key, so unknown ones take as long."""
    authentic = binding.is_by(tokens.binding_key(desk, kid))
    if not authentic or binding.header.get("url") != asked.url or "nonce" in binding.header:
        return False
    try:
        return jws.public_jwk(json.loads(binding.payload)).thumbprint == asked.key.thumbprint
    except (ValueError, RecursionError, KeyRefused):
        return False


def _refused() -> ExternalAccountRefused:
    """One answer, whatever is wrong with it."""
    return ExternalAccountRefused("The external account binding is not valid.")


def check_contacts(contacts: tuple[str, ...]) -> tuple[str, ...]:
    """The contacts themselves. Raises ContactUnsupported, ContactRefused (RFC 8555 §7.3)."""
    if len(contacts) > _MOST_CONTACTS:
        raise ContactRefused(f"There are more than {_MOST_CONTACTS} contacts.")
    for each in contacts:
        kind, colon, mailbox = each.partition(":")
        if not colon or kind.lower() != "mailto":
            raise ContactUnsupported("Contacts are mailto: addresses.")
        if not _MAILBOX.fullmatch(mailbox) or not mailbox.isprintable():
            raise ContactRefused("A contact is no mailbox of the form user@host.")
    return contacts


def update_contacts(
    desk: Desk, actor: Actor, account: Account, contacts: tuple[str, ...], *, now: datetime
) -> Account:
    """Change the contacts (RFC 8555 §7.3.2). Raises RoleMayNot, ContactRefused, ContactUnsupported."""
    require(actor, Action.CERTIFICATE_ISSUE)
    values = {"contacts": list(check_contacts(contacts))}
    _change(desk, actor, account, values, "acme.account.update", now)
    return replace(account, contacts=contacts)


def deactivate(desk: Desk, actor: Actor, account: Account, *, now: datetime) -> Account:
    """End an account for good (RFC 8555 §7.3.6). Raises RoleMayNot."""
    require(actor, Action.CERTIFICATE_ISSUE)
    _change(desk, actor, account, {"state": DEACTIVATED}, "acme.account.deactivate", now)
    return replace(account, state=DEACTIVATED)


def change_key(
    desk: Desk, actor: Actor, account: Account, key: PublicJwk, *, now: datetime
) -> Account:
    """Give an account another key (RFC 8555 §7.3.5). Raises RoleMayNot, KeyTaken with the number of who has it."""
    require(actor, Action.CERTIFICATE_ISSUE)
    if key.thumbprint == account.thumbprint:
        raise _taken(desk, account, key)
    values = {"thumbprint": key.thumbprint, "jwk": dict(key.document)}
    try:
        _change(desk, actor, account, values, "acme.account.key", now)
    except Duplicate:
        raise _taken(desk, account, key) from None
    return replace(account, thumbprint=key.thumbprint, jwk=key.document)


def _taken(desk: Desk, account: Account, key: PublicJwk) -> KeyTaken:
    holder = select(acme_accounts.c.id).where(
        acme_accounts.c.endpoint == account.endpoint, acme_accounts.c.thumbprint == key.thumbprint
    )
    with desk.store.read() as connection:
        number = connection.scalar(holder)
    # None: who had it has given it up since.
    return KeyTaken("The key is that of an account.", details={"account": number or account.id})


def _change(
    desk: Desk, actor: Actor, account: Account, values: Mapping[str, Any], act: str, now: datetime
) -> None:
    # Only while it is as the request was checked against: of two at once, the other finds another key, or none.
    this = update(acme_accounts).where(
        acme_accounts.c.id == account.id,
        acme_accounts.c.state == VALID,
        acme_accounts.c.thumbprint == account.thumbprint,
    )

    def work(unit: Unit) -> None:
        if unit.connection.execute(this.values(**values)).rowcount != 1:
            raise AccountRefused("The account was changed at this moment.")
        told = {"thumbprint": values["thumbprint"]} if "thumbprint" in values else {}
        leave(unit, actor, act, _about(account), now=now, **told)

    desk.store.together(work)


def _about(account: Account) -> str:
    return f"acme-account:{account.id}"


def _door(through: Endpoint) -> AcmeDoor:
    return through.acme or AcmeDoor()


def _account(row: Any) -> Account:
    return Account(
        id=row.id,
        endpoint=row.endpoint,
        thumbprint=row.thumbprint,
        jwk=row.jwk,
        state=row.state,
        contacts=tuple(row.contacts),
        token_id=row.token_id,
        created_at=row.created_at,
    )
