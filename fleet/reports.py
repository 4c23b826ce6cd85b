"""What an agent reports: what it applied and did, and the SAs of its daemon. Each report replaces the one before."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from core.errors import InvalidInput
from fleet import identities
from fleet.bumps import bump, chunks
from fleet.drift import compare
from fleet.gateways import about, locked, pick
from fleet.inventory import wanted
from fleet.matching import FarEnd, far_ends, tunnel_of
from fleet.reach import cut, subject
from fleet.rotation import intake
from fleet.rotation.intake import Filing, Secrets
from fleet.state import CUT, PENDING, own_name
from pki.actors import Action, Actor, require
from pki.desk import Desk
from pki.trail import leave
from store.engine import Unit
from store.fleet_tables import (
    gateway_commands,
    gateway_identities,
    gateway_reports,
    gateway_sas,
    gateways,
)
from store.tables import authorities, certificates, crls, revocations

_CLOSED = {"done", "failed"}
# What a daemon held before a cut is reported by then. The gateway's own clock tells sooner, unless it jumped.
_LATE = timedelta(minutes=1)


class ReportRefused(InvalidInput):
    """A report that names a state which this gateway never had."""

    code = "report_refused"
    next_step = "Fetch the state again, and report what was applied of it."


@dataclass(frozen=True)
class CommandReport:
    """What became of a command. `at` is the gateway's time; `cuts` are documents, one for each SA."""

    id: int
    outcome: str
    error: str
    cuts: tuple[Mapping[str, Any], ...]
    at: datetime


@dataclass(frozen=True)
class AppliedReport:
    """What a gateway has made of its desired state. `inventory` and `errors` are documents, as they are shown again;
    `secrets` is None from an agent that knows nothing of shared secrets.
    """

    version: int
    agent_version: str
    daemon_kind: str
    daemon_version: str
    incarnation: str
    certificate: str | None
    proof: str | None
    inventory: Mapping[str, Any]
    errors: tuple[Mapping[str, str], ...]
    commands: tuple[CommandReport, ...]
    secrets: Secrets | None = None


@dataclass(frozen=True)
class SaReport:
    """One IKE_SA; `document` is all of it, as it is shown again."""

    id: str
    connection: str
    state: str
    remote_id: str
    local_certificate: str | None
    remote_certificate: str | None
    document: Mapping[str, Any]


def applied(desk: Desk, actor: Actor, report: AppliedReport, *, now: datetime) -> None:
    """Put on record what the acting gateway has applied and done. May be done again.

    Raises RoleMayNot, OutsideScope, GatewayNotFound, ReportRefused.
    """
    require(actor, Action.GATEWAY_SELF)
    name = own_name(actor)
    with desk.store.read() as connection:
        gateway = pick(connection, desk, name, now)
        leaf = None if gateway.certificate is None else gateway.certificate.fingerprint
        inventory = _with_secrets(connection, gateway.id, report)
        drift = compare(wanted(desk, connection, gateway.id, leaf), inventory)
    if report.version > gateway.version:
        raise ReportRefused(f"There is no version {report.version} of this gateway's state yet.")
    row = {
        "seen_at": now,
        "agent_version": report.agent_version,
        "daemon_kind": report.daemon_kind,
        "daemon_version": report.daemon_version,
        "incarnation": report.incarnation,
        "applied_version": report.version,
        "applied_at": now,
        "certificate": report.certificate,
        "proof": report.proof,
        "inventory": inventory,
        "errors": [dict(error) for error in report.errors],
        "drifting": len(drift),
    }

    def work(unit: Unit) -> None:
        gateway = locked(unit.connection, name)
        closed = [
            done
            for command in report.commands
            if (done := _close(unit.connection, gateway.id, command, now)) is not None
        ]
        if closed:
            bump(unit.connection, [gateway.id], now)
        before = _write(unit.connection, gateway.id, row)
        _file(unit.connection, gateway.id, report, before, now)
        told = ("certificate", "proof", "daemon_kind", "daemon_version", "agent_version")
        if closed or before is None or any(getattr(before, each) != row[each] for each in told):
            leave(
                unit,
                actor,
                "gateway.applied",
                about(name),
                now=now,
                version=report.version,
                certificate=report.certificate,
                proof=report.proof,
                commands=closed,
            )

    desk.store.together(work)


