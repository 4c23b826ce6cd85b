"""ipsec.conf: who talks to whom."""

import pytest

from ike.secrets.ipsec_conf import parse
from ike.secrets.values import Connection, Dialect, Parsed, Source

STRONGSWAN, LIBRESWAN = Dialect.STRONGSWAN, Dialect.LIBRESWAN


def read(text: str, dialect: Dialect = STRONGSWAN) -> Parsed:
    return parse(Source("/etc/ipsec.conf", text), dialect)


def only(text: str, dialect: Dialect = STRONGSWAN) -> Connection:
    [connection] = read(text, dialect).connections
    return connection


def test_sections_take_in_others_and_the_default() -> None:
    text = """
config setup
    uniqueids=no
conn %default
    keyexchange=ikev2
    authby=secret
    left=192.0.2.1
conn base
    also=ids
    rightsubnet=10.2.0.0/16
conn ids
    leftid=@gw1.example.com   # ours
    rightid="@gw2.example.com"
conn tunnel
    also = base
    right\t=\t192.0.2.2
    left=192.0.2.11
    auto=start
ca ours
    cacert=ca.pem
"""
    found = only(text)
    assert (found.name, found.versions, found.psk) == ("tunnel", (2,), True)
    assert (str(found.local.identity), found.local.addresses) == (
        "dns:gw1.example.com",
        ("192.0.2.11",),
    )
    assert (str(found.remote.identity), found.remote.addresses) == (
        "dns:gw2.example.com",
        ("192.0.2.2",),
    )
    assert found.place.line == 14


def test_also_may_go_in_circles_or_nowhere() -> None:
    parsed = read(
        "conn a\n also=b\n left=1.2.3.4\n right=1.2.3.5\n auto=add\nconn b\n also=a\n also=c\n"
    )
    assert [each.name for each in parsed.connections] == ["a", "b"]
    assert {problem.place.line for problem in parsed.problems} == {6}


@pytest.mark.parametrize(
    ("lines", "versions"),
    [
        ("keyexchange=ikev1", (1,)),
        ("keyexchange=ikev2", (2,)),
        ("ikev2=insist", (2,)),
        ("ikev2=no", (1,)),
        ("ikev2=never", (1,)),
        ("ikev2=permit", (1, 2)),
        ("auto=add", (2,)),
    ],
)
def test_versions_of_libreswan(lines: str, versions: tuple[int, ...]) -> None:
    assert (
        only(f"conn a\n left=192.0.2.1\n right=192.0.2.2\n {lines}\n", LIBRESWAN).versions
        == versions
    )


@pytest.mark.parametrize(
    ("lines", "local", "remote"),
    [
        ("authby=secret", True, True),
        ("authby=psk", True, True),
        ("authby=rsasig|secret", True, True),
        ("authby=rsasig", False, False),
        ("auto=add", False, False),
        ("leftauth=pubkey\n rightauth=psk", False, True),
        ("authby=secret\n leftauth=rsasig", False, True),
    ],
)
def test_who_proves_itself_by_a_psk(lines: str, local: bool, remote: bool) -> None:
    found = only(f"conn a\n left=192.0.2.1\n right=192.0.2.2\n {lines}\n")
    assert (found.local.psk, found.remote.psk) == (local, remote)


def test_the_local_end_is_left_unless_the_right_one_is_ours() -> None:
    text = "conn a\n left=192.0.2.2\n right=192.0.2.1\n rightid=@gw1.example.com\n authby=secret\n"
    assert only(text).local.addresses == ("192.0.2.2",)
    for own in ("192.0.2.1", "dns:gw1.example.com"):
        [found] = parse(Source("x", text), LIBRESWAN, is_own=own.__eq__).connections
        assert (found.local.addresses, str(found.local.identity)) == (
            ("192.0.2.1",),
            "dns:gw1.example.com",
        )
    routed = only("conn a\n left=192.0.2.2\n right=%defaultroute\n")
    assert (routed.local.addresses, routed.remote.addresses) == ((), ("192.0.2.2",))


def test_identities_that_are_not_set_are_the_addresses() -> None:
    found = only("conn a\n left=%any\n right=192.0.2.2\n")
    assert (found.local.identity, str(found.remote.identity)) == (None, "ip:192.0.2.2")
    keyed = only("conn a\n right=192.0.2.2\n rightid=@#6162 # not this\n leftid=%fromcert\n")
    assert (keyed.local.identity, str(keyed.remote.identity)) == (None, "keyid:#6162")


def test_what_is_no_setting_is_told() -> None:
    parsed = read("conn a\n left=192.0.2.1\n right=192.0.2.2\n  something\nversion 2\nelse\n")
    assert [problem.place.line for problem in parsed.problems] == [4, 6]
