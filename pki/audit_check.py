"""The check of the records: every row against its leaf, every leaf against the tree, the tree against every head."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, final

from sqlalchemy import Connection

from core.errors import Unavailable
from hsm.errors import BadKeyName, KeyNotFound
from hsm.ports import BlobStore
from pki.actors import Action, Actor, require, require_gateway
from pki.desk import Desk
from pki.sequencing import remembered_note
from pki.tlog import note
from pki.tlog.entry import entry
from pki.tlog.errors import LogKeyUnreadable, NoteUnreadable, NoteUntrusted
from pki.tlog.merkle import RightEdge, leaf_hash
from pki.tlog.note import Checkpoint, VerifierKey
from store import audit_tree as tree
from store.audit_tree import Leaf, Log, Row

_PAGE: Final = 1_000
_MOST_COUNTED: Final = 10_000
_MOST_FINDINGS: Final = 100
_LOWEST: Final = -(2**63)


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it was signed. `event` is the id of a row, `position` a place in the tree."""

    code: str
    detail: str
    event: int | None = None
    position: int | None = None


@dataclass(frozen=True)
class Report:
    """What a check found: nothing, if the records are whole. `left_out` counts findings beyond the first hundred.

    `size` and `root` are those of the tree, `heads` how many heads it was compared with, `waiting` how many rows are
    under no head yet that agrees with it (of those that are not in the tree, 10,000 at most are counted). `absent` is
    how many numbers below the highest have no row: PostgreSQL skips some, SQLite none.
    """

    size: int
    root: bytes
    heads: int
    waiting: int
    absent: int
    findings: tuple[Finding, ...]
    left_out: int


@dataclass(frozen=True)
class Kept:
    """What was kept outside the records: heads as notes, and the log's public key, where there is one."""

    notes: Sequence[str] = ()
    key: VerifierKey | None = None


def check(desk: Desk, actor: Actor, blobs: BlobStore, kept: Kept) -> Report:
    """Read the whole audit log and compare it with its tree, the heads on record, the head remembered beside the keys,
    and what was kept elsewhere. Raises RoleMayNot, NoteUnreadable, KeyFileDamaged.
    """
    require(actor, Action.AUDIT_READ)
    require_gateway(actor, None)
    notes = [note.read(each) for each in kept.notes]
    # Before the records: what it tells of was committed by then.
    known = remembered_note(blobs)
    found = _Findings()
    with desk.store.read() as connection:
        claims = _Claims(found)
        logs = tree.logs(connection)
        _look_at_key(desk, logs, found)
        _claim_records(connection, logs, claims)
        _claim_kept(logs, kept, notes, claims)
        _claim_remembered(connection, logs, known, claims)
        edge = _walk(connection, claims)
        claims.finish(edge.size)
        absent = _look_for_strangers(connection, found)
        _look_for_strays(connection, found)
        # A leaf above the last head is not signed, either.
        waiting = len(tree.waiting(connection, _MOST_COUNTED)) + edge.size - claims.good
    return Report(
        edge.size, edge.root(), claims.count, waiting, absent, tuple(found.first), found.left_out
    )


@final
class _Findings:
    def __init__(self) -> None:
        self.first: list[Finding] = []
        self.left_out = 0

    def add(
        self, code: str, detail: str, *, event: int | None = None, position: int | None = None
    ) -> None:
        if len(self.first) < _MOST_FINDINGS:
            self.first.append(Finding(code, detail, event, position))
        else:
            self.left_out += 1


@final
class _Claims:
    """Roots that the tree must have had at some size, and who says so. `good`: the largest size at which it had."""

    def __init__(self, found: _Findings) -> None:
        self.found = found
        self.count = 0
        self._roots: dict[int, list[tuple[bytes, str]]] = {}
        self.good = 0
        self._broken = False

    def add(self, head: Checkpoint, where: str) -> None:
        self.count += 1
        self._roots.setdefault(head.size, []).append((head.root, where))

    def look(self, edge: RightEdge) -> None:
        """Compare with what was said of a tree of this size. All that follows on a wrong one is wrong too."""
        roots = self._roots.pop(edge.size, None)
        if roots is None or self._broken:
            return
        wrong = [where for root, where in roots if root != edge.root()]
        if not wrong:
            self.good = edge.size
            return
        self._broken = True
        self.found.add(
            "tree_changed",
            f"Leaves {self.good} to {edge.size - 1} are not those that were signed, says {wrong[0]}.",
            position=self.good,
        )

    def finish(self, size: int) -> None:
        """What was said of larger trees than there is one."""
        if self._roots:
            largest = max(self._roots)
            where = self._roots[largest][0][1]
            self.found.add(
                "log_cut", f"There are {size} leaves; {largest} were signed, says {where}."
            )


def _look_at_key(desk: Desk, logs: Sequence[Log], found: _Findings) -> None:
    """The key on record is the one in the key store, which who writes to the records cannot change."""
    if not logs:
        return
    try:
        held = str(note.verifier_key(logs[-1].origin, desk.keys.open(logs[-1].key_uri)))
    except (KeyNotFound, BadKeyName, ValueError):
        held = ""
    except Unavailable:
        return  # away for now: the heads can be checked without it
    if held != logs[-1].verifier_key:
        found.add("key_changed", "The key store does not have the key that is on record.")


