"""A fleet for the pages: gateways with agents that do what real ones do, over the operations that these call."""

import http.client
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from fleet import gateways, reports, tunnels
from fleet.definitions import ChildDefinition, Definition
from fleet.gateways import GatewayRequest
from fleet.monitoring import intake
from fleet.monitoring.values import Batch
from fleet.reports import SaReport
from fleet.rotation.runner import Runner
from fleet.tunnels import Peer, TunnelRequest
from ike.events.event import SaEvent
from tests.api.site import Site
from tests.console.browser import Browser
from tests.fixtures.desk import CLOCKWORK, OPERATOR
from tests.fleet.rotating import BOTH, Agent, Wire

REKEY = 3600
OUTSIDE = Peer("bank", ("dns:vpn.bank.example",))


class Watcher:
    """Somebody who watches the live part of a page; `wait` reads on until a text was sent."""

    def __init__(self, browser: Browser, site: Site, path: str) -> None:
        self._connection = http.client.HTTPSConnection(
            "localhost", browser.connection.port, context=site.trust(), timeout=120
        )
        cookie = "; ".join(f"{key}={value}" for key, value in browser.cookies.items())
        headers = {"Accept": "text/event-stream", "Cookie": cookie}
        self._connection.request("GET", path, headers=headers)
        self._answer = self._connection.getresponse()
        assert self._answer.headers["content-type"].startswith("text/event-stream")
        self.seen = b""

    def wait(self, text: str) -> None:
        """Read until this was sent."""
        while text not in self.seen.replace(b"<wbr>", b"").decode("utf-8", "replace"):
            more = self._answer.read1(65536)
            assert more, "the stream has ended"
            self.seen += more

    def close(self) -> None:
        self._connection.close()


@dataclass
class _Watch:
    """The clock of a site, as agents look at it."""

    site: Site

    @property
    def now(self) -> datetime:
        return self.site.clock()

    def __call__(self) -> datetime:
        return self.site.clock()


@dataclass
class Fleet:
    """Gateways and tunnels of a site; names begin with `prefix`, so that modules' tests do not meet."""

    site: Site
    prefix: str
    wire: Wire = field(default_factory=Wire)
    agents: dict[str, Agent] = field(default_factory=dict)
    busy: set[str] = field(default_factory=set)
    batches: int = 0

    def __post_init__(self) -> None:
        self.watch: Any = _Watch(self.site)
        self.runner = Runner(self.site.desk, CLOCKWORK, f"runner {self.prefix}")

    def close(self) -> None:
        self.runner.close()

    def gateway(self, name: str) -> str:
        """A gateway with a certificate and an agent; gives its name."""
        name = f"{self.prefix}-{name}.example"
        self.busy.add(name)
        if name not in self.agents:
            request = GatewayRequest(name, (f"dns:{name}",), daemon="strongswan")
            gateways.create(self.site.desk, OPERATOR, request, now=self.watch())
            self.site.issue(name)
            agent = Agent(self.site.desk, name, self.watch, self.wire, BOTH)
            self.agents[name] = agent
            self.wire.agents.append(agent)
            agent.work()
        return name

    def tunnel(self, left: str, right: str | Peer, *, managed: bool = True) -> str:
        """A tunnel with a PSK, or one that is only watched; gives its name. From now on its ends are busy alone."""
        self.busy.clear()
        other: str | Peer = right if isinstance(right, Peer) else self.gateway(right)
        name = f"{self.prefix}-{left}-{right if isinstance(right, str) else right.name}"
        definition = Definition(
            ("192.0.2.1",),
            ("198.51.100.1",),
            (ChildDefinition("net", ("10.1.0.0/16",), ("10.2.0.0/16",), (), "start", REKEY),),
            rekey_seconds=4 * REKEY,
            authentication="psk",
        )
        request = TunnelRequest(name, self.gateway(left), other, definition if managed else None)
        tunnels.create(self.site.desk, OPERATOR, request, now=self.watch())
        return name

    def go_on(self, rounds: int = 14) -> None:
        """Let the service and the busy agents do their work some times."""
        for _ in range(rounds):
            self.runner.run(self.watch)
            for name in self.busy:
                self.agents[name].work()

    def values(self, slot: str) -> list[bytes]:
        """Every value of a shared secret that the store still has."""
        store = self.site.desk.secrets
        assert store is not None
        path = next(p for p in (f"ikewarden/{slot.replace('.', '/')}", slot) if store.versions(p))
        return [store.get(path, each.number).value.reveal() for each in store.versions(path)]

    def sas(self, name: str, *told: dict[str, Any]) -> None:
        """Have a gateway report these SAs, and no others."""
        rows = [
            SaReport(
                str(number),
                each["connection"],
                "ESTABLISHED",
                each.get("remote_id", ""),
                None,
                None,
                {"id": str(number), "established": True, "children": [], **each},
            )
            for number, each in enumerate(told, 1)
        ]
        reports.sas(self.site.desk, self.agents[name].actor, self.watch(), rows, now=self.watch())

    def events(self, name: str, events: Sequence[SaEvent]) -> None:
        """Have a gateway report events in a stream of their own."""
        self.batches += 1
        batch = Batch(f"s{self.batches}", 0, events, until=self.watch())
        intake.take(self.site.desk, self.agents[name].actor, batch, now=self.watch())


def rekeyed(connection: str, now: datetime, ages: Sequence[float]) -> list[SaEvent]:
    """The events of a Child SA that was replaced at these ages, the last time a minute ago."""
    at = now.timestamp() - 60 - sum(ages)
    whose: dict[str, Any] = {"peer": "198.51.100.7", "source": "198.51.100.7", "daemon": "charon"}
    named: dict[str, Any] = {"connection": connection, "name": connection, "ike_id": 1}
    start = SaEvent("ike_established", 0, at)._replace(**whose, **named)
    first = start._replace(kind="child_established", child="net", child_id=1, spi_in="c1")
    made = [start, first]
    for number, age in enumerate(ages, 1):
        at += age
        made.append(
            first._replace(
                kind="child_rekeyed",
                time=at,
                child_id=number,
                new_child_id=number + 1,
                spi_in=f"c{number + 1:x}",
            )
        )
    return made


def failed(connection: str, now: datetime, count: int, identity: str) -> list[SaEvent]:
    """So many failed authentications of one identity, one a second until a minute ago."""
    begin = now - timedelta(seconds=60 + count)
    one = SaEvent("auth_failed", 0, begin.timestamp())._replace(
        peer="203.0.113.9",
        source="203.0.113.9",
        connection=connection,
        name=connection,
        identity=identity,
        reason="psk",
        daemon="charon",
    )
    return [
        one._replace(time=begin.timestamp() + number, ike_id=500 + number)
        for number in range(count)
    ]
