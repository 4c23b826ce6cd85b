"""ACME, broken on purpose: two at once, too much, strange spellings, weak keys, what came to nothing."""

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from joserfc.jwk import ECKey, OKPKey, RSAKey
from sqlalchemy import func, select

from pki import reconcile
from pki.acme import leftovers, validation
from pki.acme.validation import Look, ProofMissing
from pki.history import AuditQuery, audit_events
from scheduler.acme.proofs import probe
from store.acme_tables import acme_nonces
from tests.api.acme.client import Acme, b64, challenge, csr, external, kind, signed
from tests.api.acme.conftest import World
from tests.api.acme.test_orders import issued, prove
from tests.api.acme.test_revocation import identifier
from tests.api.serving import Client, Reply
from tests.api.site import CLOCKWORK, CONSOLE


def at_once(
    world: World, acme: Acme, number: int, act: Callable[[Acme, int], Reply]
) -> list[Reply]:
    """The same client, on several connections at the same time."""
    replies: list[Reply] = []
    gate = threading.Barrier(number, timeout=60)

    def run(which: int) -> None:
        with world.serving.client() as held:
            mine = Acme(held, acme.endpoint, key=acme.key, kid=acme.kid)
            mine.nonce()
            gate.wait()
            replies.append(act(mine, which))

    threads = [threading.Thread(target=run, args=(each,)) for each in range(number)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(replies) == number
    return replies


def fail(world: World, acme: Acme, order: Reply) -> None:
    """Answer a challenge with something wrong, until it is given up."""
    (found,) = acme.authorizations(order)
    world.names.records[found["identifier"]["value"], "A"] = ["169.254.169.254"]
    assert acme.post(challenge(found, "http-01")["url"], {}).status == 200
    world.look(lambda: acme.post(order.headers["location"]).json["status"] == "invalid")


def outcome(look: Look) -> ProofMissing | None:
    """What a look over the network comes to."""
    try:
        probe(look)
    except ProofMissing as missing:
        return missing
    return None


# Two at once


def test_a_key_that_is_changed_to_several_at_once_is_one_of_them(world: World, acme: Acme) -> None:
    keys: list[Any] = [ECKey.generate_key("P-256") for _ in range(4)]
    url = acme.directory["keyChange"]
    payload = {"account": acme.kid, "oldKey": acme.jwk}

    def act(mine: Acme, which: int) -> Reply:
        header = {"alg": "ES256", "jwk": keys[which].as_dict(private=False), "url": url}
        return mine.post(url, signed(header, payload, keys[which]))

    replies = at_once(world, acme, 4, act)
    # The others were too late, or signed with what was the key no more.
    assert sorted(each.status for each in replies)[0] == 200
    assert {each.status for each in replies} <= {200, 400, 401}
    good = []
    for key in keys:
        there = Acme(acme.client, key=key, kid=acme.kid)
        good.append(there.post(acme.kid or "").status)
    assert sorted(good) == [200, 400, 400, 400]
    assert acme.post(acme.kid or "").status == 400, "the old one is none"


def test_two_accounts_that_take_one_key_at_once_do_not_share_it(world: World, acme: Acme) -> None:
    other, new = Acme(acme.client), ECKey.generate_key("P-256")
    other.register(external(world.serving))
    url = acme.directory["keyChange"]

    def act(mine: Acme, which: int) -> Reply:
        who = (acme, other)[which]
        mine.key, mine.kid = who.key, who.kid
        header = {"alg": "ES256", "jwk": new.as_dict(private=False), "url": url}
        return mine.post(url, signed(header, {"account": who.kid, "oldKey": who.jwk}, new))

    assert sorted(each.status for each in at_once(world, acme, 2, act)) == [200, 409]


def test_a_challenge_that_is_answered_several_times_at_once_is_looked_at_once(
    world: World, acme: Acme
) -> None:
    order = acme.order("twice.example")
    (found,) = acme.authorizations(order)
    wanted = challenge(found, "http-01")
    world.names.records["twice.example", "A"] = ["127.0.0.1"]
    world.web.show(wanted["token"], acme.key_authorization(wanted))
    world.web.asked.clear()
    replies = at_once(world, acme, 4, lambda mine, _: mine.post(wanted["url"], {}))
    assert {each.status for each in replies} == {200}
    world.look(lambda: acme.post(order.headers["location"]).json["status"] == "ready")
    assert acme.post(wanted["url"], {}).json["status"] == "valid"
    assert len(world.web.asked) == 1
    number = order.json["authorizations"][0].rpartition("/")[2]
    query = AuditQuery(object=f"acme-authorization:{number}", limit=10)
    told = audit_events(world.serving.site.desk, CONSOLE, query)
    assert [each.action for each in told] == ["acme.authorization.valid"]


# Too much


@pytest.mark.parametrize("number", [101, 10_000])
def test_too_many_names_are_refused(acme: Acme, number: int) -> None:
    names = [{"type": "dns", "value": f"n{each}.example"} for each in range(number)]
    reply = acme.post(acme.directory["newOrder"], {"identifiers": names})
    assert reply.status in {400, 413}
    assert kind(reply) == "malformed"


def test_as_many_names_as_an_order_takes(acme: Acme) -> None:
    reply = acme.order(*(f"n{each}.example" for each in range(100)))
    assert reply.status == 201
    assert len(reply.json["authorizations"]) == 100


def test_nonces_take_no_memory_until_they_are_used(world: World, acme: Acme) -> None:
    def held() -> int:
        with world.serving.site.desk.store.read() as connection:
            return int(connection.scalar(select(func.count()).select_from(acme_nonces)) or 0)

    before = held()
    for _ in range(50):
        acme.nonce()
    url = acme.kid or ""
    # Nor by who does not hold the key that is named.
    for _ in range(5):
        sent = signed(acme.header(url), None, ECKey.generate_key("P-256"))
        assert acme.send(url, sent).status == 400
    assert held() == before
    assert acme.post(url).status == 200
    assert held() == before + 1


def test_who_failed_too_often_is_not_looked_at_any_more(world: World, client: Client) -> None:
    """The limit counts when a challenge is answered: orders may have been made before."""
    acme = Acme(client, "few")
    acme.register()
    first, second = acme.order("f1.example"), acme.order("f2.example")
    url = challenge(acme.authorizations(second)[0], "http-01")["url"]
    world.door("few", failures_per_hour=1)
    try:
        fail(world, acme, first)
        reply = acme.post(url, {})
        assert (reply.status, kind(reply)) == (429, "rateLimited")
        assert 0 < int(reply.headers["retry-after"]) <= 3601
    finally:
        world.door("few", failures_per_hour=10_000)
    assert acme.post(url).json["status"] == "pending"


def test_what_was_asked_for_at_once_is_not_all_looked_for(world: World, client: Client) -> None:
    """Before the first has failed, very many may be answered: they would make us a scanner."""
    acme = Acme(client, "few")
    acme.register()
    names = [f"scan{each}.example" for each in range(6)]
    order = acme.order(*names)
    for name in names:
        world.names.records[name, "A"] = ["169.254.169.254"]
    world.door("few", failures_per_hour=2)
    try:
        found = acme.authorizations(order)
        for each in found:
            assert acme.post(challenge(each, "http-01")["url"], {}).status == 200
        site = world.serving.site
        for _ in found:  # one after the other: so many are connected to that look at the same time
            (look,) = validation.claim(site.desk, CLOCKWORK, owner="a", limit=1, now=site.clock())
            missing = outcome(look)
            validation.settle(site.desk, CLOCKWORK, look, missing, now=site.clock())
    finally:
        world.door("few", failures_per_hour=10_000)
    shown = [challenge(each, "http-01")["error"] for each in acme.authorizations(order)]
    kinds = [each["type"].rpartition(":")[2] for each in shown]
    assert sorted(kinds) == ["rateLimited"] * 4 + ["rejectedIdentifier"] * 2


def test_who_asks_for_very_much_lets_the_others_wait_for_one(world: World, acme: Acme) -> None:
    site = world.serving.site
    greedy, modest = acme, Acme(acme.client)
    modest.register(external(world.serving))
    many = greedy.order(*(f"m{each}.example" for each in range(20)))
    for found in greedy.authorizations(many):
        greedy.post(challenge(found, "dns-01")["url"], {})
    one = modest.order("modest.example")
    modest.post(challenge(modest.authorizations(one)[0], "dns-01")["url"], {})
    looks = validation.claim(site.desk, CLOCKWORK, owner="dead", limit=2, now=site.clock())
    assert validation.release_of(site.desk, lambda owner: owner == "dead") == 2
    assert {each.name.value for each in looks} >= {"modest.example"}
    # Nothing of this is left to be looked at over the network.
    for whose, order in ((greedy, many), (modest, one)):
        for url in order.json["authorizations"]:
            assert whose.post(url, {"status": "deactivated"}).status == 200


# Strange spellings


SPELLINGS: list[tuple[str, str, str | None]] = [
    ("dns", "Upper.EXAMPLE", "upper.example"),
    ("dns", "xn--mller-kva.example", "xn--mller-kva.example"),
    ("dns", "XN--MLLER-KVA.example", "xn--mller-kva.example"),
    ("dns", "müller.example", None),
    ("dns", "ab--cd.example", None),
    ("dns", "dot.example.", None),
    ("dns", ".example", None),
    ("dns", "a_b.example", None),
    ("dns", " a.example", None),
    ("dns", "a.example\n", None),
    ("dns", "\u212a.example", None),  # a sign that is a k when it is made small
    ("dns", "a" * 64 + ".example", None),
    ("dns", "1.2.3.4", None),
    ("dns", "1.2.3", None),
    ("dns", "[::1]", None),
    ("ip", "192.0.2.1", "192.0.2.1"),
    ("ip", "192.0.2.001", None),
    ("ip", "0300.0.2.1", None),
    ("ip", "0xc0.0.2.1", None),
    ("ip", "3221225985", None),
    ("ip", "192.0.513", None),
    ("ip", " 192.0.2.1", None),
    ("ip", "192.0.2.1/32", None),
    ("ip", "\uff1192.0.2.1", None),
    ("ip", "2001:DB8:0:0:0:0:0:1", "2001:db8::1"),
    ("ip", "2001:0db8::0001", "2001:db8::1"),
    ("ip", "[2001:db8::1]", None),
    ("ip", "2001:db8::1%1", None),
    ("ip", "::", None),
    ("ip", "ff02::1", None),
]


@pytest.mark.parametrize(("of", "value", "shown"), SPELLINGS)
def test_a_name_has_one_spelling(anybody: Acme, of: str, value: str, shown: str | None) -> None:
    wanted = {"identifiers": [{"type": of, "value": value}]}
    reply = anybody.post(anybody.directory["newOrder"], wanted)
    if shown is None:
        assert (reply.status, kind(reply)) == (400, "rejectedIdentifier")
    else:
        assert reply.json["identifiers"] == [{"type": of, "value": shown}]


def test_the_same_name_twice_is_one(anybody: Acme) -> None:
    reply = anybody.order("same.example", "SAME.example", "2001:db8::1", "2001:DB8:0::1")
    assert len(reply.json["authorizations"]) == 2


def test_a_request_may_spell_its_names_otherwise(world: World, acme: Acme) -> None:
    order = acme.order("Case.Example")
    prove(world, acme, order)
    done = acme.finalize(order, csr(["CASE.example"], common="case.EXAMPLE"))
    assert done.json["status"] == "valid", done


# Who may order what is said before anything is proved


def test_what_the_token_is_not_for_is_refused_before_it_is_proved(
    world: World, client: Client
) -> None:
    acme = Acme(client)
    bound = external(world.serving, names=("dns:*.mine.example",), authorities=("root",))
    assert acme.register(bound).status == 201
    reply = acme.order("a.other.example")
    assert (reply.status, kind(reply)) == (400, "rejectedIdentifier")
    endpoints = world.serving.site.desk.rules.endpoints
    through = endpoints["gateway"]
    dict.__setitem__(endpoints, "gateway", replace(through, authority="issuing"))  # type: ignore[arg-type]
    try:
        reply = acme.order("a.mine.example")
    finally:
        dict.__setitem__(endpoints, "gateway", through)  # type: ignore[arg-type]
    assert reply.status == 403
    assert "issuing" in reply.json["detail"]


# Weak keys


def _rsa_of(e: int) -> Any:
    """A key whose exponent is that small; made by hand, because nobody makes such any more."""
    found: list[int] = []
    while len(found) < 2:
        private = rsa.generate_private_key(65537, 2048).private_numbers()
        found += [each for each in (private.p, private.q) if (each - 1) % e]
    p, q = found[:2]
    phi = (p - 1) * (q - 1)
    d = pow(e, -1, phi)
    numbers = rsa.RSAPrivateNumbers(
        p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), rsa.RSAPublicNumbers(e, p * q)
    )
    return numbers.private_key()


