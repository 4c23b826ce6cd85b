"""How old the shared secrets are that tunnels use, for those who watch."""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, and_, case, false, func, or_, select, true

from core.figures import Figure, Labels, gauge
from fleet.rotation.values import Kind
from fleet.scopes import within
from pki.actors import Action, Actor, require
from pki.desk import Desk
from store.fleet_tables import tunnels
from store.rotation_tables import secret_slots, secrets

_SPANS: Final = (
    ("under_30d", timedelta(days=30)),
    ("30d_to_90d", timedelta(days=90)),
    ("90d_to_180d", timedelta(days=180)),
    ("180d_to_365d", timedelta(days=365)),
)
_BEYOND: Final = "over_365d"
# So many different intervals are looked at; an operator has a few.
_MOST: Final = 100
# A rotation waits for a window, and takes its time.
_PATIENCE: Final = 1.25

BY_AGE: Final = gauge(
    "shared_secrets_by_age",
    "Shared secrets in use, by kind (psk, ppk) and age: under_30d, 30d_to_90d, 90d_to_180d, 180d_to_365d, over_365d.",
    "kind",
    "age",
)
OVERDUE: Final = gauge(
    "shared_secrets_overdue",
    "Shared secrets in use for over five quarters of the interval of their policy. Those that are frozen count too.",
    "kind",
)
FAMILIES: Final = (BY_AGE, OVERDUE)


def figures(desk: Desk, actor: Actor, *, now: datetime) -> list[Figure]:
    """Count keys by age; for a credential of one gateway those of tunnels that end there. Raises RoleMayNot."""
    require(actor, Action.METRICS_READ)
    mine: ColumnElement[bool] = true()
    if actor.scope.gateway is not None:
        ends = within(actor, tunnels.c.left_id, tunnels.c.right_id)
        mine = secret_slots.c.tunnel_id.in_(select(tunnels.c.id).where(ends))
    days = secret_slots.c.policy["interval_days"].as_integer()
    since = secrets.c.current_at
    age = case(*((since > now - span, name) for name, span in _SPANS), else_=_BEYOND)
    by_age: dict[Labels, float] = {
        (kind, name): 0 for kind in Kind for name in (*(name for name, _ in _SPANS), _BEYOND)
    }
    overdue: dict[Labels, float] = {(kind,): 0 for kind in Kind}
    with desk.store.read() as connection:
        intervals = connection.scalars(
            select(days).where(mine, days > 0).group_by(days).order_by(days).limit(_MOST)
        ).all()
        late = or_(
            false(),
            *(
                and_(days == each, since < now - _PATIENCE * timedelta(days=each))
                for each in intervals
            ),
        )
        rows = connection.execute(
            select(secret_slots.c.kind, age, func.count(), func.count(case((late, 1))))
            .join_from(secrets, secret_slots, secret_slots.c.id == secrets.c.slot_id)
            .where(secrets.c.state == "current", mine)
            .group_by(secret_slots.c.kind, age)
        )
        for kind, name, count, of_those in rows:
            by_age[kind, name] += count
            overdue[kind,] += of_those
    return [BY_AGE.figure(by_age), OVERDUE.figure(overdue)]
