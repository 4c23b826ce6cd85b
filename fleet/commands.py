"""Commands to a gateway: given by an operator or by a revocation, fetched with its state, reported when done."""

from dataclasses import dataclass
from datetime import datetime

from core.errors import InvalidInput
from fleet.bumps import bump
from fleet.gateways import about, locked
from fleet.state import PENDING, REAUTHENTICATE, RENEW
from pki.actors import Action, Actor, require, require_gateway
from pki.desk import Desk
from pki.trail import leave
from store.engine import Unit
from store.fleet_tables import gateway_commands

ASKABLE = (RENEW, REAUTHENTICATE)


class CommandRefused(InvalidInput):
    """A command that cannot be given."""

    code = "command_refused"
    next_step = "Ask to renew, or to reauthenticate a named connection."


@dataclass(frozen=True)
class Given:
    """A command on its way."""

    id: int
    gateway: str
    kind: str
    connection: str | None
    created_at: datetime


def give(
    desk: Desk, actor: Actor, name: str, kind: str, connection: str | None, *, now: datetime
) -> Given:
    """Have a gateway renew its certificate, or authenticate a connection afresh.

    Raises RoleMayNot, OutsideScope, GatewayNotFound, CommandRefused.
    """
    require(actor, Action.GATEWAY_COMMAND)
    require_gateway(actor, name)
    if kind not in ASKABLE or (kind == REAUTHENTICATE) != (connection is not None):
        raise CommandRefused("There is no such command, or it lacks its connection.")

    def work(unit: Unit) -> Given:
        gateway = locked(unit.connection, name)
        row = {
            "gateway_id": gateway.id,
            "kind": kind,
            "state": PENDING,
            "connection": connection,
            "detail": {},
            "created_at": now,
        }
        made = gateway_commands.insert().values(**row).returning(gateway_commands.c.id)
        number = int(unit.connection.execute(made).scalar_one())
        bump(unit.connection, [gateway.id], now, commanded=True)
        leave(unit, actor, f"gateway.{kind}", about(name), now=now, connection=connection)
        return Given(number, name, kind, connection, now)

    return desk.store.together(work)
