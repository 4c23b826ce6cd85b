"""The log of pluto (Openswan, Libreswan): syslog, journald, its own file, and what `ipsec whack` prints.

Every message of interest has the connection before it, `"name"[2] 192.0.2.7 #5: `, or the sender of the packet,
`packet from 192.0.2.7:500: `. The wordings are in `pluto_rows` and
`pluto_refusals`.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from ike.events.dialects.pluto_refusals import NOTICES
from ike.events.dialects.pluto_rows import IDLE, ROWS
from ike.events.dialects.rows import Row, address_of, event_of, first_word, text_of
from ike.events.event import REMARKS, SaEvent

#: True for lines of pluto, and of the tools that repeat it.
CUE: Final = re.compile(
    rb"\bpluto(?:\[\d+\])?: |\bpluto \d+ |ipsec__plutorun|packet from \S+: "
    rb'|(?:"|\xe2\x80\x9d|&quot;)(?:\[\d+\][^"]{0,80}?)? #\d+: '
    rb"|^\w{3} [ \d]\d [\d:]{8}\.\d{6}: "
    rb"|(?:^|[\s\]])#\d+: (?:STATE_|(?:initiat|respond|delet|receiv|authentic)\w+ |ESP traffic)"
)

_QUOTE: Final = rb'(?:"|\xe2\x80[\x9c\x9d\x9e\x9f]|&quot;)'
#: How a message of pluto begins, where nothing names it: its own stamp, a code of `whack`, and whom it is about.
BEGIN: Final = re.compile(
    rb"[\d:.,T+Z -]{0,40}(?:" + _QUOTE + rb"[^\"]{1,256}?" + _QUOTE
    + rb"(?:\[\d+\](?:\{\d+\})?(?: (?:<[^>]{1,80}>\S*|[^\s#\"]\S*?))?)?(?: #\d+)?:(?: |$)"
    rb"|packet from \S+: |#\d+: )"
)  # fmt: skip

_LIMIT: Final = 16_384  # of a line; what follows is no part of a message that we know
_WRAPPED: Final = 4  # lines at most that one message is taken from
_REMEMBERED: Final = 50_000  # SAs
_NAMED: Final = re.compile(
    rb'"(?P<name>[^"]{1,256})"'
    rb"(?:\[\d+\](?:\{\d+\})?(?: (?P<peer><[^>]{1,80}>\S*|[^\s#\"]\S*?))?)?"
    rb"(?: #(?P<number>\d+))?:(?: |$)"
)
_PACKET: Final = re.compile(
    rb"\bpacket from (?P<peer><[^>]{1,80}>|\S+?)(?::(?:UDP/|TCP/)?[\dA-Z]+)?: "
)
_BARE: Final = re.compile(
    rb"(?:pluto(?:\[\d+\])?: |\bpluto \d+ (?:-|\S+) (?:-|\[.*?\]) |^\w{3} [ \d]\d [\d:]{8}\.\d+: )"
    rb"(?:#(?P<number>\d+): )?(?=[A-Z(a-z])"
)
_PROGRAM: Final = re.compile(rb"(?:^|[\s/])([A-Za-z_][\w.-]{0,40})\[\d+\]: ")
_REPEATS: Final = re.compile(rb"pluto|ipsec|swan|whack|NetworkManager|nm-|docker|pod")
_SCRUBBED: Final = re.compile(rb"(?:^|[\s\]])#(?P<number>\d+): (?=\w)")
_MORE: Final = re.compile(
    rb'(?:\w{3} [ \d]\d [\d:]{8}[^"]{0,80}|pluto\[\d+\]: )"[^"]{1,256}"(?:\[\d+\] [^\s"]+)? #\d+: '
)  # another message in the same line
_QUOTES: Final = re.compile(rb"\xe2\x80[\x9c\x9d\x9e\x9f]|&quot;")  # as web pages have them
_GAP: Final = re.compile(rb" {8,}")  # where a terminal was too narrow
_STATE: Final = re.compile(rb"(?:STATE_)?([A-Z0-9]+(?:_[A-Z0-9]+)+)(?: \([^)]*\))?: ")
_CHILD_STATE: Final = re.compile(
    rb"(?:V2_)?(?:QUICK|IPSEC|ESTABLISHED_CHILD|NEW_CHILD|REKEY_CHILD|IKE_AUTH_CHILD|CREATE|ADD_CHILD|CHILD)"
)
_REACHED: Final = re.compile(rb"reached (?:after )?(?:STATE_)?([A-Z][A-Z0-9_]+)")
_STARTED: Final = re.compile(rb"(?:STATE_)?(?:MAIN|AGGR|(?:V2_)?PARENT)_I\d")
_NOTICE: Final = re.compile(b"|".join(NOTICES))
_IDENTITY: Final = re.compile(rb"'.*'", re.DOTALL)
_GRAVE: Final = re.compile(rb"(?:ERROR|WARNING|warning): ")
_OF_CHILD: Final = re.compile(rb"(?<!responding to CREATE_)C(?:hild|HILD)[ _]SA|\bESP/AH")
_SPIS: Final = re.compile(
    r"\{(?:ESP|AH)[^=\s]*=>0x(?P<spi_out>[0-9a-f]+)\s<0x(?P<spi_in>[0-9a-f]+)\s", re.IGNORECASE
)
_NAT: Final = re.compile(r"NATD=(?!none\b|unset\b)(?P<peer>[^\s}]+)")
_PREFIXED: Final = re.compile(
    rb"(?:<\d+>)?(?:\w{3} [ \d]\d \d\d:|\d{4}-\d\d-\d\d[T ]|\w{3} \w{3} [ \d]\d |\d{1,2}:\d\d:\d\d|\| )"
)
_LATE: Final = frozenset({"child_established", "child_rekeyed"})
_IKE_ONLY: Final = frozenset({"ike_initiate", "ike_respond", "ike_rekeyed"})


_PROCESS: Final = re.compile(rb"\bpluto(?:\[| )(\d{1,10})(?:\]:| )")
_Run = tuple[str | None, bytes | None]  # host and process: each numbers its SAs anew


class _Place(NamedTuple):
    """What stands before the message of a line, and where that begins."""

    start: int
    name: str | None = None
    peer: str | None = None
    number: int | None = None


class _Sa:
    """What earlier lines told about the SA or negotiation of a number."""

    __slots__ = ("child", "name", "rekey", "source", "up")

    def __init__(self) -> None:
        self.child: bool | None = None
        self.rekey = False
        self.up = False
        self.name: str | None = None
        self.source: str | None = None


class _Held(NamedTuple):
    """The line before, in case that its message goes on."""

    number: int
    raw: bytes
    time: float | None
    host: str | None
    run: _Run
    events: tuple[SaEvent, ...] = ()
    lines: int = 1


class Parser:
    """Lines of one log to events; see `ike.events.reader`."""

    def __init__(self) -> None:
        self._sas: dict[tuple[_Run, int], _Sa] = {}
        self._held: _Held | None = None
        self._refused: tuple[str | None, int | str | None] | None = None

    def line(
        self, number: int, raw: bytes, time: float | None, host: str | None
    ) -> Sequence[SaEvent]:
        """The events of a line, after those of a wrapped message that it shows to be at its end."""
        raw = raw[:_LIMIT]
        if b"        " in raw:
            raw = _GAP.sub(b"", raw.strip(b" "))
        if b"\xe2\x80" in raw or b"&quot;" in raw:
            raw = _QUOTES.sub(b'"', raw)
        place = _placed(raw)
        if place is None:
            return self._go_on(raw)
        owed = self._held.events if self._held is not None else ()
        process = _PROCESS.search(raw, 0, place.start)
        line = _Held(number, raw, time, host, (host, process[1] if process else None))
        events = self._read(line, place)
        if not events or _is_cut(events, raw):
            self._held = line._replace(events=events)
            return owed
        self._held = None
        return (*owed, *events) if owed else events

    def close(self) -> Sequence[SaEvent]:
        """What a message at the end of the log still owes."""
        owed = self._held.events if self._held is not None else ()
        self._held = None
        return owed

    def _go_on(self, raw: bytes) -> Sequence[SaEvent]:
        """Take a line without a prefix as the rest of the message before it."""
        held = self._held
        if held is None:
            return ()
        rest = raw.strip()
        if not rest or held.lines >= _WRAPPED or _PREFIXED.match(raw):
            return self.close()
        whole = held.raw.rstrip() + b" " + rest
        place = _placed(whole)
        if place is None or len(whole) > _LIMIT:
            return self.close()
        events = self._read(held._replace(raw=whole), place) or held.events
        self._held = held._replace(raw=whole, events=events, lines=held.lines + 1)
        return ()

    def _read(self, line: _Held, place: _Place) -> tuple[SaEvent, ...]:
        message = line.raw[place.start :]
        if message.count(b'"') > 1:
            more = _MORE.search(message)
            if (
                more and b"'" not in message[: more.start()]
            ):  # else an identity, which a peer chooses
                rest = line._replace(raw=message[more.start() :])
                also = self._read(rest, _placed(rest.raw) or place)
                first = line._replace(raw=line.raw[: place.start + more.start()])
                return (*self._read(first, place), *also)
        state = _STATE.match(message)
        if state:
            message = message[state.end() :]
        grave = _GRAVE.match(message)
        if grave:
            message = message[grave.end() :]
        word = first_word(message)
        if word == b"initiate" and state and _STARTED.match(state[1]):
            return (self._event("ike_initiate", {}, "ike", place, line),)
        rows = ROWS.get(word)
        if rows is not None:
            text = text_of(message)
            for each in rows:
                match = each.pattern.match(text)
                if match:
                    return self._stated(each, match, _state_of(state, message), place, line)
        if word in IDLE or message[:2] == b"| ":
            return ()
        return self._noticed(message, _state_of(state, message), None, place, line)

    def _stated(
        self, row: Row, match: re.Match[str], state: bytes, place: _Place, line: _Held
    ) -> tuple[SaEvent, ...]:
        fields = _fields(match)
        if not row.kinds:
            if row.number == "child":
                self._sa(line, place.number).child = True
                return ()
            message = match.string[: match.end() + 64].encode()
            return self._noticed(message, state, fields, place, line)
        if "Quick Mode" in match.group() and not self._was_up(fields, line):
            return ()  # another attempt at what never came up
        number = self._role(row.number, fields, state, place, line)
        kinds = row.kinds
        if kinds == ("ike_deleted",) and number == "child":
            kinds = ("child_closed",)  # Openswan names the states of both alike
        fields = {**row.fixed, **fields}
        if not _LATE.isdisjoint(kinds):
            for found in (_SPIS.search(match.string), _NAT.search(match.string)):
                fields.update(found.groupdict() if found else {})
        if "unknown_peer" in kinds:
            self._refused = (line.host, place.number or place.peer)
        return tuple(self._event(kind, fields, number, place, line) for kind in kinds)

    def _noticed(
        self,
        message: bytes,
        state: bytes,
        fields: dict[str, Any] | None,
        place: _Place,
        line: _Held,
    ) -> tuple[SaEvent, ...]:
        """A message that names a notice of IKE, sent or received."""
        message = _IDENTITY.sub(b"''", message)  # which a peer chose
        found = _NOTICE.search(message)
        if found is None:
            if b"; retransmitting response" in message:
                number = self._role("any", {}, state, place, line)
                return (self._event("retransmit", {}, number, place, line),)
            return ()
        refused = self._refused == (line.host, place.number or place.peer)
        if refused and first_word(message) in (b"sending", b"sent", b"responding"):
            return ()  # the answer to a peer that was refused a line ago
        if fields is None:
            to = re.search(rb"(?: to | from )(\d[\d.]+|\[?[0-9a-f:]+\]?):\d+", message)
            fields = {"peer": text_of(to[1])} if to else {}
        number = self._role("any", fields, state, place, line)
        child = self._sa(line, place.number).child
        if _OF_CHILD.search(message) and child is not False:
            number = "child"
        elif child is None and message.startswith(b"responding to CREATE_CHILD_SA message"):
            number = "ike"  # where the Child SA tells, it told before this why it failed
        kinds = [NOTICES[found[0]]]
        if number == "child" and self._sa(line, place.number).rekey and b"fail" in message:
            kinds.insert(0, "child_rekey_failed")
        return tuple(self._event(kind, fields, number, place, line) for kind in kinds)

    def _role(
        self, number: str, fields: Mapping[str, Any], state: bytes, place: _Place, line: _Held
    ) -> str:
        """What the number in the prefix is: `ike`, `child` or `new`; and keep in mind what was learnt."""
        if place.number is None:
            return number
        sa = self._sa(line, place.number)
        if number in ("child", "new"):
            sa.child = True
            sa.rekey = number == "new"
            return number
        if number == "via":
            told = int(fields["ike_id"]) != place.number
            return "child" if told or sa.child else "ike"
        if number == "any":
            child = bool(_CHILD_STATE.match(state)) if state else bool(sa.child)
            return "child" if child else "ike"
        return number

    def _event(
        self, kind: str, fields: Mapping[str, Any], number: str, place: _Place, line: _Held
    ) -> SaEvent:
        numbers = _numbers(kind, number, place)
        shown = {"connection": place.name, **numbers, **{k: v for k, v in fields.items() if v}}
        address = address_of(fields.get("peer") or place.peer)
        shown["peer"] = address or fields.get("identity")
        sa = self._sa(line, place.number)
        sa.source = address or sa.source
        sa.name = place.name or sa.name
        if number == "ike" and kind in _IKE_ONLY:
            sa.child = False
        if kind in _LATE and "phase" not in fields:
            sa.up = True
        if kind != "unknown_peer":
            self._refused = None
        shown["source"], shown["name"] = sa.source, shown["connection"] or sa.name
        if kind in REMARKS:
            shown.pop("phase", None)
        if kind == "daemon_started":
            self._sas = {key: sa for key, sa in self._sas.items() if key[0] != line.run}
        return event_of(
            kind, shown, line=line.number, time=line.time, host=line.host, daemon="pluto"
        )

    def _was_up(self, fields: Mapping[str, Any], line: _Held) -> bool:
        """Whether the Child SA that is replaced was up, or is from before this log."""
        replaced = self._sas.get((line.run, int(fields.get("child_id") or 0)))
        return replaced is None or replaced.up

    def _sa(self, line: _Held, number: int | None) -> _Sa:
        if number is None:
            return _Sa()
        sa = self._sas.get((line.run, number))
        if sa is None:
            if len(self._sas) >= _REMEMBERED:
                del self._sas[next(iter(self._sas))]
            sa = self._sas[line.run, number] = _Sa()
        return sa


def _placed(raw: bytes) -> _Place | None:
    """What stands before the message; None where the line has no prefix of pluto's."""
    at = raw.find(b'"')
    if _is_foreign(raw, at):
        return _Place(len(raw))
    found = _PACKET.search(raw)
    named = _NAMED.match(raw, at) if at >= 0 and not (found and found.start() < at) else None
    if named:
        return _place(named, text_of(named["name"]))
    if found:
        return _Place(found.end(), None, text_of(found["peer"]))
    found = _BARE.search(raw) or _SCRUBBED.search(raw)
    if found is None:
        return None
    return _Place(found.end(), None, None, int(found["number"]) if found["number"] else None)


