"""`auth_failures`, `auth_guessing`: failed authentication, per identity and per source.

What is counted are attempts, not lines; see `attempts`.

**auth_failures.** Condition: three attempts of one identity failed within 10 minutes, with no success between
(without times: five). One condition for each identity of a connection, or for each address where no identity is
known; the success of another peer does not end it. Where twenty peers fail that were up there before, and nobody
succeeded since the first of them, it is one condition of the connection: an AAA server out of reach, a secret
changed. Not normal, because in steady state nobody fails. Looks alike and is let pass: one failure, a failure of the
certificate (`certificate_rejected` says it better), several lines about one attempt.

**auth_guessing.** Condition: within 10 minutes one source failed with five identities that are not at home there and
did not succeed later (six in the first half minute; where it has succeeded before, ten, and one more for each other
that came up there meanwhile); or one that never succeeded failed twenty times with three identities, or within 10
seconds, or with an identity that is up at another address at that time (a source that succeeded: with one that is not
its own and is up elsewhere, or within 10 seconds); or at one connection twenty attempts failed from addresses that
nothing is known of, of twenty sources or with twenty identities that never succeeded, or from ten addresses with one
identity. An identity that was up is known in the two networks where it came up last; elsewhere it is astray, and counts
as well, less one for each that fails at home (three, where it fails nowhere else and nobody succeeds), and not where
those are a third as many. One condition for a connection, however many sources. Looks alike and is let pass: a gateway
that keeps trying with a wrong secret, as fast as daemons and scripts do that (it has one identity, or succeeded
before), many clients after a rotation (most fail at home, or it is planned), whom an outage of the AAA server meets
elsewhere (twenty fail at home, or five that fail nowhere else, and nobody succeeds), clients behind one address that
mistype and then come up.

Both are counted over a day as well, see `slow`.
"""

from typing import Final

from ike.detection import rotations, slow
from ike.detection.addresses import address_of, network
from ike.detection.alert import PERSONAL
from ike.detection.attempts import REMEMBERED, SAME, SAME_LINES, fresh, place_of, source_of
from ike.detection.conditions import MOST_LINES, SLOW, SLOW_QUIET, Place
from ike.detection.crowds import ASTRAY, HOME, STRANGE, Attempt, Crowd, Tallies
from ike.detection.signs import Sign, lines_of, note
from ike.detection.state import Gateway, Suspect, Tunnel
from ike.events.event import SaEvent

TIMES, _TIMES_UNTIMED, WITHIN = 3, 5, 600.0
_GUESSES, IDENTITIES, _IDENTITIES_HURRIED, _IDENTITIES_OF_KNOWN = 20, 5, 6, 10
_SEVERAL, _FAST = 3, 10.0
#: Seconds within which whoever mistyped has come up, and is counted no more.
_CORRECTED: Final = 30.0
_MANY, _ADDRESSES = 20, 10
#: Where so many as a third of those who fail elsewhere fail at home as well, the cause is one and is ours.
_ASTRAY_OF_HOME: Final = 3
_EVERYBODY, _SEVERAL_AT_HOME = 20, 5
_MOST_EXPLAINED: Final = 40
_CROWD: Final = "auth_guessing"
_AT_HOME: Final = "failures at home"
_SLOW_CROWD: Final = "slow guesses"


def failed(gateway: Gateway, event: SaEvent, at: float | None) -> None:
    """`auth_failed`."""
    source = source_of(event)
    suspect = gateway.suspect(source)
    for record in (suspect, gateway.callers.get(source)):
        if record is not None:
            record.signs.pop("group", None)  # whoever came so far has found a group
    if not fresh(suspect, "auth", event, at):
        _remember(suspect, event, at)
        return
    if about_certificate(suspect, event, at):
        return
    _remember(suspect, event, at)
    signs = suspect.signs.setdefault("auth", [])
    count = note(signs, at, event.line, WITHIN, 64)
    place = place_of(gateway, event)
    rotates = bool(gateway.planned) and "rotation" in gateway.plans(at, place.connection)
    if rotates and rotations.is_of_peer(gateway, place, event):
        rotations.failed(gateway, suspect, place, at)
        return
    day = slow.count(gateway, suspect, "auth", place, at, event.line)
    crowd, explained = _gathered(gateway, suspect, place, event, at, rotates)
    if _guesses(gateway, suspect, place, at, count, event, crowd, explained) or (
        not explained and _fails_slowly(gateway, suspect, place, event, at, day)
    ):
        return
    _count_identity(gateway, suspect, event, place, at)


