"""How many gateways and tunnels there are, and how the gateways do, for those who watch."""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import and_, case, exists, func, or_, select

from core.figures import Figure, Labels, gauge
from fleet.scopes import within
from pki.actors import Action, Actor, require
from pki.desk import Desk
from store.fleet_tables import gateway_reports, gateways, tunnels
from store.rotation_tables import secret_slots

_SILENT: Final = timedelta(hours=1)
_REACH: Final = ("seen", "late", "silent", "never")

GATEWAYS: Final = gauge(
    "gateways",
    "Gateways by when their agent was last heard of: seen, late (longer ago than [fleet] unreachable_after_seconds),"
    " silent (for over an hour, or twice that), never.",
    "reach",
)
BEHIND: Final = gauge(
    "gateways_behind", "Gateways with an agent that has not applied the newest desired state yet."
)
DRIFTING: Final = gauge(
    "gateways_drifting", "Gateways whose daemon is not as its agent made it: somebody changed it."
)
TUNNELS: Final = gauge(
    "tunnels",
    "Tunnels by whether they have shared secrets under management: managed, unmanaged.",
    "keys",
)
FAMILIES: Final = (GATEWAYS, BEHIND, DRIFTING, TUNNELS)


def figures(desk: Desk, actor: Actor, *, now: datetime) -> list[Figure]:
    """Count gateways and tunnels; for a credential of one gateway that one, and those that end there.

    Raises RoleMayNot.
    """
    require(actor, Action.METRICS_READ)
    seen = gateway_reports.c.seen_at
    horizon = now - desk.rules.unreachable_after
    silent = now - max(_SILENT, 2 * desk.rules.unreachable_after)
    reach = case(
        (seen.is_(None), "never"), (seen > horizon, "seen"), (seen > silent, "late"), else_="silent"
    )
    applied = gateway_reports.c.applied_version
    behind = and_(seen.is_not(None), or_(applied.is_(None), applied < gateways.c.version))
    agents = (
        select(
            reach,
            func.count(),
            func.count(case((behind, 1))),
            func.count(case((gateway_reports.c.drifting > 0, 1))),
        )
        .select_from(gateways)
        .outerjoin(gateway_reports, gateway_reports.c.gateway_id == gateways.c.id)
        .where(within(actor, gateways.c.id))
        .group_by(reach)
    )
    managed = exists().where(secret_slots.c.tunnel_id == tunnels.c.id)
    ends = (
        select(func.count(), func.count(case((managed, 1))))
        .select_from(tunnels)
        .where(within(actor, tunnels.c.left_id, tunnels.c.right_id))
    )
    reached: dict[Labels, float] = dict.fromkeys([(each,) for each in _REACH], 0)
    late, drifting = 0, 0
    with desk.store.read() as connection:
        for which, count, of_those, changed in connection.execute(agents):
            reached[which,] = count
            late, drifting = late + of_those, drifting + changed
        total, with_keys = connection.execute(ends).one()
    return [
        GATEWAYS.figure(reached),
        BEHIND.value(late),
        DRIFTING.value(drifting),
        TUNNELS.figure({("managed",): with_keys, ("unmanaged",): total - with_keys}),
    ]
