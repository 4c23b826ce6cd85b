"""Juniper SRX: kmd and iked, composed from the documented forms."""

# ruff: noqa: E501 - lines of logs are long

import pytest
from hypothesis import given, settings

from ike.events.dialects.log_juniper import CUE, Parser
from tests.events.said import events_of, one, pieces, survives

ENDS = "VPN: vpn-a Gateway: gw-a, Local: 192.0.2.1/500, Remote: 198.51.100.2/500, Local IKE-ID: Not-Available, Remote IKE-ID: Not-Available, VR-ID: 0, Role: Responder"
P1 = "p1_local=ipv4(udp:500,[0..3]=192.0.2.1) p1_remote=ipv4(udp:500,[0..3]=198.51.100.2)"
FAR = {"peer": "198.51.100.2"}
VPN = {**FAR, "connection": "vpn-a"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("KMD_PM_SA_ESTABLISHED: Local gateway: 192.0.2.1, Remote gateway: 198.51.100.2, Local ID: ipv4_subnet(any:0,[0..7]=10.1.0.0/16), Direction: inbound, SPI: 0x0a1b2c3d, AUX-SPI: 0, Mode: Tunnel", [{"event": "child_established", **FAR, "spi_in": "0a1b2c3d"}]),
        ("KMD_PM_SA_ESTABLISHED: Local gateway: 192.0.2.1, Remote gateway: 198.51.100.2, Direction: outbound, SPI: 0x4e5f6071, AUX-SPI: 0", [{"event": "child_established", **FAR, "spi_out": "4e5f6071"}]),
        ("KMD_VPN_UP_ALARM_USER: VPN vpn-a from 198.51.100.2 is up. Local-ip: 192.0.2.1, gateway name: gw-a, vpn name: vpn-a, tunnel-id: 131073", [{"event": "child_established", **VPN}]),
        ("KMD_VPN_DOWN_ALARM_USER: VPN vpn-a from 198.51.100.2 is down. Local-ip: 192.0.2.1, gateway name: gw-a, vpn name: vpn-a, Reason: IPSec SA delete payload received from peer, corresponding IPSec SAs cleared", [{"event": "child_closed", **VPN}]),
        ("KMD_VPN_DOWN_ALARM_USER: VPN vpn-a from 198.51.100.2 is down. Local-ip: 192.0.2.1, Reason: DPD detected peer as down. Existing IKE/IPSec SAs cleared", [{"event": "dpd_timeout", **VPN}, {"event": "ike_deleted", **VPN}, {"event": "child_closed", **VPN}]),
        ("KMD_VPN_DOWN_ALARM_USER: VPN vpn-a from 198.51.100.2 is down. Local-ip: 192.0.2.1, Reason: Tunnel configuration is deleted. Corresponding IKE/IPSec SAs are deleted", [{"event": "ike_deleted", **VPN}, {"event": "child_closed", **VPN}]),
        ("IKE Phase-2: Failed to match the peer proxy IDs [p2_remote_proxy_id=ipv4_subnet(any:0,[0..7]=10.2.0.0/16)] for local ip: 192.0.2.1, remote peer ip:198.51.100.2", [{"event": "ts_unacceptable", **FAR}]),
        (f"IKE negotiation successfully completed. IKE Version: 2, {ENDS}", [{"event": "ike_established", **VPN}]),
        (f"IKE negotiation failed with error: No proposal chosen. IKE Version: 1, {ENDS}", [{"event": "proposal_mismatch", **VPN}]),
        (f"IKE negotiation failed with error: Timed out. IKE Version: 2, {ENDS}", [{"event": "ike_timeout", **VPN}]),
        (f"IKE negotiation failed with error: Authentication failed. IKE Version: 2, {ENDS}", [{"event": "auth_failed", **VPN}]),
        (f"IKE negotiation failed with error: TS unacceptable. IKE Version: 2, {ENDS}", [{"event": "ts_unacceptable", **VPN}]),
        (f"IKE negotiation failed with error: Peer's IKE-ID validation failed during negotiation. IKE Version: 1, {ENDS}", [{"event": "unknown_peer", **VPN}]),
        (f"IKE negotiation failed with error: SA unusable. IKE Version: 1, {ENDS}", []),
        ("IKE Phase-1: (Responder) Policy lookup failed [local_ip=192.0.2.1, remote_ip=198.51.100.2]", [{"event": "unknown_peer", **FAR}]),
        ("IKE Phase-2 Failure: Quick mode - no proposal chosen [spi=0a1b2c3d, src_ip=<none>, dst_ip=198.51.100.2]", [{"event": "proposal_mismatch", **FAR}]),
        (f"KMD_PM_P2_POLICY_LOOKUP_FAILURE: Policy lookup for Phase-2 [responder] failed for {P1} p2_local=ipv4_subnet(any:0,[0..7]=10.1.0.0/16)", [{"event": "ts_unacceptable", **FAR}]),
        ("Phase-1 [responder] done for local=ipv4(udp:500,[0..3]=192.0.2.1) remote=ipv4(udp:500,[0..3]=198.51.100.2)", [{"event": "ike_established", **FAR}]),
        (f"Phase-2 [initiator] done for {P1}", [{"event": "child_established", **FAR}]),
        (f"Phase-2 [initiator] failed with error(Timeout) for {P1}", [{"event": "giving_up", **FAR}]),
        ("KMD_VPN_TS_MISMATCH: Traffic-selector mismatch, vpn name: vpn-a, Peer Proposed traffic-selector local-ip: ipv4(10.1.0.0-10.1.0.255), Peer Proposed traffic-selector remote-ip: ipv4(10.2.0.0-10.2.0.255)", [{"event": "ts_unacceptable", "connection": "vpn-a"}]),
        ("KMD_DPD_PEER_DOWN: DPD detected peer 198.51.100.2 is dead", [{"event": "dpd_timeout", **FAR}]),
        ("Config download: Processed 4 - 5 messages", []),
    ],
)  # fmt: skip
@pytest.mark.parametrize("daemon", ["kmd[1379]", "iked[1379]"])
def test_a_sentence(daemon: str, text: str, expected: list[dict[str, object]]) -> None:
    line = f"Mar  2 08:15:00  srx-a {daemon}: {text}"
    assert CUE.search(line.encode())
    assert one(Parser(), line) == expected


