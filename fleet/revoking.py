"""Revocation with its consequences: what ends with it is known, and agreed to, before it happens."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection

from core.errors import Conflict
from fleet.below import Below, what_is_below
from fleet.concern import Affected, Subject, affected, has_fleet, proven
from fleet.scopes import neighbours
from pki import compromise, revocation
from pki.actors import Action, Actor, OutsideScope, covers, require
from pki.authorities import PROFILE as AUTHORITY_PROFILE
from pki.certificates import CertificateView, pick
from pki.desk import Desk
from pki.revocation import Terms
from store.engine import Unit

_SHOWN = 100


class CutNeedsApproval(Conflict):
    """More would end than the limit allows without a second look: tunnels, or what stands below a CA."""

    code = "cut_needs_approval"
    next_step = (
        "Look at what ends with a dry run; then confirm its number: `--yes-i-cut N`,"
        " or `cut_confirmed` over REST."
    )


@dataclass(frozen=True)
class Revocation:
    """A certificate that was revoked, or with a dry run would be, and the tunnels that end with it. A credential of one
    gateway is told how many there are, and more only of those that end at its gateway or at a neighbour of it.

    For a CA's certificate `below` tells what stands below it, and `cut` the tunnels of that.
    `same_key`: where the reason is keyCompromise, the other certificates in force with the compromised key.
    """

    certificate: CertificateView
    cut: tuple[Affected, ...]
    limit: int
    below: Below | None = None
    same_key: tuple[CertificateView, ...] = ()

    @property
    def number(self) -> int:
        """What counts against the limit, and is to be confirmed where it is more."""
        return max(len(self.cut), 0 if self.below is None else self.below.certificates)


@dataclass(frozen=True)
class _Ends:
    """What ends: the tunnels, each once, and what stands below each CA among the certificates."""

    tunnels: tuple[Affected, ...]
    below: tuple[Below, ...]

    @property
    def number(self) -> int:
        """What counts against the limit: a CA without a tunnel on record may still be everybody's."""
        return max(len(self.tunnels), sum(each.certificates for each in self.below))


_NOTHING: Final = _Ends((), ())


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
    """Revoke a certificate, unless that ends more tunnels than the limit and `confirmed` is less than their number. For
    that of a CA the certificates below it count as well.

    They are counted in the transaction of the revocation. Raises what `pki.revocation.revoke` raises, and
    CutNeedsApproval.
    """
    require(actor, Action.CERTIFICATE_REVOKE)
    counted: list[_Ends] = []
    ended = revocation.revoke(
        desk,
        actor,
        serial,
        reason,
        now=now,
        invalidity_date=invalidity_date,
        authority=authority,
        terms=_terms(desk, actor, confirmed, counted.append, now),
    )
    others = compromise.others(desk, actor, [ended], reason, now=now)
    return _told(desk, ended, counted[-1] if counted else _NOTHING, others)


def hold(
    desk: Desk,
    actor: Actor,
    serial: str,
    *,
    now: datetime,
    authority: str | None = None,
    confirmed: int | None = None,
) -> CertificateView:
    """Stop a certificate for a while. That of a CA stops all below it: it is counted, and agreed to, as by `revoke`.

    Raises what `pki.revocation.hold` raises, and CutNeedsApproval.
    """
    require(actor, Action.CERTIFICATE_REVOKE)
    terms = _terms(desk, actor, confirmed, lambda ends: None, now, authorities_only=True)
    return revocation.hold(desk, actor, serial, now=now, authority=authority, terms=terms)


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
    terms = _terms(desk, actor, confirmed, lambda ends: None, now)
    return revocation.revoke_all(desk, actor, which, reason, now=now, terms=terms)


def _terms(
    desk: Desk,
    actor: Actor,
    confirmed: int | None,
    note: Callable[[_Ends], None],
    now: datetime,
    *,
    authorities_only: bool = False,
) -> Terms:
    """What ends is counted in the transaction; `note` hears it."""
    limit = desk.rules.cut_limit
    with desk.store.read() as connection:
        fleet = has_fleet(connection)

    def agree(unit: Unit, found: Sequence[CertificateView]) -> None:
        counted = [
            each
            for each in found
            if each.profile == AUTHORITY_PROFILE or (fleet and not authorities_only)
        ]
        ends = _ends(unit.connection, actor, counted, now)
        note(ends)
        # Not exactly so many: whoever reports SAs could change their number faster than anybody confirms it.
        if ends.number > max(limit, confirmed or 0):
            raise _too_many(ends, limit, confirmed)

    return Terms(agree, {"cut_confirmed": confirmed})


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
        ends = _ends(connection, actor, [found], now)
    others = compromise.others(desk, actor, [found], reason, now=now)
    return _told(desk, found, ends, others)


def _told(
    desk: Desk, found: CertificateView, ends: _Ends, same_key: tuple[CertificateView, ...]
) -> Revocation:
    below = ends.below[0] if ends.below else None
    return Revocation(found, ends.tunnels, desk.rules.cut_limit, below, same_key)


def _ends(
    connection: Connection, actor: Actor, found: Sequence[CertificateView], now: datetime
) -> _Ends:
    below: list[Below] = []
    tunnels: dict[object, Affected] = {}
    for each in found:
        branch = what_is_below(connection, each, now)
        if branch is not None:
            below.append(branch)
        ending = affected(connection, subject_of(each)) if branch is None else branch.tunnels
        for tunnel in ending:
            tunnels.setdefault(tunnel.tunnel or (tunnel.gateway, tunnel.connection), tunnel)
    known = neighbours(connection, actor) if tunnels else None
    shown = tuple(
        each if known is None or each.gateway in known else Affected(None, None, None, None)
        for each in tunnels.values()
    )
    return _Ends(shown, tuple(below))


def subject_of(found: CertificateView) -> Subject:
    """The certificate as peers can recognise it."""
    names = proven(found.names, found.subject)
    return Subject(found.id, found.serial, found.fingerprint, found.gateway, names)


def _too_many(ends: _Ends, limit: int, confirmed: int | None) -> CutNeedsApproval:
    said = "" if confirmed is None else f", and {confirmed} were confirmed"
    shown: list[dict[str, Any]] = [asdict(each) | {"sas": len(each.sas)} for each in ends.tunnels]
    details: dict[str, Any] = {
        "tunnels": len(ends.tunnels),
        "limit": limit,
        "cut": shown[:_SHOWN],
        "to_confirm": ends.number,
    }
    if not ends.below:
        return CutNeedsApproval(
            f"This revocation would end {len(ends.tunnels)} tunnels; up to {limit} end unasked{said}.",
            details=details,
        )
    names = [name for each in ends.below for name in each.authorities]
    counts = {
        "certificates": sum(each.certificates for each in ends.below),
        "gateways": sum(each.gateways for each in ends.below),
    }
    return CutNeedsApproval(
        f"This is the certificate of a CA: with {', '.join(map(repr, names[:10]))} would end"
        f" {counts['certificates']} certificates of {counts['gateways']} gateways, and"
        f" {len(ends.tunnels)} tunnels; up to {limit} end unasked{said}.",
        next_step="If that is meant, for good or for a while, confirm the greater of these numbers:"
        f" `--yes-i-cut {ends.number}`, or `cut_confirmed` over REST.",
        details=details | counts | {"authorities": names},
    )
