"""Transactions of CMP (RFC 9810 §5.1.1): what was asked for in one, and whether its certificate was confirmed.

A certificate that its client does not confirm in time is revoked: nobody knows whether it ever arrived (§5.3.18).
A transaction belongs to its sender: under the same transactionID another one has another.
"""

import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from sqlalchemy import Connection, delete, exists, select, update

from pki.actors import Action, Actor, Role, require
from pki.certificates import pick
from pki.cmp.errors import (
    CertificateOver,
    ConfirmedAlready,
    HashWrong,
    NonceWrong,
    NoTransaction,
    TransactionInUse,
)
from pki.desk import Desk
from pki.issuance import IssuedCertificate
from pki.revocation import revoke_with
from pki.x509.crl import Reason
from pki.x509.csr import SigningRequest, reread, stripped
from store.cmp_tables import cmp_transactions as table
from store.engine import Unit
from store.errors import Duplicate

#: How long a client may take to confirm.
CONFIRM_WITHIN: Final = timedelta(minutes=15)
# How long it is known that a transactionID was used.
_KEPT: Final = timedelta(days=30)
_AT_ONCE: Final = 200
_HASHES: Final[Mapping[str, hashes.HashAlgorithm]] = {
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}
_RANDOM, _MAC = 8, 8  # octets of a nonce (RFC 9483 §3.1: 16)


class State(StrEnum):
    """Where a transaction stands."""

    WAITING = "waiting"  # for a person
    UNCONFIRMED = "unconfirmed"
    GIVEN = "given"  # once more; confirmed or not, it is not revoked for silence
    CONFIRMED = "confirmed"
    REJECTED = "rejected"
    EXPIRED = "expired"


@dataclass(frozen=True)
class Transaction:
    """A transaction: the endpoint, the sender's credential, the transactionID."""

    endpoint: str
    sender: str
    number: bytes

    @property
    def name(self) -> str:
        """How it is found again."""
        told = f"{self.endpoint} {self.sender} {self.number.hex()}"
        return hashlib.sha256(told.encode()).hexdigest()


@dataclass(frozen=True)
class Opening:
    """What a transaction begins with: the SHA-256 (hex) of the message, its kind, the number of the request in it, and
    whether its sender will not confirm what it gets.
    """

    sha256: str
    kind: str
    number: int
    implicit: bool


@dataclass(frozen=True)
class Kept:
    """A transaction as it is on record."""

    state: str
    sha256: str
    kind: str
    number: int
    csr: bytes | None
    authority: str | None
    serial: str | None

    @property
    def request(self) -> SigningRequest | None:
        """What waits for a person."""
        return None if self.csr is None else reread(self.csr)

    @property
    def opening(self) -> Opening:
        """What it began with."""
        return Opening(self.sha256, self.kind, self.number, implicit=False)


def nonce(desk: Desk, transaction: Transaction) -> bytes:
    """A new senderNonce for an answer: any worker knows it again."""
    random = desk.entropy(_RANDOM)
    return random + _mac(desk, transaction, random)


def check_nonce(desk: Desk, transaction: Transaction, given: bytes) -> None:
    """Make sure that a message answers one of ours in this transaction (RFC 9483 §3.5). Raises NonceWrong."""
    made = _mac(desk, transaction, given[:_RANDOM])
    if not hmac.compare_digest(made, given[_RANDOM:]):
        raise NonceWrong("The recipNonce is none that was given out in this transaction.")


def _mac(desk: Desk, transaction: Transaction, random: bytes) -> bytes:
    key = desk.derive("cmp nonces").reveal()
    told = transaction.name.encode() + random
    return hmac.new(key, told, hashlib.sha256).digest()[:_MAC]


def look(desk: Desk, transaction: Transaction, opening: Opening) -> Kept | None:
    """What is on record of a transaction that begins, if the same message came before. Raises TransactionInUse."""
    with desk.store.read() as connection:
        kept = _find(connection, transaction)
    if kept is not None and kept.sha256 != opening.sha256:
        raise _in_use()
    return kept


def recall(desk: Desk, transaction: Transaction) -> Kept:
    """What is on record of a transaction that goes on. Raises NoTransaction."""
    with desk.store.read() as connection:
        kept = _find(connection, transaction)
    if kept is None:
        raise NoTransaction("Nothing was asked for in this transaction.")
    return kept


