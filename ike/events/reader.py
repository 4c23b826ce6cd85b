"""A stream of log bytes, read into events: lines are found and counted, and each is given to the daemon's parser."""

import re
from collections.abc import Sequence
from typing import Final, Protocol

from ike.events import programs
from ike.events.dialects import (
    log_charon,
    log_cisco,
    log_fortigate,
    log_juniper,
    log_mikrotik,
    log_pluto,
    log_racoon,
    log_windows,
)
from ike.events.dialects.log_charon_lines import BEGIN, CUE, DULL, NAKED, PACKET, process_before
from ike.events.envelopes import opened
from ike.events.event import SaEvent
from ike.events.programs import Head, head_of
from ike.events.stamps import Stamps, end_of_stamp

_BEAT: Final = 2048  # bytes: some minutes of liveness checks
_LONGEST: Final = 1 << 20  # bytes of a line that are looked at


class Parser(Protocol):
    """What every dialect's `Parser` does. It never raises, whatever the bytes.

    A line that no dialect claims and that does not begin with a stamp is given to the parser of the line before it,
    for it may be the rest of a message; a parser that has no use for it answers ().
    """

    def line(
        self, number: int, raw: bytes, time: float | None, host: str | None
    ) -> Sequence[SaEvent]:
        """The events of one line, given without its line feed but with its prefix."""
        ...

    def close(self) -> Sequence[SaEvent]:
        """What a message that was wrapped over lines still owes. More lines may follow."""
        ...


# Every dialect: its name, the cue that only its lines have, and its parser. The order decides where two cues begin at
# one place.
_DIALECTS: Final[tuple[tuple[str, re.Pattern[bytes], type[Parser]], ...]] = (
    (programs.CHARON, CUE, log_charon.Parser),
    (programs.CISCO, log_cisco.CUE, log_cisco.Parser),
    (programs.PLUTO, log_pluto.CUE, log_pluto.Parser),
    (programs.JUNIPER, log_juniper.CUE, log_juniper.Parser),
    (programs.FORTIGATE, log_fortigate.CUE, log_fortigate.Parser),
    (programs.RACOON, log_racoon.CUE, log_racoon.Parser),
    # The widest cues come last: topics in any form, and the heads of any export of records.
    (programs.MIKROTIK, log_mikrotik.CUE, log_mikrotik.Parser),
    (programs.WINDOWS, log_windows.CUE, log_windows.Parser),
)

_CHARON: Final = 0  # whose lines are many
_WINDOWS: Final = 7  # whose records have many lines, with anything in them
_QUOTING: Final = frozenset({programs.FORTIGATE, programs.WINDOWS})  # whose records are in quotes


