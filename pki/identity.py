"""Who is calling: a bearer token or a client certificate becomes an `Actor`, on every request anew."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from cryptography import x509
from sqlalchemy import Connection, and_, bindparam, or_, select, update

from core.errors import NotAuthenticated
from core.secret import Secret
from pki.actors import PEOPLE, Actor, Role, Scope
from pki.desk import Desk
from pki.x509 import serials
from store.engine import Unit
from store.rollover_tables import rollovers
from store.tables import authorities, certificates, tokens
from store.text import storable

# The profile of certificates that only speak to this service: no IKE peer takes one for the gateway.
CHANNEL = "gateway-channel"
TOKEN_PREFIX = "iw_"  # noqa: S105 - a public prefix, so that secret scanners recognise a leaked token


@dataclass(frozen=True, slots=True)
class SpentToken:
    """A token that is on record and counts no more: "expired", "revoked", "used up", or "not readable"."""

    id: str
    name: str
    state: str


class TokenRefused(NotAuthenticated):
    """The bearer token is unknown, expired, revoked or used up; which one is not told.

    `of` is for the log alone: the token, where it was one.
    """

    code = "token_refused"
    next_step = "It is mistyped, expired, revoked or used up: `ikewarden token list` tells an operator which."

    def __init__(self, message: str, *, of: SpentToken | None = None) -> None:
        super().__init__(message)
        self.of = of


class TokenUsedUp(NotAuthenticated):
    """A one-time token was used by somebody else at the same moment."""

    code = "token_used_up"
    next_step = "Ask an operator for a new token."


class ClientCertificateUnknown(NotAuthenticated):
    """The client certificate was not issued here, or not to something that may call."""

    code = "client_certificate_unknown"
    next_step = "Present the certificate this service issued to the gateway, or a bearer token."


class ClientCertificateRevoked(NotAuthenticated):
    """The client certificate is revoked or on hold."""

    code = "client_certificate_revoked"
    next_step = "Enroll again with a new one-time token."


class ClientCertificateExpired(NotAuthenticated):
    """The client certificate is outside its validity period."""

    code = "client_certificate_expired"
    next_step = "Enroll again with a new one-time token."


def token_hash(secret: Secret) -> str:
    """What the database keeps of a token: SHA-256, which is enough for 256 random bits."""
    return hashlib.sha256(secret.reveal()).hexdigest()


_TOKENS = select(
    tokens.c.id,
    tokens.c.name,
    tokens.c.role,
    tokens.c.scope,
    tokens.c.uses_left,
    tokens.c.expires_at,
    tokens.c.revoked_at,
)
_TOKEN = _TOKENS.where(tokens.c.hash == bindparam("hash"))
_BY_ID = _TOKENS.where(tokens.c.id == bindparam("number"))


def actor_from_token(desk: Desk, token: Secret, *, now: datetime, request_id: str) -> Actor:
    """Find who holds this token; one that is limited to an authority is good for what succeeds it, and for whom it is
    to succeed as long as nothing is switched to it.

    Raises TokenRefused.
    """
    row = next(iter(desk.store.look(_TOKEN, {"hash": token_hash(token)})), None)
    return _holder(desk, row, now=now, request_id=request_id)


def enroller_by_id(desk: Desk, token_id: str, *, now: datetime, request_id: str) -> Actor:
    """Find for whom an enroller's token was made, by its id: for doors where something else proves that it is held.

    Raises TokenRefused.
    """
    row = next(iter(desk.store.look(_BY_ID, {"number": storable(token_id)})), None)
    actor = _holder(desk, row, now=now, request_id=request_id)
    if actor.role is not Role.ENROLLER:
        raise TokenRefused("This token is not an enroller's.")
    return actor


def actor_by_token_id(desk: Desk, token_id: str, *, now: datetime, request_id: str) -> Actor:
    """Find who holds a token that was proved earlier, as it counts now. Raises TokenRefused."""
    row = next(iter(desk.store.look(_BY_ID, {"number": storable(token_id)})), None)
    return _holder(desk, row, now=now, request_id=request_id)


def used_up(desk: Desk, token: Secret, *, now: datetime) -> str | None:
    """The credential of a token that counts but for this: all its uses are gone. None for any other.

    Whoever lost the answer sends the same request again, with a token that the first one used up.
    """
    return _used_up(desk.store.look(_TOKEN, {"hash": token_hash(token)}), now)


def used_up_by_id(desk: Desk, token_id: str, *, now: datetime) -> str | None:
    """The same by the id of the token."""
    return _used_up(desk.store.look(_BY_ID, {"number": storable(token_id)}), now)


def _used_up(rows: Sequence[Any], now: datetime) -> str | None:
    row = next(iter(rows), None)
    if row is None or row.uses_left != 0 or _is_over(row, now):
        return None
    return f"token:{row.id}"


def scope_of_token(desk: Desk, token_id: str, *, now: datetime) -> Scope:
    """What may be asked for by somebody who proved a token earlier, whether it was used up since, or has expired.

    Raises TokenRefused where it was revoked.
    """
    row = next(iter(desk.store.look(_BY_ID, {"number": token_id})), None)
    scope = None if row is None or row.revoked_at is not None else scope_on_record(row.scope)
    if scope is None:
        raise TokenRefused("This token is not valid.")
    return _followed(desk, scope, now)


def _holder(desk: Desk, row: Any, *, now: datetime, request_id: str) -> Actor:
    if row is None or row.uses_left == 0 or _is_over(row, now):
        raise _refused(row, now)
    role, scope = role_on_record(row.role), scope_on_record(row.scope)
    if role is None or scope is None:
        raise _refused(row, now)
    return Actor(
        name=row.name,
        role=role,
        credential=f"token:{row.id}",
        scope=_followed(desk, scope, now),
        request_id=request_id,
        one_time=row.uses_left is not None,
    )


def _refused(row: Any, now: datetime) -> TokenRefused:
    of = None
    if row is not None:
        state = "used up" if row.uses_left == 0 else "not readable"
        if _is_over(row, now):
            state = "revoked" if row.revoked_at is not None else "expired"
        of = SpentToken(row.id, row.name, state)
    return TokenRefused("This token is not valid.", of=of)


def _is_over(row: Any, now: datetime) -> bool:
    return row.revoked_at is not None or (row.expires_at is not None and row.expires_at <= now)


_owners, _heirs = authorities.alias("owners"), authorities.alias("heirs")
_BOTH = (
    select(_owners.c.name.label("owner"), _heirs.c.name.label("heir"), rollovers)
    .join_from(rollovers, _owners, _owners.c.id == rollovers.c.authority_id)
    .join(_heirs, _heirs.c.id == rollovers.c.successor_id)
    .where(bindparam("of").in_([_owners.c.name, _heirs.c.name]))
)


def _followed(desk: Desk, scope: Scope, now: datetime) -> Scope:
    """The scope, with all that may issue in the place of the authorities in it (`authorities.current`)."""
    if scope.authorities is None:
        return scope
    names = list(scope.authorities)
    with desk.store.read() as connection:
        for name in names:  # it grows while it is gone through
            for row in connection.execute(_BOTH, {"of": name}):
                onward = row.owner == name and row.published_at is not None
                waits = row.heir == name and (row.switch_at is None or now < row.switch_at)
                other = row.heir if onward else row.owner
                if (onward or waits) and other not in names:
                    names.append(other)
    return replace(scope, authorities=tuple(names))


_LISTS = frozenset({"profiles", "authorities", "names", "networks", "endpoints"})


def role_on_record(text: str) -> Role | None:
    """The role of a row of `tokens`; None for one that this version does not know."""
    return next((role for role in Role if role == text), None)


def scope_on_record(document: object) -> Scope | None:
    """Read a scope as `tokens.scope` keeps it; None where it cannot be read, which is no permission for anything."""
    if not isinstance(document, dict):
        return None
    known = {key: value for key, value in document.items() if value is not None}
    gateway = known.pop("gateway", None)
    if not isinstance(gateway, str | None) or not known.keys() <= _LISTS:
        return None
    if not all(isinstance(each, list) for each in known.values()):
        return None
    return Scope(**{key: tuple(map(str, each)) for key, each in known.items()}, gateway=gateway)


_CERTIFICATE = (
    select(
        certificates.c.serial,
        certificates.c.status,
        certificates.c.names,
        certificates.c.gateway,
        certificates.c.profile,
        certificates.c.not_before,
        certificates.c.not_after,
        authorities.c.name.label("authority"),
    )
    .join_from(certificates, authorities)
    .where(
        certificates.c.serial == bindparam("number"),
        certificates.c.fingerprint == bindparam("print"),
    )
)


def certificate_credential(authority: str, serial: str) -> str:
    """How an actor's credential names a certificate."""
    return f"certificate:{authority}:{serial}"


