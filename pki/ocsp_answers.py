"""OCSP answers on record: what is true of a certificate, and answers signed before anybody asks."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import and_, delete, or_, select

from core import spans
from pki import authorities, ocsp_signers
from pki.actors import Action, Actor, require
from pki.desk import Desk
from pki.x509 import ocsp, serials
from pki.x509.crl import Reason
from pki.x509.ocsp import CertId, Good, ResponderKey, Revoked, Status, Unknown
from store.engine import Unit
from store.tables import certificates, ocsp_answers, revocations

# CertIDs of nearly all clients (charon, pluto, openssl) use SHA-1; others are signed when asked for.
_PRESIGNED_HASH = "sha1"
_CHUNK = 200


@dataclass(frozen=True, slots=True)
class Known:
    """What the records say of a serial number; `version` changes with every change of status."""

    status: Status
    cacheable: bool
    version: tuple[str, datetime | None, int | None] | None


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer on record."""

    der: bytes
    this_update: datetime
    next_update: datetime


_STATUS = select(
    certificates.c.serial,
    certificates.c.status,
    certificates.c.created_at,
    revocations.c.revoked_at,
    revocations.c.changed_at,
    revocations.c.reason,
).outerjoin_from(certificates, revocations, revocations.c.certificate_id == certificates.c.id)


def status_of(desk: Desk, authority_id: int, serial: str) -> Known:
    """Say what is true of a serial number now."""
    query = _STATUS.where(
        certificates.c.authority_id == authority_id, certificates.c.serial == serial
    )
    with desk.store.read() as connection:
        row = connection.execute(query).one_or_none()
    return _known(row)


def _known(row: Any) -> Known:
    if row is None:
        return Known(Unknown(), cacheable=True, version=None)
    version = _version(row)
    match row.status:
        case "valid":
            return Known(Good(), cacheable=True, version=version)
        case "revoked" | "held":
            revoked = Revoked(row.revoked_at, Reason(row.reason))
            return Known(revoked, cacheable=True, version=version)
        case "abandoned":
            # As in the CRL: a signature that never came back to us is not to be trusted.
            revoked = Revoked(row.created_at, Reason.unspecified)
            return Known(revoked, cacheable=True, version=version)
    # Pending: not issued yet, and perhaps in a millisecond.
    return Known(Unknown(), cacheable=False, version=version)


def _version(row: Any) -> tuple[str, datetime | None, int | None]:
    return row.status, row.changed_at, row.reason


def kept(desk: Desk, authority_id: int, serial: str, algorithm: str, now: datetime) -> Kept | None:
    """An answer on record that still holds. The caller looks whether it is due for renewal."""
    query = select(
        ocsp_answers.c.der, ocsp_answers.c.this_update, ocsp_answers.c.next_update
    ).where(
        ocsp_answers.c.authority_id == authority_id,
        ocsp_answers.c.serial == serial,
        ocsp_answers.c.hash == algorithm,
    )
    with desk.store.read() as connection:
        row = connection.execute(query).one_or_none()
    if row is None or now >= row.next_update:
        return None
    return Kept(row.der, row.this_update, row.next_update)


def renewal(desk: Desk, this_update: datetime, next_update: datetime) -> datetime:
    """From when on an answer is made anew, well before it ends."""
    return this_update + (next_update - this_update) * desk.rules.refresh_before


def keep(
    desk: Desk,
    authority_id: int,
    signer: ResponderKey,
    asked: tuple[str, str],
    answer: Kept,
    known: Known,
) -> None:
    """Put an answer on record, unless the status changed since it was read or is just changing, or its signer's did.

    `asked` is the serial number and the hash of the CertID.

    Unknown serials leave no trace.

    Raises the errors of the store.
    """
    if known.version is None:
        return

    def work(unit: Unit) -> None:
        if ocsp_signers.counts(unit, authority_id, signer):
            _keep(unit, authority_id, *asked, answer, known)

    desk.store.together(work)


