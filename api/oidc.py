"""OpenID Connect Core 1.0 as a relying party: the authorization code flow with PKCE (RFC 7636).

All that one attempt to sign in needs is derived from one random value, which the browser keeps in a cookie: nothing of
it is on record. What the provider says of itself (Discovery 1.0, its keys) is kept for an hour.
"""

import base64
import contextlib
import hashlib
import hmac
import json
import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import BadSignatureError, InvalidKeyIdError, JoseError
from joserfc.jwk import Key, KeySet, import_key

from api.fetching import FAILURES, fetch
from core.errors import NotAuthenticated, NotPermitted, Unavailable
from core.secret import Secret
from pki.actors import Actor, Role
from pki.desk import OidcRules
from pki.sessions import oidc_credential
from store.text import storable

_log = logging.getLogger(__name__)
#: How the ID token may be signed. Never by a MAC: the key of a signature is known to everybody.
ALGORITHMS: Final = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA", "Ed25519"),
)
_KEPT: Final = timedelta(hours=1)
# Not with every token that names a key that nobody has.
_AGAIN: Final = timedelta(seconds=30)
_AWAY: Final = timedelta(seconds=10)
_LEEWAY_SECONDS: Final = 60
_LONGEST: Final = 200
_MOST_KEYS: Final = 100
# What the library says of a key or a token that is none.
_UNREADABLE: Final = (JoseError, ValueError, KeyError, TypeError)


class OidcUnavailable(Unavailable):
    """The OpenID provider cannot be reached, or says of itself what cannot be used."""

    code = "oidc_unavailable"
    next_step = "Try again. If it stays so, sign in with a token, and look at [console.oidc] and the provider."


class OidcAttemptOver(NotAuthenticated):
    """What came back belongs to no attempt of this browser to sign in, or to one that is over."""

    code = "oidc_attempt_over"
    next_step = "Begin again, in one window and within ten minutes."


class OidcDeclined(NotAuthenticated):
    """The provider did not sign anybody in."""

    code = "oidc_declined"
    next_step = "Begin again, or ask who runs the provider."


class OidcRefused(NotAuthenticated):
    """The provider's answer proves nobody: it is not signed, not for this service, or not of this attempt."""

    code = "oidc_refused"
    next_step = "Begin again. If it stays so, compare [console.oidc] with what the provider has of this client."


class OidcNoRole(NotPermitted):
    """The provider knows who it is, and the settings give him no role."""

    code = "oidc_no_role"
    next_step = (
        "Ask an admin for a role: [console.oidc] roles says which values of the claim give one."
    )


@dataclass(frozen=True)
class Attempt:
    """One attempt to sign in: `state` comes back with the answer, `nonce` in the ID token, `verifier` goes to the
    provider alone (RFC 7636 §4.1).
    """

    state: str
    nonce: str
    verifier: Secret

    @classmethod
    def of(cls, secret: Secret) -> "Attempt":
        """All of it, from the one random value."""
        state, nonce, verifier = (
            base64.urlsafe_b64encode(hmac.digest(secret.reveal(), use, hashlib.sha256)).rstrip(b"=")
            for use in (b"state", b"nonce", b"code verifier")
        )
        return cls(state.decode(), nonce.decode(), Secret(verifier))


