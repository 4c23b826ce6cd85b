"""Which SAs a tunnel has, from the events that make, replace and end them; the rules hear of each change once.

Echoes are merged here: a fact that two sinks, two ends or two sentences of a daemon state is known by the numbers
and SPIs of its SA, not by its text.
"""

from typing import Final

from ike.detection import collisions, establishment, identities, liveness, rekeys, sharing
from ike.detection.lives import Chain, Replaced
from ike.detection.state import Gateway, Tunnel
from ike.events.event import SaEvent

_SAME = 2.0  # seconds within which unnumbered statements are one fact
_EXCUSED: Final = {
    "address_changed": 60.0,  # the Child SA is rekeyed at once after MOBIKE
    "configured": 60.0,
    "soft_expired": 60.0,  # of bytes or packets
}
_RETOLD: Final = 60.0  # within which a second sink tells the same
_LONGEST_TIMER: Final = 10 * 366 * 86_400.0
_RESTARTED: Final = 120.0
#: Whoever changes a connection loads it less often than that in a day.
_MANY_LOADS, _DAY = 6, 86_400.0
#: How many times the age of a missed rekey is waited for beside a silence that may have hidden it.
_PATIENCE: Final = 3.0
#: SAs of one chain that are remembered where the log does not show that any is closed.
_MOST_LIVING: Final = 8


def ike_established(gateway: Gateway, tunnel: Tunnel, event: SaEvent, at: float | None) -> None:
    """An IKE SA is up; the second statement about one that is up already changes nothing."""
    ike = event.ike_id
    there = tunnel.up.get(ike)
    if there is not None:
        if ike is not None:
            if not _counts_anew(event, there[0], at):
                return
        elif at is None or (there[0] is not None and at - there[0] < _SAME):
            return
        else:
            tunnel.reauth_at = at
        gateway.drop_ike(tunnel, ike)  # without numbers, the newer one stands for both
    if event.daemon in ("charon", "pluto"):
        tunnel.timed = True
    identities.established(gateway, tunnel, event, at)
    gateway.raise_ike(tunnel, ike, at, event.line, event.identity)
    if gateway.conditions.opened:
        gateway.conditions.clear("rekey_missed", gateway.place(tunnel), at)
    if at is not None:
        due = rekeys.ike_upper(gateway, tunnel)
        if due is not None:
            gateway.arm(tunnel, at + due)
        if len(tunnel.up) > 1:
            gateway.arm(tunnel, at + establishment.CROWDED)


def ike_rekeyed(gateway: Gateway, tunnel: Tunnel, event: SaEvent, at: float | None) -> None:
    """An IKE SA has taken the place of another, with its Child SAs."""
    new = event.ike_id
    if event.phase is not None or (new is not None and new in tunnel.up):
        return
    old = event.old_ike_id
    if old is None and len(tunnel.up) == 1:
        old = next(iter(tunnel.up))
    there = tunnel.up.get(old)
    if there is None:
        tunnel.doubt()
    if there is not None and there[0] is not None and at is not None:
        age = at - there[0]
        if new is None and age < _SAME:
            return
        pace, lifetime = tunnel.ike, gateway.bounds_of(tunnel).ike
        one = Replaced(pace, lifetime, age, at, event.line, pace, max(1, len(tunnel.up)))
        rekeys.judge(gateway, tunnel, one)
    gateway.change("ike_rekeyed", tunnel, at)
    for key in [key for key in tunnel.chains if key[1] == old]:
        tunnel.chains[(key[0], new)] = tunnel.chains.pop(key)
    if there is not None:
        gateway.drop_ike(tunnel, old)
    gateway.raise_ike(tunnel, new, at, event.line, there[2] if there else event.identity)
    if gateway.conditions.opened:
        gateway.conditions.clear("rekey_missed", gateway.place(tunnel), at)
    due = rekeys.ike_upper(gateway, tunnel)
    if due is not None and at is not None:
        gateway.arm(tunnel, at + due)


