"""The sequencer: puts committed audit rows into the tree, and signs its head.

Nobody who writes an audit row waits for it. Leaves are committed first; then the head over them is signed, remembered
beside the keys, and given out, in this order. So whatever dies in between, what is remembered is never ahead of the
records: if it is, records were lost.

Who can write to the records can put in leaves and move them. So nothing is signed but what follows from the remembered
head and the rows; and rows that just happened are looked for by their time, whatever the leaves say of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

from sqlalchemy import Connection, select

from core import spans
from core.errors import Conflict, InvalidInput, NotFound, NotPermitted, Unavailable
from hsm.errors import KeyNotFound, KeyStoreUnavailable
from hsm.ports import BlobStore, KeyAlgorithm
from pki import backups
from pki.actors import Action, Actor, require
from pki.approvals import ApprovalNotUsable, asked_for, look, require_approval
from pki.backups import RestoreNotAccepted
from pki.desk import Desk
from pki.guarded import Act, Guarded
from pki.proven import Proven
from pki.tlog import note
from pki.tlog.entry import entry
from pki.tlog.errors import (
    AuditTreeDamaged,
    LogKeyUnreadable,
    NoteUnreadable,
    NoteUntrusted,
    ProofInvalid,
)
from pki.tlog.merkle import (
    SPAN,
    Node,
    Read,
    RightEdge,
    inclusion_proof,
    leaf_hash,
    verify_inclusion,
)
from pki.tlog.note import Checkpoint, VerifierKey
from pki.trail import leave
from store import audit_tree as tree
from store.audit_tree import Gap, Growth, Head, Leaf, Log, Row, Run
from store.engine import Unit
from store.errors import Duplicate
from store.tables import audit_events

BLOB: Final = "audit-log-head"
_BATCH: Final = 1_000
# In one run; a log that was never sequenced takes several.
_BATCHES: Final = 100
FORGED: Final = "audit_log.forged"
# Notes know Ed25519 best; not every token makes such keys.
_ALGORITHMS: Final[tuple[KeyAlgorithm, ...]] = ("ed25519", "ec-p256")


class AuditLogRolledBack(Conflict):
    """The records have less of the audit log, or another one, than a head that was given out."""

    code = "audit_log_rolled_back"
    next_step = (
        "Was an old database restored, or were rows removed? Put the right database back; or go on without what is "
        "missing: `ikewarden audit-log accept-gap --reason TEXT`."
    )


class AuditLeafForged(Conflict):
    """The records have a leaf of the audit log's tree that the sequencer did not write."""

    code = "audit_leaf_forged"
    next_step = (
        "Somebody wrote to the database. Look for `audit_log.forged` in the audit log, and run `ikewarden audit-log "
        "verify`."
    )
    # Where no head covers the leaf: how many leaves before it are right. Nobody signs further than that.
    end: int | None = None


class NoGapToAccept(Conflict):
    """The audit log has all that was signed."""

    code = "audit_log_no_gap"
    next_step = "Nothing has to be done."


class LogKeyUnusable(Unavailable):
    """The key store makes no kind of key that heads of the audit log can be signed with."""

    code = "audit_log_key_unusable"
    next_step = "Use a key store that makes Ed25519 or P-256 keys."


@dataclass(frozen=True)
class Sequenced:
    """What a run did: rows that it added, the size of the tree, whether there is a new head."""

    added: int
    size: int
    signed: bool


def sequence(
    desk: Desk, actor: Actor, blobs: BlobStore, *, now: datetime, proven: Proven | None = None
) -> Sequenced:
    """Add what was committed since the last time to the tree and sign its head. The first run makes the log's key.

    Of several servers that do so at once, one adds each row. `blobs` keeps the newest head outside the database;
    `proven`, given to each run, spares later ones to look again at what an earlier one did.
    Raises RoleMayNot, AuditLogRolledBack, RestoreNotAccepted, LogKeyUnusable, SignerUnavailable; KeyStoreUnavailable
    where the new head is signed and could not be remembered; AuditLeafForged, after what was found is in the log.
    """
    require(actor, Action.JOB_RUN)
    proven = Proven() if proven is None else proven
    log, edge = _present(desk, blobs)
    log = log or _begin(desk, actor, 1, now)
    try:
        return _go_on(desk, log, edge, blobs, proven, now)
    except AuditLeafForged as found:
        proven.forget()
        _tell(desk, actor, found, now)
        with desk.store.write() as connection:
            tree.drop_forged(connection, log, found.end)
        raise