def _keep(
    unit: Unit, authority_id: int, serial: str, algorithm: str, answer: Kept, known: Known
) -> None:
    this = and_(certificates.c.authority_id == authority_id, certificates.c.serial == serial)
    # Whoever has the row locked is changing the status or keeping an answer. Waiting for him, with other rows locked,
    # could be a deadlock; and an answer that is not kept costs one signature more.
    free = select(certificates.c.id).where(this).with_for_update(key_share=True, skip_locked=True)
    if unit.connection.execute(free).first() is None:
        return
    # A revocation in this very transaction has changed the status and not written its other row yet.
    if _version(unit.connection.execute(_STATUS.where(this)).one()) != known.version:
        return
    unit.connection.execute(
        delete(ocsp_answers).where(
            ocsp_answers.c.authority_id == authority_id,
            ocsp_answers.c.serial == serial,
            ocsp_answers.c.hash == algorithm,
        )
    )
    unit.connection.execute(
        ocsp_answers.insert().values(
            authority_id=authority_id,
            serial=serial,
            hash=algorithm,
            der=answer.der,
            this_update=answer.this_update,
            next_update=answer.next_update,
        )
    )


def presign(desk: Desk, actor: Actor, *, limit: int, now: datetime) -> int:
    """Sign answers for valid and revoked certificates that have none or an ageing one, at most `limit` in one call.

    Tells how many were signed. Raises RoleMayNot, SignerUnavailable.
    """
    require(actor, Action.JOB_RUN)
    signed = 0
    for name in authorities.own_names(desk):
        owner = authorities.load(desk, name)
        try:
            signer = ocsp_signers.current(desk, owner, now=now)
        except ocsp_signers.NoOcspSigner:
            continue  # being made right now; without it, none of its answers can be asked for either
        hashes = ocsp.issuer_hashes(owner.certificate, _PRESIGNED_HASH)
        while signed < limit:
            todo = _lacking(desk, owner.id, signer, min(_CHUNK, limit - signed), now)
            if not todo:
                break
            with spans.span("sign answers", ikewarden__number=len(todo)):
                _presign(desk, owner.id, signer, hashes, todo, now)
            signed += len(todo)
    return signed


def _lacking(
    desk: Desk, authority_id: int, signer: ResponderKey, limit: int, now: datetime
) -> list[Any]:
    # An answer that ends with its signer cannot be made to last any longer.
    due = min(
        now + desk.rules.ocsp_lifetime * (1 - desk.rules.refresh_before),
        signer.certificate.not_valid_after_utc,
    )
    query = (
        _STATUS.outerjoin(
            ocsp_answers,
            and_(
                ocsp_answers.c.authority_id == certificates.c.authority_id,
                ocsp_answers.c.serial == certificates.c.serial,
                ocsp_answers.c.hash == _PRESIGNED_HASH,
            ),
        )
        .where(
            certificates.c.authority_id == authority_id,
            certificates.c.status.in_(("valid", "revoked", "held")),
            certificates.c.not_after > now,
            or_(ocsp_answers.c.next_update.is_(None), ocsp_answers.c.next_update < due),
        )
        .limit(limit)
    )
    with desk.store.read() as connection:
        return list(connection.execute(query))


def _presign(
    desk: Desk,
    authority_id: int,
    signer: ResponderKey,
    hashes: tuple[bytes, bytes],
    rows: list[Any],
    now: datetime,
) -> None:
    this_update = now.replace(microsecond=0)
    next_update = min(
        this_update + desk.rules.ocsp_lifetime, signer.certificate.not_valid_after_utc
    )
    signed: list[tuple[str, Kept, Known]] = []
    for row in rows:
        known = _known(row)
        certificate = CertId(_PRESIGNED_HASH, hashes[0], hashes[1], serials.from_hex(row.serial))
        der = ocsp.sign_answer(
            signer, certificate, known.status, this_update=this_update, next_update=next_update
        )
        signed.append((row.serial, Kept(der, this_update, next_update), known))

    def work(unit: Unit) -> None:
        if not ocsp_signers.counts(unit, authority_id, signer):
            return
        for serial, answer, known in signed:
            _keep(unit, authority_id, serial, _PRESIGNED_HASH, answer, known)

    desk.store.together(work)


def remove_ended(desk: Desk, actor: Actor, *, now: datetime) -> int:
    """Forget answers that are past their nextUpdate. Raises RoleMayNot."""
    require(actor, Action.JOB_RUN)
    with desk.store.write() as connection:
        gone = connection.execute(delete(ocsp_answers).where(ocsp_answers.c.next_update < now))
        return gone.rowcount
