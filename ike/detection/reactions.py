"""What each kind of event does: which rules hear of it."""

from collections.abc import Callable
from typing import Final

from ike.detection import (
    agreement,
    algorithms,
    certificates,
    clock,
    collisions,
    failures,
    floods,
    identities,
    lifecycle,
    liveness,
    rekeys,
    rotations,
)
from ike.detection.state import Gateway, Tunnel
from ike.events.event import SaEvent

Reaction = Callable[[Gateway, SaEvent, float | None], None]
OfTunnel = Callable[[Gateway, Tunnel, SaEvent, float | None], None]


def _established(gateway: Gateway, event: SaEvent, at: float | None) -> None:
    tunnel = gateway.tunnel(event, make=True)
    if tunnel is None:
        return
    ike, source = event.ike_id, event.source or event.peer
    if ike is not None and source not in (None, tunnel.source, event.identity):
        # The number is that of a daemon before this one, unless the peer moved: then it authenticates no more.
        tunnel = gateway.tunnel(event._replace(ike_id=None), make=True) or tunnel
    if ike is None or ike not in tunnel.up:
        floods.came_up(gateway, event, at)
    lifecycle.ike_established(gateway, tunnel, event, at)
    if gateway.offers:
        algorithms.came_up(gateway, tunnel, event, at)
    if gateway.unchecked:
        certificates.came_up(gateway, tunnel, event, at)


def _offered(gateway: Gateway, event: SaEvent, at: float | None) -> None:
    algorithms.offered(gateway, event, gateway.tunnel(event, make=False), at)


def _restarted(gateway: Gateway, event: SaEvent, at: float | None) -> None:
    lifecycle.restarted(gateway, at)


def _deleted(gateway: Gateway, tunnel: Tunnel, event: SaEvent, at: float | None) -> None:
    """charon says in one sentence that an SA is deleted and that another of its identity is why."""
    if event.reason == "duplicate":
        identities.replaced(gateway, tunnel, event, at)
    else:
        lifecycle.ike_ended(gateway, tunnel, event, at)


def _died(gateway: Gateway, event: SaEvent, at: float | None) -> None:
    tunnel = gateway.tunnel(event, make=False)
    lost: tuple[str | None] | None = None
    if tunnel is not None:
        before = dict(tunnel.up)
        lifecycle.ike_died(gateway, tunnel, event, at)
        lost = next(((one[2],) for ike, one in before.items() if ike not in tunnel.up), None)
    liveness.unanswered(gateway, tunnel, event, at, lost)


def _replaced(gateway: Gateway, event: SaEvent, at: float | None) -> None:
    tunnel = gateway.last_of(event)
    if tunnel is not None:
        identities.replaced(gateway, tunnel, event, at)


def _moved(gateway: Gateway, event: SaEvent, at: float | None) -> None:
    tunnel = gateway.last_of(event)
    if tunnel is not None:
        lifecycle.remarked(gateway, tunnel, event, at)
        gateway.move(tunnel, event.source)


def _limited(gateway: Gateway, tunnel: Tunnel, event: SaEvent, at: float | None) -> None:
    """A limit of bytes or packets explains an early rekeying; one of time is the timer that bounds are about."""
    if event.reason != "time":
        lifecycle.remarked(gateway, tunnel, event, at)


#: Of a tunnel that is remembered; a stranger's is not worth it.
OF_TUNNELS: Final[dict[str, OfTunnel]] = {
    "ike_rekeyed": lifecycle.ike_rekeyed,
    "child_established": lifecycle.child_established,
    "child_rekeyed": lifecycle.child_rekeyed,
    "ike_reauth": lifecycle.remarked,
    "ike_deleted": _deleted,
    "child_rekey_failed": rekeys.refused,
    "child_closed": lifecycle.child_closed,
    "retransmit": liveness.repeated,
    "collision": collisions.collided,
    "rekey_scheduled": lifecycle.remarked,
    "configured": lifecycle.remarked,
    "soft_expired": _limited,
}
#: Of those, the ones that make a tunnel remembered.
MAKING: Final = frozenset({"ike_rekeyed", "child_established", "child_rekeyed"})
#: Of sources, and of the gateway.
REACTIONS: Final[dict[str, Reaction]] = {
    "ike_established": _established,
    "ike_initiate": rotations.called,
    "ike_timeout": floods.opened,
    "giving_up": _died,
    "dpd_timeout": _died,
    "auth_failed": failures.failed,
    "cert_invalid": certificates.rejected,
    "cert_revoked": certificates.rejected,
    "crl_fetch_failed": certificates.unfetched,
    "proposal_mismatch": agreement.disagreed,
    "invalid_ke": agreement.regrouped,
    "ts_unacceptable": agreement.disagreed,
    "unknown_peer": agreement.unknown,
    "half_open_limit": floods.opened,
    "cookie": floods.opened,
    "half_open": floods.stood,
    "counted": agreement.counted,
    "algorithms": _offered,
    "duplicate_replaced": _replaced,
    "address_changed": _moved,
    "daemon_started": _restarted,
    "daemon_stopped": _restarted,
    "clock": clock.remarked,
}
