"""A revocation reaches the tunnels: who is told to cut, in which order, and who has done it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, select, update

from fleet.below import Below, what_is_below
from fleet.bumps import bump, chunks, pass_on, pass_on_to_all
from fleet.concern import Subject, Told, has_fleet, proven, told
from fleet.scopes import neighbours
from fleet.state import CUT, PENDING
from pki import authorities
from pki.actors import Action, Actor, OutsideScope, covers, require
from pki.certificates import CertificateView, pick
from pki.desk import Desk
from pki.identity import CHANNEL
from pki.trail import leave
from store import outbox
from store.engine import Unit
from store.errors import Duplicate
from store.fleet_tables import gateway_authorities, gateway_commands, gateway_reports, gateways
from store.tables import certificates, crls, revocations

OWN = "own"
DONE = "done"
TOPIC = "fleet.own"
# The gateway whose own certificate it is learns of it when its peers have answered, or after this time.
_PATIENCE = timedelta(seconds=30)
_LOOK_AGAIN = timedelta(seconds=1)


@dataclass(frozen=True)
class Answer:
    """How far one gateway is: confirmed, pending, or unreachable. `gateway` None: one that the caller may not know."""

    gateway: str | None
    state: str
    told_at: datetime | None
    confirmed_at: datetime | None
    error: str
    cuts: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class Own:
    """The gateway that the certificate speaks for, which is told last."""

    gateway: str
    told_at: datetime | None


@dataclass(frozen=True)
class Reach:
    """How far a revocation has got. For a CA's certificate `below` tells what stands below it: no gateway is told to
    cut that.
    """

    certificate: CertificateView
    published_at: datetime | None
    crl_number: int | None
    gateways: tuple[Answer, ...]
    own: Own | None
    below: Below | None = None


def tell(
    desk: Desk,
    actor: Actor,
    authority: str,
    ids: Sequence[int],
    number: int,
    *,
    now: datetime,
) -> int:
    """The list `number` of an authority is published and tells of these certificates: have their peers cut, then let
    all others who trust the authority fetch it. May be done again. Gives how many commands were made.

    Raises RoleMayNot, AuthorityNotFound.
    """
    require(actor, Action.JOB_RUN)
    owner = authorities.load(desk, authority)
    with desk.store.read() as connection:
        if not has_fleet(connection):
            return 0
        subjects = revoked(connection, ids)
        concerned = told(connection, subjects)
    made = 0
    for some in chunks(subjects):
        made += _command(desk, actor, owner.name, some, concerned, number, now)
    with desk.store.write() as connection:
        pass_on_to_all(connection, owner.id, number, now)
    return made


def revoked(connection: Connection, ids: Sequence[int]) -> list[Subject]:
    """Those of the certificates that are revoked, not only on hold."""
    found = []
    for some in chunks(sorted(set(ids))):
        query = select(
            certificates.c.id,
            certificates.c.serial,
            certificates.c.fingerprint,
            certificates.c.gateway,
            certificates.c.names,
            certificates.c.subject,
        ).where(
            certificates.c.id.in_(some),
            certificates.c.status == "revoked",
            certificates.c.profile != CHANNEL,  # it authenticates no SA
        )
        found += [subject(row) for row in connection.execute(query)]
    return found


def subject(row: Any) -> Subject:
    """A certificate's row as peers can recognise it."""
    names = tuple(row.names.split("\n")) if row.names else ()
    return Subject(row.id, row.serial, row.fingerprint, row.gateway, proven(names, row.subject))


def _command(
    desk: Desk,
    actor: Actor,
    authority: str,
    subjects: Sequence[Subject],
    concerned: Told,
    number: int,
    now: datetime,
) -> int:
    def work(unit: Unit) -> int:
        connection = unit.connection
        there = _there(connection, [each.id for each in subjects])
        rows: list[dict[str, Any]] = []
        for each in subjects:
            peers = {
                gateway for gateway in concerned.peers[each.id] if (gateway, each.id) not in there
            }
            rows += [cut(gateway, each, authority, number, now) for gateway in sorted(peers)]
            own = concerned.own.get(each.id)
            if own is not None and (own, each.id) not in there:
                rows.append(cut(own, each, authority, number, now) | {"kind": OWN})
                outbox.put(
                    unit,
                    topic=TOPIC,
                    key=str(each.id),
                    payload={"certificate": each.id},
                    now=now,
                    delay=_LOOK_AGAIN,
                )
            if peers:
                about = f"certificate:{authority}:{each.serial}"
                leave(unit, actor, "certificate.cut", about, now=now, gateways=len(peers))
        if rows:
            connection.execute(gateway_commands.insert(), rows)
        cuts = [row["gateway_id"] for row in rows if row["kind"] == CUT]
        bump(connection, cuts, now, commanded=True)
        return len(cuts)

    try:
        return desk.store.together(work)
    except Duplicate:
        return desk.store.together(work)  # a report of one of the gateways made the same command


def _there(connection: Connection, ids: Sequence[int]) -> set[tuple[int, int]]:
    query = select(gateway_commands.c.gateway_id, gateway_commands.c.certificate_id).where(
        gateway_commands.c.certificate_id.in_(ids)
    )
    return {(gateway, certificate) for gateway, certificate in connection.execute(query)}


def cut(
    gateway_id: int, each: Subject, authority: str, number: int, now: datetime
) -> dict[str, Any]:
    """The row of a command to cut what a certificate authenticated."""
    return {
        "gateway_id": gateway_id,
        "kind": CUT,
        "state": PENDING,
        "certificate_id": each.id,
        "fingerprint": each.fingerprint,
        "detail": {
            "peer": {
                "fingerprint": each.fingerprint,
                "serial": each.serial,
                "identities": list(each.names),
            },
            "crl": {"authority": authority, "number": number},
        },
        "created_at": now,
    }


