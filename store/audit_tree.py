"""The tree over the audit log as records: leaves, nodes, heads, and which events are not in it yet.

Nothing here hashes or signs (pki/sequencing.py does). An event belongs to the tree when it has a leaf. On PostgreSQL
events become visible out of the order of their ids, so ids that were passed over are remembered as gaps and looked at
again.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Connection,
    Insert,
    Table,
    Text,
    and_,
    bindparam,
    cast,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.exc import DataError

from store.audit_tables import audit_gaps, audit_heads, audit_leaves, audit_logs, audit_nodes
from store.tables import audit_events
from store.unit import Unit
from store.unit import insert as put

# A transaction that took an id commits within seconds or never (store.limits). After a day without a row in a gap its
# ids belong to transactions that were rolled back.
PATIENCE: Final = timedelta(days=1)
# Servers' clocks differ less, and the sequencer runs several times in it.
RECENT: Final = timedelta(minutes=2)
_SOME: Final = 200
_MOST: Final = 2**63 - 1
_LEVELS: Final = 8
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

Row = Mapping[str, Any]
_NAMES: Final = tuple(audit_events.columns.keys())
_ROWS: Final = select(
    *(cast(each, Text) if each.name == "detail" else each for each in audit_events.columns)
)
_HAS_LEAF: Final = exists().where(audit_leaves.c.event_id == audit_events.c.id)
# What somebody wrote that no instant can be.
_UNREADABLE: Final = (TypeError, ValueError, OverflowError, DataError)


@dataclass(frozen=True)
class Log:
    """Who signs the heads: `origin` names the log, `verifier_key` is its public key as a line."""

    number: int
    origin: str
    key_uri: str
    verifier_key: str


@dataclass(frozen=True)
class Leaf:
    """An event's place in the tree."""

    position: int
    event_id: int
    hash: bytes


@dataclass(frozen=True)
class Head:
    """A signed head."""

    log: int
    size: int
    root: bytes
    note: str
    signed_at: datetime


@dataclass(frozen=True)
class Gap:
    """Ids from `first` to `last` that had no row."""

    first: int
    last: int


@dataclass(frozen=True)
class Run:
    """Events with ids from `first` to `last` that all have a leaf: its position is the id less `shift`."""

    first: int
    last: int
    shift: int


@dataclass(frozen=True)
class Growth:
    """What is added to a tree of `size` leaves: leaves, nodes as (level, number, hash), ids that are passed over now,
    and ids that were passed over earlier and have a leaf now.
    """

    size: int
    leaves: Sequence[Leaf]
    nodes: Sequence[tuple[int, int, bytes]]
    gaps: Sequence[Gap]
    late: Sequence[int]


def logs(connection: Connection) -> list[Log]:
    """All logs there were; the last one is the present one."""
    columns = (
        audit_logs.c.number,
        audit_logs.c.origin,
        audit_logs.c.key_uri,
        audit_logs.c.verifier_key,
    )
    query = select(*columns).order_by(audit_logs.c.number)
    return [Log(**row) for row in connection.execute(query).mappings()]


def add_log(unit: Unit, log: Log, *, at: datetime, by: str) -> None:
    """Begin a log in the acting transaction; Duplicate where another server began this one."""
    put(unit, audit_logs, {**vars(log), "created_at": at, "created_by": by})


def size(connection: Connection) -> int:
    """How many leaves there are."""
    last = connection.scalar(select(func.max(audit_leaves.c.position)))
    return 0 if last is None else int(last) + 1


def hashes(connection: Connection, level: int, first: int, last: int) -> list[bytes]:
    """Hashes of one level from `first` on, up to and without `last`: as many as there are without a gap."""
    if level:
        number, among = audit_nodes.c.number, audit_nodes.c.level == level
        query = select(number, audit_nodes.c.hash).where(among, number >= first, number < last)
    else:
        number = audit_leaves.c.position
        query = select(number, audit_leaves.c.hash).where(number >= first, number < last)
    found = connection.execute(query.order_by(number)).all()
    return [bytes(each) for place, (at, each) in enumerate(found) if at == first + place]


def leaves(connection: Connection, first: int, last: int) -> list[Leaf]:
    """The leaves from the position `first` on, up to and without `last`."""
    position = audit_leaves.c.position
    query = select(audit_leaves).where(position >= first, position < last).order_by(position)
    return [Leaf(**row) for row in connection.execute(query).mappings()]


def leaf_of(connection: Connection, event_id: int) -> Leaf | None:
    """Where an event is."""
    query = select(audit_leaves).where(audit_leaves.c.event_id == event_id)
    row = connection.execute(query).mappings().one_or_none()
    return None if row is None else Leaf(**row)


