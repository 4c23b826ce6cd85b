"""ACME: everything that proves who asks, and everything that can be wrong with it. None of it is let in.

The table is data: what is tried, in words, and the error of RFC 8555 §6.7 that comes of it. Whatever is tried, no
certificate is put on record.
"""

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from joserfc.jwk import ECKey, OctKey
from sqlalchemy import func, select

from pki import tokens
from pki.acme import nonces
from pki.actors import Role
from store.tables import certificates
from tests.api.acme.client import TYPE, Acme, b64, challenge, csr, external, other_signature, signed
from tests.api.acme.conftest import World
from tests.api.acme.test_orders import issued, prove
from tests.api.acme.test_revocation import revoke
from tests.api.serving import Client, Reply
from tests.api.site import CONSOLE

Problem = Reply | Mapping[str, Any]


@dataclass
class Case:
    """Two registered clients, and how many certificates there were before it was tried."""

    world: World
    client: Client
    acme: Acme
    other: Acme
    before: int = 0

    def mark(self) -> None:
        """All that is right was done."""
        self.before = self.count()

    def count(self) -> int:
        with self.world.serving.site.desk.store.read() as connection:
            return int(connection.scalar(select(func.count()).select_from(certificates)) or 0)

    def later(self, ahead: timedelta, act: Callable[[], Problem]) -> Problem:
        """Do something when time has gone by."""
        clock = self.world.serving.site.clock
        clock.ahead = ahead
        try:
            return act()
        finally:
            clock.ahead = timedelta(0)


@dataclass(frozen=True)
class Finding:
    """What is tried: by what it would be let in, what is wrong with that, the error and its status."""

    path: str
    wrong: str
    kind: str
    status: int
    attempt: Callable[[Case], Problem]


# What makes no sense, and why.
SENSELESS: list[tuple[str, str, str]] = [
    ("nonce", "revoked", "nobody takes one back: it is used, or it ends after an hour"),
    ("nonce", "another's", "it is given to nobody: it only makes a request good once"),
    ("account key", "expired", "accounts have no end; their token may be revoked"),
    ("URL", "expired, revoked", "it is what is asked for, and has no life"),
    (
        "key change",
        "expired, revoked",
        "the new key is nobody's yet; the old one is the account key",
    ),
    ("challenge", "revoked", "a client gives up the authorization: that is `given up`"),
    ("approval", "another device's", "it is of one request: the act has the key's digest in it"),
]


def _fresh(case: Case, make: Callable[[Acme], Mapping[str, Any] | None]) -> Reply:
    """Register a new key with a binding; none where it is None."""
    acme = Acme(case.client)
    binding = make(acme)
    return acme.register(**({} if binding is None else {"externalAccountBinding": binding}))


def _bound(case: Case, **limits: Any) -> Callable[[Acme], Mapping[str, Any]]:
    return lambda acme: acme.binding(*external(case.world.serving, **limits))


def _used(case: Case) -> Problem:
    bound = external(case.world.serving)
    assert Acme(case.client).register(bound).status == 201
    return _fresh(case, lambda acme: acme.binding(*bound))


def _binding_again(case: Case) -> Problem:
    """The very binding, of a key that has an account, with another key."""
    first, bound = Acme(case.client), external(case.world.serving, uses=2)
    binding = first.binding(*bound)
    assert first.register(externalAccountBinding=binding).status == 201
    return _fresh(case, lambda _: binding)


def _token_ended(case: Case) -> Problem:
    site = case.world.serving.site
    past = site.clock() - timedelta(days=2)
    return _fresh(case, _bound(case, now=past, expires_at=past + timedelta(days=1)))


def _token_revoked(case: Case) -> Problem:
    site, bound = case.world.serving.site, external(case.world.serving)
    tokens.revoke(site.desk, CONSOLE, bound[0], now=site.clock())
    return _fresh(case, lambda acme: acme.binding(*bound))


def _strange_binding(case: Case, header: dict[str, Any], key: Any = None) -> Problem:
    kid, secret = external(case.world.serving)
    mac = OctKey.import_key(base64.urlsafe_b64decode(secret + "=="))

    def make(acme: Acme) -> Mapping[str, Any]:
        whole = {"alg": "HS256", "kid": kid, "url": acme.directory["newAccount"], **header}
        return signed({k: v for k, v in whole.items() if v is not ...}, acme.jwk, key or mac)

    return _fresh(case, make)


