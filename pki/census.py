"""How many certificates there are, for those who watch."""

from datetime import datetime

from sqlalchemy import and_, case, func, select

from pki.actors import Action, Actor, require
from pki.certificates import STATUSES, within
from pki.desk import Desk
from store.tables import certificates


def by_status(desk: Desk, actor: Actor, *, now: datetime) -> dict[str, int]:
    """Count certificates by status; those that ran out while valid are `expired`; for a limited credential those of its
    gateway, profiles and authorities. Raises RoleMayNot.
    """
    require(actor, Action.METRICS_READ)
    ran_out = and_(certificates.c.status == "valid", certificates.c.not_after <= now)
    status = case((ran_out, "expired"), else_=certificates.c.status)
    with desk.store.read() as connection:
        mine = within(actor.scope)
        rows = connection.execute(select(status, func.count()).where(*mine).group_by(status))
        # Also those that nobody has: a series that comes and goes is no zero to who watches it.
        return dict.fromkeys(STATUSES, 0) | {name: count for name, count in rows}
