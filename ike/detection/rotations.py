"""`rotation_failed`: the tunnel's own peer does not have the secret that we rotated to.

Condition: two attempts of the tunnel's own peer failed, or one and nobody succeeded for a minute, on a connection whose
rotation of ours is under way (`Planned`), since that began; each rotation is a condition of its own. It stands in place
of `auth_failures`: the answer is to roll back, so nobody else may bring it about. An identity is claimed before it is
proven, and anybody can claim it. So the peer is known by its address: it was up on this connection there, or we asked
it there ourselves. To fail there takes the answers that go to that address. It is over when all that failed have
succeeded. A peer with a new address fails at its own end as well, and that end tells.
"""

from collections.abc import Sequence
from typing import Final

from ike.detection.addresses import address_of, is_address
from ike.detection.conditions import Place
from ike.detection.signs import Sign, lines_of
from ike.detection.state import Gateway, Suspect
from ike.events.event import SaEvent

_TIMES: Final = 2
_WAIT: Final = 60.0


def called(gateway: Gateway, event: SaEvent, at: float | None) -> None:
    """`ike_initiate`: whom we ask is a peer of ours."""
    address = address_of(event)
    if address is not None and event.phase is None and is_address(address):
        gateway.call(address, event.name or event.connection)


def is_of_peer(gateway: Gateway, place: Place, event: SaEvent) -> bool:
    """Is it the tunnel's own peer that fails? What a stranger can send must not say so."""
    address = address_of(event)
    if address is None or place.connection is None or not is_address(address):
        return False
    tunnel = gateway.tunnels.get((place.connection, address))
    if tunnel is None:
        # An idle tunnel is forgotten before the address that it was at.
        was_there = gateway.sources.get(address) == place.connection
        return was_there or place.connection in gateway.called.get(address, ())
    known = {identity for _, _, identity in tunnel.up.values() if identity is not None}
    return event.identity is None or not known or event.identity in known


def failed(gateway: Gateway, suspect: Suspect, place: Place, at: float | None) -> None:
    """The peer failed within our rotation."""
    begun = _turned(gateway, place, at)
    signs = [each for each in suspect.signs["auth"] if (each[0] or begun) >= begun]
    if len(signs) >= _TIMES:
        _tell(gateway, place, at, signs)
    elif at is not None:
        gateway.waiting[f"{place.connection}\n{place.peer}"] = at, signs[-1][1], place


def _tell(gateway: Gateway, place: Place, at: float | None, signs: Sequence[Sign]) -> None:
    there = gateway.conditions.find("rotation_failed", place)
    if there is not None and (there.last or 0.0) < _turned(gateway, place, at):
        # That is another rotation, which has to be undone, too.
        gateway.conditions.clear("rotation_failed", place, there.last)
    gateway.sign(
        "rotation_failed",
        place,
        at,
        lines_of(signs),
        {"attempts": len(signs)},
        since=signs[0][0],
    )


def _turned(gateway: Gateway, place: Place, at: float | None) -> float:
    """Since when the latest rotation goes on that is under way there and then; 0 where there is none."""
    rotations = (one for one in gateway.planned if one.purpose == "rotation")
    there = (one for one in rotations if one.covers(at or 0.0, gateway.name, place.connection))
    return max((one.start for one in there), default=0.0)


def overdue(gateway: Gateway, now: float) -> None:
    """A failure within our own rotation that no success followed for a minute."""
    for key, (at, line, place) in list(gateway.waiting.items()):
        if now - at >= _WAIT:
            del gateway.waiting[key]
            _tell(gateway, place, at, [(at, line)])


def answered(gateway: Gateway, place: Place) -> None:
    """The peer at `place` authenticated: nobody waits for it any more."""
    for key, (_, _, those) in list(gateway.waiting.items()):
        if _is_same(those, place):
            del gateway.waiting[key]


def _is_same(one: Place, other: Place) -> bool:
    """Are both about one peer? By identity where both are known, as a peer may move; else by address."""
    if one.connection != other.connection:
        return False
    if None not in (one.identity, other.identity):
        return one.identity == other.identity
    return one.peer == other.peer


def worked(gateway: Gateway, place: Place, at: float | None) -> None:
    """One peer has the new secret: a rotation that failed is over when all have that failed."""
    there = gateway.conditions.find("rotation_failed", place)
    if there is None:
        return
    first = Place(there.gateway, there.connection, there.peer, there.identity)
    # Behind the address of the first one may be others; and he may have moved.
    gone = {first.peer, place.peer} if _is_same(first, place) else {place.peer} - {first.peer}
    there.peers[:] = [each for each in there.peers if each not in gone]
    if not there.peers:
        gateway.conditions.clear("rotation_failed", place, at)