_SPEAKS = (
    select(certificates.c.id)
    .where(
        certificates.c.gateway == bindparam("gateway"),
        certificates.c.profile != CHANNEL,
        certificates.c.status == "valid",
        certificates.c.not_after > bindparam("moment", type_=certificates.c.not_after.type),
    )
    .limit(1)
)


def _has_own(connection: Connection, gateway: str, now: datetime) -> bool:
    """Whether a gateway has a certificate of its own that counts; without one its channel counts for nothing."""
    asked = {"gateway": gateway, "moment": now}
    return connection.execute(_SPEAKS, asked).first() is not None


def actor_from_certificate(
    desk: Desk, der: bytes, *, now: datetime, request_id: str, by_itself: bool = False
) -> Actor:
    """Find which gateway holds this client certificate, by its serial number and SHA-256 fingerprint. `by_itself`:
    one of no gateway counts too, for what is done with this very certificate.

    The TLS handshake proved possession of the key; the record says whether it counts now. That of a channel counts as
    long as the gateway has a certificate of its own that does: to revoke the one is to end both. Raises
    ClientCertificateUnknown, ClientCertificateRevoked, ClientCertificateExpired.
    """
    try:
        number = serials.to_hex(x509.load_der_x509_certificate(der).serial_number)
    except ValueError:
        raise ClientCertificateUnknown("This client certificate cannot be read.") from None
    fingerprint = hashlib.sha256(der).hexdigest()
    with desk.store.read() as connection:
        row = connection.execute(
            _CERTIFICATE, {"number": number, "print": fingerprint}
        ).one_or_none()
        alone = (
            row is not None
            and row.profile == CHANNEL
            and not _has_own(connection, row.gateway, now)
        )
    if row is None or (row.gateway is None and not by_itself):
        raise ClientCertificateUnknown("This client certificate may not call the service.")
    if row.status == "valid" and alone:
        raise ClientCertificateRevoked("This gateway has no certificate of its own that counts.")
    _check_counts(row, now)
    return Actor(
        name=f"certificate {row.serial}" if row.gateway is None else f"gateway {row.gateway}",
        role=Role.GATEWAY,
        credential=certificate_credential(row.authority, row.serial),
        scope=Scope(
            profiles=(row.profile,),
            authorities=(row.authority,),
            names=tuple(row.names.split("\n")) if row.names else (),
            gateway=row.gateway,
        ),
        request_id=request_id,
    )


