"""The audit log as others may check it: its head, proofs, and its rows as they are in the tree."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from sqlalchemy import Connection

from core.errors import Conflict, InvalidInput, NotFound
from pki.actors import Action, Actor, require, require_gateway
from pki.desk import Desk
from pki.tlog import merkle
from pki.tlog.entry import entry
from store import audit_tree as tree

_MOST_COUNTED: Final = 10_000


class AuditLogNotBegun(NotFound):
    """No head of the audit log was signed yet."""

    code = "audit_log_not_begun"
    next_step = "See that the scheduler runs: it signs the first head within seconds."


class AuditEventNotInLog(NotFound):
    """No event of this id is under the newest head."""

    code = "audit_event_not_in_log"
    next_step = (
        "Look for the id in `ikewarden audit-log list`; a new event is in the log within seconds."
    )


class TreeSizeUnknown(InvalidInput):
    """The two sizes are not those of trees that were signed."""

    code = "audit_log_size_unknown"
    next_step = "Give two sizes, the smaller one first, none above that of the newest head."


class AuditEntryMissing(Conflict):
    """A row that is in the tree is not in the records any more."""

    code = "audit_entry_missing"
    next_step = "Run `ikewarden audit-log verify` on the server: it names every row that is missing or changed."


@dataclass(frozen=True)
class SignedHead:
    """The newest head; `note` is the signed text, `key` the line of the public key."""

    origin: str
    size: int
    root: bytes
    note: str
    signed_at: datetime
    key: str


@dataclass(frozen=True)
class Inclusion:
    """That an event is the `index`-th leaf under the head; `line` is what the leaf is the hash of."""

    event: int
    index: int
    line: str
    proof: Sequence[bytes]
    head: SignedHead


@dataclass(frozen=True)
class Entry:
    """A row as it is in the tree."""

    position: int
    line: str


@dataclass(frozen=True)
class LogFigures:
    """How the log does: rows that are not in the tree yet (10,000 at most are counted), rows under the newest head, and
    its age, which is None where there is none.
    """

    waiting: int
    size: int
    head_age: timedelta | None


def head(desk: Desk, actor: Actor) -> SignedHead:
    """The newest head. Raises RoleMayNot, AuditLogNotBegun."""
    require(actor, Action.AUDIT_READ)
    require_gateway(actor, None)
    with desk.store.read() as connection:
        return _head(connection)


def inclusion(desk: Desk, actor: Actor, event_id: int) -> Inclusion:
    """The proof that an event is under the newest head. Raises RoleMayNot, AuditLogNotBegun, AuditEventNotInLog,
    AuditEntryMissing, AuditTreeDamaged.
    """
    require(actor, Action.AUDIT_READ)
    require_gateway(actor, None)
    with desk.store.read() as connection:
        newest = _head(connection)
        leaf = tree.leaf_of(connection, event_id)
        if leaf is None or not 0 <= leaf.position < newest.size:
            raise AuditEventNotInLog(f"The event {event_id} is not under the newest head.")
        read = partial(tree.hashes, connection)
        proof = merkle.inclusion_proof(leaf.position, newest.size, read)
        (line,) = _lines(connection, [event_id])
    return Inclusion(event_id, leaf.position, line, proof, newest)


def consistency(desk: Desk, actor: Actor, first: int, second: int) -> list[bytes]:
    """The proof that the tree of size `second` begins with that of size `first`.

    Raises RoleMayNot, AuditLogNotBegun, TreeSizeUnknown, AuditTreeDamaged.
    """
    require(actor, Action.AUDIT_READ)
    require_gateway(actor, None)
    with desk.store.read() as connection:
        size = _head(connection).size
        if not 0 <= first <= second <= size:
            raise TreeSizeUnknown(f"{first} and {second} are not two sizes up to {size}.")
        return merkle.consistency_proof(first, second, partial(tree.hashes, connection))


def entries(desk: Desk, actor: Actor, *, first: int, limit: int) -> list[Entry]:
    """Rows under the newest head from the position `first` on, at most `limit`.

    Raises RoleMayNot, AuditLogNotBegun, AuditEntryMissing.
    """
    require(actor, Action.AUDIT_READ)
    require_gateway(actor, None)
    with desk.store.read() as connection:
        last = min(first + limit, _head(connection).size)
        leaves = tree.leaves(connection, first, last)
        lines = _lines(connection, [leaf.event_id for leaf in leaves])
    return [Entry(leaf.position, line) for leaf, line in zip(leaves, lines, strict=True)]


def figures(desk: Desk, actor: Actor, *, now: datetime) -> LogFigures:
    """How the log does. Raises RoleMayNot."""
    require(actor, Action.METRICS_READ)
    with desk.store.read() as connection:
        newest = latest_head(connection)
        waiting = len(tree.waiting(connection, _MOST_COUNTED))
    if newest is None:
        return LogFigures(waiting, 0, None)
    return LogFigures(waiting, newest.size, now - newest.signed_at)


def latest_head(connection: Connection) -> SignedHead | None:
    """The newest head inside a transaction, for who has the permission already."""
    logs = tree.logs(connection)
    found = tree.newest_head(connection, logs[-1]) if logs else None
    if found is None:
        return None
    return SignedHead(
        origin=logs[-1].origin,
        size=found.size,
        root=found.root,
        note=found.note,
        signed_at=found.signed_at,
        key=logs[-1].verifier_key,
    )


def _head(connection: Connection) -> SignedHead:
    newest = latest_head(connection)
    if newest is None:
        raise AuditLogNotBegun("No head of the audit log was signed yet.")
    return newest


def _lines(connection: Connection, ids: Sequence[int]) -> list[str]:
    rows = tree.rows(connection, ids)
    missing = [each for each in ids if each not in rows]
    if missing:
        raise AuditEntryMissing(f"The event {missing[0]} is in the tree and not in the records.")
    return [entry(each, rows[each]).decode() for each in ids]
