"""The console's cookies, and what is derived from them."""

import hashlib
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from typing import Final

from core.secret import Secret

#: RFC 6265bis §4.1.3: `__Host-` is only taken over TLS, for this host alone and all its paths.
SESSION: Final = "__Host-ikewarden"
#: An attempt to sign in elsewhere: the random value that all of it is derived from, and where to go afterwards.
ATTEMPT: Final = "__Host-ikewarden-oidc"
#: What somebody chose to see: `zh.dark`. No secret.
VIEW: Final = "__Host-ikewarden-view"
#: What was done, by its code: a note to the next page, which says it and takes the note away. In the address of a page
#: anybody could put it into a link.
DONE: Final = "__Host-ikewarden-done"
THEMES: Final = ("", "light", "dark")
_LONGEST: Final = 2000
_SHORTEST: Final = 40
_MAX_SECRET: Final = 200
_SAFE: Final = "Path=/; Secure; HttpOnly; SameSite=Lax"


def session(secret: Secret) -> str:
    """Give the cookie of a session; it ends with the browser, and at the latest with the session."""
    return f"{SESSION}={secret.reveal().decode()}; {_SAFE}"


def read_session(given: Mapping[str, str]) -> Secret | None:
    """The secret of the browser's session; None where it has none."""
    value = given.get(SESSION)
    return Secret(value) if value and len(value) <= _MAX_SECRET else None


def gone(name: str) -> str:
    """Take a cookie away."""
    return f"{name}=; {_SAFE}; Max-Age=0"


def done(code: str) -> str:
    """Leave a note for the next page."""
    return f"{DONE}={code}; {_SAFE}; Max-Age=60"


def view(language: str, theme: str) -> str:
    """Keep what somebody chose, for a year."""
    return f"{VIEW}={language}.{theme}; {_SAFE}; Max-Age=31536000"


def read_view(value: str | None) -> tuple[str, str]:
    """Language and theme that were chosen; empty where nothing was, or nothing that we know."""
    language, _, theme = (value or "").partition(".")
    return language, theme if theme in THEMES else ""


def attempt(secret: Secret, onward: str) -> str:
    """Keep an attempt to sign in elsewhere for ten minutes. `secret` is of base64url."""
    place = urlsafe_b64encode(onward.encode()[:_LONGEST]).decode()
    return f"{ATTEMPT}={secret.reveal().decode()}.{place}; {_SAFE}; Max-Age=600"


def read_attempt(value: str | None) -> tuple[Secret | None, str]:
    """The random value, and where to go; None where there is no attempt."""
    found, _, place = (value or "").partition(".")
    if len(found) < _SHORTEST:
        return None, ""
    try:
        return Secret(found.encode()), urlsafe_b64decode(place).decode()
    except ValueError:
        return Secret(found.encode()), ""


def csrf(secret: Secret | None) -> str:
    """What a form of this session has to bring with it: nobody else can know it."""
    if secret is None:
        return ""
    return hmac.new(secret.reveal(), b"ikewarden console form", hashlib.sha256).hexdigest()
