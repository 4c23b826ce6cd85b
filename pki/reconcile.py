"""Settling what was left half-way: intents whose signature never came back."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select, update

from pki.actors import Action, Actor, require
from pki.desk import Desk
from pki.identity import give_back
from pki.revocation import ask_for_list
from pki.trail import leave
from store.engine import Unit
from store.tables import authorities, certificates, status_changes

# Longer than any signer may take; an answer that comes later is thrown away (IssuanceOvertaken).
PATIENCE = timedelta(minutes=2)
_CHUNK = 500


def settle(desk: Desk, actor: Actor, *, now: datetime, patience: timedelta = PATIENCE) -> int:
    """Give up intents older than `patience`; tell how many.

    The certificate was never told to anybody, because telling comes after the result is on record. But a signature
    may exist in a signer's memory or a log, so the serial number goes on the CRL and OCSP calls it revoked. A
    one-time token gets its use back. Raises RoleMayNot.
    """
    require(actor, Action.JOB_RUN)
    query = (
        select(
            certificates.c.id,
            certificates.c.serial,
            certificates.c.shard,
            certificates.c.credential,
            certificates.c.authority_id,
            authorities.c.name.label("authority"),
        )
        .join_from(certificates, authorities)
        .where(certificates.c.status == "pending", certificates.c.created_at < now - patience)
        .limit(_CHUNK)
    )
    with desk.store.read() as connection:
        stale = connection.execute(query).all()
    return sum(_abandon(desk, actor, row, now) for row in stale)


def _abandon(desk: Desk, actor: Actor, row: Any, now: datetime) -> bool:
    def work(unit: Unit) -> bool:
        given_up = unit.connection.execute(
            update(certificates)
            .where(certificates.c.id == row.id, certificates.c.status == "pending")
            .values(status="abandoned", tbs=None)
        )
        if given_up.rowcount != 1:
            return False  # the result came after all, or another replica was here
        give_back(unit.connection, row.credential)
        unit.insert(
            status_changes, {"authority_id": row.authority_id, "serial": row.serial, "at": now}
        )
        leave(
            unit,
            actor,
            "certificate.abandon",
            f"certificate:{row.authority}:{row.serial}",
            now=now,
        )
        ask_for_list(unit, row.authority, row.shard, now)
        return True

    return desk.store.together(work)
