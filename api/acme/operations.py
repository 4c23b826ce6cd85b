"""The operations of ACME: each reads what was signed, calls one operation of the domain, and shows what came of it."""

import json
from collections.abc import Mapping
from typing import Any, Final, Literal

from flask import Response, request
from pydantic import Field

from api.acme import shown
from api.acme.asked import Ask, Content, Signed, inner, opened, own
from pki.acme import accounts, finalizing, jws, orders, renewal, revoking
from pki.acme.accounts import Account, Registration
from pki.acme.orders import OrderView, Wanted
from pki.acme.refusals import KeyTaken, ProfileUnknown, RequestMalformed
from pki.acme.states import OrderState, State
from pki.enrollments import RETRY_AFTER

_JSON: Final = "application/json"
#: RFC 8555 §9.1.
_CHAIN: Final = "application/pem-certificate-chain"
# Seconds until a client looks again at what is looked at now.
_SOON: Final = "1"


class _NewAccount(Content):
    contact: list[str] = Field(default=[], max_length=100)
    onlyReturnExisting: bool = False  # noqa: N815 - RFC 8555 §7.3
    externalAccountBinding: dict[str, Any] | None = None  # noqa: N815


class _Account(Content):
    contact: list[str] | None = Field(default=None, max_length=100)
    status: Literal["deactivated"] | None = None


class _Identifier(Content):
    type: str
    value: str


class _NewOrder(Content):
    identifiers: list[_Identifier] = Field(min_length=1, max_length=orders.MOST)
    notBefore: str | None = None  # noqa: N815
    notAfter: str | None = None  # noqa: N815
    profile: str | None = None
    replaces: str | None = Field(default=None, max_length=200)


class _Authorization(Content):
    status: Literal["deactivated"]


class _Finalize(Content):
    csr: str


class _Revoke(Content):
    certificate: str
    reason: int | None = None


class _KeyChange(Content):
    account: str
    oldKey: dict[str, Any]  # noqa: N815


def directory(ask: Ask) -> Response:
    """RFC 8555 §7.1.1."""
    return _json(shown.directory(ask))


def new_nonce(ask: Ask) -> Response:
    """RFC 8555 §7.2; the nonce is put to every answer."""
    return Response(status=200 if request.method == "HEAD" else 204)


def new_account(ask: Ask) -> Response:
    """RFC 8555 §7.3."""
    signed = opened(ask)
    if signed.account is not None:
        raise RequestMalformed("A new account is signed by its key, which is named as jwk.")
    asked = signed.read(_NewAccount)
    if asked.onlyReturnExisting:  # §7.3.1
        return _account(ask, accounts.find_by_key(ask.desk, ask.through, signed.key))
    wanted = Registration(
        signed.key, tuple(asked.contact), asked.externalAccountBinding, ask.own_url()
    )
    found, fresh = accounts.register(
        ask.desk, ask.through, wanted, ask.exchange.request_id, now=ask.now
    )
    return _account(ask, found, 201 if fresh else 200)


def account(ask: Ask) -> Response:
    """RFC 8555 §7.3.2, §7.3.6."""
    signed = opened(ask)
    found, actor = own(signed), signed.actor()
    wanted = _Account() if signed.is_empty else signed.read(_Account)
    if wanted.status is not None:
        return _account(ask, accounts.deactivate(ask.desk, actor, found, now=ask.now))
    if wanted.contact is not None:
        contacts = tuple(wanted.contact)
        found = accounts.update_contacts(ask.desk, actor, found, contacts, now=ask.now)
    return _account(ask, found)


def list_orders(ask: Ask) -> Response:
    """RFC 8555 §7.1.2.1."""
    signed = opened(ask)
    signed.require_empty()
    found = own(signed)
    cursor = request.args.get("after", "0")
    after = int(cursor) if cursor.isascii() and cursor.isdigit() and len(cursor) < 18 else 0
    numbers = orders.list_(ask.desk, signed.actor(), found, after=after, now=ask.now)
    response = _json({"orders": [ask.url("order", each) for each in numbers]})
    if len(numbers) == orders.PAGE:
        onward = f"{ask.account_url(found)}/orders?after={numbers[-1]}"
        response.headers.add("Link", f'<{onward}>;rel="next"')
    return response


def key_change(ask: Ask) -> Response:
    """RFC 8555 §7.3.5."""
    signed = opened(ask)
    found, actor = signed.holder, signed.actor()
    key, payload = inner(signed)
    wanted = Signed(ask, json.dumps(payload).encode(), key, None).read(_KeyChange)
    if wanted.account != ask.account_url(found):
        raise RequestMalformed("The inner request is for another account.")
    if jws.public_jwk(wanted.oldKey).thumbprint != found.thumbprint:
        raise RequestMalformed("The old key is not that of the account.")
    try:
        changed = accounts.change_key(ask.desk, actor, found, key, now=ask.now)
    except KeyTaken as taken:
        where = ask.url("account", taken.details["account"])
        raise KeyTaken(taken.message, details={"location": where}) from None
    return _account(ask, changed)


