"""What the kernel's XFRM netlink multicast tells of SAs, as values. Pure.

The kernel sends keys along: after the fixed part of a message, and after the name of their algorithm. `LONGEST` is
where the fixed part of the longest one ends; a reader that takes no more bytes of a message never has a key in memory
(the kernel drops the rest). The structures are those of linux/xfrm.h, by this machine's alignment.
"""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final

_HEAD: Final = struct.Struct("@IHHII")  # length, type, flags, sequence, sender
# Selector, id, source, limits, current, statistics, sequence, reqid, family, mode, window, flags.
_SA: Final = struct.Struct("@16s16s5H3BiI16s4sB3x16s12Q3I2IH3B0Q")
_ID: Final = struct.Struct("@16s4sHB0I")
_ACQUIRE: Final = struct.Struct("@16s4sB3x16s16s16s5H")
_ATTRIBUTE: Final = 4
#: Bytes of a message that may be read.
LONGEST: Final = _HEAD.size + _ID.size + _ATTRIBUTE + _SA.size
#: The multicast groups: acquire, expire, SA.
GROUPS: Final = 0x1 | 0x2 | 0x4

_NEW, _DELETED, _ACQUIRED, _EXPIRED, _UPDATED, _FLUSHED = 0x10, 0x11, 0x17, 0x18, 0x1A, 0x1C
_PROTOCOLS: Final[Mapping[int, str]] = {50: "esp", 51: "ah"}
_MODES: Final[Mapping[int, str]] = {0: "transport", 1: "tunnel", 4: "beet"}
_INFINITE: Final = (1 << 64) - 1
_IPV4: Final = 2


@dataclass(frozen=True)
class Told:
    """One message. `what`: new, updated, deleted, soft, hard, acquire, flushed (then nothing else but the protocol,
    empty for all). `by`: which limit was reached: bytes, packets or time. `added` in POSIX seconds.
    """

    what: str
    protocol: str = ""
    source: str = ""
    destination: str = ""
    spi: str = ""
    reqid: int = 0
    mode: str = ""
    by: str = ""
    carried: int = 0
    added: float = 0.0


def told(message: bytes) -> Told | None:
    """What the first `LONGEST` bytes of a message say; None for what is not about an ESP or AH SA. Raises ValueError
    for what the kernel does not send.
    """
    try:
        kind = _HEAD.unpack_from(message)[1]
        decode = _DECODERS.get(kind)
        return decode(message, _HEAD.size) if decode else None
    except struct.error:
        raise ValueError("no message of XFRM") from None


def _new(message: bytes, start: int) -> Told | None:
    return _sa("new", message, start)


def _updated(message: bytes, start: int) -> Told | None:
    return _sa("updated", message, start)


def _deleted(message: bytes, start: int) -> Told | None:
    return _sa("deleted", message, start + _ID.size + _ATTRIBUTE)


def _expired(message: bytes, start: int) -> Told | None:
    hard = message[start + _SA.size : start + _SA.size + 1]
    if not hard:
        raise ValueError("cut off")
    return _sa("hard" if hard != b"\0" else "soft", message, start)


def _flushed(message: bytes, start: int) -> Told | None:
    if len(message) <= start:
        raise ValueError("cut off")
    number = message[start]
    if number in (0, 255):
        return Told("flushed")
    protocol = _PROTOCOLS.get(number)
    return Told("flushed", protocol) if protocol else None


def _acquired(message: bytes, start: int) -> Told | None:
    fields = _ACQUIRE.unpack_from(message, start)
    protocol = _PROTOCOLS.get(fields[2])
    if protocol is None:
        return None
    family = fields[10]
    return Told("acquire", protocol, _address(family, fields[3]), _address(family, fields[0]))


def _sa(what: str, message: bytes, start: int) -> Told | None:
    fields = _SA.unpack_from(message, start)
    protocol = _PROTOCOLS.get(fields[14])
    if protocol is None:
        return None
    family = fields[33]
    return Told(
        what,
        protocol,
        source=_address(family, fields[15]),
        destination=_address(family, fields[12]),
        spi=fields[13].hex(),
        reqid=fields[32],
        mode=_MODES.get(fields[34], ""),
        by=_reached(what, fields),
        carried=fields[24],
        added=float(fields[26]),
    )


def _reached(what: str, fields: tuple[Any, ...]) -> str:
    """Which limit an expiry is about."""
    if what not in ("soft", "hard"):
        return ""
    hard = what == "hard"
    for unit, limit, current in (("bytes", 16, 24), ("packets", 18, 25)):
        most = fields[limit + hard]
        if 0 < most < _INFINITE and fields[current] >= most:
            return unit
    return "time"


def _address(family: int, raw: bytes) -> str:
    return str(ip_address(raw[:4] if family == _IPV4 else raw))


_DECODERS: Final[Mapping[int, Callable[[bytes, int], Told | None]]] = {
    _NEW: _new,
    _UPDATED: _updated,
    _DELETED: _deleted,
    _EXPIRED: _expired,
    _ACQUIRED: _acquired,
    _FLUSHED: _flushed,
}