def _file(
    connection: Connection, gateway_id: int, report: AppliedReport, before: Any, now: datetime
) -> None:
    if report.secrets is not None:
        moved = before is None or before.applied_version != report.version
        intake.file(
            connection, [Filing(gateway_id, report.version, moved, report.secrets)], now=now
        )


def _with_secrets(connection: Connection, gateway_id: int, report: AppliedReport) -> dict[str, Any]:
    """The inventory as it is kept: with what drift is found by of shared secrets, and never more than that."""
    if report.secrets is None or not report.secrets.reports:
        return dict(report.inventory)
    told = report.secrets.reports
    names = [each.name for each in told if each.versions or each.held]
    return {
        **report.inventory,
        "secrets": [
            {
                "name": each.name,
                "versions": list(each.versions),
                "foreign": [dict(other) for other in each.foreign],
            }
            for each in told
        ],
        "unknown_secrets": intake.unknown(connection, gateway_id, names),
    }


def _write(connection: Connection, gateway_id: int, row: Mapping[str, Any]) -> Any:
    """Put the row in the place of the former one, which it gives."""
    mine = gateway_reports.c.gateway_id == gateway_id
    before = connection.execute(select(gateway_reports).where(mine)).one_or_none()
    if before is None:
        connection.execute(insert(gateway_reports).values(gateway_id=gateway_id, **row))
    else:
        connection.execute(update(gateway_reports).where(mine).values(**row))
    return before


def _close(
    connection: Connection, gateway_id: int, command: CommandReport, now: datetime
) -> dict[str, Any] | None:
    """Note what became of a command; gives it for the audit log if that ended it.

    A cut that failed stays: it is not done until it is done.
    """
    this = (
        gateway_commands.c.id == command.id,
        gateway_commands.c.gateway_id == gateway_id,
        gateway_commands.c.state == PENDING,
    )
    row = connection.execute(select(gateway_commands.c.kind).where(*this)).one_or_none()
    if row is None or command.outcome not in _CLOSED:
        return None  # done before, or not this gateway's
    stays = row.kind == CUT and command.outcome == "failed"
    connection.execute(
        update(gateway_commands)
        .where(*this)
        .values(
            state=PENDING if stays else command.outcome,
            done_at=None if stays else now,
            reported_at=command.at,
            error=command.error,
            cuts=[dict(each) for each in command.cuts],
        )
    )
    if stays:
        return None
    return {
        "id": command.id,
        "kind": row.kind,
        "outcome": command.outcome,
        "cuts": len(command.cuts),
    }


def sas(
    desk: Desk, actor: Actor, at: datetime, reports: Sequence[SaReport], *, now: datetime
) -> None:
    """Replace the SAs of the acting gateway by those that its daemon had `at` this time of the gateway's clock.

    An SA that a revoked certificate authenticated is cut, also where nobody knew of it before. Raises RoleMayNot,
    OutsideScope, GatewayNotFound.
    """
    require(actor, Action.GATEWAY_SELF)
    name = own_name(actor)
    with desk.store.read() as connection:
        gateway = pick(connection, desk, name, now)
        ends = far_ends(connection, gateway.id)
        found = [_placed(ends, report) for report in reports]
        issued = _issued(connection, found)
    rows = [
        {
            "gateway_id": gateway.id,
            "tunnel_id": None if each.end is None else each.end.tunnel_id,
            "sa_id": each.report.id,
            "connection": each.report.connection,
            "state": each.report.state,
            "remote_name": each.name,
            "local_certificate": each.report.local_certificate,
            "remote_certificate": each.report.remote_certificate,
            "certificate_id": issued.get(each.report.remote_certificate or "", _NOBODY).id,
            "document": dict(each.report.document),
        }
        for each in found
    ]
    bad = [row for row in issued.values() if row.status == "revoked"]

    def work(unit: Unit) -> None:
        connection = unit.connection
        mine = locked(connection, name)
        connection.execute(delete(gateway_sas).where(gateway_sas.c.gateway_id == mine.id))
        for some in chunks(rows):
            connection.execute(insert(gateway_sas), list(some))
        _write(connection, mine.id, {"seen_at": now, "sas_at": at, "sas_received_at": now})
        if bad and _cut_again(connection, mine.id, bad, at, now):
            bump(connection, [mine.id], now, commanded=True)
            leave(unit, actor, "gateway.revoked_peer", about(name), now=now, certificates=len(bad))

    desk.store.together(work)


