"""A certificate revoked by its own key, as CMP has it (RFC 9483 §4.2).

Who holds that key can stop the peer anyway, so no second person is asked.
"""

from datetime import datetime

from pki import authorities, profiles
from pki.actors import Action, Actor, OutsideScope, require
from pki.authorities import PROFILE
from pki.certificates import pick
from pki.desk import Desk
from pki.identity import certificate_credential
from pki.revocation import REASONS, AlreadyRevoked, BadReason, revoke_with
from pki.x509 import serials
from pki.x509.crl import Reason
from store.engine import Unit


class NotItsOwn(OutsideScope):
    """Another certificate than that by which the sender has proved itself, or one that is not revoked like this."""

    code = "not_its_own_certificate"
    next_step = "Sign with the key of the certificate that is to be revoked, or ask an operator."


def revoke_own(
    desk: Desk, actor: Actor, issuer: bytes, serial: int, reason: int, *, now: datetime
) -> None:
    """Revoke the certificate (the DER of its issuer's name, its number) by which the actor has proved itself, for a
    reason of RFC 5280 §5.3.1.

    Raises RoleMayNot, NotItsOwn, BadReason, AlreadyRevoked.
    """
    require(actor, Action.CERTIFICATE_RENEW)
    why = _reason(reason)
    kind, _, named = actor.credential.partition(":")
    authority, _, own = named.rpartition(":")
    other = NotItsOwn("This is not the certificate by whose key it was asked.")
    if kind != "certificate" or not 0 < serial < 1 << 160:  # RFC 5280 §4.1.2.2
        raise other
    if actor.credential != certificate_credential(authority, serials.to_hex(serial)):
        raise other
    if authorities.load(desk, authority).certificate.subject.public_bytes() != issuer:
        raise other

    def work(unit: Unit) -> None:
        found = pick(unit.connection, own, authority, lock=True)
        if found.profile == PROFILE or profiles.load(desk, found.profile).internal:
            raise NotItsOwn("Certificates of authorities and of the service end by other ways.")
        if found.status == "revoked":
            raise AlreadyRevoked("The certificate is revoked already.")
        revoke_with(unit, actor, [(authority, own)], why, now)

    desk.store.together(work)


def _reason(number: int) -> Reason:
    try:
        why = Reason(number)
    except ValueError:
        raise BadReason(f"{number} is not a revocation reason.") from None
    if why.name not in REASONS or why is Reason.cACompromise:
        raise BadReason(f"{why.name} is not a reason that can be given here.")
    return why
