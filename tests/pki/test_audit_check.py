"""Every way to change the audit log in the database, and that the check finds it (issue 7, done when 6)."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Text, cast, delete, func, insert, select, text, update

from hsm.errors import SignerUnavailable
from hsm.keys import new_key
from hsm.ports import PrivateKey
from pki import audit_check, audit_log
from pki.audit_check import Kept
from pki.desk import Desk
from pki.tlog import note
from pki.tlog.entry import entry
from pki.tlog.errors import NoteUnreadable
from pki.tlog.merkle import RightEdge, leaf_hash
from pki.tlog.note import Checkpoint, VerifierKey
from store import audit_tree
from store.audit_tables import audit_gaps, audit_heads, audit_leaves, audit_logs, audit_nodes
from store.tables import audit_events
from tests.fixtures.desk import ADMIN, NOW, Custody, reopened
from tests.pki.logkeeping import (
    Memory,
    check,
    codes,
    ids_in_order,
    require_whole,
    sequence,
    tamper,
    write,
    write_as,
)

ROWS = 300


@pytest.fixture
def memory(desk: Desk) -> Memory:
    """What is remembered beside the keys of a log of some hundred rows."""
    kept = Memory()
    sequence(desk, kept)
    write(desk.store, 150)
    sequence(desk, kept, NOW + timedelta(days=1))
    write(desk.store, ROWS - 150)
    sequence(desk, kept, NOW + timedelta(days=2))
    assert check(desk, kept).findings == ()
    return kept


def middle(desk: Desk) -> int:
    """The id of a row in the midst of the log."""
    ids = ids_in_order(desk)
    return ids[len(ids) // 2]


def last(desk: Desk) -> int:
    return ids_in_order(desk)[-1]


CHANGES: dict[str, Any] = {
    "at": NOW + timedelta(microseconds=1),
    "actor": "mallory",
    "role": "auditor",
    "action": "note2",
    "object": "thing:other",
    "outcome": "failed",
    "detail": {"n": -1},
    "request_id": "",
}


def test_a_changed_row(desk: Desk, memory: Memory) -> None:
    """Each column, in the midst of the log and at its end; put back, all is well again."""
    for which in (middle(desk), last(desk)):
        mine = audit_events.c.id == which
        with desk.store.read() as connection:
            whole = dict(connection.execute(select(audit_events).where(mine)).mappings().one())
        for column, value in CHANGES.items():
            change = update(audit_events).where(mine).values({column: value})
            tamper(desk, lambda c, change=change: c.execute(change))
            (finding,) = check(desk, memory).findings
            assert (finding.code, finding.event) == ("row_changed", which)
            back = update(audit_events).where(mine).values({column: whole[column]})
            tamper(desk, lambda c, back=back: c.execute(back))
    assert set(CHANGES) | {"id"} == set(audit_events.c.keys())
    assert check(desk, memory).findings == ()


def test_a_removed_row(desk: Desk, memory: Memory) -> None:
    gone = []
    for which in (middle(desk), last(desk)):
        mine = audit_events.c.id == which
        tamper(desk, lambda c, mine=mine: c.execute(delete(audit_events).where(mine)))
        gone.append(("row_missing", which))
        assert [(each.code, each.event) for each in check(desk, memory).findings] == gone


def test_a_row_put_in(desk: Desk, memory: Memory) -> None:
    """In the place of one that never was: a transaction rolled back, long ago."""
    top = last(desk)
    write_as(desk.store, top + 9)
    sequence(desk, memory)
    tamper(desk, lambda c: c.execute(delete(audit_gaps)))
    for forged in (top + 4, 0, -5):
        write_as(desk.store, forged)
        (finding,) = check(desk, memory).findings
        assert (finding.code, finding.event) == ("row_inserted", forged)
        tamper(
            desk,
            lambda c, forged=forged: c.execute(
                delete(audit_events).where(audit_events.c.id == forged)
            ),
        )


def test_two_rows_that_change_places(desk: Desk, memory: Memory) -> None:
    one, two = middle(desk), last(desk)

    def swap(connection: Connection) -> None:
        event = audit_events.c.id
        for old, new in ((one, -1), (two, one), (-1, two)):
            connection.execute(update(audit_events).where(event == old).values(id=new))

    tamper(desk, swap)
    report = check(desk, memory)
    assert codes(report) == {"row_changed"}
    assert {each.event for each in report.findings} == {one, two}


def test_two_leaves_that_change_places(desk: Desk, memory: Memory) -> None:
    """The rows stay: it is the order in which they happened that is another one."""

    def swap(connection: Connection) -> None:
        place = audit_leaves.c.position
        for old, new in ((200, -1), (201, 200), (-1, 201)):
            connection.execute(update(audit_leaves).where(place == old).values(position=new))

    tamper(desk, swap)
    report = check(desk, memory)
    assert codes(report) >= {"tree_changed"}
    assert not codes(report) & {"row_changed", "row_missing"}


# Somebody who knows how it works, and does not have the key


class Forger:
    """Makes leaves, nodes and heads fit what he did to the rows. All but the signature."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def cut(self, connection: Connection, size: int) -> None:
        """The end of the log is gone, with everything that tells of it."""
        gone = select(audit_leaves.c.event_id).where(audit_leaves.c.position >= size)
        connection.execute(delete(audit_events).where(audit_events.c.id.in_(gone)))
        connection.execute(delete(audit_leaves).where(audit_leaves.c.position >= size))
        connection.execute(delete(audit_heads).where(audit_heads.c.size > size))
        self.rebuild(connection)

    def rebuild(self, connection: Connection) -> None:
        """All leaves and nodes anew from the rows."""
        query = select(audit_leaves.c.event_id).order_by(audit_leaves.c.position)
        ids = list(connection.scalars(query))
        rows = {}
        for start in range(0, len(ids), 500):
            rows |= audit_tree.rows(connection, ids[start : start + 500])
        connection.execute(delete(audit_leaves))
        connection.execute(delete(audit_nodes))
        edge = RightEdge()
        for event_id in ids:
            if event_id not in rows:
                continue
            digest = leaf_hash(entry(event_id, rows[event_id]))
            leaf = {"position": edge.size, "event_id": event_id, "hash": digest}
            connection.execute(insert(audit_leaves).values(**leaf))
            for node in edge.add(digest):
                made = {"level": node.level, "number": node.number, "hash": node.hash}
                connection.execute(insert(audit_nodes).values(**made))
        self.root = edge.root()
        self.size = edge.size

    def sign(self, connection: Connection) -> None:
        """A head of his own in the place of all others, and a key that fits."""
        signer = new_key("ed25519")
        log = audit_tree.logs(connection)[-1]
        signed = note.sign(Checkpoint(log.origin, self.size, self.root), signer)
        key = str(note.verifier_key(log.origin, signer))
        connection.execute(delete(audit_heads))
        head = {"log": log.number, "size": self.size, "root": self.root}
        connection.execute(insert(audit_heads).values(**head, note=signed, signed_at=NOW))
        connection.execute(update(audit_logs).values(verifier_key=key))


