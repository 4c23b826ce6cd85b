"""The rules of one gateway between two batches: kept as bytes, and begun anew where they are not the same any more."""

import logging
from collections.abc import Mapping, Sequence

from ike.detection import records
from ike.detection.bounds import Bounds, Planned
from ike.detection.records import MemoryUnreadable
from ike.detection.watch import Watch

_LOG = logging.getLogger(__name__)


def restored(
    memory: bytes | None, gateway: str, bounds: Mapping[str, Bounds], planned: Sequence[Planned]
) -> Watch:
    """The rules with what they remember of this gateway, or fresh ones.

    `bounds`: what is known of its connections' timing; `planned`: what we do there ourselves.
    """
    if memory is None:
        return Watch(bounds, planned)
    try:
        return records.restored(memory, bounds, planned)
    except MemoryUnreadable as error:
        # Another version of the program wrote it. Its alerts end, and begin anew where there is reason to.
        about = {"gateway": gateway, "reason": str(error)}
        _LOG.warning("what the rules remembered cannot be read", extra=about)
        return Watch(bounds, planned)


def kept(watch: Watch, gateway: str) -> bytes | None:
    """What is to be remembered."""
    try:
        return records.stored(watch)
    except (OverflowError, UnicodeEncodeError):
        # Better to begin anew than to refuse what a gateway sends, again and again.
        _LOG.exception("what the rules remember cannot be kept", extra={"gateway": gateway})
        return None
