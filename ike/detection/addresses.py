"""Addresses as far as a rule needs them: which text is one, and which ones are of one household or network. Pure."""

from functools import lru_cache
from ipaddress import ip_address, ip_network

from ike.events.event import SaEvent


def address_of(event: SaEvent) -> str | None:
    """Where it came from; an identity alone is no address."""
    if event.source is None and event.peer == event.identity:
        return None
    return event.source or event.peer


@lru_cache(maxsize=4096)
def is_address(text: str) -> bool:
    """Does it parse as one? An identity, a name and a masked address say nothing of where packets go."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def household(address: str) -> str:
    """Whoever has one address of it has all: an IPv6 /64. What is no address stands for itself."""
    return _within(address, 32, 64)


def network(address: str) -> str:
    """That of a provider's pool: whoever gets a new address there is where he was."""
    return _within(address, 24, 64)


def settle(who: str, address: str, hosts: dict[str, str], earlier: dict[str, str]) -> str | None:
    """Somebody is at `address` now, as `hosts` tells; `earlier` is where in another network. Gives the last one."""
    there = hosts.pop(who, None)  # the latest stands last
    hosts[who] = address
    if there is not None and network(there) != network(address):
        earlier[who] = there
    return there


@lru_cache(maxsize=4096)
def _within(address: str, bits: int, bits_of_six: int) -> str:
    try:
        whole = bits if ip_address(address).version == 4 else bits_of_six
        return str(ip_network((address, whole), strict=False))
    except ValueError:
        return address
