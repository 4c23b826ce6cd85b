"""Sessions of people at the console: opened by a proof, looked up anew with every request, ended.

A session holds no rights of its own: whose token was revoked, or whose certificate, is out with the next request.
"""

import contextlib
import hashlib
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address, ip_network
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, bindparam, delete, func, select, update

from core.errors import NotAuthenticated, NotPermitted, TooFast, Unavailable
from core.secret import Secret
from pki import identity
from pki.actors import PEOPLE, Actor, Role
from pki.desk import Desk
from pki.identity import TokenRefused, role_on_record, scope_on_record
from pki.trail import leave
from store.console_tables import failed_sign_ins, sessions
from store.engine import Unit
from store.text import storable

# `seen_at` is not written with every click.
_SEEN: Final = timedelta(minutes=1)


class SessionEnded(NotAuthenticated):
    """Nobody is signed in, or not any more: it was too long ago, or what proved it does not count any more."""

    code = "session_ended"
    next_step = "Sign in again."


class NoPerson(NotPermitted):
    """What was shown belongs to a device or a program, and the console is for people."""

    code = "console_role_refused"
    next_step = "Sign in with a token of the role admin, operator, approver or auditor."


class TooManySignIns(TooFast):
    """Too many tries to sign in failed from this address."""

    code = "sign_in_locked"
    next_step = "Wait as long as it says; a token is copied whole, with its iw_ at the beginning."


@dataclass(frozen=True)
class Session:
    """Somebody who is signed in. `way`: "token", "certificate" or "oidc". At `expires_at` it is over in any case."""

    id: int
    actor: Actor
    way: str
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True)
class Opened:
    """A session that has begun; `secret` is for the cookie and nowhere else."""

    secret: Secret
    session: Session


def sign_in_with_token(
    desk: Desk,
    token: Secret,
    *,
    client: str,
    now: datetime,
    request_id: str,
    before: Secret | None = None,
) -> Opened:
    """Begin a session for the holder of a token. `client` is the address that he comes from; `before` as in `begin`.

    Raises TokenRefused, NoPerson, TooManySignIns.
    """
    check_tries(desk, client, now=now)
    try:
        actor = identity.actor_from_token(desk, token, now=now, request_id=request_id)
    except TokenRefused:
        note_failure(desk, client, now=now, request_id=request_id)
        raise
    return begin(desk, actor, "token", client=client, now=now, before=before)


def sign_in_with_certificate(
    desk: Desk,
    der: bytes | None,
    *,
    client: str,
    now: datetime,
    request_id: str,
    before: Secret | None = None,
) -> Opened:
    """Begin a session for the holder of a client certificate, as long as he shows the same one; `before` as in `begin`.

    Raises NoPerson where none was shown, or one of nobody that the settings name; ClientCertificateUnknown,
    ClientCertificateRevoked, ClientCertificateExpired, TooManySignIns.
    """
    check_tries(desk, client, now=now)
    if der is None:
        raise NoPerson(
            "The browser showed no certificate.",
            next_step="Import it with its key into the browser, and choose it when the browser asks.",
        )
    actor = identity.person_from_certificate(desk, der, now=now, request_id=request_id)
    return begin(desk, actor, "certificate", client=client, now=now, before=before)


def begin(
    desk: Desk,
    actor: Actor,
    way: str,
    *,
    client: str,
    now: datetime,
    before: Secret | None = None,
) -> Opened:
    """Begin a session for somebody who has proved himself. `before` is the secret of the session that his browser had:
    nobody could end it any more who has its cookie no longer, so it ends here. Raises NoPerson.
    """
    if actor.role not in PEOPLE:
        raise NoPerson(f"The role {actor.role} is not a person's.")
    secret = Secret(urlsafe_b64encode(desk.entropy(32)).rstrip(b"="))
    expires_at = now + desk.rules.sessions.longest
    row = {
        "hash": _hash(secret),
        "way": way,
        "credential": actor.credential,
        "name": storable(actor.name),
        "role": str(actor.role) if way == "oidc" else None,
        "scope": None,
        "client": client,
        "created_at": now,
        "seen_at": now,
        "expires_at": expires_at,
    }
    new = sessions.insert().returning(sessions.c.id)

    def work(unit: Unit) -> int:
        if before is not None:
            remove(unit, actor, sessions.c.hash == _hash(before), now=now, by="sign_in")
        number: int = unit.connection.execute(new, row).scalar_one()
        leave(unit, actor, "console.sign_in", f"session:{number}", now=now, way=way, client=client)
        return number

    number = desk.store.together(work)
    return Opened(secret, Session(number, actor, way, now, expires_at))


_LOOK = select(sessions).where(sessions.c.hash == bindparam("digest"))


