"""The transcript of a ceremony: a line of JSON for each thing, and a signed note over all of them. Pure.

::

    {"record":"ceremony","title":…,"sha256":…,"text":…}       the file itself, and its hash
    {"record":"ceremony.confirm","witness":…,"typed":…}       who confirmed it, and when
    {"record":"above","name":…,"certificate":…}               who was there before and has a part in it
    {"record":"root","name":…,"certificate":…,"key":…}        what came of each step, in their order
    {"checkpoint":"…/ceremony\\n7\\nqG3…=\\n\\n— …"}             signed with the key of the audit log

It has the form of an exported audit log, under a name of its own: NAME-OF-THE-LOG/ceremony. Whoever holds the log's
public key checks it without the service.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization

from pki.ceremony.errors import TranscriptUnreadable, TranscriptUntrusted
from pki.ceremony.plan import CrossSign, Founding, Plan, Step, read_plan
from pki.tlog import export, note
from pki.tlog.errors import AuditLogChanged, AuditLogCut, ExportUnreadable, NoteUntrusted
from pki.tlog.merkle import RightEdge, leaf_hash
from pki.tlog.note import Checkpoint, VerifierKey
from pki.x509.signing import PrivateKey

CEREMONY: Final = "ceremony"
LONGEST: Final = 256 * 1024
_SUFFIX: Final = "/ceremony"
_DER: Final = serialization.Encoding.DER


@dataclass(frozen=True)
class Transcript:
    """A transcript that was found right: the ceremony, and the certificates that were made, by name."""

    plan: Plan
    certificates: Mapping[str, x509.Certificate]
    records: Sequence[Mapping[str, Any]]


def signed(records: Iterable[Mapping[str, Any]], origin: str, key: PrivateKey) -> bytes:
    """The file: the records and the note over them, by the key of the log `origin`. Raises what the key raises."""
    edge, lines = RightEdge(), []
    for record in records:
        line = json.dumps(record, separators=(",", ":")).encode("ascii")
        edge.add(leaf_hash(line))
        lines.append(line)
    head = Checkpoint(origin + _SUFFIX, edge.size, edge.root())
    lines.append(export.last_line(note.sign(head, key)))
    return b"".join(line + b"\n" for line in lines)


def verify(lines: Sequence[bytes], key: VerifierKey) -> Transcript:
    """See that the transcript is as the log's key signed it, and that what was made is what is written.

    `lines` are those of the file, with their newlines. Raises TranscriptUnreadable, TranscriptUntrusted,
    NoteUnreadable, CeremonyDeviation.
    """
    try:
        export.check(lines, VerifierKey(key.name + _SUFFIX, key.key))
    except ExportUnreadable as error:
        raise TranscriptUnreadable(error.message) from None
    except (NoteUntrusted, AuditLogChanged, AuditLogCut):
        raise TranscriptUntrusted("This is not what the key signed.") from None
    try:
        records = [json.loads(line) for line in lines[:-1]]
        return _judged(records)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        raise TranscriptUnreadable("A line of the transcript cannot be read.") from None


def _judged(records: list[dict[str, Any]]) -> Transcript:
    head = records[0]
    plan = read_plan(head["text"].encode())
    _require(head["record"] == CEREMONY and head["sha256"] == plan.sha256, "the file's hash")
    known: dict[str, x509.Certificate] = {}
    made = []
    confirmed = set()
    for record in records[1:]:
        match record["record"]:
            case "ceremony.confirm":
                _require(plan.confirms(record["typed"]), "what a witness typed")
                confirmed.add(record["witness"])
            case "above":
                known[record["name"]] = _certificate(record)
            case "root" | "issuing" | "cross" | "crl":
                made.append(record)
    _require(set(plan.witnesses) <= confirmed, "the confirmations")
    _require(len(made) == len(plan.steps), "the number of steps")
    for step, record in zip(plan.steps, made, strict=True):
        _require(record["record"] == step.kind, "the order of the steps")
        _check(step, record, known)
    return Transcript(plan, known, records)


def _check(step: Step, record: dict[str, Any], known: dict[str, x509.Certificate]) -> None:
    if isinstance(step, Founding):
        certificate = _certificate(record)
        issuer = certificate if step.parent is None else known[step.parent]
        step.require(certificate, record["key"], issuer)
        _check_issued(certificate, issuer, f"{step.name!r} was not signed by its parent.")
        known[step.name] = certificate
        return
    if isinstance(step, CrossSign):
        pair = record["name"], record["issuer"]
        _require(pair == (step.authority, step.issuer), "who certifies whom")
        certificate, issuer = _certificate(record), known[step.issuer]
        step.require(certificate, known[step.authority], issuer)
        _check_issued(certificate, issuer, f"It was not {step.issuer!r} who certified a key.")
        return
    owner = known[step.authority]
    crl = x509.load_pem_x509_crl(record["crl"].encode())
    _require(_sha256(crl.public_bytes(_DER)) == record["sha256"], "the hash of a list")
    public: Any = owner.public_key()
    _require(crl.issuer == owner.subject and crl.is_signature_valid(public), "who signed a list")


def _check_issued(certificate: x509.Certificate, issuer: x509.Certificate, otherwise: str) -> None:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError, TypeError):
        raise TranscriptUntrusted(otherwise) from None


def _certificate(record: dict[str, Any]) -> x509.Certificate:
    certificate = x509.load_pem_x509_certificate(record["certificate"].encode())
    _require(
        _sha256(certificate.public_bytes(_DER)) == record["sha256"], "the hash of a certificate"
    )
    return certificate


def _require(right: bool, what: str) -> None:
    if not right:
        raise TranscriptUntrusted(f"It does not fit together: {what}.")


def _sha256(der: bytes) -> str:
    return hashlib.sha256(der).hexdigest()
