"""ACME: which of an endpoint's networks an account reaches, and how long."""

from typing import Any

import pytest

from pki import tokens
from pki.actors import Role
from tests.api.acme.client import Acme, challenge, external
from tests.api.acme.conftest import World
from tests.api.serving import Client, Reply
from tests.api.site import CONSOLE


def ready(world: World, acme: Acme, name: str, kind: str = "http-01") -> Reply:
    """An order whose name leads to the web server of the world, and whose client says that it can prove it."""
    world.names.records[name, "A"] = ["127.0.0.1"]
    order = acme.order(name)
    assert order.status == 201, order
    wanted = challenge(acme.authorizations(order)[0], kind)
    world.web.show(wanted["token"], acme.key_authorization(wanted))
    assert acme.post(wanted["url"], {}).json["status"] == "processing"
    return order


def came_to(world: World, acme: Acme, order: Reply) -> str:
    """The state of an order once its proof was looked for; with the error of the challenge, if there is one."""
    url = order.headers["location"]
    world.look(lambda: acme.post(url).json["status"] != "pending")
    errors = [
        each["error"]["type"].rpartition(":")[2]
        for found in acme.authorizations(order)
        for each in found["challenges"]
        if "error" in each
    ]
    return " ".join([acme.post(url).json["status"], *errors])


ACCOUNTS: list[tuple[bool, Any, str]] = [
    (False, None, "ready"),
    (False, ("127.0.0.0/8",), "ready"),
    (False, ("0.0.0.0/0",), "ready"),
    (False, ("127.0.0.2/32",), "invalid rejectedIdentifier"),
    (False, (), "invalid rejectedIdentifier"),
    (True, None, "invalid rejectedIdentifier"),
    (True, ("127.0.0.1/32",), "ready"),
    (True, ("10.0.0.0/8",), "invalid rejectedIdentifier"),
]


@pytest.mark.parametrize(("by_token", "named", "state"), ACCOUNTS)
def test_a_token_says_which_networks_its_account_reaches(
    world: World, client: Client, by_token: bool, named: Any, state: str
) -> None:
    acme = Acme(client)
    assert acme.register(external(world.serving, networks=named)).status == 201
    world.web.asked.clear()
    world.door(networks_by_token=by_token)
    try:
        assert came_to(world, acme, ready(world, acme, "reach.example")) == state
    finally:
        world.door(networks_by_token=False)
    assert bool(world.web.asked) is (state == "ready")


def test_two_accounts_of_one_endpoint_reach_different_networks(
    world: World, client: Client
) -> None:
    near, far = Acme(client), Acme(client)
    near.register(external(world.serving, networks=("127.0.0.0/8",)))
    far.register(external(world.serving, networks=("10.0.0.0/8",)))
    orders = [ready(world, each, "shared.example") for each in (near, far)]
    found = [came_to(world, *each) for each in zip((near, far), orders, strict=True)]
    assert found == ["ready", "invalid rejectedIdentifier"]


def test_without_a_token_nothing_is_reached_that_a_token_must_name(
    world: World, client: Client
) -> None:
    acme = Acme(client, "open")
    acme.register()
    world.door("open", networks_by_token=True)
    try:
        assert (
            came_to(world, acme, ready(world, acme, "nobody.example"))
            == "invalid rejectedIdentifier"
        )
    finally:
        world.door("open", networks_by_token=False)


@pytest.mark.parametrize("which", ["token revoked", "account deactivated", "binding wanted"])
def test_for_an_account_that_is_good_for_nothing_any_more_nothing_is_looked_at(
    world: World, client: Client, which: str
) -> None:
    """What it asked for before is not done after it."""
    site = world.serving.site
    bound = external(world.serving, profile="network-device")
    acme = Acme(client, "open")
    assert acme.register(None if which == "binding wanted" else bound).status == 201
    order = ready(world, acme, "gone.example")
    number = int(order.json["authorizations"][0].rpartition("/")[2])
    world.web.asked.clear()
    if which == "token revoked":
        tokens.revoke(site.desk, CONSOLE, bound[0], now=site.clock())
    if which == "account deactivated":
        assert acme.post(acme.kid or "", {"status": "deactivated"}).status == 200
    if which == "binding wanted":
        world.door("open", external_account=True)
    try:
        world.look(lambda: _state(world, number) != "pending")
    finally:
        world.door("open", external_account=False)
    assert _state(world, number) == "invalid"
    assert world.web.asked == []


def _state(world: World, authorization: int) -> str:
    from sqlalchemy import select

    from store.acme_tables import acme_authorizations

    of = select(acme_authorizations.c.state).where(acme_authorizations.c.id == authorization)
    with world.serving.site.desk.store.read() as connection:
        return str(connection.scalar(of))


def test_the_networks_of_a_token_are_shown(world: World) -> None:
    wanted = {"name": "a gateway", "role": "enroller", "profiles": ["gateway"], "uses": 1}
    with world.serving.client(Role.OPERATOR) as operator:
        made = operator.post("/v1/tokens", {**wanted, "networks": ["10.0.0.0/8", "fd00:1::/32"]})
        assert made.json["networks"] == ["10.0.0.0/8", "fd00:1::/32"]
        listed = operator.get("/v1/tokens?limit=100").json["items"]
        (shown,) = [each for each in listed if each["id"] == made.json["id"]]
        assert shown["networks"] == ["10.0.0.0/8", "fd00:1::/32"]
        for wrong in ("10.0.0.1/8", "10.0.0.0/33", "gw.example", "", "10.0.0.0/8 "):
            reply = operator.post("/v1/tokens", {**wanted, "networks": [wrong]})
            assert reply.status == 422, wrong
        assert operator.get("/v1/whoami").json["networks"] is None
