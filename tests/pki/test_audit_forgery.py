"""Leaves put in and moved by hand, so that rows seem to be signed: nothing of it passes (issue 7, done when 6)."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from sqlalchemy import delete, func, insert, select, text, update

from pki.desk import Desk
from pki.sequencing import FORGED, AuditLeafForged, AuditLogRolledBack
from pki.tlog.entry import entry
from pki.tlog.merkle import leaf_hash
from pki.tlog.note import verifier_key
from store import audit_tree
from store.audit_tables import audit_gaps, audit_heads, audit_leaves, audit_logs, audit_nodes
from store.tables import audit_events
from tests.fixtures.desk import NOW
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

FAR = 256**3 - 1


@pytest.fixture
def memory(desk: Desk) -> Memory:
    """What is remembered beside the keys of a log of some hundred rows, an hour before the forger comes."""
    kept = Memory()
    write(desk.store, 300)
    sequence(desk, kept)
    return kept


LATER = NOW + timedelta(hours=1)


def put_leaf(desk: Desk, position: int, event: int, digest: bytes = bytes(32)) -> None:
    leaf = {"position": position, "event_id": event, "hash": digest}
    tamper(desk, lambda c: c.execute(insert(audit_leaves).values(leaf)))


def remove_leaf(desk: Desk, position: int) -> None:
    mine = audit_leaves.c.position == position
    tamper(desk, lambda c: c.execute(delete(audit_leaves).where(mine)))


def turn_leaf(desk: Desk, position: int, event: int) -> int:
    """Make a leaf that of another row; give whose it was."""
    mine = audit_leaves.c.position == position
    with desk.store.read() as connection:
        before = connection.scalars(select(audit_leaves.c.event_id).where(mine)).one()
    tamper(desk, lambda c: c.execute(update(audit_leaves).where(mine).values(event_id=event)))
    return int(before)


def act(desk: Desk, event: int, at: datetime = LATER) -> None:
    """What the service does now, and writes down under this number."""
    write_as(desk.store, event)
    mine = audit_events.c.id == event
    tamper(desk, lambda c: c.execute(update(audit_events).where(mine).values(at=at)))
    if desk.store.dialect == "postgresql":
        taken = text("SELECT setval('audit_events_id_seq', max(id)) FROM audit_events")
        tamper(desk, lambda c: c.execute(taken))


def top(desk: Desk) -> int:
    return max(ids_in_order(desk))


def digest_of(desk: Desk, event: int) -> bytes:
    with desk.store.read() as connection:
        return leaf_hash(entry(event, audit_tree.rows(connection, [event])[event]))


def told(desk: Desk) -> list[str]:
    """What the log itself says of forged leaves."""
    query = select(audit_events.c.object).where(audit_events.c.action == FORGED)
    with desk.store.read() as connection:
        return list(connection.scalars(query.order_by(audit_events.c.id)))


@pytest.mark.parametrize("number", ["-1", "the next"])
def test_a_row_put_in_with_a_leaf_beside_the_tree(desk: Desk, memory: Memory, number: str) -> None:
    event = -1 if number == "-1" else top(desk) + 1
    write_as(desk.store, event)
    put_leaf(desk, -1, event, digest_of(desk, event))
    inserted = {"row_inserted"} if number == "-1" else set()
    assert codes(check(desk, memory)) == {"leaf_stray"} | inserted


def hide_beside(desk: Desk, event: int) -> Callable[[], object]:
    put_leaf(desk, -1, event)
    return lambda: remove_leaf(desk, -1)


def hide_ahead(desk: Desk, event: int) -> Callable[[], object]:
    place = len(ids_in_order(desk))
    put_leaf(desk, place, event)
    return lambda: remove_leaf(desk, place)


def hide_far(desk: Desk, event: int) -> Callable[[], object]:
    node = {"level": 3, "number": 0, "hash": bytes(32)}
    tamper(desk, lambda c: c.execute(insert(audit_nodes).values(node)))
    put_leaf(desk, FAR, event)

    def undo() -> None:
        remove_leaf(desk, FAR)
        tamper(desk, lambda c: c.execute(delete(audit_nodes).where(audit_nodes.c.level == 3)))

    return undo


def hide_in_an_old_leaf(desk: Desk, event: int) -> Callable[[], object]:
    before = turn_leaf(desk, 5, event)
    return lambda: turn_leaf(desk, 5, before)


@pytest.mark.parametrize("hide", [hide_beside, hide_ahead, hide_far, hide_in_an_old_leaf])
def test_a_row_that_seems_to_be_in_the_tree_cannot_be_erased(
    desk: Desk, memory: Memory, hide: Callable[[Desk, int], Callable[[], object]]
) -> None:
    event = top(desk) + 1
    put_back = hide(desk, event)
    act(desk, event)
    assert check(desk, memory).findings
    with pytest.raises(AuditLeafForged):
        sequence(desk, memory, LATER)
    tamper(desk, lambda c: c.execute(delete(audit_events).where(audit_events.c.id == event)))
    put_back()
    # Whoever looks only now learns of it all the same, and nobody can take it out.
    sequence(desk, memory, LATER)
    require_whole(desk, memory)
    (about,) = told(desk)
    assert about.endswith(f":{event}")


@pytest.mark.parametrize("hide", [hide_beside, hide_ahead, hide_far])
def test_the_sequencer_throws_away_what_it_did_not_write_and_goes_on(
    desk: Desk, memory: Memory, hide: Callable[[Desk, int], Callable[[], object]]
) -> None:
    event = top(desk) + 1
    hide(desk, event)
    act(desk, event)
    with pytest.raises(AuditLeafForged):
        sequence(desk, memory, LATER)
    sequence(desk, memory, LATER)
    assert event in ids_in_order(desk)
    assert len(told(desk)) == 1
    require_whole(desk, memory)


def test_what_another_server_signed_is_not_thrown_away(desk: Desk, memory: Memory) -> None:
    """This one remembers an older head, and a row between the two was changed."""
    event, behind = top(desk) + 1, memory.copy()
    act(desk, event)
    size = sequence(desk, memory, LATER).size
    mine = audit_events.c.id == event
    tamper(desk, lambda c: c.execute(update(audit_events).where(mine).values(actor="mallory")))
    tamper(desk, lambda c: c.execute(delete(audit_heads).where(audit_heads.c.size < size)))
    later = LATER + timedelta(hours=1)
    assert sequence(desk, behind, later).size == size
    tamper(desk, lambda c: c.execute(update(audit_heads).values(note="none")))
    with pytest.raises(AuditLeafForged):
        sequence(desk, behind, later)
    assert ids_in_order(desk)[-1] == event
    assert [each.code for each in check(desk, memory).findings] == ["head_forged", "row_changed"]


def test_a_row_removed_at_once_leaves_a_number_and_its_leaf_is_told(
    desk: Desk, memory: Memory
) -> None:
    """Before any run saw the row nobody can know what it was; that there was one shows."""
    event, before = top(desk) + 1, check(desk, memory).absent
    put_leaf(desk, -1, event)
    act(desk, event + 1)
    with pytest.raises(AuditLeafForged):
        sequence(desk, memory, LATER)
    sequence(desk, memory, LATER)
    assert told(desk) == [f"audit-leaf:-1:{event}"]
    assert require_whole(desk, memory).absent == before + 1


def test_another_key_of_the_store_on_record_signs_nothing(desk: Desk, memory: Memory) -> None:
    """The records name the key that signs heads; only the one that signed the last head does."""
    uri = desk.keys.generate("audit-log-other", "ed25519")
    with desk.store.read() as connection:
        (log,) = audit_tree.logs(connection)
    other = str(verifier_key(log.origin, desk.keys.open(uri)))
    change = update(audit_logs).values(key_uri=uri, verifier_key=other)
    tamper(desk, lambda c: c.execute(change))
    tamper(desk, lambda c: c.execute(delete(audit_heads)))
    assert "key_changed" in codes(check(desk, memory))
    with pytest.raises(AuditLogRolledBack, match="another public key"):
        sequence(desk, memory, LATER)


def test_a_hash_that_fits_does_not_make_an_old_leaf_a_row_s(desk: Desk, memory: Memory) -> None:
    event = top(desk) + 1
    act(desk, event)
    turn_leaf(desk, 5, event)
    mine = audit_leaves.c.position == 5
    digest = digest_of(desk, event)
    tamper(desk, lambda c: c.execute(update(audit_leaves).where(mine).values(hash=digest)))
    with pytest.raises(AuditLeafForged):
        sequence(desk, memory, LATER)
    assert told(desk) == [f"audit-leaf:5:{event}"]


def test_the_leaf_of_a_row_that_was_proven_a_moment_ago_is_turned_to_another(
    desk: Desk, memory: Memory
) -> None:
    """What is known of a place holds for its row alone."""
    event, place = top(desk) + 1, len(ids_in_order(desk))
    act(desk, event)
    sequence(desk, memory, LATER)
    assert ids_in_order(desk)[place] == event
    turn_leaf(desk, place, event + 1)
    act(desk, event + 1)
    with pytest.raises(AuditLeafForged):
        sequence(desk, memory, LATER)
    assert told(desk) == [f"audit-leaf:{place}:{event + 1}"]


def test_a_leaf_set_in_advance_for_what_the_row_will_be_made(desk: Desk, memory: Memory) -> None:
    """The forger has the hash of what he will write in its place."""
    event, place = top(desk) + 1, len(ids_in_order(desk))
    act(desk, event)
    digest = digest_of(desk, event)
    mine = audit_events.c.id == event
    tamper(desk, lambda c: c.execute(update(audit_events).where(mine).values(actor="real")))
    put_leaf(desk, place, event, digest)
    assert codes(check(desk, memory)) == {"row_changed"}
    with pytest.raises(AuditLeafForged):
        sequence(desk, memory, LATER)


def test_a_leaf_of_a_row_far_ahead_does_not_stop_the_log(desk: Desk, memory: Memory) -> None:
    event = top(desk)
    before = turn_leaf(desk, 5, 2**62)
    act(desk, event + 1)
    assert sequence(desk, memory, LATER).added >= 1
    turn_leaf(desk, 5, before)
    sequence(desk, memory, LATER)
    require_whole(desk, memory)


def test_numbers_set_back_below_a_forged_one(desk: Desk, memory: Memory) -> None:
    """A row far ahead, and the gap before it forgotten by hand: what gets a number in it is seen by its time."""
    event = top(desk)
    write_as(desk.store, event + 1000)
    sequence(desk, memory)
    tamper(desk, lambda c: c.execute(delete(audit_gaps)))
    act(desk, event + 5)
    assert sequence(desk, memory, LATER).added == 1
    require_whole(desk, memory)


def test_a_node_put_in_before_its_time_signs_nothing_else(desk: Desk, memory: Memory) -> None:
    """What is signed follows from the rows: hashes in the database are not believed."""
    node = {"level": 1, "number": 0, "hash": bytes(32)}
    mine = audit_nodes.c.level == 1
    tamper(desk, lambda c: c.execute(delete(audit_nodes).where(mine)))
    tamper(desk, lambda c: c.execute(insert(audit_nodes).values(node)))
    signed = dict(memory.content)
    act(desk, top(desk) + 1)
    with pytest.raises(Exception, match="not those that were signed"):
        sequence(desk, memory, LATER)
    assert memory.content == signed


def test_rows_above_the_last_head_are_not_called_signed(desk: Desk, memory: Memory) -> None:
    event = top(desk) + 1
    write_as(desk.store, event)
    put_leaf(desk, len(ids_in_order(desk)), event, digest_of(desk, event))
    report = check(desk, memory)
    assert (report.findings, report.waiting) == ((), 1)


def test_all_heads_removed(desk: Desk, memory: Memory) -> None:
    tamper(desk, lambda c: c.execute(delete(audit_heads)))
    with desk.store.read() as connection:
        assert connection.scalar(select(func.count()).select_from(audit_heads)) == 0
    assert codes(check(desk, memory)) == {"head_missing"}
