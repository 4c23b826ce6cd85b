"""Cells of a CSV file that a spreadsheet opens."""

from datetime import datetime
from typing import Final

# A cell that begins with one of these is calculated by Excel and its like; the wide ones in some languages.
_FORMULAS: Final = tuple("=+-@|%＝＋－＠")  # noqa: RUF001


def cell(value: object) -> object:
    """What to write for a value: a text that would be taken for a formula gets an apostrophe, None is empty, a time is
    told as RFC 3339 has it.
    """
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, str) and value.lstrip().startswith(_FORMULAS):
        return f"'{value}"
    return "" if value is None else value
