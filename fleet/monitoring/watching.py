"""The rules of one gateway between two batches: kept as JSON, and begun anew where they are not the same any more."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from ike.detection.bounds import Planned
from ike.detection.watch import Watch

_LOG = logging.getLogger(__name__)
# Counts up when what rules remember changes its meaning: what older rules remembered is then let go.
_VERSION = 1


def restored(state: Mapping[str, Any] | None, gateway: str, planned: Sequence[Planned]) -> Watch:
    """The rules with what they remember of this gateway, or fresh ones; `planned` is what we do there ourselves."""
    if state is None or state.get("version") != _VERSION:
        return Watch(planned=planned)
    try:
        return Watch.restored(state["watch"], planned=planned)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        # Another version of the program wrote it. Its alerts end, and begin anew where there is reason to.
        _LOG.exception("what the rules remembered cannot be read", extra={"gateway": gateway})
        return Watch(planned=planned)


def kept(watch: Watch) -> dict[str, Any]:
    """What is to be remembered."""
    return {"version": _VERSION, "watch": watch.state()}