def _unsigned_binding(case: Case) -> Problem:
    def make(acme: Acme) -> Mapping[str, Any]:
        good = acme.binding(*external(case.world.serving))
        header = json.loads(base64.urlsafe_b64decode(good["protected"] + "=="))
        none = b64(json.dumps({**header, "alg": "none"}).encode())
        return {**good, "protected": none, "signature": ""}

    return _fresh(case, make)


def _own_url(case: Case) -> str:
    return case.acme.kid or ""


def _order_request(case: Case, header: dict[str, Any], key: Any = None) -> Problem:
    """An order that is good but for its header, or for who signs it."""
    acme = case.acme
    url = acme.directory["newOrder"]
    payload = {"identifiers": [{"type": "dns", "value": "a.example"}]}
    whole = {k: v for k, v in {**acme.header(url), **header}.items() if v is not ...}
    return acme.send(url, signed(whole, payload, key or acme.key))


def _again(case: Case) -> Problem:
    """The same octets twice."""
    acme = case.acme
    url = acme.directory["newOrder"]
    payload = {"identifiers": [{"type": "dns", "value": "a.example"}]}
    sent = signed(acme.header(url), payload, acme.key)
    assert acme.send(url, sent).status == 201
    return acme.send(url, sent)


def _deactivated(case: Case) -> Problem:
    assert case.acme.post(_own_url(case), {"status": "deactivated"}).status == 200
    return case.acme.order("a.example")


def _of_revoked_token(case: Case) -> Problem:
    site, bound, acme = case.world.serving.site, external(case.world.serving), Acme(case.client)
    assert acme.register(bound).status == 201
    tokens.revoke(site.desk, CONSOLE, bound[0], now=site.clock())
    return acme.order("a.example")


def _former_key(case: Case) -> Problem:
    acme, new = case.acme, ECKey.generate_key("P-256")
    assert _change(case, new).status == 200
    return acme.order("a.example")


def _nonce(case: Case, make: Callable[[str], Any]) -> Problem:
    return case.acme.post(_own_url(case), nonce=make(case.acme.nonce()))


def _nonce_of(case: Case, ahead: timedelta) -> Problem:
    site = case.world.serving.site
    return _nonce(case, lambda _: nonces.new(site.desk, now=site.clock() + ahead))


def _altered(nonce: str) -> str:
    return nonce[:20] + ("A" if nonce[20] != "A" else "B") + nonce[21:]


def _used_nonce(case: Case) -> Problem:
    nonce = case.acme.nonce()
    assert case.acme.post(_own_url(case), nonce=nonce).status == 200
    return case.acme.post(_own_url(case), nonce=nonce)


def _of_another(case: Case, what: Callable[[Case, Reply], Problem]) -> Problem:
    """Do something with an order that is ready, and of another account."""
    order, _ = issued(case.world, case.other, "theirs.example")
    case.mark()
    return what(case, order)


def _ready(case: Case) -> Reply:
    order = case.acme.order("mine.example")
    prove(case.world, case.acme, order)
    return order


def _finalized_again(case: Case) -> Problem:
    order, _ = issued(case.world, case.acme, "mine.example")
    case.mark()
    return case.acme.finalize(order, csr(["mine.example"]))


def _late(case: Case) -> Problem:
    order = _ready(case)
    return case.later(timedelta(days=8), lambda: case.acme.finalize(order, csr(["mine.example"])))


def _late_challenge(case: Case) -> Problem:
    found = case.acme.authorizations(case.acme.order("mine.example"))[0]
    url = challenge(found, "http-01")["url"]
    return case.later(timedelta(days=8), lambda: case.acme.post(url, {}))


def _given_up(case: Case) -> Problem:
    order = _ready(case)
    (url,) = order.json["authorizations"]
    assert case.acme.post(url, {"status": "deactivated"}).status == 200
    return case.acme.finalize(order, csr(["mine.example"]))


