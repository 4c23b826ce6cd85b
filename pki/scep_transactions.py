"""Requests of SCEP that wait for a person (RFC 8894 §3.3.3): when a device polls, it sends its request no more.

They are kept beside the answers to requests with an Idempotency-Key: told apart in the same way, forgotten in the same
way. What is kept is no secret: the request without its password, and which token it came with.
"""

import base64
import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, delete, insert, select

from core.errors import InvalidInput
from pki.desk import Desk
from pki.x509.csr import SigningRequest, reread, stripped
from store.engine import Unit
from store.errors import Duplicate
from store.tables import idempotency

_ROUTE: Final = "scep"


class TransactionUnknown(InvalidInput):
    """Nothing of this transaction waits, or it was begun with another key."""

    code = "scep_transaction_unknown"
    next_step = "Send the request itself (PKCSReq) again."


@dataclass(frozen=True)
class Transaction:
    """A transaction of a device: the name it gave it, and the SHA-256 (hex) of the key that signs its messages."""

    endpoint: str
    number: str
    key_sha256: str

    @property
    def name(self) -> str:
        """How it is found again."""
        return hashlib.sha256(f"{self.key_sha256} {self.number}".encode()).hexdigest()


@dataclass(frozen=True)
class Waiting:
    """What a device asked for, and the credential (`Actor.credential`) that it showed then."""

    credential: str
    csr: SigningRequest

    @property
    def token_id(self) -> str | None:
        """The id of its token; None where it was a certificate."""
        kind, _, rest = self.credential.partition(":")
        return rest if kind == "token" else None


def _is(transaction: Transaction) -> tuple[ColumnElement[bool], ...]:
    owner = f"scep:{transaction.endpoint}"
    return idempotency.c.actor == owner, idempotency.c.key == transaction.name


def remember(desk: Desk, transaction: Transaction, waiting: Waiting, *, now: datetime) -> None:
    """Keep a request until long after its approval can be used; of several that come at once, one."""
    body = {
        "credential": waiting.credential,
        "csr": base64.b64encode(stripped(waiting.csr)).decode(),
    }
    row = {
        "actor": f"scep:{transaction.endpoint}",
        "key": transaction.name,
        "route": _ROUTE,
        "request_sha256": transaction.key_sha256,
        "state": "done",
        "status": None,
        "body": json.dumps(body),
        "created_at": now,
        "expires_at": now + 2 * desk.rules.approvals.valid,
    }

    def work(unit: Unit) -> None:
        unit.connection.execute(delete(idempotency).where(*_is(transaction)))
        unit.connection.execute(insert(idempotency).values(**row))

    # Another process keeps what the same device has sent at this moment: that can be polled for as well.
    with suppress(Duplicate):
        desk.store.together(work)


def recall(desk: Desk, transaction: Transaction, *, now: datetime) -> Waiting:
    """Find a request again. Raises TransactionUnknown."""
    query = select(idempotency.c.body, idempotency.c.expires_at).where(*_is(transaction))
    with desk.store.read() as connection:
        row = connection.execute(query).one_or_none()
    if row is None or row.expires_at <= now:
        raise TransactionUnknown("Nothing of this transaction waits.")
    body = json.loads(row.body)
    # An earlier version kept the id of the token alone.
    credential = body.get("credential") or f"token:{body['token']}"
    return Waiting(credential, reread(base64.b64decode(body["csr"])))