@dataclass(frozen=True)
class _Placed:
    """A reported SA, the tunnel it belongs to, and its peer's name."""

    report: SaReport
    end: FarEnd | None
    name: str | None


@dataclass(frozen=True)
class _Nobody:
    id: int | None = None


_NOBODY: Any = _Nobody()


def _placed(ends: Sequence[FarEnd], report: SaReport) -> _Placed:
    name = identities.from_daemon(report.remote_id)
    return _Placed(report, tunnel_of(ends, report.connection, name), name)


def _issued(connection: Connection, found: Iterable[_Placed]) -> dict[str, Any]:
    """Those of the peers' certificates that are ours, by fingerprint.

    Looked for among the certificates of the peers that they can be of: there is no index of fingerprints, which every
    issuance would pay for. Where a peer's name is none, as a pattern is, only among those that are revoked.
    """
    names: set[str] = set()
    said: set[str] = set()
    prints: set[str] = set()
    nameless: set[str] = set()
    for each in found:
        if each.report.remote_certificate is not None:
            prints.add(each.report.remote_certificate)
            if each.end is not None:
                names.add(each.end.name)
                names |= {identity.partition(":")[2] for identity in each.end.identities}
            if each.name is None:
                nameless.add(each.report.remote_certificate)
            else:
                said |= {each.name, *identities.common_names(each.name)}
    names |= {name.partition(":")[2] for name in said} | _called(connection, said)
    issued: dict[str, Any] = {}
    for some in chunks(sorted(names)):
        query = _CERTIFIED.where(
            certificates.c.gateway.in_(some), certificates.c.fingerprint.is_not(None)
        )
        for row in connection.execute(query):
            if row.fingerprint in prints:
                issued[row.fingerprint] = row
    for some in chunks(sorted(nameless - set(issued))):
        query = _CERTIFIED.where(
            certificates.c.status == "revoked", certificates.c.fingerprint.in_(some)
        )
        issued |= {row.fingerprint: row for row in connection.execute(query)}
    return issued


def _called(connection: Connection, said: Iterable[str]) -> set[str]:
    """The names of the gateways that have these identities."""
    found: set[str] = set()
    for some in chunks(sorted(said)):
        query = select(gateways.c.name).join_from(gateway_identities, gateways)
        found |= set(connection.scalars(query.where(gateway_identities.c.identity.in_(some))))
    return found


_CERTIFIED = select(
    certificates.c.id,
    certificates.c.serial,
    certificates.c.status,
    certificates.c.gateway,
    certificates.c.names,
    certificates.c.subject,
    certificates.c.fingerprint,
    certificates.c.authority_id,
    authorities.c.name.label("authority"),
).join_from(certificates, authorities)


def _cut_again(
    connection: Connection, gateway_id: int, bad: Iterable[Any], at: datetime, now: datetime
) -> bool:
    """Command to cut what revoked certificates authenticate here; tell whether there was anything new to command."""
    new = False
    for row in bad:
        there = connection.execute(
            select(gateway_commands).where(
                gateway_commands.c.gateway_id == gateway_id,
                gateway_commands.c.certificate_id == row.id,
            )
        ).one_or_none()
        if there is None:
            # Before the list is out nobody is commanded; its publication makes the command.
            number = _published(connection, row)
            if number is not None:
                made = cut(gateway_id, subject(row), row.authority, number, now)
                connection.execute(gateway_commands.insert().values(**made))
                new = True
        elif (
            there.kind == CUT
            and there.state != PENDING
            and (there.reported_at < at or there.done_at < now - _LATE)
        ):
            # It was cut and has come back.
            connection.execute(
                update(gateway_commands)
                .where(gateway_commands.c.id == there.id)
                .values(state=PENDING, told_at=None, done_at=None)
            )
            new = True
    return new


def _published(connection: Connection, row: Any) -> int | None:
    query = (
        select(crls.c.number)
        .join(revocations, revocations.c.authority_id == crls.c.authority_id)
        .where(
            revocations.c.certificate_id == row.id,
            crls.c.kind == "full",
            crls.c.updated_at > revocations.c.changed_at,
        )
    )
    number: int | None = connection.execute(query).scalar_one_or_none()
    return number
