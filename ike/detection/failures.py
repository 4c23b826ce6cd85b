"""`auth_failures`, `rotation_failed`, `auth_guessing`: failed authentication, per identity and per source.

What is counted are attempts, not lines: one attempt has the number of its IKE SA; without numbers it is told by one
thread of the daemon, where lines show one, within two seconds.

**auth_failures.** Condition: three attempts of one identity failed within 10 minutes, with no success between (without
times: five). One condition for each identity of a connection, or for each address where no identity is known; the
success of another peer does not end it. Not normal, because in steady state nobody fails. Looks alike and is let pass:
one failure, a failure of the certificate (`certificate_rejected` says it better), several lines about one attempt.

**rotation_failed.** Condition: two attempts of the tunnel's own peer failed, or one and nobody succeeded for a minute,
on a connection whose rotation of ours is under way (`Planned`), since that began; each rotation is a condition of its
own. It stands in place of `auth_failures`: the answer is to roll back, so nobody else may bring it about. An identity
is claimed before it is proven, and anybody can claim it. So the peer is known by its address: it was up on this
connection there, or we asked it there ourselves. To fail there takes the answers that go to that address. A peer with
a new address fails at its own end as well, and that end tells.

**auth_guessing.** Condition: within 10 minutes one source failed with five identities that did not succeed later
(where it has succeeded before, ten, and one more for each other that came up there meanwhile); or one that never
succeeded failed twenty times with three identities, or within 10 seconds, or with an identity that is up at another
address at that time; or at one connection twenty attempts failed from addresses that nothing is known of, of twenty
sources or with twenty identities that never succeeded, or from ten addresses with one identity. One condition for a
connection, however many sources. Looks alike and is let pass: a gateway that keeps trying with a wrong secret, as
fast as daemons and scripts do that (it has one identity, or succeeded before), many clients after a rotation (they
are known by address or identity, or it is planned), clients behind one address that mistype and then come up.
"""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import ip_address
from typing import Final

from ike.detection.alert import PERSONAL
from ike.detection.conditions import MOST_LINES, Place
from ike.detection.crowds import Attempt, Crowd, Tallies
from ike.detection.signs import Sign, lines_of, note
from ike.detection.state import Gateway, Suspect, Tunnel
from ike.events.echoes import Said
from ike.events.event import SaEvent

_TIMES, _TIMES_UNTIMED, _WITHIN = 3, 5, 600.0
_GUESSES, _IDENTITIES, _IDENTITIES_OF_KNOWN = 20, 5, 10
_SEVERAL, _FAST = 3, 10.0
_MANY, _ADDRESSES = 20, 10
_MOST_EXPLAINED: Final = 40
_CROWD: Final = "auth_guessing"
#: Attempts whose IKE SA is remembered, since others come between the lines about one.
REMEMBERED: Final = 16
_ROTATION_TIMES: Final = 2
_ROTATION_WAIT: Final = 60.0
_SAME, _SAME_LINES = 2.0, 8


def fresh(record: Suspect, category: str, event: SaEvent, at: float | None) -> bool:
    """Is `event` a new attempt, and not one more line about the last one?"""
    last = record.attempts.get(category)
    record.attempts[category] = (event.ike_id, at, event.line)
    thread = record.threads.get(category)
    if event.thread is not None:
        record.threads[category] = event.thread
    if last is None:
        return True
    ike, then, line = last
    if ike is not None and event.ike_id is not None:
        # Under one IKE SA a Child SA may be tried again and again.
        said = Said(at, event.line, event.thread)
        again = category == "proposal" and not said.is_again(Said(then, line, thread))
        return ike != event.ike_id or again
    if (
        ike is event.ike_id is None
        and None not in (thread, event.thread)
        and thread != event.thread
    ):
        return True  # another packet
    if at is not None and then is not None:
        return at - then >= _SAME
    return event.line - line >= _SAME_LINES