@pytest.fixture(scope="module")
def cubic() -> Any:
    return _rsa_of(3)


def test_a_certificate_has_no_weak_key(world: World, anybody: Acme, cubic: Any) -> None:
    order = anybody.order("weak.example")
    prove(world, anybody, order)
    short = rsa.generate_private_key(65537, 1024)  # noqa: S505
    for key in (cubic, short):
        reply = anybody.finalize(order, csr(["weak.example"], key=key))
        assert (reply.status, kind(reply)) == (400, "badCSR"), reply
    assert anybody.post(order.headers["location"]).json["status"] == "ready"


def test_an_account_has_no_weak_key(client: Client, cubic: Any) -> None:
    acme = Acme(client, "open", key=RSAKey.import_key(cubic), algorithm="RS256")
    reply = acme.register()
    assert (reply.status, kind(reply)) == (400, "badPublicKey")
    header = {"jwk": {"kty": "OKP", "crv": "Ed25519", "x": b64(b"\1" + bytes(31))}, "alg": "EdDSA"}
    url = acme.directory["newAccount"]
    acme.key = OKPKey.generate_key("Ed25519")
    reply = acme.send(url, signed({**acme.header(url), **header}, {}, acme.key))
    assert (reply.status, kind(reply)) == (400, "badPublicKey")


