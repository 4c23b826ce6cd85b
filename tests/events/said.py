"""What a parser makes of lines, in the form in which `sa events` prints it, and lines to break it with."""

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from hypothesis import strategies as st

from ike.events.event import EVENTS, REMARKS, SaEvent, printed


class Parser(Protocol):
    def line(
        self, number: int, raw: bytes, time: float | None, host: str | None
    ) -> Iterable[SaEvent]: ...
    def close(self) -> Iterable[SaEvent]: ...


def events_of(parser: Parser, log: str | bytes) -> list[SaEvent]:
    raw = log if isinstance(log, bytes) else log.encode()
    events: list[SaEvent] = []
    for number, line in enumerate(raw.split(b"\n"), 1):
        events += parser.line(number, line.rstrip(b"\r"), None, None)
    return [*events, *parser.close()]


def shown(parser: Parser, log: str | bytes) -> list[dict[str, Any]]:
    return [printed(event) for event in events_of(parser, log) if event.kind in EVENTS]


def one(parser: Parser, line: str) -> list[dict[str, Any]]:
    """The events of one line, without its number."""
    return [{k: v for k, v in each.items() if k != "line"} for each in shown(parser, line)]


def pieces(words: list[str]) -> st.SearchStrategy[bytes]:
    """Logs that are made of what the parser looks for, and of anything."""
    word = st.one_of(
        st.sampled_from([each.encode() for each in words]),
        st.binary(max_size=12),
        st.sampled_from([b"\n", b" ", b'"', b"\\", b"=", b":", b",", b"(", b"\0", b"{", b"<"]),
    )
    return st.lists(word, max_size=40).map(b"".join)


def survives(made: Callable[[], Parser], log: bytes) -> None:
    """Nothing is raised, every event is a known one on a line that was there, and a second reading says the same."""
    events = events_of(made(), log)
    assert events == events_of(made(), log)
    lines = log.count(b"\n") + 1
    for event in events:
        assert event.kind in EVENTS or event.kind in REMARKS
        assert 1 <= event.line <= lines
        fields = set(printed(event)) - {"line", "event", "phase"}
        assert event.kind in REMARKS or fields <= set(EVENTS[event.kind])