def source_of(event: SaEvent) -> str:
    """Whom a failure is put down to: the address, else the connection, else the identity."""
    return event.source or event.peer or event.name or event.connection or event.identity or ""


def place_of(gateway: Gateway, event: SaEvent) -> Place:
    """The connection where one is known, and the source."""
    name = event.name or event.connection
    source = event.source or event.peer
    if name is None and source is not None:
        name = gateway.sources.get(source)
    return Place(gateway.name, name, source, event.identity)


def _address(event: SaEvent) -> str | None:
    """Where it came from; an identity alone is no address."""
    if event.source is None and event.peer == event.identity:
        return None
    return event.source or event.peer


@lru_cache(maxsize=4096)
def _is_address(text: str) -> bool:
    """Does it parse as one? An identity, a name and a masked address say nothing of where packets go."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def called(gateway: Gateway, event: SaEvent, at: float | None) -> None:
    """`ike_initiate`: whom we ask is a peer of ours."""
    address = _address(event)
    if address is not None and event.phase is None and _is_address(address):
        gateway.call(address, event.name or event.connection)


def _is_of_peer(gateway: Gateway, place: Place, event: SaEvent) -> bool:
    """Is it the tunnel's own peer that fails? What a stranger can send must not say so."""
    address = _address(event)
    if address is None or place.connection is None or not _is_address(address):
        return False
    tunnel = gateway.tunnels.get((place.connection, address))
    if tunnel is None:
        return place.connection in gateway.called.get(address, ())
    known = {identity for _, _, identity in tunnel.up.values() if identity is not None}
    return event.identity is None or not known or event.identity in known


def failed(gateway: Gateway, event: SaEvent, at: float | None) -> None:
    """`auth_failed`."""
    source = source_of(event)
    suspect = gateway.suspect(source)
    if not fresh(suspect, "auth", event, at):
        _remember(suspect, event, at)
        return
    if about_certificate(suspect, event, at):
        return
    _remember(suspect, event, at)
    signs = suspect.signs.setdefault("auth", [])
    count = note(signs, at, event.line, _WITHIN, 64)
    place = place_of(gateway, event)
    rotates = bool(gateway.planned) and "rotation" in gateway.plans(at, place.connection)
    if rotates and _is_of_peer(gateway, place, event):
        _failed_in_rotation(gateway, suspect, place, at)
        return
    crowd = None
    if not gateway.knows(_address(event)):
        crowd = _joined(gateway, event, at, place.connection)
    if _guesses(gateway, suspect, place, at, count, event, crowd):
        return
    _count_identity(gateway, event, place, at)


def _joined(gateway: Gateway, event: SaEvent, at: float | None, connection: str | None) -> Crowd:
    """Those who fail at the connection, with this attempt."""
    crowd = gateway.crowd(_CROWD, at, _WITHIN, connection)
    if crowd.tallies is None:
        crowd.tallies = Tallies()
    # A client that roams, and has an old secret, is known by its identity.
    known = event.identity is not None and f"{connection} {event.identity}" in gateway.hosts
    attempt = Attempt(at, event.line, _address(event), event.identity, event.ike_id, known)
    if not crowd.is_known(attempt):
        crowd.join(attempt)
    if at is not None:
        crowd.expire(at - _WITHIN)
    return crowd


def _remember(suspect: Suspect, event: SaEvent, at: float | None) -> None:
    names = suspect.identities  # by the time of their last failure
    if event.identity is None:
        return
    if event.identity in names or len(names) < 64:
        names.pop(event.identity, None)
        names[event.identity] = at
    while at is not None:
        oldest = next(iter(names))
        then = names[oldest]
        if then is None or then >= at - _WITHIN:
            break
        del names[oldest]


def about_certificate(suspect: Suspect, event: SaEvent, at: float | None) -> bool:
    """Is it one more word about an attempt whose certificate was rejected?"""
    last = suspect.certificate
    if last is None:
        return False
    if last[0] is not None and event.ike_id is not None:
        return event.ike_id in suspect.rejected
    if at is not None and last[1] is not None:
        return at - last[1] < _SAME
    return event.line - last[2] < _SAME_LINES


