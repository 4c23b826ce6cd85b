"""What chance does to octets and to requests."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

_TELLING = bytes.fromhex("0001027f80818284858688a0a3bfff3031020304050616171b")
_HEADERS = {
    "Content-Type": ["", "text/plain", "application/json", "application/pkcs10; x=\xe9", "a" * 3000, "*/*"],
    "Accept": ["", "text/html", "\xff", "," * 500],
    "Authorization": ["", "Basic", "Basic =", "Basic " + "A" * 5000, "Bearer x", "Negotiate AAAA", "Basic Og=="],
    "Expect": ["100-continue", "200-ok"],
    "X-Forwarded-For": ["127.0.0.1", "' or 1=1 --"],
    "If-Match": ["*", '"x"'],
    "Range": ["bytes=0-", "bytes=-1", "bytes=9-1"],
    "Content-Encoding": ["gzip", "br, br"],
    "Cookie": ["a=b; " * 500],
}  # fmt: skip
_METHODS = ["GET", "POST", "PUT", "HEAD", "DELETE", "PATCH", "OPTIONS", "TRACE", "get", "PROPFIND"]
_TAILS = [
    "/",
    "//",
    "/..",
    "/%00",
    "%2f",
    "?",
    "?operation=",
    "&x=" + "y" * 2000,
    "/%c3%28",
    ";a=b",
    "/x" * 200,
    "%",
]


@dataclass(frozen=True)
class Ask:
    """A request over TLS or plain HTTP. `bent`: its head was spoiled too, so that the connection ends with it."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    tls: bool
    bent: bool = False


def spoiled(dice: random.Random, octets: bytes, others: Sequence[bytes] = ()) -> bytes:
    """The same with one to four changes; `others` are what parts are taken from."""
    found = bytearray(octets)
    for _ in range(dice.choice((1, 1, 1, 2, 2, 3, 4))):
        _change(dice, found, others)
    return bytes(found)


def _change(dice: random.Random, found: bytearray, others: Sequence[bytes]) -> None:
    at = dice.randrange(len(found)) if found else 0
    size = dice.choice((1, 1, 2, 3, 8, 32, 200))
    match dice.randrange(9):
        case 0 | 1 if found:
            found[at] ^= 1 << dice.randrange(8)
        case 2 | 3 if found:
            found[at] = dice.choice(_TELLING)
        case 4:
            del found[at : at + size]
        case 5:
            found[at:at] = dice.randbytes(size)
        case 6:
            found[at:at] = found[at : at + size]
        case 7:
            other = dice.choice(others) if others else found
            start = dice.randrange(len(other)) if other else 0
            found[at : at + size] = other[start : start + size]
        case _:
            del found[at:]


def bent(dice: random.Random, ask: Ask) -> Ask:
    """The same with a spoiled head."""
    method, path, headers = ask.method, ask.path, dict(ask.headers)
    for _ in range(dice.choice((1, 1, 2))):
        match dice.randrange(4):
            case 0:
                method = dice.choice(_METHODS)
            case 1:
                path += dice.choice(_TAILS)
            case 2:
                at = dice.randrange(1, len(path))
                path = path[:at] + dice.choice(["", "/", "%", "A", "~", "+", "é"]) + path[at + 1 :]
            case _:
                name = dice.choice(sorted(_HEADERS))
                headers[name] = dice.choice(_HEADERS[name])
    return replace(ask, method=method, path=path, headers=headers, bent=True)
