"""Tunnels with shared secrets, and agents without a network: they call the operations that real ones call."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import insert, select

from fleet import gateways, reports, state, tunnels
from fleet.gateways import GatewayRequest
from fleet.reports import AppliedReport
from fleet.rotation import records
from fleet.rotation.intake import SecretReport, Secrets
from fleet.rotation.records import Slot
from fleet.rotation.runner import Runner
from fleet.rotation.values import Authentication, EndAbilities, Policy, Rotation
from fleet.tunnels import Peer, TunnelRequest
from hsm.secretstore import SecretStore, VersionState
from pki.actors import Actor, Role, Scope
from pki.desk import Desk
from store.rotation_tables import rotations, secret_slots
from tests.fixtures.desk import CLOCKWORK, NOW, OPERATOR, reopened

OUTSIDE = Peer("bank", ("dns:vpn.bank.example",))
BOTH = EndAbilities(overlap=True, ppk=True, gapless=True)
SINGLE = EndAbilities()


class Clock:
    """The time of a test, which goes on by itself a little each time somebody looks."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        self.now += timedelta(milliseconds=1)
        return self.now

    def pass_time(self, **span: float) -> None:
        self.now += timedelta(**span)


@dataclass
class Wire:
    """What goes between the daemons of all gateways: whether two of them know each other's keys. `ahead`: by so much
    the clock of the first of two ends is.
    """

    agents: list["Agent"] = field(default_factory=list)
    spi: int = 0
    ahead: timedelta = timedelta(0)

    def authenticate(self, name: str) -> bool:
        """Bring a slot's tunnel up afresh; both ends see it, if it can be."""
        ends = [each for each in self.agents if each.loaded.get(name)]
        if len(ends) == 2:
            one, two = (each.loaded[name] for each in ends)
            if one[0] not in two or two[0] not in one:
                return False
        self.spi += 1
        for each in ends:
            first = each.loaded[name][0]
            spi = f"{self.spi:016x}"
            at = each.clock.now + (self.ahead if each is ends[0] else timedelta(0))
            each.authenticated[name] = Authentication(first, spi, spi, at)
        return bool(ends)


@dataclass
class Agent:
    """A gateway's agent and daemon. `work` does what one of its rounds does."""

    desk: Desk
    name: str
    clock: Clock
    wire: Wire
    abilities: EndAbilities = BOTH
    loaded: dict[str, tuple[int, ...]] = field(default_factory=dict)
    held: dict[str, tuple[int, ...]] = field(default_factory=dict)
    ordered: dict[str, int] = field(default_factory=dict)
    authenticated: dict[str, Authentication] = field(default_factory=dict)
    version: int = 0
    error_code: str = ""

    @property
    def actor(self) -> Actor:
        return Actor(f"gateway {self.name}", Role.GATEWAY, scope=Scope(gateway=self.name))

    def work(self) -> None:
        """Fetch, apply, prove where that is wished, report."""
        found = state.current(self.desk, self.actor, frozenset(), now=self.clock())
        assert isinstance(found, state.DesiredState)
        starts = []
        for slot in found.secrets:
            versions = tuple(key.version for key in slot.keys)
            if self.error_code:
                continue
            self.held[slot.name] = versions
            self.loaded[slot.name] = versions if self.abilities.overlap else versions[:1]
            self.ordered.pop(slot.name, None)
            if slot.prove is not None:
                self.ordered[slot.name] = slot.prove.version
                starts += [slot.name] if slot.prove.start else []
        self.version = found.mark.version
        for name in starts:
            if name not in self.authenticated or (
                self.authenticated[name].version != self.ordered[name]
            ):
                self.wire.authenticate(name)
        self.report()

    def report(self) -> None:
        """Tell what there is."""
        names = sorted(self.held) if not self.error_code else sorted({*self.held, "left-right.psk"})
        told = tuple(
            SecretReport(
                name,
                self.loaded.get(name, ()),
                self.held.get(name, ()),
                (),
                self.authenticated.get(name),
                self.error_code,
                "It would not." if self.error_code else "",
            )
            for name in names
        )
        report = AppliedReport(
            self.version, "0", "strongswan", "6", "1", None, "loaded", {}, (), (),
            Secrets(self.abilities, told),
        )  # fmt: skip
        reports.applied(self.desk, self.actor, report, now=self.clock())


