"""Revocation by ACME (RFC 8555 §7.6): by the account that ordered the certificate, by one that has proved all of its
names, or by the certificate's own key.

Proofs count for what was ordered at the same endpoint: where they are looked for is the endpoint's matter, and one that
trusts a laboratory's resolvers must not end what others gave out.

Who holds one of these can stop the peer anyway, so no second person is asked.
"""

from datetime import datetime

from sqlalchemy import Connection, exists, select

from pki import profiles
from pki.acme.accounts import Account
from pki.acme.refusals import NothingThere, RequestMalformed
from pki.acme.states import State
from pki.actors import Action, Actor, OutsideScope, Role, require
from pki.certificates import CertificateNotFound, CertificateView, pick
from pki.desk import Desk
from pki.revocation import REASONS, AlreadyRevoked, BadReason, NotRevocable, revoke_with
from pki.x509 import serials
from pki.x509.crl import Reason
from pki.x509.csr import spki_sha256
from pki.x509.der import INTEGER, children, read
from pki.x509.signing import PublicKey
from store.acme_tables import acme_accounts, acme_authorizations, acme_orders
from store.engine import Unit


class RevocationRefused(OutsideScope):
    """Neither the account nor the key may revoke this certificate."""

    code = "acme_revocation_refused"
    next_step = "Sign with the certificate's own key, or by the account that ordered it."


def revoke(
    desk: Desk,
    who: Account | PublicKey,
    der: bytes,
    reason: int | None,
    request_id: str,
    *,
    now: datetime,
) -> None:
    """Revoke a certificate (DER) for a reason of RFC 5280 §5.3.1, by default none.

    Raises RequestMalformed, NothingThere, RevocationRefused, BadReason, AlreadyRevoked, NotRevocable.
    """
    name = f"acme account {who.id}" if isinstance(who, Account) else "acme certificate key"
    actor = Actor(name, Role.ENROLLER, "acme", request_id=request_id)
    require(actor, Action.CERTIFICATE_ISSUE)
    why = _reason(reason)
    serial = _serial(der)

    def work(unit: Unit) -> None:
        found = _locked(unit.connection, serial, der)
        if not _may(unit.connection, who, found, now):
            raise RevocationRefused("This certificate is not yours to revoke.")
        if profiles.load(desk, found.profile).internal:
            raise RevocationRefused("This certificate is the service's own.")
        if found.status == "revoked":
            raise AlreadyRevoked("The certificate is revoked already.")
        if found.not_after <= now:
            raise NotRevocable("The certificate has expired; no verifier accepts it any more.")
        revoke_with(unit, actor, [(found.authority, found.serial)], why, now)

    desk.store.together(work)


def _serial(der: bytes) -> str:
    """The serial number: read by itself, for of the rest it is enough that it is what is on record."""
    try:
        whole = children(der, read(der, 0))[0]
        parts = children(der, whole)
        # RFC 5280 §4.1: behind the version
        number = next(each for each in parts[:2] if each.tag == INTEGER)
    except (ValueError, IndexError, StopIteration):
        raise RequestMalformed("This is no certificate.") from None
    return serials.to_hex(int.from_bytes(der[number.content : number.end], "big"))


def _reason(number: int | None) -> Reason:
    try:
        why = Reason(0 if number is None else number)
    except ValueError:
        raise BadReason(f"{number} is not a revocation reason.") from None
    if why.name not in REASONS or why is Reason.cACompromise:
        raise BadReason(f"{why.name} is not a reason that can be given here.")
    return why


def _locked(connection: Connection, serial: str, der: bytes) -> CertificateView:
    try:
        found = pick(connection, serial, None, lock=True)
    except CertificateNotFound:
        found = None
    if found is None or found.der != der or found.profile == "authority":
        raise NothingThere("No such certificate was issued here.")
    return found


def _may(
    connection: Connection, who: Account | PublicKey, found: CertificateView, now: datetime
) -> bool:
    if not isinstance(who, Account):
        return spki_sha256(who) == found.spki_sha256
    own = exists().where(
        acme_orders.c.account_id == who.id,
        acme_orders.c.authority == found.authority,
        acme_orders.c.serial == found.serial,
    )
    if connection.scalar(select(own)):
        return True
    here = exists().where(
        acme_orders.c.account_id == acme_accounts.c.id,
        acme_accounts.c.endpoint == who.endpoint,
        acme_orders.c.authority == found.authority,
        acme_orders.c.serial == found.serial,
    )
    if not connection.scalar(select(here)):
        return False
    proved = select(acme_authorizations.c.identifier).where(
        acme_authorizations.c.account_id == who.id,
        acme_authorizations.c.state == State.VALID,
        acme_authorizations.c.expires_at > now,
        acme_authorizations.c.identifier.in_(found.names),
    )
    return bool(found.names) and set(found.names) <= set(connection.scalars(proved))