def _gathered(
    gateway: Gateway,
    suspect: Suspect,
    place: Place,
    event: SaEvent,
    at: float | None,
    rotates: bool,
) -> tuple[Crowd | None, bool]:
    """Those with whom it fails at the connection, where it is not at home there; and do those at home explain it?"""
    whose = _whose(gateway, event, place.connection)
    crowd, explained = None, False
    if whose in (HOME, ""):
        _join(gateway, _AT_HOME, event, at, place.connection, whose)
    else:
        # What we do ourselves explains that those fail whom we know, wherever they are; and so does what all suffer.
        together = whose == ASTRAY and _everybody(gateway, place.connection, at) is not None
        excused = whose == ASTRAY and (rotates or together)
        crowd = _join(gateway, _CROWD, event, at, place.connection, "" if excused else whose)
        explained = together or (
            whose == ASTRAY and _is_common(gateway, crowd, place.connection, at)
        )
        crowd = None if together else crowd
    if whose != HOME and not explained and not rotates:
        slow.try_identity(suspect, event.identity, at)
    return crowd, explained


def _whose(gateway: Gateway, event: SaEvent, connection: str | None) -> str:
    """Who fails there? An identity may be claimed by anybody, so it is at home only where it came up lately.

    Empty: somebody of whom no more is known than that his address is that of a peer.
    """
    address, identity = address_of(event), event.identity
    host = gateway.hosts.get(f"{connection} {identity}") if identity is not None else None
    if host is None:
        return "" if gateway.knows(address) else STRANGE
    if address is None or host == address or network(host) == network(address):
        return HOME
    before = gateway.earlier.get(f"{connection} {identity}")
    return HOME if before is not None and network(before) == network(address) else ASTRAY


def _join(
    gateway: Gateway,
    kind: str,
    event: SaEvent,
    at: float | None,
    connection: str | None,
    whose: str,
) -> Crowd:
    """Those who fail at the connection, with this attempt."""
    crowd = gateway.crowd(kind, at, WITHIN, connection)
    if crowd.tallies is None:
        crowd.tallies = Tallies()
    attempt = Attempt(at, event.line, address_of(event), event.identity, event.ike_id, whose)
    if not crowd.is_known(attempt):
        crowd.join(attempt)
    if at is not None:
        crowd.expire(at - WITHIN)
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
        if then is None or then >= at - WITHIN:
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
        return at - last[1] < SAME
    return event.line - last[2] < SAME_LINES


def _guesses(
    gateway: Gateway,
    suspect: Suspect,
    place: Place,
    at: float | None,
    count: int,
    event: SaEvent,
    crowd: Crowd | None,
    explained: bool,
) -> bool:
    known = gateway.knows(address_of(event))
    identities = _foreign(gateway, suspect, place.connection, address_of(event))
    sender = address_of(event) or ""
    told = Place(gateway.name, place.connection, identity=event.identity, sender=sender)
    there = gateway.conditions.find("auth_guessing", told)
    goes_on = crowd is not None and there is not None and there.variant != SLOW
    by_one = not explained and (
        identities >= _IDENTITIES_OF_KNOWN + _explained(gateway, event, at)
        or _tries_anothers(gateway, crowd, event, at)
        if known
        else _tries_several(suspect, identities, at)
        or (count >= _GUESSES and _is_no_retry(gateway, suspect, event, at))
    )
    together = crowd is not None and _many(gateway, crowd, place.connection, event.identity, at)
    if not (by_one or together or goes_on):
        return False
    if crowd is None:
        signs, since, evidence = _of_one(gateway, suspect, told, count)
    else:
        if not goes_on:
            crowd.restrict(at, WITHIN)
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


def _fails_slowly(
    gateway: Gateway, suspect: Suspect, place: Place, event: SaEvent, at: float | None, day: int
) -> bool:
    """Does a source guess, or fail as somebody who is up elsewhere, so seldom that only a day shows it?"""
    source = address_of(event)
    signs = slow.signs_of(suspect, "auth")
    if slow.guesses(gateway, suspect, place, source, day):
        told = Place(gateway.name, place.connection, identity=event.identity, sender=source or "")
        there = gateway.conditions.find("auth_guessing", told)
        crowd = gateway.crowd(_SLOW_CROWD, at, SLOW_QUIET, place.connection)
        crowd.join(Attempt(at, event.line, source, event.identity))
        for identity in suspect.tried:
            crowd.identities.add(identity)
        evidence = {**crowd.shown(), **slow.numbers(signs, there)}
        kind, variant = "auth_guessing", SLOW
    elif (
        day >= slow.TIMES
        and not gateway.knows(source)
        and _is_up_elsewhere(gateway, event.identity, source)
    ):
        # Not by identity: the success of its owner ends nothing here.
        told = Place(gateway.name, place.connection, place.peer)
        evidence = {**slow.numbers(signs), "claimed_identities": [event.identity]}
        kind, variant = "auth_failures", "elsewhere"
    else:
        return False
    lines = lines_of(signs[-MOST_LINES:])
    gateway.sign(kind, told, at, lines, evidence, signs[0][0], variant, slow=True)
    return True