def test_a_key_has_one_spelling_and_one_account(client: Client) -> None:
    acme = Acme(client, "open")
    url = acme.directory["newAccount"]
    padded = {
        **acme.jwk,
        "x": b64(bytes(1) + acme.key.public_key.public_numbers().x.to_bytes(32, "big")),
    }
    reply = acme.send(url, signed(acme.header(url, jwk=padded), {}, acme.key))
    assert (reply.status, kind(reply)) == (400, "badPublicKey")


def test_a_request_with_a_name_of_another_kind_is_refused(world: World, acme: Acme) -> None:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding

    order = acme.order("kinds.example")
    prove(world, acme, order)
    mine = x509.DNSName("kinds.example")
    others: list[x509.GeneralName] = [
        x509.RegisteredID(x509.ObjectIdentifier("1.2.3")),
        x509.OtherName(x509.ObjectIdentifier("1.2.3"), b"\x05\x00"),
        x509.RFC822Name("a@kinds.example"),
        x509.UniformResourceIdentifier("https://kinds.example/"),
        x509.DNSName("*.kinds.example"),
        x509.DNSName("kinds.example."),
    ]
    for other in others:
        builder = x509.CertificateSigningRequestBuilder(x509.Name([]))
        builder = builder.add_extension(x509.SubjectAlternativeName([mine, other]), critical=False)
        made = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
        reply = acme.finalize(order, made.public_bytes(Encoding.DER))
        assert (reply.status, kind(reply)) == (400, "badCSR"), (other, reply)


