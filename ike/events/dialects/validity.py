"""The dates of a certificate that charon refuses: is it too late for it, or too early?"""

import re
from datetime import UTC, datetime
from typing import Final

_DATES: Final = re.compile(
    r"valid from (\w{3} \d\d \d\d:\d\d:\d\d \d{4}) to (\w{3} \d\d \d\d:\d\d:\d\d \d{4})"
)
_FORM: Final = "%b %d %H:%M:%S %Y"


def is_early(message: str, time: float | None) -> bool:
    """Is `time` before the dates that `message` names? Nobody knows their zone, so the nearer end tells."""
    found = _DATES.search(message)
    if found is None or time is None:
        return False
    try:
        begin, end = (
            datetime.strptime(each, _FORM).replace(tzinfo=UTC).timestamp()
            for each in found.groups()
        )
    except ValueError:
        return False
    return time < (begin + end) / 2