def _is_foreign(raw: bytes, at: int) -> bool:
    """Whether a line is one for debugging, or one of another program with a name in quotes at `at`."""
    debug = raw.find(b": | ", 0, 160)
    if debug >= 0 and (at < 0 or debug < at):
        return True
    if at < 0:
        return False
    if raw[:at].rstrip(b" ") == b"|":
        return True
    other = _PROGRAM.search(raw, 0, at)
    return other is not None and not _REPEATS.search(other[1])


def _place(named: re.Match[bytes], name: str) -> _Place:
    peer, number = named["peer"], named["number"]
    return _Place(
        named.end(),
        name,
        text_of(peer) if peer else None,
        int(number[:18]) if number else None,
    )


def _state_of(state: re.Match[bytes] | None, message: bytes) -> bytes:
    """The state that the line names, before the message or in it, without `STATE_`."""
    if state:
        return state[1]
    found = _REACHED.search(message) if message[:4] == b"max " else None
    return found[1] if found else b""


def _fields(match: re.Match[str]) -> dict[str, Any]:
    """Named groups as fields; `peer_2` is another place of `peer`."""
    return {name.rstrip("_0123456789"): value for name, value in match.groupdict().items() if value}


def _numbers(kind: str, number: str, place: _Place) -> dict[str, int | None]:
    """Where the number in the prefix belongs."""
    if number == "new" and kind == "child_rekeyed":
        return {"new_child_id": place.number}
    if number in ("child", "new") or kind == "child_established":
        return {"child_id": place.number}
    return {"ike_id": place.number}


def _is_cut(events: Sequence[SaEvent], raw: bytes) -> bool:
    """Whether the message may go on in the next line."""
    return any(each.kind in _LATE and not each.phase for each in events) and (
        b"}" not in raw and b" SA" in raw
    )
