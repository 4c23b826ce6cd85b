"""Notices before certificates end: one for each certificate and stage, once, however often the job runs."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, exists, select

from pki.actors import Action, Actor, require
from pki.desk import Desk
from pki.trail import leave
from store import outbox
from store.engine import Unit
from store.errors import Duplicate
from store.tables import authorities, certificates, notices

TOPIC = "notice.expiring"
_CHUNK = 1000


def give_notice(desk: Desk, actor: Actor, *, now: datetime) -> int:
    """Write a notice for every certificate that reached a stage (days before its end); tell how many.

    A certificate that has a successor (it was renewed) needs none. Each notice is an audit event and a message that
    goes to the webhook when there is one. Raises RoleMayNot.
    """
    require(actor, Action.JOB_RUN)
    return sum(_stage(desk, actor, days, now) for days in sorted(desk.rules.notice_stages))


def _stage(desk: Desk, actor: Actor, days: int, now: datetime) -> int:
    with desk.store.read() as connection:
        due = connection.execute(_due(desk, days, now)).all()
    return sum(_give(desk, actor, row, days, now) for row in due)


def _due(desk: Desk, days: int, now: datetime) -> Select[Any]:
    nearer = max((stage for stage in desk.rules.notice_stages if stage < days), default=0)
    successor = certificates.alias()
    renewed = exists().where(
        successor.c.renewed_from == certificates.c.serial, successor.c.status == "valid"
    )
    given = exists().where(
        notices.c.kind == "expiring",
        notices.c.object == authorities.c.name + ":" + certificates.c.serial,
        notices.c.stage == str(days),
    )
    return (
        select(
            certificates.c.serial,
            certificates.c.subject,
            certificates.c.not_after,
            certificates.c.gateway,
            authorities.c.name.label("authority"),
        )
        .join_from(certificates, authorities)
        .where(
            certificates.c.status == "valid",
            certificates.c.not_after > now + timedelta(days=nearer),
            certificates.c.not_after <= now + timedelta(days=days),
            # The service renews its own certificates; they would only cry wolf.
            certificates.c.profile.not_in(
                ("ocsp-responder", "service-tls", "scep-ra", "report-signer")
            ),
            ~renewed,
            ~given,
        )
        .limit(_CHUNK)
    )


def _give(desk: Desk, actor: Actor, row: Any, days: int, now: datetime) -> bool:
    about = f"{row.authority}:{row.serial}"
    detail = {
        "certificate": about,
        "subject": row.subject,
        "gateway": row.gateway,
        "not_after": row.not_after.isoformat(),
        "days": days,
    }

    def work(unit: Unit) -> None:
        unit.insert(notices, {"kind": "expiring", "object": about, "stage": str(days), "at": now})
        leave(unit, actor, "certificate.expiring", f"certificate:{about}", now=now, notice=detail)
        outbox.put(unit, topic=TOPIC, key=f"{about}:{days}", payload=detail, now=now)

    try:
        desk.store.together(work)
    except Duplicate:
        return False  # another replica was quicker
    return True
