"""PKCS#11 URIs (RFC 7512), as far as they name a private key in the token of the settings. Pure.

`pkcs11:token=ca;object=ca-root-1f3a;id=%01%02;type=private`. Module and PIN are matters of the settings, and refused
here: URIs of keys are shown, logged and kept in the records.
"""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from hsm.errors import BadKeyName

SCHEME: Final = "pkcs11:"
_LONGEST: Final = 1024
_TEXTS: Final = ("token", "serial", "object", "type")
_SAFE: Final = "-._~"  # RFC 7512 §2.3 would allow more
_ESCAPES: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True)
class KeyUri:
    """A private key: by label (`object`, CKA_LABEL), `id` (CKA_ID) or both; in the token of this label or serial."""

    token: str = ""
    serial: str = ""
    object: str = ""
    id: bytes = b""

    def __str__(self) -> str:
        named = (("token", self.token), ("serial", self.serial), ("object", self.object))
        path = [f"{name}={quote(value, safe=_SAFE)}" for name, value in named if value]
        if self.id:
            path.append("id=" + "".join(f"%{octet:02x}" for octet in self.id))
        return f"{SCHEME}{';'.join([*path, 'type=private'])}"


def parse(text: str) -> KeyUri:
    """Read a URI. Raises BadKeyName, which does not repeat what may be a PIN."""
    if not text.startswith(SCHEME) or len(text) > _LONGEST or not text.isprintable():
        raise _bad("This is no pkcs11: URI.")
    path, question, _ = text.removeprefix(SCHEME).partition("?")
    if question:
        raise _bad("Module and PIN do not belong into the URI of a key.")
    values: dict[str, bytes] = {}
    for each in filter(None, path.split(";")):
        name, equals, value = each.partition("=")
        if not equals or name not in (*_TEXTS, "id") or name in values or _ESCAPES.search(value):
            raise _bad(f"The URI may hold {', '.join(_TEXTS)}, id, each once, and nothing else.")
        values[name] = unquote_to_bytes(value)
    token, serial, label, kind = (_text(values.get(each, b"")) for each in _TEXTS)
    if kind not in ("", "private") or not (label or values.get("id")):
        raise _bad("The URI names no private key.")
    return KeyUri(token, serial, label, values.get("id", b""))


def _text(value: bytes) -> str:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        text = "\n"
    if not text.isprintable():
        raise _bad("The URI holds something that is no text.")
    return text


def _bad(message: str) -> BadKeyName:
    return BadKeyName(message, next_step="Write it so: pkcs11:token=LABEL;object=NAME;type=private")