# What came to nothing


def test_an_order_that_failed_does_not_keep_another_from_renewing(world: World, acme: Acme) -> None:
    _, (made, _) = issued(world, acme, "renewed.example")
    name = identifier(made)
    failed = acme.order("renewed.example", replaces=name)
    again = acme.order("renewed.example", replaces=name)
    assert (again.status, kind(again)) == (409, "alreadyReplaced")
    fail(world, acme, failed)
    order, _ = issued(world, acme, "renewed.example", replaces=name)
    assert order.json["replaces"] == name


@pytest.mark.parametrize("which", ["other issuer", "other spelling", "no name of it"])
def test_what_is_renewed_is_meant(world: World, acme: Acme, which: str) -> None:
    _, (made, _) = issued(world, acme, "meant.example")
    key, _, serial = identifier(made).partition(".")
    names = {"other issuer": f"{b64(b'x' * 20)}.{serial}", "other spelling": f"{key}.AAAA{serial}"}
    ordered = "other.example" if which == "no name of it" else "meant.example"
    reply = acme.order(ordered, replaces=names.get(which, f"{key}.{serial}"))
    assert (reply.status, kind(reply)) == (400, "malformed")
    assert acme.order("meant.example", "other.example", replaces=f"{key}.{serial}").status == 201


def test_orders_that_came_to_nothing_are_not_listed(world: World, acme: Acme) -> None:
    done, _ = issued(world, acme, "done.example")
    failed, given_up, waits = (acme.order(f"l{each}.example") for each in range(3))
    fail(world, acme, failed)
    acme.post(given_up.json["authorizations"][0], {"status": "deactivated"})
    listed = acme.post((acme.kid or "") + "/orders").json["orders"]
    assert listed == [done.headers["location"], waits.headers["location"]]


def test_an_order_whose_certificate_was_given_up_ends_by_itself(world: World, acme: Acme) -> None:
    """Its client does not come back; another order renews what it was to renew, and in the end it is forgotten."""
    site = world.serving.site
    _, (old, _) = issued(world, acme, "forgotten.example")
    renewed = identifier(old)
    order = acme.order("forgotten.example", replaces=renewed)
    prove(world, acme, order)
    site.keys.fail()
    try:
        acme.finalize(order, csr(["forgotten.example"]))
    finally:
        site.keys.heal()
    url, listed = order.headers["location"], (acme.kid or "") + "/orders"
    site.clock.ahead = timedelta(days=8)
    try:
        # It may be that somebody signs it at this moment.
        assert acme.post(url).json["status"] == "processing"
        assert url in acme.post(listed).json["orders"]
        reconcile.settle(site.desk, CLOCKWORK, now=site.clock())
        assert acme.post(url).json["status"] == "invalid"
        assert url not in acme.post(listed).json["orders"]
        assert acme.order("forgotten.example", replaces=renewed).status == 201
        site.clock.ahead = timedelta(days=15)
        with site.desk.store.write() as connection:
            leftovers.forget(connection, site.clock())
        assert acme.post(url).status == 404
    finally:
        site.clock.ahead = timedelta(0)
