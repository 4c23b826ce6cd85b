"""Where a certificate is: which gateways shall use it, and which said that they do."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, or_, select

from fleet.leaves import newest
from fleet.scopes import within
from pki.actors import (
    Action,
    Actor,
    OutsideScope,
    covers,
    require,
    require_authority,
    require_whole,
)
from pki.certificates import pick
from pki.desk import Desk
from store.fleet_tables import gateway_authorities, gateway_reports, gateways
from store.tables import authorities

_MOST = 100


@dataclass(frozen=True)
class Place:
    """A gateway of a certificate. `wanted`: it is what the gateway shall use; `applied`: its agent said that the daemon
    uses it. A gateway that applies what it shall not use is behind, or somebody carried the key there.
    """

    gateway: str
    wanted: bool
    applied: bool
    applied_at: datetime | None
    seen_at: datetime | None


def where(
    desk: Desk, actor: Actor, serial: str, *, now: datetime, authority: str | None = None
) -> tuple[Place, ...]:
    """The gateways that shall use a certificate, speak by it, or said that they use it: at most a hundred, by name.

    Raises RoleMayNot, OutsideScope, BadSerial, CertificateNotFound, SerialAmbiguous.
    """
    require(actor, Action.GATEWAY_READ)
    with desk.store.read() as connection:
        found = pick(connection, serial, authority)
        if not covers(actor.scope, found.authority, found.profile, found.gateway, found.names):
            raise OutsideScope("This credential may not look at this certificate.")
        query = (
            select(
                gateways.c.name,
                newest(gateways.c.name, now).label("wanted"),
                gateway_reports.c.certificate,
                gateway_reports.c.applied_at,
                gateway_reports.c.seen_at,
            )
            .outerjoin(gateway_reports, gateway_reports.c.gateway_id == gateways.c.id)
            .where(
                within(actor, gateways.c.id),
                or_(
                    gateways.c.name == found.gateway,
                    gateway_reports.c.certificate == found.fingerprint,
                ),
            )
            .order_by(gateways.c.name)
            .limit(_MOST)
        )
        return tuple(
            Place(
                gateway=row.name,
                wanted=row.wanted == found.id,
                applied=row.certificate is not None and row.certificate == found.fingerprint,
                applied_at=row.applied_at,
                seen_at=row.seen_at,
            )
            for row in connection.execute(query)
        )


def trusting(desk: Desk, actor: Actor, authority: str) -> int:
    """How many gateways shall trust an authority. Raises RoleMayNot, OutsideScope."""
    require(actor, Action.GATEWAY_READ)
    require_whole(actor)
    require_authority(actor, authority)
    query = (
        select(func.count())
        .select_from(gateway_authorities)
        .join(authorities, authorities.c.id == gateway_authorities.c.authority_id)
        .where(authorities.c.name == authority)
    )
    with desk.store.read() as connection:
        return int(connection.execute(query).scalar_one())
