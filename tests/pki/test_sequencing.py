"""The sequencer: nothing is skipped, nothing is added twice, whoever dies or is late; and lost rows are noticed."""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import delete, select, text

from hsm.errors import KeyAlgorithmUnknown, KeyStoreUnavailable, SignerUnavailable
from hsm.ports import KeyAlgorithm
from pki import sequencing
from pki.desk import Desk
from pki.sequencing import AuditLogRolledBack, LogKeyUnusable, NoGapToAccept
from pki.tlog import note
from pki.tlog.errors import NoteUntrusted
from pki.tlog.note import VerifierKey
from store import audit_tree
from store.audit_tables import audit_gaps, audit_heads, audit_leaves, audit_logs, audit_nodes
from store.engine import Store
from store.tables import audit_events
from tests.fixtures.databases import DATABASES
from tests.fixtures.desk import ADMIN, CLOCKWORK, Custody, reopened
from tests.pki.acts import at_once, count, issue, trail
from tests.pki.logkeeping import (
    Killed,
    Memory,
    check,
    ids_in_order,
    require_whole,
    sequence,
    write,
    write_as,
)
from tests.pki.triggers import refuse

DAY = timedelta(days=1)


@pytest.fixture
def memory() -> Memory:
    """What is remembered beside the keys."""
    return Memory()


def heads(desk: Desk) -> list[tuple[int, int]]:
    with desk.store.read() as connection:
        return [(head.log, head.size) for head in audit_tree.heads(connection)]


def log_key(desk: Desk) -> VerifierKey:
    with desk.store.read() as connection:
        return VerifierKey.parse(audit_tree.logs(connection)[-1].verifier_key)


# In order


def test_the_first_run_makes_the_key_and_signs_all_there_is(
    desk: Desk, memory: Memory, keys: Custody
) -> None:
    before = count(desk, audit_events)
    done = sequence(desk, memory)
    # The key that was made is itself in the log.
    assert (done.added, done.size, done.signed) == (before + 1, before + 1, True)
    ((action, _),) = trail(desk, "audit-log:%")
    assert action == "audit_log.begin"
    require_whole(desk, memory)
    (name,) = [each for each in keys.names() if each.startswith("audit-log-")]
    assert keys.made[name] == 1


def test_heads_are_notes_of_the_log_s_own_key(desk: Desk, memory: Memory) -> None:
    sequence(desk, memory)
    with desk.store.read() as connection:
        (head,) = audit_tree.heads(connection)
    said = note.verify(head.note, log_key(desk))
    assert (said.size, said.root) == (head.size, head.root)
    assert said.origin.startswith("localhost:8443/audit-log/")
    assert memory.content[sequencing.BLOB].decode() == head.note


def test_later_runs_add_what_is_new_and_sign_only_then(
    desk: Desk, memory: Memory, keys: Custody
) -> None:
    size = sequence(desk, memory).size
    signatures = sum(keys.made.values())
    again = sequence(desk, memory)
    assert (again.added, again.size, again.signed) == (0, size, False)
    assert sum(keys.made.values()) == signatures
    before = count(desk, audit_events)
    issue(desk)
    more = sequence(desk, memory)
    assert more.added == count(desk, audit_events) - before > 0
    assert (more.size, more.signed) == (size + more.added, True)
    require_whole(desk, memory)


def test_rows_are_never_changed(desk: Desk, memory: Memory) -> None:
    query = select(audit_events).order_by(audit_events.c.id)
    write(desk.store, 300)
    with desk.store.read() as connection:
        before = connection.execute(query).all()
    with refuse(desk.store, "UPDATE", "audit_events"):
        sequence(desk, memory)
    with desk.store.read() as connection:
        assert connection.execute(query).all()[: len(before)] == before


def test_many_rows_take_several_batches(
    desk: Desk, memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sequencing, "_BATCH", 100)
    write(desk.store, 1_050)
    done = sequence(desk, memory)
    assert done.size == count(desk, audit_events)
    assert count(desk, audit_nodes) == done.size // 256
    monkeypatch.setattr(sequencing, "_BATCHES", 2)
    write(desk.store, 1_050)
    assert sequence(desk, memory).added == 200
    while sequence(desk, memory).added:
        pass
    report = require_whole(desk, memory)
    assert report.size == count(desk, audit_events)