def _guesses(
    gateway: Gateway,
    suspect: Suspect,
    place: Place,
    at: float | None,
    count: int,
    event: SaEvent,
    crowd: Crowd | None,
) -> bool:
    known = gateway.knows(_address(event))
    identities = len(suspect.identities)
    told = Place(gateway.name, place.connection, sender=_address(event) or "")
    goes_on = crowd is not None and gateway.conditions.is_open("auth_guessing", told)
    by_one = (
        identities >= _IDENTITIES_OF_KNOWN + _explained(gateway, event, at)
        if known
        else identities >= _IDENTITIES
        or (count >= _GUESSES and _is_no_retry(gateway, suspect, event, at))
    )
    together = crowd is not None and _many(crowd, event.identity, at)
    if not (by_one or together or goes_on):
        return False
    if crowd is None:
        signs, since, evidence = _of_one(gateway, suspect, told, count)
    else:
        if not goes_on:
            crowd.restrict(at, _WITHIN)
        signs = [(each.at, each.line) for each in crowd.recent[:MOST_LINES]]
        since, evidence = signs[0][0], crowd.shown()
    gateway.sign(
        "auth_guessing",
        told,
        at,
        lines_of(signs),
        evidence,
        since=since,
        variant="" if crowd is None or len(crowd.sources) == 1 else "many",
    )
    # The same attempts are no misconfiguration of an identity as well.
    whose = place.identity if place.peer is None else None
    for connection in (place.connection, None):
        tried = Place(gateway.name, connection, place.peer, whose)
        gateway.conditions.clear("auth_failures", tried, at)
    return True


def _of_one(
    gateway: Gateway, suspect: Suspect, told: Place, count: int
) -> tuple[list[Sign], float | None, dict[str, object]]:
    """What shows that the peer at one address guesses: lines, since when, and the numbers."""
    signs, names = suspect.signs["auth"], suspect.identities
    there = gateway.conditions.find("auth_guessing", told)
    before = there.evidence.get("attempts") if there is not None else None
    attempts = max(count, len(names), before + 1 if isinstance(before, int) else 0)
    # What came before a success of his is no sign any more, but his as well.
    first = next(iter(names.values()), None)
    since = signs[0][0] if first is None else min(first, signs[0][0] or first)
    return signs, since, {"attempts": attempts, "identities": max(len(names), 1)}


def _is_no_retry(gateway: Gateway, suspect: Suspect, event: SaEvent, at: float | None) -> bool:
    """Is it more than a peer that tries again and again with one wrong secret?"""
    if len(suspect.identities) >= _SEVERAL:
        return True
    then = suspect.signs["auth"][-_GUESSES][0]
    fast = at is not None and then is not None and at - then <= _FAST
    return fast or _is_up_elsewhere(gateway, event.identity, _address(event))


def _is_up_elsewhere(gateway: Gateway, identity: str | None, source: str | None) -> bool:
    """Is a peer of that identity up at another address?"""
    home = gateway.homes.get(identity) if identity is not None else None
    if home is None or home[1] == source or home not in gateway.tunnels:
        return False
    return any(whose == identity for _, _, whose in gateway.tunnels[home].up.values())


def _explained(gateway: Gateway, event: SaEvent, at: float | None) -> int:
    """How many clients behind one address came up lately? Each may have failed by another name of its own before."""
    source = _address(event)
    tunnel = gateway.tunnels.get((gateway.sources.get(source or ""), source))
    if tunnel is None or at is None:
        return 0
    lately = {
        identity or ike
        for ike, (since, _, identity) in tunnel.up.items()
        if since is not None and since >= at - _WITHIN
    }
    return min(len(lately), _MOST_EXPLAINED)