def ike_ended(gateway: Gateway, tunnel: Tunnel, event: SaEvent, at: float | None) -> None:
    """`ike_deleted`."""
    if event.ike_id is not None:
        tunnel.ended_at = at
    elif at is not None and tunnel.ended_at is not None and at - tunnel.ended_at < _SAME:
        return  # the same end, told again without the number
    ike = _number(tunnel, event)
    there = tunnel.up.get(ike)
    if there is not None and _of_the_old(tunnel, ike, there[0], at):
        return
    if there is not None or ike is not None:
        gateway.drop_ike(tunnel, ike)  # and its Child SAs, even if nobody told that it came up
    if there is None:
        return
    establishment.deleted(gateway, tunnel, event, at, there)


def ike_died(gateway: Gateway, tunnel: Tunnel, event: SaEvent, at: float | None) -> None:
    """`giving_up` or `dpd_timeout`: of an SA that was up, else it is one more try.

    Where a try is given up while an SA is known to be up, the line that told of its loss was lost.
    """
    ike = _number(tunnel, event)
    if ike not in tunnel.up:
        tunnel.forget_ages()
        return
    gateway.drop_ike(tunnel, ike)
    if at is not None:
        tunnel.pardon(at, 60.0)
    liveness.died(gateway, tunnel, event, at)


def child_established(gateway: Gateway, tunnel: Tunnel, event: SaEvent, at: float | None) -> None:
    """A Child SA is up: the first of its chain, or in the place of the one before."""
    if event.phase is not None:
        return
    key = _chain_key(tunnel, event)
    mark = event.child_id if event.child_id is not None else event.spi_in
    chain = tunnel.chains.get(key) or _handed_over(tunnel, key, event, at)
    if chain is not None and mark in chain.living:
        if _counts_anew(event, chain.living[mark], at):
            gateway.drop_chain(tunnel, key)
            chain = None
    if chain is None:
        _begin(gateway, tunnel, key, event, at, mark)
        return
    spi = event.spi_in
    if mark in chain.living or (spi in (chain.spi_in, chain.spi_out) and _same_pair(chain, event)):
        if mark is not None or at is None or chain.since is None or at - chain.since < _SAME:
            return
    _replace(gateway, tunnel, key, chain, event, at, mark)


def child_rekeyed(gateway: Gateway, tunnel: Tunnel, event: SaEvent, at: float | None) -> None:
    """A Child SA was replaced. Where only the old number stands, the new one's own line tells it."""
    if event.phase is not None:
        return
    new = event.new_child_id
    mark: int | str | None = new if new is not None else event.spi_in
    if mark is None and event.child_id is not None:
        return
    key = _chain_key(tunnel, event)
    chain = tunnel.chains.get(key)
    if chain is None:
        _begin(gateway, tunnel, key, event, at, mark)
        return
    if mark is not None and (mark in chain.living or _same_pair(chain, event)):
        return
    if mark is None and at is not None and chain.since is not None and at - chain.since < _SAME:
        return
    _replace(gateway, tunnel, key, chain, event, at, mark)
    # VICI, which names no thread, tells of no closing afterwards, even where a log did before the source was changed.
    if event.size is not None or (event.daemon == "charon" and event.thread is None):
        _retire(gateway, tunnel, chain, event, at)


def child_closed(gateway: Gateway, tunnel: Tunnel, event: SaEvent, at: float | None) -> None:
    """A Child SA is gone: the replaced one, or the newest and its chain."""
    if event.phase is not None:
        return
    gateway.closes = True
    found = _living(tunnel, event)
    if found is None:
        _unknown_closed(tunnel, event)
        return
    gateway.change("child_closed", tunnel, at)
    key, mark = found
    chain = tunnel.chains[key]
    since = establishment.taken(chain, mark)
    if since is not None and at is not None:
        late = since == chain.late
        if not _has_other(event, chain.late_spi if late else chain.spi_in) and (
            late or (not chain.living and rekeys.late(gateway, tunnel, since, at))
        ):
            rekeys.outlived(gateway, tunnel, event.line, since, at)
    if event.size is not None and since is not None and at is not None and chain.living:
        rekeys.weigh(gateway, tunnel, event.size, (chain.since or at) - since)
    if not chain.living:
        if at is not None:
            tunnel.closed = (key, chain.since, chain.line, at)
            tunnel.closed_spared = chain.spared
        if chain.refused is None or len(chain.refused) < 3:
            rekeys.kept(gateway, tunnel, chain, at)
        gateway.drop_chain(tunnel, key)
    elif gateway.conditions.opened and _alone(tunnel):
        gateway.conditions.clear("duplicate_sas", gateway.place(tunnel), at)


