"""What a credential that is tied to one gateway may know and touch: that gateway, and the tunnels that end there."""

from sqlalchemy import ColumnElement, Connection, or_, select, true

from pki.actors import Actor, OutsideScope
from store.fleet_tables import gateways, tunnels


def within(actor: Actor, *columns: ColumnElement[int]) -> ColumnElement[bool]:
    """The condition that one of these columns, numbers of gateways, is of the credential's; always where it is free."""
    if actor.scope.gateway is None:
        return true()
    own = select(gateways.c.id).where(gateways.c.name == actor.scope.gateway)
    return or_(*(column.in_(own) for column in columns))


def require_end(actor: Actor, left: str, right: str | None) -> None:
    """Raise OutsideScope where a credential is tied to a gateway that is neither end of a tunnel."""
    if actor.scope.gateway is not None and actor.scope.gateway not in (left, right):
        raise OutsideScope("This credential belongs to another gateway.")


def neighbours(connection: Connection, actor: Actor) -> frozenset[str] | None:
    """The gateways that a tied credential may know of: its own, and the other ends of its tunnels. None: all."""
    if actor.scope.gateway is None:
        return None
    left, right = gateways.alias(), gateways.alias()
    query = (
        select(left.c.name.label("left"), right.c.name.label("right"))
        .join_from(tunnels, left, left.c.id == tunnels.c.left_id)
        .join(right, right.c.id == tunnels.c.right_id)
        .where(or_(left.c.name == actor.scope.gateway, right.c.name == actor.scope.gateway))
    )
    ends = {name for row in connection.execute(query) for name in row}
    return frozenset({actor.scope.gateway, *ends})
