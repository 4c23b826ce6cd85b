"""From an order whose names are proved to its certificate (RFC 8555 §7.4): once, whatever dies or comes twice.

An order is claimed for some time by whoever issues for it; its certificate stands in the order from the transaction on
that puts the intent on record. A claim that ended without one, or with one that was given up, is taken by the next who
looks: the client goes on by asking for its order.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from cryptography.x509.oid import NameOID
from sqlalchemy import ColumnElement, update

from core.errors import IkewardenError, Unavailable
from pki import authorities, enrollments
from pki.acme import accounts, orders, states
from pki.acme.accounts import Account
from pki.acme.orders import OrderView
from pki.acme.refusals import NothingThere, OrderNotReady, RequestRefused
from pki.acme.states import OrderState, State
from pki.actors import Action, Actor, require
from pki.desk import Desk
from pki.endpoints import Endpoint
from pki.enrollments import EnrollmentWaits
from pki.issuance import IssuedCertificate
from pki.reconcile import PATIENCE
from pki.x509.csr import SigningRequest, read_csr
from pki.x509.names import GeneralName, InvalidName
from store.acme_tables import acme_orders
from store.engine import Unit

# Longer than a signer may take: while it lasts, nobody else begins.
_CLAIM: Final = PATIENCE + timedelta(seconds=30)


def finalize(
    desk: Desk,
    actor: Actor,
    through: Endpoint,
    account: Account,
    number: int,
    csr: bytes,
    *,
    now: datetime,
) -> OrderView:
    """Issue the certificate of an order that is ready, for a request (DER) with exactly its names.

    Where a person has to approve it first, or a signature does not come, the order is processing. Raises RoleMayNot,
    NothingThere, OrderNotReady, IdentifierRefused, RequestRefused, and what `enrollments.enroll` raises: then the order
    is ready as before.
    """
    require(actor, Action.CERTIFICATE_ISSUE)
    order = orders.get(desk, actor, account, number, now=now)
    if order.state is not State.READY:
        raise OrderNotReady(f"The order is {order.state}.")
    _check_request(desk, _read(csr), order)
    orders.check_scope(actor, order.identifiers)
    claim = now + _CLAIM
    if not _claim(desk, order.id, acme_orders.c.state == OrderState.OPEN, csr, claim):
        raise OrderNotReady("The order is being finalized.")
    try:
        _issue(desk, actor, through, order, csr, claim, now)
    except EnrollmentWaits:
        _let_go(desk, order.id, claim, {"claimed_until": now})
    except IkewardenError:
        open_again = {"state": OrderState.OPEN, "csr": None, "claimed_until": None}
        if _let_go(desk, order.id, claim, open_again):
            raise
        # What was begun is on record, and comes or is given up.
    return orders.get(desk, actor, account, number, now=now)


def go_on(
    desk: Desk,
    actor: Actor,
    through: Endpoint,
    account: Account,
    order: OrderView,
    *,
    now: datetime,
) -> OrderView:
    """Issue for an order that is processing and that nobody is at; any other is given back as it is.

    What is wrong with it now makes it invalid, for nobody asks any more. Raises RoleMayNot.
    """
    require(actor, Action.CERTIFICATE_ISSUE)
    free = order.claimed_until is None or order.claimed_until <= now
    # A signature that is still awaited has its time; one that was given up need not wait for the claim.
    free = free or order.certificate == "abandoned"
    if order.csr is None or not free or not states.may_go_on(order.on_record, order.certificate):
        return order
    claim = now + _CLAIM
    same = (
        (acme_orders.c.state == OrderState.PROCESSING)
        & (acme_orders.c.claimed_until == order.claimed_until)
        & acme_orders.c.serial.is_not_distinct_from(order.serial)
    )
    if not _claim(desk, order.id, same, order.csr, claim):
        return order
    try:
        orders.check_scope(actor, order.identifiers)
        _issue(desk, actor, through, order, order.csr, claim, now)
    except EnrollmentWaits:
        _let_go(desk, order.id, claim, {"claimed_until": now})
    except Unavailable:
        _let_go(desk, order.id, claim, {"claimed_until": now})
    except IkewardenError as error:
        why = {"code": error.code, "detail": error.message}
        _let_go(desk, order.id, claim, {"state": OrderState.INVALID, "error": why})
    return orders.get(desk, actor, account, order.id, now=now)


def chain(desk: Desk, actor: Actor, account: Account, number: int, *, now: datetime) -> str:
    """The certificate of an order and those that certify it, in PEM, without the root (RFC 8555 §7.4.2).

    Raises RoleMayNot, NothingThere.
    """
    order = orders.get(desk, actor, account, number, now=now)
    if order.state is not State.VALID or order.der is None or order.authority is None:
        raise NothingThere("There is no certificate of this order.")
    above = authorities.load(desk, order.authority).chain
    return authorities.pem_of(order.der) + "".join(map(authorities.pem, above[:-1]))


def _read(csr: bytes) -> SigningRequest:
    try:
        return read_csr(csr)
    except InvalidName as error:  # of the request; what was ordered are names
        raise RequestRefused(error.message) from None


def _check_request(desk: Desk, asked: SigningRequest, order: OrderView) -> None:
    names = set(asked.names)
    for common in asked.subject.get_attributes_for_oid(NameOID.COMMON_NAME):
        names.add(_named(str(common.value), order))
    if names != set(order.identifiers):  # RFC 8555 §7.4
        raise RequestRefused("The request's names are not exactly those of the order.")
    if accounts.has_key(desk, asked.public_key):  # RFC 8555 §11.1
        raise RequestRefused("The request is for the key of an account.")


def _named(common: str, order: OrderView) -> GeneralName:
    for name in order.identifiers:
        if name.value == common.lower():
            return name
    raise RequestRefused("The common name of the request is no name of the order.")


def _claim(
    desk: Desk, number: int, condition: ColumnElement[bool], csr: bytes, until: datetime
) -> bool:
    this = update(acme_orders).where(acme_orders.c.id == number, condition)
    values = {
        "state": OrderState.PROCESSING,
        "csr": csr,
        "claimed_until": until,
        "authority": None,
        "serial": None,
    }
    with desk.store.write() as connection:
        return connection.execute(this.values(**values)).rowcount == 1


def _let_go(desk: Desk, number: int, claim: datetime, values: Mapping[str, Any]) -> bool:
    """Give a claim back with which nothing was begun; tell whether that was so."""
    this = update(acme_orders).where(
        acme_orders.c.id == number,
        acme_orders.c.state == OrderState.PROCESSING,
        acme_orders.c.claimed_until == claim,
        acme_orders.c.serial.is_(None),
    )
    with desk.store.write() as connection:
        return connection.execute(this.values(**values)).rowcount == 1


def _issue(
    desk: Desk,
    actor: Actor,
    through: Endpoint,
    order: OrderView,
    csr: bytes,
    claim: datetime,
    now: datetime,
) -> None:
    # No name but those that were proved, whatever else the token is for.
    names = tuple(map(str, order.identifiers))
    limited = replace(actor, scope=replace(actor.scope, names=names))
    this = update(acme_orders).where(
        acme_orders.c.id == order.id,
        acme_orders.c.state == OrderState.PROCESSING,
        acme_orders.c.claimed_until == claim,
    )

    def note(unit: Unit, issued: IssuedCertificate) -> Mapping[str, Any]:
        made = {"authority": issued.authority.name, "serial": issued.serial}
        if unit.connection.execute(this.values(**made)).rowcount != 1:
            raise OrderNotReady("Somebody else finalizes this order by now.")
        return {"order": order.id, "account": order.account_id}

    enrollments.enroll(desk, limited, through, "acme", csr, now=now, note=note)
