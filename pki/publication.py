"""Publication: what verifiers fetch. Full CRL, delta CRL, and one CRL for each shard of an authority.

A number is taken from the counter in a transaction of its own, entries are read after it, and a finished list
replaces only one with a lower number. So two that publish at once never put an older list over a newer one, and a
revocation that a list just missed has a message in the outbox that makes the next list.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Select, and_, func, select, update

from core.errors import NotFound
from pki import authorities
from pki.actors import Action, Actor, require
from pki.authorities import Authority
from pki.desk import Desk
from pki.trail import leave
from pki.x509 import serials
from pki.x509.crl import CrlSpec, Reason, draft_crl, entry
from pki.x509.signing import complete, default_hash, sign
from store.engine import Unit
from store.tables import authorities as authorities_table
from store.tables import certificates, crl_numbers, crls, revocations

FULL, DELTA, SHARD = "full", "delta", "shard"
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


def published(desk: Desk, authority: str, kind: str, shard: int = NO_SHARD) -> Crl:
    """The list that verifiers shall get. Public: no actor. Raises AuthorityNotFound, CrlNotFound."""
    owner = authorities.load(desk, authority)
    query = select(crls).where(
        crls.c.authority_id == owner.id, crls.c.kind == kind, crls.c.shard == shard
    )
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
    query = select(crls.c.number).where(
        crls.c.authority_id == owner.id, crls.c.kind == kind, crls.c.shard == shard
    )
    with desk.store.read() as connection:
        return connection.execute(query).scalar_one_or_none()


def publish_shard(desk: Desk, actor: Actor, authority: str, shard: int, *, now: datetime) -> Crl:
    """Build and publish one shard: a critical issuing distribution point names its URL (RFC 5280 §5.2.5).

    Raises RoleMayNot, AuthorityNotFound, CrlNotFound (no such shard), SignerUnavailable.
    """
    require(actor, Action.JOB_RUN)
    owner = authorities.load(desk, authority)
    if not 0 <= shard < owner.shards:
        raise CrlNotFound(f"The authority {authority!r} has no shard {shard}.")
    return _publish(desk, actor, owner, SHARD, shard, now)


def publish_full(desk: Desk, actor: Actor, authority: str, *, now: datetime) -> Crl:
    """Build and publish the complete list, and an empty delta to it. Raises as `publish_shard` does."""
    require(actor, Action.JOB_RUN)
    owner = authorities.load(desk, authority)
    full = _publish(desk, actor, owner, FULL, NO_SHARD, now)
    _publish(desk, actor, owner, DELTA, NO_SHARD, now)
    return full


def publish_delta(desk: Desk, actor: Actor, authority: str, *, now: datetime) -> Crl:
    """Build and publish what changed since the complete list (RFC 5280 §5.2.4). Raises as `publish_shard` does."""
    require(actor, Action.JOB_RUN)
    return _publish(desk, actor, authorities.load(desk, authority), DELTA, NO_SHARD, now)


def due(desk: Desk, actor: Actor, *, now: datetime) -> list[tuple[str, str, int]]:
    """Lists that are missing, past the part of their life after which they are made anew, or older than a revocation.

    The last is the net below the outbox: a signer that was away for an hour must not delay a revocation any longer.
    Gives (authority, kind, shard). Raises RoleMayNot.
    """
    require(actor, Action.JOB_RUN)
    found: list[tuple[str, str, int]] = []
    for name in authorities.all_names(desk):
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
            if now < _renewal(desk, row.this_update, row.next_update)
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


def _publish(
    desk: Desk, actor: Actor, owner: Authority, kind: str, shard: int, now: datetime
) -> Crl:
    at = now.replace(microsecond=0)
    number = _take_number(desk, actor, owner, kind, shard, now)
    base = _base(desk, owner) if kind == DELTA else None
    entries = _entries(desk, owner, kind, shard, base, at)
    lifetime = desk.rules.delta_lifetime if kind == DELTA else desk.rules.crl_lifetime
    spec = CrlSpec(
        number=number,
        this_update=at,
        next_update=at + lifetime,
        shard_url=authorities.shard_crl_url(desk, owner.name, shard) if kind == SHARD else None,
        base_number=base[0] if base else None,
        freshest_url=_freshest(desk, owner) if kind == FULL else None,
    )
    key = authorities.signer(desk, owner)
    tbs = draft_crl(spec, owner.certificate, owner.public_key, entries)
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


def _take_number(
    desk: Desk, actor: Actor, owner: Authority, kind: str, shard: int, now: datetime
) -> int:
    def work(unit: Unit) -> int:
        raised = (
            update(crl_numbers)
            .where(crl_numbers.c.authority_id == owner.id)
            .values(number=crl_numbers.c.number + 1)
            .returning(crl_numbers.c.number)
        )
        number = int(unit.connection.execute(raised).scalar_one())
        leave(
            unit,
            actor,
            "crl.sign",
            _about(owner, kind, shard),
            now=now,
            outcome="intent",
            number=number,
        )
        return number

    return desk.store.together(work)


def _about(owner: Authority, kind: str, shard: int) -> str:
    return f"crl:{owner.name}:{kind}" + (f":{shard}" if kind == SHARD else "")


def _base(desk: Desk, owner: Authority) -> tuple[int, datetime]:
    """Number and time of the complete list that a delta builds on."""
    full = published(desk, owner.name, FULL)
    return full.number, full.this_update


def _entries(
    desk: Desk,
    owner: Authority,
    kind: str,
    shard: int,
    base: tuple[int, datetime] | None,
    at: datetime,
) -> list[bytes]:
    if base is not None:
        return _delta_entries(desk, owner, base[1])
    # RFC 5280 §5: an entry stays until one list after the certificate's end has shown it.
    query = select(revocations.c.entry).where(
        revocations.c.authority_id == owner.id,
        revocations.c.state.in_(("revoked", "held")),
        revocations.c.not_after > at - desk.rules.crl_lifetime,
    )
    if kind == SHARD:
        query = query.where(revocations.c.shard == shard)
    with desk.store.read() as connection:
        entries = list(connection.scalars(query))
        abandoned = _abandoned(owner, shard if kind == SHARD else None, at)
        for row in connection.execute(abandoned):
            entries.append(
                entry(serials.from_hex(row.serial), row.created_at, Reason.unspecified, None)
            )
    return entries


def _abandoned(owner: Authority, shard: int | None, at: datetime) -> Select[Any]:
    # A signature that never came back to us might still exist somewhere: its serial number is not to be trusted.
    query = select(certificates.c.serial, certificates.c.created_at).where(
        certificates.c.status == "abandoned",
        certificates.c.authority_id == owner.id,
        certificates.c.not_after > at,
    )
    return query if shard is None else query.where(certificates.c.shard == shard)


def _delta_entries(desk: Desk, owner: Authority, since: datetime) -> list[bytes]:
    # A minute of overlap: a transaction that was still open when the base was read has an earlier `changed_at`.
    query = select(revocations).where(
        revocations.c.authority_id == owner.id,
        revocations.c.changed_at >= since - timedelta(minutes=1),
    )
    with desk.store.read() as connection:
        return [row.entry for row in connection.execute(query)]


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
    same = and_(crls.c.authority_id == owner.id, crls.c.kind == crl.kind, crls.c.shard == crl.shard)

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

    desk.store.together(work)


def missing(desk: Desk, actor: Actor) -> list[tuple[str, str, int]]:
    """Lists that were never published: (authority, kind, shard). Raises RoleMayNot."""
    require(actor, Action.METRICS_READ)
    there = {(name, kind, shard) for name, kind, shard, _ in staleness(desk, actor)}
    wanted = [
        (name, kind, shard)
        for name in authorities.all_names(desk)
        for kind, shard in _wanted(authorities.load(desk, name))
    ]
    return [each for each in wanted if each not in there]


def _wanted(owner: Authority) -> list[tuple[str, int]]:
    shards = [(SHARD, shard) for shard in range(owner.shards)]
    return [(FULL, NO_SHARD), (DELTA, NO_SHARD), *shards]


def staleness(desk: Desk, actor: Actor) -> list[tuple[str, str, int, datetime]]:
    """When each published list ends: (authority, kind, shard, nextUpdate). Raises RoleMayNot."""
    require(actor, Action.METRICS_READ)
    query = select(
        authorities_table.c.name, crls.c.kind, crls.c.shard, crls.c.next_update
    ).join_from(crls, authorities_table, crls.c.authority_id == authorities_table.c.id)
    with desk.store.read() as connection:
        return [tuple(row) for row in connection.execute(query)]