def remarked(gateway: Gateway, tunnel: Tunnel, event: SaEvent, at: float | None) -> None:
    """A remark that explains a short life, or tells a timer."""
    if event.kind == "rekey_scheduled":
        if event.seconds is not None and event.seconds < _LONGEST_TIMER:
            tunnel.scheduled = max(event.seconds, tunnel.scheduled or 0.0)
            if at is not None:
                gateway.arm(tunnel, at + (rekeys.ike_upper(gateway, tunnel) or 0.0))
        return
    if event.kind == "ike_reauth":
        tunnel.reauth_at = at
        return
    often = event.kind == "configured" and _is_loaded_all_the_time(tunnel, at)
    if at is not None and not often:
        tunnel.pardon(at, _EXCUSED[event.kind])
    if event.kind == "configured":
        if not often:
            tunnel.child, tunnel.ike = rekeys.anew(tunnel.child), rekeys.anew(tunnel.ike)
            tunnel.scheduled = None
        tunnel.policy, tunnel.levels = tunnel.levels or tunnel.policy, None


def _is_loaded_all_the_time(tunnel: Tunnel, at: float | None) -> bool:
    """Does a job load the connections, changed or not? It explains nothing, and what was learned stays."""
    if at is None:
        return False
    lately = (each for each in tunnel.loads[-_MANY_LOADS:] if each > at - _DAY)
    tunnel.loads = (*lately, at)
    return len(tunnel.loads) > _MANY_LOADS


def restarted(gateway: Gateway, at: float | None) -> None:
    """`daemon_started`, `daemon_stopped`: nothing is up, and what comes up in the next minutes is no loop."""
    gateway.forget_all()
    if at is not None:
        for tunnel in gateway.tunnels.values():
            tunnel.pardon(at, _RESTARTED)


def look(gateway: Gateway, tunnel: Tunnel, now: float) -> None:
    """The time that a tunnel was armed for has come: is something missed or crowded?"""
    tunnel.armed = 0.0
    due: list[float] = []
    limit = rekeys.overdue(gateway, tunnel)
    for key, chain in list(tunnel.chains.items()):
        if chain.since is None:
            continue
        if limit is not None and not chain.overdue:
            if chain.since + limit > now:
                due.append(chain.since + limit)
            else:
                due += _overdue(gateway, tunnel, key, chain.since, limit, now)
        if len(chain.living) > 1:
            due += establishment.crowded(gateway, tunnel, chain, now)
    ike_limit = rekeys.ike_upper(gateway, tunnel)
    if ike_limit is not None or len(tunnel.up) > 1:
        due += _look_at_ike(gateway, tunnel, ike_limit, now)
    if due:
        gateway.arm(tunnel, min(due))


def _overdue(
    gateway: Gateway,
    tunnel: Tunnel,
    key: tuple[str | None, int | str | None],
    since: float,
    limit: float,
    now: float,
) -> list[float]:
    """A Child SA that is up since then should have been replaced. Gives when to look again.

    What a silence of the log may have hidden shows soon after it, by the next rekey. Where none comes for many lives,
    the log is quiet, and nothing was hidden.
    """
    chain = tunnel.chains[key]
    if _outlived(tunnel, key, chain) or gateway.went(tunnel, since):
        gateway.drop_chain(tunnel, key)  # its closing was not logged
        return []
    silence = gateway.longest_silence(since)
    patience = since + _PATIENCE * limit + silence
    if silence >= limit / 3 and now < patience:
        return [patience]
    rekeys.missed(gateway, tunnel, chain, since, now)
    return []


