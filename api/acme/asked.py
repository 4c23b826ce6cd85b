"""One request at the ACME door: what its path names, who signed it, and what was signed (RFC 8555 §6)."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeVar

from flask import request
from pydantic import BaseModel, ConfigDict, ValidationError

from api.bridge import Exchange
from api.decoding import number
from api.errors import MediaTypeRefused
from pki.acme import accounts, jws, nonces
from pki.acme.accounts import Account
from pki.acme.jws import Envelope, PublicJwk
from pki.acme.refusals import AccountUnknown, NothingThere, RequestMalformed
from pki.actors import Actor
from pki.desk import Desk
from pki.endpoints import AcmeDoor, Endpoint

#: RFC 8555 §6.2.
MEDIA_TYPE: Final = "application/jose+json"
Model = TypeVar("Model", bound="Content")


class Content(BaseModel):
    """What is signed: nothing is guessed, and what is not known is ignored (RFC 8555 §7.1)."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)


@dataclass(frozen=True, slots=True)
class Ask:
    """A request, and what its path names."""

    desk: Desk
    through: Endpoint
    door: AcmeDoor
    exchange: Exchange
    now: datetime
    name: str = ""

    @property
    def number(self) -> int:
        """The number in the path; 0, which nothing has, for what is none."""
        return number(self.name)

    def url(self, *parts: object) -> str:
        """Where something of this endpoint is."""
        return "/".join([self.desk.rules.service_url, "acme", self.through.name, *map(str, parts)])

    def own_url(self) -> str:
        """Where this request was sent to, as every client is told it."""
        path = request.environ["PATH_INFO"]
        query = request.environ["QUERY_STRING"]
        return f"{self.desk.rules.service_url}{path}" + (f"?{query}" if query else "")

    def account_url(self, account: Account) -> str:
        """The URL of an account: what signed requests name as `kid`."""
        return self.url("account", account.id)


@dataclass(frozen=True, slots=True)
class Signed:
    """A request whose signature was verified, and whose nonce is used up."""

    ask: Ask
    payload: bytes
    key: PublicJwk
    account: Account | None

    def actor(self) -> Actor:
        """Who asks. Raises what `accounts.actor_of` raises."""
        ask = self.ask
        request_id = ask.exchange.request_id
        actor = accounts.actor_of(ask.desk, ask.through, self.holder, request_id, ask.now)
        ask.exchange.actor = actor.name
        return actor

    @property
    def holder(self) -> Account:
        """The account that signed. Raises RequestMalformed where a bare key did."""
        if self.account is None:
            raise RequestMalformed("This is signed by an account, which is named as kid.")
        return self.account

    @property
    def is_empty(self) -> bool:
        """Whether it only asks to look: POST-as-GET (RFC 8555 §6.3)."""
        return not self.payload

    def require_empty(self) -> None:
        """Raises RequestMalformed for anything but POST-as-GET."""
        if self.payload:
            raise RequestMalformed("This is only looked at: the payload must be empty.")

    def read(self, model: type[Model]) -> Model:
        """The payload. Raises RequestMalformed, with the first place that is wrong."""
        try:
            return model.model_validate_json(self.payload)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            place = ".".join(str(step)[:40] for step in first["loc"]) or "the payload"
            raise RequestMalformed(f"{place}: {first['msg'][:200]}.") from None


def opened(ask: Ask) -> Signed:
    """Verify who signed a request, and use its nonce up.

    Raises MediaTypeRefused, RequestMalformed, AlgorithmRefused, NonceRefused, KeyRefused, SignatureRefused,
    AccountUnknown, AccountRefused.
    """
    if request.mimetype != MEDIA_TYPE:
        raise MediaTypeRefused(
            "The body must be a signed request.",
            next_step=f"Send it with Content-Type: {MEDIA_TYPE}.",
        )
    sent = jws.read(request.get_data())
    if sent.header.get("url") != ask.own_url():  # RFC 8555 §6.4
        raise RequestMalformed(f"The request is signed for another URL than {ask.own_url()[:300]}.")
    nonce = nonces.check(ask.desk, sent.header.get("nonce"), now=ask.now)
    account, key = _signer(ask, sent)
    sent.verify(key)
    nonces.use(ask.desk, nonce, now=ask.now)
    return Signed(ask, sent.payload, key, account)


def _signer(ask: Ask, sent: Envelope) -> tuple[Account | None, PublicJwk]:
    kid, jwk = sent.header.get("kid"), sent.header.get("jwk")
    if (kid is None) == (jwk is None):  # RFC 8555 §6.2
        raise RequestMalformed("A request names its key by kid or by jwk, and not by both.")
    if kid is None:
        return None, jws.public_jwk(jwk)
    prefix = ask.url("account", "")
    if not isinstance(kid, str) or not kid.startswith(prefix):
        raise AccountUnknown("The kid is not the URL of an account of this endpoint.")
    account = accounts.find(ask.desk, ask.through, number(kid.removeprefix(prefix)))
    return account, account.key


def own(signed: Signed) -> Account:
    """The account that signed, where the path names it too. Raises NothingThere."""
    if signed.holder.id != signed.ask.number:
        raise NothingThere("There is no such account.")
    return signed.holder


def inner(signed: Signed) -> tuple[PublicJwk, object]:
    """The new key of a key change, and what is signed with it (RFC 8555 §7.3.5).

    Raises RequestMalformed, AlgorithmRefused, KeyRefused, SignatureRefused.
    """
    sent = jws.read(signed.payload)
    if "nonce" in sent.header or sent.header.get("url") != signed.ask.own_url():
        raise RequestMalformed("The inner request has no nonce, and the URL of the outer one.")
    key = jws.public_jwk(sent.header.get("jwk"))
    sent.verify(key)
    try:
        return key, json.loads(sent.payload)
    except (ValueError, RecursionError):
        raise RequestMalformed("The inner payload is not JSON.") from None
