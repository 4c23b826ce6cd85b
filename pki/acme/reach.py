"""Where the names of an account are looked for: what its endpoint opens, as far as its token goes. Pure values."""

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_network

from pki.endpoints import AcmeDoor

_Network = IPv4Network | IPv6Network


def networks(door: AcmeDoor, named: tuple[str, ...] | None) -> tuple[str, ...]:
    """The networks, beside the public ones, of an account whose token names these; None: its token names none, and is
    not limited in them, or there is no token.
    """
    if named is None:
        return () if door.networks_by_token else door.networks
    # What cannot be read opens nothing.
    opened = [each for each in map(_read, door.networks) if each is not None]
    wanted = [each for each in map(_read, named) if each is not None]
    return tuple(str(part) for each in wanted for part in _parts(each, opened))


def is_within(inner: Iterable[str], outer: Iterable[str]) -> bool:
    """Whether each of some networks lies in one of the others; none can be read where one cannot."""
    whole = [_read(each) for each in outer]
    return all(any(_lies_in(network, each) for each in whole) for network in map(_read, inner))


def _read(text: str) -> _Network | None:
    try:
        return ip_network(text)
    except ValueError:
        return None


def _lies_in(inner: _Network | None, outer: _Network | None) -> bool:
    # Of the two kinds, or none: never.
    if isinstance(inner, IPv4Network):
        return isinstance(outer, IPv4Network) and inner.subnet_of(outer)
    return (
        isinstance(inner, IPv6Network) and isinstance(outer, IPv6Network) and inner.subnet_of(outer)
    )


def _parts(one: _Network, others: Iterable[_Network]) -> Iterable[_Network]:
    """What a network has in common with each of others: of two, one lies in the other, or they have nothing."""
    for each in others:
        if _lies_in(one, each):
            yield one
        elif _lies_in(each, one):
            yield each