def leaves_about(connection: Connection, now: datetime, known: Sequence[Run]) -> list[Leaf]:
    """The leaves of events of these minutes (`RECENT`), in the order of their positions; without those that are known
    and still at their places.
    """
    event, position = audit_leaves.c.event_id, audit_leaves.c.position
    joined = audit_events.join(audit_leaves, event == audit_events.c.id)
    query = select(audit_leaves).select_from(joined).where(_about(now))
    for run in known:
        query = query.where(
            ~and_(event.between(run.first, run.last), event - position == run.shift)
        )
    ordered = query.order_by(position)
    return [Leaf(**row) for row in connection.execute(ordered).mappings()]


def strays(connection: Connection, limit: int) -> list[Leaf]:
    """Leaves at places that no tree has, at most `limit`."""
    position = audit_leaves.c.position
    query = select(audit_leaves).where(position < 0).order_by(position).limit(limit)
    return [Leaf(**row) for row in connection.execute(query).mappings()]


def doubles(connection: Connection, limit: int) -> list[Leaf]:
    """Leaves of events that have another one before them, at most `limit`."""
    position, event = audit_leaves.c.position, audit_leaves.c.event_id
    other = audit_leaves.alias()
    twice = exists().where(other.c.event_id == event, other.c.position < position)
    query = select(audit_leaves).where(twice).order_by(position).limit(limit)
    return [Leaf(**row) for row in connection.execute(query).mappings()]


def rows(connection: Connection, ids: Sequence[int]) -> dict[int, Row | None]:
    """Events by id, `detail` as the text that is kept; None for one whose values cannot be read, nothing for a missing
    one.
    """
    query = _ROWS.where(audit_events.c.id.in_(ids))
    try:
        return {row[0]: dict(zip(_NAMES, row, strict=True)) for row in connection.execute(query)}
    except _UNREADABLE:
        # Which one is it?
        if len(ids) == 1:
            return {ids[0]: None}
        middle = len(ids) // 2
        return rows(connection, ids[:middle]) | rows(connection, ids[middle:])


def event_ids(connection: Connection, after: int, last: int, limit: int) -> list[int]:
    """Ids of events above `after` and not above `last`, the lowest first, at most `limit`."""
    event = audit_events.c.id
    query = select(event).where(event > after, event <= last).order_by(event).limit(limit)
    return list(connection.scalars(query))


def in_tree(connection: Connection, ids: Sequence[int]) -> set[int]:
    """Those of the ids that have a leaf at a place that a tree has."""
    position, event = audit_leaves.c.position, audit_leaves.c.event_id
    query = select(event).where(event.in_(ids), position >= 0)
    return set(connection.scalars(query))


def highest(connection: Connection) -> int:
    """The highest id in the tree; what a leaf beside it says does not count."""
    event = audit_leaves.c.event_id
    query = select(event).where(audit_leaves.c.position >= 0).order_by(event.desc()).limit(1)
    return connection.scalar(query) or 0


def waiting(
    connection: Connection, limit: int, now: datetime | None = None, known: Sequence[Run] = ()
) -> list[int]:
    """Ids of events that are not in the tree, the lowest first, at most `limit`.

    With `now`, also those of these minutes, whatever the gaps and the highest id say, but for those that are known.
    """
    event, top = audit_events.c.id, highest(connection)
    late = {each for some in _chunks(gaps(connection)) for each in _within(connection, some, limit)}
    if now is not None:
        passed = (~event.between(run.first, run.last) for run in known)
        query = select(event).where(_about(now), event <= top, *passed, ~_HAS_LEAF)
        late.update(connection.scalars(query.order_by(event).limit(limit)))
    query = select(event).where(event > top, ~_HAS_LEAF).order_by(event)
    return [*sorted(late), *connection.scalars(query.limit(limit))][:limit]


def _about(now: datetime) -> ColumnElement[bool]:
    return audit_events.c.at.between(now - RECENT, now + RECENT)


def gaps(connection: Connection) -> list[Gap]:
    """The gaps, the lowest first."""
    first, last = audit_gaps.c.first, audit_gaps.c.last
    query = select(first, last).where(last.between(first, _MOST)).order_by(first)
    return [Gap(**row) for row in connection.execute(query).mappings()]


def quiet_gaps(connection: Connection, *, now: datetime) -> bool:
    """Whether there are gaps in which nothing turned up for long."""
    query = select(audit_gaps.c.first).where(audit_gaps.c.quiet_since < now - PATIENCE)
    return connection.execute(query.limit(1)).first() is not None


def _chunks(all_gaps: Sequence[Gap]) -> Iterable[Sequence[Gap]]:
    return (all_gaps[start : start + _SOME] for start in range(0, len(all_gaps), _SOME))


