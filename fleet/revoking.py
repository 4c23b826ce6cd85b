"""Revocation with its consequences: which tunnels end is known, and agreed to, before it happens."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from core.errors import Conflict
from fleet.concern import Affected, Subject, affected, has_fleet, proven
from fleet.scopes import neighbours
from pki import compromise, revocation
from pki.actors import Action, Actor, OutsideScope, covers, require
from pki.certificates import CertificateView, pick
from pki.desk import Desk
from pki.revocation import Terms
from store.engine import Unit

_SHOWN = 100


class CutNeedsApproval(Conflict):
    """The revocation would end more tunnels than the limit allows without a second look."""

    code = "cut_needs_approval"
    next_step = (
        "Look at the tunnels with a dry run; then confirm their number: `--yes-i-cut N`,"
        " or `cut_confirmed` over REST."
    )


@dataclass(frozen=True)
class Revocation:
    """A certificate that was revoked, or with a dry run would be, and the tunnels that end with it. A credential of one
    gateway is told how many there are, and more only of those that end at its gateway or at a neighbour of it.

    `same_key`: where the reason is keyCompromise, the other certificates in force with the compromised key.
    """

    certificate: CertificateView
    cut: tuple[Affected, ...]
    limit: int
    same_key: tuple[CertificateView, ...] = ()


def revoke(
    desk: Desk,
    actor: Actor,
    serial: str,
    reason: str,
    *,
    now: datetime,
    invalidity_date: datetime | None = None,
    authority: str | None = None,
    confirmed: int | None = None,
) -> Revocation:
    """Revoke a certificate, unless that ends more tunnels than the limit and `confirmed` is less than their number.

    The tunnels are counted in the transaction of the revocation. Raises what `pki.revocation.revoke` raises, and
    CutNeedsApproval.
    """
    require(actor, Action.CERTIFICATE_REVOKE)
    counted: list[tuple[Affected, ...]] = []
    ended = revocation.revoke(
        desk,
        actor,
        serial,
        reason,
        now=now,
        invalidity_date=invalidity_date,
        authority=authority,
        terms=_terms(desk, actor, confirmed, counted.append),
    )
    cut = counted[-1] if counted else ()
    others = compromise.others(desk, actor, [ended], reason, now=now)
    return Revocation(ended, cut, desk.rules.cut_limit, others)


def revoke_all(
    desk: Desk,
    actor: Actor,
    which: Sequence[tuple[str | None, str]],
    reason: str,
    *,
    now: datetime,
    confirmed: int | None = None,
) -> list[CertificateView]:
    """Revoke certificates, given as (authority or None, serial number), all of them or none: not if they end more
    tunnels together than `revoke` lets one end.

    Raises what `pki.revocation.revoke_all` raises, and CutNeedsApproval.
    """
    require(actor, Action.CERTIFICATE_REVOKE)
    terms = _terms(desk, actor, confirmed, lambda tunnels: None)
    return revocation.revoke_all(desk, actor, which, reason, now=now, terms=terms)


def _terms(
    desk: Desk,
    actor: Actor,
    confirmed: int | None,
    note: Callable[[tuple[Affected, ...]], None],
) -> Terms:
    """Tunnels are counted in the transaction; `note` hears which they are."""
    limit = desk.rules.cut_limit
    with desk.store.read() as connection:
        fleet = has_fleet(connection)

    def agree(unit: Unit, found: Sequence[CertificateView]) -> None:
        ends = [_affected(unit.connection, actor, each) for each in found]
        tunnels = tuple(each for some in ends for each in some)
        note(tunnels)
        # Not exactly so many: whoever reports SAs could change their number faster than anybody confirms it.
        if len(tunnels) > max(limit, confirmed or 0):
            raise _too_many(tunnels, limit, confirmed)

    return Terms(agree if fleet else None, {"cut_confirmed": confirmed})


def preview(
    desk: Desk,
    actor: Actor,
    serial: str,
    reason: str = "unspecified",
    *,
    now: datetime,
    authority: str | None = None,
) -> Revocation:
    """What a revocation would end; changes nothing. Raises RoleMayNot, OutsideScope, BadSerial, CertificateNotFound,
    SerialAmbiguous.
    """
    require(actor, Action.CERTIFICATE_REVOKE)
    with desk.store.read() as connection:
        found = pick(connection, serial, authority)
        if not covers(actor.scope, found.authority, found.profile, found.gateway, found.names):
            raise OutsideScope("This credential may not touch this certificate.")
        cut = _affected(connection, actor, found)
    others = compromise.others(desk, actor, [found], reason, now=now)
    return Revocation(found, cut, desk.rules.cut_limit, others)


def _affected(connection: Connection, actor: Actor, found: CertificateView) -> tuple[Affected, ...]:
    known = neighbours(connection, actor)
    return tuple(
        each if known is None or each.gateway in known else Affected(None, None, None, None)
        for each in affected(connection, subject_of(found))
    )


def subject_of(found: CertificateView) -> Subject:
    """The certificate as peers can recognise it."""
    names = proven(found.names, found.subject)
    return Subject(found.id, found.serial, found.fingerprint, found.gateway, names)


def _too_many(tunnels: tuple[Affected, ...], limit: int, confirmed: int | None) -> CutNeedsApproval:
    said = "" if confirmed is None else f", and {confirmed} were confirmed"
    shown: list[dict[str, Any]] = [asdict(each) | {"sas": len(each.sas)} for each in tunnels]
    return CutNeedsApproval(
        f"This revocation would end {len(tunnels)} tunnels; up to {limit} end unasked{said}.",
        details={"tunnels": len(tunnels), "limit": limit, "cut": shown[:_SHOWN]},
    )
