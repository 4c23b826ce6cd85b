"""Who sent a message (RFC 9483 §3.1): who knows the secret of an enroller's token, or has the key of a certificate."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography import x509

from api.cmp.shields import MacShield, Shield
from core.secret import Secret
from pki import identity, tokens
from pki.actors import Actor, Role
from pki.cmp.errors import AlgorithmRefused, CmpMalformed, CmpWayClosed, ProtectionInvalid
from pki.cmp.messages import Message
from pki.cmp.protection import Mac, mac_of, verify_mac, verify_signature
from pki.desk import Desk
from pki.endpoints import CmpDoor
from pki.x509.malformed import MALFORMED
from pki.x509.signing import PublicKey

_TOKEN_ID: Final = re.compile(rb"[0-9a-f]{16}")


@dataclass(frozen=True)
class Sender:
    """Whoever protected a message: by a token (its id), or by a certificate (its holder). `shield` protects the answer,
    where it is not the registration authority's.
    """

    credential: str
    token_id: str | None = None
    holder: Actor | None = None
    shield: Shield | None = None

    def actor(self, request_id: str) -> Actor:
        """Who acts in a transaction that goes on: its token may be used up by now."""
        if self.holder is not None:
            return self.holder
        return Actor(
            f"token {self.token_id}", Role.ENROLLER, self.credential, request_id=request_id
        )


def is_reference(reference: bytes) -> bool:
    """Whether this can be the id of a token."""
    return _TOKEN_ID.fullmatch(reference) is not None


def by_secret(desk: Desk, message: Message, mac: Mac, issuer: x509.Name) -> Sender:
    """Who knows the secret of a token. Raises ProtectionInvalid.

    The secret is found by senderKID alone: openssl leaves the sender empty in some messages. It is derived, so that an
    id that nobody has takes as long as any other.
    """
    token_id = message.sender_kid.decode("ascii", "replace")
    secret: Secret = tokens.cmp_secret(desk, token_id)
    verify_mac(message, mac, secret)
    if not is_reference(message.sender_kid):
        raise ProtectionInvalid("The protection of the message is not valid.")
    return Sender(f"token:{token_id}", token_id=token_id, shield=MacShield(mac, secret, issuer))


def by_certificate(desk: Desk, message: Message, *, now: datetime, request_id: str) -> Sender:
    """Who has the key of a certificate in force: the first of extraCerts (RFC 9483 §3.3).

    Raises ProtectionInvalid, AlgorithmRefused, CmpMalformed, and what `identity.actor_from_certificate` raises.
    """
    if message.protection is None or message.algorithm is None or not message.certificates:
        raise ProtectionInvalid("The message is not protected, or has no certificate with it.")
    shown = message.certificates[0]
    try:
        key = x509.load_der_x509_certificate(shown).public_key()
    except MALFORMED:
        raise CmpMalformed("The certificate of the message cannot be read.") from None
    if not isinstance(key, PublicKey):
        raise AlgorithmRefused("The message is signed with a key of a kind that is not taken here.")
    verify_signature(message, key)
    holder = identity.actor_from_certificate(
        desk, shown, now=now, request_id=request_id, by_itself=True
    )
    return Sender(holder.credential, holder=holder)


def identify(
    desk: Desk,
    door: CmpDoor,
    message: Message,
    issuer: x509.Name,
    *,
    now: datetime,
    request_id: str,
) -> Sender:
    """Find who sent a message. Raises what the two others raise, and CmpWayClosed."""
    mac = mac_of(message)
    if mac is not None:
        sender = by_secret(desk, message, mac, issuer)
    else:
        sender = by_certificate(desk, message, now=now, request_id=request_id)
    way = "certificate" if sender.token_id is None else "token"
    if way not in door.ways:
        raise CmpWayClosed(f"This endpoint takes no {way}.")
    return sender
