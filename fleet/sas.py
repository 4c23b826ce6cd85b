"""The SAs that gateways reported."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, or_, select

from fleet.gateways import registered
from fleet.scopes import require_end, within
from fleet.tunnels import TunnelView
from fleet.tunnels import pick as tunnel
from pki.actors import Action, Actor, require, require_gateway
from pki.certificates import MAX_PAGE, BadQuery, pick
from pki.desk import Desk
from store.fleet_tables import gateway_reports, gateway_sas, gateways, tunnels
from store.tables import certificates
from store.text import storable

_FINGERPRINT = 64


@dataclass(frozen=True)
class SaView:
    """An SA as its gateway reported it. `remote_serial` is the certificate that authenticated the peer, where it is
    ours; `reported_at` is by the gateway's clock.
    """

    id: int
    gateway: str
    tunnel: str | None
    sa_id: str
    connection: str
    state: str
    local_certificate: str | None
    remote_certificate: str | None
    remote_serial: str | None
    reported_at: datetime | None
    document: dict[str, Any]


@dataclass(frozen=True)
class SaQuery:
    """A search. `certificate` is a serial number or fingerprint, of either end; `peer` its address or its identity, as
    the gateway wrote it; `cursor` the last id of a page.
    """

    gateway: str | None = None
    tunnel: str | None = None
    connection: str | None = None
    peer: str | None = None
    certificate: str | None = None
    cursor: int | None = None
    limit: int = 100


def search(desk: Desk, actor: Actor, query: SaQuery) -> list[SaView]:
    """Search SAs, at most `limit` (1 to 500) of them after `cursor`.

    A credential of one gateway sees what that gateway reported. Raises RoleMayNot, OutsideScope, BadQuery,
    GatewayNotFound, TunnelNotFound, CertificateNotFound, SerialAmbiguous.
    """
    require(actor, Action.SA_READ)
    query = replace(query, gateway=query.gateway or actor.scope.gateway)
    require_gateway(actor, query.gateway)
    if not 1 <= query.limit <= MAX_PAGE:
        raise BadQuery(f"A page has between 1 and {MAX_PAGE} entries.")
    statement = _SHOWN.limit(query.limit)
    if query.cursor is not None:
        statement = statement.where(gateway_sas.c.id > query.cursor)
    with desk.store.read() as connection:
        for condition in _conditions(connection, query):
            statement = statement.where(condition)
        return [_view(row) for row in connection.execute(statement)]


def of_tunnel(desk: Desk, actor: Actor, name: str) -> tuple[TunnelView, list[SaView]]:
    """A tunnel with its first SAs, for a credential of one gateway those that this one reported.

    Raises RoleMayNot, OutsideScope, TunnelNotFound.
    """
    require(actor, Action.TUNNEL_READ)
    with desk.store.read() as connection:
        found = tunnel(connection, name)
        require_end(actor, found.left, found.right)
        mine = _SHOWN.where(gateway_sas.c.tunnel_id == found.id).limit(MAX_PAGE)
        mine = mine.where(within(actor, gateway_sas.c.gateway_id))
        return found, [_view(row) for row in connection.execute(mine)]


_SHOWN = (
    select(
        gateway_sas,
        gateways.c.name.label("gateway"),
        tunnels.c.name.label("tunnel"),
        certificates.c.serial.label("remote_serial"),
        gateway_reports.c.sas_at,
    )
    .join_from(gateway_sas, gateways)
    .outerjoin(tunnels, tunnels.c.id == gateway_sas.c.tunnel_id)
    .outerjoin(certificates, certificates.c.id == gateway_sas.c.certificate_id)
    .outerjoin(gateway_reports, gateway_reports.c.gateway_id == gateways.c.id)
    .order_by(gateway_sas.c.id)
)


def _conditions(connection: Connection, query: SaQuery) -> Iterable[ColumnElement[bool]]:
    if query.gateway is not None:
        yield gateway_sas.c.gateway_id == registered(connection, query.gateway).id
    if query.tunnel is not None:
        yield gateway_sas.c.tunnel_id == tunnel(connection, query.tunnel).id
    if query.connection is not None:
        yield gateway_sas.c.connection == storable(query.connection)
    if query.peer is not None:
        peer, told = storable(query.peer), gateway_sas.c.document
        yield or_(told["remote_address"].as_string() == peer, told["remote_id"].as_string() == peer)
    if query.certificate is not None:
        digits = query.certificate.lower().replace(":", "")
        if len(digits) != _FINGERPRINT:
            digits = pick(connection, query.certificate, None).fingerprint or ""
        yield or_(
            gateway_sas.c.remote_certificate == digits, gateway_sas.c.local_certificate == digits
        )


def _view(row: Any) -> SaView:
    return SaView(
        id=row.id,
        gateway=row.gateway,
        tunnel=row.tunnel,
        sa_id=row.sa_id,
        connection=row.connection,
        state=row.state,
        local_certificate=row.local_certificate,
        remote_certificate=row.remote_certificate,
        remote_serial=row.remote_serial,
        reported_at=row.sas_at,
        document=row.document,
    )
