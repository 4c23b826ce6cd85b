"""ACME: from an order to its certificate (RFC 8555 §7.4, §7.5, §8.3)."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import select

from pki import reconcile
from pki.acme import leftovers
from pki.actors import Role
from pki.certificates import find
from pki.history import AuditQuery, audit_events
from pki.x509 import serials
from store.acme_tables import acme_orders
from store.tables import certificates
from tests.api.acme.client import Acme, challenge, csr, external, kind, other_signature
from tests.api.acme.conftest import World
from tests.api.serving import Client, Reply
from tests.api.site import CLOCKWORK, CONSOLE


def prove(world: World, acme: Acme, order: Reply) -> None:
    """Show what http-01 wants, and wait until all names are proved, or one is not."""
    for found in acme.authorizations(order):
        name = found["identifier"]["value"]
        if found["identifier"]["type"] == "dns":
            world.names.records[name, "A"] = ["127.0.0.1"]
        wanted = challenge(found, "http-01")
        world.web.show(wanted["token"], acme.key_authorization(wanted))
        assert acme.post(wanted["url"], {}).json["status"] == "processing"
    url = order.headers["location"]
    world.look(lambda: acme.post(url).json["status"] != "pending")


def issued(world: World, acme: Acme, *names: str, **more: Any) -> tuple[Reply, Any]:
    """A certificate: its order, and what was downloaded."""
    order = acme.order(*names, **more)
    assert order.status == 201, order
    prove(world, acme, order)
    done = acme.finalize(order, csr(list(names)))
    assert done.status == 200, done
    assert done.json["status"] == "valid"
    reply = acme.post(done.json["certificate"])
    assert reply.headers["content-type"] == "application/pem-certificate-chain"
    return order, x509.load_pem_x509_certificates(reply.body)


def test_an_order_becomes_a_certificate(world: World, acme: Acme) -> None:
    order = acme.order("gw1.example", "gw1-b.example")
    assert order.status == 201
    assert order.json["status"] == "pending"
    assert order.json["profile"] == "gateway"
    found = acme.authorizations(order)
    assert [each["status"] for each in found] == ["pending", "pending"]
    assert {each["type"] for each in found[0]["challenges"]} == {
        "http-01",
        "dns-01",
        "tls-alpn-01",
    }
    prove(world, acme, order)
    assert acme.post(order.headers["location"]).json["status"] == "ready"
    (shown,) = acme.authorizations(order)[0]["challenges"]
    assert shown["status"] == "valid"
    assert shown["validated"]
    done = acme.finalize(order, csr(["gw1-b.example", "gw1.example"], common="gw1.example"))
    assert done.json["status"] == "valid", done
    made, issuer = x509.load_pem_x509_certificates(acme.post(done.json["certificate"]).body)
    made.verify_directly_issued_by(issuer)
    on_record = find(world.serving.site.desk, serials.to_hex(made.serial_number))
    assert set(on_record.names) == {"dns:gw1.example", "dns:gw1-b.example"}
    query = AuditQuery(object=f"certificate:issuing:{on_record.serial}", limit=10)
    told = audit_events(world.serving.site.desk, CONSOLE, query)
    intent = next(each for each in told if each.action == "certificate.sign")
    assert intent.detail["door"] == "acme"
    assert intent.detail["order"] == int(order.headers["location"].rpartition("/")[2])
    listed = acme.post((acme.kid or "") + "/orders").json["orders"]
    assert listed == [order.headers["location"]]


def test_the_web_server_sees_a_plain_request(world: World, acme: Acme) -> None:
    world.web.asked.clear()
    prove(world, acme, acme.order("plain.example"))
    (asked,) = world.web.asked
    assert asked[0].startswith("/.well-known/acme-challenge/")
    assert asked[1]["host"] == f"plain.example:{world.web.port}"
    assert not {"authorization", "cookie", "proxy-authorization"} & asked[1].keys()


def test_an_address_is_proved_and_certified(world: World, anybody: Acme) -> None:
    """RFC 8738."""
    order = anybody.order("127.0.0.1")
    (found,) = anybody.authorizations(order)
    assert found["identifier"] == {"type": "ip", "value": "127.0.0.1"}
    assert {each["type"] for each in found["challenges"]} == {"http-01", "tls-alpn-01"}
    prove(world, anybody, order)
    done = anybody.finalize(order, csr(["127.0.0.1"]))
    made = x509.load_pem_x509_certificates(anybody.post(done.json["certificate"]).body)[0]
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(each) for each in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]


@pytest.mark.parametrize(
    ("identifier", "problem"),
    [
        ({"type": "dns", "value": "*.example.com"}, "rejectedIdentifier"),
        ({"type": "dns", "value": "a..example"}, "rejectedIdentifier"),
        ({"type": "dns", "value": "ümlaut.example"}, "rejectedIdentifier"),
        ({"type": "dns", "value": "192.0.2.1"}, "rejectedIdentifier"),
        ({"type": "dns", "value": "a.example\u0000"}, "rejectedIdentifier"),
        ({"type": "dns", "value": ""}, "rejectedIdentifier"),
        ({"type": "ip", "value": "a.example"}, "rejectedIdentifier"),
        ({"type": "ip", "value": "fe80::1%eth0"}, "rejectedIdentifier"),
        ({"type": "ip", "value": "224.0.0.1"}, "rejectedIdentifier"),
        ({"type": "email", "value": "a@example.com"}, "unsupportedIdentifier"),
        ({"type": "dns"}, "malformed"),
        ({"type": 1, "value": "a.example"}, "malformed"),
        ("a.example", "malformed"),
    ],
)
def test_names_that_nobody_gets_are_refused(acme: Acme, identifier: object, problem: str) -> None:
    reply = acme.post(acme.directory["newOrder"], {"identifiers": [identifier]})
    assert (reply.status, kind(reply)) == (400, problem)


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"notAfter": "2030-01-01T00:00:00Z"}, "malformed"),
        ({"notBefore": "2030-01-01T00:00:00Z"}, "malformed"),
        ({"profile": "cnsa"}, "invalidProfile"),
        ({"replaces": "x"}, "malformed"),
        ({"replaces": "AAAA.AAAA"}, "malformed"),
    ],
)
def test_an_order_asks_for_what_there_is(acme: Acme, more: dict[str, object], problem: str) -> None:
    reply = acme.order("a.example", **more)
    assert (reply.status, kind(reply)) == (400, problem)
    assert acme.order("a.example", profile="gateway").status == 201
    assert kind(acme.post(acme.directory["newOrder"], {"identifiers": []})) == "malformed"


def test_a_token_limits_what_may_be_ordered(world: World, client: Client) -> None:
    acme = Acme(client)
    acme.register(external(world.serving, names=("dns:*.branch.example", "ip:127.0.0.0/24")))
    assert acme.order("gw.branch.example", "127.0.0.1").status == 201
    for name in ("gw.other.example", "deep.gw.branch.example", "127.0.1.1"):
        reply = acme.order("gw.branch.example", name)
        assert (reply.status, kind(reply)) == (400, "rejectedIdentifier")


def _request(acme: Acme, which: str) -> bytes:
    names = ["one.example", "two.example"]
    made: dict[str, Callable[[], bytes]] = {
        "fewer": lambda: csr(names[:1]),
        "more": lambda: csr([*names, "three.example"]),
        "other": lambda: csr(["one.example", "2.example"]),
        "none": lambda: csr([]),
        "other common name": lambda: csr(names, common="three.example"),
        "account key": lambda: csr(names, key=acme.key.private_key),
        "curve": lambda: csr(names, key=ec.generate_private_key(ec.SECP224R1())),
        "garbage": lambda: b"0\x82\x01",
        "empty": lambda: b"",
        "cut": lambda: csr(names)[:-5],
        "signature": lambda: other_signature(csr(names)),
    }
    return made[which]()


@pytest.mark.parametrize(
    "which",
    [
        "fewer",
        "more",
        "other",
        "none",
        "other common name",
        "account key",
        "curve",
        "garbage",
        "empty",
        "cut",
        "signature",
    ],
)
def test_a_request_is_for_exactly_what_was_ordered(world: World, acme: Acme, which: str) -> None:
    order = acme.order("one.example", "two.example")
    prove(world, acme, order)
    reply = acme.finalize(order, _request(acme, which))
    assert (reply.status, kind(reply)) == (400, "badCSR"), reply
    assert acme.post(order.headers["location"]).json["status"] == "ready"
    good = acme.finalize(order, csr(["one.example", "two.example"]))
    assert good.json["status"] == "valid"


def test_nothing_is_finalized_before_it_is_proved(world: World, acme: Acme) -> None:
    order = acme.order("early.example", "second.example")
    early = acme.finalize(order, csr(["early.example", "second.example"]))
    assert (early.status, kind(early)) == (403, "orderNotReady")
    first = acme.authorizations(order)[0]
    wanted = challenge(first, "http-01")
    world.names.records["early.example", "A"] = ["127.0.0.1"]
    world.web.show(wanted["token"], acme.key_authorization(wanted))
    acme.post(wanted["url"], {})
    world.look(lambda: acme.authorizations(order)[0]["status"] == "valid")
    half = acme.finalize(order, csr(["early.example", "second.example"]))
    assert (half.status, kind(half)) == (403, "orderNotReady")


def test_an_order_is_finalized_once(world: World, acme: Acme) -> None:
    order, _ = issued(world, acme, "once.example")
    again = acme.finalize(order, csr(["once.example"]))
    assert (again.status, kind(again)) == (403, "orderNotReady")


def test_two_who_finalize_at_once_get_one_certificate(world: World, acme: Acme) -> None:
    order = acme.order("race.example")
    prove(world, acme, order)
    replies: list[Reply] = []

    def run() -> None:
        with world.serving.client() as held:
            mine = Acme(held, key=acme.key, kid=acme.kid)
            replies.append(mine.finalize(order, csr(["race.example"])))

    threads = [threading.Thread(target=run) for _ in range(6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted(each.status for each in replies) == [200, 403, 403, 403, 403, 403]
    assert _statuses(world, "dns:race.example") == ["valid"]


@pytest.mark.parametrize("number", ["0", "999999", "1e3", "-1", "x", "9" * 30])
def test_what_is_not_there_is_not_found(acme: Acme, number: str) -> None:
    base = acme.directory["newOrder"].removesuffix("new-order")
    for what in ("order", "authorization", "challenge"):
        reply = acme.post(f"{base}{what}/{number}")
        assert (reply.status, kind(reply)) == (404, "malformed")


def test_a_proof_that_is_wrong_ends_the_order(world: World, acme: Acme) -> None:
    order = acme.order("wrong.example")
    (found,) = acme.authorizations(order)
    wanted = challenge(found, "http-01")
    world.names.records["wrong.example", "A"] = ["127.0.0.1"]
    world.web.show(wanted["token"], "the secret of somebody's inside")
    acme.post(wanted["url"], {})
    url = order.headers["location"]
    world.look(lambda: acme.post(url).json["status"] != "pending")
    assert acme.post(url).json["status"] == "invalid"
    (shown,) = acme.authorizations(order)
    assert shown["status"] == "invalid"
    (failed,) = shown["challenges"]
    assert failed["error"]["type"].endswith(":unauthorized")
    assert "secret" not in str(failed), "what is found inside is nobody's business"
    reply = acme.finalize(order, csr(["wrong.example"]))
    assert (reply.status, kind(reply)) == (403, "orderNotReady")


@pytest.mark.parametrize("name", ["inside.example", "127.0.0.1", "169.254.169.254", "fd00::1"])
def test_a_name_that_leads_inside_is_not_looked_at(world: World, client: Client, name: str) -> None:
    acme = Acme(client, "public")
    acme.register()
    world.names.records["inside.example", "A"] = ["127.0.0.1"]
    order = acme.order(name)
    (found,) = acme.authorizations(order)
    wanted = challenge(found, "http-01")
    world.web.show(wanted["token"], acme.key_authorization(wanted))
    world.web.asked.clear()
    acme.post(wanted["url"], {})
    url = order.headers["location"]
    world.look(lambda: acme.post(url).json["status"] != "pending")
    (failed,) = acme.authorizations(order)[0]["challenges"]
    assert failed["error"]["type"].endswith(":rejectedIdentifier")
    assert world.web.asked == []


def test_a_proof_that_comes_late_is_looked_for_again(world: World, acme: Acme) -> None:
    order = acme.order("late.example")
    (found,) = acme.authorizations(order)
    wanted = challenge(found, "http-01")
    world.names.records["late.example", "A"] = ["127.0.0.1"]
    acme.post(wanted["url"], {})
    world.look(lambda: "error" in acme.post(wanted["url"]).json)
    assert acme.post(wanted["url"]).json["status"] == "processing"
    world.web.show(wanted["token"], acme.key_authorization(wanted))
    world.look(lambda: acme.post(order.headers["location"]).json["status"] == "ready")


def test_who_died_while_looking_is_followed_by_another(world: World, acme: Acme) -> None:
    from pki.acme import validation
    from tests.api.site import CLOCKWORK

    site = world.serving.site
    order = acme.order("dead.example")
    (found,) = acme.authorizations(order)
    wanted = challenge(found, "http-01")
    world.names.records["dead.example", "A"] = ["127.0.0.1"]
    world.web.show(wanted["token"], acme.key_authorization(wanted))
    acme.post(wanted["url"], {})
    given = {"owner": "who dies", "limit": 5}
    (taken,) = validation.claim(site.desk, CLOCKWORK, now=site.clock(), **given)
    assert validation.claim(site.desk, CLOCKWORK, now=site.clock(), **given) == []
    site.clock.ahead = validation.LEASE + timedelta(seconds=1)
    try:
        world.look(lambda: acme.post(order.headers["location"]).json["status"] == "ready")
    finally:
        site.clock.ahead = timedelta(0)
    # Whoever was thought dead and comes back changes nothing.
    late = validation.ProofMissing("connection", "late")
    validation.settle(site.desk, CLOCKWORK, taken, late, now=site.clock())
    assert acme.post(order.headers["location"]).json["status"] == "ready"


def test_an_authorization_is_given_up(world: World, acme: Acme) -> None:
    order = acme.order("leave.example")
    prove(world, acme, order)
    (url,) = order.json["authorizations"]
    reply = acme.post(url, {"status": "deactivated"})
    assert reply.json["status"] == "deactivated"
    assert acme.post(order.headers["location"]).json["status"] == "invalid"
    again = acme.post(url, {"status": "deactivated"})
    assert (again.status, kind(again)) == (403, "orderNotReady")
    assert kind(acme.post(url, {"status": "valid"})) == "malformed"


def test_an_order_ends(world: World, acme: Acme) -> None:
    site = world.serving.site
    order = acme.order("old.example")
    url = acme.authorizations(order)[0]["challenges"][0]["url"]
    site.clock.ahead = timedelta(days=8)
    try:
        assert acme.post(order.headers["location"]).json["status"] == "invalid"
        (found,) = acme.authorizations(order)
        assert found["status"] == "invalid"
        reply = acme.post(url, {})
        assert (reply.status, kind(reply)) == (403, "orderNotReady")
        site.clock.ahead = timedelta(days=15)
        with site.desk.store.write() as connection:
            assert leftovers.forget(connection, site.clock()) > 0
        assert acme.post(order.headers["location"]).status == 404
    finally:
        site.clock.ahead = timedelta(0)


def test_a_person_approves_first(world: World, client: Client) -> None:
    acme = Acme(client, "watched")
    acme.register()
    order = acme.order("slow.example")
    prove(world, acme, order)
    waits = acme.finalize(order, csr(["slow.example"]))
    assert waits.json["status"] == "processing"
    assert int(waits.headers["retry-after"]) >= 30
    url = order.headers["location"]
    assert acme.post(url).json["status"] == "processing"
    with world.serving.client(Role.APPROVER) as approver:
        pending = approver.get("/v1/approvals?state=pending&act=certificate.enroll").json["items"]
        (asked,) = [each for each in pending if each["parameters"]["names"] == ["dns:slow.example"]]
        decision = {"decision": "approve", "reason": "it is ours"}
        assert approver.post(f"/v1/approvals/{asked['id']}", decision).status == 200
    done = acme.post(url)
    assert done.json["status"] == "valid", done
    assert acme.post(done.json["certificate"]).status == 200


def test_a_person_may_refuse(world: World, client: Client) -> None:
    acme = Acme(client, "watched")
    acme.register()
    order = acme.order("bad.example")
    prove(world, acme, order)
    acme.finalize(order, csr(["bad.example"]))
    with world.serving.client(Role.APPROVER) as approver:
        pending = approver.get("/v1/approvals?state=pending&act=certificate.enroll").json["items"]
        (asked,) = [each for each in pending if each["parameters"]["names"] == ["dns:bad.example"]]
        decision = {"decision": "refuse", "reason": "not ours"}
        assert approver.post(f"/v1/approvals/{asked['id']}", decision).status == 200
    reply = acme.post(order.headers["location"])
    assert reply.json["status"] == "invalid"
    assert reply.json["error"]["type"].endswith(":unauthorized")


def test_a_signer_that_is_away_lets_the_client_go_on(world: World, acme: Acme) -> None:
    site = world.serving.site
    order = acme.order("away.example")
    prove(world, acme, order)
    site.keys.fail()
    try:
        reply = acme.finalize(order, csr(["away.example"]))
    finally:
        site.keys.heal()
    # The intent is on record: the signature may exist, so that one is given up, and another begun.
    assert reply.json["status"] == "processing"
    url = order.headers["location"]
    assert acme.post(url).json["status"] == "processing"
    site.clock.ahead = timedelta(minutes=3)
    try:
        assert reconcile.settle(site.desk, CLOCKWORK, now=site.clock()) == 1
        done = acme.post(url)
    finally:
        site.clock.ahead = timedelta(0)
    assert done.json["status"] == "valid"
    made = x509.load_pem_x509_certificates(acme.post(done.json["certificate"]).body)[0]
    assert find(site.desk, serials.to_hex(made.serial_number)).status == "valid"


def test_an_order_that_nobody_approves_ends(world: World, client: Client) -> None:
    acme = Acme(client, "watched")
    acme.register()
    order = acme.order("unlooked.example")
    prove(world, acme, order)
    acme.finalize(order, csr(["unlooked.example"]))
    site = world.serving.site
    site.clock.ahead = timedelta(days=8)
    try:
        assert acme.post(order.headers["location"]).json["status"] == "invalid"
    finally:
        site.clock.ahead = timedelta(0)


def test_who_died_before_the_intent_is_followed_by_the_next_who_asks(
    world: World, acme: Acme
) -> None:
    from pki.acme import finalizing

    site = world.serving.site
    order = acme.order("claimed.example")
    prove(world, acme, order)
    number = int(order.headers["location"].rpartition("/")[2])
    # What a process has done that dies right after it.
    until = site.clock() + timedelta(seconds=150)
    free = acme_orders.c.state == "open"
    assert finalizing._claim(site.desk, number, free, csr(["claimed.example"]), until)
    url = order.headers["location"]
    assert acme.post(url).json["status"] == "processing"
    site.clock.ahead = timedelta(seconds=160)
    try:
        assert acme.post(url).json["status"] == "valid"
    finally:
        site.clock.ahead = timedelta(0)


def test_two_who_go_on_at_once_get_one_certificate(world: World, acme: Acme) -> None:
    site = world.serving.site
    order = acme.order("onward.example")
    prove(world, acme, order)
    site.keys.fail()
    try:
        acme.finalize(order, csr(["onward.example"]))
    finally:
        site.keys.heal()
    replies: list[Reply] = []

    def run() -> None:
        with world.serving.client() as held:
            replies.append(Acme(held, key=acme.key, kid=acme.kid).post(order.headers["location"]))

    site.clock.ahead = timedelta(minutes=3)
    try:
        assert reconcile.settle(site.desk, CLOCKWORK, now=site.clock()) == 1
        threads = [threading.Thread(target=run) for _ in range(6)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
    finally:
        site.clock.ahead = timedelta(0)
    assert {each.json["status"] for each in replies} <= {"valid", "processing"}
    assert acme.post(order.headers["location"]).json["status"] == "valid"
    assert _statuses(world, "dns:onward.example") == ["abandoned", "valid"]


def _statuses(world: World, names: str) -> list[str]:
    with world.serving.site.desk.store.read() as connection:
        of = select(certificates.c.status).where(certificates.c.names == names)
        return sorted(connection.scalars(of))


def test_too_many_orders_wait(client: Client) -> None:
    acme = Acme(client, "few")
    acme.register()
    assert [acme.order(f"n{each}.example").status for each in range(3)] == [201, 201, 429]
    reply = acme.order("n4.example")
    assert kind(reply) == "rateLimited"
    assert 0 < int(reply.headers["retry-after"]) <= 3601


def test_orders_come_in_pages(world: World, acme: Acme) -> None:
    made = [acme.order(f"p{each}.example").headers["location"] for each in range(52)]
    first = acme.post((acme.kid or "") + "/orders")
    assert first.json["orders"] == made[:50]
    onward = next(
        each.split(";")[0].strip(" <>")
        for each in first.headers["link"].split(",")
        if 'rel="next"' in each
    )
    rest = acme.post(onward)
    assert rest.json["orders"] == made[50:]