class Provider:
    """One provider, and what it said of itself lately."""

    def __init__(self, rules: OidcRules) -> None:
        self._rules = rules
        self._lock = threading.Lock()
        self._asking = threading.BoundedSemaphore(2)
        self._metadata: tuple[datetime, Mapping[str, Any]] | None = None
        self._keys: tuple[datetime, KeySet] | None = None
        self._away_until: datetime | None = None

    def address(self, attempt: Attempt, *, now: datetime) -> str:
        """Where the browser is sent. Raises OidcUnavailable."""
        endpoint = str(self._said(now)["authorization_endpoint"])
        asked = {
            "response_type": "code",
            "client_id": self._rules.client_id,
            "redirect_uri": self._rules.callback,
            "scope": " ".join(self._rules.scopes),
            "state": attempt.state,
            "nonce": attempt.nonce,
            "code_challenge": create_s256_code_challenge(attempt.verifier.reveal().decode()),
            "code_challenge_method": "S256",
        }
        return f"{endpoint}{'&' if urlsplit(endpoint).query else '?'}{urlencode(asked)}"

    def check_answer(self, attempt: Attempt, state: str, issuer: str, *, now: datetime) -> None:
        """Raise OidcAttemptOver unless an answer is of this attempt, OidcRefused unless it is of this provider."""
        if not hmac.compare_digest(state.encode(), attempt.state.encode()):
            raise OidcAttemptOver("This answer is of another attempt to sign in.")
        # RFC 9207 §2.4
        told = self._said(now).get("authorization_response_iss_parameter_supported") is True
        if issuer != self._rules.issuer and (issuer or told):
            raise OidcRefused("This answer is of another provider.")

    def identify(self, attempt: Attempt, code: str, *, now: datetime, request_id: str) -> Actor:
        """Exchange the code, and find who it is and which role he has.

        Raises OidcUnavailable, OidcRefused, OidcNoRole.
        """
        answer = self._exchange(attempt, code, now)
        token, access = answer.get("id_token"), answer.get("access_token")
        if not isinstance(token, str):
            raise OidcRefused("The provider gave no ID token.")
        claims = self._verify(token, access if isinstance(access, str) else "", attempt.nonce, now)
        return self._actor(claims, request_id)

    def _exchange(self, attempt: Attempt, code: str, now: datetime) -> Mapping[str, Any]:
        said, rules = self._said(now), self._rules
        fields = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": rules.callback,
            "code_verifier": attempt.verifier.reveal().decode(),
        }
        headers = {}
        ways = said.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        if rules.client_secret is None:
            fields["client_id"] = rules.client_id
        elif "client_secret_basic" in ways:
            # RFC 6749 §2.3.1: both are encoded as in a form.
            secret = quote(rules.client_secret.reveal(), safe="")
            login = f"{quote(rules.client_id, safe='')}:{secret}".encode()
            headers["Authorization"] = f"Basic {base64.b64encode(login).decode()}"
        else:
            fields["client_id"] = rules.client_id
            fields["client_secret"] = rules.client_secret.reveal().decode()
        status, answer = self._ask(str(said["token_endpoint"]), fields, headers)
        if status != 200:
            self._note("token endpoint", status, answer)
            raise OidcRefused("The provider did not take the code, or not from this client.")
        return answer

    def _verify(self, token: str, access: str, nonce: str, now: datetime) -> Mapping[str, Any]:
        """OpenID Connect Core §3.1.3.7."""
        rules = self._rules
        try:
            decoded = self._decoded(token, now)
            claims = CodeIDToken(
                decoded.claims,
                decoded.header,
                {
                    "iss": {"essential": True, "value": rules.issuer},
                    "aud": {"essential": True, "value": rules.client_id},
                },
                {"nonce": nonce, "client_id": rules.client_id, "access_token": access},
            )
            claims.validate(now=int(now.timestamp()), leeway=_LEEWAY_SECONDS)
        except (*_UNREADABLE, AttributeError, RecursionError) as error:
            _log.warning("an ID token was refused", extra={"why": type(error).__name__})
            raise OidcRefused("The provider's ID token proves nobody here.") from None
        return dict(claims)

    def _decoded(self, token: str, now: datetime) -> jwt.Token:
        for keys in self._key_sets(now):
            try:
                return jwt.decode(token, keys, algorithms=list(ALGORITHMS))
            except (InvalidKeyIdError, BadSignatureError) as error:
                unknown = error
        raise unknown

    def _key_sets(self, now: datetime) -> Iterator[KeySet]:
        """The keys as they are known, then as they are now: providers change them without a word."""
        known = self._keys
        if known is not None and now - known[0] < _KEPT:
            yield known[1]
            if now - known[0] < _AGAIN:
                return
        status, document = self._ask(str(self._said(now)["jwks_uri"]))
        if status != 200 or not isinstance(document.get("keys"), list):
            raise OidcUnavailable("The keys of the OpenID provider cannot be read.")
        found = KeySet(list(_usable(document["keys"])))
        self._keys = (now, found)
        yield found

    def _actor(self, claims: Mapping[str, Any], request_id: str) -> Actor:
        rules = self._rules
        subject, name = claims.get("sub"), claims.get(rules.name)
        if not _is_word(subject):
            raise OidcRefused("The provider's ID token names nobody.")
        # Some providers say it in a text.
        unproven = claims.get("email_verified", True) not in (True, "true")
        if not _is_word(name) or (rules.name == "email" and unproven):
            raise OidcRefused(
                f"The provider's ID token has no {rules.name} that could be a name.",
                next_step="Set [console.oidc] name to a claim that the provider proves, and have it in the ID token.",
            )
        role = _role(_values(claims, rules.claim), rules.roles)
        if role is None:
            raise OidcNoRole(f"{name} has no role here.")
        credential = storable(oidc_credential(rules.issuer, str(subject)))
        return Actor(storable(str(name)), role, credential, request_id=request_id)

    def _said(self, now: datetime) -> Mapping[str, Any]:
        """What the provider says of itself (OpenID Connect Discovery §4)."""
        with self._lock:
            known = self._metadata
            away = self._away_until
        if known is not None and now - known[0] < _KEPT:
            return known[1]
        if away is not None and now < away <= now + _AWAY:
            # Anybody may ask us to ask: not all our threads shall wait for one that is away.
            raise OidcUnavailable("The OpenID provider could not be reached or read just now.")
        try:
            found = self._discover()
        except OidcUnavailable:
            with self._lock:
                self._away_until = now + _AWAY
            raise
        with self._lock:
            self._metadata = (now, found)
        return found

    def _discover(self) -> Mapping[str, Any]:
        issuer = self._rules.issuer
        status, found = self._ask(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
        # §4.3: exactly the same, or another one speaks in its name.
        if status != 200 or found.get("issuer") != issuer:
            self._note("discovery", status, found)
            raise OidcUnavailable("The OpenID provider does not say that it is the issuer.")
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
            if not is_safe(found.get(name)):
                raise OidcUnavailable(f"The OpenID provider has no {name} with https.")
        return found

    def _ask(
        self,
        url: str,
        fields: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, Mapping[str, Any]]:
        body = None if fields is None else urlencode(fields).encode()
        if not self._asking.acquire(blocking=False):
            # Anybody may have us ask: the other threads are for those who ask for something else.
            raise OidcUnavailable("The OpenID provider is being asked for others; it takes long.")
        try:
            status, content = fetch(url, body, headers or {}, self._rules.ca_file)
            document = json.loads(content)
        except (*FAILURES, RecursionError) as error:
            _log.warning("the OpenID provider failed", extra={"why": type(error).__name__})
            raise OidcUnavailable("The OpenID provider cannot be reached or read.") from None
        finally:
            self._asking.release()
        return status, document if isinstance(document, dict) else {}

    def _note(self, where: str, status: int, answer: Mapping[str, Any]) -> None:
        error = answer.get("error")
        told = error if _is_word(error) else ""
        extra = {"where": where, "status": status, "why": told}
        _log.warning("the OpenID provider refused", extra=extra)


@lru_cache(maxsize=8)
def provider(rules: OidcRules) -> Provider:
    """The provider of these settings: the same one for all requests of a process."""
    return Provider(rules)


def _usable(given: list[object]) -> Iterator[Key]:
    """The keys that a signature may be checked with. What cannot be read is left out (RFC 7517 §5): a provider may have
    keys of kinds that are made later, and others besides.
    """
    for one in given[:_MOST_KEYS]:
        if not isinstance(one, dict) or one.get("use") not in (None, "sig"):
            continue
        if one.get("kty") in ("RSA", "EC", "OKP"):
            with contextlib.suppress(*_UNREADABLE):
                yield import_key(one)


def is_safe(url: object) -> bool:
    """Whether a provider may be asked at this address: over TLS, or on this machine."""
    if not isinstance(url, str) or not url.isascii() or not url.isprintable():
        return False
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    if not parts.hostname or parts.username is not None or parts.fragment:
        return False
    local = parts.hostname in {"localhost", "127.0.0.1", "::1"}
    return parts.scheme == "https" or (parts.scheme == "http" and local)


def _is_word(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _LONGEST and value.isprintable()


def _values(claims: Mapping[str, Any], claim: str) -> Sequence[str]:
    """The values of a claim; a name with dots may lead into nested ones (`realm_access.roles`)."""
    found: Any = claims.get(claim)
    if found is None and "." in claim:
        found = claims
        for part in claim.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
    if isinstance(found, str):
        return [found]
    return [each for each in found if isinstance(each, str)] if isinstance(found, list) else []


def _role(values: Sequence[str], roles: Sequence[tuple[str, Role]]) -> Role | None:
    return next((role for value, role in roles if value in values), None)