def person_from_certificate(desk: Desk, der: bytes, *, now: datetime, request_id: str) -> Actor:
    """Find which person of the settings holds this client certificate: of this service, in force now, of no gateway,
    with exactly that name and no other. The TLS handshake proved possession of the key.

    Raises ClientCertificateUnknown, ClientCertificateRevoked, ClientCertificateExpired.
    """
    row = _on_record(desk, der)
    role = None
    if row is not None and row.gateway is None:
        role = desk.rules.sessions.people.get(row.names)
    if row is None or role is None or role not in PEOPLE:
        raise ClientCertificateUnknown(
            "This client certificate is of nobody who signs in with one.",
            next_step="An admin names people in [console] people; the certificate has exactly that name.",
        )
    _check_counts(row, now)
    return Actor(
        name=person_name(row.names),
        role=role,
        credential=certificate_credential(row.authority, row.serial),
        request_id=request_id,
    )


def person_name(subject_name: str) -> str:
    """How a person is called: by a mail address without its kind, the same as through OpenID Connect."""
    return storable(subject_name.removeprefix("email:"))


def _on_record(desk: Desk, der: bytes) -> Any:
    try:
        number = serials.to_hex(x509.load_der_x509_certificate(der).serial_number)
    except ValueError:
        raise ClientCertificateUnknown("This client certificate cannot be read.") from None
    asked = {"number": number, "print": hashlib.sha256(der).hexdigest()}
    return next(iter(desk.store.look(_CERTIFICATE, asked)), None)


def _check_counts(row: Any, now: datetime) -> None:
    if row.status != "valid":
        raise ClientCertificateRevoked("This client certificate is revoked or on hold.")
    if not row.not_before <= now < row.not_after:
        raise ClientCertificateExpired("This client certificate is not within its validity period.")


_USE = (
    update(tokens)
    .where(
        and_(
            tokens.c.id == bindparam("of"),
            tokens.c.uses_left > 0,
            tokens.c.revoked_at.is_(None),
            or_(tokens.c.expires_at.is_(None), tokens.c.expires_at > bindparam("at")),
        )
    )
    .values(uses_left=tokens.c.uses_left - 1, last_used_at=bindparam("at"))
)


def use_up(unit: Unit, actor: Actor, now: datetime) -> None:
    """Take one use from a limited token, in the transaction of what it allowed; that fails with TokenUsedUp.

    Two that use the same one-time token at once both get here; the row decides. Not before the commit, and in one
    order: of many that use the same few tokens none shall lock one and wait for another.
    """
    if not actor.one_time or actor.token_id is None:
        return
    used_up = TokenUsedUp("This one-time token was just used.")
    unit.change(_USE, {"of": actor.token_id, "at": now}, otherwise=used_up)


def give_back(connection: Connection, credential: str) -> None:
    """Return one use to a limited token whose certificate was never made."""
    kind, _, token_id = credential.partition(":")
    if kind == "token":
        connection.execute(
            update(tokens)
            .where(tokens.c.id == token_id, tokens.c.uses_left.is_not(None))
            .values(uses_left=tokens.c.uses_left + 1)
        )
