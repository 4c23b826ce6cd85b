"""An exported log, and every way to change a file that must not go unseen."""

import random
from collections.abc import Callable

import pytest

from hsm.keys import new_key
from pki.tlog import note
from pki.tlog.errors import (
    AuditLogChanged,
    AuditLogCut,
    ExportUnreadable,
    NoteUnreadable,
    NoteUntrusted,
)
from pki.tlog.export import Checked, check, last_line
from pki.tlog.merkle import RightEdge, leaf_hash
from pki.tlog.note import Checkpoint

ORIGIN = "pki.example/audit-log/0a1b"
SIGNER = new_key("ed25519")
KEY = note.verifier_key(ORIGIN, SIGNER)
ROWS = [b'{"action":"certificate.issue","id":%d}' % number for number in range(1, 301)]


def head_of(rows: list[bytes]) -> str:
    edge = RightEdge()
    for row in rows:
        edge.add(leaf_hash(row))
    return note.sign(Checkpoint(ORIGIN, len(rows), edge.root()), SIGNER)


def export(rows: list[bytes], head: str) -> list[bytes]:
    return [each + b"\n" for each in (*rows, last_line(head))]


HEAD = head_of(ROWS)
KEPT = [head_of(ROWS[:100]), head_of(ROWS[:200])]


def test_a_whole_export() -> None:
    assert check(export(ROWS, HEAD), KEY) == Checked(note.read(HEAD), 0)
    assert check(export(ROWS, HEAD), KEY, [*KEPT, HEAD]).agreed == 3
    assert check(export([], head_of([])), KEY).head.size == 0


Change = Callable[[list[bytes], int], list[bytes]]
CHANGES: dict[str, Change] = {
    "changed": lambda rows, at: [*rows[:at], rows[at].replace(b"issue", b"renew"), *rows[at + 1 :]],
    "left out": lambda rows, at: rows[:at] + rows[at + 1 :],
    "put in": lambda rows, at: [*rows[:at], b'{"action":"none","id":0}', *rows[at:]],
    "twice": lambda rows, at: [*rows[:at], rows[at], *rows[at:]],
    "moved": lambda rows, at: [*rows[:at], *rows[at + 1 :], rows[at]],
    "swapped": lambda rows, at: [*rows[:at], rows[at + 1], rows[at], *rows[at + 2 :]],
    "a blank more": lambda rows, at: [*rows[:at], rows[at] + b" ", *rows[at + 1 :]],
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("at", [0, 1, 99, 100, 255, 256, 297])
def test_a_change_is_found(change: str, at: int) -> None:
    rows = CHANGES[change](list(ROWS), at)
    assert rows != ROWS
    with pytest.raises((AuditLogChanged, AuditLogCut)):
        check(export(rows, HEAD), KEY)


def test_any_two_rows_swapped_are_found() -> None:
    choose = random.Random(5)
    for _ in range(20):
        rows = list(ROWS)
        one, two = choose.sample(range(len(rows)), 2)
        rows[one], rows[two] = rows[two], rows[one]
        with pytest.raises(AuditLogChanged):
            check(export(rows, HEAD), KEY)


def test_heads_that_were_kept_tell_where_it_was() -> None:
    rows = CHANGES["changed"](list(ROWS), 150)
    with pytest.raises(AuditLogChanged) as found:
        check(export(rows, HEAD), KEY, KEPT)
    assert found.value.details == {"after": 100, "up_to": 200}
    assert "101 to 200" in found.value.message


def test_the_end_cut_off_is_found() -> None:
    for kept in (0, 1, 100, 299):
        with pytest.raises(AuditLogCut):
            check(export(ROWS[:kept], HEAD), KEY)
    # A shorter log with a head of its own, as the service gave out earlier, is whole in itself; a newer head shows it.
    shorter = export(ROWS[:200], KEPT[1])
    assert check(shorter, KEY).head.size == 200
    with pytest.raises(AuditLogCut, match="200 rows, and 300"):
        check(shorter, KEY, [HEAD])


def test_a_log_written_anew_is_found_by_a_head_that_was_kept() -> None:
    # Whoever has the key signs what he likes; not what was said before.
    rows = CHANGES["changed"](list(ROWS), 42)
    forged = export(rows, head_of(rows))
    assert check(forged, KEY).head.size == 300
    with pytest.raises(AuditLogChanged):
        check(forged, KEY, KEPT)


def test_heads_of_an_older_log_are_checked_with_its_own_key() -> None:
    """After records were lost, the log goes on under another name and key; what it signed before still holds."""
    older = note.verifier_key("pki.example/audit-log/old", signer := new_key("ed25519"))
    edge = RightEdge()
    for row in ROWS[:50]:
        edge.add(leaf_hash(row))
    kept = note.sign(Checkpoint(older.name, 50, edge.root()), signer)
    lines = export(ROWS, HEAD)
    with pytest.raises(NoteUntrusted) as refused:
        check(lines, KEY, [kept])
    assert "--key" in refused.value.next_step
    assert "forged" not in refused.value.next_step
    for key, more in ((KEY, older), (older, KEY)):
        assert check(lines, key, [kept, *KEPT], more=[more]).agreed == 3
    edge.add(leaf_hash(b"another"))
    wrong = note.sign(Checkpoint(older.name, 51, edge.root()), signer)
    with pytest.raises(AuditLogChanged):
        check(lines, KEY, [wrong], more=[older])


def test_a_head_of_another_key_is_refused() -> None:
    other = note.sign(note.read(HEAD), new_key("ed25519"))
    with pytest.raises(NoteUntrusted):
        check(export(ROWS, other), KEY)
    with pytest.raises(NoteUntrusted):
        check(export(ROWS, HEAD), KEY, [other])
    with pytest.raises(NoteUnreadable):
        check(export(ROWS, HEAD), KEY, ["no head"])


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [each + b"\n" for each in ROWS],
        [*export(ROWS, HEAD), b"\n"],
        [*export(ROWS, HEAD), ROWS[0] + b"\n"],
        [*export(ROWS, HEAD)[:-1], last_line(HEAD)],
        [*export(ROWS, HEAD)[:-1], last_line(HEAD)[:-9] + b"\n"],
        [b'{"checkpoint":1}\n'],
        [b'{"checkpoint":"a","b":1}\n'],
        [b'{"checkpoint":\xff}\n'],
        [b"x" * (16 * 2**20 + 1)],
    ],
)
def test_what_is_no_whole_export_is_refused(lines: list[bytes]) -> None:
    with pytest.raises(ExportUnreadable):
        check(lines, KEY)
