"""What a row of the audit log is in the tree: one line of JSON, the same on every database.

Keys in order, no blanks, everything beyond ASCII escaped, times in UTC with six digits. An export has these very
lines, so whoever checks one need not know how they are made.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
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
    # ASCII: then a lone surrogate, which JSON can escape and UTF-8 cannot hold, has a form too.
    return json.dumps(document, sort_keys=True, separators=(",", ":"), default=repr).encode("ascii")


def _instant(at: object) -> object:
    if not isinstance(at, datetime):
        return at
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"


def _parsed(detail: object) -> object:
    if not isinstance(detail, str):
        return detail
    try:
        return json.loads(detail, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return detail


def _refuse(constant: str) -> Never:
    raise ValueError(constant)