def _many(crowd: Crowd, identity: str | None, at: float | None) -> bool:
    """Do too many try at one connection, each of whom tries little?"""
    least = _MANY if at is not None else 2 * _MANY
    if crowd.tallies is None or len(crowd.recent) < least:
        return False
    if crowd.tallies.together() >= least:
        return True
    times, addresses = crowd.tallies.of(identity)
    return times >= least and addresses >= _ADDRESSES


def _count_identity(gateway: Gateway, event: SaEvent, place: Place, at: float | None) -> None:
    if event.ike_id is not None:
        # One line may show the identity alone, and the next one the address alone.
        if event.ike_id in gateway.failed:
            return
        gateway.failed.append(event.ike_id)
        del gateway.failed[:-REMEMBERED]
    who = event.identity or _address(event) or place.connection or source_of(event)
    record = gateway.identity(who)
    signs = record.signs.setdefault("auth", [])
    count = note(signs, at, event.line, _WITHIN, 64)
    if count < (_TIMES_UNTIMED if at is None else _TIMES):
        return
    gateway.sign(
        "auth_failures",
        place,
        at,
        lines_of(signs),
        {"attempts": count, "reason": event.reason},
        since=signs[0][0],
    )


def _failed_in_rotation(gateway: Gateway, suspect: Suspect, place: Place, at: float | None) -> None:
    begun = _turned(gateway, at, place.connection)
    signs = [each for each in suspect.signs["auth"] if (each[0] or begun) >= begun]
    if len(signs) >= _ROTATION_TIMES:
        _rotation_failed(gateway, place, at, signs)
    elif at is not None:
        gateway.waiting[place.connection or place.peer or ""] = at, signs[-1][1], place


def _rotation_failed(
    gateway: Gateway, place: Place, at: float | None, signs: Sequence[Sign]
) -> None:
    there = gateway.conditions.find("rotation_failed", place)
    if there is not None and (there.last or 0.0) < _turned(gateway, at, place.connection):
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


def _turned(gateway: Gateway, at: float | None, connection: str | None) -> float:
    """Since when the latest rotation goes on that is under way there and then; 0 where there is none."""
    rotations = (one for one in gateway.planned if one.purpose == "rotation")
    begun = (one.start for one in rotations if one.covers(at or 0.0, gateway.name, connection))
    return max(begun, default=0.0)


def overdue(gateway: Gateway, now: float) -> None:
    """A failure within our own rotation that no success followed for a minute."""
    for key, (at, line, place) in list(gateway.waiting.items()):
        if now - at >= _ROTATION_WAIT:
            del gateway.waiting[key]
            _rotation_failed(gateway, place, at, [(at, line)])


def succeeded(gateway: Gateway, tunnel: Tunnel, event: SaEvent, at: float | None) -> None:
    """Somebody authenticated: its failures are over."""
    source = event.source or event.peer
    if gateway.waiting:
        gateway.waiting.pop(tunnel.name or source or "", None)
    if source in gateway.suspects:
        _prove(gateway.suspects[source], event.identity)
    crowd = gateway.crowds.get(f"{tunnel.name or ''}\n{_CROWD}") if gateway.crowds else None
    if crowd is not None and event.identity is not None:
        crowd.absolve(event.identity)
    if gateway.named:
        for who in (event.identity, tunnel.name, source):
            record = gateway.named.get(who) if who is not None else None
            if record is not None and record.signs:
                record.signs.clear()
    if gateway.conditions.opened:
        place = Place(gateway.name, tunnel.name, source or tunnel.source, event.identity)
        only = gateway.served.get(tunnel.name or "", event.identity) == event.identity
        for kind in (*sorted(PERSONAL), "rotation_failed"):
            gateway.conditions.clear(kind, place, at, only=only)


def _prove(suspect: Suspect, identity: str | None) -> None:
    """A success proves one identity: whoever has an account may still try those of others."""
    suspect.signs.clear()
    if identity is not None:
        suspect.identities.pop(identity, None)
    elif suspect.identities:
        suspect.identities.popitem()  # the log does not tell whose: likely who failed last
