"""PKCS#11 URIs (RFC 7512), as far as they name a token and a private key in it. Pure.

`pkcs11:token=gw;id=%01%02?module-path=/usr/lib/….so&pin-source=file:/etc/ikewarden/token-pin`. A PIN in the URI itself
is refused: URIs are shown, logged and given as arguments.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from ike.tokens.errors import TokenUriInvalid

_SCHEME: Final = "pkcs11:"
_LONGEST: Final = 2048
_PATH: Final = ("token", "serial", "object", "id", "type")
_QUERY: Final = ("module-path", "pin-source")
_SAFE: Final = "-._~"  # RFC 7512 §2.3 would allow more
_ESCAPES: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_LONGEST_ID: Final = 64


@dataclass(frozen=True)
class TokenUri:
    """One token, by label, serial number or both, and how to get at it; with `id` (CKA_ID), a key in it."""

    module: Path
    pin_source: Path
    token: str = ""
    serial: str = ""
    object: str = ""
    id: bytes = b""

    @property
    def place(self) -> "TokenUri":
        """The token without the key."""
        return TokenUri(self.module, self.pin_source, self.token, self.serial)

    def __str__(self) -> str:
        path = [
            f"{name}={quote(value, safe=_SAFE)}"
            for name, value in (
                ("token", self.token),
                ("serial", self.serial),
                ("object", self.object),
            )
            if value
        ]
        if self.id:
            path.append("id=" + "".join(f"%{octet:02x}" for octet in self.id))
        module, pin = (
            quote(str(each), safe=_SAFE + "/") for each in (self.module, self.pin_source)
        )
        return f"{_SCHEME}{';'.join(path)}?module-path={module}&pin-source=file:{pin}"


def parse(text: str) -> TokenUri:
    """Read a URI. Raises TokenUriInvalid, with a message that does not repeat a PIN."""
    if not text.startswith(_SCHEME) or len(text) > _LONGEST or not text.isprintable():
        raise TokenUriInvalid("This is no pkcs11: URI.")
    path, _, query = text.removeprefix(_SCHEME).partition("?")
    if "pin-value" in query:
        raise TokenUriInvalid(
            "The PIN does not belong into the URI, where everybody can read it.",
            next_step="Put it into a file with mode 0600, and give pin-source=file:/PATH.",
        )
    values = {**_attributes(path, ";", _PATH), **_attributes(query, "&", _QUERY)}
    if values.get("type", b"private") != b"private":
        raise TokenUriInvalid("The type of the object is `private`, or is left out.")
    token, serial, label = (_text(values.get(each, b"")) for each in ("token", "serial", "object"))
    if not token and not serial:
        raise TokenUriInvalid("The URI names no token: token=LABEL or serial=NUMBER.")
    source = _text(values.get("pin-source", b""))
    identifier = values.get("id", b"")
    if len(identifier) > _LONGEST_ID:
        raise TokenUriInvalid("The id in the URI is too long.")
    return TokenUri(
        module=_absolute("module-path", _text(values.get("module-path", b""))),
        pin_source=_absolute("pin-source", source.removeprefix("file://").removeprefix("file:")),
        token=token,
        serial=serial,
        object=label,
        id=identifier,
    )


def _attributes(part: str, separator: str, known: tuple[str, ...]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for each in filter(None, part.split(separator)):
        name, equals, value = each.partition("=")
        if name not in known or not equals:
            raise TokenUriInvalid(f"The URI may hold {', '.join(known)} there, and nothing else.")
        if name in found:
            raise TokenUriInvalid(f"The URI holds {name} twice.")
        if _ESCAPES.search(value):
            raise TokenUriInvalid(f"The escapes in {name} are broken.")
        found[name] = unquote_to_bytes(value)
    return found


def _text(value: bytes) -> str:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        text = "\n"
    if not text.isprintable():
        raise TokenUriInvalid("The URI holds something that is no text.")
    return text


def _absolute(name: str, path: str) -> Path:
    if not path.startswith("/"):
        raise TokenUriInvalid(f"{name} is missing, or is no absolute path.")
    return Path(path)
