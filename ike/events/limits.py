"""Events as the service takes them: a peer's identity, and what else a line holds, may be of any length. Pure."""

import math
from typing import Any, Final

from ike.events.event import SaEvent

_LONGEST: Final = {"identity": 1024, "algorithms": 1024}
_TEXT: Final = 255
_SPIS: Final = frozenset({"spi_in", "spi_out"})
_LARGEST: Final = 1 << 63
_APART: Final = frozenset({"kind", "line", "time"})
_YEARS: Final = (0.0, 4e9)


def limited(event: SaEvent) -> SaEvent:
    """The event with long texts cut off, and without values, and a time, that the service would refuse."""
    fits = event.time is not None and _YEARS[0] < event.time < _YEARS[1]
    changes: dict[str, Any] = {} if fits else {"time": None}
    for name in SaEvent._fields:
        value = getattr(event, name)
        if value is not None and name not in _APART:
            taken = _taken(name, value)
            if taken != value:
                changes[name] = taken
    return event._replace(**changes) if changes else event


def _taken(name: str, value: Any) -> Any:
    match value:
        case str():
            if name in _SPIS:
                fits = 0 < len(value) <= 32 and all(c in "0123456789abcdefABCDEF" for c in value)
                return value if fits else None
            return value.encode("utf-8", "replace").decode()[: _LONGEST.get(name, _TEXT)]
        case int():
            return value if 0 <= value < _LARGEST else None
        case float():
            return value if math.isfinite(value) else None
    return None
