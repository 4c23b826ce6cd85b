"""Who calls: the bearer token if one was sent, else the client certificate of the connection."""

import re
from datetime import datetime

from core.errors import NotAuthenticated
from core.secret import Secret
from pki import identity
from pki.actors import Actor
from pki.desk import Desk

# RFC 6750 §2.1 (b64token); no longer than any token of ours
_BEARER = re.compile(r"(?i:bearer) +([A-Za-z0-9._~+/-]{8,200}=*)")


class CredentialsMissing(NotAuthenticated):
    """Neither a bearer token nor a client certificate came with the request."""

    code = "credentials_missing"
    next_step = "Send a bearer token, or connect with the gateway's client certificate."


class AuthorizationMalformed(NotAuthenticated):
    """The Authorization header is not `Bearer TOKEN`."""

    code = "authorization_malformed"
    next_step = "Send Authorization: Bearer followed by the token, once."


def bearer_token(header: str | None) -> Secret | None:
    """Read the Authorization header. Raises AuthorizationMalformed for anything but one bearer
    token.
    """
    if header is None:
        return None
    match = _BEARER.fullmatch(header.strip())
    if match is None:
        raise AuthorizationMalformed("The Authorization header is not a bearer token.")
    return Secret(match[1])


def identify(
    desk: Desk, token: Secret | None, certificate: bytes | None, *, now: datetime, request_id: str
) -> Actor:
    """Find the actor, from the records, for this request alone.

    Where both a token and a certificate came, the token decides and the certificate is not looked
    at: a token is put into a request on purpose, while a client library sends a certificate to
    whoever asks. So nobody acts with more or with other rights than he meant to. Raises
    CredentialsMissing and what `pki.identity` raises.
    """
    if token is not None:
        return identity.actor_from_token(desk, token, now=now, request_id=request_id)
    if certificate is not None:
        return identity.actor_from_certificate(desk, certificate, now=now, request_id=request_id)
    raise CredentialsMissing("This needs a token or a client certificate.")
