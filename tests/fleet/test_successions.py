"""A rollover reaches the gateways: whom they trust in each phase, and what a switch waits for."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from core.errors import IkewardenError
from fleet import successions, tunnels
from fleet.definitions import ChildDefinition, Definition
from fleet.tunnels import TunnelRequest
from ike.daemons.port import fingerprint
from pki import authorities, certificates, revocation
from pki.certificates import CertificateQuery
from pki.desk import Desk
from pki.rollover import phases
from pki.rollover.phases import Order
from pki.rollover.successor import RolloverRequest
from tests.fixtures.desk import ADMIN, CLOCKWORK, NOW, OPERATOR
from tests.fleet.crew import Member, enlist

BOTH = ["issuing", "issuing-2", "root"]
MANAGED = Definition(
    left_addresses=("192.0.2.1",),
    right_addresses=("192.0.2.2",),
    children=(ChildDefinition("net", ("10.1.0.0/16",), ("10.2.0.0/16",)),),
)


@pytest.fixture
def pair(desk: Desk) -> tuple[Member, Member]:
    """Two gateways with a managed tunnel; the first has reported."""
    left, right = enlist(desk, "left.example"), enlist(desk, "right.example")
    wanted = TunnelRequest("left-right", left.name, right.name, MANAGED)
    tunnels.create(desk, OPERATOR, wanted, now=NOW)
    left.report()
    return left, right


def begin(desk: Desk, name: str = "issuing") -> int:
    return phases.prepare(desk, ADMIN, RolloverRequest(name), now=NOW).id


def move(desk: Desk, number: int, to: str, *, now: datetime = NOW, **order: Any) -> str:
    """Take a step, and have it told."""
    moved = successions.move(desk, ADMIN, number, Order(to, **order), now=now)
    successions.spread(desk, CLOCKWORK, number, now=now)
    return moved.state


def trusted(member: Member, *, now: datetime = NOW) -> list[str]:
    return sorted(each.name for each in member.state(now=now).authorities)


def pins(member: Member) -> list[str]:
    """The authorities that the peer's certificate may be of, by name."""
    (connection,) = member.state().connections
    prints = (connection["remote_authority"], *connection["more_authorities"])
    known = [authorities.load(member.desk, name) for name in authorities.all_names(member.desk)]
    by_print = {fingerprint(each.certificate): each.name for each in known}
    return [by_print[each] for each in prints]


def print_of(desk: Desk, name: str) -> str:
    return fingerprint(authorities.load(desk, name).certificate)


def test_gateways_trust_both_from_publishing_on_and_no_more_after_the_way_back(
    desk: Desk, pair: tuple[Member, Member]
) -> None:
    left, right = pair
    number = begin(desk)
    assert (trusted(left), pins(left)) == (["issuing", "root"], ["issuing"])
    version = left.state().mark.version
    move(desk, number, "published")
    for each in pair:
        assert (trusted(each), pins(each)) == (BOTH, ["issuing", "issuing-2"])
    assert left.state().mark.version > version
    assert successions.spread(desk, CLOCKWORK, number, now=NOW) == 0  # nobody is woken twice
    move(desk, number, "back")
    assert (trusted(right), pins(right)) == (["issuing", "root"], ["issuing"])


def test_who_came_after_the_switch_trusts_the_old_authority_after_the_way_back(
    desk: Desk, pair: tuple[Member, Member]
) -> None:
    """It is on record with the successor, and its certificates come from the old one again."""
    number = begin(desk)
    move(desk, number, "published")
    move(desk, number, "switched", despite=True)
    late, left = enlist(desk, "late.example"), pair[0]
    assert late.leaf.authority.name == "issuing-2"
    tunnels.create(desk, OPERATOR, TunnelRequest("late", left.name, late.name, MANAGED), now=NOW)
    move(desk, number, "back")
    assert late.renew().authority.name == "issuing"
    assert (trusted(late), trusted(left), pins(late)) == (BOTH, BOTH, ["issuing", "issuing-2"])
    for each in certificates.search(
        desk, ADMIN, CertificateQuery(authority="issuing-2", status="valid"), now=NOW
    ):
        revocation.revoke(desk, ADMIN, each.serial, "superseded", now=NOW)
    for state in ("prepared", "abandoned"):
        assert move(desk, number, "back") == state
        assert (trusted(late), pins(late)) == (["issuing", "root"], ["issuing"])
        assert trusted(left) == ["issuing", "root"]


def test_a_switch_waits_for_the_gateways(desk: Desk, pair: tuple[Member, Member]) -> None:
    left, right = pair
    number = begin(desk)
    move(desk, number, "published")
    with pytest.raises(IkewardenError) as refused:
        move(desk, number, "switched")
    assert refused.value.code == "rollover_gateways_untold"
    # The other one is fed when it comes for the first time.
    assert left.name in refused.value.message
    assert right.name not in refused.value.message
    left.report(trusts=[print_of(desk, "issuing"), print_of(desk, "issuing-2")])
    assert move(desk, number, "switched") == "switched"
    assert left.renew().authority.name == "issuing-2"
    assert trusted(right) == BOTH


def test_a_switch_despite_those_who_are_away(desk: Desk, pair: tuple[Member, Member]) -> None:
    number = begin(desk)
    move(desk, number, "published")
    assert move(desk, number, "switched", despite=True) == "switched"


def test_the_old_authority_is_trusted_until_its_last_certificate_has_ended(
    desk: Desk, pair: tuple[Member, Member]
) -> None:
    left, _ = pair
    number = begin(desk)
    move(desk, number, "published")
    move(desk, number, "switched", despite=True)
    move(desk, number, "finished", despite=True)
    assert trusted(left) == BOTH
    leaf = left.state().leaf
    assert leaf is not None
    ended = leaf.not_after + timedelta(days=1)
    successions.spread(desk, CLOCKWORK, number, now=ended)
    assert trusted(left, now=ended) == ["issuing-2", "root"]


def test_a_new_root_is_trusted_beside_the_old_one(desk: Desk, pair: tuple[Member, Member]) -> None:
    left, _ = pair
    move(desk, begin(desk, "root"), "published")
    assert trusted(left) == ["issuing", "root", "root-2"]
    assert pins(left) == ["issuing"]
