"""ACME: nonces, signed requests, accounts (RFC 8555 §6, §7.1-§7.3)."""

import base64
import json
import threading
from typing import Any

import pytest
from joserfc.jwk import ECKey, OKPKey, RSAKey

from pki import tokens
from pki.acme import nonces
from pki.history import AuditQuery, audit_events
from tests.api.acme.client import Acme, b64, external, kind, signed
from tests.api.acme.conftest import World
from tests.api.serving import Client
from tests.api.site import CONSOLE


def test_the_directory_tells_where_everything_is(world: World, client: Client) -> None:
    reply = client.get("/acme/gateway/directory")
    base = f"{world.serving.site.desk.rules.service_url}/acme/gateway/"
    document = reply.json
    meta = document.pop("meta")
    assert all(each.startswith(base) for each in document.values())
    assert set(document) == {
        "newNonce",
        "newAccount",
        "newOrder",
        "revokeCert",
        "keyChange",
        "renewalInfo",
    }
    assert meta["externalAccountRequired"] is True
    assert list(meta["profiles"]) == ["gateway"]


def test_only_open_doors_lead_in(client: Client) -> None:
    for name in ("shut", "nowhere"):
        reply = client.get(f"/acme/{name}/directory")
        assert (reply.status, kind(reply)) == (404, "malformed")


def test_nonces_come_by_head_and_get(client: Client) -> None:
    given = set()
    for method, status in (("HEAD", 200), ("GET", 204)):
        reply = client.send(method, "/acme/gateway/new-nonce")
        assert reply.status == status
        assert reply.headers["cache-control"] == "no-store"
        assert 'rel="index"' in reply.headers["link"]
        given.add(reply.headers["replay-nonce"])
    assert len(given) == 2


def test_a_nonce_is_good_once(acme: Acme) -> None:
    url = acme.kid or ""
    nonce = acme.nonce()
    assert acme.post(url, nonce=nonce).status == 200
    again = acme.post(url, nonce=nonce)
    assert (again.status, kind(again)) == (400, "badNonce")
    assert acme.post(url, nonce=again.headers["replay-nonce"]).status == 200


def test_every_process_takes_the_nonces_of_every_other(world: World, acme: Acme) -> None:
    other = world.serving.site.desk  # what another replica has: the same records, the same seal
    nonce = nonces.new(other, now=world.serving.site.clock())
    assert acme.post(acme.kid or "", nonce=nonce).status == 200


KEYS = [
    ("ES256", lambda: ECKey.generate_key("P-256")),
    ("ES384", lambda: ECKey.generate_key("P-384")),
    ("RS256", lambda: RSAKey.generate_key(2048)),
    ("EdDSA", lambda: OKPKey.generate_key("Ed25519")),
]


@pytest.mark.parametrize(("algorithm", "make"), KEYS, ids=[each[0] for each in KEYS])
def test_accounts_have_keys_of_several_kinds(
    world: World, client: Client, algorithm: str, make: Any
) -> None:
    acme = Acme(client, key=make(), algorithm=algorithm)
    made = acme.register(external(world.serving), contact=["mailto:ops@example.com"])
    assert made.status == 201
    assert made.json["status"] == "valid"
    assert made.json["contact"] == ["mailto:ops@example.com"]
    assert acme.post(acme.kid or "").json == made.json


def test_the_same_key_finds_its_account_again(acme: Acme) -> None:
    kid, acme.kid = acme.kid, None
    again = acme.register()
    assert (again.status, again.headers["location"]) == (200, kid)
    acme.kid = None
    known = acme.register(onlyReturnExisting=True)
    assert (known.status, known.headers["location"]) == (200, kid)


def test_a_key_without_an_account_is_told_so(client: Client) -> None:
    reply = Acme(client).register(onlyReturnExisting=True)
    assert (reply.status, kind(reply)) == (400, "accountDoesNotExist")


def test_who_registers_must_say_who_it_is(client: Client) -> None:
    reply = Acme(client).register()
    assert (reply.status, kind(reply)) == (403, "externalAccountRequired")


def test_where_it_came_from_is_on_record(world: World, acme: Acme) -> None:
    number = (acme.kid or "").rpartition("/")[2]
    query = AuditQuery(object=f"acme-account:{number}", limit=5)
    (found,) = audit_events(world.serving.site.desk, CONSOLE, query)
    assert found.action == "acme.account.create"
    assert found.detail["thumbprint"] == acme.thumbprint


