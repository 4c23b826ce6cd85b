"""What a limited credential is shown of an answer that is about more than it may know."""

import pytest
from sqlalchemy import update

from fleet import census as fleet_census
from fleet import reach, revoking, tunnels
from fleet.findings import summary
from fleet.rotation import ages, shown, slots
from fleet.rotation.shown import RotationQuery
from fleet.rotation.slots import SlotRequest
from fleet.tunnels import Peer, TunnelRequest
from pki import census, profiles, publication, tokens
from pki.actors import Actor, OutsideScope, Role, Scope
from pki.desk import Desk
from pki.tokens import TokenRequest
from store.rotation_tables import rotations
from tests.fixtures.desk import ADMIN, NOW, OPERATOR, drain
from tests.fleet.auditing import audited, found
from tests.fleet.crew import Member, connect, enlist, sa

OWN, FRIEND, ALIEN = "own.example", "friend.example", "alien.example"
TIED = Actor("olga", Role.OPERATOR, scope=Scope(gateway=OWN))
BANK = Peer("bank", ("dns:vpn.bank.example",))


def _fleet(desk: Desk) -> tuple[Member, Member, Member]:
    own, friend, alien = (enlist(desk, name) for name in (OWN, FRIEND, ALIEN))
    connect(desk, "own-friend", own, friend)
    connect(desk, "alien-friend", friend, alien)
    return own, friend, alien


def test_who_cuts_is_counted_and_only_neighbours_are_named(desk: Desk) -> None:
    own, _, alien = _fleet(desk)
    alien.sas(sa(f"dns:{OWN}", under=own.leaf.fingerprint, connection="x"))
    all_of_it = revoking.preview(desk, OPERATOR, own.leaf.serial, now=NOW)
    part = revoking.preview(desk, TIED, own.leaf.serial, now=NOW)
    assert len(part.cut) == len(all_of_it.cut) == 2
    assert {each.gateway for each in part.cut} == {FRIEND, None}
    assert [each.sas for each in part.cut if each.gateway is None] == [()]
    assert revoking.revoke(desk, TIED, own.leaf.serial, "superseded", now=NOW).cut == part.cut
    drain(desk, NOW)
    whole, part_of_it = (
        {
            each.gateway: each
            for each in reach.progress(desk, who, own.leaf.serial, now=NOW).gateways
        }
        for who in (OPERATOR, TIED)
    )
    assert set(part_of_it) == {FRIEND, None}
    assert part_of_it[FRIEND] == whole[FRIEND]
    assert (part_of_it[None].state, part_of_it[None].cuts) == (whole[ALIEN].state, ())


def test_a_rotation_that_is_in_the_way_at_the_other_end_has_no_name(desk: Desk) -> None:
    _fleet(desk)
    for tunnel in ("own-friend", "alien-friend"):
        slots.create(desk, ADMIN, tunnel, SlotRequest(), now=NOW)
    theirs, ours = shown.search(desk, OPERATOR, RotationQuery())
    with desk.store.write() as connection:
        values = {"state": "promoted", "entered_at": NOW}
        connection.execute(update(rotations).where(rotations.c.id == theirs.id).values(**values))
    whole = shown.rotation(desk, OPERATOR, ours.id, now=NOW).waits_for
    part = shown.rotation(desk, TIED, ours.id, now=NOW).waits_for
    assert whole is not None
    assert f"rotation {theirs.id} (alien-friend.psk, promoted" in whole
    assert part == "Waits for a rotation of another tunnel at its gateways."
    assert [each.id for each in shown.search(desk, TIED, RotationQuery())] == [ours.id]
    with pytest.raises(OutsideScope):
        shown.search(desk, TIED, RotationQuery(tunnel="alien-friend"))


def test_figures_are_of_the_gateway(desk: Desk) -> None:
    own, _, alien = _fleet(desk)
    for tunnel in ("own-friend", "alien-friend"):
        slots.create(desk, ADMIN, tunnel, SlotRequest(), now=NOW)
    audited(own, found())
    audited(alien, found(), found("psk-old"))
    secrets = shown.figures(desk, TIED, now=NOW)
    assert (secrets.all, sum(secrets.states.values())) == (1, 1)
    assert shown.figures(desk, OPERATOR, now=NOW).all == 2
    findings = summary.figures(desk, TIED, now=NOW)
    assert (findings.reported, findings.missing, sum(findings.open.values())) == (1, 0, 1)
    assert sum(summary.figures(desk, OPERATOR, now=NOW).open.values()) == 3
    counts, remaining, _ = census.figures(desk, TIED, now=NOW)
    assert {labels: number for labels, number in counts.samples.items() if number} == {
        ("valid",): 1
    }
    assert sum(remaining.samples.values()) == 1
    for tied, all_of_them in zip(
        fleet_census.figures(desk, TIED, now=NOW),
        fleet_census.figures(desk, OPERATOR, now=NOW),
        strict=True,
    ):
        if tied.family in (fleet_census.GATEWAYS, fleet_census.TUNNELS):
            assert sum(tied.samples.values()) < sum(all_of_them.samples.values())
    assert sum(ages.figures(desk, TIED, now=NOW)[0].samples.values()) <= 1


def test_a_tunnel_needs_both_to_begin_and_either_to_end(desk: Desk) -> None:
    own, friend, _ = _fleet(desk)
    for left, right in ((own.name, friend.name), (friend.name, own.name), (friend.name, BANK)):
        with pytest.raises(OutsideScope):
            tunnels.create(desk, TIED, TunnelRequest("another", left, right), now=NOW)
    made = tunnels.create(desk, TIED, TunnelRequest("own-bank", own.name, BANK), now=NOW)
    assert tunnels.get(desk, TIED, "own-bank") == made
    for refused in (tunnels.get, lambda d, a, n: tunnels.remove(d, a, n, now=NOW)):
        with pytest.raises(OutsideScope):
            refused(desk, TIED, "alien-friend")
    for name in ("own-bank", "own-friend"):
        tunnels.remove(desk, TIED, name, now=NOW)


def test_other_limits_cut_lists_too(desk: Desk) -> None:
    limited = Actor(
        "otto", Role.OPERATOR, scope=Scope(profiles=("gateway",), authorities=("issuing",))
    )
    assert [each.name for each in profiles.list_(desk, limited)] == ["gateway"]
    with pytest.raises(OutsideScope):
        profiles.get(desk, limited, "host")
    assert {name for name, *_ in publication.staleness(desk, limited)} == {"issuing"}
    enlist(desk, OWN)
    peer = Peer("shop", ("dns:shop.example",), "sharded")
    with pytest.raises(OutsideScope):
        tunnels.create(desk, limited, TunnelRequest("t", OWN, peer), now=NOW)
    for scope in (limited.scope, Scope(profiles=("host",)), Scope(profiles=("gateway",))):
        request = TokenRequest("x", Role.ENROLLER, scope, uses=1)
        tokens.create(desk, ADMIN, request, now=NOW)
    seen = tokens.list_(desk, limited, after=None, limit=9)
    assert [each.scope for each in seen] == [limited.scope]