def tell_own(desk: Desk, actor: Actor, certificate_id: int, *, now: datetime) -> bool:
    """Tell the gateway whose own certificate was revoked, if its turn has come; say whether it had.

    Its way to the service may be a tunnel that is being cut. So its peers that can be reached come first.
    Raises RoleMayNot.
    """
    require(actor, Action.JOB_RUN)
    of = gateway_commands.c.certificate_id == certificate_id
    horizon = now - desk.rules.unreachable_after

    def work(unit: Unit) -> bool:
        connection = unit.connection
        own = connection.execute(
            select(
                gateway_commands.c.id, gateway_commands.c.gateway_id, gateway_commands.c.created_at
            )
            .where(of, gateway_commands.c.kind == OWN, gateway_commands.c.state == PENDING)
            .with_for_update()
        ).one_or_none()
        if own is None:
            return True
        waiting = (
            select(gateway_commands.c.id)
            .join(gateway_reports, gateway_reports.c.gateway_id == gateway_commands.c.gateway_id)
            .where(of, gateway_commands.c.kind == CUT, gateway_commands.c.state == PENDING)
            .where(gateway_reports.c.seen_at > horizon)
        )
        if (
            now - own.created_at < _PATIENCE
            and connection.execute(waiting.limit(1)).first() is not None
        ):
            outbox.put(
                unit,
                topic=TOPIC,
                key=str(certificate_id),
                payload={"certificate": certificate_id},
                now=now,
                delay=_LOOK_AGAIN,
            )
            return False
        connection.execute(
            update(gateway_commands)
            .where(gateway_commands.c.id == own.id)
            .values(state=DONE, told_at=now, done_at=now)
        )
        bump(connection, [own.gateway_id], now, commanded=True)
        return True

    return desk.store.together(work)


def refresh(desk: Desk, actor: Actor, *, share: float, now: datetime) -> int:
    """Let a `share` of those who trust an authority fetch its newest list, where they have not been told of it.

    Lists that are only refreshed are not urgent: so ten thousand gateways do not come in one second. Raises RoleMayNot.
    """
    require(actor, Action.JOB_RUN)
    count = func.count()
    query = (
        select(crls.c.authority_id, crls.c.number, count.label("trusting"))
        .join(gateway_authorities, gateway_authorities.c.authority_id == crls.c.authority_id)
        .where(crls.c.kind == "full")
        .group_by(crls.c.authority_id, crls.c.number)
        .having(func.min(gateway_authorities.c.crl_number) < crls.c.number)
    )
    with desk.store.read() as connection:
        rows = connection.execute(query).all()
    woken = 0
    for row in rows:
        limit = max(1, int(row.trusting * min(1.0, share)) + 1)
        with desk.store.write() as connection:
            woken += pass_on(connection, row.authority_id, row.number, limit, now)
    return woken


def progress(
    desk: Desk, actor: Actor, serial: str, *, now: datetime, authority: str | None = None
) -> Reach:
    """How far a revocation has got. A credential of one gateway is told which of its neighbours are how far, and of
    others only that there are such.

    Raises RoleMayNot, OutsideScope, BadSerial, CertificateNotFound, SerialAmbiguous.
    """
    require(actor, Action.GATEWAY_READ)
    with desk.store.read() as connection:
        found = pick(connection, serial, authority)
        if not covers(actor.scope, found.authority, found.profile, found.gateway, found.names):
            raise OutsideScope("This credential may not look at this certificate.")
        rows = connection.execute(
            select(gateway_commands, gateways.c.name.label("gateway"), gateway_reports.c.seen_at)
            .join_from(gateway_commands, gateways)
            .outerjoin(gateway_reports, gateway_reports.c.gateway_id == gateways.c.id)
            .where(gateway_commands.c.certificate_id == found.id)
            .order_by(gateway_commands.c.id)
        ).all()
        published, number = _published(connection, found, rows)
        known = neighbours(connection, actor)
        below = what_is_below(connection, found, now)
    horizon = now - desk.rules.unreachable_after
    own = next((Own(row.gateway, row.told_at) for row in rows if row.kind == OWN), None)
    return Reach(
        found,
        published,
        number,
        tuple(
            answer if known is None or answer.gateway in known else _withheld(answer)
            for answer in (_answer(row, horizon) for row in rows if row.kind == CUT)
        ),
        own,
        below,
    )


def _published(
    connection: Connection, found: CertificateView, rows: Sequence[Any]
) -> tuple[datetime | None, int | None]:
    if rows:
        first = min(rows, key=lambda row: row.created_at)
        return first.created_at, first.detail["crl"]["number"]
    row = connection.execute(
        select(crls.c.updated_at, crls.c.number)
        .join(revocations, revocations.c.authority_id == crls.c.authority_id)
        .where(
            revocations.c.certificate_id == found.id,
            revocations.c.state == "revoked",
            crls.c.kind == "full",
            crls.c.updated_at > revocations.c.changed_at,
        )
    ).one_or_none()
    return (None, None) if row is None else (row.updated_at, row.number)


def _withheld(answer: Answer) -> Answer:
    return replace(answer, gateway=None, error="", cuts=())


def _answer(row: Any, horizon: datetime) -> Answer:
    if row.state == DONE:
        state = "confirmed"
    else:
        state = "pending" if row.seen_at is not None and row.seen_at > horizon else "unreachable"
    return Answer(
        gateway=row.gateway,
        state=state,
        told_at=row.told_at,
        confirmed_at=row.done_at,
        error=row.error or "",
        cuts=tuple(row.cuts or ()),
    )
