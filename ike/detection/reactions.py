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
)
from ike.detection.state import Gateway, Tunnel
from ike.events.event import SaEvent

Reaction = Callable[[Gateway, SaEvent, float | None], None]
_OfTunnel = Callable[[Gateway, Tunnel, SaEvent, float | None], None]


def _established(gateway: Gateway, event: SaEvent, at: float | None) -> None:
    tunnel = gateway.tunnel(event, make=True)
    if tunnel is None:
        return
    ike = event.ike_id
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


def _made(rule: _OfTunnel) -> Reaction:
    """Of a tunnel, which is remembered from now on."""

    def react(gateway: Gateway, event: SaEvent, at: float | None) -> None:
        tunnel = gateway.tunnel(event, True)
        if tunnel is not None:
            rule(gateway, tunnel, event, at)

    return react


def _known(rule: _OfTunnel) -> Reaction:
    """Of a tunnel that is remembered; a stranger's is not worth it."""

    def react(gateway: Gateway, event: SaEvent, at: float | None) -> None:
        tunnel = gateway.tunnel(event, False)
        if tunnel is not None:
            rule(gateway, tunnel, event, at)

    return react


REACTIONS: Final[dict[str, Reaction]] = {
    "ike_established": _established,
    "ike_rekeyed": _made(lifecycle.ike_rekeyed),
    "ike_reauth": _known(lifecycle.remarked),
    "ike_deleted": _known(lifecycle.ike_ended),
    "ike_timeout": floods.opened,
    "child_established": _made(lifecycle.child_established),
    "child_rekeyed": _made(lifecycle.child_rekeyed),
    "child_rekey_failed": _known(rekeys.refused),
    "child_closed": _known(lifecycle.child_closed),
    "auth_failed": failures.failed,
    "cert_invalid": certificates.rejected,
    "cert_revoked": certificates.rejected,
    "crl_fetch_failed": certificates.unfetched,
    "proposal_mismatch": agreement.disagreed,
    "invalid_ke": agreement.regrouped,
    "ts_unacceptable": agreement.disagreed,
    "unknown_peer": agreement.unknown,
    "retransmit": _known(liveness.repeated),
    "giving_up": _known(lifecycle.ike_died),
    "dpd_timeout": _known(lifecycle.ike_died),
    "half_open_limit": floods.opened,
    "cookie": floods.opened,
    "algorithms": _offered,
    "collision": _known(collisions.collided),
    "duplicate_replaced": _known(identities.replaced),
    "address_changed": _known(lifecycle.remarked),
    "rekey_scheduled": _known(lifecycle.remarked),
    "daemon_started": _restarted,
    "daemon_stopped": _restarted,
    "configured": _known(lifecycle.remarked),
    "clock": clock.remarked,
}