def accept_gap(
    desk: Desk, actor: Actor, blobs: BlobStore, reason: str, *, now: datetime
) -> Sequenced:
    """Go on after rows were lost: under a new name and key, because the old log's heads say what is not there any more.

    CRL numbers go on where none was given, and all lists are made anew. Raises RoleMayNot, NoGapToAccept, the errors of
    `pki.approvals`, and what `sequence` raises.
    """
    require(actor, Action.AUDIT_ACCEPT)
    with desk.store.read() as connection:
        number = max((log.number for log in tree.logs(connection)), default=0) + 1
    try:
        _present(desk, blobs)
    except (AuditLogRolledBack, RestoreNotAccepted) as found:
        gap = {"reason": reason, **found.details}
        act = Act((Guarded.BACKUP_RESTORE,), gap)
        with asked_for(desk, actor, now=now):
            look(desk, actor, act, now=now)  # before a key is made
        with asked_for(desk, actor, now=now):
            log = _begin(desk, actor, number, now, act)
        with desk.store.read() as connection:
            edge = _edge(connection, tree.size(connection))
        return _go_on(desk, log, edge, blobs, Proven(), now)
    raise NoGapToAccept("The audit log has all that was signed.")


def require_present(desk: Desk, blobs: BlobStore) -> None:
    """Make sure that nothing is known to be lost, before anything is served or signed.

    Raises AuditLogRolledBack, RestoreNotAccepted, KeyFileDamaged.
    """
    _present(desk, blobs)


def remembered(blobs: BlobStore) -> Checkpoint | None:
    """The head that is remembered beside the keys, which the seal vouches for. Raises KeyFileDamaged."""
    text = remembered_note(blobs)
    return None if text is None else note.read(text)


def remembered_note(blobs: BlobStore) -> str | None:
    """The remembered head as it was signed. Raises KeyFileDamaged."""
    try:
        return blobs.get_blob(BLOB).reveal().decode()
    except KeyNotFound:
        return None


def _present(desk: Desk, blobs: BlobStore) -> tuple[Log | None, RightEdge]:
    """The log that heads are signed for, None where there was none yet; and the tree under the remembered head.

    Raises AuditLogRolledBack, RestoreNotAccepted.
    """
    # Before the records: what it tells of was committed by then.
    text = remembered_note(blobs)
    with desk.store.read() as connection:
        backups.require_accepted(connection)
        log = next(reversed(tree.logs(connection)), None)
        edge = RightEdge() if text is None else _whole(connection, log, text)
    return log, edge


def _whole(connection: Connection, log: Log | None, text: str) -> RightEdge:
    known, size = note.read(text), tree.size(connection)
    details = {"signed": known.size, "present": size, "log": known.origin}
    if log is None or log.origin != known.origin:
        what = f"The records do not know the audit log {known.origin}, of which {known.size} rows were signed."
    elif not _is_signed(text, log):
        what = (
            "The records have another public key than the one that the audit log was signed with."
        )
    elif size < known.size:
        what = f"The audit log has {size} rows, and {known.size} were signed."
    elif (edge := _edge(connection, known.size)).root() != known.root:
        what = f"The first {known.size} rows of the audit log are not those that were signed."
    else:
        return _newest(connection, log, edge)
    raise AuditLogRolledBack(what, details=details)


def _newest(connection: Connection, log: Log, edge: RightEdge) -> RightEdge:
    """The tree under the head on record, where that is a newer one: another server remembers it."""
    head = tree.newest_head(connection, log)
    if head is None or head.size <= edge.size or not _is_signed(head.note, log):
        return edge
    said = note.read(head.note)
    newer = _edge(connection, head.size)
    return newer if (said.size, said.root) == (head.size, newer.root()) else edge


def _is_signed(text: str, log: Log) -> bool:
    try:
        note.verify(text, VerifierKey.parse(log.verifier_key))
    except (LogKeyUnreadable, NoteUnreadable, NoteUntrusted):
        return False
    return True


