"""A listener whose URLs are true, endpoints that look for proofs on loopback, and who looks."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest

from api.server import bind
from pki.endpoints import AcmeDoor, Endpoint
from scheduler.acme.proofs import Proofs
from tests.api.acme.client import Acme, external
from tests.api.acme.world import Names, Web, name_server, web_server
from tests.api.serving import Client, Serving, serve
from tests.api.site import Site


@dataclass
class World:
    """An installation, what its clients show, and who looks at it."""

    serving: Serving
    names: Names
    web: Web
    proofs: Proofs

    def look(self, until: Callable[[], bool]) -> None:
        """Look for proofs until something is so."""
        deadline = time.monotonic() + 60
        while not until():
            assert time.monotonic() < deadline
            self.proofs.run(self.serving.site.clock())
            time.sleep(0.02)

    def door(self, endpoint: str = "gateway", **changed: object) -> None:
        """Change what an endpoint takes."""
        endpoints = dict(self.serving.site.desk.rules.endpoints)
        through = endpoints[endpoint]
        assert through.acme is not None
        endpoints[endpoint] = replace(through, acme=replace(through.acme, **changed))  # type: ignore[arg-type]
        dict.update(self.serving.site.desk.rules.endpoints, endpoints)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def world(site: Site) -> Iterator[World]:
    """The world of a module."""
    with name_server() as names, web_server() as web:
        local = AcmeDoor(
            networks=("127.0.0.0/8", "::1/128"),
            resolvers=(f"127.0.0.1:{names.port}",),
            http_port=web.port,
            orders_per_hour=10_000,
            failures_per_hour=10_000,
            accounts_per_hour=10_000,
        )
        free = replace(local, external_account=False)
        endpoints = (
            Endpoint("gateway", "gateway", acme=local),
            Endpoint("open", "network-device", acme=free),
            Endpoint("public", "network-device", acme=replace(free, networks=())),
            Endpoint("watched", "network-device", manual=True, acme=free),
            Endpoint("few", "network-device", acme=replace(free, orders_per_hour=2)),
            Endpoint("shut", "gateway"),
        )
        bound = bind("127.0.0.1", 0)
        rules = replace(
            site.desk.rules,
            endpoints={each.name: each for each in endpoints},
            service_url=f"https://localhost:{bound.getsockname()[1]}",
        )
        site.desk = replace(site.desk, rules=rules)
        proofs = Proofs(site.desk, "a test", site.clock)
        with serve(site, bound=bound) as running:
            yield World(running, names, web, proofs)
        proofs.close()


@pytest.fixture
def client(world: World) -> Iterator[Client]:
    """A connection."""
    with world.serving.client() as held:
        yield held


@pytest.fixture
def acme(world: World, client: Client) -> Acme:
    """A client that has registered at the endpoint `gateway`."""
    made = Acme(client)
    assert made.register(external(world.serving)).status == 201
    return made


@pytest.fixture
def anybody(client: Client) -> Acme:
    """A client that has registered where nobody asks who it is."""
    made = Acme(client, "open")
    assert made.register().status == 201
    return made
