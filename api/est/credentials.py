"""Who enrolls: an enroller's token as the password of HTTP Basic, or a certificate of this service."""

import base64
import re
from datetime import datetime
from typing import Final

from api.bridge import Exchange
from api.callers import AuthorizationMalformed, CredentialsMissing
from core.errors import NotAuthenticated
from core.secret import Secret
from pki import identity
from pki.actors import Actor, Role
from pki.desk import Desk
from pki.endpoints import Way

# RFC 7617 §2: user-id and password, in base64
_BASIC: Final = re.compile(r"(?i:basic) +([A-Za-z0-9+/]{2,800}={0,2})")


class WayClosed(NotAuthenticated):
    """The endpoint wants another kind of proof of who asks."""

    code = "enrollment_way_closed"
    next_step = "`ikewarden enroll-endpoint list` shows what each endpoint takes: a token, a certificate, or both."


class PasswordRefused(NotAuthenticated):
    """The password is a token of somebody who is no enroller."""

    code = "est_password_refused"
    next_step = "Make a token of the role enroller for the device; revoke the one that was sent."


def password(header: str | None) -> Secret | None:
    """Read the password of an Authorization header; the user's name is not looked at, for a token says itself whose it
    is. Raises AuthorizationMalformed for anything but Basic credentials.
    """
    if header is None:
        return None
    match = _BASIC.fullmatch(header.strip())
    try:
        pair = base64.b64decode(match[1], validate=True).decode() if match else ""
    except ValueError:
        pair = ""
    _, colon, secret = pair.partition(":")
    if not colon or not secret:
        raise AuthorizationMalformed(
            "The Authorization header is not of HTTP Basic.",
            next_step="Send the token as the password of HTTP Basic, with any user name.",
        )
    return Secret(secret)


def identify(
    desk: Desk, ways: tuple[Way, ...], header: str | None, exchange: Exchange, *, now: datetime
) -> Actor:
    """Find the actor; where both a password and a certificate came, the password decides, as at every other door.

    An operator's token is not taken, and no other that opens more than this door: what is put into a device must be
    good for nothing but the device. Raises CredentialsMissing, AuthorizationMalformed, WayClosed, PasswordRefused, and
    what `pki.identity` raises.
    """
    secret = password(header)
    if secret is not None:
        _require("token", ways)
        actor = identity.actor_from_token(desk, secret, now=now, request_id=exchange.request_id)
        if actor.role is not Role.ENROLLER:
            raise PasswordRefused(f"A device's password is no token of the role {actor.role}.")
    elif exchange.peer is not None:
        _require("certificate", ways)
        actor = identity.actor_from_certificate(
            desk, exchange.peer, now=now, request_id=exchange.request_id, by_itself=True
        )
    else:
        raise CredentialsMissing(
            "This needs a token or a client certificate.",
            next_step="Send a token as the password of HTTP Basic, or connect with the device's certificate.",
        )
    exchange.actor = actor.name
    return actor


def _require(way: Way, ways: tuple[Way, ...]) -> None:
    if way not in ways:
        raise WayClosed(f"This endpoint takes no {way}.")
