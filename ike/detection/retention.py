"""What the memory of a gateway lets go: who is long gone, and what whoever has an account can make without end.

An account is enough to come up at any number of addresses, with any number of SAs, and often with any number of names.
So of those that are gone little is kept, and not for long: the tunnel for a day, for a week where its lifetimes were
learned, and the address for a month. Of those that are up there is a number that no honest gateway has. Where there
are too many, each connection keeps as many as the others, and the latest of them; so nobody pushes out the peers of
another connection.

All is looked through once a day, or when it has grown by as much as a sweep is worth: a beat of a gateway where nothing
happens does nothing of it.
"""

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, Final

from ike.detection.crowds import Crowd
from ike.detection.state import ROOM, Gateway, Suspect, Tunnel

_DAY: Final = 86_400.0
_LEARNED, _KNOWN = 7 * _DAY, 30 * _DAY
#: Tunnels without an SA, addresses without a tunnel, and identities that are not up.
MOST_IDLE: Final = 4_096
_MOST_GONE: Final = 16_384
_MOST_ABSENT: Final = 32_768
#: IKE SAs of one identity, or Child SAs of one tunnel; and SAs of each layer in all.
MOST_OF_ONE: Final = 4_096
MOST_SAS: Final = 131_072


def outgrown(gateway: Gateway) -> bool:
    """Did it grow by so much since the last sweep that another one is worth it?"""
    return _size(gateway) > gateway.room


def overdue(gateway: Gateway, now: float) -> bool:
    """Was the last sweep a day ago?"""
    return gateway.swept is None or not 0 <= now - gateway.swept < _DAY


