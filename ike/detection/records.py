"""What a watch remembers as bytes and back: MessagePack, typed by the records themselves, and compressed.

A gateway's memory is written with every batch of its events. What is read makes the records of `state` and no others.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import msgspec

from ike.detection.bounds import Bounds, Planned
from ike.detection.state import Gateway
from ike.detection.watch import Watch

# Counts up when what is remembered changes its meaning.
_VERSION: Final = 3
# Of a memory that is unpacked: far above what the bounds of each record allow.
_MOST: Final = 1 << 28
_READ: Final = msgspec.msgpack.Decoder(tuple[int, list[Gateway]])
_WRITE: Final = msgspec.msgpack.Encoder()
# Told from elsewhere, or made again from the rest.
_BARE: Final[Mapping[str, Any]] = {
    "bounds": {},
    "planned": (),
    "up": {},
    "wheel": {},
    "changes": None,
}


class MemoryUnreadable(ValueError):
    """Something else wrote it: another version of the program, or nobody in his right mind."""


def stored(watch: Watch) -> bytes:
    """All that is remembered; `bounds` and `planned` are not in it.

    Raises OverflowError and UnicodeEncodeError for numbers above 64 bits and for text that is none.
    """
    gateways = [replace(each, **_BARE) for each in watch.gateways()]
    return zlib.compress(_WRITE.encode((_VERSION, gateways)), 1)


def restored(
    memory: bytes, bounds: Mapping[str, Bounds] | None = None, planned: Sequence[Planned] = ()
) -> Watch:
    """A watch that goes on where `memory` was taken. Raises MemoryUnreadable."""
    try:
        unpacker = zlib.decompressobj()
        plain = unpacker.decompress(memory, _MOST)
        if not unpacker.eof:
            raise MemoryUnreadable("it is cut off, or too large")
        version, gateways = _READ.decode(plain)
    except (zlib.error, msgspec.MsgspecError) as error:
        raise MemoryUnreadable(str(error)) from None
    if version != _VERSION:
        raise MemoryUnreadable(f"it is of version {version}")
    return Watch.of(gateways, bounds, planned)
