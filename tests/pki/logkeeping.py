"""What tests of the audit log have in common: rows, what is remembered beside the keys, checks."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert

from core.secret import Secret
from hsm.errors import KeyNotFound, KeyStoreUnavailable
from pki import audit_check, sequencing
from pki.audit_check import Kept, Report
from pki.desk import Desk
from pki.proven import Proven
from pki.sequencing import Sequenced
from pki.tlog import merkle
from store import audit, audit_tree
from store.engine import Store, Unit
from store.tables import audit_events
from tests.fixtures.desk import ADMIN, CLOCKWORK, NOW


class Memory:
    """A `BlobStore` in memory, and what the sequencer that has it knows. With `dies`, nothing is kept: the process died
    just before; with `full`, the disk is.
    """

    def __init__(self, content: dict[str, bytes] | None = None) -> None:
        self.content = dict(content or {})
        self.dies = False
        self.full = False
        self.proven = Proven()

    def put_blob(self, name: str, content: bytes | Secret) -> None:
        if self.dies:
            raise Killed
        if self.full:
            raise KeyStoreUnavailable("no room")
        self.content[name] = content.reveal() if isinstance(content, Secret) else content

    def get_blob(self, name: str) -> Secret:
        if name not in self.content:
            raise KeyNotFound(f"no {name}")
        return Secret(self.content[name])

    def copy(self) -> "Memory":
        return Memory(self.content)


class Killed(BaseException):
    """The process is gone: nobody handles this."""


def record(unit: Unit, number: int, **changes: Any) -> None:
    """An audit row."""
    row: dict[str, Any] = {
        "at": NOW,
        "actor": "alice",
        "role": "operator",
        "action": "note",
        "object": f"thing:{number}",
        "outcome": "ok",
        "detail": {"n": number},
        "request_id": f"r{number}",
    }
    audit.record(unit, **{**row, **changes})


def write(store: Store, count: int = 1) -> None:
    """Audit rows, committed."""

    def work(unit: Unit) -> None:
        for number in range(count):
            record(unit, number)

    store.together(work)


def write_as(store: Store, *ids: int) -> None:
    """Audit rows with these ids, committed."""
    with store.write() as connection:
        for each in ids:
            row = {"id": each, "at": NOW, "actor": "a", "role": "admin", "action": "note"}
            rest = {"object": f"o:{each}", "outcome": "ok", "detail": {}, "request_id": ""}
            connection.execute(insert(audit_events).values(**row, **rest))


def sequence(desk: Desk, memory: Memory, now: datetime = NOW) -> Sequenced:
    """One run."""
    return sequencing.sequence(desk, CLOCKWORK, memory, now=now, proven=memory.proven)


def check(desk: Desk, memory: Memory, *notes: str) -> Report:
    """The check of the records."""
    return audit_check.check(desk, ADMIN, memory, Kept(notes))


def tamper(desk: Desk, act: Callable[[Connection], object]) -> None:
    """As somebody with the password of the database does."""
    with desk.store.write() as connection:
        act(connection)


def codes(report: Report) -> set[str]:
    """What kinds of things were found."""
    return {each.code for each in report.findings}


def require_whole(desk: Desk, memory: Memory) -> Report:
    """Sequenced to the end, the records are as they were signed; every row is there once."""
    report = check(desk, memory)
    assert report.findings == ()
    assert report.waiting == 0
    with desk.store.read() as connection:
        leaves = audit_tree.leaves(connection, 0, 10**9)
        ids = audit_tree.event_ids(connection, -(2**63), 2**62, 10**9)
        rebuilt = merkle.RightEdge()
        for leaf in leaves:
            rebuilt.add(leaf.hash)
    assert [leaf.position for leaf in leaves] == list(range(len(leaves)))
    assert sorted(leaf.event_id for leaf in leaves) == ids
    assert report.size == len(ids)
    assert report.root == rebuilt.root()
    return report


def ids_in_order(desk: Desk) -> list[int]:
    """Ids of events in the order of the tree."""
    with desk.store.read() as connection:
        return [leaf.event_id for leaf in audit_tree.leaves(connection, 0, 10**9)]