def _look_at_ike(gateway: Gateway, tunnel: Tunnel, limit: float | None, now: float) -> list[float]:
    due: list[float] = []
    newest = max((each[0] for each in tunnel.up.values() if each[0] is not None), default=0.0)
    for ike, (since, line, identity) in list(tunnel.up.items()):
        if since is None or limit is None:
            continue
        if since + limit > now:
            due.append(since + limit)
            continue
        tunnel.up[ike] = (None, line, identity)  # told once
        # Its rekey is one line in hours: two holes, a third of a life each, can hide two of them.
        hidden = gateway.was_silent(limit / 6, since) or _heirs(tunnel)
        if since == newest and not hidden and _alive(tunnel, since + limit / 2):
            rekeys.ike_missed(gateway, tunnel, since, line, now)
    return due + establishment.crowded_ike(gateway, tunnel, now)


def _retire(
    gateway: Gateway, tunnel: Tunnel, chain: Chain, event: SaEvent, at: float | None
) -> None:
    """VICI tells what the replaced Child SA had carried, and of its end no more; nor of those before it."""
    since = chain.living.get(event.child_id)
    for mark in list(chain.living)[:-1]:
        del chain.living[mark]
    chain.closed = event.child_id
    if event.size is None or since is None or at is None:
        return
    if since == chain.late:
        rekeys.outlived(gateway, tunnel, event.line, since, at)
    rekeys.weigh(gateway, tunnel, event.size, at - since)


# --- which one


def _alive(tunnel: Tunnel, since: float) -> bool:
    # Its Child SAs go on: else its end, or its move to another address, may be what was not logged.
    return any((chain.since or 0.0) > since for chain in tunnel.chains.values())


def _heirs(tunnel: Tunnel) -> bool:
    # Child SAs of an IKE SA that is not known: the line that told of it was lost.
    return any(isinstance(ike, int) and ike not in tunnel.up for _, ike in tunnel.chains)


def _has_other(event: SaEvent, spi: str | None) -> bool:
    """Is it about another SA, whose number a daemon before this one gave to the one with this SPI?"""
    shown = {event.spi_in, event.spi_out} - {None}
    return spi is not None and bool(shown) and spi not in shown


def _counts_anew(event: SaEvent, since: float | None, at: float | None) -> bool:
    """An SA is said to be up that was up long ago. These daemons give a number once: another one runs now, and nobody
    told of its start.
    """
    if since is None or at is None or event.daemon not in ("charon", "pluto"):
        return False
    return at - since > _RETOLD


def _alone(tunnel: Tunnel) -> bool:
    return len(tunnel.up) < 2 and all(len(each.living) < 2 for each in tunnel.chains.values())


def _of_the_old(tunnel: Tunnel, ike: int | None, since: float | None, at: float | None) -> bool:
    # Without numbers, the deletion right after a replacement is that of the replaced one.
    if ike is not None or at is None or since is None or tunnel.reauth_at is None:
        return False
    return since - _SAME < tunnel.reauth_at <= at and at - since < _SAME


def _number(tunnel: Tunnel, event: SaEvent) -> int | None:
    if event.ike_id is None and len(tunnel.up) == 1:
        return next(iter(tunnel.up))
    return event.ike_id


def _chain_key(tunnel: Tunnel, event: SaEvent) -> tuple[str | None, int | str | None]:
    ike: int | str | None = event.ike_id
    if ike is None:
        # Clients behind one address are told apart by identity where their SAs have no numbers.
        ike = next(iter(tunnel.up)) if len(tunnel.up) == 1 else event.identity
    return event.child, ike


def _same_pair(chain: Chain, event: SaEvent) -> bool:
    return event.spi_in is not None and (
        (event.spi_in == chain.spi_in and event.spi_out == chain.spi_out)
        or (event.spi_in == chain.spi_out and event.spi_out == chain.spi_in)  # the other end's view
    )


def _living(
    tunnel: Tunnel, event: SaEvent
) -> tuple[tuple[str | None, int | str | None], int | str | None] | None:
    mark: int | str | None = event.child_id if event.child_id is not None else event.spi_in
    likely = (event.child, event.ike_id)
    chain = tunnel.chains.get(likely)
    if chain is not None and mark is not None and mark in chain.living:
        return likely, mark
    for key, chain in tunnel.chains.items():
        if mark is not None and mark in chain.living:
            return key, mark
        if mark is None and (event.child is None or event.child == key[0]) and None in chain.living:
            if event.spi_out is None or event.spi_out == chain.spi_out:
                return key, None
    return None


