"""What agents report of shared secrets: kept for each end, and told to the rotations that wait for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Select,
    and_,
    bindparam,
    insert,
    literal,
    select,
    tuple_,
    union_all,
    update,
)

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
    """What a gateway reported: its row is locked. `version` is that of its state which it had applied by then, `moved`
    whether that was another one by the report before.
    """

    gateway_id: int
    version: int
    moved: bool
    told: Secrets


def file(connection: Connection, filings: Sequence[Filing], *, now: datetime) -> None:
    """Put reports on record, one of a gateway, in the place of those before, and wake the rotations that they are news
    for.
    """
    speaking = [each.gateway_id for each in filings if each.told.reports]
    rows = {
        (row.gateway_id, row.name): row
        for some in chunks(sorted(speaking))
        for row in connection.execute(_OWN, {"of": some})
    }
    page = _Page()
    for filing in filings:
        for report in filing.told.reports:
            # None of ours any more: drift shows it.
            if (slot := rows.get((filing.gateway_id, storable(report.name)))) is not None:
                row = _row(report, _for_slot(filing.told.abilities, slot))
                row["authenticated"] = _marked(report.authenticated, slot, filing.version)
                page.add(slot, filing, row)
    page.write(connection, now)
    if page.news:
        begin.wake(connection, page.news, now)


@dataclass
class _Page:
    """What is to be written, by kind: each kind is one statement."""

    new: list[dict[str, Any]] = field(default_factory=list)
    changed: list[dict[str, Any]] = field(default_factory=list)
    same: list[tuple[int, str]] = field(default_factory=list)
    news: set[int] = field(default_factory=set)

    def add(self, slot: Any, filing: Filing, row: Mapping[str, Any]) -> None:
        changed = any(getattr(slot, name) != row[name] for name in row)
        if slot.reported_at is None:
            new = {"slot_id": slot.id, "side": slot.side, "gateway_id": filing.gateway_id, **row}
            self.new.append(new)
        elif changed:
            self.changed.append({"of_slot": slot.id, "of_side": slot.side, **row})
        else:
            # A report was made of it all the same: nothing is known of a slot that nobody speaks of.
            self.same.append((slot.id, slot.side))
        # A list that is the same again is news where it was applied anew: it confirms what came with that version.
        if slot.rotation_id is not None and (filing.moved or changed or slot.reported_at is None):
            self.news.add(slot.id)

    def write(self, connection: Connection, now: datetime) -> None:
        if self.new:
            rows = [{**row, "reported_at": now} for row in self.new]
            connection.execute(insert(secret_reports), rows)
        if self.changed:
            connection.execute(_CHANGED, [{**row, "at": now} for row in self.changed])
        for some in chunks(self.same):
            these = tuple_(secret_reports.c.slot_id, secret_reports.c.side).in_(some)
            connection.execute(update(secret_reports).where(these).values(reported_at=now))


_REPORTED = (
    "versions",
    "held",
    "foreign",
    "authenticated",
    "abilities",
    "error_code",
    "error",
)


def _end(side: Side, gateway: Column[int]) -> Select[Any]:
    return (
        select(
            secret_slots.c.id,
            secret_slots.c.name,
            secret_slots.c.rotation_id,
            tunnels.c.managed,
            tunnels.c.definition,
            tunnels.c.right_id,
            gateway.label("gateway_id"),
            literal(str(side)).label("side"),
            *(secret_reports.c[name] for name in (*_REPORTED, "reported_at")),
        )
        .join_from(tunnels, secret_slots, secret_slots.c.tunnel_id == tunnels.c.id)
        .outerjoin(
            secret_reports,
            and_(secret_reports.c.slot_id == secret_slots.c.id, secret_reports.c.side == side),
        )
        .where(gateway.in_(bindparam("of", expanding=True)))
    )


_OWN = union_all(_end(Side.LEFT, tunnels.c.left_id), _end(Side.RIGHT, tunnels.c.right_id))
_CHANGED = (
    update(secret_reports)
    .where(
        secret_reports.c.slot_id == bindparam("of_slot"),
        secret_reports.c.side == bindparam("of_side"),
    )
    .values({name: bindparam(name) for name in _REPORTED} | {"reported_at": bindparam("at")})
)


def _for_slot(able: EndAbilities, slot: Any) -> EndAbilities:
    """What the daemon can do for one slot: beside their SAs it authenticates the agent's own connections of IKEv2.

    Not with outside peers: they may let an identity have one SA, or know nothing of one without CHILD_SAs.
    """
    own = bool(slot.managed) and (slot.definition or {}).get("ike_version", 2) != 1
    own = own and slot.right_id is not None
    return replace(able, gapless=able.gapless or (able.beside and own))


def _marked(seen: Authentication | None, slot: Any, version: int) -> dict[str, Any] | None:
    """An authentication as it is kept: with the version of the state with which it was told of first.

    Agents tell of the latest one again and again, also when their keys have changed since.
    """
    if seen is None:
        return None
    before = records.authentication(slot.authenticated)
    known = before is not None and replace(before, mark=0) == replace(seen, mark=0)
    mark = before.mark if before is not None and known else version
    return records.authentication_document(replace(seen, mark=mark))


def _row(report: SecretReport, abilities: EndAbilities) -> dict[str, Any]:
    return {
        "versions": list(report.versions),
        "held": list(report.held),
        "foreign": [dict(each) for each in report.foreign],
        "abilities": dict(vars(abilities)),
        "error_code": report.error_code or None,
        "error": report.error or None,
    }


def unknown(connection: Connection, gateway_id: int, names: Sequence[str]) -> list[str]:
    """Those of the reported slots that this gateway should not have."""
    if not names:
        return []
    known = {row.name for row in connection.execute(_OWN, {"of": [gateway_id]})}
    return sorted({storable(name) for name in names} - known)
