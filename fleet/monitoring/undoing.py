"""A rotation of ours that keeps a tunnel from coming up is undone: the old key works."""

from datetime import datetime
from functools import partial

from sqlalchemy import Connection, bindparam, select

from fleet.gateways import GatewayNotFound, registered
from fleet.monitoring import planned
from fleet.monitoring.planned import Turning
from fleet.rotation import begin
from fleet.rotation.begin import RotationTooLate
from fleet.rotation.records import authentication
from pki.actors import Action, Actor, require
from pki.desk import Desk
from pki.trail import leave
from store.engine import Unit
from store.rotation_tables import rotations, secret_reports

_SEEN = (
    select(secret_reports.c.authenticated, rotations.c.to_version)
    .join_from(rotations, secret_reports, secret_reports.c.slot_id == rotations.c.slot_id)
    .where(rotations.c.id == bindparam("rotation"))
)
_BY = "the rule rotation_failed"


def undo(
    desk: Desk, actor: Actor, gateway: str, name: str | None, at: datetime, *, now: datetime
) -> int:
    """Undo what is being rotated at a gateway for a connection, and was already when that failed, `at`; tell how many
    rotations. May be done again, and late.

    One that went too far to be undone goes on, and so does one whose new key an agent saw to be accepted. Raises
    RoleMayNot.
    """
    require(actor, Action.JOB_RUN)
    try:
        with desk.store.read() as connection:
            number = registered(connection, gateway).id
            running = [
                each
                for each in planned.rotations_at(connection, number, now)
                if each.ended is None and each.connection == name and each.since <= at
            ]
    except GatewayNotFound:
        return 0
    return sum(
        desk.store.together(partial(_undo, actor=actor, which=each, now=now)) for each in running
    )


def _undo(unit: Unit, actor: Actor, which: Turning, now: datetime) -> bool:
    if _is_accepted(unit.connection, which):
        return False
    try:
        begin.cancel(unit, which.id, _BY, now)
    except RotationTooLate:
        return False
    about = f"secret:{which.slot}"
    leave(unit, actor, "rotation.cancel", about, now=now, rotation=which.id, why=_BY)
    return True


def _is_accepted(connection: Connection, which: Turning) -> bool:
    """Whether an agent itself saw the peer authenticate with the new key: then no line of a log says otherwise."""
    rows = connection.execute(_SEEN, {"rotation": which.id})
    seen = ((authentication(row.authenticated), row.to_version) for row in rows)
    return any(each is not None and each.version == version for each, version in seen)