class Reader:
    """Reads one log, in blocks of any size, as it comes. `now`, POSIX seconds, for stamps without a year; `east` as
    `Stamps` takes it. With `beats` a remark `alive` comes now and then of charon's lines that tell nothing: they show
    that the log has no hole there.

    Memory does not grow with the log: what is kept is one line, and the parsers' bounded state.
    """

    def __init__(self, now: float, east: float = 0.0, *, beats: bool = False) -> None:
        self._stamps = Stamps(now, east)
        self._beats = beats
        self._charon = log_charon.Parser()
        self._parsers: list[Parser] = [
            self._charon if made is log_charon.Parser else made() for _, _, made in _DIALECTS
        ]
        self._number = 0  # lines that have ended
        self._rest = b""
        self._skipping = False  # the rest of a line that was too long
        self._last: int | None = None  # the dialect of the line before this one
        self._before = b""  # that line, where it was passed over at the end of a block

    def feed(self, block: bytes) -> list[SaEvent]:
        """The events of the lines that end in this block."""
        if self._skipping:
            start = block.find(b"\n") + 1
            if not start:
                return []
            self._skipping = False
            block = block[start - 1 :]
        data = self._rest + block if self._rest else block
        end = data.rfind(b"\n") + 1
        self._rest = data[end:]
        if len(self._rest) > _LONGEST:
            self._rest, self._skipping = self._rest[:_LONGEST], True
        return self._whole(data[:end])

    def close(self) -> list[SaEvent]:
        """The events of a last line without an end, and what the parsers still owe."""
        rest, self._rest = self._rest, b""
        events = self._whole(rest) if rest else []
        return events + self.settle()

    def settle(self) -> list[SaEvent]:
        """What the parsers still owe, without an end: where nothing came for a while, nothing more of it will."""
        return [event for parser in self._parsers for event in parser.close()]

    def _whole(self, data: bytes) -> list[SaEvent]:
        """The events of whole lines. Runs of lines that charon tells nothing by are passed over at once."""
        events: list[SaEvent] = []
        position, end = 0, len(data)
        while position < end:
            if self._charon.unaddressed:
                events += self._address(data, position, end)
            found = DULL.match(data, position)
            if found is None:  # it matches anything
                break
            start = found.start("begin")
            if start > position:
                if self._beats:
                    self._beat(data, position, start, events)
                self._number += data.count(b"\n", position, start)
                self._last, self._before = _CHARON, _last_line(data, start) if start == end else b""
                if start == end:
                    break
            stop = data.find(b"\n", start) + 1 or end
            self._number += 1
            if (
                found["group"]
                and not self._last  # _CHARON, or nobody
                and data.find(b": ", start, found.start("group")) < 0  # no tag of a program
                and data.find(b"]: ", found.end(), stop) < 0
            ):
                self._usual(data, start, stop, found, events)
            else:
                before = _last_line(data, start) if start > position else self._before
                self._other(data, start, stop, before, events)
            self._before = b""
            position = stop
        return events

    def _beat(self, data: bytes, begin: int, end: int, events: list[SaEvent]) -> None:
        """Look at the times of some of the lines that are passed over."""
        number = self._number
        while end - begin > _BEAT:
            stop = data.find(b"\n", begin + _BEAT, end) + 1 or end
            number += data.count(b"\n", begin, stop)
            time, host = self._stamps.read(_last_line(data, stop))
            if time is not None:
                events.append(SaEvent("alive", number, time, host=host))
            begin = stop

    def _address(self, data: bytes, begin: int, end: int) -> list[SaEvent]:
        """What charon told of nobody yet, by the lines from `begin` on, which are only looked at."""
        events: list[SaEvent] = []
        while self._charon.unaddressed and begin < end:
            stop = data.find(b"\n", begin) + 1 or end
            events += self._charon.address(data[begin:stop])
            begin = stop
        return events

    def _usual(
        self, data: bytes, start: int, stop: int, found: re.Match[bytes], events: list[SaEvent]
    ) -> None:
        """A line of charon with nothing but a stamp before it, and so no host, and with one message: nearly all that
        are not dull. It is not copied.
        """
        self._last = _CHARON
        bracket = found.start("group") - 1
        if data.startswith(PACKET, bracket):  # many, where lines have no numbers of SAs
            self._charon.note_packet(data, bracket, stop, None)
            return
        if self._charon.held:
            events += self._charon.close()
        time, host = self._stamps.read_usual(data, start, stop)
        events += self._charon.message(self._number, data, stop, found, time, host)

    def _other(
        self, data: bytes, start: int, stop: int, before: bytes, events: list[SaEvent]
    ) -> None:
        """Any other line; `before` is the line before it, where that was passed over."""
        raw = data[start:stop].rstrip(b"\r\n")
        head = head_of(raw)
        if not head.dialects:
            self._last = None
            return
        at = data.find(PACKET, start, min(stop, start + 160))
        if at > 0 and _is_charon(raw, head) and data.find(b"] ", start, at) < 0:
            # Behind another group it is no packet.
            host = self._stamps.read(raw[: at - start + 1])[1]
            self._charon.note_packet(data, at, stop, host, process_before(data, at))
            self._last = _CHARON
            return
        chosen = self._dialect(raw, head)
        if (
            chosen is None and before and _is_charon(before, head_of(before))
        ):  # a dull line may go on here, and then tell something
            events += self._line(before, _CHARON, self._number - 1)
        if chosen is None and head.is_named and self._last != _WINDOWS:
            self._last = None  # the rest of no message
            return
        events += self._line(raw, chosen, self._number)

    def _line(self, raw: bytes, chosen: int | None, number: int) -> Sequence[SaEvent]:
        """The events of one line, of the chosen dialect or else perhaps of the one before it."""
        time, host, within = None, None, None
        if raw[:1] == b"{":
            plain = opened(raw)
            if plain is not None:
                raw, time, host, within = plain.raw, plain.time, plain.host, plain.within
                head = head_of(raw)
                if plain.dialects is not None:
                    head = head._replace(dialects=plain.dialects, is_named=True)
                chosen = self._dialect(raw, head) if head.dialects else None
                if chosen is None:
                    return ()
        stamp, name = self._stamps.read(raw)
        if chosen is None:
            if end_of_stamp(raw) is not None:
                self._last = None
            chosen = self._last
            # What goes on with a message is no message of its own.
            if chosen is not None and _DIALECTS[chosen][1].search(raw):
                return ()
        if chosen is None:
            return ()
        self._last = chosen
        return self._parsers[chosen].line(
            number, raw, stamp if time is None else time, host or name or within
        )

    def _dialect(self, raw: bytes, head: Head) -> int | None:
        """The one whose words begin a line: what a peer chose, or a stranger, never stands before a daemon's own."""
        if self._last == _WINDOWS and not head.is_named and log_windows.CUE.search(raw):
            return _WINDOWS
        if programs.CHARON in head.dialects and _is_charon(raw, head):
            return _CHARON
        found = []
        for index, (name, cue, _) in enumerate(_DIALECTS):
            if index != _CHARON and name in head.dialects:
                at = cue.search(raw)
                if at and _begins(name, raw, at.start(), head):
                    found.append((at.start(), index != self._last, index))
        return min(found)[2] if found else None


def _is_charon(raw: bytes, head: Head) -> bool:
    """Whether charon's words begin where a message may."""
    if programs.CHARON not in head.dialects:
        return False
    if head.is_named and len(head.dialects) == 1:
        return True
    return any(BEGIN.match(raw, begin) for begin in head.begins) or NAKED.match(raw) is not None


def _begins(name: str, raw: bytes, at: int, head: Head) -> bool:
    """Whether a cue at `at` is the daemon's own word, where its name alone does not say so."""
    if head.is_named and len(head.dialects) == 1:
        return True
    if name == programs.PLUTO:
        return any(log_pluto.BEGIN.match(raw, begin) for begin in head.begins) or at == 0
    if raw[:1] == b"{":
        return name == programs.WINDOWS
    return name in _QUOTING or raw.find(b'"', 0, at) < 0


def _last_line(data: bytes, end: int) -> bytes:
    return data[data.rfind(b"\n", 0, end - 1) + 1 : end].rstrip(b"\r\n")
