"""What two ends have in common: proposals, traffic selectors, identities. Pure."""

import ipaddress
from collections.abc import Iterable, Sequence
from typing import Final

from ike.audit.configuration.proposals import Proposal
from ike.audit.configuration.transforms import Kind, Transform
from ike.audit.configuration.values import Child, Offer, Tunnel, Writer
from ike.secrets import identities
from ike.secrets.identities import ANY, Identity

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_PLUTO: Final = frozenset({Writer.LIBRESWAN, Writer.NM_LIBRESWAN})
_IKE: Final = (Kind.ENCRYPTION, Kind.INTEGRITY, Kind.PRF, Kind.EXCHANGE)
# The first Child SA has its keys from the IKE SA: its key exchange is looked at only when it is replaced.
_CHILD: Final = (Kind.ENCRYPTION, Kind.INTEGRITY, Kind.SEQUENCE)


def agree(one: Offer, other: Offer) -> bool:
    """Whether an offer for IKE has a proposal that the other has too."""
    return _any(one, other, _IKE)


def agree_on_child(one: Iterable[Offer], other: Iterable[Offer]) -> bool:
    """Whether offers for a Child SA have a proposal in common, key exchange aside."""
    others = tuple(other)
    return any(
        mine.protocol is theirs.protocol and _any(mine, theirs, _CHILD)
        for mine in one
        for theirs in others
    )


def differing(one: Offer, other: Offer) -> str:
    """In what the two offers differ at all, as "encryption and key exchange"."""
    kinds = [kind for kind in _IKE if not _share(_all(one, kind), _all(other, kind))]
    return " and ".join(str(kind) for kind in kinds) or "the combinations"


def written(offer: Offer) -> str:
    """The first proposals of an offer, as people know them."""
    if offer.is_default:
        return "the daemon's defaults"
    shown = ", ".join(str(each) for each in offer.proposals[:2])
    more = len(offer.proposals) - 2
    return f"{shown} and {more} more" if more > 0 else shown


def _any(one: Offer, other: Offer, kinds: Sequence[Kind]) -> bool:
    return any(
        _fit(mine, theirs, kinds)
        for mine in (*one.proposals, *one.added)
        for theirs in (*other.proposals, *other.added)
    )


def _fit(one: Proposal, other: Proposal, kinds: Sequence[Kind]) -> bool:
    return all(_share(one.of(kind), other.of(kind)) for kind in kinds)


def _all(offer: Offer, kind: Kind) -> tuple[Transform, ...]:
    return tuple(
        each for proposal in (*offer.proposals, *offer.added) for each in proposal.of(kind)
    )


def _share(one: Sequence[Transform], other: Sequence[Transform]) -> bool:
    if not one or not other:
        return not one and not other
    return any(
        mine.name == theirs.name and mine.turn == theirs.turn and _sizes(mine, theirs)
        for mine in one
        for theirs in other
    )


def _sizes(one: Transform, other: Transform) -> bool:
    return one.bits == other.bits or not one.bits or not other.bits


# ---------------------------------------------------------------- traffic selectors


def overlap(one: Sequence[str], one_host: str, other: Sequence[str], other_host: str) -> bool:
    """Whether two lists of selectors have an address in common. `dynamic` is the host itself; what cannot be known
    from the files, as an address of a pool, fits everything.
    """
    mine, theirs = _networks(one, one_host), _networks(other, other_host)
    if None in mine or None in theirs:
        return True
    return any(
        a.version == b.version and a.overlaps(b)
        for a in mine
        for b in theirs
        if a is not None and b is not None
    )


def _networks(selectors: Sequence[str], host: str) -> list[Network | None]:
    return [_network(host if each == "dynamic" else each) for each in selectors]


def _network(text: str) -> Network | None:
    try:
        return ipaddress.ip_network(text.partition("[")[0].strip("{} "), strict=False)
    except ValueError:
        return None


def selectors_agree(mine: Child, theirs: Child, here: str, there: str) -> bool:
    """Whether two Child SAs mean networks that both ends have; the addresses are those of the hosts, or empty."""
    return overlap(mine.local, here, theirs.remote, here) and overlap(
        mine.remote, there, theirs.local, there
    )


# ---------------------------------------------------------------- identities and addresses


def is_of_pluto(tunnel: Tunnel) -> bool:
    """Whether it is Libreswan's daemon that has it."""
    return tunnel.writer in _PLUTO


def identity(tunnel: Tunnel, text: str) -> Identity:
    """An identity as the daemon of this configuration reads it; ANY where nothing stands there."""
    if not text:
        return ANY
    return (identities.libreswan if is_of_pluto(tunnel) else identities.strongswan)(text)


def own_identity(tunnel: Tunnel) -> Identity:
    """Who the configured end says that it is; ANY where its certificate or address decides."""
    return identity(tunnel, tunnel.local[0].identity if tunnel.local else "")


def asked_identity(tunnel: Tunnel) -> Identity:
    """Who the other end must be."""
    return identity(tunnel, tunnel.remote[0].identity if tunnel.remote else "")


def fits(asked: Identity, shown: Identity) -> bool:
    """Whether an identity is one that is asked for; ANY on either side leaves it open."""
    if "any" in (asked.kind, shown.kind):
        return True
    return identities.equal(asked, shown) or identities.covers(asked, shown)


def literal(addresses: Iterable[str]) -> frozenset[str]:
    """The addresses of a setting that stand there as such; empty where it takes any, or names that are looked up."""
    found = set()
    for each in addresses:
        try:
            found.add(str(ipaddress.ip_address(each.strip())))
        except ValueError:
            return frozenset()
    return frozenset(found)


def counterpart(tunnel: Tunnel, candidates: Sequence[Tunnel]) -> Tunnel | None:
    """The connection of the other end that is meant for this one: the one that mirrors it best."""
    return max(candidates, key=lambda each: _likeness(tunnel, each), default=None)


def _likeness(tunnel: Tunnel, other: Tunnel) -> int:
    score = int(tunnel.name == other.name)
    pairs = (
        (asked_identity(tunnel), own_identity(other)),
        (asked_identity(other), own_identity(tunnel)),
    )
    score += sum(2 for one, two in pairs if one.kind != "any" and identities.equal(one, two))
    score += 2 * bool(literal(tunnel.remote_addrs) & literal(other.local_addrs))
    return score + 2 * bool(literal(tunnel.local_addrs) & literal(other.remote_addrs))
