"""Work after the commit: messages written in the transaction that makes them necessary.

A message is there until a handler has done it: claimed with a lease, given back when the lease
ends (its holder may have died), tried again later when it failed, and kept as a dead letter when
it failed too often. It may therefore be handled twice; handlers are idempotent.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    and_,
    case,
    delete,
    func,
    or_,
    select,
    update,
)

from core import spans
from store.engine import Store
from store.tables import outbox
from store.text import storable
from store.unit import Unit, insert

# 1 s, 3 s, 9 s … 1 h, 1 h: twelve attempts last about four hours, longer than most
# outages that heal.
_FIRST_WAIT: Final = timedelta(seconds=1)
_GROWTH: Final = 3
_LONGEST_WAIT: Final = timedelta(hours=1)
_LONGEST_ERROR: Final = 1000
# The clocks of replicas may differ by less; and no lease is longer.
_SKEW: Final = timedelta(minutes=5)


@dataclass(frozen=True)
class Message:
    """A message; `attempts` counts those that failed."""

    id: int
    topic: str
    key: str
    payload: Mapping[str, Any]
    created_at: datetime
    available_at: datetime
    attempts: int
    last_error: str | None
    dead_at: datetime | None


@dataclass(frozen=True)
class OutboxDepth:
    """How much is queued: due now (claimed or not), due later, given up; and how long the oldest has been due."""

    waiting: int
    delayed: int
    dead: int
    oldest_age: timedelta


_COLUMNS: Final = [outbox.c[name] for name in Message.__dataclass_fields__]


def put(
    target: Unit | Connection,
    *,
    topic: str,
    key: str,
    payload: Mapping[str, Any],
    now: datetime,
    delay: timedelta = timedelta(0),
) -> None:
    """Queue a message in the acting transaction. `payload` is JSON and holds no secret."""
    insert(
        target,
        outbox,
        {
            "topic": topic,
            "key": storable(key),
            # Whoever follows it sees what it was done for.
            "payload": {**payload, **spans.traceparent()},
            "created_at": now,
            "available_at": now + delay,
            "attempts": 0,
        },
    )


@dataclass(frozen=True)
class Topics:
    """Which messages somebody wants: those of these topics, or with `others` those of all but these."""

    names: frozenset[str] = frozenset()
    others: bool = True

    def condition(self) -> ColumnElement[bool]:
        """The same in SQL."""
        names = sorted(self.names)
        return outbox.c.topic.not_in(names) if self.others else outbox.c.topic.in_(names)


EVERYTHING: Final = Topics()


def claim(
    store: Store,
    *,
    owner: str,
    limit: int,
    lease: timedelta,
    now: datetime,
    topics: Topics = EVERYTHING,
) -> list[Message]:
    """Take up to `limit` due messages, oldest first, for as long as `lease`; nobody else gets them meanwhile."""
    free = and_(_free(now), topics.condition())
    with store.read() as connection:
        if connection.execute(select(outbox.c.id).where(free).limit(1)).first() is None:
            return []  # the usual case, several times a second: no need to disturb the writers
    query = (
        select(*_COLUMNS)
        .where(free)
        .order_by(outbox.c.available_at, outbox.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    with store.write() as connection:
        messages = [_message(row) for row in connection.execute(query).mappings()]
        if messages:
            connection.execute(
                update(outbox)
                .where(outbox.c.id.in_([message.id for message in messages]))
                .values(lease_owner=owner, lease_until=now + lease)
            )
    return messages


def done(store: Store, ids: Sequence[int], *, owner: str) -> None:
    """Forget messages that were handled; those that another owner has claimed since stay."""
    if not ids:
        return
    with store.write() as connection:
        connection.execute(
            delete(outbox).where(outbox.c.id.in_(ids), outbox.c.lease_owner == owner)
        )


def failed(
    store: Store,
    message: Message,
    *,
    owner: str,
    error: str,
    now: datetime,
    max_attempts: int = 12,
    spread_by: int | None = None,
) -> None:
    """Give a message back for a later attempt, or give it up; nothing if another owner has claimed it since.

    `error` is one line without secrets. Messages with the same `spread_by` (by default the message's own number) come
    back together, if they failed as often.
    """
    attempts = message.attempts + 1
    with store.write() as connection:
        connection.execute(
            update(outbox)
            .where(outbox.c.id == message.id, outbox.c.lease_owner == owner)
            .values(
                attempts=attempts,
                available_at=now + pause(message.id if spread_by is None else spread_by, attempts),
                lease_owner=None,
                lease_until=None,
                last_error=storable(error)[:_LONGEST_ERROR],
                dead_at=now if attempts >= max_attempts else None,
            )
        )


def pause(number: int, attempts: int) -> timedelta:
    """How long message `number` rests after its latest of `attempts` failures.

    Grows with the attempts, and differs between messages by up to a quarter, so that what failed
    together does not come back together.
    """
    # The exponent is bounded before the power is taken: attempts have no bound of their own.
    wait = min(_FIRST_WAIT * float(_GROWTH ** min(attempts - 1, 16)), _LONGEST_WAIT)
    spread = (
        number * 2654435761 % 2**32
    ) / 2**32  # Knuth's multiplicative hash: even for a sequence
    return wait * (0.75 + 0.5 * spread)


def depth(connection: Connection, now: datetime) -> OutboxDepth:
    """How much is queued."""
    alive = outbox.c.dead_at.is_(None)
    due = and_(alive, outbox.c.available_at <= now)
    row = connection.execute(
        select(
            func.count(case((due, 1))),
            func.count(case((and_(alive, outbox.c.available_at > now), 1))),
            func.count(outbox.c.dead_at),
            func.min(case((due, outbox.c.available_at))),
        )
    ).one()
    oldest: datetime | None = row[3]
    return OutboxDepth(row[0], row[1], row[2], timedelta(0) if oldest is None else now - oldest)


def oldest(connection: Connection, topic: str) -> datetime | None:
    """Since when the oldest message of a topic has been there that was not given up."""
    query = select(func.min(outbox.c.created_at))
    return connection.execute(
        query.where(outbox.c.topic == topic, outbox.c.dead_at.is_(None))
    ).scalar()


def dead_letters(connection: Connection, limit: int) -> list[Message]:
    """Messages that were given up, the latest first."""
    query = (
        select(*_COLUMNS)
        .where(outbox.c.dead_at.is_not(None))
        .order_by(outbox.c.dead_at.desc(), outbox.c.id.desc())
        .limit(limit)
    )
    return [_message(row) for row in connection.execute(query).mappings()]


def revive(connection: Connection, number: int, now: datetime) -> Message | None:
    """Queue a dead letter anew, as if it had never failed; None if there is no such dead letter."""
    changed = connection.execute(
        update(outbox)
        .where(outbox.c.id == number, outbox.c.dead_at.is_not(None))
        .values(dead_at=None, attempts=0, available_at=now, lease_owner=None, lease_until=None)
    )
    if not changed.rowcount:
        return None
    row = connection.execute(select(*_COLUMNS).where(outbox.c.id == number))
    return _message(row.mappings().one())


def release_of(store: Store, is_dead: Callable[[str], bool]) -> int:
    """Give back what those have claimed of whom `is_dead` says so; tells how many messages that were."""
    owner = outbox.c.lease_owner
    with store.read() as connection:
        owners = connection.scalars(select(owner).where(owner.is_not(None)).distinct()).all()
    gone = [each for each in owners if is_dead(each)]
    if not gone:
        return 0
    with store.write() as connection:
        freed = update(outbox).where(owner.in_(gone)).values(lease_owner=None, lease_until=None)
        return connection.execute(freed).rowcount


def put_right(store: Store, now: datetime) -> int:
    """Let go of what was written by a clock that was far ahead and is right again; tells how many messages that were.

    A message that was put, failed or claimed then would else wait for that time. One that was to wait keeps its delay.
    """
    rested = now + _LONGEST_WAIT * 2
    wrong = and_(
        outbox.c.dead_at.is_(None),
        or_(
            outbox.c.created_at > now + _SKEW,
            and_(outbox.c.attempts > 0, outbox.c.available_at > rested),
            outbox.c.lease_until > now + _SKEW,
        ),
    )
    query = select(*_COLUMNS).where(wrong)
    with store.read() as connection:
        if connection.execute(query.limit(1)).first() is None:
            return 0
    with store.write() as connection:
        found = connection.execute(query.with_for_update(skip_locked=True)).mappings().all()
        for message in map(_message, found):
            due = message.available_at
            if message.created_at > now:
                due = now + (due - message.created_at)
            connection.execute(
                update(outbox)
                .where(outbox.c.id == message.id)
                .values(
                    created_at=min(message.created_at, now),
                    available_at=now if message.attempts else due,
                    lease_owner=None,
                    lease_until=None,
                )
            )
    return len(found)


def _free(now: datetime) -> ColumnElement[bool]:
    return and_(
        outbox.c.dead_at.is_(None),
        outbox.c.available_at <= now,
        or_(outbox.c.lease_until.is_(None), outbox.c.lease_until <= now),
    )


def _message(row: RowMapping) -> Message:
    return Message(**row)
