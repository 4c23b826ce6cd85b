"""Log lines on standard error: for people or as JSON, one line each, nothing secret, nothing forged.

What is logged may have come from an attacker (a name in a request, a line of a peer). So control
characters are escaped, lengths are bounded, values that are not plainly printable are only named
by their type, and an unknown exception shows its class and place but not its message.
"""

import json
import logging
import math
import re
import sys
import traceback
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from datetime import UTC, date, datetime, timedelta
from enum import Enum
from pathlib import PurePath
from types import TracebackType
from typing import Any, Final, Literal, TextIO

from core.errors import IkewardenError
from core.escaping import escaped
from core.secret import Secret

Level = Literal["debug", "info", "warning", "error"]
Format = Literal["text", "json"]

REQUEST_ID: Final[ContextVar[str]] = ContextVar("ikewarden_request_id", default="")
"""The request that this thread or task works for. A record's own `request_id` comes before it."""

LONGEST: Final = 8192
_DEEPEST: Final = 4
_MOST: Final = 100
_HIDDEN: Final = frozenset(
    {"authorization", "cookie", "passphrase", "password", "pin", "private_key", "psk", "secret"}
)
_PLAIN: Final = re.compile(r"[^\s\"=\\]+")
_STANDARD: Final = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime"}
# These write statements with their parameters, or URLs with their tokens, at levels below warning.
_NEVER_BELOW_WARNING: Final = ("sqlalchemy", "urllib3", "hvac")
# These tell of every run or request.
_CHATTY: Final = ("apscheduler", "werkzeug", "asyncio", "granian.access", "uvicorn.access")


def configure_logs(
    level: Level,
    format: Format,
    *,
    stream: TextIO | None = None,
    request_id: ContextVar[str] = REQUEST_ID,
) -> None:
    """Send every log record of this process, and every warning, to `stream` (standard error).

    Call it once at start in each process; a second call replaces the first.
    """
    debug = level == "debug"
    make = JsonLines if format == "json" else TextLines
    handler = LineHandler(stream or sys.stderr)
    handler.setFormatter(make(request_id=request_id, tracebacks=debug))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in _NEVER_BELOW_WARNING:
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.NOTSET if debug else logging.WARNING)
    logging.captureWarnings(True)
    # No line shows these, and to find them out took a third of a line's time ("Optimization" in Python's how-to of
    # logging).
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False


class LineHandler(logging.StreamHandler[TextIO]):
    """Writes each record in one piece, and never disturbs the caller if that fails."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """A record that cannot be written is dropped; one that cannot be formatted is named."""
        try:
            self.stream.write(f"a log record of {escaped(record.name)} could not be written\n")
        except (OSError, ValueError):
            return


class Lines(logging.Formatter):
    """What both formats have in common: which values of a record are shown, and how."""

    def __init__(self, *, request_id: ContextVar[str] = REQUEST_ID, tracebacks: bool) -> None:
        super().__init__()
        self._request_id = request_id
        self._tracebacks = tracebacks

    def head(self, record: logging.LogRecord) -> dict[str, Any]:
        """Time, level, logger, request id if there is one, message."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        request_id = getattr(record, "request_id", "") or self._request_id.get()
        return {
            "time": at.removesuffix("+00:00") + "Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            **({"request_id": shown(request_id)} if request_id else {}),
            "message": shortened(record.getMessage()),
        }

    def tail(self, record: logging.LogRecord) -> dict[str, Any]:
        """Extra fields, and the error in one line if there is one."""
        fields = {
            name: _field(name, value)
            for name, value in record.__dict__.items()
            if name not in _STANDARD and name not in ("request_id", "taskName")
        }
        if record.exc_info and record.exc_info[1] is not None:
            fields |= described(record.exc_info[1])
        return fields

    def trace(self, record: logging.LogRecord) -> list[str]:
        """Lines of the traceback; none unless the level is debug."""
        if not self._tracebacks or not record.exc_info or record.exc_info[1] is None:
            return []
        return "".join(traceback.format_exception(record.exc_info[1])).splitlines()