def test_a_binding_that_is_used_by_many_at_once_binds_one(world: World, client: Client) -> None:
    bound = external(world.serving)
    statuses: list[int] = []

    def run() -> None:
        with world.serving.client() as held:
            statuses.append(Acme(held).register(bound).status)

    threads = [threading.Thread(target=run) for _ in range(6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted(statuses) == [201, 401, 401, 401, 401, 401]


def test_a_key_that_registers_many_times_at_once_has_one_account(
    world: World, client: Client
) -> None:
    bound, key = external(world.serving, uses=6), ECKey.generate_key("P-256")
    found: list[str] = []

    def run() -> None:
        with world.serving.client() as held:
            found.append(Acme(held, key=key).register(bound).headers["location"])

    threads = [threading.Thread(target=run) for _ in range(6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(found) == 6
    assert len(set(found)) == 1
    (row,) = [
        each
        for each in tokens.list_(world.serving.site.desk, CONSOLE, after=None, limit=1000)
        if each.id == bound[0]
    ]
    assert row.uses_left == 5


def test_only_who_holds_the_seal_can_make_a_binding(world: World) -> None:
    """What is on record of a token gives no key."""
    site = world.serving.site
    kid, key = external(world.serving)
    row = next(
        each for each in tokens.list_(site.desk, CONSOLE, after=None, limit=1000) if each.id == kid
    )
    assert key not in str(row)


@pytest.mark.parametrize(
    ("contact", "problem"),
    [
        ("tel:+15551234", "unsupportedContact"),
        ("ops@example.com", "unsupportedContact"),
        ("mailto:", "invalidContact"),
        ("mailto:a@example.com,b@example.com", "invalidContact"),
        ("mailto:a@example.com?cc=b@example.com", "invalidContact"),
        ("mailto:a@example.com\n", "invalidContact"),
    ],
)
def test_contacts_are_mailboxes(acme: Acme, contact: str, problem: str) -> None:
    reply = acme.post(acme.kid or "", {"contact": [contact]})
    assert (reply.status, kind(reply)) == (400, problem)


def test_contacts_are_changed(acme: Acme) -> None:
    changed = acme.post(acme.kid or "", {"contact": ["mailto:new@example.com"]})
    assert changed.json["contact"] == ["mailto:new@example.com"]
    assert acme.post(acme.kid or "").json["contact"] == ["mailto:new@example.com"]


def test_who_leaves_does_not_come_back(acme: Acme) -> None:
    left = acme.post(acme.kid or "", {"status": "deactivated"})
    assert left.json["status"] == "deactivated"
    reply = acme.post(acme.kid or "")
    assert (reply.status, kind(reply)) == (401, "unauthorized")
    kid, acme.kid = acme.kid, None
    again = acme.register()
    assert (again.status, kind(again)) == (401, "unauthorized"), kid


def test_a_key_is_changed(acme: Acme) -> None:
    old, new = acme.key, ECKey.generate_key("P-256")
    url = acme.directory["keyChange"]
    payload = {"account": acme.kid, "oldKey": acme.jwk}
    header = {"alg": "ES256", "jwk": new.as_dict(private=False), "url": url}
    reply = acme.post(url, signed(header, payload, new))
    assert reply.status == 200, reply
    assert kind(acme.post(acme.kid or "")) == "malformed"
    acme.key = new
    assert acme.post(acme.kid or "").status == 200
    other = Acme(acme.client, key=old)
    assert kind(other.register()) == "externalAccountRequired", "the old key has no account"


def test_who_has_the_key_already_is_told(world: World, acme: Acme) -> None:
    """RFC 8555 §7.3.5."""
    other, url = Acme(acme.client), acme.directory["keyChange"]
    other.register(external(world.serving))
    for holder in (other, acme):
        header = {"alg": "ES256", "jwk": holder.jwk, "url": url}
        payload = {"account": acme.kid, "oldKey": acme.jwk}
        reply = acme.post(url, signed(header, payload, holder.key))
        assert (reply.status, reply.headers["location"]) == (409, holder.kid)


def _bad_request(acme: Acme, which: str) -> Any:
    url = acme.kid or ""
    good = signed(acme.header(url), None, acme.key)
    private = dict(acme.key.as_dict(private=True))
    short = {"kty": "RSA", "n": b64(b"\xff" * 128), "e": "AQAB"}
    account = acme.directory["newAccount"]

    def by_jwk(jwk: object, alg: str = "ES256") -> Any:
        header = {"alg": alg, "nonce": acme.nonce(), "url": account, "jwk": jwk}
        protected = b64(json.dumps(header).encode())
        return {"protected": protected, "payload": b64(b"{}"), "signature": b64(b"x" * 64)}

    made = {
        "no json": lambda: b"{",
        "a list": lambda: [],
        "compact": lambda: json.dumps("a.b.c").encode(),
        "unprotected header": lambda: {**good, "header": {"kid": url}},
        "general": lambda: {"payload": "", "signatures": [good]},
        "padding": lambda: {**good, "payload": "e30="},
        "signature cut": lambda: {**good, "signature": good["signature"][:-8]},
        "payload changed": lambda: {**good, "payload": b64(b'{"status":"deactivated"}')},
        "crit": lambda: signed(acme.header(url, crit=["alg"]), None, acme.key),
        "kid elsewhere": lambda: signed(acme.header(url, kid="https://x/1"), None, acme.key),
        "kid a number": lambda: {
            **good,
            "protected": b64(json.dumps(acme.header(url, kid=1)).encode()),
        },
        "private": lambda: by_jwk(private),
        "symmetric": lambda: by_jwk({"kty": "oct", "k": "AAAA"}, "ES256"),
        "short rsa": lambda: by_jwk(short, "RS256"),
        "off the curve": lambda: by_jwk({**acme.jwk, "x": b64(b"\1" * 32)}),
        "p-521": lambda: by_jwk(dict(ECKey.generate_key("P-521").as_dict(private=False))),
        "secp256k1": lambda: by_jwk({**acme.jwk, "crv": "secp256k1"}),
        "x25519": lambda: by_jwk({"kty": "OKP", "crv": "X25519", "x": b64(b"\1" * 32)}, "EdDSA"),
        "jwk a list": lambda: by_jwk([]),
        "member a list": lambda: by_jwk({**acme.jwk, "x": [1]}),
        "other algorithm": lambda: by_jwk(acme.jwk, "RS256"),
        "none": lambda: {**by_jwk(acme.jwk, "none"), "signature": ""},
        "mac": lambda: by_jwk(acme.jwk, "HS256"),
    }
    return made[which]()


@pytest.mark.parametrize(
    ("which", "problem"),
    [
        ("no json", "malformed"),
        ("a list", "malformed"),
        ("compact", "malformed"),
        ("unprotected header", "malformed"),
        ("general", "malformed"),
        ("padding", "malformed"),
        ("signature cut", "malformed"),
        ("payload changed", "malformed"),
        ("crit", "malformed"),
        ("kid elsewhere", "accountDoesNotExist"),
        ("kid a number", "accountDoesNotExist"),
        ("private", "badPublicKey"),
        ("symmetric", "badPublicKey"),
        ("short rsa", "badPublicKey"),
        ("off the curve", "badPublicKey"),
        ("p-521", "badPublicKey"),
        ("secp256k1", "badPublicKey"),
        ("x25519", "badPublicKey"),
        ("jwk a list", "badPublicKey"),
        ("member a list", "badPublicKey"),
        ("other algorithm", "badSignatureAlgorithm"),
        ("none", "badSignatureAlgorithm"),
        ("mac", "badSignatureAlgorithm"),
    ],
)
def test_requests_that_are_not_right_are_refused(acme: Acme, which: str, problem: str) -> None:
    url = acme.directory["newAccount"] if problem.startswith("bad") else acme.kid or ""
    reply = acme.send(url, _bad_request(acme, which))
    assert (reply.status, kind(reply)) == (400, problem)
    assert reply.headers["replay-nonce"]
    if problem == "badSignatureAlgorithm":
        assert "ES256" in reply.json["algorithms"]
    assert acme.post(acme.kid or "").json["status"] == "valid"


def test_requests_have_their_own_media_type(acme: Acme) -> None:
    url = acme.kid or ""
    reply = acme.send(url, signed(acme.header(url), None, acme.key), "application/json")
    assert (reply.status, kind(reply)) == (415, "malformed")


def test_there_is_nothing_to_get_without_a_signature(acme: Acme, client: Client) -> None:
    path = "/" + (acme.kid or "").split("/", 3)[3]
    reply = client.get(path)
    assert (reply.status, kind(reply)) == (405, "malformed")
    assert "POST" in reply.headers["allow"]
    reply = client.get("/acme/gateway/nothing")
    assert (reply.status, kind(reply)) == (404, "malformed")


def test_too_many_accounts_wait(world: World, client: Client) -> None:
    world.door("few", accounts_per_hour=1)
    assert Acme(client, "few").register().status == 201
    reply = Acme(client, "few").register()
    assert (reply.status, kind(reply)) == (429, "rateLimited")
    assert 0 < int(reply.headers["retry-after"]) <= 3601
    world.door("few", accounts_per_hour=10_000)


def test_the_key_of_a_binding_is_shown_once_by_the_api(world: World) -> None:
    from pki.actors import Role

    with world.serving.client(Role.OPERATOR) as operator:
        wanted = {"name": "a gateway", "role": "enroller", "profiles": ["gateway"], "uses": 1}
        made = operator.post("/v1/tokens", wanted).json
        assert len(base64.urlsafe_b64decode(made["eab_hmac_key"] + "=")) == 32
        assert Acme(operator).register((made["id"], made["eab_hmac_key"])).status == 201
        (listed,) = [
            each for each in operator.get("/v1/tokens").json["items"] if each["id"] == made["id"]
        ]
    assert "eab_hmac_key" not in listed
    assert listed["uses_left"] == 0
