"""A gateway with everything around it: what it should have, what it says it has, and its tunnels."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select

from fleet.drift import Drift, Wanted, compare
from fleet.gateways import GatewayView, pick
from fleet.rotation import desired
from fleet.state import Command, managed, pending
from fleet.tunnels import TunnelView, of_gateway
from ike.daemons.port import fingerprint
from pki import authorities
from pki.actors import Action, Actor, require, require_gateway
from pki.desk import Desk
from store.fleet_tables import gateway_authorities, gateway_reports, gateway_sas
from store.tables import authorities as authorities_table
from store.tables import crls


@dataclass(frozen=True)
class Whole:
    """A gateway, its tunnels, what it was told and has not done, where it drifts, and how many SAs it has.

    `loaded`: the certificates that its daemon holds, as the agent reported them (`ike.daemons.port.LoadedCertificate`).
    """

    gateway: GatewayView
    tunnels: tuple[TunnelView, ...]
    commands: tuple[Command, ...]
    drift: tuple[Drift, ...]
    sas: int
    loaded: tuple[Mapping[str, Any], ...] = ()


def look(desk: Desk, actor: Actor, name: str, *, now: datetime) -> Whole:
    """Look at a gateway with everything around it. Raises RoleMayNot, OutsideScope, GatewayNotFound."""
    require(actor, Action.GATEWAY_READ)
    require_gateway(actor, name)
    with desk.store.read() as connection:
        gateway = pick(connection, desk, name, now)
        kept = connection.execute(
            select(gateway_reports.c.inventory).where(gateway_reports.c.gateway_id == gateway.id)
        ).scalar_one_or_none()
        sas = connection.execute(
            select(func.count()).where(gateway_sas.c.gateway_id == gateway.id)
        ).scalar_one()
        leaf = None if gateway.certificate is None else gateway.certificate.fingerprint
        drift: tuple[Drift, ...] = ()
        if isinstance(kept, dict):
            known = wanted(desk, connection, gateway.id, leaf)
            drift = compare(known, kept)
        return Whole(
            gateway,
            tuple(of_gateway(connection, gateway.id)),
            tuple(pending(connection, gateway.id, now)),
            drift,
            sas,
            tuple(kept.get("certificates") or ()) if isinstance(kept, dict) else (),
        )


def wanted(desk: Desk, connection: Connection, gateway_id: int, leaf: str | None) -> Wanted:
    """What the gateway's daemon should hold."""
    query = (
        select(authorities_table.c.name, crls.c.number)
        .join_from(gateway_authorities, authorities_table)
        .outerjoin(
            crls,
            (crls.c.authority_id == gateway_authorities.c.authority_id) & (crls.c.kind == "full"),
        )
        .where(gateway_authorities.c.gateway_id == gateway_id)
    )
    trusted = [
        (authorities.load(desk, row.name).certificate, row.number)
        for row in connection.execute(query)
    ]
    slots = desired.slots_of(connection, gateway_id)
    return Wanted(
        leaf=leaf,
        authorities=frozenset(fingerprint(certificate) for certificate, _ in trusted),
        # Of two authorities of one name, as in a rollover, the higher one: daemons tell lists apart by the name.
        crls={
            certificate.subject.rfc4514_string(): number
            for certificate, number in sorted(trusted, key=lambda each: each[1] or 0)
            if number is not None
        },
        connections=frozenset(each["name"] for each in managed(desk, connection, gateway_id)),
        secrets={each.name: tuple(key.version for key in each.keys) for each in slots},
        reused=desired.reused(connection, slots),
    )