def noting(
    transaction: Transaction, opening: Opening, now: datetime
) -> Callable[[Unit, IssuedCertificate], Mapping[str, Any]]:
    """What puts on record, beside the certificate that will be signed, that it is to be confirmed. It raises
    TransactionInUse where that is on record already: the same message came twice at the same moment.
    """
    state = State.CONFIRMED if opening.implicit else State.UNCONFIRMED

    def note(unit: Unit, issued: IssuedCertificate) -> Mapping[str, Any]:
        if _is_made(unit.connection, transaction):
            raise _in_use()
        certificate = (issued.authority.name, issued.serial)
        _put(unit, transaction, opening, state, now + CONFIRM_WITHIN, certificate=certificate)
        return {}

    return note


def again(
    desk: Desk,
    transaction: Transaction,
    opening: Opening,
    authority: str,
    serial: str,
    now: datetime,
) -> None:
    """Put on record that a certificate was given once more. Raises TransactionInUse."""
    state = State.CONFIRMED if opening.implicit else State.GIVEN

    def work(unit: Unit) -> None:
        if _is_made(unit.connection, transaction):
            return  # in this very transaction, at the same moment
        certificate = (authority, serial)
        _put(unit, transaction, opening, state, now + CONFIRM_WITHIN, certificate=certificate)

    _done(desk, work)


def wait(
    desk: Desk, transaction: Transaction, opening: Opening, csr: SigningRequest, now: datetime
) -> None:
    """Keep a request until long after its approval can be used. Raises TransactionInUse."""
    until = now + 2 * desk.rules.approvals.valid

    def work(unit: Unit) -> None:
        if _is_made(unit.connection, transaction):
            return  # a person approved it at the same moment
        _put(unit, transaction, opening, State.WAITING, until, csr=stripped(csr))

    _done(desk, work)


def _done(desk: Desk, work: Callable[[Unit], None]) -> None:
    try:
        desk.store.together(work)
    except Duplicate:
        raise _in_use() from None


def _in_use() -> TransactionInUse:
    return TransactionInUse("This transactionID was used for another request.")


def _put(
    unit: Unit,
    transaction: Transaction,
    opening: Opening,
    state: State,
    until: datetime,
    *,
    csr: bytes | None = None,
    certificate: tuple[str | None, str | None] = (None, None),
) -> None:
    """Write a transaction anew: it has waited, or its certificate was never made."""
    kept = _find(unit.connection, transaction)
    if kept is not None and kept.sha256 != opening.sha256:
        raise _in_use()
    unit.connection.execute(delete(table).where(table.c.name == transaction.name))
    authority, serial = certificate
    unit.insert(
        table,
        {
            "name": transaction.name,
            "request_sha256": opening.sha256,
            "state": str(state),
            "kind": opening.kind,
            "number": opening.number,
            "csr": csr,
            "authority": authority,
            "serial": serial,
            "expires_at": until,
        },
    )


def _find(connection: Connection, transaction: Transaction) -> Kept | None:
    row = connection.execute(select(table).where(table.c.name == transaction.name)).one_or_none()
    if row is None:
        return None
    return Kept(
        row.state, row.request_sha256, row.kind, row.number, row.csr, row.authority, row.serial
    )


def _is_made(connection: Connection, transaction: Transaction) -> bool:
    """Whether a transaction has a certificate, or one that is being signed; not one whose signature never came."""
    kept = _find(connection, transaction)
    if kept is None or kept.serial is None:
        return False
    return pick(connection, kept.serial, kept.authority).status != "abandoned"


@dataclass(frozen=True)
class Word:
    """What a client says of its certificate: its hash, by which function (None: that of the certificate's signature),
    and whether it takes it. Without a hash it takes none.
    """

    accepted: bool
    hash: bytes | None = None
    digest: str | None = None


