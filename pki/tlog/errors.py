"""What can be wrong with a log, a head or a proof.

::

    InvalidInput
    ├── NoteUnreadable      not a signed head
    ├── LogKeyUnreadable    not the public key of a log
    └── ExportUnreadable    not a file that `audit-log export` wrote
    Conflict
    ├── NoteUntrusted       the head is of another log, or its signature is wrong
    ├── ProofInvalid        the proof does not lead to the root
    ├── AuditLogChanged     the rows are not those that the head was signed over
    ├── AuditLogCut         there are fewer rows than were signed
    └── AuditTreeDamaged    a hash that the tree must have is missing
"""

from core.errors import Conflict, InvalidInput


class NoteUnreadable(InvalidInput):
    """This is no signed head of a log."""

    code = "audit_head_unreadable"
    next_step = "Give a file that `ikewarden audit-log head` printed."


class LogKeyUnreadable(InvalidInput):
    """This is no public key of a log."""

    code = "audit_key_unreadable"
    next_step = "Give a file that `ikewarden audit-log key` printed."


class ExportUnreadable(InvalidInput):
    """This is no exported audit log, or not a whole one."""

    code = "audit_export_unreadable"
    next_step = "Export it again with `ikewarden audit-log export`."


class NoteUntrusted(Conflict):
    """A head that was not signed by this log's key."""

    code = "audit_head_untrusted"
    next_step = "Compare the key with one that was kept elsewhere. If it is the right one, the head is forged."


class ProofInvalid(Conflict):
    """A proof that does not show what it should."""

    code = "audit_proof_invalid"
    next_step = "Ask for the proof again, for the head that you have."


class AuditLogChanged(Conflict):
    """The rows of the audit log are not those that were signed."""

    code = "audit_log_changed"
    next_step = "Keep what you have as evidence, and run `ikewarden audit-log verify` on the server: it names the rows."


class AuditLogCut(Conflict):
    """The audit log has fewer rows than were signed."""

    code = "audit_log_cut"
    next_step = "Export it anew. If rows are still missing, the end was cut off, or an old database was restored."


class AuditTreeDamaged(Conflict):
    """A part of the audit log's tree is missing."""

    code = "audit_tree_damaged"
    next_step = "Run `ikewarden audit-log verify` on the server."