def sweep(gateway: Gateway, now: float | None) -> None:
    """Let go what is too old at `now` (None: the log shows no times), or too much."""
    gateway.swept = now
    _thin(gateway)
    _let_idle_go(gateway, now)
    _let_gone_go(gateway, now)
    _let_identities_go(gateway)
    if now is not None:
        _let_suspects_go(gateway, now - _DAY)
    size = _size(gateway)
    gateway.room = size + max(ROOM, size // 2)


def _size(gateway: Gateway) -> int:
    addresses = len(gateway.tunnels) + len(gateway.sources)
    return addresses + len(gateway.hosts) + len(gateway.homes) + len(gateway.up) + gateway.begun


# --- SAs


def _thin(gateway: Gateway) -> None:
    by_identity: dict[str | None, list[tuple[float, Tunnel, int | None]]] = {}
    for tunnel in gateway.tunnels.values():
        for ike, (since, _, identity) in tunnel.up.items():
            by_identity.setdefault(identity, []).append((since or 0.0, tunnel, ike))
        for key in list(tunnel.chains)[:-MOST_OF_ONE]:
            gateway.drop_chain(tunnel, key)
    kept = []
    for identity, those in by_identity.items():
        most = MOST_SAS if identity is None else MOST_OF_ONE
        kept += _dropped(gateway, those, most)
    _dropped(gateway, kept, MOST_SAS)
    children = [
        (each.since or 0.0, tunnel, key)
        for tunnel in gateway.tunnels.values()
        for key, each in tunnel.chains.items()
    ]
    children.sort(key=lambda one: one[0])
    for _, tunnel, key in children[:-MOST_SAS]:
        gateway.drop_chain(tunnel, key)
    gateway.begun = 0


def _dropped(
    gateway: Gateway, those: list[tuple[float, Tunnel, int | None]], most: int
) -> list[tuple[float, Tunnel, int | None]]:
    """The latest ones; the others are forgotten."""
    those.sort(key=lambda one: one[0])
    for _, tunnel, ike in those[:-most]:
        gateway.drop_ike(tunnel, ike)
    return those[-most:]


# --- tunnels and addresses


def _let_idle_go(gateway: Gateway, now: float | None) -> None:
    idle = [each for each in gateway.tunnels.values() if not (each.up or each.chains)]
    for tunnel in idle:
        if tunnel.left is None:
            tunnel.left = now
    kept = [each for each in idle if now is None or not _is_old(each, now)]
    if len(kept) > MOST_IDLE:
        kept = _shared(kept)[:MOST_IDLE]
    there = set(map(id, kept))
    for tunnel in idle:
        if id(tunnel) not in there:
            gateway.forget(tunnel)
    _name_again(gateway)


def _name_again(gateway: Gateway) -> None:
    """Of several tunnels at one address, or of one name, another one may be left."""
    for tunnel in gateway.tunnels.values():
        if tunnel.name is not None:
            gateway.names.setdefault(tunnel.name, tunnel.source)
        if tunnel.source is not None:
            gateway.sources.setdefault(tunnel.source, tunnel.name)
    for names in (gateway.found, gateway.served):
        for name in [name for name in names if name not in gateway.names]:
            del names[name]


def _is_old(tunnel: Tunnel, now: float) -> bool:
    learned = tunnel.child.ages or tunnel.ike.ages
    return tunnel.left is not None and now - tunnel.left > (_LEARNED if learned else _DAY)


def _shared(tunnels: list[Tunnel]) -> list[Tunnel]:
    """Each connection's best one first, then each one's second: of which lifetimes were learned, and the latest."""
    tunnels.reverse()  # where nothing shows times, the latest are those that were made last
    tunnels.sort(key=lambda each: (not each.child.ages, -(each.left or 0.0)))
    ranks: dict[str | None, int] = {}
    ranked = []
    for tunnel in tunnels:
        rank = ranks[tunnel.name] = ranks.get(tunnel.name, 0) + 1
        ranked.append((rank, tunnel))
    ranked.sort(key=lambda one: one[0])
    return [tunnel for _, tunnel in ranked]


def _let_gone_go(gateway: Gateway, now: float | None) -> None:
    """Addresses at which nobody is any more: peers that came back from there are no strangers for a while."""
    gone, sources = gateway.gone, gateway.sources
    for address, name in sources.items():
        if (name, address) in gateway.tunnels:
            gone.pop(address, None)
        else:
            gone.setdefault(address, now)
    surplus = len(gone) - _MOST_GONE
    for number, (address, since) in enumerate(list(gone.items())):
        old = now is not None and since is not None and now - since > _KNOWN
        if old or number < surplus or address not in sources:
            del gone[address]
            sources.pop(address, None)


def _let_identities_go(gateway: Gateway) -> None:
    """An identity is remembered where it is up, or with the address where it was."""
    living = {
        (tunnel.name, identity)
        for tunnel in gateway.tunnels.values()
        for _, _, identity in tunnel.up.values()
        if identity is not None
    }
    up = {f"{name} {identity}" for name, identity in living}
    _keep(gateway.hosts, up, (key for key, at in gateway.hosts.items() if at in gateway.sources))
    at_home = (who for who, (_, at) in gateway.homes.items() if at in gateway.sources)
    _keep(gateway.homes, {identity for _, identity in living}, at_home)
    for records in (gateway.met, gateway.spread, gateway.earlier):
        for key in [key for key in records if key not in gateway.hosts]:
            del records[key]


def _keep(records: dict[str, Any], up: set[str], others: Iterable[str]) -> None:
    absent = [key for key in others if key not in up][-_MOST_ABSENT:]
    kept = up.union(absent)
    for key in [key for key in records if key not in kept]:
        del records[key]


# --- sources of trouble


def _let_suspects_go(gateway: Gateway, before: float) -> None:
    for records in (gateway.suspects, gateway.callers, gateway.named):
        for key in [key for key, each in records.items() if _last(each) < before]:
            del records[key]
    for key in [key for key, each in gateway.crowds.items() if _is_over(each, before)]:
        del gateway.crowds[key]


def _last(suspect: Suspect) -> float:
    """When it was last heard of; at an unknown time is always."""
    return max((_always(at) for at in _times(suspect)), default=0.0)


def _times(suspect: Suspect) -> Iterator[float | None]:
    yield from (one[0] for signs in suspect.signs.values() for one in signs[-1:])
    yield from (one[1] for one in suspect.attempts.values())
    yield from chain(suspect.identities.values(), (one[0] for one in suspect.moves[-1:]))
    if suspect.certificate is not None:
        yield suspect.certificate[1]
    if suspect.thrown is not None:
        yield suspect.thrown


def _always(at: float | None) -> float:
    return float("inf") if at is None else at


def _is_over(crowd: Crowd, before: float) -> bool:
    return crowd.last is not None and crowd.last < before
