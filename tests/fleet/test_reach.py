"""A revocation reaches the tunnels: counted exactly, told to those whom it concerns, kept until it is confirmed."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import func, select

from core.errors import IkewardenError
from fleet import gateways as gateways_of
from fleet import reach, revoking, tunnels
from fleet.concern import Affected
from fleet.gateways import GatewayRequest
from fleet.reach import Reach
from fleet.tunnels import Peer, TunnelRequest
from pki import issuance, publication, revocation
from pki.desk import Desk
from pki.issuance import IssueRequest
from store.engine import Store
from store.fleet_tables import gateway_authorities, gateway_commands, gateways
from store.tables import crls, outbox
from tests.fixtures.desk import ADMIN, CLOCKWORK, NOW, OPERATOR, drain, reopened
from tests.fleet.crew import Member, connect, enlist, later, sa
from tests.pki.acts import issue
from tests.pki.requests import request
from tests.pki.triggers import refuse

OUTSIDE = Peer("bank", ("dns:vpn.bank.example",))


def revoke(
    desk: Desk, serial: str, *, now: datetime = NOW, confirmed: int | None = None
) -> tuple[Affected, ...]:
    return revoking.revoke(desk, OPERATOR, serial, "superseded", now=now, confirmed=confirmed).cut


def progress(desk: Desk, serial: str, *, now: datetime = NOW) -> Reach:
    return reach.progress(desk, OPERATOR, serial, now=now)


def states(found: Reach) -> dict[str, str]:
    return {each.gateway: each.state for each in found.gateways}


@pytest.fixture
def pair(desk: Desk) -> tuple[Member, Member]:
    """Two gateways with a tunnel."""
    left, right = enlist(desk, "left.example"), enlist(desk, "right.example")
    connect(desk, "left-right", left, right)
    return left, right


# What is known of the tunnel's SA, in the words of its other end, and whether the tunnel ends.
CASES: list[tuple[str, Callable[[Member, Member], Any], bool]] = [
    ("nothing is known", lambda mine, peer: None, True),
    ("under it", lambda mine, peer: peer.sas(sa(mine.name, under=mine.leaf.fingerprint)), True),
    ("under an unknown one", lambda mine, peer: peer.sas(sa(mine.name)), True),
    ("under another one", lambda mine, peer: peer.sas(sa(mine.name, under="ab" * 32)), False),
]


@pytest.mark.parametrize(
    ("known", "ends"), [(c[1], c[2]) for c in CASES], ids=[c[0] for c in CASES]
)
def test_a_tunnel_is_counted_if_it_ends(
    desk: Desk, pair: tuple[Member, Member], known: Callable[[Member, Member], Any], ends: bool
) -> None:
    mine, peer = pair
    known(mine, peer)
    found = revoking.preview(desk, OPERATOR, mine.leaf.serial, now=NOW).cut
    assert [(each.gateway, each.tunnel) for each in found] == (
        [(peer.name, "left-right")] if ends else []
    )
    assert revoke(desk, mine.leaf.serial) == found


def test_the_old_certificate_of_a_renewed_gateway_ends_nothing_that_runs_on(
    desk: Desk, pair: tuple[Member, Member]
) -> None:
    mine, peer = pair
    old = mine.leaf
    new = mine.renew(now=later(60))
    assert revoking.preview(desk, OPERATOR, old.serial, now=NOW).cut == ()
    peer.sas(sa(mine.name, under=old.fingerprint))
    assert len(revoking.preview(desk, OPERATOR, old.serial, now=NOW).cut) == 1
    # Its agent says that the daemon still has the old one.
    peer.sas()
    mine.report(certificate=old.fingerprint, now=later(60))
    assert len(revoking.preview(desk, OPERATOR, old.serial, now=NOW).cut) == 1
    assert revoking.preview(desk, OPERATOR, new.serial, now=NOW).cut == ()
    mine.report(certificate=new.fingerprint, now=later(61))
    assert revoking.preview(desk, OPERATOR, old.serial, now=NOW).cut == ()


def test_each_tunnel_is_counted_once_and_unrecorded_connections_too(desk: Desk) -> None:
    mine, one, two = (enlist(desk, f"{name}.example") for name in ("mine", "one", "two"))
    connect(desk, "a", mine, one)
    connect(desk, "b", one, mine)
    connect(desk, "c", mine, OUTSIDE)
    under = mine.leaf.fingerprint
    one.sas(
        sa(mine.name, under=under, connection="a", number="1"),
        sa(mine.name, under=under, connection="a", number="2"),
    )
    two.sas(
        sa(mine.name, under=under, connection="x", number="3"),
        sa(mine.name, under=under, connection="x", number="4"),
        sa(mine.name, under=under, connection="y", number="5"),
    )
    found = revoking.preview(desk, OPERATOR, mine.leaf.serial, now=NOW).cut
    assert {(each.gateway, each.tunnel, each.connection, len(each.sas)) for each in found} == {
        (one.name, "a", None, 2),
        (one.name, "b", None, 0),
        (mine.name, "c", None, 0),
        (two.name, None, "x", 2),
        (two.name, None, "y", 1),
    }
    assert len(found) == 5


def test_a_certificate_of_an_outside_peer_is_cut_where_its_tunnel_ends(desk: Desk) -> None:
    mine = enlist(desk, "mine.example")
    connect(desk, "out", mine, Peer("gw9.example", ("dns:gw9.example",)))
    leaf = issue(desk, ["dns:gw9.example"])
    assert [(e.gateway, e.tunnel) for e in revoke(desk, leaf.serial)] == [(mine.name, "out")]
    drain(desk, NOW)
    [command] = mine.commands()
    assert command.detail["peer"]["identities"] == ["dns:gw9.example", "dn:CN=gw9.example"]


def test_only_a_revocation_cuts_and_only_once_it_is_published(
    desk: Desk, pair: tuple[Member, Member]
) -> None:
    mine, peer = pair
    revocation.hold(desk, OPERATOR, mine.leaf.serial, now=NOW)
    drain(desk, NOW)
    assert peer.commands() == []
    before = peer.state().mark.version
    revoke(desk, mine.leaf.serial, now=later(1))
    assert peer.commands() == []
    assert progress(desk, mine.leaf.serial).published_at is None
    drain(desk, later(2))
    assert progress(desk, mine.leaf.serial).published_at == later(2)
    [command] = peer.commands()
    assert peer.state().mark.version > before
    number = {each.authority: each.number for each in peer.state().crls}["issuing"]
    assert command.detail["crl"] == {"authority": "issuing", "number": number}


def test_certificates_that_are_still_good_are_named(
    desk: Desk, pair: tuple[Member, Member]
) -> None:
    mine, peer = pair
    old = mine.leaf
    new = mine.renew(now=later(1))
    revoke(desk, old.serial, now=later(2))
    drain(desk, later(2))
    [command] = peer.commands(now=later(2))
    assert command.good == (new.fingerprint,)
    revoke(desk, new.serial, now=later(3))
    drain(desk, later(3))
    assert [each.good for each in peer.commands(now=later(3))] == [(), ()]


def test_a_gateway_that_was_away_still_gets_its_command(
    desk: Desk, pair: tuple[Member, Member]
) -> None:
    mine, peer = pair
    peer.state()
    revoke(desk, mine.leaf.serial)
    drain(desk, NOW)
    assert states(progress(desk, mine.leaf.serial)) == {peer.name: "pending"}
    days = later(30 * 86400)
    assert states(progress(desk, mine.leaf.serial, now=days)) == {peer.name: "unreachable"}
    [command] = peer.commands(now=days)
    found = progress(desk, mine.leaf.serial, now=days)
    assert states(found) == {peer.name: "pending"}
    peer.report((command.id, "failed"), now=days, error="no socket")
    assert peer.commands(now=days) != []
    peer.report((command.id, "done"), now=days)
    found = progress(desk, mine.leaf.serial, now=days)
    assert states(found) == {peer.name: "confirmed"}
    assert found.gateways[0].confirmed_at == days
    assert peer.commands(now=days) == []


def test_the_gateway_itself_comes_last(desk: Desk, pair: tuple[Member, Member]) -> None:
    mine, peer = pair
    peer.state()
    before = _version(desk, mine)
    revoke(desk, mine.leaf.serial)
    drain(desk, NOW)
    for seconds in (2, 5, 10):
        drain(desk, later(seconds))
        assert _version(desk, mine) == before, "told before its peer answered"
    assert progress(desk, mine.leaf.serial).own == reach.Own(mine.name, None)
    [command] = peer.commands(now=later(11))
    peer.report((command.id, "done"), now=later(11))
    drain(desk, later(13))
    assert _version(desk, mine) > before
    own = progress(desk, mine.leaf.serial).own
    assert own == reach.Own(mine.name, later(13))
    drain(desk, later(60))
    with desk.store.read() as connection:
        topics = connection.scalars(select(outbox.c.topic)).all()
    assert reach.TOPIC not in topics


@pytest.mark.parametrize("seen", [True, False], ids=["silent for long", "unreachable"])
def test_the_gateway_itself_does_not_wait_for_ever(
    desk: Desk, pair: tuple[Member, Member], seen: bool
) -> None:
    mine, peer = pair
    if seen:
        peer.state()
    before = _version(desk, mine)
    revoke(desk, mine.leaf.serial)
    drain(desk, NOW)
    for seconds in range(0, 40 if seen else 3):
        drain(desk, later(seconds))
    assert _version(desk, mine) > before


def _version(desk: Desk, member: Member) -> int:
    with desk.store.read() as connection:
        query = select(gateways.c.version).where(gateways.c.name == member.name)
        return int(connection.execute(query).scalar_one())


def test_what_comes_to_light_later_is_cut_too_and_what_comes_back_again(desk: Desk) -> None:
    mine, stranger = enlist(desk, "mine.example"), enlist(desk, "stranger.example")
    revoke(desk, mine.leaf.serial)
    stranger.sas(sa(mine.name, under=mine.leaf.fingerprint))
    assert stranger.commands() == [], "before the list is out"
    drain(desk, later(1))
    [command] = stranger.commands()
    at = later(10)
    stranger.report((command.id, "done"), now=at)
    # A list that the daemon made before the cut says nothing new.
    stranger.sas(sa(mine.name, under=mine.leaf.fingerprint), at=later(5), now=at)
    assert stranger.commands(now=at) == []
    stranger.sas(sa(mine.name, under=mine.leaf.fingerprint), at=later(15), now=later(15))
    assert [each.id for each in stranger.commands(now=later(15))] == [command.id]
    late = enlist(desk, "late.example")
    late.sas(sa(mine.name, under=mine.leaf.fingerprint), now=later(20))
    assert len(late.commands(now=later(20))) == 1


def test_cut_off_between_list_and_command_it_is_made_up_for(
    desk: Desk, pair: tuple[Member, Member]
) -> None:
    mine, peer = pair
    revoke(desk, mine.leaf.serial)
    with refuse(desk.store, "INSERT", "gateway_commands"):
        drain(desk, later(1))
        assert peer.commands() == []
        assert progress(desk, mine.leaf.serial).published_at is not None, "the list is out"
    drain(desk, later(10))
    assert len(peer.commands(now=later(10))) == 1
    drain(desk, later(20))
    assert len(peer.commands(now=later(20))) == 1


def test_two_schedulers_command_once(
    desk: Desk, second_store: Store, pair: tuple[Member, Member]
) -> None:
    mine, _ = pair
    others = [enlist(desk, f"o{number}.example") for number in range(6)]
    for number, other in enumerate(others):
        connect(desk, f"t{number}", mine, other)
    revoke(desk, mine.leaf.serial)
    drain(desk, NOW)
    with desk.store.write() as connection:
        connection.execute(gateway_commands.delete())
        found = connection.execute(select(crls.c.number).where(crls.c.kind == "full")).scalars()
        number = max(found)
    certificate = revocation.pick  # the operations' own way to find it
    with desk.store.read() as connection:
        ended = certificate(connection, mine.leaf.serial, None)
    desks = [desk, reopened(desk, store=second_store)]

    def tell(which: int) -> int:
        return reach.tell(desks[which % 2], CLOCKWORK, "issuing", [ended.id], number, now=later(1))

    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(tell, range(4)))
    assert sum(made) == 7
    with desk.store.read() as connection:
        kinds = connection.execute(
            select(gateway_commands.c.kind, func.count()).group_by(gateway_commands.c.kind)
        ).all()
    assert {kind: count for kind, count in kinds} == {"cut": 7, "own": 1}


def test_all_who_trust_an_authority_hear_of_a_revocation_and_slowly_of_a_mere_refresh(
    desk: Desk,
) -> None:
    crew = [enlist(desk, f"gw{number}.example") for number in range(10)]
    drain(desk, NOW)

    def versions() -> list[int]:
        return [_version(desk, member) for member in crew]

    before = versions()
    revoke(desk, crew[0].leaf.serial)
    drain(desk, NOW)
    after = versions()
    assert after[1:] == [version + 1 for version in before[1:]]
    drain(desk, later(5))
    publication.publish_full(desk, CLOCKWORK, "issuing", now=later(3600))
    told = [reach.refresh(desk, CLOCKWORK, share=0.2, now=later(3600 + n)) for n in range(6)]
    assert told == [3, 3, 3, 1, 0, 0]
    assert reach.refresh(desk, CLOCKWORK, share=1.0, now=later(4000)) == 0
    with desk.store.read() as connection:
        numbers = connection.scalars(
            select(gateway_authorities.c.crl_number)
            .join(crls, crls.c.authority_id == gateway_authorities.c.authority_id)
            .where(crls.c.kind == "full", crls.c.number != gateway_authorities.c.crl_number)
        ).all()
    assert numbers == []


def test_a_revocation_above_the_limit_changes_nothing_until_it_is_confirmed(desk: Desk) -> None:
    small = reopened(desk, cut_limit=1)
    mine = enlist(small, "mine.example")
    for number in range(2):
        connect(small, f"t{number}", mine, enlist(small, f"p{number}.example"))
    for confirmed in (None, 0, 1):
        with pytest.raises(IkewardenError) as refused:
            revoke(small, mine.leaf.serial, confirmed=confirmed)
        assert refused.value.code == "cut_needs_approval"
        assert refused.value.details["tunnels"] == 2
    assert drain(small, NOW) == 0 or mine.commands() == []
    assert len(revoke(small, mine.leaf.serial, confirmed=2)) == 2


def test_who_agrees_to_more_is_not_held_up_by_tunnels_that_come_and_go(desk: Desk) -> None:
    small = reopened(desk, cut_limit=1)
    mine, other = enlist(small, "mine.example"), enlist(small, "other.example")
    under = mine.leaf.fingerprint

    def claim(count: int) -> None:
        names = [f"c{number}" for number in range(count)]
        other.sas(*(sa(mine.name, under=under, connection=name, number=name) for name in names))

    claim(5)
    agreed = len(revoking.preview(small, OPERATOR, mine.leaf.serial, now=NOW).cut)
    claim(4)  # the agent may say what it likes, anew every second
    assert len(revoke(small, mine.leaf.serial, confirmed=agreed)) == 4


def test_two_that_make_tunnels_between_the_same_gateways(desk: Desk, second_store: Store) -> None:
    one, two = enlist(desk, "one.example"), enlist(desk, "two.example")
    desks = [desk, reopened(desk, store=second_store)]

    def make(number: int) -> None:
        ends = (one.name, two.name) if number % 2 else (two.name, one.name)
        wanted = TunnelRequest(f"t{number}", *ends)
        tunnels.create(desks[number % 2], ADMIN, wanted, now=NOW)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(make, range(20)))
    assert _version(desk, one) == _version(desk, two) == 21


def test_an_sa_of_its_name_whose_certificate_nobody_saw_is_cut_without_a_tunnel_on_record(
    desk: Desk,
) -> None:
    mine, seen, unseen = (enlist(desk, f"{name}.example") for name in ("mine", "seen", "unseen"))
    unseen.sas(sa(mine.name, connection="own"), sa("other.example", connection="else", number="2"))
    seen.sas(sa(mine.name, under="ab" * 32))
    found = revoke(desk, mine.leaf.serial)
    assert [(e.gateway, e.tunnel, e.connection) for e in found] == [(unseen.name, None, "own")]
    assert [each.matched_by for each in found[0].sas] == ["identity"]
    drain(desk, later(1))
    assert len(unseen.commands()) == 1
    assert seen.commands() == []


def test_a_peer_that_calls_itself_by_its_subject_is_cut_too(desk: Desk) -> None:
    mine, peer = enlist(desk, "mine.example"), enlist(desk, "peer.example")
    peer.sas(sa("CN=mine.example", connection="own"))
    assert [each.connection for each in revoke(desk, mine.leaf.serial)] == ["own"]
    drain(desk, later(1))
    [command] = peer.commands()
    assert command.detail["peer"]["identities"] == ["dns:mine.example", "dn:CN=mine.example"]


@pytest.mark.parametrize("called", ["CN=mine.example", "*.example", "ab:cd:ef:01:23"])
def test_what_comes_to_light_later_is_known_by_its_certificate_whatever_the_peer_is_called(
    desk: Desk, called: str
) -> None:
    mine, late = enlist(desk, "mine.example"), enlist(desk, "late.example")
    revoke(desk, mine.leaf.serial)
    drain(desk, later(1))
    late.sas(sa(called, under=mine.leaf.fingerprint), now=later(2))
    assert len(late.commands(now=later(2))) == 1


def test_a_gateway_that_is_not_called_as_its_identity_is_known_too(desk: Desk) -> None:
    late = enlist(desk, "late.example")
    gateways_of.create(desk, OPERATOR, GatewayRequest("branch 7", ("dns:gw7.example",)), now=NOW)
    wanted = IssueRequest(
        csr=request(["dns:gw7.example"]), profile="gateway", authority="issuing", gateway="branch 7"
    )
    leaf = issuance.issue(desk, ADMIN, wanted, now=NOW)
    revoke(desk, leaf.serial)
    drain(desk, later(1))
    for called in ("gw7.example", "CN=gw7.example"):
        late.sas(sa(called, under=leaf.fingerprint), now=later(2))
        [command] = late.commands(now=later(2))
        late.report((command.id, "done"), now=later(2), at=later(1))


def test_what_comes_back_is_cut_again_whichever_way_the_gateways_clock_jumped(desk: Desk) -> None:
    mine, peer = enlist(desk, "mine.example"), enlist(desk, "peer.example")
    connect(desk, "t", mine, peer)
    revoke(desk, mine.leaf.serial)
    drain(desk, later(1))
    [command] = peer.commands()
    # The gateway's clock was a year ahead when it cut, and has been set right since.
    ahead = later(365 * 86400)
    peer.report((command.id, "done"), now=later(10), at=ahead)
    peer.sas(sa(mine.name, under=mine.leaf.fingerprint), at=later(11), now=later(11))
    assert peer.commands(now=later(11)) == [], "it may have been listed before the cut"
    back = later(600)
    peer.sas(sa(mine.name, under=mine.leaf.fingerprint), now=back)
    assert [each.id for each in peer.commands(now=back)] == [command.id]
