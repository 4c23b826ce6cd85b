"""Certificates on record: looked up, searched, shown."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from cryptography import x509
from sqlalchemy import ColumnElement, Connection, Select, and_, bindparam, or_, select

from core.errors import Conflict, InvalidInput, NotFound
from pki.actors import Action, Actor, Role, Scope, covers, require, require_gateway
from pki.descent import ended
from pki.desk import Desk
from pki.x509 import serials
from pki.x509.crl import Reason
from store.tables import authorities, certificates, revocations
from store.text import storable

STATUSES = ("pending", "valid", "held", "revoked", "abandoned", "expired")
MAX_PAGE = 500


class CertificateNotFound(NotFound):
    """No certificate with this serial number, or not one this caller may see."""

    code = "certificate_not_found"
    next_step = "`ikewarden cert list` finds it; a serial number is given whole, in hexadecimal."


class SerialAmbiguous(Conflict):
    """Two authorities issued this serial number."""

    code = "serial_ambiguous"
    next_step = "Name the authority too: --authority NAME."


class BadQuery(InvalidInput):
    """A search that makes no sense."""

    code = "query_malformed"


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
class CertificateQuery:
    """A search. `q` is part of a subject, name, serial number or fingerprint; `cursor` the last id of a page."""

    q: str | None = None
    status: str | None = None
    expires_before: datetime | None = None
    gateway: str | None = None
    profile: str | None = None
    authority: str | None = None
    cursor: int | None = None
    limit: int = 100


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
    gateway = query.gateway or actor.scope.gateway
    require_gateway(actor, gateway)
    statement = _filtered(query, now)
    if actor.role is not Role.GATEWAY:
        statement = statement.where(*within(actor.scope))
    if gateway is not None:
        statement = statement.where(certificates.c.gateway == storable(gateway))
    found: list[CertificateView] = []
    with desk.store.read() as connection:
        # Most callers see everything, and one round is enough; patterns of names are no business of SQL.
        while True:
            rows = connection.execute(statement.limit(query.limit)).all()
            found += [each for each in map(view, rows) if visible(actor, each)]
            if len(found) >= query.limit or len(rows) < query.limit:
                return _in_force(connection, found[: query.limit])
            statement = statement.where(certificates.c.id < rows[-1].id)


def within(scope: Scope) -> Iterator[ColumnElement[bool]]:
    """What a database can tell of whether a certificate lies within a credential's scope: all but its names."""
    if scope.gateway is not None:
        yield certificates.c.gateway == scope.gateway
    if scope.profiles is not None:
        yield certificates.c.profile.in_(scope.profiles)
    if scope.authorities is not None:
        mine = select(authorities.c.id).where(authorities.c.name.in_(scope.authorities))
        yield certificates.c.authority_id.in_(mine)


def _filtered(query: CertificateQuery, now: datetime) -> Select[Any]:
    if not 1 <= query.limit <= MAX_PAGE:
        raise BadQuery(f"A page has between 1 and {MAX_PAGE} entries.")
    statement = _COLUMNS.order_by(certificates.c.id.desc())
    if query.cursor is not None:
        statement = statement.where(certificates.c.id < query.cursor)
    if query.status is not None:
        statement = _with_status(statement, query.status, now)
    if query.expires_before is not None:
        statement = statement.where(certificates.c.not_after < query.expires_before)
    if query.profile is not None:
        statement = statement.where(certificates.c.profile == storable(query.profile))
    if query.authority is not None:
        statement = statement.where(authorities.c.name == storable(query.authority))
    if query.q:
        text = storable(query.q)
        statement = statement.where(
            or_(
                certificates.c.subject.icontains(text, autoescape=True),
                certificates.c.names.icontains(text, autoescape=True),
                certificates.c.serial == _digits(text),
                certificates.c.fingerprint == _digits(text),
                certificates.c.gateway == text,
            )
        )
    return statement


def _with_status(statement: Select[Any], status: str, now: datetime) -> Select[Any]:
    if status not in STATUSES:
        raise BadQuery(f"A status is one of {', '.join(STATUSES)}.")
    if status == "expired":
        return statement.where(
            and_(certificates.c.status != "abandoned", certificates.c.not_after <= now)
        )
    statement = statement.where(certificates.c.status == status)
    if status == "valid":
        statement = statement.where(certificates.c.not_after > now)
    return statement


def _digits(text: str) -> str:
    return text.lower().replace(":", "").replace(" ", "").removeprefix("0x")