def test_no_leaf_is_looked_at_again(desk: Desk, memory: Memory, now: datetime) -> None:
    for _ in range(3):
        write(desk.store, 300)
        sequence(desk, memory)
        (run,) = memory.proven.runs
        with desk.store.read() as connection:
            assert audit_tree.leaves_about(connection, now, [run]) == []
            assert len(audit_tree.leaves_about(connection, now, [])) == run.last - run.first + 1
    # Who knows nothing, as after a start, looks once.
    other = memory.copy()
    sequence(desk, other)
    assert other.proven.runs == [run]


def test_one_head_of_each_day_is_kept(desk: Desk, memory: Memory, now: datetime) -> None:
    morning = now.replace(hour=1)
    sizes = []
    for at in (morning, morning + DAY / 24, morning + DAY, morning + 2 * DAY):
        write(desk.store)
        sizes.append(sequence(desk, memory, at).size)
    assert heads(desk) == [(1, size) for size in sizes[1:]]
    assert require_whole(desk, memory).heads == 4  # with the one remembered


# Out of order


def test_rows_that_are_committed_late_are_added_late(desk: Desk, memory: Memory) -> None:
    sequence(desk, memory)
    (top,) = ids_in_order(desk)[-1:]
    write_as(desk.store, top + 3, top + 5)
    sequence(desk, memory)
    write_as(desk.store, top + 1, top + 4)
    sequence(desk, memory)
    write_as(desk.store, top + 2, top + 6)
    sequence(desk, memory)
    order = [3, 5, 1, 4, 2, 6]
    assert ids_in_order(desk)[-6:] == [top + each for each in order]
    require_whole(desk, memory)


# On SQLite one transaction writes at a time, and the numbers of one that failed are given again.
on_postgresql = pytest.mark.parametrize(
    "store_url", [each for each in DATABASES if each.id == "postgresql"], indirect=True
)


@on_postgresql
def test_transactions_that_commit_in_another_order_than_they_took_their_numbers(
    desk: Desk, memory: Memory, second_store: Store
) -> None:
    sequence(desk, memory)
    with second_store.write() as slow:
        slow.execute(_insertion("slow"))
        write(desk.store, 3)
        assert sequence(desk, memory).added == 3
        assert sequence(desk, memory).added == 0
    done = sequence(desk, memory)
    assert (done.added, done.signed) == (1, True)
    *_, last = ids_in_order(desk)
    assert last == max(ids_in_order(desk)) - 3
    require_whole(desk, memory)


@on_postgresql
def test_a_transaction_that_is_rolled_back_leaves_a_gap_and_no_trouble(
    desk: Desk, memory: Memory, now: datetime
) -> None:
    sequence(desk, memory)
    with pytest.raises(ZeroDivisionError):
        _write_in_vain(desk.store)
    write(desk.store)
    sequence(desk, memory)
    assert count(desk, audit_gaps) == 1
    assert sequence(desk, memory, now + DAY / 2).added == 0
    assert count(desk, audit_gaps) == 1
    sequence(desk, memory, now + 2 * DAY)
    assert count(desk, audit_gaps) == 0
    require_whole(desk, memory)


def _write_in_vain(store: Store) -> None:
    with store.write() as connection:
        connection.execute(_insertion("gone"))
        raise ZeroDivisionError


def _insertion(about: str) -> Any:
    return text(
        "INSERT INTO audit_events (at, actor, role, action, object, outcome, detail, request_id) "
        "VALUES (now(), 'a', 'admin', 'note', :about, 'ok', '{}', '')"
    ).bindparams(about=about)


