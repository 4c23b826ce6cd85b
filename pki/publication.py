"""Publication: what verifiers fetch. Full CRL, delta CRL, and one CRL for each shard of an authority.

A number is taken from the counter in a transaction of its own, entries are read after it, and a finished list
replaces only one with a lower number. So two that publish at once never put an older list over a newer one, and a
revocation that a list just missed has a message in the outbox that makes the next list.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from sqlalchemy import ColumnElement, Connection, and_, func, select, update

from core import spans
from core.errors import NotFound
from pki import authorities
from pki.actors import Action, Actor, require, require_authority
from pki.authorities import Authority
from pki.desk import Desk
from pki.trail import leave
from pki.x509 import serials
from pki.x509.crl import CrlSpec, Reason, draft_crl, entry
from pki.x509.signing import complete, default_hash, sign
from store.engine import Unit
from store.errors import Duplicate
from store.tables import authorities as authorities_table
from store.tables import certificates, crl_numbers, crls, revocations

FULL, DELTA, SHARD = "full", "delta", "shard"
# The clocks of replicas may differ by less.
_SKEW = timedelta(minutes=5)
NO_SHARD = -1


class CrlNotFound(NotFound):
    """No such list, or none yet."""

    code = "crl_not_found"
    next_step = "Look at the authority's `crl_url`; a new authority's lists appear within a second."


@dataclass(frozen=True)
class Crl:
    """A published list."""

    authority: str
    kind: str
    shard: int
    number: int
    this_update: datetime
    next_update: datetime
    entries: int
    der: bytes
    sha256: str


@dataclass(frozen=True)
class Listed:
    """A published list, without what it says. `shard` is NO_SHARD where it is of all."""

    kind: str
    shard: int
    number: int
    this_update: datetime
    next_update: datetime
    entries: int


def published(desk: Desk, authority: str, kind: str, shard: int = NO_SHARD) -> Crl:
    """The list that verifiers shall get. Public: no actor. Raises AuthorityNotFound, CrlNotFound."""
    owner = authorities.load(desk, authority)
    query = select(crls).where(_same(owner, kind, shard))
    with desk.store.read() as connection:
        row = connection.execute(query).one_or_none()
    if row is None:
        raise CrlNotFound("There is no such revocation list.")
    return Crl(
        authority=authority,
        kind=row.kind,
        shard=row.shard,
        number=row.number,
        this_update=row.this_update,
        next_update=row.next_update,
        entries=row.entries,
        der=row.der,
        sha256=row.sha256,
    )


def published_number(desk: Desk, authority: str, kind: str, shard: int = NO_SHARD) -> int | None:
    """The number of the list that verifiers shall get, to tell whether a cached copy is current."""
    owner = authorities.load(desk, authority)
    query = select(crls.c.number).where(_same(owner, kind, shard))
    with desk.store.read() as connection:
        return connection.execute(query).scalar_one_or_none()


def lists(desk: Desk, actor: Actor, authority: str) -> list[Listed]:
    """All that is published of an authority, by kind and shard. Raises RoleMayNot, OutsideScope, AuthorityNotFound."""
    require(actor, Action.CRL_READ)
    require_authority(actor, authority)
    owner = authorities.load(desk, authority)
    columns = (
        *(crls.c.kind, crls.c.shard, crls.c.number),
        *(crls.c.this_update, crls.c.next_update, crls.c.entries),
    )
    query = select(*columns).where(crls.c.authority_id == owner.id)
    with desk.store.read() as connection:
        return [
            Listed(*row) for row in connection.execute(query.order_by(crls.c.kind, crls.c.shard))
        ]


def publish_shard(desk: Desk, actor: Actor, authority: str, shard: int, *, now: datetime) -> Crl:
    """Build and publish one shard: a critical issuing distribution point names its URL (RFC 5280 §5.2.5).

    Raises RoleMayNot, AuthorityNotFound, CrlNotFound (no such shard), SignerUnavailable.
    """
    require(actor, Action.JOB_RUN)
    owner = authorities.load(desk, authority)
    if not 0 <= shard < owner.shards:
        raise CrlNotFound(f"The authority {authority!r} has no shard {shard}.")
    return _publish(desk, actor, owner, _Wanted(SHARD, shard), now)


def publish_full(desk: Desk, actor: Actor, authority: str, *, now: datetime) -> Crl:
    """Build and publish the complete list, and the delta from the one before. Raises as `publish_shard` does.

    RFC 5280 §5.2.3: a complete list and a delta that are issued at the same time have the same number and tell the
    same. The delta brings whoever still holds the list before up to this one.
    """
    require(actor, Action.JOB_RUN)
    return _publish_full(desk, actor, authority, now)


def publish_by_hand(desk: Desk, actor: Actor, authority: str, *, now: datetime) -> Crl:
    """The same, because a person asked for it; the audit log names that person. Raises as `publish_full` does."""
    require(actor, Action.AUTHORITY_CREATE)
    return _publish_full(desk, actor, authority, now)


def _publish_full(desk: Desk, actor: Actor, authority: str, now: datetime) -> Crl:
    owner = authorities.load(desk, authority)
    before = _base(desk, owner)
    full = _publish(desk, actor, owner, _Wanted(FULL), now)
    base = before or _Base(full.number, full.this_update)
    _publish(desk, actor, owner, _Wanted(DELTA, base=base, number=full.number), now)
    return full


def publish_delta(desk: Desk, actor: Actor, authority: str, *, now: datetime) -> Crl:
    """Build and publish what changed since the complete list (RFC 5280 §5.2.4).

    Raises as `publish_shard` does, and CrlNotFound when there is no complete list yet.
    """
    require(actor, Action.JOB_RUN)
    owner = authorities.load(desk, authority)
    base = _base(desk, owner)
    if base is None:
        raise CrlNotFound(f"The authority {authority!r} has no complete list yet.")
    return _publish(desk, actor, owner, _Wanted(DELTA, base=base), now)


def take(
    desk: Desk,
    actor: Actor,
    owner: Authority,
    crl: x509.CertificateRevocationList,
    *,
    now: datetime,
) -> Crl:
    """Publish a complete list that an authority outside made; `pki.outside` checked it. An older one changes nothing.

    Raises RoleMayNot.
    """
    require(actor, Action.AUTHORITY_CREATE)
    der = crl.public_bytes(serialization.Encoding.DER)
    taken = Crl(
        authority=owner.name,
        kind=FULL,
        shard=NO_SHARD,
        number=crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number,
        this_update=crl.last_update_utc,
        next_update=crl.next_update_utc or crl.last_update_utc,
        entries=len(crl),
        der=der,
        sha256=hashlib.sha256(der).hexdigest(),
    )
    _store(desk, actor, owner, taken, None, now)
    return taken


def due(desk: Desk, actor: Actor, *, now: datetime) -> list[tuple[str, str, int]]:
    """Lists that are missing, past the part of their life after which they are made anew, older than a revocation, or
    made by a clock that was ahead: verifiers do not believe them yet.

    The third is the net below the outbox: a signer that was away for an hour must not delay a revocation any longer.
    Gives (authority, kind, shard). Raises RoleMayNot.
    """
    require(actor, Action.JOB_RUN)
    found: list[tuple[str, str, int]] = []
    for name in authorities.own_names(desk):
        owner = authorities.load(desk, name)
        query = select(
            crls.c.kind, crls.c.shard, crls.c.this_update, crls.c.next_update, crls.c.updated_at
        ).where(crls.c.authority_id == owner.id)
        with desk.store.read() as connection:
            rows = connection.execute(query).all()
            changed = _changed(connection, owner, min((r.updated_at for r in rows), default=now))
        fresh = {
            (row.kind, row.shard)
            for row in rows
            if row.this_update - _SKEW <= now < _renewal(desk, row.this_update, row.next_update)
            and not _is_behind(row, changed)
        }
        found += [
            (name, kind, shard) for kind, shard in _wanted(owner) if (kind, shard) not in fresh
        ]
    return found


def _changed(connection: Connection, owner: Authority, since: datetime) -> dict[int, datetime]:
    """When each shard's certificates last changed their status, as far as that was not before `since`."""
    query = (
        select(revocations.c.shard, func.max(revocations.c.changed_at))
        .where(revocations.c.authority_id == owner.id, revocations.c.changed_at >= since)
        .group_by(revocations.c.shard)
    )
    return {shard: at for shard, at in connection.execute(query)}


