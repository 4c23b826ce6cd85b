"""An exported audit log: a line for each row, and the signed head over them. Checked with nothing but the public key.

::

    {"action":"certificate.issue","actor":"alice",…}       one line a row, in the order of the tree
    {"checkpoint":"ikewarden/…\\n1234\\nqG3…=\\n\\n— ikewarden/… Kx…=\\n"}
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from pki.tlog import note
from pki.tlog.errors import AuditLogChanged, AuditLogCut, ExportUnreadable
from pki.tlog.merkle import RightEdge, leaf_hash
from pki.tlog.note import Checkpoint, VerifierKey

LONGEST: Final = 16 * 2**20
_HEAD: Final = b'{"checkpoint":'


def last_line(signed: str) -> bytes:
    """The line that ends an export, without its newline."""
    return _HEAD + json.dumps(signed).encode("ascii") + b"}"


@dataclass(frozen=True)
class Checked:
    """An export that is whole: its head, and how many of the heads kept elsewhere it agrees with."""

    head: Checkpoint
    agreed: int


def check(
    lines: Iterable[bytes],
    key: VerifierKey,
    kept: Sequence[str] = (),
    *,
    more: Sequence[VerifierKey] = (),
) -> Checked:
    """See that the lines are the rows that the head at their end was signed over, and that each of `kept` was too.

    `lines` are those of the file, with their newlines; `kept` are notes; `more` are keys of older logs over the same
    rows, which have other names. Raises NoteUnreadable, NoteUntrusted,
    ExportUnreadable, AuditLogChanged, AuditLogCut.
    """
    keys = (key, *more)
    known = [_verified(each, keys) for each in kept]
    claims = _Claims(known)
    edge = RightEdge()
    claims.look(edge)
    signed = None
    for line in _whole(lines):
        if signed is not None:
            raise ExportUnreadable("There are lines after the signed head.")
        if line.startswith(_HEAD):
            signed = _note(line)
        else:
            edge.add(leaf_hash(line))
            claims.look(edge)
    if signed is None:
        raise ExportUnreadable("The signed head at the end is missing: the file was cut off.")
    head = _verified(signed, keys)
    _compare(edge, head, claims)
    claims.require_all(edge.size)
    return Checked(head, len(known))


def _verified(signed: str, keys: Sequence[VerifierKey]) -> Checkpoint:
    """A head, verified with the key of the log that it names; with the first if it is of no log that is known."""
    origin = note.read(signed).origin
    return note.verify(signed, next((each for each in keys if each.name == origin), keys[0]))


class _Claims:
    """Heads that the rows must agree with; `good` is the largest size at which they did."""

    def __init__(self, heads: Sequence[Checkpoint]) -> None:
        self._heads: dict[int, list[Checkpoint]] = {}
        for head in heads:
            self._heads.setdefault(head.size, []).append(head)
        self.good = 0

    def look(self, edge: RightEdge) -> None:
        """Compare with the heads of this size. Raises AuditLogChanged."""
        if not self._heads:
            return
        heads = self._heads.pop(edge.size, None)
        if heads is None:
            return
        for head in heads:
            if edge.root() != head.root:
                raise changed(self.good, head)
        self.good = edge.size

    def require_all(self, size: int) -> None:
        """Raise AuditLogCut where a head is of a larger tree."""
        if self._heads:
            largest = max(self._heads)
            raise AuditLogCut(f"There are {size} rows, and {largest} were signed.")


def changed(good: int, head: Checkpoint) -> AuditLogChanged:
    """That a row between two sizes is not the one that was signed."""
    where = f"the first {head.size}" if not good else f"rows {good + 1} to {head.size}"
    return AuditLogChanged(
        f"A row was changed, added, left out or moved: {where} are not those that were signed.",
        details={"after": good, "up_to": head.size},
    )


def _compare(edge: RightEdge, head: Checkpoint, claims: _Claims) -> None:
    if edge.size < head.size:
        raise AuditLogCut(f"There are {edge.size} rows, and {head.size} were signed.")
    if edge.size > head.size:
        raise AuditLogChanged(f"There are {edge.size} rows, and only {head.size} were signed.")
    if edge.root() != head.root:
        raise changed(claims.good, head)


def _whole(lines: Iterable[bytes]) -> Iterator[bytes]:
    for line in lines:
        if not line.endswith(b"\n") or len(line) > LONGEST:
            raise ExportUnreadable("The last line is not whole: the file was cut off.")
        yield line[:-1]


def _note(line: bytes) -> str:
    try:
        document = json.loads(line)
        signed = document["checkpoint"]
    except (ValueError, RecursionError):
        raise ExportUnreadable("The signed head at the end cannot be read.") from None
    if not isinstance(signed, str) or len(document) != 1:
        raise ExportUnreadable("The signed head at the end cannot be read.")
    return signed
