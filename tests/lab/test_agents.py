"""Agents feed charons: enrolled by one command each, renewed under traffic, revoked into the running tunnel."""

from pathlib import Path

import pytest

from tests.lab import Lab
from tests.lab.agents import COUNTED, TUNNEL, Fed, fleet, join, keys, passes, until
from tests.lab.errors import Refused
from tests.lab.rotating import bring_up
from tests.lab.traffic import ping_through, pinging, strays

RENEWALS = 10


def renew(fed: Fed) -> str:
    """Have a gateway renew, and wait until it reports the new certificate; gives its fingerprint."""
    before = fed.in_use
    fed.tell("renew")
    until(lambda: fed.in_use not in {None, before}, f"{fed.name} uses a new certificate")
    return str(fed.in_use)


def test_ten_renewals_lose_no_packet_and_keep_the_sas(lab: Lab, tmp_path: Path) -> None:
    names = ("gw-a", "gw-b")
    with fleet(lab, tmp_path / "instance", *names, settings=COUNTED) as (left, right):
        join(left, right)
        left.gateway.initiate(TUNNEL)
        ping_through(left.gateway, right.gateway)
        before = left.gateway.established(TUNNEL)
        assert before is not None
        used = {left.in_use}
        with pinging(left.gateway, right.gateway) as counted:
            for _ in range(RENEWALS):
                used.add(renew(left))
        assert len(used) == RENEWALS + 1
        assert counted[0].sent > 10
        assert counted[0].lost == 0, counted[0].output
        after = left.gateway.established(TUNNEL)
        assert after is not None
        assert after.number == before.number
        assert [each.spi_in for each in after.children] == [each.spi_in for each in before.children]
        # The peer is shown the new one at the next authentication, which may cost packets. Its agent would empty the
        # cache that shows it.
        right.stop()
        right.gateway.flush_certs("x509")
        with pinging(left.gateway, right.gateway) as counted:
            left.tell("reauthenticate", connection=TUNNEL)
            until(
                lambda: (
                    (sa := left.gateway.established(TUNNEL)) is not None
                    and sa.number != before.number
                ),
                "a fresh IKE_SA",
            )
        assert counted[0].lost <= strays(left.gateway, right.gateway), counted[0].output
        assert right.gateway.cached_serials(left.name) == [left.serials[0]]


def test_renewals_that_are_proven_by_reauthentication(lab: Lab, tmp_path: Path) -> None:
    names = ("gw-a", "gw-b")
    with fleet(lab, tmp_path / "instance", *names, proof="reauthenticate", settings=COUNTED) as (
        left,
        right,
    ):
        join(left, right)
        left.gateway.initiate(TUNNEL)
        ping_through(left.gateway, right.gateway)
        with pinging(left.gateway, right.gateway) as counted:
            right.stop()
            for _ in range(2):
                right.gateway.flush_certs("x509")
                renew(left)
                assert left.record["applied"]["proof"] == "authenticated"
                assert right.gateway.cached_serials(left.name) == [left.serials[0]]
        # charon sends on its new CHILD_SA a moment before its peer has it (docs/explanation/reload.md).
        assert counted[0].lost <= strays(left.gateway, right.gateway), counted[0].output


def test_a_revocation_ends_the_tunnel_and_it_cannot_come_back(lab: Lab, tmp_path: Path) -> None:
    with fleet(lab, tmp_path / "instance", "gw-a", "gw-b") as (left, right):
        join(left, right)
        left.gateway.initiate(TUNNEL)
        ping_through(left.gateway, right.gateway)
        (serial,) = right.serials
        path = f"/v1/certificates/{serial}"
        until(
            lambda: left.warden.call("GET", f"/v1/sas?gateway={left.name}")["items"],
            "the SA is reported",
        )
        preview = left.warden.call(
            "POST", f"{path}/revoke", {"reason": "keyCompromise", "dry_run": True}
        )
        assert preview["tunnels"] == 1
        left.warden.call("POST", f"{path}/revoke", {"reason": "keyCompromise"})
        until(lambda: left.gateway.established(TUNNEL) is None, "the tunnel has ended")
        until(
            lambda: (
                [each["state"] for each in left.warden.call("GET", f"{path}/reach")["gateways"]]
                == ["confirmed"]
            ),
            "the cut is confirmed",
        )
        (cut,) = left.warden.call("GET", f"{path}/reach")["gateways"][0]["cuts"]
        assert cut["matched_by"] == "certificate"
        mark = left.gateway.log.mark()
        with pytest.raises(Refused):
            right.gateway.initiate(TUNNEL)
        assert left.gateway.log.words("certificate was revoked", since=mark)


def test_a_gateway_that_is_cut_off_is_pending_until_it_is_back(lab: Lab, tmp_path: Path) -> None:
    with fleet(lab, tmp_path / "instance", "gw-a", "gw-b") as (left, right):
        join(left, right)
        left.gateway.initiate(TUNNEL)
        ping_through(left.gateway, right.gateway)
        left.stop()
        (serial,) = right.serials
        path = f"/v1/certificates/{serial}"
        left.warden.call("POST", f"{path}/revoke", {"reason": "keyCompromise"})
        until(
            lambda: left.warden.call("GET", f"{path}/reach")["gateways"],
            "the list is published, and the peers are known",
        )
        (gateway,) = left.warden.call("GET", f"{path}/reach")["gateways"]
        assert gateway["state"] in {"pending", "unreachable"}
        assert left.gateway.established(TUNNEL) is not None
        # A new authentication is refused all the same: charon asks the service under strict checking.
        left.gateway.flush_certs()
        left.gateway.terminate(TUNNEL)
        with pytest.raises(Refused):
            right.gateway.initiate(TUNNEL)
        left.start()
        until(
            lambda: left.warden.call("GET", f"{path}/reach")["gateways"][0]["state"] == "confirmed",
            "the cut is confirmed",
        )


def test_a_restarted_or_wiped_charon_is_fed_again(lab: Lab, tmp_path: Path) -> None:
    with fleet(lab, tmp_path / "instance", "gw-a", "gw-b") as (left, right):
        join(left, right, start_action="start")
        # The end that starts it may have the tunnel before the other, and would try again after half a minute.
        bring_up(left, right)
        # Nobody tells it to read its files: a packaged charon has its unit for that.
        left.gateway.kill()
        left.gateway.start()
        until(lambda: keys(left.gateway), "the key is back")
        until(lambda: passes(left, right), "packets pass again")
        left.gateway.load_credentials()  # unloads every key that has no file; ours has
        assert len(keys(left.gateway)) == 1
        with left.gateway.session() as session:
            session.clear_creds()
        until(lambda: keys(left.gateway), "the key is back after a wipe")
