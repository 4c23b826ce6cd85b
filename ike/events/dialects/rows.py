"""Wordings as data: which message of a daemon states which event, found by its first word."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from ike.events.event import EVENTS, SaEvent

_NUMBERS: Final = frozenset({"ike_id", "old_ike_id", "child_id", "new_child_id", "seq"})
_OF_REMARKS: Final = ("peer", "connection", "ike_id", "child_id")
_FOR_RULES: Final = frozenset(
    {"thread", "source", "name", "identity", "reason", "algorithms", "size", "seconds"}
)
_ADDRESS: Final = re.compile(
    r"\.{0,3}(?P<address>\d+\.\d+\.\d+\.\d+|\[[0-9A-Fa-f:.%\w]+\]|[0-9A-Fa-f]*:[0-9A-Fa-f:.]+(?:%\w+)?|[^\s=]+?)"
    r"(?:===.*|:(?:UDP/|TCP/)?\d+|/\d+|\[\d+\])?[.,;:]*"
)


class Row(NamedTuple):
    """One wording. `pattern` matches at the start of a message; its named groups are fields of SaEvent.

    `kinds`: the events that such a message states. `number`: what the number in the line's prefix is
    (a word of the dialect). `fixed`: fields that the words themselves mean, as `phase` and `reason`.
    """

    kinds: tuple[str, ...]
    number: str
    pattern: re.Pattern[str]
    fixed: Mapping[str, Any]


def row(kinds: str, pattern: str, number: str = "", **fixed: Any) -> Row:
    """A row; `kinds` separated by blanks. Letters match in either case, for daemons change them."""
    return Row(tuple(kinds.split()), number, re.compile(pattern, re.IGNORECASE), fixed)


def table(rows: Mapping[str, Sequence[Row]]) -> dict[bytes, tuple[Row, ...]]:
    """`rows` by the first word of their messages, in small letters and without the punctuation behind it.

    A key may name several words, separated by blanks.
    """
    found: dict[bytes, tuple[Row, ...]] = {}
    for words, each in rows.items():
        for word in words.lower().split():
            found[word.encode()] = (*found.get(word.encode(), ()), *each)
    return found


def first_word(message: bytes) -> bytes:
    """The key of a message in a `table`; a number stands as b"0"."""
    word = message[:48].split(None, 1)
    if not word:
        return b""
    key = word[0].rstrip(b":;,.").lower()
    return b"0" if key[:1].isdigit() else key


def text_of(raw: bytes) -> str:
    """`raw` as text, whatever its encoding; it never fails."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def address_of(text: str | None) -> str | None:
    """An address as printed, without port, brackets, and the dots that pluto sets before it."""
    if not text:
        return None
    if text[:1] == "<":  # a placeholder stands as printed
        return text[: text.find(">") + 1] or None
    match = _ADDRESS.fullmatch(text)
    found = match["address"] if match else text
    return found.strip("[]") or None


def event_of(kind: str, fields: Mapping[str, Any], **also: Any) -> SaEvent:
    """An event of `fields` that may stand with `kind`; the others are left out, and numbers made numbers."""
    allowed = EVENTS.get(kind, _OF_REMARKS)
    taken: dict[str, Any] = dict(also)
    for field, value in fields.items():
        if value is None or value == "":
            continue
        if field in allowed or field in _FOR_RULES or field in ("phase", "seq"):
            taken[field] = int(value) if field in _NUMBERS else value
    return SaEvent(kind, **taken)