def find(
    desk: Desk,
    secret: Secret,
    certificate: bytes | None,
    *,
    now: datetime,
    request_id: str,
    seen: bool = True,
) -> Session:
    """Find who is signed in, by what the cookie holds and the certificate of this connection; as it counts now.

    `seen`: he did something. A page that looks by itself does not keep him signed in.

    Raises SessionEnded.
    """
    row = next(iter(desk.store.look(_LOOK, {"digest": _hash(secret)})), None)
    rules = desk.rules.sessions
    if row is None or now >= row.expires_at or now >= row.seen_at + rules.idle:
        raise SessionEnded("Nobody is signed in, or it was too long ago.")
    try:
        actor = holder(desk, row, certificate, now=now, request_id=request_id)
    except NotAuthenticated:
        raise SessionEnded("What you signed in with does not count any more.") from None
    if seen and now >= row.seen_at + _SEEN:
        # Where nothing can be written, somebody must look at what is wrong all the same.
        with contextlib.suppress(Unavailable), desk.store.write() as connection:
            connection.execute(update(sessions).where(sessions.c.id == row.id), {"seen_at": now})
    return Session(row.id, actor, row.way, row.created_at, row.expires_at)


def end(desk: Desk, session: Session, *, now: datetime) -> None:
    """Sign out: the cookie is worth nothing from now on."""

    def work(unit: Unit) -> None:
        remove(unit, session.actor, sessions.c.id == session.id, now=now)

    desk.store.together(work)


def remove(
    unit: Unit, actor: Actor, which: ColumnElement[bool], *, now: datetime, **detail: Any
) -> int:
    """End those sessions, each with its audit event, which names whose it was where it was another's; how many."""
    gone = unit.connection.execute(
        delete(sessions).where(which).returning(sessions.c.id, sessions.c.name)
    ).all()
    for row in gone:
        whose: dict[str, Any] = {} if row.name == actor.name else {"of": row.name}
        leave(unit, actor, "console.sign_out", f"session:{row.id}", now=now, **whose, **detail)
    return len(gone)


def holder(
    desk: Desk, row: Any, certificate: bytes | None, *, now: datetime, request_id: str
) -> Actor:
    """Who has the session of this row, as what he signed in with counts now. Raises NotAuthenticated."""
    if row.way == "token":
        number = row.credential.removeprefix("token:")
        actor = identity.actor_by_token_id(desk, number, now=now, request_id=request_id)
        if actor.role in PEOPLE:
            return actor
    if row.way == "certificate" and certificate is not None:
        actor = identity.person_from_certificate(desk, certificate, now=now, request_id=request_id)
        if actor.credential == row.credential:
            return actor
    oidc = desk.rules.sessions.oidc
    if row.way == "oidc" and oidc is not None:
        role, scope = role_on_record(row.role), scope_on_record(row.scope or {})
        # As the settings are now: of this issuer, and a role that is still given.
        given = row.credential.startswith(oidc_credential(oidc.issuer, ""))
        if given and role in {each for _, each in oidc.roles} and scope is not None:
            return Actor(row.name, role, row.credential, scope, request_id)
    raise SessionEnded("What you signed in with does not count any more.")


def oidc_credential(issuer: str, subject: str) -> str:
    """How the credential of somebody names him who came through OpenID Connect."""
    return f"oidc:{issuer}#{subject}"


def source(client: str) -> str:
    """What tries are counted by: the address, or of IPv6 the /64, which one host has all of."""
    try:
        address = ip_address(client.partition("%")[0])
    except ValueError:
        return "elsewhere"
    if address.version == 6 and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return str(address if address.version == 4 else ip_network((address, 64), strict=False))


def check_tries(desk: Desk, client: str, *, now: datetime) -> None:
    """Raise TooManySignIns where too many tries from this address failed lately."""
    rules = desk.rules.sessions
    tries = select(failed_sign_ins.c.at).where(
        failed_sign_ins.c.source == source(client), failed_sign_ins.c.at > now - rules.locked
    )
    found = [row.at for row in desk.store.look(tries.limit(rules.tries), {})]
    if len(found) >= rules.tries:
        wait = max(1, int((min(found) + rules.locked - now).total_seconds()))
        raise TooManySignIns(
            f"{len(found)} tries to sign in failed from this address.",
            details={"retry_after": wait},
        )


def note_failure(desk: Desk, client: str, *, now: datetime, request_id: str) -> None:
    """Put on record that a try to sign in failed. The try that locks the address leaves an audit event."""
    nobody = Actor("nobody", Role.AUDITOR, credential="none", request_id=request_id)
    whose, rules = source(client), desk.rules.sessions
    recent = select(func.count()).where(
        failed_sign_ins.c.source == whose, failed_sign_ins.c.at > now - rules.locked
    )

    def work(unit: Unit) -> None:
        unit.connection.execute(failed_sign_ins.insert(), {"source": whose, "at": now})
        count = unit.connection.execute(recent).scalar_one()
        if count == rules.tries:
            about = f"address:{whose}"
            leave(unit, nobody, "console.locked", about, now=now, outcome="denied", failures=count)

    desk.store.together(work)


def forget(connection: Connection, now: datetime) -> int:
    """Remove sessions that are over, and old failures."""
    gone = connection.execute(delete(sessions).where(sessions.c.expires_at < now)).rowcount
    old = delete(failed_sign_ins).where(failed_sign_ins.c.at < now - timedelta(days=1))
    return gone + connection.execute(old).rowcount


def _hash(secret: Secret) -> str:
    return hashlib.sha256(secret.reveal()).hexdigest()
