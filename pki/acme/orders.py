"""Orders, authorizations and challenges (RFC 8555 §7.1.3-§7.1.5): made, looked at, answered, let go."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, and_, exists, insert, select, update

from pki import authorities as issuers
from pki.acme import jws, limits, renewal, states
from pki.acme.accounts import Account
from pki.acme.refusals import (
    AlreadyReplaced,
    IdentifierRefused,
    IdentifierUnsupported,
    NothingThere,
    OrderNotReady,
    RequestMalformed,
)
from pki.acme.states import OrderState, State, Step
from pki.actors import (
    Action,
    Actor,
    OutsideScope,
    require,
    require_endpoint,
    require_names,
    require_profile,
)
from pki.desk import Desk
from pki.endpoints import AcmeDoor, Challenge, Endpoint
from pki.profiles import load as load_profile
from pki.trail import leave
from pki.x509.names import GeneralName, InvalidName
from store.acme_tables import acme_authorizations, acme_challenges, acme_orders
from store.engine import Unit
from store.tables import authorities, certificates

# How long a client has to prove and to finalize, and how long a proof counts for revocation (RFC 8555 §7.6).
LIFETIME: Final = timedelta(days=7)
MOST: Final = 100  # identifiers of an order
PAGE: Final = 50
_TOKEN_OCTETS: Final = 32  # RFC 8555 §8.1: 128 bits at least


@dataclass(frozen=True)
class ChallengeView:
    """A challenge; `error` is a problem document (RFC 8555 §6.7) of the last try."""

    id: int
    authorization_id: int
    kind: str
    token: str
    state: State
    error: Any
    validated_at: datetime | None


@dataclass(frozen=True)
class AuthorizationView:
    """An authorization with its challenges."""

    id: int
    identifier: GeneralName
    state: State
    expires_at: datetime
    challenges: tuple[ChallengeView, ...]


@dataclass(frozen=True)
class OrderView:
    """An order. `certificate` is the status of that which is on record for it: pending until it is signed."""

    id: int
    account_id: int
    identifiers: tuple[GeneralName, ...]
    on_record: OrderState
    state: State
    error: Any
    csr: bytes | None
    claimed_until: datetime | None
    authority: str | None
    serial: str | None
    certificate: str | None
    der: bytes | None
    replaces: str | None
    created_at: datetime
    expires_at: datetime
    authorizations: tuple[int, ...]


@dataclass(frozen=True)
class Wanted:
    """What an order is for; `replaces` names the certificate that it renews (RFC 9773 §5)."""

    identifiers: tuple[GeneralName, ...]
    replaces: str | None = None


def identifiers_of(pairs: Iterable[tuple[str, str]]) -> tuple[GeneralName, ...]:
    """Read identifiers, each a type and a value (RFC 8555 §9.7.7, RFC 8738 §3), sorted, each once.

    Raises RequestMalformed, IdentifierUnsupported, IdentifierRefused.
    """
    found: set[GeneralName] = set()
    for kind, value in pairs:
        if kind not in {"dns", "ip"}:
            raise IdentifierUnsupported(f"Identifiers of the type {kind[:20]!r} are not certified.")
        try:
            name = GeneralName.of(kind, value)  # type: ignore[arg-type]  # one of the two
        except InvalidName as error:
            raise IdentifierRefused(error.message, next_step=error.next_step) from None
        if kind == "dns" and name.address is not None:
            raise IdentifierRefused(f"{name.value} is an address: order it as one of the type ip.")
        found.add(name)
    if not 1 <= len(found) <= MOST:
        raise RequestMalformed(f"An order is for 1 to {MOST} identifiers.")
    return tuple(sorted(found))


def create(
    desk: Desk, actor: Actor, through: Endpoint, account: Account, wanted: Wanted, *, now: datetime
) -> OrderView:
    """Order a certificate (RFC 8555 §7.4).

    Raises RoleMayNot, IdentifierUnsupported, IdentifierRefused, LimitReached, RequestMalformed, AlreadyReplaced,
    OutsideScope, and what `authorities.choose` raises.
    """
    require(actor, Action.CERTIFICATE_ISSUE)
    door = through.acme or AcmeDoor()
    kinds = load_profile(desk, through.profile).names
    for name in wanted.identifiers:
        if name.kind not in kinds:
            raise IdentifierUnsupported(f"The profile {through.profile!r} carries no {name.kind}.")
        if not challenges_for(door, name):
            raise IdentifierUnsupported(f"Nothing that the endpoint takes can prove {name}.")
    check_scope(actor, wanted.identifiers)
    # What would be refused in the end is refused before anybody proves anything.
    require_profile(actor, through.profile)
    require_endpoint(actor, through.name)
    issuers.choose(desk, actor, through.authority, now=now)
    if wanted.replaces is not None:
        renewal.check_replaceable(desk, account.id, wanted.replaces, wanted.identifiers)

    def work(unit: Unit) -> int:
        limits.check_orders(unit.connection, account.id, door, now)
        limits.check_failures(unit.connection, account.id, door, now)
        if wanted.replaces is not None:
            _refuse_replaced(unit.connection, wanted.replaces, now)
        number = _insert(unit.connection, door, account, wanted, desk, now)
        names = [str(each) for each in wanted.identifiers]
        about = f"acme-order:{number}"
        leave(unit, actor, "acme.order.create", about, now=now, identifiers=names)
        return number

    return get(desk, actor, account, desk.store.together(work), now=now)


def _refuse_replaced(connection: Connection, identifier: str, now: datetime) -> None:
    """RFC 9773 §5: one order renews a certificate. One that came to nothing does not count."""
    others = select(acme_orders.c.id).where(acme_orders.c.replaces == identifier, _alive(now))
    if connection.scalar(others.limit(1)) is not None:
        raise AlreadyReplaced("Another order replaces this certificate already.")


def _alive(now: datetime) -> ColumnElement[bool]:
    """Whether an order has a certificate, or may still come to one: see `states.order`."""
    dead = exists().where(
        acme_authorizations.c.order_id == acme_orders.c.id,
        acme_authorizations.c.state.in_((State.INVALID, State.DEACTIVATED)),
    )
    hopeful = (acme_orders.c.expires_at > now) & ~dead
    made = exists().where(_CERTIFICATE, _ISSUER, certificates.c.status != "abandoned")
    # What nobody asked for again ends as others do: see `states.order`.
    begun = (acme_orders.c.state == OrderState.PROCESSING) & (
        (acme_orders.c.expires_at > now) | made
    )
    return begun | ((acme_orders.c.state == OrderState.OPEN) & hopeful)


def check_scope(actor: Actor, names: Iterable[GeneralName]) -> None:
    """Make sure that an account may ask for names. Raises IdentifierRefused."""
    try:
        require_names(actor, names)
    except OutsideScope as error:
        raise IdentifierRefused(error.message) from None


def challenges_for(door: AcmeDoor, name: GeneralName) -> list[Challenge]:
    """By what a name can be proved: RFC 8738 §4 to §7 has no dns-01 for addresses."""
    return [each for each in door.challenges if name.kind == "dns" or each != "dns-01"]


def _insert(
    connection: Connection,
    door: AcmeDoor,
    account: Account,
    wanted: Wanted,
    desk: Desk,
    now: datetime,
) -> int:
    values = {
        "account_id": account.id,
        "identifiers": "\n".join(map(str, wanted.identifiers)),
        "state": OrderState.OPEN,
        "replaces": wanted.replaces,
        "created_at": now,
        "expires_at": now + LIFETIME,
    }
    made = insert(acme_orders).values(**values).returning(acme_orders.c.id)
    number: int = connection.execute(made).scalar_one()
    for name in wanted.identifiers:
        values = {
            "order_id": number,
            "account_id": account.id,
            "identifier": str(name),
            "state": State.PENDING,
            "expires_at": now + LIFETIME,
        }
        made = insert(acme_authorizations).values(**values).returning(acme_authorizations.c.id)
        authorization: int = connection.execute(made).scalar_one()
        rows = [
            {
                "authorization_id": authorization,
                "kind": kind,
                "token": jws.encoded(desk.entropy(_TOKEN_OCTETS)),
                "state": State.PENDING,
                "attempts": 0,
            }
            for kind in challenges_for(door, name)
        ]
        connection.execute(insert(acme_challenges), rows)
    return number


_CERTIFICATE: Final = and_(
    certificates.c.serial == acme_orders.c.serial,
    certificates.c.authority_id == authorities.c.id,
)
_ISSUER: Final = authorities.c.name == acme_orders.c.authority
_ORDERS: Final = (
    select(acme_orders, certificates.c.status, certificates.c.der)
    .join_from(acme_orders, authorities, _ISSUER, isouter=True)
    .outerjoin(certificates, _CERTIFICATE)
)


def get(desk: Desk, actor: Actor, account: Account, number: int, *, now: datetime) -> OrderView:
    """Look at an order of the account's own. Raises RoleMayNot, NothingThere."""
    require(actor, Action.CERTIFICATE_ISSUE)
    this = _ORDERS.where(acme_orders.c.id == number, acme_orders.c.account_id == account.id)
    with desk.store.read() as connection:
        row = connection.execute(this).one_or_none()
        if row is None:
            raise NothingThere("There is no such order.")
        return _view(connection, row, now)


