"""The gateway's keys in a PKCS#11 token: made, used, and destroyed when nothing on disk speaks of them any more.

Every key of this home has a label that begins with the home's own mark, drawn once and kept in token.json. What bears
the mark and belongs to no generation was left by a death or is retired: `sweep` destroys it, and nothing else. A PIN
that was refused once is remembered there too, and not tried again before its file or the URI has changed.
"""

import json
import logging
import secrets
from collections.abc import Collection
from dataclasses import replace
from typing import Any, Final

from core.errors import IkewardenError
from core.secret import Secret
from ike.agent.folder import Folder
from ike.agent.keys import read_key
from ike.agent.settings import FILE, AgentSettings
from ike.daemons.port import KeyInToken, TokenKey
from ike.tokens.errors import PinRefused, TokenFailed
from ike.tokens.keys import private_key
from ike.tokens.pin import Stamp, read_pin
from ike.tokens.process import Answer, Work, ask
from ike.tokens.uri import TokenUri, parse
from pki.x509.signing import PrivateKey

_log = logging.getLogger(__name__)
_NAME: Final = "token.json"
_LARGEST: Final = 64 * 1024
_ID_OCTETS: Final = 20


def wanted_token(settings: AgentSettings) -> TokenUri | None:
    """The token that new keys are made in; None: they are made in files."""
    return None if settings.key == FILE else parse(settings.key).place


def require_able(settings: AgentSettings) -> None:
    """Refuse keys in a token for a daemon whose adapter cannot load them. Raises KeyInToken."""
    if settings.key != FILE and settings.daemon != "strongswan":
        raise KeyInToken(f"The adapter for {settings.daemon} takes keys from files only.")


class Tokens:
    """The tokens of one home; the caller holds its lock. Methods raise what `ike.tokens.errors` has."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._swept: dict[TokenUri, frozenset[bytes]] = {}
        self.given: Stamp | None = None
        """The state of the PIN's file when the daemon was last given it, by this process."""

    def make(self, uri: TokenUri, kind: str) -> TokenKey:
        """Make a key pair in a token. Raises TokenKeyUnsupported, TokenFull and their like."""
        identifier = secrets.token_bytes(_ID_OCTETS)
        label = f"{self._prefix()}{identifier.hex()[:12]}"
        named = replace(uri.place, object=label, id=identifier)
        self._swept.pop(uri.place, None)
        return TokenKey(named, self._ask(named, Work("make", kind=kind)).octets)

    def using(self, key: Secret | TokenKey) -> PrivateKey:
        """A key to sign with, wherever it is."""
        if isinstance(key, Secret):
            return read_key(key)
        uri = key.uri
        return private_key(
            key.public,
            lambda mechanism, data: self._ask(uri, Work("sign", mechanism, data)).octets,
        )

    def check(self, key: TokenKey) -> None:
        """Make sure that token, PIN and key are there, so that the daemon does not try a wrong PIN."""
        if self._ask(key.uri, Work("public")).octets != key.public:
            raise TokenFailed("The token has another key under the id of this gateway's.")

    def pin_changed(self, key: TokenKey) -> bool:
        """Whether the PIN's file is another than when the daemon was given it. Raises PinUnreadable."""
        return read_pin(key.uri.pin_source)[1] != self.given

    def note_given(self, key: TokenKey) -> None:
        """Remember the state of the PIN's file: the daemon has this PIN now."""
        self.given = read_pin(key.uri.pin_source)[1]

    def sweep(self, uri: TokenUri, keep: Collection[bytes]) -> None:
        """Destroy the keys of this home but those with these ids; only where that may have changed anything."""
        kept = frozenset(keep)
        if self._swept.get(uri.place) == kept:
            return
        work = Work("sweep", prefix=self._prefix(), keep=tuple(sorted(kept)))
        gone = self._ask(uri.place, work).count
        self._swept[uri.place] = kept
        if gone:
            _log.info("destroyed keys that are not needed in the token", extra={"objects": gone})

    def _ask(self, uri: TokenUri, work: Work) -> Answer:
        pin, stamp = read_pin(uri.pin_source)
        tried = {"uri": str(uri.place), "stamp": stamp}
        if self._notes().get("refused") == tried:
            raise PinRefused(f"The PIN in {uri.pin_source} was refused before, and is the same.")
        try:
            return ask(uri, pin, work)
        except PinRefused:
            self._write({**self._notes(), "refused": tried})
            raise

    def _prefix(self) -> str:
        notes = self._notes()
        if "mark" not in notes:
            notes["mark"] = secrets.token_hex(4)
            self._write(notes)
        return f"ikewarden-{notes['mark']}-"

    def _notes(self) -> dict[str, Any]:
        content = self._folder.read(_NAME, limit=_LARGEST)
        try:
            document = json.loads(content or b"{}")
        except ValueError:
            document = None
        if not isinstance(document, dict):
            return {}
        return document

    def _write(self, notes: dict[str, Any]) -> None:
        self._folder.write(_NAME, json.dumps(notes, indent=1).encode())


def clear_of(tokens: Tokens, uri: TokenUri, keep: Collection[bytes]) -> None:
    """Sweep a token that is not used any more, if it is still there."""
    try:
        tokens.sweep(uri, keep)
    except IkewardenError as error:
        _log.warning(
            "a former key stays in its token", extra={"code": error.code, "reason": error.message}
        )
