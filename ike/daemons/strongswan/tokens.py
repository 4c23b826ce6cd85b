"""Keys in PKCS#11 tokens: how charon is told of one over VICI, and swanctl in a file.

charon finds the token by the key's public half (CKA_ID), which is readable without the PIN, in the modules that its
plugin `pkcs11` has loaded. So neither a slot, whose number may change, nor charon's own name of the module is needed.
"""

import re

from core.secret import Secret
from ike.daemons.port import DaemonRefused
from ike.daemons.strongswan.session import Session
from ike.daemons.strongswan.settings import HEAD, render
from ike.tokens.pin import read_pin
from ike.tokens.uri import TokenUri

_VALUE = re.compile(r'^\s*(handle|pin) = "([^"]*)"$', re.MULTILINE)


class TokenNotInDaemon(DaemonRefused):
    """charon does not find the key in a token, or cannot log in to it; it goes on with what it had."""

    code = "token_not_in_daemon"
    next_step = (
        "Give charon's plugin pkcs11 (Debian: libcharon-extra-plugins, libstrongswan-extra-plugins) the same module, "
        "in strongswan.conf: charon { plugins { pkcs11 { modules { token { path = MODULE } } } } }; restart charon "
        "with the token in its place."
    )


def rendered(uri: TokenUri, key: str) -> Secret:
    """The file for swanctl: key and PIN of a token. Raises PinUnreadable."""
    pin, _ = read_pin(uri.pin_source)
    values = {"handle": uri.id.hex(), "pin": pin.reveal().decode()}
    return Secret((HEAD + render({"secrets": {f"token-{key}": values}})).encode())


def load(session: Session, content: Secret, expected: str) -> None:
    """Have charon load what such a file names. Raises TokenNotInDaemon; DaemonRefused for another key."""
    message = dict(_VALUE.findall(content.reveal().decode()))
    try:
        answer = session.ask("load-token", message)
    except DaemonRefused as refused:
        raise TokenNotInDaemon(f"{refused.message} The key is in a token.") from None
    if answer.get("id") != expected:
        raise DaemonRefused("charon found another key in the token than it was told of.")
