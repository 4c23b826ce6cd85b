"""The proof that an event is under the signed head, checked step by step for who wants to see it.

What is checked here is what anybody checks who has the proof and the log's public key; that needs no trust in this
service (`docs/how-to/audit-log.md`). The service itself is asked, so the verdict is worth as much as the service.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pki import audit_log
from pki.actors import Actor
from pki.audit_log import Inclusion, SignedHead
from pki.desk import Desk
from pki.tlog import merkle, note
from pki.tlog.errors import LogKeyUnreadable, NoteUnreadable, NoteUntrusted, ProofInvalid
from pki.tlog.note import Checkpoint, VerifierKey


@dataclass(frozen=True)
class Step:
    """One thing that was checked: what, by a code; what came of it, in hexadecimal or words; why it failed, if it did.

    Codes: "leaf" (the row hashes to this), "path" (the hashes lead to this root), "head" (the head is of this root and
    size), "signature" (the log's key signed the head), "kept" (so did it the head that was given), "grown" (the tree
    begins with that of the head that was given).
    """

    code: str
    value: str
    failure: str = ""


@dataclass(frozen=True)
class Checked:
    """All steps up to the first that failed, and what they were about."""

    steps: Sequence[Step]
    head: SignedHead
    inclusion: Inclusion | None = None

    @property
    def failed(self) -> bool:
        """Whether a step did not hold."""
        return any(step.failure for step in self.steps)


def inclusion(desk: Desk, actor: Actor, event: int) -> Checked:
    """Check that an event is under the newest head. Raises what `audit_log.inclusion` raises."""
    found = audit_log.inclusion(desk, actor, event)
    head, leaf = found.head, merkle.leaf_hash(found.line.encode())
    steps = [Step("leaf", leaf.hex())]
    try:
        merkle.verify_inclusion(leaf, found.index, head.size, found.proof, head.root)
        steps.append(Step("path", head.root.hex()))
        steps += _of_head(head)
    except ProofInvalid as error:
        steps.append(Step("path", head.root.hex(), error.message))
    return Checked(steps, head, found)


def consistency(desk: Desk, actor: Actor, kept: str) -> Checked:
    """Check that the log of today begins with what a head says that somebody kept: nothing under it was changed.

    Raises NoteUnreadable for what is no head, TreeSizeUnknown for one that is larger than the log, and what
    `audit_log.head` raises.
    """
    head = audit_log.head(desk, actor)
    known = note.read(_whole(kept))
    steps: list[Step] = []
    try:
        note.verify(_whole(kept), VerifierKey.parse(head.key))
        steps.append(Step("kept", str(known.size)))
        proof = audit_log.consistency(desk, actor, known.size, head.size)
        merkle.verify_consistency(known.size, known.root, head.size, head.root, proof)
        steps.append(Step("grown", str(head.size)))
        steps += _of_head(head)
    except (NoteUntrusted, LogKeyUnreadable) as error:
        steps.append(Step("kept", str(known.size), error.message))
    except ProofInvalid as error:
        steps.append(Step("grown", str(head.size), error.message))
    return Checked(steps, head)


def _of_head(head: SignedHead) -> list[Step]:
    try:
        said = note.verify(head.note, VerifierKey.parse(head.key))
    except (NoteUnreadable, NoteUntrusted, LogKeyUnreadable) as error:
        return [Step("signature", head.key, error.message)]
    same = said == Checkpoint(head.origin, head.size, head.root)
    failure = "" if same else "The head that was signed is another one than the record shows."
    return [Step("signature", head.key), Step("head", str(head.size), failure)]


def _whole(kept: str) -> str:
    """A head as it was copied: browsers end lines in their own way, and people lose the last one."""
    return "\n".join(kept.strip().splitlines()) + "\n"
