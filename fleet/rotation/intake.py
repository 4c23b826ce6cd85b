"""What agents report of shared secrets: kept for each end, and told to the rotations that wait for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, bindparam, case, insert, or_, select, update

from fleet.bumps import chunks
from fleet.rotation import begin, records
from fleet.rotation.values import Authentication, EndAbilities, Side
from store.fleet_tables import tunnels
from store.rotation_tables import secret_reports, secret_slots
from store.text import storable


@dataclass(frozen=True)
class SecretReport:
    """What a daemon holds of a slot (`versions`, the one it uses first), and the agent's disk (`held`).

    `foreign` are documents: other secrets that answer for the slot's peer, `where`, `same_as`, `shadows`.
    """

    name: str
    versions: tuple[int, ...]
    held: tuple[int, ...]
    foreign: tuple[Mapping[str, Any], ...]
    authenticated: Authentication | None
    error_code: str
    error: str


@dataclass(frozen=True)
class Secrets:
    """All of a report that is about shared secrets."""

    abilities: EndAbilities
    reports: tuple[SecretReport, ...]


@dataclass(frozen=True)
class Filing:
    """Where a report belongs: the gateway, whose row is locked, and whether it had applied another version of its
    state by then than by the report before.
    """

    gateway_id: int
    moved: bool


def file(connection: Connection, filing: Filing, told: Secrets, *, now: datetime) -> None:
    """Put a report on record, in the place of the one before, and wake the rotations that it is news for."""
    of = {"of": filing.gateway_id}
    rows = {row.name: row for row in connection.execute(_OWN, of)} if told.reports else {}
    spoken: list[int] = []
    changed: set[int] = set()
    for report in told.reports:
        slot = rows.get(storable(report.name))
        if slot is None:
            continue  # none of ours any more: drift shows it
        spoken.append(slot.id)
        row = _row(report, _for_slot(told.abilities, slot))
        if slot.reported_at is None or any(getattr(slot, name) != row[name] for name in row):
            changed.add(slot.id)
            _keep(connection, slot, filing.gateway_id, row, now)
    _date(connection, filing.gateway_id, spoken, now)
    # A list that is the same again is news where it was applied anew: it confirms what came with that version.
    news = {
        slot.id
        for slot in rows.values()
        if slot.rotation_id is not None
        and slot.id in spoken
        and (filing.moved or slot.id in changed)
    }
    if news:
        begin.wake(connection, news, now)


_SIDE = case((tunnels.c.left_id == bindparam("of"), str(Side.LEFT)), else_=str(Side.RIGHT))
_OWN = (
    select(
        secret_slots.c.id,
        secret_slots.c.name,
        secret_slots.c.rotation_id,
        tunnels.c.managed,
        tunnels.c.definition,
        tunnels.c.right_id,
        _SIDE.label("side"),
        *(
            secret_reports.c[name]
            for name in (
                "versions",
                "held",
                "foreign",
                "authenticated",
                "abilities",
                "error_code",
                "error",
                "reported_at",
            )
        ),
    )
    .join_from(tunnels, secret_slots, secret_slots.c.tunnel_id == tunnels.c.id)
    .outerjoin(
        secret_reports,
        and_(secret_reports.c.slot_id == secret_slots.c.id, secret_reports.c.side == _SIDE),
    )
    .where(or_(tunnels.c.left_id == bindparam("of"), tunnels.c.right_id == bindparam("of")))
)


def _for_slot(able: EndAbilities, slot: Any) -> EndAbilities:
    """What the daemon can do for one slot: beside their SAs it authenticates the agent's own connections of IKEv2.

    Not with outside peers: they may let an identity have one SA, or know nothing of one without CHILD_SAs.
    """
    own = bool(slot.managed) and (slot.definition or {}).get("ike_version", 2) != 1
    own = own and slot.right_id is not None
    return replace(able, gapless=able.gapless or (able.beside and own))


def _row(report: SecretReport, abilities: EndAbilities) -> dict[str, Any]:
    return {
        "versions": list(report.versions),
        "held": list(report.held),
        "foreign": [dict(each) for each in report.foreign],
        "authenticated": records.authentication_document(report.authenticated),
        "abilities": dict(vars(abilities)),
        "error_code": report.error_code or None,
        "error": report.error or None,
    }


def _keep(
    connection: Connection, slot: Any, gateway_id: int, row: Mapping[str, Any], now: datetime
) -> None:
    if slot.reported_at is None:
        values = {"slot_id": slot.id, "side": slot.side, "gateway_id": gateway_id, **row}
        connection.execute(insert(secret_reports).values(**values, reported_at=now))
        return
    this = and_(secret_reports.c.slot_id == slot.id, secret_reports.c.side == slot.side)
    connection.execute(update(secret_reports).where(this).values(**row, reported_at=now))


def _date(connection: Connection, gateway_id: int, spoken: Sequence[int], now: datetime) -> None:
    """Note that a report was made of these: nothing is known of a slot that it does not speak of."""
    for some in chunks(spoken):
        those = and_(secret_reports.c.gateway_id == gateway_id, secret_reports.c.slot_id.in_(some))
        connection.execute(update(secret_reports).where(those).values(reported_at=now))


def unknown(connection: Connection, gateway_id: int, names: Sequence[str]) -> list[str]:
    """Those of the reported slots that this gateway should not have."""
    if not names:
        return []
    known = {row.name for row in connection.execute(_OWN, {"of": gateway_id})}
    return sorted({storable(name) for name in names} - known)
