"""Which of a host's connections is meant. Pure."""

from collections.abc import Sequence
from typing import Final

from ike.audit.configuration.values import Tunnel
from ike.doctor.errors import TunnelNotNamed, TunnelUnknown

_MANY: Final = 20


def choose(tunnels: Sequence[Tunnel], name: str | None) -> Tunnel | None:
    """The connection of this name, or with a Child SA of this name; the only one where none is named; None where there
    is none at all. Raises TunnelUnknown and TunnelNotNamed.
    """
    if not tunnels:
        return None
    if name is None:
        if len({each.name for each in tunnels}) > 1:
            raise TunnelNotNamed(f"There are several connections: {_listed(tunnels)}.")
        return tunnels[-1]
    # The file that is loaded last decides.
    for each in reversed(tunnels):
        if each.name == name:
            return each
    for each in reversed(tunnels):
        if any(child.name == name for child in each.children):
            return each
    raise TunnelUnknown(f"There is no such connection; there are: {_listed(tunnels)}.")


def _listed(tunnels: Sequence[Tunnel]) -> str:
    names = sorted({each.name for each in tunnels})
    more = f" and {len(names) - _MANY} more" if len(names) > _MANY else ""
    return ", ".join(names[:_MANY]) + more