def test_a_gap_in_which_rows_turn_up_is_looked_at_for_longer(
    desk: Desk, memory: Memory, now: datetime
) -> None:
    sequence(desk, memory)
    (top,) = ids_in_order(desk)[-1:]
    write_as(desk.store, top + 1000)
    sequence(desk, memory, now)
    write_as(desk.store, top + 10)
    sequence(desk, memory, now + DAY * 0.9)
    sequence(desk, memory, now + DAY * 1.8)
    write_as(desk.store, top + 20)
    assert sequence(desk, memory, now + DAY * 1.8).added == 1
    require_whole(desk, memory)


def test_a_number_far_ahead_does_not_stop_the_log(desk: Desk, memory: Memory) -> None:
    sequence(desk, memory)
    (top,) = ids_in_order(desk)[-1:]
    write_as(desk.store, 2**62)
    assert sequence(desk, memory).added == 1
    write_as(desk.store, top + 1, top + 2)
    assert sequence(desk, memory).added == 2
    require_whole(desk, memory)


# Several servers


def test_two_servers_at_once_add_each_row_once(
    desk: Desk, memory: Memory, second_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sequencing, "_BATCH", 7)
    other = reopened(desk, store=second_store)
    stop = threading.Event()

    def keep_sequencing(mine: Desk) -> Callable[[], int]:
        def run() -> int:
            added = 0
            while not stop.is_set():
                added += sequence(mine, memory).added
            return added

        return run

    def keep_writing() -> int:
        for _ in range(40):
            write(desk.store, 5)
        stop.set()
        return 0

    results = at_once(keep_sequencing(desk), keep_sequencing(other), keep_writing)
    assert all(isinstance(each, int) for each in results), results
    while sequence(desk, memory).added:
        pass
    require_whole(desk, memory)
    assert count(desk, audit_logs) == 1


def test_two_servers_that_begin_at_once_make_one_log(
    desk: Desk, second_store: Store, keys: Custody
) -> None:
    # Each with a memory of its own, as on hosts that do not share a directory.
    memories = [Memory(), Memory()]
    other = reopened(desk, store=second_store)
    results = at_once(
        lambda: sequence(desk, memories[0]),
        lambda: sequence(other, memories[1]),
    )
    assert not [each for each in results if isinstance(each, Exception)]
    assert count(desk, audit_logs) == 1
    assert len([each for each in keys.names() if each.startswith("audit-log-")]) == 1
    write(desk.store)
    for each in memories:
        sequence(desk, each)
        require_whole(desk, each)


def test_a_server_that_is_behind_remembers_an_older_head_and_gives_no_alarm(
    desk: Desk, memory: Memory
) -> None:
    sequence(desk, memory)
    behind = memory.copy()
    write(desk.store, 20)
    sequence(desk, memory)
    write(desk.store)
    assert sequence(desk, behind).added == 1
    assert check(desk, memory).findings == check(desk, behind).findings == ()


# Death on any line


def test_killed_before_the_head_is_signed(desk: Desk, memory: Memory, keys: Custody) -> None:
    sequence(desk, memory)
    write(desk.store, 3)

    def die(_name: str) -> None:
        raise Killed

    keys.before = die
    with pytest.raises(Killed):
        sequence(desk, memory)
    keys.before = None
    _goes_on(desk, memory)


def test_killed_before_the_head_is_remembered(desk: Desk, memory: Memory) -> None:
    sequence(desk, memory)
    write(desk.store, 3)
    memory.dies = True
    with pytest.raises(Killed):
        sequence(desk, memory)
    memory.dies = False
    _goes_on(desk, memory)


def test_killed_before_the_head_is_on_record(desk: Desk, memory: Memory) -> None:
    sequence(desk, memory)
    size = heads(desk)
    write(desk.store, 3)
    with refuse(desk.store, "INSERT", "audit_heads"), pytest.raises(Exception, match="refused"):
        sequence(desk, memory)
    # What is remembered is ahead of the head on record, and not of the leaves.
    assert heads(desk) == size
    remembered = sequencing.remembered(memory)
    assert remembered is not None
    assert remembered.size == size[-1][1] + 3
    assert check(desk, memory).findings == ()
    _goes_on(desk, memory)