def _claim_records(connection: Connection, logs: Sequence[Log], claims: _Claims) -> None:
    by_number = {log.number: log for log in logs}
    for head in tree.heads(connection):
        said = _signed_by(head.note, _key(by_number.get(head.log)))
        if said is None or (said.size, said.root) != (head.size, head.root):
            claims.found.add(
                "head_forged", f"The head of size {head.size} on record is not signed."
            )
        else:
            claims.add(said, f"the head of {head.signed_at:%Y-%m-%d} on record")


def _claim_kept(
    logs: Sequence[Log], kept: Kept, notes: Sequence[Checkpoint], claims: _Claims
) -> None:
    if kept.key is not None and str(kept.key) not in {log.verifier_key for log in logs}:
        claims.found.add("key_changed", "The records have another public key than the one given.")
    for text, said in zip(kept.notes, notes, strict=True):
        named = next((log for log in logs if log.origin == said.origin), None)
        trusted = _signed_by(text, kept.key or _key(named))
        if trusted is None:
            claims.found.add(
                "head_foreign", f"The head of size {said.size} that was given is not of this log."
            )
        else:
            claims.add(trusted, "a head that was given")


def _claim_remembered(
    connection: Connection, logs: Sequence[Log], text: str | None, claims: _Claims
) -> None:
    if text is None:
        return
    known = note.read(text)
    if not logs or logs[-1].origin != known.origin:
        claims.found.add(
            "log_unknown",
            f"The records do not know the log {known.origin}, which is remembered beside the keys.",
        )
        return
    claims.add(known, "the head remembered beside the keys")
    if _signed_by(text, _key(logs[-1])) is None:
        claims.found.add("key_changed", "The remembered head was signed with another key.")
    if all(head.log != logs[-1].number for head in tree.heads(connection)):
        claims.found.add("head_missing", "The heads on record were removed: one is remembered.")


def _key(log: Log | None) -> VerifierKey | None:
    try:
        return None if log is None else VerifierKey.parse(log.verifier_key)
    except LogKeyUnreadable:
        return None


def _signed_by(text: str, key: VerifierKey | None) -> Checkpoint | None:
    try:
        return None if key is None else note.verify(text, key)
    except (NoteUnreadable, NoteUntrusted):
        return None


def _walk(connection: Connection, claims: _Claims) -> RightEdge:
    """Build the tree anew from its leaves, and each leaf from its row."""
    edge, found = RightEdge(), claims.found
    claims.look(edge)
    while leaves := tree.leaves(connection, edge.size, edge.size + _PAGE):
        rows = tree.rows(connection, [leaf.event_id for leaf in leaves])
        for leaf in leaves:
            if leaf.position != edge.size:
                break
            _compare(leaf, rows, found)
            for node in edge.add(leaf.hash):
                kept = tree.hashes(connection, node.level, node.number, node.number + 1)
                if kept != [node.hash]:
                    where = f"level {node.level}, number {node.number}"
                    found.add("node_changed", f"A node of the tree was changed: {where}.")
            claims.look(edge)
        else:
            continue
        break
    if edge.size != tree.size(connection):
        found.add("leaf_missing", f"The leaf {edge.size} is missing.", position=edge.size)
    return edge


def _compare(leaf: Leaf, rows: Mapping[int, Row | None], found: _Findings) -> None:
    number, place = leaf.event_id, leaf.position
    if number not in rows:
        found.add("row_missing", f"The row {number} was removed.", event=number, position=place)
    elif leaf_hash(entry(number, rows[number])) != leaf.hash:
        found.add("row_changed", f"The row {number} was changed.", event=number, position=place)


def _look_for_strangers(connection: Connection, found: _Findings) -> int:
    """Rows below the highest in the tree that are not in it, and will not be: they were put in by hand. Tells how many
    numbers have no row.
    """
    last, after = tree.highest(connection), _LOWEST
    absent = last
    gaps = tree.gaps(connection)
    while ids := tree.event_ids(connection, after, last, _PAGE):
        after = ids[-1]
        absent -= sum(each > 0 for each in ids)
        for each in sorted(set(ids) - tree.in_tree(connection, ids)):
            if not any(gap.first <= each <= gap.last for gap in gaps):
                found.add("row_inserted", f"The row {each} was never signed.", event=each)
    return absent


def _look_for_strays(connection: Connection, found: _Findings) -> None:
    """Leaves outside the tree: an event that has one seems to be signed, and is not."""
    for leaf in (
        *tree.strays(connection, _MOST_FINDINGS),
        *tree.doubles(connection, _MOST_FINDINGS),
    ):
        found.add(
            "leaf_stray",
            f"The leaf at {leaf.position}, of the row {leaf.event_id}, is not of the tree.",
            event=leaf.event_id,
            position=leaf.position,
        )
