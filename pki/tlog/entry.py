"""What a row of the audit log is in the tree: one line of JSON, the same on every database.

Keys in order, no blanks, everything beyond ASCII escaped, times in UTC with six digits. An export has these very
lines, so whoever checks one need not know how they are made.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from json import JSONDecoder, JSONEncoder
from typing import Any, Final, Never

FIELDS: Final = (
    "id",
    "at",
    "actor",
    "role",
    "action",
    "object",
    "outcome",
    "detail",
    "request_id",
)


def _refuse(constant: str) -> Never:
    raise ValueError(constant)


def _unambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Of a name that is there twice, some readers take the first value and some the last."""
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a name is there twice")
    return document


# Made once, because that takes longer than their work. ASCII: then a lone surrogate, which JSON can escape and UTF-8
# cannot hold, has a form too.
_ENCODER: Final = JSONEncoder(sort_keys=True, separators=(",", ":"), default=repr)
_DECODER: Final = JSONDecoder(parse_constant=_refuse, object_pairs_hook=_unambiguous)


def entry(event_id: int, row: Mapping[str, Any] | None) -> bytes:
    """The line of a row; None: one that the database cannot give back. Never raises.

    `row` has FIELDS; its `detail` is the text in the database. What no program of ours would have written there gets
    a line too: nothing that somebody writes by hand may stop the log.
    """
    if row is None:
        return _line({"id": event_id, "unreadable": True})
    document = {name: row[name] for name in FIELDS} | {"at": _instant(row["at"])}
    try:
        return _line({**document, "detail": _parsed(row["detail"])})
    except (ValueError, RecursionError):
        return _line(document)


def _line(document: Mapping[str, Any]) -> bytes:
    return _ENCODER.encode(document).encode("ascii")


def _instant(at: object) -> object:
    if not isinstance(at, datetime):
        return at
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _parsed(detail: object) -> object:
    if not isinstance(detail, str):
        return detail
    try:
        return _DECODER.decode(detail)
    except (ValueError, RecursionError):
        return detail
