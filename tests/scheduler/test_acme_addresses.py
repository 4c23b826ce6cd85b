"""Which addresses are connected to because a stranger named them: every trick by which it could be one inside."""

from ipaddress import ip_address

import pytest

from pki.acme.validation import ProofMissing
from pki.endpoints import AcmeDoor
from pki.x509.names import GeneralName
from scheduler.acme import addresses
from scheduler.acme.http01 import _followed, _Place

INSIDE = {
    "loopback": "127.0.0.1",
    "loopback, another": "127.8.8.8",
    "this host": "0.0.0.0",  # noqa: S104
    "this network": "0.1.2.3",
    "private a": "10.0.0.1",
    "private b": "172.16.0.1",
    "private c": "192.168.1.1",
    "carrier": "100.64.0.1",
    "link-local": "169.254.1.1",
    "metadata": "169.254.169.254",
    "metadata of containers": "169.254.170.2",
    "metadata of Alibaba": "100.100.100.200",
    "metadata of Azure, public by its number": "168.63.129.16",
    "metadata of Oracle": "192.0.0.192",
    "documentation": "192.0.2.1",
    "benchmarks": "198.18.0.1",
    "multicast": "224.0.0.1",
    "reserved": "240.0.0.1",
    "broadcast": "255.255.255.255",
    "loopback 6": "::1",
    "unspecified 6": "::",
    "unique local": "fd00::1",
    "metadata 6": "fd00:ec2::254",
    "link-local 6": "fe80::1",
    "link-local 6 with a zone": "fe80::1%eth0",
    "site-local": "fec0::1",
    "multicast 6": "ff02::1",
    "documentation 6": "2001:db8::1",
    "mapped loopback": "::ffff:127.0.0.1",
    "mapped private": "::ffff:10.0.0.1",
    "mapped public": "::ffff:8.8.8.8",
    "compatible": "::127.0.0.1",
    "translated": "::ffff:0:127.0.0.1",
    "NAT64 of private": "64:ff9b::10.0.0.1",
    "NAT64 of metadata": "64:ff9b::a9fe:a9fe",
    "NAT64 local": "64:ff9b:1::1",
    "6to4 of private": "2002:0a00:0001::1",
    "Teredo": "2001:0:7f00:1::1",
}


@pytest.mark.parametrize("address", INSIDE.values(), ids=INSIDE.keys())
def test_what_is_inside_is_not_connected_to(address: str) -> None:
    with pytest.raises(ProofMissing) as caught:
        addresses.check(ip_address(address), ())
    assert caught.value.kind == "rejectedIdentifier"


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111"])
def test_what_is_public_is(address: str) -> None:
    addresses.check(ip_address(address), ())


def test_a_network_is_opened_on_purpose() -> None:
    opened = ("10.1.0.0/16", "fd00:1::/32")
    for address in ("10.1.2.3", "fd00:1::5"):
        addresses.check(ip_address(address), opened)
    for address in ("10.2.0.1", "127.0.0.1", "fd00:2::1", "::ffff:10.1.2.3"):
        with pytest.raises(ProofMissing):
            addresses.check(ip_address(address), opened)


@pytest.mark.parametrize(
    "address",
    ["169.254.169.254", "fd00:ec2::254", "224.0.0.1", "0.0.0.1", "::ffff:10.0.0.1", "2002:a00:1::"],
)
def test_some_are_not_opened_by_any_network(address: str) -> None:
    with pytest.raises(ProofMissing):
        addresses.check(ip_address(address), ("0.0.0.0/0", "::/0"))


def test_of_several_addresses_those_are_taken_that_may_be() -> None:
    mixed = [ip_address("10.0.0.1"), ip_address("8.8.8.8"), ip_address("::1")]
    assert addresses.allowed(mixed, ()) == [ip_address("8.8.8.8")]
    with pytest.raises(ProofMissing):
        addresses.allowed(mixed[:1], ())


FROM = _Place(False, GeneralName.parse("dns:a.example"), 80, "/.well-known/acme-challenge/t")


@pytest.mark.parametrize(
    "location",
    [
        "http://a.example:22/",
        "http://a.example:8443/v1",
        "https://a.example:6443/",
        "ftp://a.example/",
        "file:///etc/passwd",
        "gopher://a.example/_x",
        "data:text/plain,x",
        "http://user@a.example/",
        "http://user:password@a.example/",
        "http://a.example@10.0.0.1/",
        "http://2130706433/",
        "http://0x7f.0.0.1/",
        "http://0177.0.0.1/",
        "http://127.1/",
        "http://1.2.3/",
        "http://a.example./",
        "http://[fe80::1%25eth0]/",
        "http://[::/",
        "http://a_b.example/",
        "http://ümlaut.example/",
        "http://a.example\\@b.example/",
        "http://a.example/a b",
        "http://a.example/\r\nX: y",
        "http://a.example:80:80/",
        "http://a.example:99999/",
        "http://a.example:-1/",
        "http://ⓐ.example/",
        "//a.example:25/",
        "http://" + "a" * 3000,
    ],
)
def test_redirects_lead_nowhere_else(location: str) -> None:
    with pytest.raises(ProofMissing) as caught:
        _followed(FROM, location, AcmeDoor())
    assert caught.value.kind == "connection"


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("/other", "http://a.example/other"),
        ("other?x=1", "http://a.example/.well-known/acme-challenge/other?x=1"),
        ("//b.example/", "http://b.example/"),
        ("https://a.example", "https://a.example/"),
        ("HTTP://A.Example:80/x#y", "http://a.example/x"),
        ("https://b.example:443/x", "https://b.example/x"),
        ("http://10.0.0.1/", "http://10.0.0.1/"),  # its address is judged when it is connected to
        ("http://[::1]/", "http://[::1]/"),
        ("http://0x7f000001/", "http://0x7f000001/"),  # a name, and looked up as one
        ("http:///path", "http://a.example/path"),
    ],
)
def test_other_redirects_are_followed(location: str, url: str) -> None:
    assert _followed(FROM, location, AcmeDoor()).url == url