def new_order(ask: Ask) -> Response:
    """RFC 8555 §7.4."""
    signed = opened(ask)
    asked = signed.read(_NewOrder)
    if asked.notBefore is not None or asked.notAfter is not None:
        raise RequestMalformed("The profile decides how long a certificate lasts.")
    if asked.profile not in {None, ask.through.profile}:
        raise ProfileUnknown(f"The profile of this endpoint is {ask.through.profile!r}.")
    names = orders.identifiers_of((each.type, each.value) for each in asked.identifiers)
    wanted = Wanted(names, asked.replaces)
    made = orders.create(ask.desk, signed.actor(), ask.through, signed.holder, wanted, now=ask.now)
    return _order(ask, made, 201)


def order(ask: Ask) -> Response:
    """RFC 8555 §7.4: looked at, and gone on with where nobody is at it."""
    signed = opened(ask)
    signed.require_empty()
    actor, holder = signed.actor(), signed.holder
    found = orders.get(ask.desk, actor, holder, ask.number, now=ask.now)
    if found.on_record is OrderState.PROCESSING and found.state is State.PROCESSING:
        found = finalizing.go_on(ask.desk, actor, ask.through, holder, found, now=ask.now)
    return _order(ask, found)


def finalize(ask: Ask) -> Response:
    """RFC 8555 §7.4."""
    signed = opened(ask)
    csr = jws.plain(signed.read(_Finalize).csr)
    made = finalizing.finalize(
        ask.desk, signed.actor(), ask.through, signed.holder, ask.number, csr, now=ask.now
    )
    return _order(ask, made)


def certificate(ask: Ask) -> Response:
    """RFC 8555 §7.4.2."""
    signed = opened(ask)
    signed.require_empty()
    chain = finalizing.chain(ask.desk, signed.actor(), signed.holder, ask.number, now=ask.now)
    return Response(chain, 200, content_type=_CHAIN)


def authorization(ask: Ask) -> Response:
    """RFC 8555 §7.5, §7.5.2."""
    signed = opened(ask)
    actor, holder = signed.actor(), signed.holder
    if signed.is_empty:
        found = orders.authorization(ask.desk, actor, holder, ask.number, now=ask.now)
    else:
        signed.read(_Authorization)
        found = orders.give_up(ask.desk, actor, holder, ask.number, now=ask.now)
    waits = found.state is State.PENDING
    return _json(shown.authorization(ask, found), headers={"Retry-After": _SOON} if waits else {})


def challenge(ask: Ask) -> Response:
    """RFC 8555 §7.5.1."""
    signed = opened(ask)
    actor, holder = signed.actor(), signed.holder
    if signed.is_empty:
        found, whole = orders.challenge(ask.desk, actor, holder, ask.number, now=ask.now)
    else:
        signed.read(Content)
        found, whole = orders.answer(ask.desk, actor, ask.through, holder, ask.number, now=ask.now)
    up = ask.url("authorization", whole.id)
    headers = {"Link": f'<{up}>;rel="up"'}
    if found.state is State.PROCESSING:
        headers["Retry-After"] = _SOON
    return _json(shown.challenge(ask, found), headers=headers)


def revoke_certificate(ask: Ask) -> Response:
    """RFC 8555 §7.6."""
    signed = opened(ask)
    asked = signed.read(_Revoke)
    if signed.account is not None:
        signed.actor()  # that it may still do anything
    who = signed.account or signed.key.public_key
    der = jws.plain(asked.certificate)
    revoking.revoke(ask.desk, who, der, asked.reason, ask.exchange.request_id, now=ask.now)
    return Response(status=200)


def renewal_info(ask: Ask) -> Response:
    """RFC 9773 §4.1."""
    window = renewal.window(ask.desk, ask.name, now=ask.now)
    return _json(shown.suggestion(window), headers={"Retry-After": shown.ask_again()})


def _account(ask: Ask, found: Account, status: int = 200) -> Response:
    where = {"Location": ask.account_url(found)}
    return _json(shown.account(ask, found), status, where)


def _order(ask: Ask, found: OrderView, status: int = 200) -> Response:
    headers = {"Location": ask.url("order", found.id)}
    if found.state is State.PROCESSING:
        headers["Retry-After"] = str(RETRY_AFTER) if found.serial is None else _SOON
    return _json(shown.order(ask, found), status, headers)


def _json(
    document: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    content = json.dumps(document, separators=(",", ":"))
    response = Response(content, status, content_type=_JSON)
    for name, value in (headers or {}).items():
        response.headers.add(name, value)
    return response