@dataclass
class Site:
    """Tunnels and all that work on them."""

    desk: Desk
    clock: Clock = field(default_factory=Clock)
    wire: Wire = field(default_factory=Wire)
    agents: dict[str, Agent] = field(default_factory=dict)
    runners: list[Runner] = field(default_factory=list)

    @property
    def secrets(self) -> SecretStore:
        assert self.desk.secrets is not None
        return self.desk.secrets

    def gateway(self, name: str, abilities: EndAbilities = BOTH) -> Agent:
        """A gateway, once."""
        if name not in self.agents:
            request = GatewayRequest(name, (f"dns:{name}.example",))
            gateways.create(self.desk, OPERATOR, request, now=NOW)
            agent = Agent(self.desk, name, self.clock, self.wire, abilities)
            self.agents[name] = agent
            self.wire.agents.append(agent)
        return self.agents[name]

    def slot(
        self, left: str, right: str | Peer, policy: Policy | None = None, **columns: Any
    ) -> str:
        """A tunnel with an empty slot that is due now; gives the slot's name."""
        ends = [self.gateway(left)] + ([self.gateway(right)] if isinstance(right, str) else [])
        other = right if isinstance(right, str) else right.name
        tunnel = tunnels.create(
            self.desk, OPERATOR, TunnelRequest(f"{left}-{other}", ends[0].name, right), now=NOW
        )
        row: dict[str, Any] = {
            "tunnel_id": tunnel.id,
            "kind": "psk",
            "name": f"{tunnel.name}.psk",
            "path": f"ikewarden/{tunnel.name}/psk",
            "left_keys": [],
            "right_keys": [],
            "policy": records.policy_document(policy or Policy()),
            "last_version": 0,
            "due_at": NOW,
            "created_at": NOW,
            "created_by": "test",
        }
        with self.desk.store.write() as connection:
            connection.execute(insert(secret_slots).values(**row | columns))
        return f"{tunnel.name}.psk"

    def find(self, name: str) -> Slot:
        with self.desk.store.read() as connection:
            return records.slot(connection, name)

    def rotation(self, number: int) -> Rotation:
        with self.desk.store.read() as connection:
            return records.rotation(connection, number)

    def all_of(self, name: str) -> list[Rotation]:
        with self.desk.store.read() as connection:
            query = select(rotations).where(rotations.c.slot_id == self.find(name).id)
            return [
                records.rotation_of(row) for row in connection.execute(query.order_by("id")).all()
            ]

    def runner(self, name: str = "one", desk: Desk | None = None) -> Runner:
        made = Runner(desk or self.desk, CLOCKWORK, name)
        self.runners.append(made)
        return made

    def go_on(self, rounds: int = 12, runner: Runner | None = None) -> None:
        """Let everybody do his work some times."""
        runner = runner or self.runner()
        for _ in range(rounds):
            runner.run(self.clock)
            for agent in self.agents.values():
                agent.work()
            self.clock.pass_time(seconds=1)

    def live(self, name: str) -> list[int]:
        """The numbers of the values that are left in the store."""
        found = self.secrets.versions(self.find(name).path)
        return [each.number for each in found if each.state is VersionState.LIVE]

    def close(self) -> None:
        for each in self.runners:
            each.close()


def with_secrets(desk: Desk, store: SecretStore, **rules: Any) -> Desk:
    """The same desk with a store of secrets."""
    return reopened(desk, secrets=store, **rules)


def keys(agents: Mapping[str, Agent], name: str) -> set[tuple[int, ...]]:
    """What the daemons have of a slot."""
    return {agent.loaded[name] for agent in agents.values() if name in agent.loaded}
