"""The end of a tunnel's shared secrets: records removed, and the values in the store after them."""

from datetime import datetime

from store.engine import Unit


def forget_tunnel(unit: Unit, tunnel_id: int, actor_name: str, now: datetime) -> None:
    """Remove the slots of a tunnel with all that hangs on them, and queue the destruction of their values.

    For the removal of the tunnel, whose row is locked, before that row is deleted.
    """
    raise NotImplementedError
