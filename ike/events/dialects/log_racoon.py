"""The log of racoon (ipsec-tools, and its descendants in macOS, Android and appliances).

`racoon: INFO: ...` in syslog, `2024-01-02 03:04:05: INFO: ...` in its own file; versions before 0.5 name the place in
the source, and pfSense the tunnel: `racoon: [name]: [192.0.2.7] ERROR: ...`.
"""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from ike.events.dialects.racoon_messages import Messages, Origin, is_cut
from ike.events.dialects.rows import text_of
from ike.events.event import SaEvent

_LEVELS: Final = rb"(?:INFO|NOTIFY|NOTICE|WARNING|ERROR|CRITICAL|DEBUG2?)"
#: True for lines of racoon.
CUE: Final = re.compile(
    rb"\bracoon(?:\[\d+\])?(?:\([^)]*\))?(?: <\w+>)?\s*: |\bracoon\s*\(\s*\d+\): |Site-to-site VPN: "
    rb"|^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d: (?:\[[^\]]*\] )?"
    + _LEVELS
    + rb": |\b"
    + _LEVELS
    + rb": \w+\.c:\d+:"
)

_LIMIT: Final = 8_192
_WRAPPED: Final = 4
_PREFIX: Final = re.compile(
    rb"(?:\bracoon(?:\[\d+\])?(?:\([^)]*\))?(?: <\w+>)?\s*: |\bracoon\s*\(\s*\d+\): |Site-to-site VPN: "
    rb"|^\s*\d{4}-\d\d-\d\d \d\d:\d\d:\d\d: |^\s*(?=" + _LEVELS + rb": \w+\.c:\d+:))"
    rb"(?:\[(?P<name>[^\]]{1,200})\]: )?(?:\[(?P<peer>[^\]]{1,80})\] )?(?:(?P<level>"
    + _LEVELS
    + rb"):\s*)?(?:\w+\.c:\d+:\w*(?:\(\))?:? ?)?"
)
_NAMELESS: Final = frozenset({"Self", "Unknown Gateway/Dynamic", "Unknown", "none"})
_OTHERS: Final = re.compile(
    rb"(?:<\d+>)?(?:\w{3} [ \d]\d \d\d:|\d{4}-\d\d-\d\d[T ]|\d{1,2}:\d\d:\d\d|\d{9,}\.|"
    + _LEVELS
    + rb": )"
)


class _Held(NamedTuple):
    """The message before, in case that it goes on."""

    message: bytes
    origin: Origin
    unread: bool
    lines: int = 1


class Parser:
    """Lines of one log to events; see `ike.events.reader`."""

    def __init__(self) -> None:
        self._messages = Messages()
        self._held: _Held | None = None

    def line(
        self, number: int, raw: bytes, time: float | None, host: str | None
    ) -> Sequence[SaEvent]:
        """The events of a line, after those of a wrapped message that it shows to be at its end."""
        raw = raw[:_LIMIT]
        prefix = _PREFIX.search(raw)
        if prefix is None:
            return self._go_on(raw)
        owed = self.close() if self._held is not None else ()
        peer, name = prefix["peer"], prefix["name"]
        origin = Origin(
            number,
            time,
            host,
            "racoon",
            text_of(peer) if peer else None,
            _name(text_of(name)) if name else None,
            prefix["level"] or b"",
        )
        message = raw[prefix.end() :]
        if is_cut(message):
            self._held = _Held(message, origin, unread=True)
            return owed
        events = self._messages.read(message, origin)
        if not events:
            self._held = _Held(message, origin, unread=False)
            return owed
        return (*owed, *events) if owed else events

    def close(self) -> Sequence[SaEvent]:
        """What a message at the end of the log still owes."""
        held, self._held = self._held, None
        return self._messages.read(held.message, held.origin) if held and held.unread else ()

    def _go_on(self, raw: bytes) -> Sequence[SaEvent]:
        """Take a line without a prefix as the rest of the message before it."""
        held, rest = self._held, raw.strip()
        if held is None:
            return ()
        if not rest or held.lines >= _WRAPPED or _OTHERS.match(raw):
            return self.close()
        whole = held.message.rstrip() + b" " + rest
        self._held = _Held(whole, held.origin, unread=True, lines=held.lines + 1)
        return ()


def _name(text: str) -> str | None:
    return None if text in _NAMELESS else text