def _unknown_closed(tunnel: Tunnel, event: SaEvent) -> None:
    """An SA was closed that is not known: nobody told that it came up, unless this is told twice."""
    chain = tunnel.chains.get((event.child, event.ike_id))
    mark = event.child_id if event.child_id is not None else event.spi_in
    if chain is not None and mark is not None and mark != chain.closed:
        chain.doubt()


def _outlived(tunnel: Tunnel, key: tuple[str | None, int | str | None], chain: Chain) -> bool:
    return any(
        other[0] == key[0] and each.since is not None and each.since > (chain.since or 0.0)
        for other, each in tunnel.chains.items()
        if other != key
    )


def _handed_over(
    tunnel: Tunnel, key: tuple[str | None, int | str | None], event: SaEvent, at: float | None
) -> Chain | None:
    """The chain whose last SA was closed a moment ago: charon's end that did not start the rekey closes first."""
    if event.reason != "rekey" or tunnel.closed is None or at is None:
        return None
    closed_key, since, line, then = tunnel.closed
    if closed_key != key or at - then > _SAME:
        return None
    chain = Chain(since, line, None, None, {}, spared=tunnel.closed_spared)
    tunnel.chains[key] = chain
    return chain


def _begin(
    gateway: Gateway,
    tunnel: Tunnel,
    key: tuple[str | None, int | str | None],
    event: SaEvent,
    at: float | None,
    mark: int | str | None,
) -> None:
    renewed = event.kind == "child_rekeyed" or event.reason == "rekey"
    gateway.change("child_rekeyed" if renewed else "child_established", tunnel, at)
    tunnel.chains[key] = Chain(at, event.line, event.spi_in, event.spi_out, {mark: at})
    gateway.begun += 1
    if event.ike_id is not None and event.ike_id not in tunnel.up:
        tunnel.doubt(newest=True)  # that one took the place of another, perhaps of the newest
        if tunnel.name is not None and at is not None:
            gateway.found[tunnel.name] = at
    sharing.installed(gateway, tunnel, event, at)
    if at is not None:
        limit = rekeys.overdue(gateway, tunnel)
        if limit is not None:
            gateway.arm(tunnel, at + limit)


def _replace(
    gateway: Gateway,
    tunnel: Tunnel,
    key: tuple[str | None, int | str | None],
    chain: Chain,
    event: SaEvent,
    at: float | None,
    mark: int | str | None,
) -> None:
    gateway.change("child_rekeyed", tunnel, at)
    if at is not None:
        _judge(gateway, tunnel, chain, event, at)
    if chain.refused is not None or chain.missed:
        rekeys.kept(gateway, tunnel, chain, at)
    if chain.spi_in is not None:
        gateway.spis.pop(chain.spi_in, None)
    chain.since = at
    chain.line = event.line
    chain.spi_in = event.spi_in
    chain.spi_out = event.spi_out
    chain.living[mark] = at
    if len(chain.living) > _MOST_LIVING or (not gateway.closes and len(chain.living) > 3):
        del chain.living[next(iter(chain.living))]
    sharing.installed(gateway, tunnel, event, at)


def _judge(gateway: Gateway, tunnel: Tunnel, chain: Chain, event: SaEvent, at: float) -> None:
    """The newest SA of `chain` is replaced at `at`: at what age, and when is it time to look again?"""
    if chain.since is not None:
        age = at - chain.since
        late = not chain.missed and rekeys.late(gateway, tunnel, chain.since, at)
        chain.late = chain.since if late else None
        chain.late_spi = chain.spi_in
        lifetime = gateway.bounds_of(tunnel).child
        one = Replaced(tunnel.child, lifetime, age, at, event.line, chain)
        rekeys.judge(gateway, tunnel, one)
        if tunnel.trouble is not None:
            collisions.rekeyed(tunnel.trouble, age)
    # It may be armed for its IKE SA alone, which is due much later.
    if not tunnel.armed or (chain.since is not None and tunnel.armed - at > 3 * (at - chain.since)):
        limit = rekeys.overdue(gateway, tunnel)
        if limit is not None:
            gateway.arm(tunnel, at + limit)
    if len(chain.living) > 1:  # and the new one
        gateway.arm(tunnel, at + establishment.CROWDED)