def _is_behind(row: Any, changed: dict[int, datetime]) -> bool:
    if row.kind == SHARD:
        return row.shard in changed and changed[row.shard] >= row.updated_at
    return any(at >= row.updated_at for at in changed.values())


def _renewal(desk: Desk, this_update: datetime, next_update: datetime) -> datetime:
    return this_update + (next_update - this_update) * desk.rules.refresh_before


@dataclass(frozen=True)
class _Base:
    """The complete list that a delta builds on."""

    number: int
    since: datetime


@dataclass(frozen=True)
class _Wanted:
    """Which list to make. A delta has a base; `number` is set where it shall be that of another list."""

    kind: str
    shard: int = NO_SHARD
    base: _Base | None = None
    number: int | None = None


def _publish(desk: Desk, actor: Actor, owner: Authority, wanted: _Wanted, now: datetime) -> Crl:
    at = now.replace(microsecond=0)
    kind, shard, base = wanted.kind, wanted.shard, wanted.base
    number = _intend(desk, actor, owner, wanted, now)
    entries = _entries(desk, owner, wanted, at)
    lifetime = desk.rules.delta_lifetime if kind == DELTA else desk.rules.crl_lifetime
    spec = CrlSpec(
        number=number,
        this_update=at,
        next_update=at + lifetime,
        shard_url=authorities.shard_crl_url(desk, owner.name, shard) if kind == SHARD else None,
        base_number=base.number if base else None,
        freshest_url=_freshest(desk, owner) if kind == FULL else None,
    )
    key = authorities.signer(desk, owner)
    tbs = draft_crl(spec, owner.certificate, owner.public_key, entries)
    with spans.span("sign list", ikewarden__number=number):
        der = complete(tbs, sign(key, tbs, default_hash(owner.public_key)))
    crl = Crl(
        authority=owner.name,
        kind=kind,
        shard=shard,
        number=number,
        this_update=at,
        next_update=spec.next_update,
        entries=len(entries),
        der=der,
        sha256=hashlib.sha256(der).hexdigest(),
    )
    _store(desk, actor, owner, crl, spec.base_number, now)
    return crl


