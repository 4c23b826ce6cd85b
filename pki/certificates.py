"""Certificates on record: looked up, searched, shown."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from cryptography import x509
from sqlalchemy import ColumnElement, Connection, bindparam, select

from core.errors import Conflict, NotFound
from pki.actors import Action, Actor, Role, Scope, covers, require, require_gateway
from pki.certificate_ids import MAX_PAGE, STATUSES, BadQuery, CertificateQuery, conditions
from pki.certificate_ids import find as find_ids
from pki.descent import ended
from pki.desk import Desk
from pki.x509 import serials
from pki.x509.crl import Reason
from store.tables import authorities, certificates, revocations
from store.text import storable

COUNTED: Final = 1_000
__all__ = ["MAX_PAGE", "STATUSES", "BadQuery", "CertificateQuery"]


class CertificateNotFound(NotFound):
    """No certificate with this serial number, or not one this caller may see."""

    code = "certificate_not_found"
    next_step = "`ikewarden cert list` finds it; a serial number is given whole, in hexadecimal."


class SerialAmbiguous(Conflict):
    """Two authorities issued this serial number."""

    code = "serial_ambiguous"
    next_step = "Name the authority too: --authority NAME."


@dataclass(frozen=True)
class CertificateView:
    """A certificate as it may be shown.

    `der` is None until it is signed; `was_ended` says that it was revoked or on hold at some time. `in_force` is told
    by `get` and `search`: False below an authority whose certificate, or one above it, is revoked or on hold.
    """

    id: int
    authority: str
    authority_id: int
    serial: str
    status: str
    profile: str
    subject: str
    names: tuple[str, ...]
    not_before: datetime
    not_after: datetime
    shard: int
    der: bytes | None
    fingerprint: str | None
    spki_sha256: str
    requested_by: str
    gateway: str | None
    created_at: datetime
    issued_at: datetime | None
    renewed_from: str | None
    revoked_at: datetime | None = None
    reason: str | None = None
    invalidity_date: datetime | None = None
    was_ended: bool = False
    in_force: bool = True

    def status_at(self, now: datetime) -> str:
        """The status as people mean it: a valid certificate whose time is over is `expired`."""
        return "expired" if self.status == "valid" and self.not_after <= now else self.status

    @property
    def pem(self) -> str | None:
        """The certificate in PEM, once it is signed."""
        from pki.authorities import pem

        return None if self.der is None else pem(x509.load_der_x509_certificate(self.der))


@dataclass(frozen=True)
class Found:
    """A page of a search, the newest first. `total` counts what was found, up to `COUNTED`, and `is_more` says that
    there is more; None for a credential that is limited in names. `older` and `newer` are the cursors of the pages
    beside it, None where there is none.
    """

    items: tuple[CertificateView, ...]
    total: int | None
    is_more: bool
    older: int | None
    newer: int | None


# How many are looked at together where patterns of names decide who sees them.
_PORTION: Final = 2000
_COLUMNS = (
    select(
        certificates,
        authorities.c.name.label("authority"),
        revocations.c.revoked_at,
        revocations.c.reason,
        revocations.c.invalidity_at,
        revocations.c.state,
    )
    .join_from(certificates, authorities)
    .outerjoin(revocations, revocations.c.certificate_id == certificates.c.id)
)


# Made once: building them takes longer than running them.
_PICK = _COLUMNS.where(certificates.c.serial == bindparam("number")).limit(2)
_PICK_OF = _PICK.where(authorities.c.name == bindparam("of"))
_LOCK = (
    select(certificates.c.id).where(certificates.c.serial == bindparam("number")).with_for_update()
)


def view(row: Any) -> CertificateView:
    """Turn a row of `_COLUMNS` into a view."""
    ended = row.state in {"revoked", "held"}
    return CertificateView(
        id=row.id,
        authority=row.authority,
        authority_id=row.authority_id,
        serial=row.serial,
        status=row.status,
        profile=row.profile,
        subject=row.subject,
        names=tuple(row.names.split("\n")) if row.names else (),
        not_before=row.not_before,
        not_after=row.not_after,
        shard=row.shard,
        der=row.der,
        fingerprint=row.fingerprint,
        spki_sha256=row.spki_sha256,
        requested_by=row.requested_by,
        gateway=row.gateway,
        created_at=row.created_at,
        issued_at=row.issued_at,
        renewed_from=row.renewed_from,
        revoked_at=row.revoked_at if ended else None,
        reason=Reason(row.reason).name if ended else None,
        invalidity_date=row.invalidity_at if ended else None,
        was_ended=row.state is not None,
    )


def pick(
    connection: Connection, serial: str, authority: str | None, *, lock: bool = False
) -> CertificateView:
    """Find one certificate inside a transaction; `lock` keeps others from changing it until that ends.

    Raises BadSerial, CertificateNotFound, SerialAmbiguous.
    """
    asked = {"number": serials.normal(serial)}
    if lock and connection.dialect.name != "sqlite":  # there is one writer at a time anyway
        # First, by itself: PostgreSQL would join a row it had to wait for with what stood beside it before.
        connection.execute(_LOCK, asked).all()
    if authority is None:
        rows = connection.execute(_PICK, asked).all()
    else:
        rows = connection.execute(_PICK_OF, {**asked, "of": storable(authority)}).all()
    if not rows:
        raise _not_found(connection, serial, authority)
    if len(rows) > 1:
        raise SerialAmbiguous(f"Several authorities issued a certificate {serial!r}.")
    return view(rows[0])


_AUTHORITY = select(authorities.c.name).where(authorities.c.serial == bindparam("number")).limit(1)


def _not_found(connection: Connection, serial: str, authority: str | None) -> CertificateNotFound:
    """What `ca show` tells is a serial number too; that of a root is on no record of certificates."""
    found = connection.scalar(_AUTHORITY, {"number": serials.normal(serial)})
    if authority is not None or found is None:
        return CertificateNotFound(f"There is no certificate {serial!r}.")
    return CertificateNotFound(
        f"{serial!r} is the authority {found!r} itself, which no authority here certified.",
        next_step=f"`ikewarden ca show {found}` shows it. It cannot be revoked here; docs/how-to/rollover.md takes it "
        "out of use.",
    )


def find(desk: Desk, serial: str, *, authority: str | None = None) -> CertificateView:
    """Find one certificate for an operation that asked for permission already. Raises as `pick` does."""
    with desk.store.read() as connection:
        return pick(connection, serial, authority)


def with_keys(
    connection: Connection, keys: Collection[str], now: datetime
) -> list[CertificateView]:
    """Certificates in force, on hold too, with keys of these SPKI hashes; the newest first, at most `MAX_PAGE`."""
    query = _COLUMNS.where(
        certificates.c.spki_sha256.in_(keys),
        certificates.c.status.in_(("valid", "held")),
        certificates.c.not_after > now,
    )
    rows = connection.execute(query.order_by(certificates.c.id.desc()).limit(MAX_PAGE))
    return [view(row) for row in rows]


def get(desk: Desk, actor: Actor, serial: str, *, authority: str | None = None) -> CertificateView:
    """Look at one certificate; a gateway sees its own only.

    Raises RoleMayNot, BadSerial, CertificateNotFound (also for somebody else's), SerialAmbiguous.
    """
    require(actor, Action.CERTIFICATE_READ)
    found = find(desk, serial, authority=authority)
    with desk.store.read() as connection:
        [told] = _in_force(connection, [found])
    if not visible(actor, found):
        raise CertificateNotFound(f"There is no certificate {serial!r}.")
    return told


def _in_force(connection: Connection, found: list[CertificateView]) -> list[CertificateView]:
    gone = set(connection.scalars(ended()))
    return [replace(each, in_force=each.authority_id not in gone) for each in found]


def visible(actor: Actor, found: CertificateView) -> bool:
    """Whether this caller may see it."""
    scope = actor.scope
    if actor.role is Role.GATEWAY:
        # Its own by name, also those of an earlier profile or authority.
        return scope.gateway is not None and scope.gateway == found.gateway
    return covers(scope, found.authority, found.profile, found.gateway, found.names)


def search(
    desk: Desk, actor: Actor, query: CertificateQuery, *, now: datetime
) -> list[CertificateView]:
    """Search certificates, newest first, at most `limit` (1 to 500) of them after `cursor`.

    Raises RoleMayNot, OutsideScope (whoever is tied to a gateway and asks for another's), BadQuery.
    """
    require(actor, Action.CERTIFICATE_READ)
    narrow = _narrow(actor, query, now)
    with desk.store.read() as connection:
        found = _some(connection, actor, query, narrow, query.limit)
        return _in_force(connection, found[::-1] if query.newer else found)


def browse(desk: Desk, actor: Actor, query: CertificateQuery, *, now: datetime) -> Found:
    """A page of a search, with what there is beside it. Raises as `search` does."""
    require(actor, Action.CERTIFICATE_READ)
    narrow = _narrow(actor, query, now)
    with desk.store.read() as connection:
        total = None
        if actor.scope.names is None:
            first = find_ids(connection, query.needles, narrow, COUNTED + 1)
            total = len(first)
        if total is not None and query.cursor is None and not query.newer:
            # What was counted is what is shown.
            shown = _views(connection, first[: query.limit + 1])
            found = [each for each in shown if visible(actor, each)]
        else:
            found = _some(connection, actor, query, narrow, query.limit + 1)
        beyond, found = len(found) > query.limit, found[: query.limit]
        came_from = query.cursor is not None
        items = tuple(_in_force(connection, found[::-1] if query.newer else found))
        older, newer = (came_from, beyond) if query.newer else (beyond, came_from)
        return Found(
            items=items,
            total=None if total is None else min(total, COUNTED),
            is_more=total is not None and total > COUNTED,
            older=items[-1].id if items and older else None,
            newer=items[0].id if items and newer else None,
        )


def _narrow(actor: Actor, query: CertificateQuery, now: datetime) -> list[ColumnElement[bool]]:
    gateway = query.gateway or actor.scope.gateway
    require_gateway(actor, gateway)
    narrow = list(conditions(query, now))
    if actor.role is not Role.GATEWAY:
        narrow += within(actor.scope)
    if gateway is not None:
        narrow.append(certificates.c.gateway == storable(gateway))
    return narrow


def _some(
    connection: Connection,
    actor: Actor,
    query: CertificateQuery,
    narrow: Sequence[ColumnElement[bool]],
    need: int,
) -> list[CertificateView]:
    """In the order in which they were looked for."""
    found: list[CertificateView] = []
    cursor = query.cursor
    # Most callers see everything, and one round is enough; patterns of names are no business of SQL.
    portion = need if actor.scope.names is None else max(need, _PORTION)
    while True:
        ids = find_ids(connection, query.needles, narrow, portion, cursor=cursor, newer=query.newer)
        found += [each for each in _views(connection, ids) if visible(actor, each)]
        if len(found) >= need or len(ids) < portion:
            return found[:need]
        cursor = ids[-1]


def _views(connection: Connection, ids: Sequence[int]) -> list[CertificateView]:
    """These certificates, in this order."""
    rows = connection.execute(_COLUMNS.where(certificates.c.id.in_(ids)))
    known = {row.id: view(row) for row in rows}
    return [known[number] for number in ids]


def within(scope: Scope) -> Iterator[ColumnElement[bool]]:
    """What a database can tell of whether a certificate lies within a credential's scope: all but its names."""
    if scope.gateway is not None:
        yield certificates.c.gateway == scope.gateway
    if scope.profiles is not None:
        yield certificates.c.profile.in_(scope.profiles)
    if scope.authorities is not None:
        mine = select(authorities.c.id).where(authorities.c.name.in_(scope.authorities))
        yield certificates.c.authority_id.in_(mine)