def _shown(case: Case, shown: Callable[[Mapping[str, Any]], str | None]) -> Problem:
    """What becomes of a challenge where this is shown."""
    acme, world = case.acme, case.world
    order = acme.order("shown.example")
    wanted = challenge(acme.authorizations(order)[0], "http-01")
    world.names.records["shown.example", "A"] = ["127.0.0.1"]
    content = shown(wanted)
    if content is not None:
        world.web.show(wanted["token"], content)
    acme.post(wanted["url"], {})

    def over() -> bool:
        now = acme.post(wanted["url"]).json
        if "error" in now:  # what is not there yet is looked for again, in a while
            world.serving.site.clock.ahead += timedelta(seconds=6)
        return bool(now["status"] == "invalid")

    try:
        world.look(over)
    finally:
        world.serving.site.clock.ahead = timedelta(0)
    refused = acme.finalize(order, csr(["shown.example"]))
    assert refused.status == 403
    found: Mapping[str, Any] = acme.post(wanted["url"]).json["error"]
    return found


def _earlier_token(case: Case) -> Problem:
    earlier = challenge(case.acme.authorizations(case.acme.order("shown.example"))[0], "http-01")
    return _shown(case, lambda _: case.acme.key_authorization(earlier))


def _finalize(case: Case, request: bytes) -> Problem:
    return case.acme.finalize(_ready(case), request)


def _other_account_s_key(case: Case) -> Problem:
    return _finalize(case, csr(["mine.example"], key=case.other.key.private_key))


def _change(case: Case, new: Any, payload: Mapping[str, Any] | None = None, **inner: Any) -> Reply:
    """Change the key of the account; `signer` signs the inner request in place of the new key."""
    acme = case.acme
    url = acme.directory["keyChange"]
    signer = inner.pop("signer", new)
    content = {"account": acme.kid, "oldKey": acme.jwk, **(payload or {})}
    header = {"alg": "ES256", "jwk": new.as_dict(private=False), "url": url, **inner}
    return acme.post(url, signed(header, content, signer))


def _new_key() -> Any:
    return ECKey.generate_key("P-256")


def _inner_again(case: Case) -> Problem:
    """An inner request that did its work, in another outer one: the old key is not that of the account any more."""
    acme, new = case.acme, _new_key()
    url = acme.directory["keyChange"]
    content = {"account": acme.kid, "oldKey": acme.jwk}
    inner = signed({"alg": "ES256", "jwk": new.as_dict(private=False), "url": url}, content, new)
    assert acme.post(url, inner).status == 200
    acme.key = new
    assert _change(case, _new_key()).status == 200
    return acme.post(url, inner)


def _revocation(case: Case, by: Callable[[Case], Acme]) -> Problem:
    _, (made, _) = issued(case.world, case.acme, "revoke.example")
    case.mark()
    return revoke(by(case), made)


def _gone(case: Case) -> Acme:
    assert case.acme.post(_own_url(case), {"status": "deactivated"}).status == 200
    return case.acme


def _unknown(case: Case) -> Acme:
    return Acme(case.client, kid=_own_url(case) + "99")


def _revoked_again(case: Case) -> Problem:
    _, (made, _) = issued(case.world, case.acme, "revoke.example")
    assert revoke(case.acme, made).status == 200
    case.mark()
    return revoke(case.acme, made)


def _revoked_late(case: Case) -> Problem:
    _, (made, _) = issued(case.world, case.acme, "revoke.example")
    case.mark()
    ahead = made.not_valid_after_utc - case.world.serving.site.clock() + timedelta(days=1)
    return case.later(ahead, lambda: revoke(case.acme, made))


def _revocation_again(case: Case) -> Problem:
    acme = case.acme
    _, (made, _) = issued(case.world, acme, "revoke.example")
    case.mark()
    url = acme.directory["revokeCert"]
    payload = {"certificate": b64(made.public_bytes(Encoding.DER))}
    sent = signed(acme.header(url), payload, acme.key)
    assert acme.send(url, sent).status == 200
    return acme.send(url, sent)


def _not_approved(case: Case) -> Problem:
    """A person has refused the request."""
    acme = Acme(case.client, "watched")
    assert acme.register().status == 201
    order = acme.order("refused.example")
    prove(case.world, acme, order)
    assert acme.finalize(order, csr(["refused.example"])).json["status"] == "processing"
    with case.world.serving.client(Role.APPROVER) as approver:
        pending = approver.get("/v1/approvals?state=pending&act=certificate.enroll").json["items"]
        (asked,) = [e for e in pending if e["parameters"]["names"] == ["dns:refused.example"]]
        decision = {"decision": "refuse", "reason": "not ours"}
        assert approver.post(f"/v1/approvals/{asked['id']}", decision).status == 200
    found: Mapping[str, Any] = acme.post(order.headers["location"]).json["error"]
    return found


