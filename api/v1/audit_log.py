"""The audit log for those who check it: signed head, proofs, rows as they are in the tree."""

import base64
from collections.abc import Sequence
from datetime import datetime

from pydantic import Field, model_validator

from api import cursors
from api.cursors import PageQuery
from api.registry import Call, Nothing, Reply, Route, Sent, Shown
from pki import audit_log
from pki.actors import Action
from pki.audit_log import Inclusion, SignedHead

_ENTRIES = "/v1/audit-log/entries"
_TAG = "History"
_MOST = 2**63 - 1
_HASH = "A SHA-256 hash in base64."


class Head(Shown):
    """The newest signed head of the audit log."""

    origin: str = Field(description="The name of the log.")
    size: int = Field(description="How many rows are under it.")
    root: str = Field(description=_HASH)
    signed_at: datetime
    note: str = Field(description="The head as it was signed (C2SP tlog-checkpoint).")
    key: str = Field(description="The public key, as Go's sumdb writes it: NAME+ID+BASE64.")


class Proof(Shown):
    """A proof of RFC 9162: that a row is under the head, or that one tree begins with another."""

    proof: list[str] = Field(
        description="Hashes in base64, in the order of RFC 9162 §2.1.3, §2.1.4."
    )
    event: int | None = Field(default=None, description="The id of the row.")
    index: int | None = Field(default=None, description="Its place in the tree, from 0 on.")
    entry: str | None = Field(
        default=None,
        description="The row as it is in the tree: the leaf is SHA-256(0x00 || entry).",
    )
    head: Head | None = Field(default=None, description="The head that the row is under.")
    first: int | None = None
    second: int | None = None


class ProofQuery(Sent):
    """Of what: `event`, or `first` and `second`."""

    event: int | None = Field(default=None, ge=1, le=_MOST, description="The id of a row.")
    first: int | None = Field(default=None, ge=0, le=_MOST, description="The size of a tree.")
    second: int | None = Field(default=None, ge=0, le=_MOST, description="That of a larger one.")

    @model_validator(mode="after")
    def _is_one_question(self) -> "ProofQuery":
        given = (self.event is not None, self.first is not None, self.second is not None)
        if given not in {(True, False, False), (False, True, True)}:
            raise ValueError("give event alone, or first and second")
        return self


class Entry(Shown):
    """A row as it is in the tree."""

    position: int
    entry: str = Field(description="One line of JSON: the leaf is SHA-256(0x00 || entry).")


class EntryPage(Shown):
    """Some rows, in the order of the tree."""

    items: list[Entry]
    next_cursor: str | None


def head(call: Call[None, Nothing]) -> Reply:
    """Give the newest head."""
    return Reply(_head(audit_log.head(call.desk, call.actor)))


def proof(call: Call[None, ProofQuery]) -> Reply:
    """Give a proof."""
    query = call.query
    if query.event is None:
        first, second = query.first or 0, query.second or 0
        found = audit_log.consistency(call.desk, call.actor, first, second)
        return Reply(Proof(proof=_texts(found), first=first, second=second))
    return Reply(inclusion_shown(audit_log.inclusion(call.desk, call.actor, query.event)))


def inclusion_shown(found: Inclusion) -> Proof:
    """The proof that a row is under a head, as it is shown."""
    return Proof(
        proof=_texts(found.proof),
        event=found.event,
        index=found.index,
        entry=found.line,
        head=_head(found.head),
    )


def entries(call: Call[None, PageQuery]) -> Reply:
    """List rows, the first ones first."""
    query = call.query
    before = cursors.decode(_ENTRIES, query.cursor, int)
    first = 0 if before is None else before + 1
    found = audit_log.entries(call.desk, call.actor, first=first, limit=query.limit)
    last = found[-1].position if found else None
    cursor, headers = cursors.next_page(_ENTRIES, query, found, last)
    items = [Entry(position=each.position, entry=each.line) for each in found]
    return Reply(EntryPage(items=items, next_cursor=cursor), headers=headers)


def _head(signed: SignedHead) -> Head:
    return Head(
        origin=signed.origin,
        size=signed.size,
        root=_text(signed.root),
        signed_at=signed.signed_at,
        note=signed.note,
        key=signed.key,
    )


def _text(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


def _texts(digests: Sequence[bytes]) -> list[str]:
    return [_text(each) for each in digests]


ROUTES = (
    Route(
        method="GET",
        path="/v1/audit-log/head",
        view=head,
        summary="Get the newest signed head of the audit log, and the key that signed it",
        tag=_TAG,
        action=Action.AUDIT_READ,
        answer=Head,
        refusals=(404,),
    ),
    Route(
        method="GET",
        path="/v1/audit-log/proof",
        view=proof,
        summary="Prove that a row is under the newest head, or that one tree begins with another",
        tag=_TAG,
        action=Action.AUDIT_READ,
        query=ProofQuery,
        answer=Proof,
        refusals=(404, 409, 422),
    ),
    Route(
        method="GET",
        path=_ENTRIES,
        view=entries,
        summary="List the rows under the newest head, as they are in the tree",
        tag=_TAG,
        action=Action.AUDIT_READ,
        query=PageQuery,
        answer=EntryPage,
        refusals=(404, 409, 422),
    ),
)
