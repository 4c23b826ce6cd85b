"""`identity_conflict`: two hosts use one identity and throw each other out.

Condition: the address behind one identity of one connection changed four times in 30 minutes between two
addresses, and each time the daemon threw out the SA of the other address (INITIAL_CONTACT, uniqueness).
Not normal, because a host that moves does not come back each few minutes. Looks alike and is let pass: roaming (new
addresses, or back once), MOBIKE (no new authentication), users of one group identity, whose SAs live side by side.
"""

from ike.detection import failures
from ike.detection.conditions import Place
from ike.detection.state import Gateway, Suspect, Tunnel
from ike.events.event import SaEvent

_TIMES, _WITHIN, _HOSTS = 4, 1800.0, 2
_SAME, _THROWN = 2.0, 10.0


def established(gateway: Gateway, tunnel: Tunnel, event: SaEvent, at: float | None) -> None:
    """Somebody authenticated: failures of its source and identity are over, and where does it come from?"""
    failures.succeeded(gateway, tunnel, event, at)
    identity = event.identity
    source = event.source or event.peer
    if identity is None or source is None or source == identity or tunnel.name is None:
        return
    key = f"{tunnel.name} {identity}"
    there = gateway.hosts.pop(key, None)  # the latest stands last
    gateway.hosts[key] = source
    if there == source:
        return
    if there is not None:
        _moved(gateway, tunnel, event, at, there, source)


def replaced(gateway: Gateway, tunnel: Tunnel, event: SaEvent, at: float | None) -> None:
    """`duplicate_replaced`: the SA that gave way is gone without a line of its own."""
    identity = event.identity
    owner = gateway.up.get(event.ike_id) if event.ike_id is not None else None
    tunnel = owner or tunnel
    for ike, (since, _, whose) in list(tunnel.up.items()):
        young = at is not None and since is not None and at - since < _SAME
        if not young and event.ike_id in (None, ike) and (identity in (None, whose)):
            identity = identity or whose
            gateway.drop_ike(tunnel, ike)
            break
    else:
        if event.ike_id is not None and event.ike_id not in tunnel.up:
            gateway.drop_ike(tunnel, event.ike_id)  # it may have come up without a line
    if identity is not None:
        gateway.identity(f"host {tunnel.name} {identity}").thrown = at


def _moved(
    gateway: Gateway, tunnel: Tunnel, event: SaEvent, at: float | None, before: str, source: str
) -> None:
    record: Suspect = gateway.identity(f"host {tunnel.name} {event.identity}")
    if at is None or record.thrown is None or at - record.thrown > _THROWN:
        return
    moves = record.moves
    moves.append((at, event.line, source))
    while moves[0][0] is not None and moves[0][0] < at - _WITHIN:
        del moves[0]
    del moves[:-12]
    hosts = sorted({one[2] for one in moves} | {before})
    if len(moves) < _TIMES or len(hosts) > _HOSTS:
        return
    gateway.sign(
        "identity_conflict",
        Place(gateway.name, tunnel.name, source, event.identity),
        at,
        [one[1] for one in moves],
        {"changes": len(moves), "addresses": hosts},
        since=moves[0][0],
    )
