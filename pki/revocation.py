"""Revocation: marked, audited and queued in one transaction; everything that must learn of it follows from that."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import bindparam, delete, select, update

from core.errors import Conflict, InvalidInput
from pki import tallies
from pki.actors import Action, Actor, OutsideScope, Role, covers, require
from pki.approvals import asked_for, require_approval
from pki.authorities import OUTSIDE
from pki.authorities import PROFILE as AUTHORITY_PROFILE
from pki.certificates import CertificateView, pick
from pki.desk import Desk
from pki.guarded import Act, Guarded
from pki.ocsp_signers import PROFILE as RESPONDER_PROFILE
from pki.rollover import records
from pki.trail import leave
from pki.x509 import serials
from pki.x509.crl import Reason, entry
from store import outbox
from store.engine import Unit
from store.tables import authorities as owners
from store.tables import certificates, ocsp_answers, revocations, status_changes

PUBLISH = "crl.publish"
# An authority needs another OCSP signer.
SIGNER = "ocsp.signer"
# What the service's own certificates are issued by.
SERVICE_PROFILE: Final = "service-tls"
# removeFromCRL is what a release says in a delta CRL, certificateHold is `hold`, and aACompromise is about
# attribute authorities, which are not certified here (RFC 5280 §5.3.1).
_ASKABLE = {
    reason.name: reason
    for reason in Reason
    if reason not in {Reason.removeFromCRL, Reason.certificateHold, Reason.aACompromise}
}
REASONS = tuple(_ASKABLE)
_STATUS = (
    update(certificates)
    .where(certificates.c.id == bindparam("of"), certificates.c.status == bindparam("was"))
    .values(status=bindparam("now"))
)
_FORGET = delete(ocsp_answers).where(
    ocsp_answers.c.authority_id == bindparam("of"), ocsp_answers.c.serial == bindparam("number")
)
_FORGET_ALL = delete(ocsp_answers).where(ocsp_answers.c.authority_id == bindparam("of"))


class BadReason(InvalidInput):
    """Not a reason that can be given."""

    code = "revocation_reason_unknown"
    next_step = f"Give one of {', '.join(REASONS)}; use hold for a temporary stop."


class BadInvalidityDate(InvalidInput):
    """The key cannot have been lost in the future."""

    code = "invalidity_date_refused"
    next_step = "Give the moment the key is believed to have been lost, not later than now."


class AlreadyRevoked(Conflict):
    """Revocation is for ever; only its reason may become worse."""

    code = "already_revoked"
    next_step = "Nothing more is needed; a second revocation may only say keyCompromise."


class StatusChanged(Conflict):
    """The certificate was revoked, held or released by somebody else at the same moment."""

    code = "status_changed"
    next_step = "Look at the certificate, and try again if it is still needed."


class AlreadyOnHold(Conflict):
    """The certificate is on hold."""

    code = "already_on_hold"
    next_step = "Release it, or revoke it for good."


class NotOnHold(Conflict):
    """Only a certificate on hold can be released."""

    code = "not_on_hold"
    next_step = (
        "Nothing is needed: a valid certificate works, and a revoked one is never valid again."
    )


class NotRevocable(Conflict):
    """The certificate was never issued, or its validity is over."""

    code = "not_revocable"


@dataclass(frozen=True)
class Terms:
    """What a revocation is subject to beside the rules here.

    `check` is asked in the transaction about those that are not revoked yet, before anything is changed, and raises to
    refuse; `stated` is what the asker agreed to, for whoever approves the revocation.
    """

    check: Callable[[Unit, Sequence[CertificateView]], None] | None = None
    stated: Mapping[str, object] = field(default_factory=dict)


_NO_TERMS: Final = Terms()


@dataclass(frozen=True)
class _Ending:
    """What is done to certificates: revoke, hold or release."""

    verb: str
    reason: Reason
    lost: datetime | None = None
    terms: Terms = _NO_TERMS


def revoke(
    desk: Desk,
    actor: Actor,
    serial: str,
    reason: str,
    *,
    now: datetime,
    invalidity_date: datetime | None = None,
    authority: str | None = None,
    terms: Terms = _NO_TERMS,
) -> CertificateView:
    """Revoke a certificate and queue the CRLs that will say so.

    OCSP says it from this moment. A second revocation may only move the reason to keyCompromise (RFC 5280 §5.3.1 and
    Boulder's practice); a certificate on hold may be revoked. Raises RoleMayNot, OutsideScope, BadReason,
    BadInvalidityDate, CertificateNotFound, AlreadyRevoked, NotRevocable, what `terms.check` raises, and for an
    authority or too many within an hour the errors of `pki.approvals`.
    """
    require(actor, Action.CERTIFICATE_REVOKE)
    ending = _Ending("revoke", _reason(reason), invalidity_date, terms)
    if invalidity_date is not None and invalidity_date > now:
        raise BadInvalidityDate("The invalidity date is in the future.")

    def work(unit: Unit) -> CertificateView:
        _take_turn(unit, desk, actor)
        found = _locked(unit, actor, serial, authority, now)
        return _revoke(unit, desk, actor, [found], ending, now)[0]

    with asked_for(desk, actor, now=now):
        return desk.store.together(work)


def revoke_all(
    desk: Desk,
    actor: Actor,
    which: Sequence[tuple[str | None, str]],
    reason: str,
    *,
    now: datetime,
    terms: Terms = _NO_TERMS,
) -> list[CertificateView]:
    """Revoke certificates, given as (authority or None, serial number): all of them or none.

    Those that are revoked already are left out. Raises what `revoke` raises.
    """
    require(actor, Action.CERTIFICATE_REVOKE)
    ending = _Ending("revoke", _reason(reason), None, terms)
    # In one order: two who revoke the same then do not wait for each other crosswise.
    wanted = sorted({(serials.normal(serial), authority or "") for authority, serial in which})

    def work(unit: Unit) -> list[CertificateView]:
        _take_turn(unit, desk, actor)
        found = [_locked(unit, actor, serial, of or None, now) for serial, of in wanted]
        alive = [each for each in found if each.status != "revoked"]
        return _revoke(unit, desk, actor, alive, ending, now)

    with asked_for(desk, actor, now=now):
        return desk.store.together(work)


def revoke_with(
    unit: Unit,
    actor: Actor,
    which: Iterable[tuple[str, str]],
    reason: Reason,
    now: datetime,
) -> None:
    """Revoke certificates, given as (authority, serial number), in the transaction of a larger act that asked whether
    it may. Those that are over or revoked already are left out. Raises StatusChanged.
    """
    for authority, serial in sorted(which):
        found = pick(unit.connection, serial, authority, lock=True)
        if found.status in {"valid", "held"} and found.not_after > now:
            _end(unit, actor, found, _Ending("revoke", reason), {}, now)


def hold(
    desk: Desk,
    actor: Actor,
    serial: str,
    *,
    now: datetime,
    authority: str | None = None,
    terms: Terms = _NO_TERMS,
) -> CertificateView:
    """Stop a certificate for a while (certificateHold). Raises as `revoke` does."""
    require(actor, Action.CERTIFICATE_REVOKE)
    ending = _Ending("hold", Reason.certificateHold, None, terms)

    def work(unit: Unit) -> CertificateView:
        _take_turn(unit, desk, actor)
        found = _locked(unit, actor, serial, authority, now)
        if found.status == "held":
            raise AlreadyOnHold("The certificate is on hold already.")
        if found.status != "valid":
            raise AlreadyRevoked(f"The certificate is {found.status}.")
        if terms.check is not None:
            terms.check(unit, [found])
        said = _approved(unit, desk, actor, [found], ending, now)
        _write(unit, found, "held", ending.reason, now, None, now)
        _unschedule(unit, actor, found, now)
        leave(unit, actor, "certificate.hold", _about(found), now=now, **said)
        return replace(found, status="held", reason=ending.reason.name, revoked_at=now)

    with asked_for(desk, actor, now=now):
        return desk.store.together(work)


def release(
    desk: Desk, actor: Actor, serial: str, *, now: datetime, authority: str | None = None
) -> CertificateView:
    """Let a certificate on hold be valid again. Raises as `revoke` does, and NotOnHold."""
    require(actor, Action.CERTIFICATE_REVOKE)
    ending = _Ending("release", Reason.removeFromCRL)

    def work(unit: Unit) -> CertificateView:
        found = _locked(unit, actor, serial, authority, now)
        if found.status != "held":
            raise NotOnHold(f"The certificate is {found.status}, not on hold.")
        said = _approved(unit, desk, actor, [found], ending, now)
        since = found.revoked_at or now
        _write(unit, found, "released", ending.reason, since, None, now)
        leave(unit, actor, "certificate.release", _about(found), now=now, **said)
        return replace(found, status="valid", reason=None, revoked_at=None)

    with asked_for(desk, actor, now=now):
        return desk.store.together(work)


def supersede(desk: Desk, actor: Actor, serial: str, *, authority: str, now: datetime) -> bool:
    """End a certificate of the service's own that it has replaced; tell whether it was still to be ended.

    Raises RoleMayNot, OutsideScope (for any other certificate), CertificateNotFound.
    """
    require(actor, Action.SERVICE_CREDENTIAL)

    def work(unit: Unit) -> bool:
        found = pick(unit.connection, serial, authority, lock=True)
        if found.profile != SERVICE_PROFILE:
            raise OutsideScope("The service supersedes no certificates but its own.")
        if found.status not in {"valid", "held"} or found.not_after <= now:
            return False
        _end(unit, actor, found, _Ending("revoke", Reason.superseded), {}, now)
        return True

    return desk.store.together(work)


def _reason(name: str) -> Reason:
    why = _ASKABLE.get(name)
    if why is None:
        raise BadReason(f"{name[:40]!r} is not a revocation reason.")
    return why


def _revoke(
    unit: Unit,
    desk: Desk,
    actor: Actor,
    found: Sequence[CertificateView],
    ending: _Ending,
    now: datetime,
) -> list[CertificateView]:
    for each in found:
        _check(each, ending.reason)
    fresh = [each for each in found if each.status != "revoked"]
    if fresh and ending.terms.check is not None:
        ending.terms.check(unit, fresh)
    said = _approved(unit, desk, actor, found, ending, now)
    return [_end(unit, actor, each, ending, said, now) for each in found]


def _check(found: CertificateView, why: Reason) -> None:
    if why is Reason.cACompromise and found.profile != AUTHORITY_PROFILE:
        raise BadReason(
            "cACompromise is for certificates of authorities.",
            next_step="If the key of this certificate is lost, give keyCompromise.",
        )
    if found.status == "revoked" and (why is not Reason.keyCompromise or found.reason == why.name):
        # Without a reason yet, when the other revocation is in this very transaction.
        known = f": {found.reason}" if found.reason else ""
        raise AlreadyRevoked(f"The certificate is revoked already{known}.")


def _end(
    unit: Unit,
    actor: Actor,
    found: CertificateView,
    ending: _Ending,
    said: Mapping[str, Any],
    now: datetime,
) -> CertificateView:
    # RFC 5280 §5.3.1: a worse reason does not make the revocation any later.
    since = found.revoked_at if found.status == "revoked" and found.revoked_at else now
    why, lost = ending.reason, ending.lost or found.invalidity_date
    _write(unit, found, "revoked", why, since, lost, now)
    _unschedule(unit, actor, found, now)
    shown: dict[str, Any] = {"reason": why.name, "was": found.status, **said}
    if found.status == "revoked" and found.reason is not None:
        shown["was_reason"] = found.reason
    if lost is not None:
        shown["invalidity_date"] = f"{lost:%Y-%m-%dT%H:%M:%SZ}"
    leave(unit, actor, "certificate.revoke", _about(found), now=now, **shown)
    return replace(found, status="revoked", reason=why.name, revoked_at=since, invalidity_date=lost)


def _take_turn(unit: Unit, desk: Desk, actor: Actor) -> None:
    if Guarded.MASS_REVOKE in desk.rules.approvals.required:
        tallies.hold(unit, actor.name)


def _approved(
    unit: Unit,
    desk: Desk,
    actor: Actor,
    found: Sequence[CertificateView],
    ending: _Ending,
    now: datetime,
) -> Mapping[str, Any]:
    """Make sure that another person approves of what one may not do alone; tell what the audit rows shall say.

    A hold stops a tunnel as a revocation does, and whoever ends an authority ends all that it issued.
    """
    rules = desk.rules.approvals
    counted = Guarded.MASS_REVOKE in rules.required and ending.verb != "release"
    ends = [each.id for each in found if each.status != "revoked"]
    names: tuple[Guarded, ...] = ()
    if any(each.profile == AUTHORITY_PROFILE for each in found):
        names = (Guarded.AUTHORITY_REVOKE, Guarded.MASS_REVOKE)
    elif counted and tallies.count(unit, actor.name, now) + len(ends) > rules.mass_revocation:
        names = (Guarded.MASS_REVOKE,)
    said = require_approval(unit, desk, actor, Act(names, _parameters(found, ending)), now=now)
    if counted and not said:
        tallies.add(unit, actor.name, ends, now)
    return said


def _parameters(found: Sequence[CertificateView], ending: _Ending) -> dict[str, object]:
    return {
        **ending.terms.stated,
        "do": ending.verb,
        "certificates": {f"{each.authority}:{each.serial}": each.subject for each in found},
        "reason": ending.reason.name,
        "invalidity_date": ending.lost,
    }


def _about(found: CertificateView) -> str:
    return f"certificate:{found.authority}:{found.serial}"


def _locked(
    unit: Unit, actor: Actor, serial: str, authority: str | None, now: datetime
) -> CertificateView:
    found = pick(unit.connection, serial, authority, lock=True)
    if not covers(actor.scope, found.authority, found.profile, found.gateway, found.names):
        raise OutsideScope("This credential may not touch this certificate.")
    if found.profile == AUTHORITY_PROFILE and actor.role is not Role.ADMIN:
        raise OutsideScope("Only an admin revokes the certificate of an authority.")
    if found.profile == AUTHORITY_PROFILE and _is_outside(unit, found.authority_id):
        raise NotRevocable(
            f"{found.authority!r} is a root outside: it says itself what it revokes.",
            next_step="Bring its newest list: `ikewarden ca crl NAME --in FILE`.",
        )
    if found.status in {"pending", "abandoned"}:
        raise NotRevocable(
            f"The certificate was never issued: it is {found.status}.",
            next_step="None is needed: within minutes the lists name it as revoked, in case a signature exists.",
        )
    if found.not_after <= now:
        raise NotRevocable("The certificate has expired; no verifier accepts it any more.")
    return found


def _is_outside(unit: Unit, authority_id: int) -> bool:
    this = select(owners.c.status).where(owners.c.id == authority_id)
    return bool(unit.connection.execute(this).scalar_one() == OUTSIDE)


def _write(
    unit: Unit,
    found: CertificateView,
    state: str,
    reason: Reason,
    revoked_at: datetime,
    invalidity: datetime | None,
    now: datetime,
) -> None:
    connection = unit.connection
    status = "valid" if state == "released" else state
    # At once and not with the others of the batch: an OCSP answer that is kept in the same one must see it.
    changed = connection.execute(_STATUS, {"of": found.id, "was": found.status, "now": status})
    if changed.rowcount != 1:
        raise StatusChanged("Somebody else changed the certificate at this moment.")
    row: dict[str, Any] = {
        "certificate_id": found.id,
        "authority_id": found.authority_id,
        "serial": found.serial,
        "shard": found.shard,
        "state": state,
        "reason": reason.value,
        "revoked_at": revoked_at,
        "changed_at": now,
        "invalidity_at": invalidity,
        "not_after": found.not_after,
        "entry": entry(serials.from_hex(found.serial), revoked_at, reason, invalidity),
        "spki_sha256": found.spki_sha256 if reason is Reason.keyCompromise else None,
    }
    if found.was_ended:
        connection.execute(delete(revocations).where(revocations.c.certificate_id == found.id))
    unit.insert(revocations, row)
    unit.insert(
        status_changes, {"authority_id": found.authority_id, "serial": found.serial, "at": now}
    )
    # The answer signed in advance says what is no longer true; the next question makes a new one.
    connection.execute(_FORGET, {"of": found.authority_id, "number": found.serial})
    ask_for_list(unit, found.authority, found.shard, now, certificate=found.id)
    if found.profile == RESPONDER_PROFILE and state != "released":
        _replace_signer(unit, found, now)


def _unschedule(unit: Unit, actor: Actor, found: CertificateView, now: datetime) -> None:
    if found.profile == AUTHORITY_PROFILE:
        records.unschedule(unit, actor, found.authority_id, found.serial, now)


def _replace_signer(unit: Unit, found: CertificateView, now: datetime) -> None:
    """Forget what it signed: an answer does not say by itself when it was made, so none of them counts any more."""
    unit.connection.execute(_FORGET_ALL, {"of": found.authority_id})
    payload = {"authority": found.authority}
    outbox.put(unit, topic=SIGNER, key=found.authority, payload=payload, now=now)


def ask_for_list(
    unit: Unit, authority: str, shard: int, now: datetime, *, certificate: int | None = None
) -> None:
    """Queue the lists that must tell of a change of status: that of `certificate`, for those who act on it."""
    outbox.put(
        unit,
        topic=PUBLISH,
        key=f"{authority}:{shard}",
        payload={"authority": authority, "shard": shard, "certificate": certificate},
        now=now,
    )