@pytest.mark.parametrize("table", ["audit_leaves", "audit_nodes"])
def test_a_batch_that_the_database_refuses_leaves_nothing(
    desk: Desk, memory: Memory, table: str
) -> None:
    size = sequence(desk, memory).size
    write(desk.store, 300)
    with refuse(desk.store, "INSERT", table), pytest.raises(Exception, match="refused"):
        sequence(desk, memory)
    assert count(desk, audit_leaves) == size
    _goes_on(desk, memory)


def _goes_on(desk: Desk, memory: Memory) -> None:
    later = reopened(desk)
    write(desk.store, 2)
    assert sequence(later, memory).signed
    require_whole(later, memory)


def test_while_the_signer_is_away_rows_are_added_and_the_head_waits(
    desk: Desk, memory: Memory, keys: Custody
) -> None:
    size = sequence(desk, memory).size
    keys.fail()
    write(desk.store, 3)
    with pytest.raises(SignerUnavailable):
        sequence(desk, memory)
    assert count(desk, audit_leaves) == size + 3
    assert heads(desk)[-1] == (1, size)
    keys.heal()
    done = sequence(desk, memory)
    assert (done.added, done.signed) == (0, True)
    require_whole(desk, memory)


def test_a_head_that_cannot_be_remembered_is_given_out_and_told_of(
    desk: Desk, memory: Memory
) -> None:
    size = sequence(desk, memory).size
    memory.full = True
    write(desk.store, 3)
    with pytest.raises(KeyStoreUnavailable):
        sequence(desk, memory)
    assert heads(desk)[-1] == (1, size + 3)
    assert check(desk, memory).findings == ()
    memory.full = False
    _goes_on(desk, memory)


# Keys


def test_a_store_without_ed25519_gets_a_p256_key(desk: Desk, memory: Memory) -> None:
    other = reopened(desk, keys=Choosy("ec-p256"))
    sequence(other, memory)
    require_whole(other, memory)
    assert log_key(desk).id


def test_a_store_that_makes_neither_is_told(desk: Desk, memory: Memory) -> None:
    with pytest.raises(LogKeyUnusable):
        sequence(reopened(desk, keys=Choosy("rsa-2048")), memory)
    assert count(desk, audit_logs) == 0


class Choosy(Custody):
    """A key store that makes one kind of key."""

    def __init__(self, algorithm: KeyAlgorithm) -> None:
        super().__init__()
        self._only = algorithm

    def generate(self, name: str, algorithm: KeyAlgorithm) -> str:
        if algorithm != self._only:
            raise KeyAlgorithmUnknown("not here")
        return super().generate(name, algorithm)


def test_another_key_in_the_place_of_the_log_s_signs_nothing(
    desk: Desk, memory: Memory, keys: Custody
) -> None:
    sequence(desk, memory)
    with desk.store.read() as connection:
        uri = audit_tree.logs(connection)[-1].key_uri
    keys.destroy(uri)
    keys.generate(uri.removeprefix("fake:"), "ed25519")
    write(desk.store)
    with pytest.raises(NoteUntrusted):
        sequence(desk, memory)


# Lost rows


class Yesterday:
    """A copy of the records, to be restored."""

    TABLES = (audit_events, audit_logs, audit_leaves, audit_nodes, audit_gaps, audit_heads)

    def __init__(self, desk: Desk) -> None:
        with desk.store.read() as connection:
            self.rows = {
                table: [dict(row) for row in connection.execute(select(table)).mappings()]
                for table in self.TABLES
            }

    def restore(self, desk: Desk) -> None:
        with desk.store.write() as connection:
            for table in reversed(self.TABLES):
                connection.execute(delete(table))
            for table in self.TABLES:
                if self.rows[table]:
                    connection.execute(table.insert(), self.rows[table])