def _not_yet_approved(case: Case) -> Problem:
    """Nobody has looked at the request."""
    acme = Acme(case.client, "watched")
    assert acme.register().status == 201
    order = acme.order("waits.example")
    prove(case.world, acme, order)
    assert acme.finalize(order, csr(["waits.example"])).json["status"] == "processing"
    return acme.post(order.headers["location"] + "/certificate")


_EAB, _KEY, _NONCE, _URL = "external account binding", "account key", "nonce", "URL"
_ORDER, _PROOF, _CSR = "account of an order", "challenge", "certificate key"
_CHANGE, _REVOKE, _PERSON = "key change", "revocation", "approval"
_HOUR = timedelta(minutes=61)
FINDINGS: list[Finding] = [
    Finding(_EAB, "missing", "externalAccountRequired", 403, lambda c: _fresh(c, lambda _: None)),
    Finding(_EAB, "wrong: another HMAC key", "unauthorized", 401,
            lambda c: _fresh(c, lambda a: a.binding(external(c.world.serving)[0], b64(b"x" * 32)))),
    Finding(_EAB, "wrong: an unknown kid", "unauthorized", 401,
            lambda c: _fresh(c, lambda a: a.binding("0123456789abcdef", external(c.world.serving)[1]))),
    Finding(_EAB, "wrong: a token for another profile", "unauthorized", 401,
            lambda c: _fresh(c, _bound(c, profile="host"))),
    Finding(_EAB, "wrong: for another URL", "unauthorized", 401,
            lambda c: _strange_binding(c, {"url": c.acme.directory["newOrder"]})),
    Finding(_EAB, "wrong: with a nonce", "unauthorized", 401,
            lambda c: _strange_binding(c, {"nonce": c.acme.nonce()})),
    Finding(_EAB, "wrong: without a kid", "unauthorized", 401,
            lambda c: _strange_binding(c, {"kid": ...})),
    Finding(_EAB, "wrong: a signature and no MAC", "unauthorized", 401,
            lambda c: _strange_binding(c, {"alg": "ES256"}, _new_key())),
    Finding(_EAB, "wrong: alg none", "unauthorized", 401, _unsigned_binding),
    Finding(_EAB, "replayed: the token is used up", "unauthorized", 401, _used),
    Finding(_EAB, "replayed: the binding itself, for another key", "unauthorized", 401, _binding_again),
    Finding(_EAB, "expired", "unauthorized", 401, _token_ended),
    Finding(_EAB, "revoked", "unauthorized", 401, _token_revoked),
    Finding(_EAB, "another device's: for the key of another account", "unauthorized", 401,
            lambda c: _fresh(c, lambda _: c.other.binding(*external(c.world.serving)))),
    Finding(_KEY, "missing: neither kid nor jwk", "malformed", 400,
            lambda c: _order_request(c, {"kid": ...})),
    Finding(_KEY, "missing: a key in place of an account", "malformed", 400,
            lambda c: _order_request(c, {"kid": ..., "jwk": c.acme.jwk})),
    Finding(_KEY, "wrong: kid and jwk", "malformed", 400,
            lambda c: _order_request(c, {"jwk": c.acme.jwk})),
    Finding(_KEY, "wrong: another key signs", "malformed", 400,
            lambda c: _order_request(c, {}, _new_key())),
    Finding(_KEY, "wrong: an account that is not", "accountDoesNotExist", 400,
            lambda c: _order_request(c, {"kid": _own_url(c) + "99"})),
    Finding(_KEY, "wrong: the account of another endpoint", "accountDoesNotExist", 400,
            lambda c: Acme(c.client, "open", key=c.acme.key, kid=c.acme.kid).order("a.example")),
    Finding(_KEY, "wrong: a key that was changed", "malformed", 400, _former_key),
    Finding(_KEY, "replayed: the same request", "badNonce", 400, _again),
    Finding(_KEY, "revoked: deactivated", "unauthorized", 401, _deactivated),
    Finding(_KEY, "revoked: its token", "unauthorized", 401, _of_revoked_token),
    Finding(_KEY, "another's: kid of another account", "malformed", 400,
            lambda c: _order_request(c, {"kid": c.other.kid})),
    Finding(_KEY, "another's: look at another account", "malformed", 404,
            lambda c: c.acme.post(c.other.kid or "")),
    Finding(_KEY, "another's: list its orders", "malformed", 404,
            lambda c: c.acme.post((c.other.kid or "") + "/orders")),
    Finding(_NONCE, "missing", "badNonce", 400, lambda c: _nonce(c, lambda _: ...)),
    Finding(_NONCE, "wrong: altered", "badNonce", 400, lambda c: _nonce(c, _altered)),
    Finding(_NONCE, "wrong: cut", "badNonce", 400, lambda c: _nonce(c, lambda n: n[:-4])),
    Finding(_NONCE, "wrong: in another spelling", "badNonce", 400,
            lambda c: _nonce(c, lambda n: n + "\n")),
    Finding(_NONCE, "wrong: a number", "badNonce", 400, lambda c: _nonce(c, lambda _: 5)),
    Finding(_NONCE, "wrong: of the future", "badNonce", 400,
            lambda c: _nonce_of(c, timedelta(minutes=10))),
    Finding(_NONCE, "replayed", "badNonce", 400, _used_nonce),
    Finding(_NONCE, "expired", "badNonce", 400, lambda c: _nonce_of(c, -_HOUR)),
    Finding(_URL, "missing", "malformed", 400, lambda c: _order_request(c, {"url": ...})),
    Finding(_URL, "wrong: another one", "malformed", 400,
            lambda c: _order_request(c, {"url": c.acme.directory["newAccount"]})),
    Finding(_URL, "wrong: by another name of the service", "malformed", 400,
            lambda c: _order_request(c, {"url": c.acme.directory["newOrder"].replace("localhost", "127.0.0.1")})),
    Finding(_ORDER, "another's: order", "malformed", 404,
            lambda c: _of_another(c, lambda c, o: c.acme.post(o.headers["location"]))),
    Finding(_ORDER, "another's: authorization", "malformed", 404,
            lambda c: _of_another(c, lambda c, o: c.acme.post(o.json["authorizations"][0]))),
    Finding(_ORDER, "another's: authorization given up", "malformed", 404,
            lambda c: _of_another(c, lambda c, o: c.acme.post(o.json["authorizations"][0], {"status": "deactivated"}))),
    Finding(_ORDER, "another's: challenge", "malformed", 404,
            lambda c: _of_another(
                c, lambda c, o: c.acme.post(c.other.authorizations(o)[0]["challenges"][0]["url"]))),
    Finding(_ORDER, "another's: challenge answered", "malformed", 404,
            lambda c: _of_another(
                c, lambda c, o: c.acme.post(c.other.authorizations(o)[0]["challenges"][0]["url"], {}))),
    Finding(_ORDER, "another's: finalize", "malformed", 404,
            lambda c: _of_another(c, lambda c, o: c.acme.finalize(o, csr(["theirs.example"])))),
    Finding(_ORDER, "another's: certificate", "malformed", 404,
            lambda c: _of_another(c, lambda c, o: c.acme.post(o.headers["location"] + "/certificate"))),
    Finding(_ORDER, "missing: nothing is proved", "orderNotReady", 403,
            lambda c: c.acme.finalize(c.acme.order("mine.example"), csr(["mine.example"]))),
    Finding(_ORDER, "replayed: finalized again", "orderNotReady", 403, _finalized_again),
    Finding(_ORDER, "expired", "orderNotReady", 403, _late),
    Finding(_ORDER, "revoked: given up", "orderNotReady", 403, _given_up),
    Finding(_PROOF, "missing", "unauthorized", 403, lambda c: _shown(c, lambda _: None)),
    Finding(_PROOF, "wrong", "unauthorized", 403, lambda c: _shown(c, lambda _: "something")),
    Finding(_PROOF, "wrong: the token alone", "unauthorized", 403,
            lambda c: _shown(c, lambda w: str(w["token"]))),
    Finding(_PROOF, "replayed: that of an earlier order", "unauthorized", 403, _earlier_token),
    Finding(_PROOF, "another's: with another account's key", "unauthorized", 403,
            lambda c: _shown(c, c.other.key_authorization)),
    Finding(_PROOF, "expired", "orderNotReady", 403, _late_challenge),
    Finding(_CSR, "missing: no request", "badCSR", 400, lambda c: _finalize(c, b"")),
    Finding(_CSR, "wrong: not signed by its key", "badCSR", 400,
            lambda c: _finalize(c, other_signature(csr(["mine.example"])))),
    Finding(_CSR, "wrong: other names", "badCSR", 400, lambda c: _finalize(c, csr(["other.example"]))),
    Finding(_CSR, "wrong: the account's own key", "badCSR", 400,
            lambda c: _finalize(c, csr(["mine.example"], key=c.acme.key.private_key))),
    Finding(_CSR, "another's: the key of another account", "badCSR", 400, _other_account_s_key),
    Finding(_CHANGE, "missing: nothing signed by the new key", "malformed", 400,
            lambda c: c.acme.post(c.acme.directory["keyChange"], {"account": c.acme.kid})),
    Finding(_CHANGE, "wrong: the old key signs", "malformed", 400,
            lambda c: _change(c, _new_key(), signer=c.acme.key)),
    Finding(_CHANGE, "wrong: another old key", "malformed", 400,
            lambda c: _change(c, _new_key(), {"oldKey": c.other.jwk})),
    Finding(_CHANGE, "wrong: a nonce inside", "malformed", 400,
            lambda c: _change(c, _new_key(), nonce=c.acme.nonce())),
    Finding(_CHANGE, "wrong: another URL inside", "malformed", 400,
            lambda c: _change(c, _new_key(), url=c.acme.directory["newOrder"])),
    Finding(_CHANGE, "wrong: to the key that it has", "malformed", 409,
            lambda c: _change(c, c.acme.key)),
    Finding(_CHANGE, "replayed: the inner request", "malformed", 400, _inner_again),
    Finding(_CHANGE, "another's: for another account", "malformed", 400,
            lambda c: _change(c, _new_key(), {"account": c.other.kid})),
    Finding(_CHANGE, "another's: to another account's key", "malformed", 409,
            lambda c: _change(c, c.other.key)),
    Finding(_REVOKE, "missing: an account that is not", "accountDoesNotExist", 400,
            lambda c: _revocation(c, _unknown)),
    Finding(_REVOKE, "wrong: by a key that is not the certificate's", "unauthorized", 403,
            lambda c: _revocation(c, lambda c: Acme(c.client))),
    Finding(_REVOKE, "wrong: by an account's key as if it were the certificate's", "unauthorized", 403,
            lambda c: _revocation(c, lambda c: Acme(c.client, key=c.acme.key))),
    Finding(_REVOKE, "another's: by another account", "unauthorized", 403,
            lambda c: _revocation(c, lambda c: c.other)),
    Finding(_REVOKE, "revoked: by a deactivated account", "unauthorized", 401,
            lambda c: _revocation(c, _gone)),
    Finding(_REVOKE, "revoked: the certificate, already", "alreadyRevoked", 400, _revoked_again),
    Finding(_REVOKE, "expired: the certificate", "malformed", 409, _revoked_late),
    Finding(_REVOKE, "replayed: the same request", "badNonce", 400, _revocation_again),
    Finding(_PERSON, "missing", "malformed", 404, _not_yet_approved),
    Finding(_PERSON, "wrong: refused", "unauthorized", 403, _not_approved),
]  # fmt: skip