def _foreign(gateway: Gateway, suspect: Suspect, connection: str | None, source: str | None) -> int:
    """How many identities failed at an address that are not at home there, or are up there and need not try?"""
    names = suspect.identities
    if len(names) < IDENTITIES:
        return len(names)
    tunnel = gateway.tunnels.get((connection, source))
    up = set() if tunnel is None else {identity for _, _, identity in tunnel.up.values()}
    return sum(
        1
        for name in names
        if name in up or source is None or not _lived(gateway, f"{connection} {name}", source)
    )


def _tries_several(suspect: Suspect, identities: int, at: float | None) -> bool:
    """Are so many identities of a stranger more than clients that come first to a new NAT and mistype?"""
    since = suspect.signs["auth"][0][0]
    hurried = at is not None and since is not None and at - since < _CORRECTED
    return identities >= (_IDENTITIES_HURRIED if hurried else IDENTITIES)


def _lived(gateway: Gateway, whose: str, source: str) -> bool:
    """Did somebody come up at that very address lately?"""
    return source in (gateway.hosts.get(whose), gateway.earlier.get(whose))


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
    return fast or _is_up_elsewhere(gateway, event.identity, address_of(event))


def _is_up_elsewhere(gateway: Gateway, identity: str | None, source: str | None) -> bool:
    """Is a peer of that identity up at another address?"""
    home = gateway.homes.get(identity) if identity is not None else None
    if home is None or home[1] == source or home not in gateway.tunnels:
        return False
    return any(whose == identity for _, _, whose in gateway.tunnels[home].up.values())


def _explained(gateway: Gateway, event: SaEvent, at: float | None) -> int:
    """How many clients behind one address came up lately? Each may have failed by another name of its own before."""
    source = address_of(event)
    tunnel = gateway.tunnels.get((gateway.sources.get(source or ""), source))
    if tunnel is None or at is None:
        return 0
    lately = {
        identity or ike
        for ike, (since, _, identity) in tunnel.up.items()
        if since is not None and since >= at - WITHIN
    }
    return min(len(lately), _MOST_EXPLAINED)


def _tries_anothers(
    gateway: Gateway, crowd: Crowd | None, event: SaEvent, at: float | None
) -> bool:
    """Does somebody at a peer's address try the one identity of another, again and again?

    His own successes between are no excuse: so it is counted where they end nothing.
    """
    source, identity = address_of(event), event.identity
    if crowd is None or crowd.tallies is None or crowd.tallies.by(identity, source) < _GUESSES:
        return False
    if _is_up_elsewhere(gateway, identity, source):
        return True
    those = [each.at for each in crowd.recent if (each.source, each.identity) == (source, identity)]
    then = those[-_GUESSES]
    return at is not None and then is not None and at - then <= _FAST


def _many(
    gateway: Gateway, crowd: Crowd, connection: str | None, identity: str | None, at: float | None
) -> bool:
    """Do too many try at one connection, each of whom tries little?"""
    least = _MANY if at is not None else 2 * _MANY
    if crowd.tallies is None or len(crowd.recent) < least:
        return False
    together, astray = crowd.tallies.number(STRANGE), crowd.tallies.number(ASTRAY)
    home = _at_home(gateway, connection, at)
    if astray > _ASTRAY_OF_HOME * home:
        common = _ASTRAY_OF_HOME * _in_common(gateway, crowd, connection, at)
        together += max(0, astray - max(home, common))
    if together >= least:
        return True
    times, addresses = crowd.tallies.of(identity)
    return times >= least and addresses >= _ADDRESSES


def _at_home(gateway: Gateway, connection: str | None, at: float | None) -> int:
    """How many of the connection's peers fail where they were up?"""
    home = _home(gateway, connection, at)
    return 0 if home is None or home.tallies is None else home.tallies.number(HOME)


def _home(gateway: Gateway, connection: str | None, at: float | None) -> Crowd | None:
    """Those who failed lately where peers are known to be."""
    home = gateway.crowds.get(f"{connection or ''}\n{_AT_HOME}")
    if home is not None and at is not None:
        home.expire(at - WITHIN)
    return home


def _everybody(gateway: Gateway, connection: str | None, at: float | None) -> Crowd | None:
    """Those who fail at home, where they are many, and since the first of them nobody succeeded."""
    home = _home(gateway, connection, at)
    if home is None or at is None or len(home.recent) < _EVERYBODY:
        return None
    those = {each.identity if each.whose else each.source for each in home.unanswered()}
    return home if len(those) >= _EVERYBODY else None


