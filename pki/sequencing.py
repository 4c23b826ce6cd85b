"""The sequencer: puts committed audit rows into the tree, and signs its head.

Nobody who writes an audit row waits for it. Leaves are committed first; then the head over them is signed, remembered
beside the keys, and given out, in this order. So whatever dies in between, what is remembered is never ahead of the
records: if it is, records were lost.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

from sqlalchemy import Connection

from core.errors import Conflict, InvalidInput, NotFound, NotPermitted, Unavailable
from hsm.errors import KeyNotFound, KeyStoreUnavailable
from hsm.ports import KeyAlgorithm
from pki import backups
from pki.actors import Action, Actor, require
from pki.approvals import ApprovalNotUsable, asked_for, look, require_approval
from pki.backups import RestoreNotAccepted
from pki.desk import Desk
from pki.guarded import Act, Guarded
from pki.tlog import note
from pki.tlog.entry import entry
from pki.tlog.merkle import Node, RightEdge, leaf_hash
from pki.tlog.note import Checkpoint, VerifierKey
from pki.tls_credential import BlobStore
from pki.trail import leave
from store import audit_tree as tree
from store.audit_tree import Gap, Growth, Head, Leaf, Log
from store.engine import Unit
from store.errors import Duplicate

BLOB: Final = "audit-log-head"
_BATCH: Final = 1_000
# In one run; a log that was never sequenced takes several.
_BATCHES: Final = 100
# Notes know Ed25519 best; not every token makes such keys.
_ALGORITHMS: Final[tuple[KeyAlgorithm, ...]] = ("ed25519", "ec-p256")


class AuditLogRolledBack(Conflict):
    """The records have less of the audit log, or another one, than a head that was given out."""

    code = "audit_log_rolled_back"
    next_step = (
        "Was an old database restored, or were rows removed? Put the right database back; or go on without what is "
        "missing: `ikewarden audit-log accept-gap --reason TEXT`."
    )


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


def sequence(desk: Desk, actor: Actor, blobs: BlobStore, *, now: datetime) -> Sequenced:
    """Add what was committed since the last time to the tree and sign its head. The first run makes the log's key.

    Of several servers that do so at once, one adds each row. `blobs` keeps the newest head outside the database.
    Raises RoleMayNot, AuditLogRolledBack, RestoreNotAccepted, LogKeyUnusable, SignerUnavailable; KeyStoreUnavailable
    where the new head is signed and could not be remembered.
    """
    require(actor, Action.JOB_RUN)
    log = _present(desk, blobs) or _begin(desk, actor, 1, now)
    return _go_on(desk, log, blobs, now)


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
        return _go_on(desk, log, blobs, now)
    raise NoGapToAccept("The audit log has all that was signed.")


def require_present(desk: Desk, blobs: BlobStore) -> None:
    """Make sure that nothing is known to be lost, before anything is served or signed.

    Raises AuditLogRolledBack, RestoreNotAccepted, KeyFileDamaged.
    """
    _present(desk, blobs)


def remembered(blobs: BlobStore) -> Checkpoint | None:
    """The head that is remembered beside the keys, which the seal vouches for. Raises KeyFileDamaged."""
    try:
        return note.read(blobs.get_blob(BLOB).reveal().decode())
    except KeyNotFound:
        return None


def _present(desk: Desk, blobs: BlobStore) -> Log | None:
    """The log that heads are signed for; None where there was none yet.

    Raises AuditLogRolledBack, RestoreNotAccepted.
    """
    # Before the records: what it tells of was committed by then.
    known = remembered(blobs)
    with desk.store.read() as connection:
        backups.require_accepted(connection)
        log = next(reversed(tree.logs(connection)), None)
        if known is not None:
            _require_whole(connection, log, known)
    return log


def _require_whole(connection: Connection, log: Log | None, known: Checkpoint) -> None:
    size = tree.size(connection)
    details = {"signed": known.size, "present": size, "log": known.origin}
    if log is None or log.origin != known.origin:
        what = f"The records do not know the audit log {known.origin}, of which {known.size} rows were signed."
    elif size < known.size:
        what = f"The audit log has {size} rows, and {known.size} were signed."
    elif _edge(connection, known.size).root() != known.root:
        what = f"The first {known.size} rows of the audit log are not those that were signed."
    else:
        return
    raise AuditLogRolledBack(what, details=details)


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


def _go_on(desk: Desk, log: Log, blobs: BlobStore, now: datetime) -> Sequenced:
    added = 0
    for _ in range(_BATCHES):
        growth = _growth(desk, now)
        if growth is None:
            _forget_gaps(desk, now)
            break
        with desk.store.write() as connection:
            if not tree.grow(connection, log, growth, now=now):
                break  # another server was faster
        added += len(growth.leaves)
    size, signed = _sign(desk, log, blobs, now)
    return Sequenced(added, size, signed)


def _growth(desk: Desk, now: datetime) -> Growth | None:
    """The next rows as leaves; None where there are none."""
    with desk.store.read() as connection:
        ids = tree.waiting(connection, _BATCH)
        if not ids:
            return None
        rows = tree.rows(connection, ids)
        top, size = tree.highest(connection), tree.size(connection)
        edge = _edge(connection, size)
    leaves: list[Leaf] = []
    nodes: list[Node] = []
    for event_id in ids:
        digest = leaf_hash(entry(event_id, rows[event_id]))
        leaves.append(Leaf(size + len(leaves), event_id, digest))
        nodes += edge.add(digest)
    return Growth(
        size=size,
        leaves=leaves,
        nodes=[(node.level, node.number, node.hash) for node in nodes],
        gaps=_gaps(top, [each for each in ids if each > top], now),
        late=[each for each in ids if each <= top],
    )


def _gaps(top: int, ids: Sequence[int], now: datetime) -> list[Gap]:
    """The ids that were passed over between `top` and the last of these."""
    pairs = zip([top, *ids], ids, strict=False)
    return [Gap(low + 1, high - 1, now) for low, high in pairs if high > low + 1]


def _forget_gaps(desk: Desk, now: datetime) -> None:
    with desk.store.read() as connection:
        gaps = tree.gaps(connection)
    if any(gap.quiet_since < now - tree.PATIENCE for gap in gaps):
        with desk.store.write() as connection:
            tree.forget_gaps(connection, now=now)


def _sign(desk: Desk, log: Log, blobs: BlobStore, now: datetime) -> tuple[int, bool]:
    """Sign a head over the whole tree if the newest is of a smaller one; tell the size, and whether it did."""
    with desk.store.read() as connection:
        size, newest = tree.size(connection), tree.newest_head(connection, log)
        if newest is not None and newest.size == size:
            return size, False
        root = _edge(connection, size).root()
    signed = note.sign(Checkpoint(log.origin, size, root), desk.keys.open(log.key_uri))
    head = note.verify(signed, VerifierKey.parse(log.verifier_key))
    unkept = _remember(blobs, head, signed)
    with desk.store.write() as connection:
        added = tree.add_head(connection, log, Head(log.number, size, root, signed, now))
    if unkept is not None:
        raise unkept
    return size, added


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