def confirm(
    desk: Desk, actor: Actor, transaction: Transaction, word: Word, *, now: datetime
) -> None:
    """Take a client's word on the certificate of a transaction; what it rejects is revoked at once (RFC 9810 §5.3.18),
    unless it was only given once more, and is not waiting for a confirmation: that of a device which works with it by
    now must not end by a copy of its request, and a token that is used up.

    Raises RoleMayNot, NoTransaction, HashWrong, ConfirmedAlready, CertificateOver.
    """
    renews = actor.role is Role.GATEWAY
    require(actor, Action.CERTIFICATE_RENEW if renews else Action.CERTIFICATE_ISSUE)

    def work(unit: Unit) -> None:
        kept = _find(unit.connection, transaction)
        if kept is None or kept.authority is None or kept.serial is None:
            raise NoTransaction("There is nothing to be confirmed in this transaction.")
        if kept.state in {State.REJECTED, State.EXPIRED}:
            raise CertificateOver("The certificate was not confirmed in time, and is revoked.")
        if kept.state == State.CONFIRMED:
            raise ConfirmedAlready("The certificate is confirmed already.")
        found = pick(unit.connection, kept.serial, kept.authority)
        if found.status in {"pending", "abandoned"}:
            raise NoTransaction("There is no certificate in this transaction yet.")
        if word.hash is not None and (found.der is None or not _is_hash(found.der, word)):
            raise HashWrong("This is not the hash of the certificate.")
        if word.accepted and found.status == "revoked":
            raise CertificateOver("The certificate was revoked meanwhile.")
        taken = State.CONFIRMED if word.accepted else State.REJECTED
        if not _step(unit, transaction.name, kept.state, taken):
            raise ConfirmedAlready("The certificate is confirmed already.")
        if not word.accepted and (kept.state != State.GIVEN or _is_awaited(unit, kept)):
            which = [(kept.authority, kept.serial)]
            revoke_with(unit, actor, which, Reason.cessationOfOperation, now)

    desk.store.together(work)


def _is_awaited(unit: Unit, kept: Kept) -> bool:
    """Whether the confirmation of a certificate is awaited in the transaction that made it, and came in no other."""
    of = (table.c.authority == kept.authority) & (table.c.serial == kept.serial)
    states = set(unit.connection.scalars(select(table.c.state).where(of)))
    return State.UNCONFIRMED in states and State.CONFIRMED not in states


def _is_hash(der: bytes, word: Word) -> bool:
    kind: hashes.HashAlgorithm
    if word.digest is not None:
        kind = _HASHES[word.digest]
    else:
        # Ed25519 has SHA-512 inside (RFC 9481 §3.3).
        certificate = x509.load_der_x509_certificate(der)
        kind = certificate.signature_hash_algorithm or hashes.SHA512()
    made = hashes.Hash(kind)
    made.update(der)
    return hmac.compare_digest(made.finalize(), word.hash or b"")


def _step(unit: Unit, name: str, was: str, becomes: State) -> bool:
    this = update(table).where(table.c.name == name, table.c.state == was)
    return unit.connection.execute(this.values(state=str(becomes))).rowcount == 1


def end_unconfirmed(desk: Desk, actor: Actor, *, now: datetime) -> int:
    """Revoke certificates that were not confirmed in time; tell how many transactions that were. Raises RoleMayNot."""
    require(actor, Action.JOB_RUN)
    late = select(table.c.name, table.c.authority, table.c.serial).where(
        table.c.state == State.UNCONFIRMED, table.c.expires_at < now
    )
    with desk.store.read() as connection:
        rows = connection.execute(late.limit(_AT_ONCE)).all()
    for row in rows:

        def work(unit: Unit, row: Any = row) -> None:
            if not _step(unit, row.name, State.UNCONFIRMED, State.EXPIRED):
                return
            # Given once more in another transaction, and confirmed there.
            other = exists().where(
                table.c.authority == row.authority,
                table.c.serial == row.serial,
                table.c.state == State.CONFIRMED,
            )
            if not unit.connection.scalar(select(other)):
                which = [(row.authority, row.serial)]
                revoke_with(unit, actor, which, Reason.cessationOfOperation, now)

        desk.store.together(work)
    return len(rows)


def forget(connection: Connection, now: datetime) -> int:
    """Forget transactions that ended long ago; tell how many."""
    over = delete(table).where(table.c.expires_at < now - _KEPT, table.c.state != State.UNCONFIRMED)
    return connection.execute(over).rowcount