def _begin(
    desk: Desk,
    actor: Actor,
    number: int,
    now: datetime,
    accepting: Act | None = None,
) -> Log:
    """Make the key and the record of a log. `number` is the one after the last that was seen: whoever else begins at
    the same time wants the same, and one of them gets it.
    """
    word = desk.entropy(6).hex()
    origin = f"{urlsplit(desk.rules.service_url).netloc}/audit-log/{word}"
    uri = _new_key(desk, f"audit-log-{word}")
    key = note.verifier_key(origin, desk.keys.open(uri))
    log = Log(number, origin, uri, str(key))
    gap = None if accepting is None else accepting.parameters

    def work(unit: Unit) -> None:
        said: Mapping[str, Any] = {}
        if accepting is not None:
            said = require_approval(unit, desk, actor, accepting, now=now)
            backups.accept(unit, actor, accepting.parameters, now=now)
        tree.add_log(unit, log, at=now, by=actor.name)
        about = f"audit-log:{origin}"
        leave(unit, actor, "audit_log.begin", about, now=now, key=log.verifier_key, gap=gap, **said)

    try:
        desk.store.together(work)
    except (NotPermitted, NotFound, ApprovalNotUsable):
        desk.keys.destroy(uri)  # the approval was used or ended meanwhile
        raise
    except Duplicate:
        desk.keys.destroy(uri)  # another server was faster
        with desk.store.read() as connection:
            return tree.logs(connection)[-1]
    return log


def _new_key(desk: Desk, name: str) -> str:
    for algorithm in _ALGORITHMS:
        try:
            return desk.keys.generate(name, algorithm)
        except InvalidInput:
            continue  # by its algorithm, or by what a device can do
    raise LogKeyUnusable("The key store makes neither Ed25519 nor P-256 keys.")


def _go_on(
    desk: Desk, log: Log, edge: RightEdge, blobs: BlobStore, proven: Proven, now: datetime
) -> Sequenced:
    """`edge` is that of a tree which is known to be right."""
    added = 0
    for batch in range(_BATCHES):
        # What the gaps do not know is looked for once: it takes longer than all the rest of a batch.
        growth, grown = _growth(desk, edge, None if batch else now, proven.runs)
        if growth is None:
            _forget_gaps(desk, now)
            break
        with desk.store.write() as connection:
            if not tree.grow(connection, log, growth, now=now):
                break  # another server was faster
        edge = grown
        added += len(growth.leaves)
        proven.add(growth.leaves, now)
    edge, signed = _sign(desk, log, edge, blobs, now)
    _look_back(desk, edge, proven, now)
    return Sequenced(added, edge.size, signed)


def _growth(
    desk: Desk, edge: RightEdge, now: datetime | None, known: Sequence[Run]
) -> tuple[Growth | None, RightEdge]:
    """The next rows as leaves, None where there are none; and the tree with them."""
    with desk.store.read() as connection:
        edge = _followed(connection, edge)
        ids = tree.waiting(connection, _BATCH, now, known)
        rows = tree.rows(connection, ids)
        top = tree.highest(connection)
    size = edge.size
    leaves: list[Leaf] = []
    nodes: list[Node] = []
    for event_id in ids:
        digest = leaf_hash(entry(event_id, rows[event_id]))
        leaves.append(Leaf(edge.size, event_id, digest))
        nodes += edge.add(digest)
    growth = Growth(
        size=size,
        leaves=leaves,
        nodes=[(node.level, node.number, node.hash) for node in nodes],
        gaps=_gaps(top, [each for each in ids if each > top]),
        late=[each for each in ids if each <= top],
    )
    return growth if leaves else None, edge


def _followed(connection: Connection, edge: RightEdge) -> RightEdge:
    """The tree with the leaves that are not under a head yet, each of which must be that of a row.

    Raises AuditLeafForged.
    """
    edge, size = edge.copy(), tree.size(connection)
    while edge.size < size:
        leaves = tree.leaves(connection, edge.size, edge.size + _BATCH)
        # Where the next one is missing, the last one cannot be at its place.
        leaves = leaves or tree.leaves(connection, size - 1, size)
        rows = tree.rows(connection, [leaf.event_id for leaf in leaves])
        for leaf in leaves:
            try:
                _require_own(leaf, rows, edge.size)
            except AuditLeafForged as found:
                found.end = edge.size
                raise
            edge.add(leaf.hash)
    return edge


def _require_own(leaf: Leaf, rows: Mapping[int, Row | None], position: int) -> None:
    """That a leaf is at its place, and its row's. Raises AuditLeafForged."""
    number = leaf.event_id
    line = entry(number, rows[number]) if number in rows else b""
    if leaf.position != position or leaf_hash(line) != leaf.hash:
        raise _forged(leaf, line)


def _forged(leaf: Leaf, line: bytes) -> AuditLeafForged:
    details = {"event": leaf.event_id, "position": leaf.position, "row": line.decode()}
    return AuditLeafForged(
        f"The leaf at {leaf.position} is not that of the row {leaf.event_id}.", details=details
    )