def _within(connection: Connection, some: Sequence[Gap], limit: int) -> list[int]:
    """Ids in these gaps that have a row by now and no leaf."""
    event = audit_events.c.id
    among = or_(*(event.between(gap.first, gap.last) for gap in some))
    query = select(event).where(among, ~_HAS_LEAF).order_by(event).limit(limit)
    return list(connection.scalars(query))


def grow(connection: Connection, log: Log, growth: Growth, *, now: datetime) -> bool:
    """Add to the tree; False, with nothing done, where it is not of the size any more that the growth is for.

    Servers that do so at once wait for each other, and for nobody else.
    """
    _hold(connection, log)
    if size(connection) != growth.size:
        return False
    names = ("level", "number", "hash")
    _insert(connection, audit_leaves, [vars(leaf) for leaf in growth.leaves])
    _insert(connection, audit_nodes, [dict(zip(names, node, strict=True)) for node in growth.nodes])
    _insert(connection, audit_gaps, [{**vars(gap), "quiet_since": now} for gap in growth.gaps])
    first, last = audit_gaps.c.first, audit_gaps.c.last
    for start in range(0, len(growth.late), _SOME):
        hit = or_(*(and_(first <= each, last >= each) for each in growth.late[start:][:_SOME]))
        connection.execute(update(audit_gaps).where(hit).values(quiet_since=now))
    return True


def drop_forged(connection: Connection, log: Log, end: int | None) -> None:
    """Remove leaves at places that no tree has; with `end`, also all from there on, and the nodes over them, unless
    there is a head over some of these.
    """
    _hold(connection, log)
    newest = newest_head(connection, log)
    connection.execute(delete(audit_leaves).where(audit_leaves.c.position < 0))
    if end is None or (newest is not None and newest.size > end):
        return
    connection.execute(delete(audit_leaves).where(audit_leaves.c.position >= end))
    level, number = audit_nodes.c.level, audit_nodes.c.number
    for each in range(1, _LEVELS):
        over = and_(level == each, number >= end >> 8 * each)
        connection.execute(delete(audit_nodes).where(over))


def forget_gaps(connection: Connection, *, now: datetime) -> None:
    """Look no more for ids that have been without a row for long. Call it when no event is waiting."""
    connection.execute(delete(audit_gaps).where(audit_gaps.c.quiet_since < now - PATIENCE))


def newest_head(connection: Connection, log: Log) -> Head | None:
    """The largest head of a log; none that says it is larger than the tree."""
    among = audit_heads.c.size.between(0, size(connection))
    query = select(audit_heads.c.log, audit_heads.c.size).where(
        audit_heads.c.log == log.number, among
    )
    key = connection.execute(query.order_by(audit_heads.c.size.desc()).limit(1)).first()
    return None if key is None else _head(connection, *key)


def heads(connection: Connection) -> list[Head]:
    """All heads that are kept. One whose values cannot be read has no root and no note."""
    query = select(audit_heads.c.log, audit_heads.c.size).order_by(
        audit_heads.c.log, audit_heads.c.size
    )
    return [_head(connection, *key) for key in connection.execute(query).all()]


def _head(connection: Connection, log: int, size: int) -> Head:
    query = select(audit_heads).where(audit_heads.c.log == log, audit_heads.c.size == size)
    try:
        return Head(**connection.execute(query).mappings().one())
    except _UNREADABLE:
        return Head(log, size, b"", "", _EPOCH)


def add_head(connection: Connection, log: Log, head: Head) -> bool:
    """Keep a head in the place of the newest one, if that is of the same day; False where there is one as large."""
    _hold(connection, log)
    newest = newest_head(connection, log)
    if newest is not None and newest.size >= head.size:
        return False
    if newest is not None and newest.signed_at.date() == head.signed_at.date():
        same = and_(audit_heads.c.log == newest.log, audit_heads.c.size == newest.size)
        connection.execute(delete(audit_heads).where(same))
    connection.execute(insert(audit_heads).values(**vars(head)))
    return True


def _hold(connection: Connection, log: Log) -> None:
    held = select(audit_logs.c.number).where(audit_logs.c.number == log.number)
    connection.execute(held.with_for_update())


def _insert(connection: Connection, table: Table, all_rows: Sequence[Row]) -> None:
    if not all_rows:
        return
    if connection.dialect.name == "postgresql":
        arrays = {name: [row[name] for row in all_rows] for name in table.columns.keys()}
        connection.execute(_from_arrays(table), arrays)
    else:
        connection.execute(insert(table).inline(), all_rows)


@cache
def _from_arrays(table: Table) -> Insert:
    """All rows in one statement: a third of the time of one for each."""
    names = table.columns.keys()
    arrays = (bindparam(each.name, type_=ARRAY(each.type)) for each in table.columns)
    given = func.unnest(*arrays).table_valued(*names).render_derived(name="given")
    source = select(*(given.c[name] for name in names))
    return insert(table).from_select(names, source, include_defaults=False)
