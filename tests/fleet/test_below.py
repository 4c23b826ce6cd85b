"""The certificate of a CA: what stands below it is counted, agreed to and shown."""

import pytest
from sqlalchemy import select

from core.errors import IkewardenError
from fleet import gateways, reach, revoking, tunnels
from fleet.concern import affected
from fleet.gateways import GatewayQuery
from fleet.tunnels import Peer, TunnelQuery
from pki import authorities, certificates
from pki.certificates import CertificateQuery
from pki.desk import Desk
from store.tables import certificates as certificates_table
from tests.fixtures.desk import ADMIN, NOW, OPERATOR, drain, reopened
from tests.fleet.crew import Member, connect, enlist, later, sa
from tests.pki.acts import issue


def ca(desk: Desk, name: str = "issuing") -> str:
    """The serial number of an authority's own certificate."""
    return authorities.load(desk, name).serial


@pytest.fixture
def fleet(desk: Desk) -> list[Member]:
    """Three gateways under one CA: a tunnel between two, one to an outside peer, a connection on no record."""
    members = [enlist(desk, f"{name}.example") for name in ("one", "two", "three")]
    one, two, three = members
    connect(desk, "one-two", one, two)
    connect(desk, "bank", three, Peer("bank", ("dns:vpn.bank.example",)))
    three.sas(sa(one.name, under=one.leaf.fingerprint, connection="wild"))
    return members


def test_all_below_it_is_counted_once(desk: Desk, fleet: list[Member]) -> None:
    issue(desk, ["dns:loose.example"])
    found = revoking.preview(desk, OPERATOR, ca(desk), now=NOW)
    assert found.below is not None
    assert found.below.authorities == ("issuing",)
    assert (found.below.certificates, found.below.gateways) == (4, 4)
    assert sorted((each.tunnel, each.connection) for each in found.cut if each.tunnel) == [
        ("bank", None),
        ("one-two", None),
    ]
    assert [each.connection for each in found.cut if each.tunnel is None] == ["wild"]
    # What is on hold may come back; what is revoked or over is gone anyway.
    revoking.hold(desk, OPERATOR, fleet[0].leaf.serial, now=NOW)
    revoking.revoke(desk, OPERATOR, fleet[2].leaf.serial, "superseded", now=NOW)
    found = revoking.preview(desk, OPERATOR, ca(desk), now=NOW)
    assert found.below is not None
    assert found.below.certificates == 3
    assert revoking.preview(desk, OPERATOR, fleet[0].leaf.serial, now=NOW).below is None
    over = revoking.preview(desk, OPERATOR, ca(desk), now=later(86400 * 3000))
    assert over.below is not None
    assert over.below.certificates == 0


def test_tunnels_below_are_those_that_its_certificates_would_end(
    desk: Desk, fleet: list[Member]
) -> None:
    one, two, three = fleet
    old = one.leaf
    one.renew(now=later(1))
    two.report(certificate="ab" * 32)  # another CA's
    two.sas(sa(one.name, under=old.fingerprint, connection="one-two"))
    with desk.store.read() as connection:
        query = select(certificates_table.c.serial, certificates_table.c.gateway).where(
            certificates_table.c.gateway.is_not(None)
        )
        leaves = [
            certificates.pick(connection, row.serial, None) for row in connection.execute(query)
        ]
        each = [affected(connection, revoking.subject_of(leaf)) for leaf in leaves]
    apart = {(it.tunnel, it.connection) for some in each for it in some}
    together = revoking.preview(desk, OPERATOR, ca(desk), now=NOW).cut
    assert {(it.tunnel, it.connection) for it in together} == apart
    assert len(together) == len(apart)
    assert three.name in {it.gateway for it in together}


@pytest.mark.parametrize("act", ["revoke", "hold"])
def test_above_the_limit_nothing_happens_until_it_is_confirmed(
    desk: Desk, fleet: list[Member], act: str
) -> None:
    small = reopened(desk, cut_limit=2)

    def do(confirmed: int | None) -> None:
        if act == "hold":
            revoking.hold(small, ADMIN, ca(desk), now=NOW, confirmed=confirmed)
        else:
            revoking.revoke(small, ADMIN, ca(desk), "cACompromise", now=NOW, confirmed=confirmed)

    for confirmed in (None, 2):
        with pytest.raises(IkewardenError) as refused:
            do(confirmed)
        assert refused.value.code == "cut_needs_approval"
        assert refused.value.details["to_confirm"] == 3
        assert refused.value.details["certificates"] == 3
        assert "--yes-i-cut 3" in refused.value.next_step
    assert certificates.get(desk, ADMIN, ca(desk)).status == "valid"
    do(3)
    assert certificates.get(desk, ADMIN, ca(desk)).status != "valid"


def test_certificates_count_where_no_gateway_is_registered(desk: Desk) -> None:
    small = reopened(desk, cut_limit=1)
    for number in range(2):
        issue(desk, [f"dns:gw{number}.example"])
    with pytest.raises(IkewardenError) as refused:
        revoking.revoke(small, ADMIN, ca(desk), "superseded", now=NOW)
    assert refused.value.code == "cut_needs_approval"


def test_lists_show_that_a_ca_is_not_in_force(desk: Desk, fleet: list[Member]) -> None:
    one = fleet[0]
    other = issue(desk, ["dns:other.example"], authority="sharded", profile="gateway-sharded")

    def shown() -> tuple[bool, bool, bool]:
        found = certificates.search(desk, OPERATOR, CertificateQuery(q=one.name), now=NOW)
        [tunnel] = tunnels.search(desk, OPERATOR, TunnelQuery(q="one-two"))
        return (
            all(each.in_force for each in found),
            certificates.get(desk, OPERATOR, one.leaf.serial).in_force,
            tunnel.ends_at is not None,
        )

    assert shown() == (True, True, True)
    revoking.hold(desk, ADMIN, ca(desk), now=NOW)
    assert shown() == (False, False, False)
    assert certificates.get(desk, OPERATOR, other.serial).in_force
    [member] = gateways.search(desk, OPERATOR, GatewayQuery(q=one.name), now=NOW)
    assert member.ends_at is None


def test_how_far_it_has_got_tells_what_is_below(desk: Desk, fleet: list[Member]) -> None:
    revoking.revoke(desk, ADMIN, ca(desk), "cACompromise", now=NOW)
    drain(desk, NOW)
    found = reach.progress(desk, OPERATOR, ca(desk), now=NOW)
    assert found.below is not None
    assert (found.below.certificates, found.gateways) == (3, ())
