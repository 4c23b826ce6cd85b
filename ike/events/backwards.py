"""A log of charon that has its newest line first, and no names of SAs, given with its oldest line first.

Whom a line is about is in the lines that were written before it. Read as it stands, such a log would have each failure
be that of whoever came next.
"""

import tempfile
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import IO, Final

from ike.events.dialects.log_charon_lines import PACKET
from ike.events.errors import LogDamaged
from ike.events.event import SaEvent
from ike.events.order import runs_back
from ike.events.reader import Reader

_HEAD: Final = 1 << 18  # bytes that tell which way a log runs
_IN_MEMORY: Final = 1 << 25
_LARGEST: Final = 1 << 30  # bytes that are turned round; what has more is read as it stands
_BLOCK: Final = 1 << 18
_LONGEST: Final = 1 << 20  # bytes of a line that a reader looks at


class Text:
    """The blocks of a log, given once. `turned`: where its last line comes first, this less the number of a line as it
    comes is its number in the log; else 0. It is known with the first block.
    """

    def __init__(self, blocks: Iterable[bytes], now: float) -> None:
        self.turned = 0
        self._source = iter(blocks)
        self._now = now

    def blocks(self) -> Iterator[bytes]:
        """Raises what the source raises, after what it gave."""
        head, problem = self._begin()
        if not _is_backwards(head, self._now):
            yield head
            if problem is not None:
                raise problem
            yield from self._source
            return
        with tempfile.SpooledTemporaryFile(_IN_MEMORY) as spool:
            spool.write(head)
            problem = problem or self._keep(spool)
            size = spool.tell()
            spool.seek(0)
            if size >= _LARGEST:
                yield from chain(iter(lambda: spool.read(_BLOCK), b""), self._source)
                return
            self.turned = _lines(spool) + 1
            yield from _from_the_end(spool, size)
        if problem is not None:
            raise problem

    def placed(self, event: SaEvent) -> SaEvent:
        """An event of it with the number that its line has in the log."""
        return event._replace(line=self.turned - event.line) if self.turned else event

    def _begin(self) -> tuple[bytes, LogDamaged | None]:
        head = b""
        try:
            while len(head) < _HEAD and (block := next(self._source, b"")):
                head += block
        except LogDamaged as error:
            return head, error
        return head, None

    def _keep(self, spool: IO[bytes]) -> LogDamaged | None:
        try:
            for block in self._source:
                spool.write(block)
                if spool.tell() >= _LARGEST:
                    break
        except LogDamaged as error:
            return error
        return None


def _is_backwards(head: bytes, now: float) -> bool:
    if PACKET not in head:
        return False
    events = [event for event in Reader(now, beats=True).feed(head) if event.time is not None]
    return {event.daemon for event in events} <= {"charon", None} and runs_back(events)


def _lines(spool: IO[bytes]) -> int:
    number, last = 0, b"\n"
    while block := spool.read(_BLOCK):
        number += block.count(b"\n")
        last = block[-1:]
    return number + (last != b"\n")


def _from_the_end(spool: IO[bytes], size: int) -> Iterator[bytes]:
    """Blocks of whole lines, the last one first."""
    rest, stop = b"", size
    while stop:
        start = max(0, stop - _BLOCK)
        spool.seek(start)
        data = spool.read(stop - start) + rest
        stop = start
        begin = data.find(b"\n") + 1 if start else 0
        if start and not begin:
            rest = data[:_LONGEST]
            continue
        rest = data[:begin][:_LONGEST]
        lines = data[begin:].removesuffix(b"\n").split(b"\n") if begin < len(data) else []
        if lines:
            yield b"\n".join(reversed(lines)) + b"\n"
