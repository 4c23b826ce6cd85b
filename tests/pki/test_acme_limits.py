"""What an hour may bring to an ACME endpoint, and which order renews: exact, however many come at once."""

from datetime import timedelta
from functools import partial

import pytest
from cryptography import x509
from joserfc.jwk import ECKey
from sqlalchemy import insert

from core.errors import IkewardenError
from pki.acme import accounts, jws, orders
from pki.acme.accounts import Account, Registration
from pki.acme.orders import Wanted
from pki.acme.refusals import AlreadyReplaced, LimitReached
from pki.desk import Desk
from pki.endpoints import AcmeDoor, Endpoint
from store.acme_tables import acme_accounts, acme_orders
from store.engine import Store
from tests.fixtures.desk import NOW, reopened
from tests.pki.acts import at_once, count, issue

OPEN = AcmeDoor(external_account=False, accounts_per_hour=3, orders_per_hour=3)
THROUGH = Endpoint("open", "gateway", acme=OPEN)


@pytest.fixture
def desks(desk: Desk, second_store: Store) -> list[Desk]:
    """Two processes."""
    return [desk, reopened(desk, store=second_store)]


def _register(desk: Desk) -> object:
    key = jws.public_jwk(dict(ECKey.generate_key("P-256").as_dict(private=False)))
    try:
        return accounts.register(desk, THROUGH, Registration(key, (), None, ""), "r", now=NOW)[0]
    except IkewardenError as error:
        return error


def _order(desk: Desk, account: Account, replaces: str | None = None) -> object:
    actor = accounts.actor_of(desk, THROUGH, account, "r", NOW)
    wanted = Wanted(orders.identifiers_of([("dns", "gw1.example")]), replaces)
    try:
        return orders.create(desk, actor, THROUGH, account, wanted, now=NOW)
    except IkewardenError as error:
        return error


def test_no_more_accounts_than_an_hour_may_bring(desks: list[Desk]) -> None:
    found = at_once(*(partial(_register, desks[n % 2]) for n in range(10)))
    assert sorted(type(each).__name__ for each in found) == ["Account"] * 3 + ["LimitReached"] * 7
    assert count(desks[0], acme_accounts) == 3


def test_no_more_orders_than_an_hour_may_bring(desks: list[Desk]) -> None:
    account = _register(desks[0])
    assert isinstance(account, Account)
    found = at_once(*(partial(_order, desks[n % 2], account) for n in range(10)))
    assert [type(each) for each in found].count(LimitReached) == 7
    assert count(desks[0], acme_orders) == 3


def test_one_order_renews_a_certificate(desks: list[Desk]) -> None:
    account, made = _register(desks[0]), issue(desks[0])
    assert isinstance(account, Account)
    row = {
        "account_id": account.id,
        "identifiers": "dns:gw1.example",
        "state": "processing",
        "authority": made.authority.name,
        "serial": made.serial,
        "created_at": NOW - timedelta(days=1),
        "expires_at": NOW + timedelta(days=6),
    }
    with desks[0].store.write() as connection:
        connection.execute(insert(acme_orders).values(**row))
    known = x509.load_der_x509_certificate(made.der)
    issuer = known.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    number = known.serial_number
    octets = number.to_bytes(number.bit_length() // 8 + 1, "big")
    renewed = f"{jws.encoded(issuer.key_identifier or b'')}.{jws.encoded(octets)}"
    found = at_once(*(partial(_order, desks[n % 2], account, renewed) for n in range(10)))
    assert [type(each) for each in found].count(AlreadyReplaced) == 9
    assert count(desks[0], acme_orders, acme_orders.c.replaces == renewed) == 1