@pytest.fixture
def case(world: World, client: Client) -> Case:
    both = [Acme(client), Acme(client)]
    for each in both:
        assert each.register(external(world.serving)).status == 201
    made = Case(world, client, *both)
    made.mark()
    return made


@pytest.mark.parametrize("finding", FINDINGS, ids=lambda each: f"{each.path}: {each.wrong}")
def test_nothing_wrong_is_let_in(case: Case, finding: Finding) -> None:
    found = finding.attempt(case)
    problem = found.json if isinstance(found, Reply) else found
    assert (problem["type"].removeprefix(TYPE), problem["status"]) == (finding.kind, finding.status)
    if isinstance(found, Reply):
        assert found.status == finding.status
        assert found.headers["replay-nonce"]
    if finding.path == _EAB and finding.status == 401:
        assert problem["detail"] == "The external account binding is not valid.", "no hint"
    assert case.count() == case.before


def test_every_way_of_being_wrong_is_tried_or_makes_no_sense() -> None:
    said = [(each.path, each.wrong) for each in FINDINGS] + [each[:2] for each in SENSELESS]
    assert len(set(said)) == len(said)
    for path in {each.path for each in FINDINGS}:
        words = " ".join(wrong for of, wrong in said if of == path)
        assert "missing" in words, path
