"""`sa_shared`: one pair of SPIs under two connections or Child SAs of one gateway.

Condition: an SA is installed whose inbound and outbound SPI both belong to an SA of another name that is still there.
Not normal, because the gateway draws each inbound SPI for one SA. Looks alike and is let pass: the same line through
two sinks (same names), the other end's view (mirrored), several networks in one Child SA, an SPI drawn again after its
SA was closed or the daemon restarted.
"""

from ike.detection.conditions import Place
from ike.detection.state import Gateway, Tunnel
from ike.events.event import SaEvent

_DAY = 86_400.0


def installed(gateway: Gateway, tunnel: Tunnel, event: SaEvent, at: float | None) -> None:
    """A Child SA with the SPIs of `event` is there."""
    spi = event.spi_in
    if spi is None:
        return
    there = gateway.spis.get(spi)
    if there is not None and there[2] == event.spi_out and event.spi_out is not None:
        name, child, _, since = there
        if (name, child) != (tunnel.name, event.child) and (
            at is None or since is None or at - since < _DAY
        ):
            gateway.sign(
                "sa_shared",
                Place(gateway.name, tunnel.name, tunnel.source),
                at,
                [event.line],
                {"other_connection": name, "other_child": child, "spi_in": spi},
            )
            return
    gateway.spis[spi] = (tunnel.name, event.child, event.spi_out, at)
