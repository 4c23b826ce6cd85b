"""Heads, proofs and rows as others get them: each is verified as they would."""

import random
from datetime import timedelta

import pytest

from pki import audit_log
from pki.audit_log import AuditEntryMissing, AuditEventNotInLog, AuditLogNotBegun, TreeSizeUnknown
from pki.desk import Desk
from pki.tlog import note
from pki.tlog.export import check as check_export
from pki.tlog.export import last_line
from pki.tlog.merkle import RightEdge, leaf_hash, verify_consistency, verify_inclusion
from pki.tlog.note import VerifierKey
from store.tables import audit_events
from tests.fixtures.desk import ADMIN, NOW
from tests.pki.logkeeping import Memory, ids_in_order, sequence, write


@pytest.fixture
def memory(desk: Desk) -> Memory:
    """A log of some hundred rows."""
    kept = Memory()
    write(desk.store, 560)
    sequence(desk, kept)
    return kept


def test_each_row_is_proven_to_be_under_the_head(desk: Desk, memory: Memory) -> None:
    head = audit_log.head(desk, ADMIN)
    said = note.verify(head.note, VerifierKey.parse(head.key))
    assert (said.size, said.root) == (head.size, head.root)
    ids = ids_in_order(desk)
    for index in [0, 255, 256, 511, 512, len(ids) - 1, *random.Random(3).sample(range(500), 20)]:
        shown = audit_log.inclusion(desk, ADMIN, ids[index])
        assert (shown.index, shown.head) == (index, head)
        leaf = leaf_hash(shown.line.encode())
        verify_inclusion(leaf, shown.index, head.size, shown.proof, head.root)


def test_a_later_head_is_proven_to_go_on_with_an_earlier_one(desk: Desk, memory: Memory) -> None:
    known = []
    for _ in range(4):
        known.append(audit_log.head(desk, ADMIN))
        write(desk.store, 97)
        sequence(desk, memory)
    newest = audit_log.head(desk, ADMIN)
    for each in [*known, newest]:
        proof = audit_log.consistency(desk, ADMIN, each.size, newest.size)
        verify_consistency(each.size, each.root, newest.size, newest.root, proof)


def test_rows_page_by_page_are_an_export(desk: Desk, memory: Memory) -> None:
    write(desk.store, 3)  # not under the head: they are not shown
    head = audit_log.head(desk, ADMIN)
    lines: list[bytes] = []
    while found := audit_log.entries(desk, ADMIN, first=len(lines), limit=100):
        assert [each.position for each in found] == list(range(len(lines), len(lines) + len(found)))
        lines += [each.line.encode() + b"\n" for each in found]
    assert len(lines) == head.size
    edge = RightEdge()
    for line in lines:
        edge.add(leaf_hash(line[:-1]))
    assert edge.root() == head.root
    check_export([*lines, last_line(head.note) + b"\n"], VerifierKey.parse(head.key), [head.note])


def test_what_there_is_not(desk: Desk) -> None:
    with pytest.raises(AuditLogNotBegun):
        audit_log.head(desk, ADMIN)
    sequence(desk, Memory())
    write(desk.store)
    head = audit_log.head(desk, ADMIN)
    for unknown in (0, -1, max(ids_in_order(desk)) + 1, 2**62):
        with pytest.raises(AuditEventNotInLog):
            audit_log.inclusion(desk, ADMIN, unknown)
    for first, second in ((-1, 1), (2, 1), (1, head.size + 1)):
        with pytest.raises(TreeSizeUnknown):
            audit_log.consistency(desk, ADMIN, first, second)
    assert audit_log.entries(desk, ADMIN, first=head.size, limit=10) == []


def test_a_row_that_is_gone_is_told(desk: Desk, memory: Memory) -> None:
    which = ids_in_order(desk)[7]
    with desk.store.write() as connection:
        connection.execute(audit_events.delete().where(audit_events.c.id == which))
    with pytest.raises(AuditEntryMissing, match=str(which)):
        audit_log.inclusion(desk, ADMIN, which)
    with pytest.raises(AuditEntryMissing):
        audit_log.entries(desk, ADMIN, first=0, limit=10)


def test_figures(desk: Desk) -> None:
    before = audit_log.figures(desk, ADMIN, now=NOW)
    assert (before.size, before.head_age) == (0, None)
    assert before.waiting > 0
    size = sequence(desk, Memory()).size
    write(desk.store, 4)
    after = audit_log.figures(desk, ADMIN, now=NOW + timedelta(seconds=90))
    assert (after.waiting, after.size, after.head_age) == (4, size, timedelta(seconds=90))