def _is_common(gateway: Gateway, crowd: Crowd, connection: str | None, at: float | None) -> bool:
    """Do several fail at home for what seems to be one cause, and not many more elsewhere?"""
    there = _in_common(gateway, crowd, connection, at)
    if there < _SEVERAL_AT_HOME or crowd.tallies is None:
        return False
    return crowd.tallies.number(ASTRAY) <= _ASTRAY_OF_HOME * there


def _in_common(gateway: Gateway, crowd: Crowd, connection: str | None, at: float | None) -> int:
    """How many fail at home, and nobody succeeded since?

    Whoever fails elsewhere as well is no sign of a common cause: his account may be locked since somebody guesses.
    """
    home = _home(gateway, connection, at)
    if home is None or at is None or crowd.tallies is None:
        return 0
    there = {each.identity for each in home.unanswered() if each.whose == HOME}
    return len(there - crowd.tallies.names(ASTRAY))


def _count_identity(
    gateway: Gateway, suspect: Suspect, event: SaEvent, place: Place, at: float | None
) -> None:
    if event.ike_id is not None:
        # One line may show the identity alone, and the next one the address alone.
        if event.ike_id in gateway.failed:
            return
        gateway.failed.append(event.ike_id)
        del gateway.failed[:-REMEMBERED]
    who = event.identity or address_of(event) or place.connection or source_of(event)
    record = gateway.identity(who)
    signs = record.signs.setdefault("auth", [])
    count = note(signs, at, event.line, WITHIN, 64)
    day = slow.count(gateway, record, "auth", place, at, event.line)
    seldom = count < (_TIMES_UNTIMED if at is None else TIMES)
    there = gateway.conditions.find("auth_failures", place)
    goes_on = day > 0 and there is not None and there.cleared is None
    if seldom and day < slow.TIMES and not goes_on:
        return
    home = _everybody(gateway, place.connection, at)
    if home is not None or not seldom:
        slow.told("auth", record, suspect)
    if home is not None:
        _fail_together(gateway, event, place, at, home)
        return
    variant = ""
    if seldom:
        signs = slow.signs_of(record, "auth")
        variant = SLOW if there is None or day >= slow.TIMES else there.variant
    gateway.sign(
        "auth_failures",
        place,
        at,
        lines_of(signs),
        {**(slow.numbers(signs) if seldom else {"attempts": count}), "reason": event.reason},
        since=signs[0][0],
        variant=variant,
        slow=seldom and day >= slow.TIMES,
    )


def _fail_together(
    gateway: Gateway, event: SaEvent, place: Place, at: float | None, home: Crowd
) -> None:
    """One cause is one condition. It ends by quiet: whoever succeeds where half of the servers answer ends nothing."""
    told = Place(gateway.name, place.connection, sender=address_of(event) or "")
    if not gateway.conditions.is_open("auth_failures", told):
        home.restrict(at, WITHIN)
    signs = [(each.at, each.line) for each in home.recent[:MOST_LINES]]
    gateway.sign(
        "auth_failures",
        told,
        at,
        lines_of(signs),
        home.shown(),
        since=signs[0][0],
        variant="everybody",
    )


def succeeded(gateway: Gateway, tunnel: Tunnel, event: SaEvent, at: float | None) -> None:
    """Somebody authenticated: its failures are over."""
    source = event.source or event.peer
    place = Place(gateway.name, tunnel.name, source or tunnel.source, event.identity)
    rotations.answered(gateway, place)
    if source in gateway.suspects:
        _prove(gateway.suspects[source], event.identity)
    if gateway.crowds:
        _absolve(gateway, tunnel.name, event.identity, at)
    if gateway.named:
        for who in (event.identity, tunnel.name, source):
            record = gateway.named.get(who) if who is not None else None
            if record is not None and record.signs:
                record.signs.clear()
    if gateway.conditions.opened:
        only = gateway.served.get(tunnel.name or "", event.identity) == event.identity
        for kind in sorted(PERSONAL):
            gateway.conditions.clear(kind, place, at, only=only)
        rotations.worked(gateway, place, at)


def _absolve(
    gateway: Gateway, connection: str | None, identity: str | None, at: float | None
) -> None:
    for kind in (_CROWD, _AT_HOME):
        key = f"{connection or ''}\n{kind}"
        crowd = gateway.crowds.get(key)
        if crowd is None:
            continue
        crowd.proven = at
        if identity is not None:
            crowd.absolve(identity)
        if kind == _AT_HOME and at is not None:
            crowd.expire(at - WITHIN)
            if not crowd.recent:
                del gateway.crowds[key]


def _prove(suspect: Suspect, identity: str | None) -> None:
    """A success proves one identity: whoever has an account may still try those of others."""
    suspect.signs.clear()
    for names in (suspect.identities, suspect.tried):
        if identity is not None:
            names.pop(identity, None)
        elif names:
            names.popitem()  # the log does not tell whose: likely who failed last
