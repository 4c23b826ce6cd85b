"""Spans cost nothing that grows while nobody takes them down, and go with the work that they are about."""

import contextlib
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from threading import Thread
from typing import Any

import pytest

from core import spans

_WITHIN: ContextVar[str] = ContextVar("within", default="")


class Notebook:
    """A recorder that writes down which span was below which."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, str | None]] = []

    @contextlib.contextmanager
    def span(
        self, name: str, kind: spans.Kind, parent: str | None, attributes: Mapping[str, Any]
    ) -> Iterator[spans.Span]:
        self.lines.append((name, _WITHIN.get(), parent))
        token = _WITHIN.set(name)
        try:
            with spans._NOTHING as made:
                yield made
        finally:
            _WITHIN.reset(token)

    def traceparent(self) -> str | None:
        return _WITHIN.get() or None


@pytest.fixture
def notebook() -> Iterator[Notebook]:
    made = Notebook()
    spans.record_with(made)
    yield made
    spans.record_with(None)


def test_while_nobody_takes_them_down_all_are_the_same_thing() -> None:
    first, second = spans.span("a", number=1), spans.span("b", parent="x")
    assert first is second
    with first as span:
        span.note(more=2)
        span.rename("c")
    assert spans.traceparent() == {}

    def work() -> None: ...

    assert spans.below(work) is work


def test_a_work_stays_below_its_span_in_another_thread(notebook: Notebook) -> None:
    def work() -> None:
        with spans.span("inner"):
            pass

    with spans.span("outer"):
        assert spans.traceparent() == {"traceparent": "outer"}
        kept = spans.below(work)
    for each in (kept, work):
        thread = Thread(target=each)
        thread.start()
        thread.join()
    kept()  # a transaction may be tried again
    assert notebook.lines == [
        ("outer", "", None),
        ("inner", "outer", None),
        ("inner", "", None),
        ("inner", "outer", None),
    ]


def test_only_a_traceparent_is_one(notebook: Notebook) -> None:
    good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
    for parent in (good, good.upper(), good + "-00", "00-" + "0" * 32 + good[35:], ""):
        with spans.span("a", parent=parent):
            pass
    assert [line[2] for line in notebook.lines] == [good, None, None, None, None]
