"""Compromised keys: who revokes a certificate for keyCompromise says it of the key, and so of all with that key."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import Exists, bindparam, exists

from core.errors import InvalidInput
from pki.actors import Action, Actor, require
from pki.certificates import CertificateView, visible, with_keys
from pki.desk import Desk
from pki.x509.crl import Reason
from store.tables import certificates, revocations

_MOST: Final = 100


class KeyCompromised(InvalidInput):
    """Somebody else has the private key, as the revocation of a certificate with it says."""

    code = "key_compromised"
    next_step = "Make a new key, and send a request with that one."


def is_of(name: str) -> Exists:
    """Whether the key with the SPKI hash that is bound to `name` is compromised: a part of another query."""
    return exists().where(revocations.c.spki_sha256 == bindparam(name))


# Whether the key of the certificate in another statement is compromised.
ITS_KEY: Final = exists().where(revocations.c.spki_sha256 == certificates.c.spki_sha256)


def refused() -> KeyCompromised:
    """What to raise."""
    return KeyCompromised("A certificate with this key was revoked because the key is compromised.")


def others(
    desk: Desk, actor: Actor, ended: Sequence[CertificateView], reason: str, *, now: datetime
) -> tuple[CertificateView, ...]:
    """Certificates in force with the keys of those that are, or would be, revoked for this reason: none but for
    keyCompromise. At most a hundred, and only those that the caller may see.

    To be asked when the revocation is on record: what is put on record after it is refused. Raises RoleMayNot.
    """
    require(actor, Action.CERTIFICATE_REVOKE)
    if reason != Reason.keyCompromise.name or not ended:
        return ()
    with desk.store.read() as connection:
        found = with_keys(connection, {each.spki_sha256 for each in ended}, now)
    known = {each.id for each in ended}
    fresh = [each for each in found if each.id not in known and visible(actor, each)]
    return tuple(fresh[:_MOST])