@pytest.fixture
def forger(desk: Desk) -> Forger:
    """One who knows how it works."""
    return Forger(desk)


def test_a_changed_row_with_all_hashes_made_anew(
    desk: Desk, memory: Memory, forger: Forger
) -> None:
    which = middle(desk)

    def act(connection: Connection) -> None:
        mine = audit_events.c.id == which
        connection.execute(update(audit_events).where(mine).values(actor="mallory"))
        forger.rebuild(connection)

    place = ids_in_order(desk).index(which)
    tamper(desk, act)
    (finding,) = check(desk, memory).findings
    assert finding.code == "tree_changed"
    # The head of an earlier day tells where.
    assert finding.position is not None
    assert 0 < finding.position <= place


def test_a_removed_row_with_all_hashes_made_anew(
    desk: Desk, memory: Memory, forger: Forger
) -> None:
    which = middle(desk)

    def act(connection: Connection) -> None:
        connection.execute(delete(audit_events).where(audit_events.c.id == which))
        forger.rebuild(connection)

    tamper(desk, act)
    assert codes(check(desk, memory)) >= {"log_cut"}


def test_the_end_cut_off_with_all_that_tells_of_it(
    desk: Desk, memory: Memory, forger: Forger
) -> None:
    kept = audit_log.head(desk, ADMIN).note
    with desk.store.read() as connection:
        size = connection.scalar(select(func.min(audit_heads.c.size)))
    tamper(desk, lambda c: forger.cut(c, size))
    # The database is whole in itself: only what is outside of it knows.
    assert check(desk, Memory()).findings == ()
    (finding,) = check(desk, memory).findings
    assert finding.code == "log_cut"
    (finding,) = check(desk, Memory(), kept).findings
    assert finding.code == "log_cut"