def test_structured_syslog_with_and_without_its_sentence() -> None:
    head = '<28>1 2026-03-02T08:15:00.100+01:00 srx-a kmd 1379 KMD_VPN_DOWN_ALARM_USER [junos@2636.1.1.1.2.129 vpn-name="vpn-a" remote-address="198.51.100.2" local-address="192.0.2.1" gateway-name="gw-a" reason="IPSec SA delete payload received"]'
    for line in (head, f"{head} VPN vpn-a from 198.51.100.2 is down."):
        assert one(Parser(), line) == [{"event": "child_closed", **VPN}]


@pytest.mark.parametrize("head", ["1379 - - ", "- - - ", "1379 - [junos@2636.1.1.1.2.129] "])
def test_structured_syslog_without_a_code(head: str) -> None:
    said = f"IKE negotiation failed with error: No proposal chosen. IKE Version: 2, {ENDS}"
    line = f"<29>1 2026-03-02T08:15:00.100Z srx-a kmd {head}{said}"
    assert CUE.search(line.encode())
    assert one(Parser(), line) == [{"event": "proposal_mismatch", **VPN}]


def test_placeholders_masks_and_names_with_blanks() -> None:
    up = "srx kmd[1]: KMD_VPN_UP_ALARM_USER: VPN site b #2 from x.x.x.x is up. Local-ip: y.y.y.y"
    assert one(Parser(), up) == [
        {"event": "child_established", "peer": "x.x.x.x", "connection": "site b #2"}
    ]
    (event,) = events_of(
        Parser(),
        "srx kmd[1]: IKE negotiation failed with error: Timed out. IKE Version: 2, VPN: Not-Available Gateway: gw-a, Local: 192.0.2.1/500, Remote: 2001:db8::2/500",
    )
    assert (event.peer, event.connection) == ("2001:db8::2", "gw-a")


@settings(max_examples=300, deadline=None)
@given(
    pieces(
        [
            "srx kmd[1]: ",
            "KMD_VPN_DOWN_ALARM_USER: VPN ",
            " from 192.0.2.9 is down. ",
            "Reason: ",
            "[junos@2636.1 vpn-name=",
            "IKE negotiation failed with error: ",
            "Remote: ",
            "SPI: 0x",
            "Direction: inbound",
        ]
    )
)
def test_nothing_breaks_it(log: bytes) -> None:
    survives(Parser, log)
