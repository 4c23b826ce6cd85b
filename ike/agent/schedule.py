"""When something is done again: renewals spread over a fleet, tries further and further apart. Pure."""

import hashlib
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from ike.agent.generations import Generation
from ike.agent.keys import validity

# Between 0.60 and 2/3 of the lifetime: never later than two thirds, and not all gateways at once.
_LATEST: Final = 2 / 3
_SPREAD: Final = 1 / 15
_TIGHTEST: Final = timedelta(minutes=1)
_RETRY_BASE: Final = 10.0
_RETRY_CAP: Final = 6 * 3600.0
CONTACT_BASE: Final = 1.0
CONTACT_CAP: Final = 300.0

Random = Callable[[], float]
"""Evenly between 0 and 1."""


def due_at(generation: Generation, gateway: str) -> datetime:
    """When the certificate is to be renewed; the same for the same gateway and serial, so that a restart rolls no dice.

    Of a certificate that was back-dated, the lifetime counts from when it came.
    """
    start, end = validity(generation.certified)
    if generation.issued_at is not None and start < generation.issued_at < end:
        start = generation.issued_at
    octets = hashlib.sha256(f"{gateway}|{generation.serial}".encode()).digest()
    chance = int.from_bytes(octets[:8], "big") / 2**64
    return start + (end - start) * (_LATEST - _SPREAD * chance)


def may_renew(generation: Generation, renewed_at: datetime | None, now: datetime) -> bool:
    """Whether enough time passed since the last renewal, whichever way the clock jumped meanwhile."""
    start, end = validity(generation.certified)
    least = max(_TIGHTEST, (end - start) / 50)
    return renewed_at is None or abs(now - renewed_at) >= min(least, timedelta(hours=1))


def retry_seconds(failures: int, chance: Random) -> float:
    """How long to wait after so many failures in a row: between half and all of what doubles each time."""
    longest = min(_RETRY_CAP, _RETRY_BASE * 2.0 ** min(failures, 16))
    return longest * (0.5 + chance() / 2)


def contact_seconds(
    failures: int, chance: Random, retry_after: float | None = None, *, cap: float = CONTACT_CAP
) -> float:
    """How long to wait before the service is asked again: full jitter, and never before it said."""
    jittered = min(cap, CONTACT_BASE * 2.0 ** min(failures, 16)) * chance()
    return max(jittered, retry_after or 0.0)