def list_(
    desk: Desk, actor: Actor, account: Account, *, after: int, now: datetime
) -> Sequence[int]:
    """The numbers of the orders of an account that are not over, oldest first, at most a page (RFC 8555 §7.1.2.1).

    Raises RoleMayNot.
    """
    require(actor, Action.CERTIFICATE_ISSUE)
    query = (
        select(acme_orders.c.id)
        .where(acme_orders.c.account_id == account.id, acme_orders.c.id > after)
        .where(_alive(now))
        .order_by(acme_orders.c.id)
        .limit(PAGE)
    )
    with desk.store.read() as connection:
        return list(connection.scalars(query))


def _view(connection: Connection, row: Row[Any], now: datetime) -> OrderView:
    query = select(acme_authorizations).where(acme_authorizations.c.order_id == row.id)
    held = connection.execute(query.order_by(acme_authorizations.c.id)).all()
    shown = [
        states.authorization(State(each.state), expired=each.expires_at <= now) for each in held
    ]
    on_record = OrderState(row.state)
    state = states.order(on_record, row.status, shown, expired=row.expires_at <= now)
    return OrderView(
        id=row.id,
        account_id=row.account_id,
        identifiers=tuple(map(GeneralName.parse, row.identifiers.split("\n"))),
        on_record=on_record,
        state=state,
        error=row.error,
        csr=row.csr,
        claimed_until=row.claimed_until,
        authority=row.authority,
        serial=row.serial,
        certificate=row.status,
        der=row.der,
        replaces=row.replaces,
        created_at=row.created_at,
        expires_at=row.expires_at,
        authorizations=tuple(each.id for each in held),
    )


