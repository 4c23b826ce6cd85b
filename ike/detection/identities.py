"""`identity_conflict`: two hosts use one identity and throw each other out, or many use it side by side.

Condition: the address behind one identity of one connection changed four times in 30 minutes between two
addresses, and each time the daemon threw out the SA of the other address (INITIAL_CONTACT, uniqueness).
Not normal, because a host that moves does not come back each few minutes. Looks alike and is let pass: roaming (new
addresses, or back once), MOBIKE (no new authentication), users of one group identity, whose SAs live side by side.

Or: an identity of a connection is up at more than ten addresses at once, and three times as many as ever until a day
before, by SAs that came up or were rekeyed within 12 hours. Not normal, because that many devices of one user do not
come at once. Looks alike and is let pass: a group identity, which has many from its first day on; a private address as
identity, which any host may have; SAs whose end was not logged.
"""

from ipaddress import ip_address
from typing import Final

from ike.detection import failures
from ike.detection.addresses import settle
from ike.detection.conditions import Place
from ike.detection.state import Gateway, Spread, Suspect, Tunnel
from ike.events.event import SaEvent

_TIMES, _WITHIN, _HOSTS = 4, 1800.0, 2
_SAME, _THROWN = 2.0, 10.0
_PLACES, _TIMES_USUAL, _MOST_PLACES = 10, 3, 64
_DAY, _YOUNG = 86_400.0, 12 * 3600.0
_MOST_NAMED: Final = 12


def established(gateway: Gateway, tunnel: Tunnel, event: SaEvent, at: float | None) -> None:
    """Somebody authenticated: failures of its source and identity are over, and where does it come from?"""
    failures.succeeded(gateway, tunnel, event, at)
    identity = event.identity
    source = event.source or event.peer
    if identity is None or source is None or source == identity or tunnel.name is None:
        return
    key = f"{tunnel.name} {identity}"
    there = settle(key, source, gateway.hosts, gateway.earlier)
    if at is not None:
        gateway.met.setdefault(key, at)
    if there is not None and there != source:
        _moved(gateway, tunnel, event, at, there, source)
        if at is not None and not _is_address(identity):
            _spreads(gateway, Place(gateway.name, tunnel.name, source, identity), event, at, there)


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


def _spreads(gateway: Gateway, place: Place, event: SaEvent, at: float, before: str) -> None:
    """It is up at one more address: at how many now, and at how many is it normally?"""
    key = f"{place.connection} {place.identity}"
    spread = gateway.spread.get(key)
    if spread is None:
        if not _is_up(gateway, place, before, at):
            return
        spread = gateway.spread[key] = Spread([before], turned=gateway.met[key])
    others = [
        each for each in spread.addresses if each != place.peer and _is_up(gateway, place, each, at)
    ]
    spread.addresses = [*others, place.peer or ""][-_MOST_PLACES:]
    count = len(spread.addresses)
    if at - spread.turned >= _DAY:
        spread.usual, spread.lately = max(spread.usual, spread.lately), 1
        spread.turned = at
    most = max(_PLACES, _TIMES_USUAL * spread.usual)
    if count <= most or at - gateway.met[key] < _DAY:
        spread.lately = max(spread.lately, count)
        return
    gateway.sign(
        "identity_conflict",
        place,
        at,
        [event.line],
        {"at_once": count, "usual": spread.usual, "addresses": spread.addresses[-_MOST_NAMED:]},
        variant="many",
    )


def _is_up(gateway: Gateway, place: Place, address: str, at: float) -> bool:
    """Is the identity up there, by an SA that is young? The end of an old one may not have been logged."""
    tunnel = gateway.tunnels.get((place.connection, address))
    return tunnel is not None and any(
        whose == place.identity and since is not None and at - since < _YOUNG
        for since, _, whose in tunnel.up.values()
    )


def _is_address(identity: str) -> bool:
    try:
        ip_address(identity)
    except ValueError:
        return False
    return True
