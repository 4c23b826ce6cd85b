"""Rollovers as they are on record: their states, what leads from one to another, who succeeds whom."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Connection, Select, select, update

from core.errors import Conflict, NotFound
from hsm.keystores import place_of
from pki.actors import Actor
from pki.authorities import ACTIVE
from pki.conditions import AuthorityRetired
from pki.trail import leave
from store.engine import Unit
from store.rollover_tables import rollovers
from store.tables import authorities


class State(StrEnum):
    """Where a rollover stands."""

    PREPARED = "prepared"
    PUBLISHED = "published"
    SWITCHED = "switched"
    FINISHED = "finished"
    ABANDONED = "abandoned"


# What is shown of one that was switched on a date that has not come.
SCHEDULED: Final = "scheduled"
BACK: Final = "back"
# Everything that can happen; whatever is not here cannot.
STEPS: Final[Mapping[tuple[str, str], State]] = {
    (State.PREPARED, State.PUBLISHED): State.PUBLISHED,
    (State.PUBLISHED, State.SWITCHED): State.SWITCHED,
    (State.SWITCHED, State.FINISHED): State.FINISHED,
    (State.FINISHED, BACK): State.SWITCHED,
    (State.SWITCHED, BACK): State.PUBLISHED,
    (State.PUBLISHED, BACK): State.PREPARED,
    (State.PREPARED, BACK): State.ABANDONED,
}


class RolloverNotFound(NotFound):
    """No rollover with this number."""

    code = "rollover_not_found"
    next_step = "List the rollovers to see their numbers."


class RolloverUnderWay(Conflict):
    """The authority is being succeeded already."""

    code = "rollover_under_way"
    next_step = "Look at the rollover of this authority; go on with it, or take it back first."


@dataclass(frozen=True)
class Rollover:
    """A rollover. From `switch_at` on the successor issues; None: the authority itself does."""

    id: int
    authority: str
    successor: str
    authority_id: int
    successor_id: int
    state: str
    switch_at: datetime | None
    created_at: datetime
    created_by: str
    published_at: datetime | None
    published_by: str | None
    switched_at: datetime | None
    switched_by: str | None
    ended_at: datetime | None
    ended_by: str | None
    same_subject: bool
    key_uri: str
    successor_key_uri: str

    @property
    def key_store(self) -> str:
        """Where the key of the authority is."""
        return place_of(self.key_uri)

    @property
    def successor_key_store(self) -> str:
        """Where the key of the successor is."""
        return place_of(self.successor_key_uri)

    def phase(self, now: datetime) -> str:
        """The state as it is shown: `scheduled` until the date of the switch has come."""
        later = self.switch_at is not None and now < self.switch_at
        return SCHEDULED if later and self.state == State.SWITCHED else self.state

    @property
    def is_open(self) -> bool:
        """Whether there is something left to be done."""
        return self.ended_at is None


_successors = authorities.alias("successors")
_COLUMNS: Final[Select[Any]] = (
    select(
        rollovers,
        authorities.c.name.label("authority"),
        _successors.c.name.label("successor"),
        (_successors.c.subject == authorities.c.subject).label("same_subject"),
        authorities.c.key_uri,
        _successors.c.key_uri.label("successor_key_uri"),
    )
    .join_from(rollovers, authorities, authorities.c.id == rollovers.c.authority_id)
    .join(_successors, _successors.c.id == rollovers.c.successor_id)
)


def _rollover(row: Any) -> Rollover:
    return Rollover(**row._mapping)


def all_(connection: Connection) -> list[Rollover]:
    """All there are, the newest first."""
    query = _COLUMNS.order_by(rollovers.c.id.desc())
    return [_rollover(row) for row in connection.execute(query)]


def pick(connection: Connection, number: int) -> Rollover:
    """Find one. Raises RolloverNotFound."""
    row = connection.execute(_COLUMNS.where(rollovers.c.id == number)).one_or_none()
    if row is None:
        raise RolloverNotFound("There is no rollover with this number.")
    return _rollover(row)


def locked(connection: Connection, number: int) -> Rollover:
    """Find one, and keep others from changing it until the transaction ends. Raises RolloverNotFound."""
    connection.execute(
        select(rollovers.c.id).where(rollovers.c.id == number).with_for_update()
    ).all()
    return pick(connection, number)


def refuse_second(connection: Connection, authority: str) -> None:
    """Make sure that an authority is not being succeeded. Raises RolloverUnderWay."""
    query = _COLUMNS.where(authorities.c.name == authority, rollovers.c.ended_at.is_(None))
    row = connection.execute(query).first()
    if row is not None:
        raise RolloverUnderWay(
            f"{authority!r} is to be succeeded by {row.successor!r}: rollover {row.id}, {row.state}."
        )


def refuse_succeeded(connection: Connection, found: Rollover) -> None:
    """Make sure that the successor was not succeeded itself: a chain is taken back from its end.

    Raises RolloverUnderWay.
    """
    query = _COLUMNS.where(
        rollovers.c.authority_id == found.successor_id, rollovers.c.state != State.ABANDONED
    )
    row = connection.execute(query).first()
    if row is not None:
        raise RolloverUnderWay(
            f"{found.successor!r} is itself succeeded by {row.successor!r}: rollover {row.id}, {row.state}.",
            next_step=f"Take the rollover of {found.successor!r} back first.",
        )


def begin(
    unit: Unit, actor: Actor, names: tuple[str, str], successor_id: int, now: datetime
) -> None:
    """Put a rollover on record, in the transaction that makes the successor. Raises RolloverUnderWay,
    AuthorityRetired.
    """
    name, successor = names
    same = select(authorities.c.id, authorities.c.status).where(authorities.c.name == name)
    # Issuing goes on meanwhile: it only needs the row to stay.
    authority_id, status = unit.connection.execute(same.with_for_update(key_share=True)).one()
    refuse_second(unit.connection, name)
    if status != ACTIVE:
        # While the successor was made, another one took its place.
        raise AuthorityRetired(f"The authority {name!r} issues no more.")
    row = {
        "authority_id": authority_id,
        "successor_id": successor_id,
        "state": State.PREPARED,
        "created_at": now,
        "created_by": actor.name,
    }
    unit.connection.execute(rollovers.insert().values(**row))
    leave(unit, actor, "rollover.prepare", f"rollover:{name}", now=now, successor=successor)


def unschedule(unit: Unit, actor: Actor, issuer_id: int, serial: str, now: datetime) -> None:
    """Take back a switch whose date has not come, because the successor's certificate ends or is put on hold: nobody
    would issue from that date on. Call it in that transaction, with what identifies the certificate.
    """
    connection = unit.connection
    query = _COLUMNS.where(
        _successors.c.parent_id == issuer_id,
        _successors.c.serial == serial,
        rollovers.c.state == State.SWITCHED,
        rollovers.c.switch_at > now,
    )
    for row in connection.execute(query).all():
        nobody = {"switch_at": None, "switched_at": None, "switched_by": None}
        these = rollovers.c.id == row.id, rollovers.c.state == State.SWITCHED
        changed = update(rollovers).where(*these).values(state=State.PUBLISHED, **nobody)
        if connection.execute(changed).rowcount == 1:
            detail = {"successor": row.successor, "state": State.PUBLISHED, "despite": False}
            why = {"because": "the successor's certificate is not valid any more"}
            leave(
                unit, actor, "rollover.back", f"rollover:{row.authority}", now=now, **detail, **why
            )