def _freshest(desk: Desk, owner: Authority) -> str | None:
    # charon 5.9.8 follows a freshestCRL and then lets a revoked certificate in whenever the delta relates to a newer
    # base than the one it holds. So the delta of an authority for IKE peers is there for who asks, and not pointed at.
    return authorities.delta_crl_url(desk, owner.name) if owner.shards else None


def _intend(desk: Desk, actor: Actor, owner: Authority, wanted: _Wanted, now: datetime) -> int:
    """Put on record what will be signed, and give its number."""

    def work(unit: Unit) -> int:
        number = wanted.number or _take_number(unit, owner)
        about = _about(owner, wanted.kind, wanted.shard)
        leave(unit, actor, "crl.sign", about, now=now, outcome="intent", number=number)
        return number

    return desk.store.together(work)


def _take_number(unit: Unit, owner: Authority) -> int:
    raised = (
        update(crl_numbers)
        .where(crl_numbers.c.authority_id == owner.id)
        .values(number=crl_numbers.c.number + 1)
        .returning(crl_numbers.c.number)
    )
    return int(unit.connection.execute(raised).scalar_one())


def _about(owner: Authority, kind: str, shard: int) -> str:
    return f"crl:{owner.name}:{kind}" + (f":{shard}" if kind == SHARD else "")


def _same(owner: Authority, kind: str, shard: int) -> ColumnElement[bool]:
    return and_(crls.c.authority_id == owner.id, crls.c.kind == kind, crls.c.shard == shard)


def _base(desk: Desk, owner: Authority) -> _Base | None:
    query = select(crls.c.number, crls.c.this_update).where(_same(owner, FULL, NO_SHARD))
    with desk.store.read() as connection:
        row = connection.execute(query).one_or_none()
    return None if row is None else _Base(row.number, row.this_update)