def authorization(
    desk: Desk, actor: Actor, account: Account, number: int, *, now: datetime
) -> AuthorizationView:
    """Look at an authorization of the account's own. Raises RoleMayNot, NothingThere."""
    require(actor, Action.CERTIFICATE_ISSUE)
    with desk.store.read() as connection:
        return _authorization(connection, account, number, now)


def _authorization(
    connection: Connection, account: Account, number: int, now: datetime
) -> AuthorizationView:
    this = select(acme_authorizations).where(
        acme_authorizations.c.id == number, acme_authorizations.c.account_id == account.id
    )
    row = connection.execute(this).one_or_none()
    if row is None:
        raise NothingThere("There is no such authorization.")
    query = select(acme_challenges).where(acme_challenges.c.authorization_id == number)
    found = connection.execute(query.order_by(acme_challenges.c.id)).all()
    return AuthorizationView(
        id=row.id,
        identifier=GeneralName.parse(row.identifier),
        state=states.authorization(State(row.state), expired=row.expires_at <= now),
        expires_at=row.expires_at,
        challenges=tuple(map(_challenge, found)),
    )


def _challenge(row: Row[Any]) -> ChallengeView:
    return ChallengeView(
        id=row.id,
        authorization_id=row.authorization_id,
        kind=row.kind,
        token=row.token,
        state=State(row.state),
        error=row.error,
        validated_at=row.validated_at if row.state == State.VALID else None,
    )


def give_up(
    desk: Desk, actor: Actor, account: Account, number: int, *, now: datetime
) -> AuthorizationView:
    """Deactivate an authorization (RFC 8555 §7.5.2). Raises RoleMayNot, NothingThere, OrderNotReady."""
    require(actor, Action.CERTIFICATE_ISSUE)
    this = update(acme_authorizations).where(
        acme_authorizations.c.id == number,
        acme_authorizations.c.state.in_((State.PENDING, State.VALID)),
    )

    def work(unit: Unit) -> AuthorizationView:
        _authorization(unit.connection, account, number, now)
        if unit.connection.execute(this.values(state=State.DEACTIVATED)).rowcount != 1:
            raise OrderNotReady("This authorization is over already.")
        about = f"acme-authorization:{number}"
        leave(unit, actor, "acme.authorization.deactivate", about, now=now)
        return _authorization(unit.connection, account, number, now)

    return desk.store.together(work)


def challenge(
    desk: Desk, actor: Actor, account: Account, number: int, *, now: datetime
) -> tuple[ChallengeView, AuthorizationView]:
    """Look at a challenge of the account's own, and what it is of. Raises RoleMayNot, NothingThere."""
    require(actor, Action.CERTIFICATE_ISSUE)
    with desk.store.read() as connection:
        return _own_challenge(connection, account, number, now)


def _own_challenge(
    connection: Connection, account: Account, number: int, now: datetime
) -> tuple[ChallengeView, AuthorizationView]:
    of = select(acme_challenges.c.authorization_id).where(acme_challenges.c.id == number)
    whole = _authorization(connection, account, connection.scalar(of) or 0, now)
    return next(each for each in whole.challenges if each.id == number), whole


def answer(
    desk: Desk, actor: Actor, through: Endpoint, account: Account, number: int, *, now: datetime
) -> tuple[ChallengeView, AuthorizationView]:
    """Take notice that a client is ready to prove (RFC 8555 §7.5.1): from then on somebody looks. Again it changes
    nothing.

    Raises RoleMayNot, NothingThere, OrderNotReady, LimitReached.
    """
    require(actor, Action.CERTIFICATE_ISSUE)
    begins = states.after(State.PENDING, Step.ANSWER)
    door = through.acme or AcmeDoor()
    this = update(acme_challenges).where(
        acme_challenges.c.id == number, acme_challenges.c.state == State.PENDING
    )

    def work(unit: Unit) -> tuple[ChallengeView, AuthorizationView]:
        found, whole = _own_challenge(unit.connection, account, number, now)
        if found.state is not State.PENDING:
            return found, whole
        if whole.state is not State.PENDING:
            raise OrderNotReady("This authorization is over already.")
        limits.check_failures(unit.connection, account.id, door, now)
        unit.connection.execute(this.values(state=begins, due_at=now))
        return _own_challenge(unit.connection, account, number, now)

    return desk.store.together(work)