class JsonLines(Lines):
    """One JSON object a line, ASCII only, so that no character can end the line early."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line without its end."""
        head, tail, trace = self.head(record), self.tail(record), self.trace(record)
        document = head | {name + "_" * (name in head): value for name, value in tail.items()}
        if trace:
            document["traceback"] = trace
        return json.dumps(document, ensure_ascii=True, separators=(",", ":"))


class TextLines(Lines):
    """`time LEVEL logger [request id] message key=value …`; lines of a traceback are indented."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line without its end, and its traceback below it."""
        head = self.head(record)
        request_id = f" [{escaped(str(head['request_id']))}]" if "request_id" in head else ""
        parts = [
            f"{head['time']} {head['level'].upper():7} {escaped(record.name)}{request_id} "
            f"{escaped(head['message'])}"
        ]
        parts += [f"{escaped(name)}={_word(value)}" for name, value in self.tail(record).items()]
        return "\n    | ".join([" ".join(parts), *map(escaped, self.trace(record))])


def shortened(text: str) -> str:
    """The text, or its beginning and how much was left out."""
    if len(text) <= LONGEST:
        return text
    return f"{text[:LONGEST]}… ({len(text) - LONGEST} characters more)"


def shown(value: object, depth: int = 0) -> Any:
    """The value as JSON has it; of what is not plainly printable, only the type."""
    if value is None:
        return None
    if isinstance(value, Enum):
        return shown(value.value, depth)
    for kinds, show in _SHOWN:
        if isinstance(value, kinds):
            return show(value)
    if depth < _DEEPEST and isinstance(value, Mapping):
        pairs = list(value.items())[:_MOST]
        return {str(name): _field(str(name), inner, depth + 1) for name, inner in pairs}
    if depth < _DEEPEST and isinstance(value, list | tuple | set | frozenset):
        return [shown(inner, depth + 1) for inner in list(value)[:_MOST]]
    return f"({type(value).__name__})"


def described(error: BaseException) -> dict[str, str]:
    """An exception in a few short fields.

    Messages of our own errors are public by construction (core/errors.py); those of others may
    hold anything, and are left out.
    """
    chain = [error]
    while len(chain) < _DEEPEST and (cause := chain[-1].__cause__ or chain[-1].__context__):
        chain.append(cause)
    fields = {"error": " from ".join(map(_class_name, chain))}
    if isinstance(error, IkewardenError):
        fields |= {"code": error.code, "reason": shortened(error.message)}
    if place := _place(error.__traceback__):
        fields["at"] = place
    return fields


def _field(name: str, value: object, depth: int = 0) -> Any:
    return "(hidden)" if name.lower() in _HIDDEN else shown(value, depth)


def _class_name(error: BaseException) -> str:
    kind = type(error)
    place = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    return place + kind.__qualname__


def _place(frames: TracebackType | None) -> str:
    """File and line where it was raised."""
    if frames is None:
        return ""
    while frames.tb_next is not None:
        frames = frames.tb_next
    path = PurePath(frames.tb_frame.f_code.co_filename)
    return f"{'/'.join(path.parts[-2:])}:{frames.tb_lineno}"


def _word(value: object) -> str:
    """A value in a text line: as it is if it is one plain word, else as JSON."""
    if isinstance(value, str) and _PLAIN.fullmatch(value):
        return escaped(value)
    return escaped(json.dumps(value, ensure_ascii=False))


def _finite(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)  # JSON has no word for the others


_SHOWN: Final[tuple[tuple[Any, Callable[[Any], Any]], ...]] = (
    (str | PurePath, lambda value: shortened(str(value))),
    (bool | int, lambda value: value),
    (float, _finite),
    (date, lambda value: value.isoformat()),
    (timedelta, lambda value: value.total_seconds()),
    (Secret, repr),
    (bytes | bytearray | memoryview, lambda value: f"({len(value)} bytes)"),
    (BaseException, _class_name),
)
