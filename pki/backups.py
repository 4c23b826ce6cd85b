"""A backup on record, and records that came out of one: they are not used before somebody accepts what is lost.

Whatever happened after a backup is not in it: certificates, revocations, CRL numbers that were given. So records that
were restored say so, in an audit row, and nothing is signed or served from them until `sequencing.accept_gap`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, select

from core.errors import Conflict
from pki.actors import Action, Actor, require, require_gateway
from pki.approvals import asked_for, require_approval
from pki.authorities import OUTSIDE
from pki.desk import Desk
from pki.guarded import Act, Guarded
from pki.revocation import ask_for_list
from pki.trail import leave
from store import audit, numbers
from store.engine import Unit
from store.tables import audit_events, authorities

_ABOUT: Final = "instance"
_RESTORED: Final = "backup.restore"
_ACCEPTED: Final = "backup.accept"
# More lists than an authority signs between two backups.
_LISTS: Final = 1_000_000


class RestoreNotAccepted(Conflict):
    """The records were restored from a backup, and nobody has accepted yet what came after it and is lost."""

    code = "restore_not_accepted"
    next_step = (
        "Make sure that the old service does not run any more. Then: "
        "`ikewarden audit-log accept-gap --reason TEXT`, and revoke again what was revoked since."
    )


@dataclass(frozen=True)
class Order:
    """A backup to be made: its name, the file, and who can open it (recipients, or `passphrase`)."""

    backup: str
    file: str
    to: Sequence[str]


def begin(desk: Desk, actor: Actor, order: Order, *, now: datetime) -> None:
    """Put on record that a backup is made, before it is: so it is in the backup too.

    Raises RoleMayNot, and the errors of `pki.approvals`.
    """
    require(actor, Action.BACKUP_EXPORT)
    require_gateway(actor, None)
    act = Act((Guarded.BACKUP_EXPORT,), {"file": order.file, "to": sorted(order.to)})

    def work(unit: Unit) -> None:
        said = require_approval(unit, desk, actor, act, now=now)
        detail = {"to": sorted(order.to), **said}
        about = f"backup:{order.backup}"
        leave(unit, actor, "backup.export", about, now=now, outcome="intent", **detail)

    with asked_for(desk, actor, now=now):
        desk.store.together(work)


def finish(desk: Desk, actor: Actor, order: Order, sha256: str, *, now: datetime) -> None:
    """Put on record that the backup was made. Raises RoleMayNot."""
    require(actor, Action.BACKUP_EXPORT)
    about = f"backup:{order.backup}"
    desk.store.together(
        lambda unit: leave(unit, actor, "backup.export", about, now=now, sha256=sha256)
    )


def mark_restored(
    connection: Connection, actor: Actor, backup: str, made_at: str, *, now: datetime
) -> None:
    """Say in the records that they come from a backup. Raises RoleMayNot."""
    require(actor, Action.BACKUP_RESTORE)
    audit.record(
        connection,
        at=now,
        actor=actor.name,
        role=str(actor.role),
        action=_RESTORED,
        object=_ABOUT,
        outcome="ok",
        detail={"backup": backup, "made_at": made_at},
        request_id=actor.request_id,
    )


def require_accepted(connection: Connection) -> None:
    """Raises RestoreNotAccepted for records that were restored and not accepted."""
    query = (
        select(audit_events.c.id, audit_events.c.action, audit_events.c.detail)
        .where(audit_events.c.object == _ABOUT, audit_events.c.action.in_([_RESTORED, _ACCEPTED]))
        .order_by(audit_events.c.id.desc())
        .limit(1)
    )
    row = connection.execute(query).one_or_none()
    if row is not None and row.action == _RESTORED:
        raise RestoreNotAccepted(
            f"The records were restored from the backup of {row.detail['made_at']}.",
            details={"event": row.id, **row.detail},
        )


def accept(unit: Unit, actor: Actor, found: Mapping[str, Any], *, now: datetime) -> None:
    """Accept what is lost, as part of the caller's act: the numbers of lists and of gateways' states go on where none
    was given before, and every authority whose key is here publishes anew. Serial numbers carry their time and 82
    random bits: none comes twice.

    `found` are the details of the error that told of the loss, and the reason.
    """
    skipped = _LISTS + max(0, int(found.get("signed", 0)) - int(found.get("present", 0)))
    if "made_at" in found:
        # One a second is more than any authority keeps up.
        made_at = datetime.fromisoformat(str(found["made_at"]))
        skipped += max(0, int((now - made_at).total_seconds()))
    connection = unit.connection
    numbers.go_on(connection, skipped, now)
    own = select(authorities.c.name, authorities.c.shards).where(authorities.c.status != OUTSIDE)
    for row in connection.execute(own):
        for shard in range(row.shards or 1):
            ask_for_list(unit, row.name, shard, now)
    leave(unit, actor, _ACCEPTED, _ABOUT, now=now, reason=found["reason"], least_skipped=skipped)