def _entries(desk: Desk, owner: Authority, wanted: _Wanted, at: datetime) -> list[bytes]:
    query = select(revocations.c.entry).where(revocations.c.authority_id == owner.id)
    # A signature that never came back to us might still exist somewhere: its serial number is not to be trusted.
    lost = select(certificates.c.serial, certificates.c.created_at).where(
        certificates.c.authority_id == owner.id, certificates.c.status == "abandoned"
    )
    if wanted.base is not None:
        # A minute of overlap: a transaction that was still open when the base was read has an earlier `changed_at`.
        since = wanted.base.since - timedelta(minutes=1)
        query = query.where(revocations.c.changed_at >= since)
    else:
        query = query.where(revocations.c.state.in_(("revoked", "held")))
    if wanted.kind == SHARD:
        query = query.where(revocations.c.shard == wanted.shard)
        lost = lost.where(certificates.c.shard == wanted.shard)
    with desk.store.read() as connection:
        # RFC 5280 §5: an entry stays until one list after the certificate's end has shown it.
        shown = connection.execute(
            select(crls.c.this_update).where(_same(owner, wanted.kind, wanted.shard))
        ).scalar_one_or_none()
        if shown is not None:
            horizon = min(shown, at - desk.rules.crl_lifetime)
            query = query.where(revocations.c.not_after > horizon)
            lost = lost.where(certificates.c.not_after > horizon)
        entries = list(connection.scalars(query))
        for row in connection.execute(lost):
            serial = serials.from_hex(row.serial)
            entries.append(entry(serial, row.created_at, Reason.unspecified, None))
    return entries


def _store(
    desk: Desk, actor: Actor, owner: Authority, crl: Crl, base: int | None, now: datetime
) -> None:
    row = {
        "authority_id": owner.id,
        "kind": crl.kind,
        "shard": crl.shard,
        "number": crl.number,
        "base_number": base,
        "this_update": crl.this_update,
        "next_update": crl.next_update,
        "entries": crl.entries,
        "der": crl.der,
        "sha256": crl.sha256,
        "updated_at": now,
    }
    same = _same(owner, crl.kind, crl.shard)

    def work(unit: Unit) -> None:
        connection = unit.connection
        replaced = connection.execute(
            update(crls).where(same, crls.c.number < crl.number).values(**row)
        )
        if replaced.rowcount == 0:
            if connection.execute(select(crls.c.number).where(same)).first() is not None:
                return  # a newer one is out
            connection.execute(crls.insert().values(**row))
        leave(
            unit,
            actor,
            "crl.publish",
            _about(owner, crl.kind, crl.shard),
            now=now,
            number=crl.number,
            entries=crl.entries,
            sha256=crl.sha256,
        )

    try:
        desk.store.together(work)
    except Duplicate:
        # Another process made the first list of all: now there is one to compare with.
        desk.store.together(work)


def missing(desk: Desk, actor: Actor) -> list[tuple[str, str, int]]:
    """Lists that were never published: (authority, kind, shard). Raises RoleMayNot."""
    require(actor, Action.METRICS_READ)
    there = {(name, kind, shard) for name, kind, shard, _ in staleness(desk, actor)}
    wanted = [
        (name, kind, shard)
        for name in authorities.all_names(desk)
        for kind, shard in _wanted(authorities.load(desk, name))
        if _visible(actor, name)
    ]
    return [each for each in wanted if each not in there]


def _wanted(owner: Authority) -> list[tuple[str, int]]:
    if owner.status == authorities.OUTSIDE:
        return [(FULL, NO_SHARD)]
    shards = [(SHARD, shard) for shard in range(owner.shards)]
    return [(FULL, NO_SHARD), (DELTA, NO_SHARD), *shards]


def _visible(actor: Actor, authority: str) -> bool:
    return actor.scope.authorities is None or authority in actor.scope.authorities


def staleness(desk: Desk, actor: Actor) -> list[tuple[str, str, int, datetime]]:
    """When each published list of the authorities that this caller may see ends: (authority, kind, shard, nextUpdate).

    Raises RoleMayNot.
    """
    require(actor, Action.METRICS_READ)
    query = select(
        authorities_table.c.name, crls.c.kind, crls.c.shard, crls.c.next_update
    ).join_from(crls, authorities_table, crls.c.authority_id == authorities_table.c.id)
    with desk.store.read() as connection:
        return [tuple(row) for row in connection.execute(query) if _visible(actor, row.name)]
