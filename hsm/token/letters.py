"""What goes between a process of the service and the one that holds its token: one document there, one back.

Each is JSON behind four octets with its length. A line (a socket) carries one at a time.
"""

import base64
import json
import socket
from dataclasses import dataclass
from typing import Any, Final

from core.errors import IkewardenError
from hsm import errors
from hsm.errors import KeyStoreError, SignerUnavailable

# A CRL goes to the token whole only where Ed25519 signs it.
_LONGEST: Final = 256 * 1024 * 1024
_ERRORS: Final = {
    each.code: each
    for each in vars(errors).values()
    if isinstance(each, type) and issubclass(each, KeyStoreError)
}


@dataclass(frozen=True)
class Work:
    """What is to be done: `generate` a key of an `algorithm`, tell the `public` half, `sign` data, tell `names`,
    `destroy` a key, `describe` the token.

    `mechanism` is ecdsa (data is the digest), rsa (DigestInfo), rsa-pss (digest, by `hash`, with `salt` octets) or
    eddsa (the message).
    """

    do: str
    label: str = ""
    id: bytes = b""
    algorithm: str = ""
    mechanism: str = ""
    hash: str = ""
    salt: int = 0
    data: bytes = b""

    def document(self) -> dict[str, Any]:
        """As JSON carries it."""
        # vars, not asdict: that goes through each value to copy it, at every signature.
        octets = {"id": self.id.hex(), "data": base64.b64encode(self.data).decode()}
        return vars(self) | octets

    @classmethod
    def of(cls, document: dict[str, Any]) -> "Work":
        """Read it back."""
        octets = {
            "id": bytes.fromhex(document["id"]),
            "data": base64.b64decode(document["data"]),
        }
        return cls(**(document | octets))


def send(line: socket.socket, document: dict[str, Any]) -> None:
    """Put a document on the line. Raises OSError."""
    body = json.dumps(document).encode()
    line.sendall(len(body).to_bytes(4, "big") + body)


def receive(line: socket.socket) -> dict[str, Any]:
    """Wait for a document. Raises OSError, EOFError where the other side is gone."""
    length = int.from_bytes(_read(line, 4), "big")
    if length > _LONGEST:
        raise EOFError
    found: dict[str, Any] = json.loads(_read(line, length))
    return found


def _read(line: socket.socket, length: int) -> bytes:
    found = bytearray()
    while len(found) < length:
        piece = line.recv(min(length - len(found), 1 << 20))
        if not piece:
            raise EOFError
        found += piece
    return bytes(found)


def refusal(error: IkewardenError, *, final: bool) -> dict[str, Any]:
    """An error as a document; `final`: the process ends with it."""
    return {
        "code": error.code,
        "message": error.message,
        "next_step": error.next_step,
        "final": final,
    }


def error_in(document: dict[str, Any]) -> KeyStoreError | None:
    """The error that a document is, if it is one."""
    if "code" not in document:
        return None
    kind = _ERRORS.get(document["code"], SignerUnavailable)
    return kind(document["message"], next_step=document["next_step"])