def test_an_old_database_is_noticed_before_anything_is_signed(
    desk: Desk, memory: Memory, keys: Custody
) -> None:
    size = sequence(desk, memory).size
    old = Yesterday(desk)
    write(desk.store, 10)
    sequence(desk, memory)
    old.restore(desk)
    made = sum(keys.made.values())
    with pytest.raises(AuditLogRolledBack) as refused:
        sequence(desk, memory)
    assert refused.value.details["signed"] == size + 10
    assert refused.value.details["present"] == size
    # Also when it has grown again to where it was, and beyond.
    write(desk.store, 30)
    with pytest.raises(AuditLogRolledBack):
        sequence(desk, memory)
    assert sum(keys.made.values()) == made
    (finding,) = check(desk, memory).findings
    assert finding.code == "log_cut"


def test_an_old_database_that_another_server_went_on_with_is_noticed(
    desk: Desk, memory: Memory
) -> None:
    sequence(desk, memory)
    old, elsewhere = Yesterday(desk), memory.copy()
    write(desk.store, 10)
    sequence(desk, memory)
    old.restore(desk)
    write(desk.store, 15)
    sequence(desk, elsewhere)
    with pytest.raises(AuditLogRolledBack, match="not those that were signed"):
        sequence(desk, memory)


def test_a_database_from_before_the_log_is_noticed(desk: Desk, memory: Memory) -> None:
    old = Yesterday(desk)
    sequence(desk, memory)
    old.restore(desk)
    with pytest.raises(AuditLogRolledBack, match="do not know"):
        sequence(desk, memory)
    assert [each.code for each in check(desk, memory).findings] == ["log_unknown"]
    assert count(desk, audit_logs) == 0


def test_a_log_of_somebody_else_s_making_is_not_taken_for_ours(desk: Desk, memory: Memory) -> None:
    """Who can write to the database could name a new log, to be rid of the old one."""
    sequence(desk, memory)
    with desk.store.write() as connection:
        (row,) = connection.execute(select(audit_logs)).mappings().all()
        forged = {**row, "number": 2, "origin": "localhost:8443/audit-log/other"}
        connection.execute(audit_logs.insert().values(**forged))
    with pytest.raises(AuditLogRolledBack, match="do not know"):
        sequence(desk, memory)


def test_a_gap_is_accepted_by_a_new_log_that_says_what_is_missing(
    desk: Desk, memory: Memory, now: datetime
) -> None:
    size = sequence(desk, memory).size
    old = Yesterday(desk)
    write(desk.store, 10)
    sequence(desk, memory)
    before = log_key(desk)
    old.restore(desk)
    write(desk.store, 2)
    done = sequencing.accept_gap(desk, ADMIN, memory, "restored a backup", now=now)
    assert (done.added, done.size, done.signed) == (4, size + 4, True)
    assert log_key(desk) != before
    with desk.store.read() as connection:
        query = select(audit_events.c.detail).where(audit_events.c.action == "audit_log.begin")
        *_, detail = connection.scalars(query.order_by(audit_events.c.id))
    assert detail["gap"] == {
        "reason": "restored a backup",
        "log": before.name,
        "signed": size + 10,
        "present": size,
    }
    assert sequence(desk, memory, now).added == 0
    write(desk.store)
    assert sequence(desk, memory, now).signed
    require_whole(desk, memory)


def test_killed_while_a_gap_is_accepted(desk: Desk, memory: Memory, now: datetime) -> None:
    sequence(desk, memory)
    old = Yesterday(desk)
    write(desk.store, 10)
    sequence(desk, memory)
    old.restore(desk)
    memory.dies = True
    with pytest.raises(Killed):
        sequencing.accept_gap(desk, ADMIN, memory, "why", now=now)
    memory.dies = False
    # It did not come so far as to be forgotten; doing it again ends it.
    with pytest.raises(AuditLogRolledBack):
        sequence(desk, memory, now)
    sequencing.accept_gap(desk, ADMIN, memory, "why", now=now)
    sequence(desk, memory, now)
    require_whole(desk, memory)


def test_where_nothing_is_missing_nothing_is_accepted(
    desk: Desk, memory: Memory, now: datetime
) -> None:
    for _ in range(2):
        with pytest.raises(NoGapToAccept):
            sequencing.accept_gap(desk, ADMIN, memory, "why", now=now)
        sequencing.sequence(desk, CLOCKWORK, memory, now=now)
    assert count(desk, audit_logs) == 1
