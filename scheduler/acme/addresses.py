"""Which addresses may be connected to because a stranger named them. Pure values.

Public ones, and the networks that an endpoint opens on purpose. The tricks by which others were turned against their
own inside stand in tests/scheduler/test_acme_addresses.py.
"""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from pki.acme.validation import ProofMissing

Address = IPv4Address | IPv6Address

# RFC 1122 §3.2.1.3: whoever sends there means itself.
_THIS_NETWORK: Final = IPv4Network("0.0.0.0/8")
# RFC 4291 §2.4, IANA: what is given out of the IPv6 Internet.
_UNICAST: Final = IPv6Network("2000::/3")
# Where clouds tell a machine its own secrets, also where a network around them is opened.
_METADATA: Final = frozenset(
    map(
        ip_address,
        (
            "169.254.169.254",
            "169.254.170.2",
            "169.254.170.23",
            "168.63.129.16",  # public by its number, and reached inside of a cloud alone
            "100.100.100.200",
            "192.0.0.192",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fd20:ce::254",
        ),
    )
)
# An IPv4 address inside of an IPv6 one: whatever way leads there, it is a second name for what was judged as another.
_EMBEDDING: Final = tuple(
    map(
        ip_network,
        (
            "::/96",  # IPv4-compatible (RFC 4291 §2.5.5.1)
            "::ffff:0:0/96",  # IPv4-mapped (§2.5.5.2)
            "::ffff:0:0:0/96",  # IPv4-translated (RFC 2765)
            "64:ff9b::/96",  # NAT64 (RFC 6052)
            "64:ff9b:1::/48",  # (RFC 8215)
            "2002::/16",  # 6to4 (RFC 3056)
            "2001::/32",  # Teredo (RFC 4380)
        ),
    )
)


def check(address: Address, networks: Iterable[str]) -> None:
    """Make sure that an address may be connected to. Raises ProofMissing, before anything is sent there."""
    if not _may(address, networks):
        raise ProofMissing(
            "rejectedIdentifier", "it leads to an address that this service does not connect to"
        )


def _may(address: Address, networks: Iterable[str]) -> bool:
    if _never(address):
        return False
    if any(address in ip_network(each) for each in networks):
        return True
    if isinstance(address, IPv6Address) and address not in _UNICAST:
        return False
    return address.is_global and not address.is_reserved and not address.is_link_local


def _never(address: Address) -> bool:
    """What no network opens."""
    if address in _METADATA or address.is_multicast or address.is_unspecified:
        return True
    if isinstance(address, IPv4Address):
        return address in _THIS_NETWORK or address == IPv4Address("255.255.255.255")
    # ::1 is in the first of them, and is judged as what it is.
    embeds = any(address in each for each in _EMBEDDING) and address != IPv6Address("::1")
    return embeds or address.scope_id is not None


def allowed(found: Iterable[Address], networks: Iterable[str]) -> list[Address]:
    """Those of the addresses of a name that may be connected to. Raises ProofMissing where none may."""
    opened = tuple(networks)
    every = list(found)
    good = [each for each in every if _may(each, opened)]
    if every and not good:
        check(every[0], opened)
    return good
