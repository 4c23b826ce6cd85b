"""ACME: whatever is sent, the answer is the protocol's own error, and never one of ours.

`IKEWARDEN_SOAK_ACME` says how many requests of each kind; `make soak` sends very many.
"""

import json
import os
import random
from typing import Any

import pytest

from tests.api.acme.client import Acme, b64, csr, external, signed
from tests.api.acme.conftest import World
from tests.api.acme.test_orders import issued
from tests.api.serving import Client, Reply

NUMBER = int(os.environ.get("IKEWARDEN_SOAK_ACME", "150"))
ODD: list[Any] = [
    None, True, 0, -1, 1e300, 2**70, "", "x", "\x00", "\ud800", "é" * 50, "A" * 5000, [], [[]], [None], {}, {"": {}},
    {"type": "dns"}, [{"type": "dns", "value": "\x00"}], "mailto:a@b", ["mailto:\x00@b"], "../..", "%00", "*",
    {"protected": "", "payload": "", "signature": ""}, "=", "AAAA", b64(b"{}"), "RS256", "none",
]  # fmt: skip


def fits(reply: Reply) -> None:
    """An answer, or a problem of the protocol."""
    assert reply.status < 500, reply
    if reply.status >= 400:
        assert reply.headers["content-type"] == "application/problem+json", reply
        document = reply.json
        assert document["status"] == reply.status
        assert document["type"].startswith("urn:ietf:params:acme:error:"), document


def spoiled(dice: random.Random, document: Any) -> Any:
    """The same with something changed, somewhere."""
    if isinstance(document, dict) and document and dice.random() < 0.8:
        name = dice.choice(sorted(document))
        kept = dict(document)
        choice = dice.random()
        if choice < 0.15:
            del kept[name]
        elif choice < 0.25:
            kept[dice.choice(["crit", "b64", "zip", "d", "k", "x5c", "status"])] = dice.choice(ODD)
        else:
            kept[name] = spoiled(dice, kept[name])
        return kept
    if isinstance(document, list) and document and dice.random() < 0.7:
        place = dice.randrange(len(document))
        return [*document[:place], spoiled(dice, document[place]), *document[place + 1 :]]
    if isinstance(document, str) and document and dice.random() < 0.6:
        place = dice.randrange(len(document))
        letter = chr(dice.randrange(1, 0x250))
        return document[:place] + letter * dice.randrange(3) + document[place + 1 :]
    return dice.choice(ODD)


def payloads(acme: Acme, order: Reply) -> dict[str, Any]:
    """Every resource, with what is right there."""
    found = acme.authorizations(order)[0]
    ours = acme.directory
    request = b64(csr(["fuzz.example"]))
    return {
        ours["newAccount"]: {"contact": ["mailto:a@example.com"], "onlyReturnExisting": True},
        ours["newOrder"]: {"identifiers": [{"type": "dns", "value": "fuzz.example"}], "replaces": "AA.AA"},
        ours["revokeCert"]: {"certificate": request, "reason": 1},
        ours["keyChange"]: signed({"alg": "ES256", "jwk": acme.jwk, "url": "u"}, {"account": acme.kid}, acme.key),
        acme.kid or "": {"contact": ["mailto:a@example.com"]},
        (acme.kid or "") + "/orders": None,
        order.headers["location"]: None,
        order.json["finalize"]: {"csr": request},
        order.json["authorizations"][0]: {"status": "valid"},
        found["challenges"][0]["url"]: {},
    }  # fmt: skip


@pytest.fixture
def ordered(world: World, acme: Acme) -> Reply:
    world.door(orders_per_hour=1_000_000)
    return acme.order("fuzz.example")


def test_signed_payloads_that_are_spoiled(acme: Acme, ordered: Reply) -> None:
    dice = random.Random(8555)
    right = list(payloads(acme, ordered).items())
    for _ in range(NUMBER):
        url, payload = dice.choice(right)
        sent = spoiled(dice, payload)
        try:
            content = json.dumps(sent).encode()
        except ValueError:
            continue
        if dice.random() < 0.2:
            content = content[: dice.randrange(len(content) + 1)]
        fits(acme.post(url, content))


def test_headers_that_are_spoiled(acme: Acme, ordered: Reply) -> None:
    dice = random.Random(7515)
    urls = list(payloads(acme, ordered))
    for _ in range(NUMBER):
        url = dice.choice(urls)
        header = spoiled(
            dice, acme.header(url, **({"jwk": acme.jwk} if dice.random() < 0.3 else {}))
        )
        good = signed(acme.header(url), {}, acme.key)
        document = {**good, "protected": b64(json.dumps(header).encode())}
        fits(acme.send(url, document))


def test_bodies_that_are_spoiled(acme: Acme, ordered: Reply) -> None:
    dice = random.Random(7159)
    urls = list(payloads(acme, ordered))
    for _ in range(NUMBER):
        url = dice.choice(urls)
        document = spoiled(dice, signed(acme.header(url), {}, acme.key))
        content = json.dumps(document).encode()
        if dice.random() < 0.3:
            place = dice.randrange(len(content))
            content = content[:place] + dice.randbytes(dice.randrange(4)) + content[place + 1 :]
        fits(acme.send(url, content))


def test_requests_for_certificates_that_are_spoiled(world: World, acme: Acme) -> None:
    dice = random.Random(2986)
    from tests.api.acme.test_orders import prove

    order = acme.order("fuzz.example")
    prove(world, acme, order)
    good = csr(["fuzz.example"])
    for _ in range(NUMBER):
        spoilt = bytearray(good)
        for _ in range(dice.randrange(1, 4)):
            spoilt[dice.randrange(len(spoilt))] ^= 1 + dice.randrange(255)
        if spoilt == good:
            continue  # there and back
        reply = acme.finalize(order, bytes(spoilt))
        fits(reply)
        assert reply.status >= 400
    assert acme.finalize(order, good).json["status"] == "valid"


def test_certificates_that_are_spoiled(world: World, acme: Acme) -> None:
    dice = random.Random(5280)
    from cryptography.hazmat.primitives.serialization import Encoding

    _, (made, _) = issued(world, acme, "fuzz.example")
    good = made.public_bytes(Encoding.DER)
    for _ in range(NUMBER):
        spoilt = bytearray(good)
        place = dice.randrange(len(spoilt))
        spoilt[place] ^= 1 + dice.randrange(255)
        reply = acme.post(acme.directory["revokeCert"], {"certificate": b64(bytes(spoilt))})
        fits(reply)
        assert reply.status >= 400


def test_bindings_that_are_spoiled(world: World, client: Client) -> None:
    dice = random.Random(2104)
    bound = external(world.serving)
    for _ in range(NUMBER):
        acme = Acme(client)
        good = acme.binding(*bound)
        sent = spoiled(dice, good)
        if sent == good or not isinstance(sent, dict):
            continue
        reply = acme.register(externalAccountBinding=sent)
        fits(reply)
        assert reply.status >= 400


def test_paths_that_are_spoiled(client: Client) -> None:
    dice = random.Random(9773)
    letters = "abc019.-_~%2f%00/é "
    for _ in range(NUMBER):
        name = "".join(dice.choice(letters) for _ in range(dice.randrange(1, 40)))
        quoted = name.encode("ascii", "ignore").decode().replace(" ", "")
        reply = client.get(f"/acme/gateway/renewal-info/{quoted}")
        assert reply.status < 500, (quoted, reply)