def test_everything_forged_with_a_key_of_his_own(
    desk: Desk, memory: Memory, forger: Forger
) -> None:
    kept = audit_log.head(desk, ADMIN)

    which = middle(desk)
    tamper(
        desk,
        lambda c: c.execute(
            update(audit_events).where(audit_events.c.id == which).values(actor="mallory")
        ),
    )
    tamper(desk, forger.rebuild)
    tamper(desk, forger.sign)
    # Without anything from outside the database it all fits, but for the key.
    assert codes(check(desk, Memory())) == {"key_changed"}
    assert codes(check(desk, memory)) == {"tree_changed", "key_changed"}
    # The head that was kept, with the key that was kept; and with none.
    key = VerifierKey.parse(kept.key)
    with_key = audit_check.check(desk, ADMIN, Memory(), Kept([kept.note], key))
    assert codes(with_key) == {"tree_changed", "key_changed"}
    assert codes(check(desk, Memory(), kept.note)) == {"head_foreign", "key_changed"}


def test_a_head_that_was_not_signed(desk: Desk, memory: Memory) -> None:
    tamper(desk, lambda c: c.execute(update(audit_heads).values(root=bytes(32))))
    assert codes(check(desk, memory)) == {"head_forged"}
    tamper(desk, lambda c: c.execute(update(audit_heads).values(note="none")))
    assert codes(check(desk, memory)) == {"head_forged"}
    tamper(desk, lambda c: c.execute(update(audit_logs).values(verifier_key="none")))
    assert codes(check(desk, memory)) == {"head_forged", "key_changed"}


def unreadable(desk: Desk) -> list[object]:
    """What a database keeps in the place of an instant. On SQLite a column holds what is put there."""
    return ["infinity"] if desk.store.dialect == "postgresql" else ["soon", 9 * 10**18]


def test_heads_that_nobody_can_read(desk: Desk, memory: Memory) -> None:
    spoil = text("UPDATE audit_heads SET signed_at = :at")
    for value in unreadable(desk):
        tamper(desk, lambda c, value=value: c.execute(spoil, {"at": value}))
        assert codes(check(desk, memory)) == {"head_forged"}
        write(desk.store)
        assert sequence(desk, memory, NOW + timedelta(days=3)).signed


def test_gaps_that_nobody_can_read(desk: Desk, memory: Memory) -> None:
    spoil = text("INSERT INTO audit_gaps VALUES (:first, :last, :at)")
    for place, value in enumerate(unreadable(desk)):
        gap = {"first": -9 - place, "last": -9 - place, "at": value}
        tamper(desk, lambda c, gap=gap: c.execute(spoil, gap))
    if desk.store.dialect == "sqlite":
        tamper(desk, lambda c: c.execute(spoil, {"first": -30, "last": "x", "at": "y"}))
    assert check(desk, memory).findings == ()
    write(desk.store)
    assert sequence(desk, memory, NOW + timedelta(days=3)).added == 1
    require_whole(desk, memory)


def test_a_head_put_in_that_is_larger_than_the_log(desk: Desk, memory: Memory) -> None:
    """The head that is given out is the newest one that was signed, whatever else there is."""
    newest = audit_log.head(desk, ADMIN)
    head = {"log": 1, "size": 10**9, "root": bytes(32), "note": "none", "signed_at": NOW}
    tamper(desk, lambda c: c.execute(insert(audit_heads).values(head)))
    assert codes(check(desk, memory)) == {"head_forged"}
    assert audit_log.head(desk, ADMIN) == newest
    write(desk.store)
    sequence(desk, memory)
    assert audit_log.head(desk, ADMIN).size == newest.size + 1


