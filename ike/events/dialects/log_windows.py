"""Security events of Windows: exported as XML, JSON or text, or forwarded as lines of syslog; UTF-8 or UTF-16."""

import re
from collections.abc import Sequence
from typing import Final

from ike.events.dialects.windows_records import MEANINGS, events_of, number_of, number_of_sentence
from ike.events.event import SaEvent

# Lines that begin, head or hold such an event, and any line of UTF-16, which no other system here writes. Heads are
# claimed although they stand in other logs too: they mean nothing until an event's sentence or number follows.
# Each way begins with a letter of its own: that keeps the search quick on other lines.
CUE: Final = re.compile(
    rb"</?(?:Event|System|Data|TimeCreated|Computer|Provider)[^<>]{0,512}>|Security-Auditing"
    rb"|IPsec (?:[Mm]ain|[Qq]uick|[Ee]xtended) [Mm]ode"
    rb"|IPsec [Ss]ecurity [Aa]ssociation was|IKE DoS-prevention"
    rb"|\"(?:EventI[dD]|event_id|TimeCreated|winlog|ProviderName|@timestamp|created|EventTime)\":"
    rb"|Event\[\d{1,9}\]|Log Name:|TimeCreated +:|ProviderName +:|Id {2,}:|EventID +:|Event ID:"
    rb"|Date: {1,16}\d|Message +:|\{\s*$|\[\s*$|\0[\t\x20-\x7e]\0"
)

_LONGEST: Final = 1 << 18  # characters of one event; more is not looked at
_MOST: Final = 120  # lines of a message of text
_HEAD_LINES: Final = 40  # lines that may stand between the beginning of a head and the message
_XML_OPEN: Final = re.compile(r"<Event(?=[ >])")
_XML_CLOSE: Final = "</Event>"
_XML_TAG: Final = re.compile(rf"{_XML_OPEN.pattern}|{_XML_CLOSE}")
_TOKEN: Final = re.compile(r"[{}\[\]]|\"(?:[^\"\\]|\\.)*+(?:\"|\\?$)")
_JSON_LINE: Final = re.compile(r"^\s*(?:[{}\[\]\"]|\d+[,\s]*$)")
_JSON_AFTER: Final = re.compile(r"\{\s*\"")
_HEAD: Final = re.compile(
    r"^\s*(?:(?P<first>Event\[\d{1,9}\]|Log Name:)|(?:Event ID|EventID)\s*:\s*(?P<number>\d{4})\b)"
)
_LISTED: Final = re.compile(r"^(?P<key>[A-Z]\w{1,30})\s+:(?: (?P<value>.*))?$")
_MORE: Final = re.compile(r"^(?:\s|$|[A-Z][\w ()/-]{2,48}:(?:\s|$))")
_DESCRIPTION: Final = re.compile(r"^\s*(?:Description:|Message\s+:)")


class Parser:
    """Joins the lines of one event; it is reported with the number of the line on which it starts."""

    def __init__(self) -> None:
        self._xml: _Open | None = None
        self._json = _Objects()
        self._text = _Texts()

    def line(
        self, number: int, raw: bytes, time: float | None, host: str | None
    ) -> Sequence[SaEvent]:
        """The events that end on this line; () for none."""
        text = _plain(raw)
        if self._xml is not None or _XML_OPEN.search(text):
            return self._timed([*self._text.close(), *self._in_xml(number, text)], time, host)
        if self._json.open or _JSON_LINE.match(text):
            return self._timed([*self._text.close(), *self._json.line(number, text)], time, host)
        inside = _JSON_AFTER.search(text)
        if inside and number_of(text):
            return self._timed(self._json.line(number, text[inside.start() :]), time, host)
        return self._timed(self._text.line(number, text), time, host)

    def close(self) -> Sequence[SaEvent]:
        """The event whose end the log does not hold."""
        events = list(self._text.close())
        if self._xml is not None:
            events += self._xml.events()
            self._xml = None
        return (*events, *self._json.close())

    def _in_xml(self, number: int, text: str) -> list[SaEvent]:
        events: list[SaEvent] = []
        at = 0
        for tag in _XML_TAG.finditer(text):
            if self._xml is not None:  # a new one begins where the end of the one before is missing
                self._xml.add(text[at : tag.start()])
                events += self._xml.events()
            at = tag.start()
            self._xml = None if tag[0] == _XML_CLOSE else _Open(number)
        if self._xml is not None:
            self._xml.add(text[at:])
        return events

    @staticmethod
    def _timed(
        events: Sequence[SaEvent], time: float | None, host: str | None
    ) -> Sequence[SaEvent]:
        """With the time and host of the line where the events show none themselves."""
        return tuple(
            event._replace(time=time if event.time is None else event.time, host=event.host or host)
            for event in events
        )


class _Open:
    """The text of an event whose end has not come yet."""

    def __init__(self, start: int) -> None:
        self.start = start
        self._parts: list[str] = []
        self._length = 0

    def add(self, text: str) -> None:
        """More of it, as far as there is room."""
        text = text[: max(0, _LONGEST - self._length)]
        self._parts.append(text)
        self._length += len(text)

    def text(self) -> str:
        return "\n".join(self._parts)

    def events(self) -> list[SaEvent]:
        """What it says, by the number that stands in it."""
        record = self.text()
        number = number_of(record)
        if number is None:
            return []
        return [event._replace(line=self.start) for event in events_of(number, record)]


