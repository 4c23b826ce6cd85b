"""The console's cookies, and what is derived from them."""

import hashlib
import hmac
from typing import Final

from core.secret import Secret

#: RFC 6265bis §4.1.3: `__Host-` is only taken over TLS, for this host alone and all its paths.
SESSION: Final = "__Host-ikewarden"
#: What somebody chose to see: `zh.dark`. No secret.
VIEW: Final = "__Host-ikewarden-view"
THEMES: Final = ("", "light", "dark")
_SAFE: Final = "Path=/; Secure; HttpOnly; SameSite=Lax"


def session(secret: Secret) -> str:
    """Give the cookie of a session; it ends with the browser, and at the latest with the session."""
    return f"{SESSION}={secret.reveal().decode()}; {_SAFE}"


def gone(name: str) -> str:
    """Take a cookie away."""
    return f"{name}=; {_SAFE}; Max-Age=0"


def view(language: str, theme: str) -> str:
    """Keep what somebody chose, for a year."""
    return f"{VIEW}={language}.{theme}; {_SAFE}; Max-Age=31536000"


def read_view(value: str | None) -> tuple[str, str]:
    """Language and theme that were chosen; empty where nothing was, or nothing that we know."""
    language, _, theme = (value or "").partition(".")
    return language, theme if theme in THEMES else ""


def csrf(secret: Secret | None) -> str:
    """What a form of this session has to bring with it: nobody else can know it."""
    if secret is None:
        return ""
    return hmac.new(secret.reveal(), b"ikewarden console form", hashlib.sha256).hexdigest()
