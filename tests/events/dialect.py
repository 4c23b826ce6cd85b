"""Runs a dialect's parser over a text, as the reader does, and shows what `sa events` would print."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from hypothesis import strategies as st

from ike.events.event import EVENTS, REMARKS, SaEvent, printed


class LineParser(Protocol):
    def line(
        self, number: int, raw: bytes, time: float | None, host: str | None
    ) -> Sequence[SaEvent]: ...
    def close(self) -> Sequence[SaEvent]: ...


def events_of(parser: Callable[[], LineParser], text: str | bytes) -> list[SaEvent]:
    """Every event and remark of a text."""
    data = text.encode() if isinstance(text, str) else text
    reader = parser()
    found: list[SaEvent] = []
    for number, raw in enumerate(data.split(b"\n"), 1):
        found += reader.line(number, raw, None, None)
    found += reader.close()
    assert all(event.kind in EVENTS or event.kind in REMARKS for event in found)
    return found


def shown(parser: Callable[[], LineParser], text: str | bytes) -> list[dict[str, Any]]:
    """The events as printed, in the order of their lines, without `line` for a text of one line."""
    found = [event for event in events_of(parser, text) if event.kind in EVENTS]
    found.sort(key=lambda event: event.line)
    rows = [printed(event) for event in found]
    if "\n" not in (text if isinstance(text, str) else text.decode("latin-1")):
        for row in rows:
            del row["line"]
    return rows


def damaged(lines: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Texts made of lines of the dialect: cut, mixed, repeated, with any bytes between them."""
    pieces = st.one_of(
        st.sampled_from(list(lines)),
        st.sampled_from(list(lines)).flatmap(
            lambda line: st.integers(0, len(line)).map(lambda at: line[:at])
        ),
        st.sampled_from(list(lines)).flatmap(
            lambda line: st.integers(0, len(line)).map(lambda at: line[at:])
        ),
        st.binary(max_size=40),
        st.sampled_from([b"\n", b'"', b"#1: ", b"[", b"]", b" ", b"\xff\xfe", b"\x1b[31m", b"\0"]),
    )
    return st.lists(pieces, max_size=12).map(b"".join)