class _Objects:
    """Objects of JSON: an element of a list, or one that stands alone, may be an event."""

    def __init__(self) -> None:
        self._brackets: list[str] = []
        self._candidates: list[tuple[int, _Open]] = []  # with the depth at which each began

    @property
    def open(self) -> bool:
        """Whether an object or list has begun and not ended."""
        return bool(self._brackets)

    def line(self, number: int, text: str) -> list[SaEvent]:
        events: list[SaEvent] = []
        at = 0
        for token in _TOKEN.finditer(text):
            mark = token[0]
            if mark in "{[":
                if mark == "{" and (not self._brackets or self._brackets[-1] == "["):
                    self._add(text[at : token.start()])
                    at = token.start()
                    self._candidates.append((len(self._brackets), _Open(number)))
                self._brackets.append(mark)
            elif mark in "}]":
                if self._brackets:
                    self._brackets.pop()
                self._add(text[at : token.end()])
                at = token.end()
                events += self._ended()
        self._add(text[at:])
        if len(self._brackets) > 64:  # no export is nested like this
            self._brackets, self._candidates = [], []
        return events

    def close(self) -> list[SaEvent]:
        """What an unfinished object, the innermost with a number of ours, says."""
        candidates = self._candidates
        self._brackets, self._candidates = [], []
        for _, candidate in reversed(candidates):
            if events := candidate.events():
                return events
        return []

    def _ended(self) -> list[SaEvent]:
        if not self._candidates or self._candidates[-1][0] != len(self._brackets):
            return []
        _, ended = self._candidates.pop()
        events = ended.events()
        if not events and self._candidates:
            self._candidates[-1][1].add(ended.text())  # a list inside of the event
        return events

    def _add(self, text: str) -> None:
        if self._candidates and text:
            self._candidates[-1][1].add(text)


class _Texts:
    """Messages as people read them: `wevtutil /f:text`, the event viewer, `Format-List`, and single lines of syslog."""

    def __init__(self) -> None:
        self._head: int | None = None  # the line on which the head before a message began
        self._since = 0  # lines since then
        self._number: int | None = None  # of the event, in that head
        self._time = ""  # lines of that head
        self._open: _Open | None = None
        self._opened = 0  # the number of the event that is open
        self._lines = 0
        self._blank = True  # the line before

    def line(self, number: int, text: str) -> list[SaEvent]:
        blank, self._blank = self._blank, not text.strip()
        listed = _LISTED.match(text)
        head = _HEAD.match(text)
        events: list[SaEvent] = []
        if self._open is not None and self._ends(text, head, listed):
            events += self.close()
        if self._open is not None:
            self._open.add(text)
            self._lines += 1
            return events
        self._since += 1
        if self._head is not None and self._since > _HEAD_LINES:
            self._forget()
        if (head and head["first"] and not (self._head and self._since < 3)) or (listed and blank):
            self._forget()
            self._head, self._since = number, 0
        self._read_head(number, text, head, listed)
        return events + self._read_message(number, text)

    def close(self) -> list[SaEvent]:
        """The events of the message that is open."""
        if self._open is None:
            return []
        record, start = self._open.text(), self._open.start
        self._open = None
        return [event._replace(line=start) for event in events_of(self._opened, record)]

    def _ends(self, text: str, head: re.Match[str] | None, listed: re.Match[str] | None) -> bool:
        """Whether a line is none of the open message. The line after its head may be anything."""
        if (head and head["first"]) or self._lines >= _MOST:
            return True
        return listed is not None or (self._lines > 0 and not _MORE.match(text))

    def _forget(self) -> None:
        self._head, self._number, self._time = None, None, ""

    def _read_head(
        self, number: int, text: str, head: re.Match[str] | None, listed: re.Match[str] | None
    ) -> None:
        value = head["number"] if head else None
        if listed and listed["key"] in ("Id", "EventID", "InstanceId"):
            value = (listed["value"] or "").strip()
        if value and re.fullmatch("[0-9]{1,9}", value):
            self._number = int(value)
            if self._head is None:
                self._head, self._since = number, 0
        if self._head is not None:
            self._time = f"{self._time}\n{text}"[:2048]

    def _read_message(self, number: int, text: str) -> list[SaEvent]:
        said = number_of_sentence(text)
        known = self._number if self._number in MEANINGS else None
        if said is None and not (known is not None and _DESCRIPTION.match(text)):
            return []
        alone = _whole(text)  # a forwarded line has a head of its own
        self._opened = said or 0 if alone or known is None else known
        self._open = _Open(number if alone or self._head is None else self._head)
        self._open.add("" if alone else self._time)
        self._open.add(text)
        self._lines = 1 if said is not None else 0
        self._forget()
        return self.close() if alone else []


def _whole(text: str) -> bool:
    """Whether a line holds all of a message, as one that was forwarded does."""
    lowered = text.lower()
    return any(
        mark in lowered
        for mark in ("remote endpoint:", "remote network address:", "remote address:")
    )


def _plain(raw: bytes) -> str:
    """A line as text. Of UTF-16 only the halves that are ASCII matter: all names and numbers are."""
    if b"\0" in raw:
        raw = raw.replace(b"\xff\xfe", b"").replace(b"\xfe\xff", b"").replace(b"\0", b"")
    return raw.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace").rstrip("\r\n")
