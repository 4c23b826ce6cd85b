"""How many certificates there are, for those who watch."""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, case, exists, func, select

from core.figures import Figure, gauge
from pki.actors import Action, Actor, require
from pki.certificates import STATUSES, within
from pki.desk import Desk
from store.tables import authorities, certificates

# Until when they are valid, the nearest first; the last has no end.
_SPANS: Final = (
    ("under_1d", timedelta(days=1)),
    ("1d_to_7d", timedelta(days=7)),
    ("7d_to_30d", timedelta(days=30)),
    ("30d_to_90d", timedelta(days=90)),
)
_BEYOND: Final = "over_90d"
_OVER: Final = "over"
# Agents renew after two thirds of a certificate's life: of one that lives for weeks, nobody did.
_LATE: Final = timedelta(days=7)

CERTIFICATES: Final = gauge(
    "certificates",
    "Certificates on record by status: pending, valid, held, revoked, abandoned, expired.",
    "status",
)
REMAINING: Final = gauge(
    "certificates_valid",
    "Valid certificates by authority and what is left of their life: under_1d, 1d_to_7d, 7d_to_30d, 30d_to_90d,"
    " over_90d.",
    "authority",
    "remaining",
)
UNRENEWED: Final = gauge(
    "certificates_unrenewed",
    "Valid certificates of gateways that end within a week (under_1d, 1d_to_7d), were issued over a week ago, and"
    " have no successor of the same gateway and profile.",
    "authority",
    "remaining",
)
FAMILIES: Final = (CERTIFICATES, REMAINING, UNRENEWED)


def figures(desk: Desk, actor: Actor, *, now: datetime) -> list[Figure]:
    """Count certificates; for a limited credential those of its gateway, profiles and authorities. Raises RoleMayNot.

    It goes through an entry of an index for each certificate: not at each look.
    """
    require(actor, Action.METRICS_READ)
    mine = list(within(actor.scope))
    left = _remaining(now)
    counts = (
        select(certificates.c.authority_id, certificates.c.status, left, func.count())
        .where(*mine)
        .group_by(certificates.c.authority_id, certificates.c.status, left)
    )
    later = certificates.alias("later")
    successor = exists().where(
        later.c.gateway == certificates.c.gateway,
        later.c.profile == certificates.c.profile,
        later.c.status == "valid",
        later.c.not_after > certificates.c.not_after,
    )
    unrenewed = (
        select(certificates.c.authority_id, left, func.count())
        .where(
            certificates.c.status == "valid",
            certificates.c.not_after > now,
            certificates.c.not_after <= now + _LATE,
            certificates.c.not_before <= now - _LATE,
            certificates.c.gateway.is_not(None),
            ~successor,
            *mine,
        )
        .group_by(certificates.c.authority_id, left)
    )
    # Also those that nobody has: a series that comes and goes is no zero to who watches it.
    by_status = dict.fromkeys([(each,) for each in STATUSES], 0)
    with desk.store.read() as connection:
        names = {
            number: name
            for number, name in connection.execute(select(authorities.c.id, authorities.c.name))
            if actor.scope.authorities is None or name in actor.scope.authorities
        }
        spans = [name for name, _ in _SPANS]
        valid = {(name, span): 0 for name in names.values() for span in (*spans, _BEYOND)}
        late = {(name, span): 0 for name in names.values() for span in spans[:2]}
        for authority, status, span, count in connection.execute(counts):
            is_over = status == "valid" and span == _OVER
            by_status[("expired" if is_over else status),] += count
            if status == "valid" and not is_over:
                valid[names[authority], span] += count
        for authority, span, count in connection.execute(unrenewed):
            late[names[authority], span] += count
    return [CERTIFICATES.figure(by_status), REMAINING.figure(valid), UNRENEWED.figure(late)]


def _remaining(now: datetime) -> ColumnElement[str]:
    end = certificates.c.not_after
    near = [(end <= now + span, name) for name, span in _SPANS]
    return case((end <= now, _OVER), *near, else_=_BEYOND)