def _look_back(desk: Desk, edge: RightEdge, proven: Proven, now: datetime) -> None:
    """Make sure, once for each, that the leaves of rows which just happened are theirs, and in the tree. Raises
    AuditLeafForged.

    A row that seems to have a leaf is not taken, and could be removed unseen; or was, where there is a leaf beside the
    tree.
    """
    spans: set[int] = set()
    with desk.store.read() as connection:
        read = partial(tree.hashes, connection)
        leaves = tree.leaves_about(connection, now, proven.runs)
        for start in range(0, len(leaves), _BATCH):
            some = leaves[start : start + _BATCH]
            rows = tree.rows(connection, [leaf.event_id for leaf in some])
            for leaf in some:
                _require_own(leaf, rows, leaf.position)
                # The proof of one leaf is that of all hashes near it, because its path is made from them.
                if leaf.position // SPAN not in spans and leaf.position < edge.size:
                    _prove(leaf, rows, edge, read)
                    spans.add(leaf.position // SPAN)
        for leaf in tree.strays(connection, 1):
            raise _forged(leaf, b"")
    proven.add((leaf for leaf in leaves if leaf.position < edge.size), now)


def _prove(leaf: Leaf, rows: Mapping[int, Row | None], edge: RightEdge, read: Read) -> None:
    try:
        # At a place that is none, the proof of another one, which is refused.
        proof = inclusion_proof(max(leaf.position, 0), edge.size, read)
        verify_inclusion(leaf.hash, leaf.position, edge.size, proof, edge.root())
    except (AuditTreeDamaged, ProofInvalid):
        raise _forged(leaf, entry(leaf.event_id, rows[leaf.event_id])) from None


def _tell(desk: Desk, actor: Actor, found: AuditLeafForged, now: datetime) -> None:
    """Write down what was found, once: whoever did it can put things back before anybody looks."""
    about = "audit-leaf:{position}:{event}".format_map(found.details)
    said = audit_events.c.action == FORGED, audit_events.c.object == about
    detail: dict[str, Any] = {"what": found.message, "row": found.details["row"]}
    with desk.store.read() as connection:
        if detail in connection.scalars(select(audit_events.c.detail).where(*said)).all():
            return
    desk.store.together(lambda unit: leave(unit, actor, FORGED, about, now=now, **detail))


def _gaps(top: int, ids: Sequence[int]) -> list[Gap]:
    """The ids that were passed over between `top` and the last of these."""
    pairs = zip([top, *ids], ids, strict=False)
    return [Gap(low + 1, high - 1) for low, high in pairs if high > low + 1]


def _forget_gaps(desk: Desk, now: datetime) -> None:
    with desk.store.read() as connection:
        quiet = tree.quiet_gaps(connection, now=now)
    if quiet:
        with desk.store.write() as connection:
            tree.forget_gaps(connection, now=now)


def _sign(
    desk: Desk, log: Log, edge: RightEdge, blobs: BlobStore, now: datetime
) -> tuple[RightEdge, bool]:
    """Sign a head over the whole tree if the newest is of a smaller one; give the tree, and whether it did."""
    with desk.store.read() as connection:
        edge = _followed(connection, edge)
        size, newest = edge.size, tree.newest_head(connection, log)
    if newest is not None and newest.size == size:
        return edge, False
    root = edge.root()
    with spans.span("sign head", ikewarden__size=size):
        signed = note.sign(Checkpoint(log.origin, size, root), desk.keys.open(log.key_uri))
    head = note.verify(signed, VerifierKey.parse(log.verifier_key))
    unkept = _remember(blobs, head, signed)
    with desk.store.write() as connection:
        added = tree.add_head(connection, log, Head(log.number, size, root, signed, now))
    if unkept is not None:
        raise unkept
    return edge, added


def _remember(blobs: BlobStore, head: Checkpoint, signed: str) -> KeyStoreUnavailable | None:
    """Keep the head beside the keys. Where that cannot be written to, the head is given out all the same: it is worth
    more than the memory of it. But it does not go untold.
    """
    known = remembered(blobs)
    if known is None or known.origin != head.origin or known.size < head.size:
        try:
            blobs.put_blob(BLOB, signed.encode())
        except KeyStoreUnavailable as error:
            return error
    return None


def _edge(connection: Connection, size: int) -> RightEdge:
    return RightEdge.of(size, partial(tree.hashes, connection))
