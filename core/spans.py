"""What is under way, told to whoever follows requests through the service: spans, as OpenTelemetry calls them.

Off, and then a span costs a look at a variable, unless the program has put a recorder in its place. A span says what
kind of thing was done, how it ended, and which certificate it was about; never a name, a token or a value.
"""

import contextlib
import re
from collections.abc import Callable, Mapping
from contextvars import copy_context
from functools import partial
from typing import Final, Literal, Protocol, TypeVar

Kind = Literal["server", "internal", "producer", "consumer", "client"]
Value = str | int | float | bool
_Work = TypeVar("_Work", bound=Callable[..., object])
# W3C Trace Context §3.2.2: version 00, ids that are not all zero.
_PARENT: Final = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
#: The header, and the member of a message's payload, that names the span which something belongs under.
TRACEPARENT: Final = "traceparent"


class Span(Protocol):
    """What goes on between two moments."""

    def rename(self, name: str) -> None:
        """Call it otherwise: what it is may be known only at its end."""

    def note(self, **attributes: Value) -> None:
        """Say more of it; dots in names are written as two underscores."""


class Recorder(Protocol):
    """Who takes spans down."""

    def span(
        self, name: str, kind: Kind, parent: str | None, attributes: Mapping[str, Value]
    ) -> contextlib.AbstractContextManager[Span]:
        """A context which is the span, below `parent` (a traceparent), else below what the caller is in."""

    def traceparent(self) -> str | None:
        """The header that names the span that the caller is in."""


class _Nothing:
    """A span that nobody takes down; also its own context, so that it costs no new object."""

    def __enter__(self) -> Span:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def rename(self, name: str) -> None:
        """Nothing."""

    def note(self, **attributes: Value) -> None:
        """Nothing."""


class _Held:
    recorder: Recorder | None = None


_NOTHING: Final = _Nothing()


def record_with(recorder: Recorder | None) -> None:
    """Have all spans of this process taken down by this one from now on, or by nobody."""
    _Held.recorder = recorder


def recorder() -> Recorder | None:
    """Who takes spans down, if anybody does."""
    return _Held.recorder


def span(
    name: str, kind: Kind = "internal", parent: str | None = None, **attributes: Value
) -> contextlib.AbstractContextManager[Span]:
    """A context that is a span; an error that leaves it is its end, by code where it has one.

    `parent` is a traceparent from outside: one that is none is let be.
    """
    held = _Held.recorder
    if held is None:
        return _NOTHING
    if parent is not None and not _PARENT.fullmatch(parent):
        parent = None
    return held.span(name, kind, parent, attributes)


def traceparent() -> dict[str, str]:
    """The header, or member of a payload, that names the span the caller is in; nothing where there is none."""
    held = _Held.recorder
    found = None if held is None else held.traceparent()
    return {} if found is None else {TRACEPARENT: found}


def handed_down(environ: Mapping[str, str]) -> dict[str, str]:
    """The header that names the span which started this program, where its environment does (OpenTelemetry,
    Environment Variables as Context Propagation Carriers); nothing where it names none.
    """
    found = environ.get(TRACEPARENT.upper(), "")
    return {TRACEPARENT: found} if _PARENT.fullmatch(found) else {}


def below(work: _Work) -> _Work:
    """The same work, below the span that the caller is in now, in whichever thread it is done."""
    if _Held.recorder is None:
        return work
    return partial(copy_context().run, work)  # type: ignore[return-value]  # it is called as the work is