def test_a_detail_that_reads_in_two_ways(desk: Desk, memory: Memory) -> None:
    """SQL takes the first value of a name that is there twice, and others the last."""
    which = middle(desk)
    query = select(cast(audit_events.c.detail, Text)).where(audit_events.c.id == which)
    with desk.store.read() as connection:
        detail = connection.scalar(query)
    assert detail is not None
    twice = {"detail": '{"n": -1, ' + detail.removeprefix("{"), "id": which}
    act = text("UPDATE audit_events SET detail = :detail WHERE id = :id")
    tamper(desk, lambda c: c.execute(act, twice))
    (finding,) = check(desk, memory).findings
    assert (finding.code, finding.event) == ("row_changed", which)


def test_a_missing_leaf(desk: Desk, memory: Memory) -> None:
    for position in (len(ids_in_order(desk)) - 1, 200, 0):
        mine = audit_leaves.c.position == position
        tamper(desk, lambda c, mine=mine: c.execute(delete(audit_leaves).where(mine)))
        found = check(desk, memory).findings
        assert "log_cut" in {each.code for each in found}
        # Of the last one, nothing in the tree tells.
        told = [each.position for each in found if each.code == "leaf_missing"]
        assert told == ([position] if position <= 200 else [])


def test_a_changed_leaf_and_a_changed_node(desk: Desk, memory: Memory) -> None:
    mine = audit_leaves.c.position == 10
    tamper(desk, lambda c: c.execute(update(audit_leaves).where(mine).values(hash=bytes(32))))
    assert codes(check(desk, memory)) == {"row_changed", "node_changed", "tree_changed"}


def test_a_changed_node(desk: Desk, memory: Memory) -> None:
    mine = audit_nodes.c.number == 0
    tamper(desk, lambda c: c.execute(update(audit_nodes).where(mine).values(hash=bytes(32))))
    assert codes(check(desk, memory)) == {"node_changed"}


def test_a_value_that_cannot_be_read(desk: Desk, memory: Memory) -> None:
    value = "infinity" if desk.store.dialect == "postgresql" else "soon"

    def spoil(which: int) -> None:
        act = text("UPDATE audit_events SET at = :at WHERE id = :id")
        tamper(desk, lambda c: c.execute(act, {"at": value, "id": which}))

    which = middle(desk)
    spoil(which)
    (finding,) = check(desk, memory).findings
    assert (finding.code, finding.event) == ("row_changed", which)
    # Nor does it stop the log where it was written so before it was sequenced.
    write(desk.store)
    with desk.store.read() as connection:
        newest = connection.scalar(select(func.max(audit_events.c.id)))
    assert newest is not None
    spoil(newest)
    assert sequence(desk, memory).added == 1
    assert len(check(desk, memory).findings) == 1


def test_many_findings_are_counted(desk: Desk, memory: Memory) -> None:
    tamper(desk, lambda c: c.execute(update(audit_events).values(actor="mallory")))
    report = check(desk, memory)
    assert len(report.findings) == 100
    assert len(report.findings) + report.left_out == report.size


def test_rows_that_wait_are_no_findings(desk: Desk, memory: Memory) -> None:
    write(desk.store, 5)
    write_as(desk.store, last(desk) + 50)
    report = check(desk, memory)
    assert (report.findings, report.waiting) == ((), 6)


def test_a_key_that_the_store_does_not_have(desk: Desk, memory: Memory) -> None:
    for uri in ("fake:none", "none"):
        tamper(desk, lambda c, uri=uri: c.execute(update(audit_logs).values(key_uri=uri)))
        assert codes(check(desk, memory)) == {"key_changed"}


def test_while_the_signer_is_away_the_rest_is_checked(desk: Desk, memory: Memory) -> None:
    away = reopened(desk, keys=Away())
    assert check(away, memory).findings == ()


class Away(Custody):
    """A key store that does not answer."""

    def open(self, uri: str) -> PrivateKey:
        raise SignerUnavailable("not now")


def test_what_is_no_head_is_told(desk: Desk, memory: Memory) -> None:
    with pytest.raises(NoteUnreadable):
        check(desk, memory, "nothing")
