"""What other clocks say, for the doctor: this machine's hardware clock, and the service's as the agent heard it."""

import ctypes
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from core.errors import IkewardenError
from ike.agent.home import DEFAULT, Home

_HARDWARE: Final = Path("/sys/class/rtc/rtc0/since_epoch")
_TIMEX_OCTETS: Final = 512  # more than struct timex has anywhere
_TIME_ERROR: Final = 5  # adjtimex(2): the clock is not synchronized


def others(
    now: datetime, hardware: Path = _HARDWARE, home: Path = DEFAULT
) -> Mapping[str, datetime]:
    """What they say it is, where the system says `now`, by their names."""
    found = {}
    with suppress(OSError, ValueError, OverflowError):
        found["the hardware clock"] = datetime.fromtimestamp(int(hardware.read_text()), UTC)
    with suppress(IkewardenError, OverflowError, ValueError):
        skew = Home(home).notes().skew_seconds
        if skew is not None:
            found["the clock of the service"] = now + timedelta(seconds=skew)
    return found


def is_unkept() -> bool:
    """Whether the kernel says that nobody sets its clock by another; False where it does not tell."""
    with suppress(OSError, AttributeError):
        # All zero: asks, and sets nothing.
        asked = ctypes.create_string_buffer(_TIMEX_OCTETS)
        return bool(ctypes.CDLL(None).adjtimex(asked) == _TIME_ERROR)
    return False
