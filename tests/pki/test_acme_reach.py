"""Where the names of an ACME account are looked for: what its endpoint opens, as far as its token goes."""

from ipaddress import ip_address

import pytest

from pki.acme import reach
from pki.acme.validation import ProofMissing
from pki.endpoints import AcmeDoor
from scheduler.acme import addresses

OPENED = ("10.0.0.0/8", "192.168.7.0/24", "fd00:1::/32")


@pytest.mark.parametrize(
    ("named", "reached"),
    [
        (None, OPENED),
        ((), ()),
        (("10.0.0.0/8",), ("10.0.0.0/8",)),
        (("10.1.0.0/16",), ("10.1.0.0/16",)),
        # No more than the endpoint opens, however much the token names.
        (("192.168.0.0/16",), ("192.168.7.0/24",)),
        (("0.0.0.0/0",), ("10.0.0.0/8", "192.168.7.0/24")),
        (("::/0",), ("fd00:1::/32",)),
        (("172.16.0.0/12",), ()),
        (("fd00:1:2::/48", "10.0.0.1/32"), ("fd00:1:2::/48", "10.0.0.1/32")),
        (("nonsense", "10.0.0.1/8"), ()),
    ],
)
def test_what_both_open_is_reached(named: tuple[str, ...] | None, reached: tuple[str, ...]) -> None:
    assert reach.networks(AcmeDoor(networks=OPENED), named) == reached


def test_an_endpoint_may_open_its_networks_to_those_alone_whose_token_names_them() -> None:
    door = AcmeDoor(networks=OPENED, networks_by_token=True)
    assert reach.networks(door, None) == ()
    assert reach.networks(door, ("10.1.0.0/16",)) == ("10.1.0.0/16",)


def test_of_two_accounts_of_one_endpoint_one_reaches_the_inside() -> None:
    door = AcmeDoor(networks=("10.0.0.0/8",), networks_by_token=True)
    inside = ip_address("10.9.8.7")
    addresses.check(inside, reach.networks(door, ("10.0.0.0/8",)))
    for other in (None, (), ("192.168.0.0/16",), ("10.0.0.0/16",)):
        with pytest.raises(ProofMissing):
            addresses.check(inside, reach.networks(door, other))
    # And what nobody opens, no token does.
    with pytest.raises(ProofMissing):
        addresses.check(ip_address("169.254.169.254"), reach.networks(door, ("0.0.0.0/0",)))
