"""The end of a gateway: its certificates revoked where that is wished, then its record removed."""

from datetime import datetime

from sqlalchemy import or_, select

from fleet import gateways
from fleet.gateways import GatewayInUse, registered
from fleet.revoking import revoke_all
from pki import certificates
from pki.actors import Action, Actor, require, require_gateway
from pki.certificates import CertificateQuery
from pki.desk import Desk
from store.fleet_tables import tunnels


def remove(
    desk: Desk,
    actor: Actor,
    name: str,
    *,
    now: datetime,
    reason: str | None = None,
    confirmed: int | None = None,
) -> None:
    """Take a gateway off the records; with a `reason` its valid certificates are revoked before.

    Cut off half-way it can be done again. Raises what `fleet.gateways.remove` raises and, with a reason,
    `fleet.revoking.revoke_all`.
    """
    require(actor, Action.GATEWAY_REMOVE)
    require_gateway(actor, name)
    if reason is not None:
        require(actor, Action.CERTIFICATE_REVOKE)
        _revoke_all(desk, actor, name, reason, confirmed, now)
    gateways.remove(desk, actor, name, now=now)


def _revoke_all(
    desk: Desk, actor: Actor, name: str, reason: str, confirmed: int | None, now: datetime
) -> None:
    with desk.store.read() as connection:
        row = registered(connection, name)
        ends = or_(tunnels.c.left_id == row.id, tunnels.c.right_id == row.id)
        if connection.execute(select(tunnels.c.id).where(ends).limit(1)).first() is not None:
            raise GatewayInUse("Tunnels still end at this gateway.")
    query = CertificateQuery(status="valid", gateway=name, limit=certificates.MAX_PAGE)
    found = certificates.search(desk, actor, query, now=now)
    which = [(each.authority, each.serial) for each in found]
    if which:
        revoke_all(desk, actor, which, reason, now=now, confirmed=confirmed)
