"""What two ends have in common, and which connection is meant for which."""

from dataclasses import replace

import pytest

from ike.audit.configuration import effective_swanctl
from ike.audit.configuration.values import Tunnel
from ike.doctor import matching
from ike.doctor.choice import choose
from ike.doctor.errors import TunnelNotNamed, TunnelUnknown
from ike.secrets.settings_syntax import parse
from ike.secrets.values import Source, nothing


def tunnel(name: str = "site", **settings: str) -> Tunnel:
    """A connection of swanctl.conf; a setting of a section within is `local_id` or `net_local_ts`."""
    own, local, remote, net = list[str](), list[str](), list[str](), list[str]()
    lists = {"local": local, "remote": remote, "net": net}
    for key, value in settings.items():
        section, _, rest = key.partition("_")
        here = section in lists and rest != "addrs"
        (lists[section] if here else own).append(f"{rest if here else key} = {value}")

    def block(title: str, lines: list[str]) -> str:
        return "\n".join((f"{title} {{", *lines, "}"))

    inner = [*own, block("local", local), block("remote", remote)]
    inner.append(block("children", [block("net", net)]))
    text = block("connections", [block(name, inner)]) + "\n"
    top, problems = parse(Source("/etc/swanctl/swanctl.conf", text), nothing)
    found, more = effective_swanctl.effective(top)
    assert not problems
    assert not more
    return found[0]


@pytest.mark.parametrize(
    ("one", "other", "common"),
    [
        ("aes256-sha256-x25519", "aes256-sha256-x25519", True),
        ("aes128-aes256-sha256-x25519-ecp256", "aes256-sha256-ecp256", True),
        ("aes256-sha256-x25519, aes128-sha1-modp2048", "aes128-sha1-modp2048", True),
        ("default", "aes256-sha256-x25519", True),
        ("aes256-sha256-x25519", "aes128-sha256-x25519", False),
        ("aes256gcm16-prfsha256-x25519", "aes256-sha256-x25519", False),
        ("aes256-sha256-x25519", "aes256-sha256-modp2048", False),
        ("aes256-sha256-x25519", "aes256-sha512-x25519", False),
    ],
)
def test_proposals_are_compared_transform_by_transform(one: str, other: str, common: bool) -> None:
    ends = tunnel(proposals=one), tunnel(proposals=other)
    assert matching.agree(ends[0].ike, ends[1].ike) is common
    assert matching.agree(ends[1].ike, ends[0].ike) is common


def test_the_difference_is_named() -> None:
    one, other = (
        tunnel(proposals="aes256-sha256-x25519").ike,
        tunnel(proposals="aes256-sha256-modp2048").ike,
    )
    assert matching.differing(one, other) == "key exchange"


def test_the_first_child_needs_no_key_exchange_of_its_own() -> None:
    one, other = (
        tunnel(net_esp_proposals="aes256-sha256-x25519"),
        tunnel(net_esp_proposals="aes256-sha256"),
    )
    assert matching.agree_on_child(one.children[0].offers, other.children[0].offers)


@pytest.mark.parametrize(
    ("mine", "theirs", "common"),
    [
        (("10.1.0.0/24",), ("10.1.0.0/24",), True),
        (("10.1.0.0/16",), ("10.1.7.0/24",), True),
        (("10.1.0.0/24",), ("10.2.0.0/24",), False),
        (("dynamic",), ("192.0.2.1/32",), True),
        (("dynamic",), ("192.0.2.9/32",), False),
        (("10.1.0.0/24[tcp/80]",), ("10.1.0.0/24",), True),
        (("10.1.0.0/24",), ("2001:db8::/32",), False),
        (("whatever",), ("10.2.0.0/24",), True),
    ],
)
def test_networks_overlap_or_not(
    mine: tuple[str, ...], theirs: tuple[str, ...], common: bool
) -> None:
    assert matching.overlap(mine, "192.0.2.1", theirs, "192.0.2.1") is common


def test_the_connection_that_mirrors_this_one_is_its_counterpart() -> None:
    mine = tunnel("hub", local_id="gw1", remote_id="gw2", remote_addrs="192.0.2.2")
    others = [
        tunnel("hub", local_id="gw2", remote_id="gw9", local_addrs="192.0.2.2"),
        tunnel("branch", local_id="gw2", remote_id="gw1", local_addrs="192.0.2.2"),
    ]
    assert matching.counterpart(mine, others) is others[1]
    assert matching.counterpart(mine, []) is None


@pytest.mark.parametrize(
    ("addresses", "literal"),
    [
        (("192.0.2.1",), {"192.0.2.1"}),
        (("192.0.2.1", "2001:DB8::1"), {"192.0.2.1", "2001:db8::1"}),
        (("%any",), set()),
        (("gw1.example.net",), set()),
        (("192.0.2.0/24",), set()),
    ],
)
def test_only_addresses_are_compared_as_addresses(
    addresses: tuple[str, ...], literal: set[str]
) -> None:
    assert matching.literal(addresses) == literal


def test_a_connection_is_found_by_its_name_its_child_or_as_the_only_one() -> None:
    one, other = tunnel("one"), replace(tunnel("other"), children=())
    assert choose([one], None) is one
    assert choose([], "one") is None
    assert choose([one, other], "other") is other
    assert choose([one, other], "net") is one
    with pytest.raises(TunnelNotNamed):
        choose([one, other], None)
    with pytest.raises(TunnelUnknown):
        choose([one, other], "none")
