"""A few gateways on a desk, without any network between."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select

from fleet import gateways, reports, state, tunnels
from fleet.gateways import GatewayRequest
from fleet.reports import AppliedReport, CommandReport, SaReport
from fleet.rotation.intake import Secrets
from fleet.state import Command, DesiredState
from fleet.tunnels import Peer, TunnelRequest
from pki import issuance
from pki.actors import Actor, Role, Scope
from pki.desk import Desk
from pki.issuance import IssuedCertificate, IssueRequest
from store.fleet_tables import gateways as gateways_table
from tests.fixtures.desk import ADMIN, NOW, OPERATOR
from tests.pki.requests import request


@dataclass
class Member:
    """A gateway with its newest certificate."""

    desk: Desk
    name: str
    leaf: IssuedCertificate

    @property
    def actor(self) -> Actor:
        return Actor(f"gateway {self.name}", Role.GATEWAY, scope=Scope(gateway=self.name))

    @property
    def number(self) -> int:
        with self.desk.store.read() as connection:
            query = select(gateways_table.c.id).where(gateways_table.c.name == self.name)
            return int(connection.execute(query).scalar_one())

    def state(self, *, now: datetime = NOW) -> DesiredState:
        found = state.current(self.desk, self.actor, frozenset(), now=now)
        assert isinstance(found, DesiredState)
        return found

    def commands(self, *, now: datetime = NOW) -> list[Command]:
        return list(self.state(now=now).commands)

    def report(
        self,
        *commands: tuple[int, str],
        now: datetime = NOW,
        certificate: str | None = None,
        cuts: tuple[dict[str, Any], ...] = (),
        error: str = "",
        at: datetime | None = None,
        secrets: Secrets | None = None,
        trusts: Sequence[str] = (),
    ) -> None:
        """Report what was applied; `trusts` are the fingerprints of the CA certificates that the daemon holds."""
        held = [{"fingerprint": each, "authority": True, "has_key": False} for each in trusts]
        version = self.state(now=now).mark.version
        made = tuple(
            CommandReport(number, outcome, error, cuts, at or now) for number, outcome in commands
        )
        report = AppliedReport(
            version=version,
            agent_version="0",
            daemon_kind="strongswan",
            daemon_version="5.9.14",
            incarnation="1",
            certificate=certificate,
            proof="loaded",
            inventory={"certificates": held, "keys": [], "crls": [], "connections": []},
            errors=(),
            commands=made,
            secrets=secrets,
        )
        reports.applied(self.desk, self.actor, report, now=now)

    def sas(self, *sas: SaReport, now: datetime = NOW, at: datetime | None = None) -> None:
        reports.sas(self.desk, self.actor, at or now, sas, now=now)

    def renew(self, *, now: datetime = NOW) -> IssuedCertificate:
        self.leaf = _issue(self.desk, self.name, now)
        return self.leaf


def sa(
    remote: str,
    *,
    under: str | None = None,
    own: str | None = None,
    connection: str = "any",
    number: str = "1",
) -> SaReport:
    """An SA with a peer, under its certificate if that was seen."""
    document = {"remote_id": remote, "remote_address": "192.0.2.9"}
    return SaReport(number, connection, "ESTABLISHED", remote, own, under, document)


def _issue(desk: Desk, name: str, now: datetime) -> IssuedCertificate:
    wanted = IssueRequest(csr=request([f"dns:{name}"]), profile="gateway", authority="issuing")
    return issuance.issue(desk, ADMIN, wanted, now=now)


def enlist(desk: Desk, name: str, *, now: datetime = NOW) -> Member:
    """Register a gateway, and give it a certificate."""
    gateways.create(desk, OPERATOR, GatewayRequest(name, (f"dns:{name}",)), now=now)
    return Member(desk, name, _issue(desk, name, now))


def connect(desk: Desk, name: str, left: Member, right: Member | Peer) -> None:
    """Put a tunnel on record."""
    end = right if isinstance(right, Peer) else right.name
    tunnels.create(desk, OPERATOR, TunnelRequest(name, left.name, end), now=NOW)


def later(seconds: float) -> datetime:
    """Some time after the time of the test."""
    return NOW + timedelta(seconds=seconds)
