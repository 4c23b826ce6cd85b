"""FortiGates: event records and the console, composed from the documented forms."""

# ruff: noqa: E501 - lines of logs are long

import pytest
from hypothesis import given, settings

from ike.events.dialects.log_fortigate import CUE, Parser
from tests.events.said import events_of, one, pieces, shown, survives

HEAD = 'date=2026-03-02 time=08:15:00 devname="fgt-a" logid="0101037127" type="event" subtype="vpn" level="notice" vd="root" '
FAR = "remip=198.51.100.2 locip=192.0.2.1 remport=500 locport=500 "
PEER = {"peer": "198.51.100.2", "connection": "to branch"}


@pytest.mark.parametrize(
    ("fields", "kinds"),
    [
        ('action="negotiate" status="success" mode="main" dir="outbound" stage=1 role="initiator" result="OK"', ["ike_initiate"]),
        ('action="negotiate" status="success" mode="main" dir="inbound" stage=2 role="initiator" result="OK"', []),
        ('action="negotiate" status="success" mode="aggressive" dir="inbound" stage=1 role="responder" result="OK"', ["ike_respond"]),
        ('action="negotiate" status="success" init="remote" exch="SA_INIT" dir="inbound" stage=1 result="OK"', ["ike_respond"]),
        ('action="negotiate" status="success" mode="main" dir="outbound" stage=3 role="initiator" result="DONE"', ["ike_established"]),
        ('logdesc="Progress IPsec phase 2" action="negotiate" status="success" mode="quick" stage=2 result="DONE"', ["child_established"]),
        ('action="phase1-up"', ["ike_established"]),
        ('action="phase1-down"', ["ike_deleted"]),
        ('action="delete_phase1_sa" msg="delete IPsec phase 1 SA"', ["ike_deleted"]),
        ('action="phase2-up"', ["child_established"]),
        ('action="phase2-down"', ["child_closed"]),
        ('action="tunnel-up" tunneltype="ipsec"', ["child_established"]),
        ('action="tunnel-down" tunneltype="ipsec"', ["child_closed"]),
        ('action="tunnel-stats" tunneltype="ipsec"', []),
        ('action="dpd" status="dpd_failure"', ["dpd_timeout"]),
        ('action="negotiate" status="negotiate_error" reason="peer SA proposal not match local policy"', ["proposal_mismatch"]),
        ('action="negotiate" status="negotiate_error" reason="no matching gateway for new request"', ["unknown_peer"]),
        ('action="negotiate" status="negotiate_error" reason="probable pre-shared secret mismatch"', ["auth_failed"]),
        ('action="negotiate" status="negotiate_error" reason="peer notification" peer_notif="TS-UNACCEPTABLE"', ["ts_unacceptable"]),
        ('action="negotiate" status="failure" mode="main" stage=1 role="initiator" result="ERROR"', []),
        ('logdesc="IPsec ESP" action="error" status="esp_error" error_num="Received ESP packet with unknown SPI."', []),
    ],
)  # fmt: skip
def test_a_record(fields: str, kinds: list[str]) -> None:
    line = f'{HEAD}{FAR}{fields} vpntunnel="to branch"'
    assert CUE.search(line.encode())
    assert one(Parser(), line) == [{"event": kind, **PEER} for kind in kinds]


@pytest.mark.parametrize(
    ("fields", "identity"),
    [
        ('user="branch-7" xauthuser="N/A"', "branch-7"),
        ('user="branch-7"', "branch-7"),
        ('user="branch-7" xauthuser="ada"', "ada"),
        ('user="N/A" xauthuser="N/A"', None),
    ],
)
def test_who_it_is_about(fields: str, identity: str | None) -> None:
    failure = (
        'action="negotiate" status="negotiate_error" reason="probable pre-shared secret mismatch"'
    )
    (event,) = events_of(Parser(), f"{HEAD}{FAR}{fields} {failure}")
    assert (event.kind, event.identity) == ("auth_failed", identity)


def test_a_record_with_spis_and_one_of_old_firmware() -> None:
    line = (
        f'{HEAD}{FAR}action="install_sa" vpntunnel="to branch" in_spi="0a1b2c3d" out_spi="4e5f6071"'
    )
    expected = {"event": "child_established", **PEER, "spi_in": "0a1b2c3d", "spi_out": "4e5f6071"}
    assert one(Parser(), line) == [expected]
    old = "type=event subtype=ipsec action=tunnel-down rem_ip=198.51.100.2 loc_ip=192.0.2.1 vpn_tunnel=hq sentbyte=7 rcvdbyte=8"
    (event,) = events_of(Parser(), old)
    assert (event.kind, event.peer, event.connection, event.size) == (
        "child_closed",
        "198.51.100.2",
        "hq",
        15,
    )


def test_a_record_in_common_event_format() -> None:
    line = (
        "<189>Mar  2 08:15:00 fgt-a CEF:0|Fortinet|Fortigate|v7.0.1|37138|event:vpn negotiate|6|"
        "deviceExternalId=FGT1 FTNTFGTtype=event FTNTFGTsubtype=vpn FTNTFGTlogdesc=IPsec phase 1 error act=negotiate "
        "FTNTFGTremip=198.51.100.2 FTNTFGTvpntunnel=to branch FTNTFGTstatus=negotiate_error "
        "FTNTFGTreason=peer SA proposal not match local policy"
    )
    assert one(Parser(), line) == [{"event": "proposal_mismatch", **PEER}]


def test_a_placeholder_is_no_name_and_a_mask_stays() -> None:
    line = f'{HEAD}remip=x.x.x.x action="phase1-up" vpntunnel="N/A"'
    assert one(Parser(), line) == [{"event": "ike_established", "peer": "x.x.x.x"}]


def test_other_vpns_and_words_in_quotes_say_nothing() -> None:
    ssl = f'{HEAD}logdesc="SSL VPN tunnel up" action="tunnel-up" tunneltype="ssl-tunnel" {FAR}'
    assert one(Parser(), ssl) == []
    planted = f'{HEAD}{FAR}user="a action=phase1-up vpntunnel=b" action="tunnel-stats"'
    assert one(Parser(), planted) == []


TUN = {"connection": "hq", "ike_id": 7}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ike 0:hq:7: initiator: main mode is sending 1st message...", [{"event": "ike_initiate", **TUN}]),
        ("ike 0:hq:7: sent IKE msg (SA_INIT): 192.0.2.1:500->198.51.100.2:500, len=280", [{"event": "ike_initiate", "peer": "198.51.100.2", **TUN}]),
        ("ike 0:hq:7: sent IKE msg (AUTH): 192.0.2.1:500->198.51.100.2:500, len=240", []),
        ("ike 0:hq:7: sent IKE msg (RETRANSMIT_SA_INIT): 192.0.2.1:500->198.51.100.2:500", [{"event": "retransmit", "peer": "198.51.100.2", **TUN}]),
        ("ike 0:hq:7: responder received SA_INIT msg", [{"event": "ike_respond", **TUN}]),
        ("ike V=root:0:hq:7: established IKE SA 00112233aabbccdd/0123456789abcdef", [{"event": "ike_established", **TUN}]),
        ("ike 0:hq:7:nets:31: add IPsec SA: SPIs=0a1b2c3d/4e5f6071", [{"event": "child_established", **TUN, "child": "nets", "child_id": 31, "spi_in": "0a1b2c3d", "spi_out": "4e5f6071"}]),
        ("ike 0:hq:nets: IPsec SA 0a1b2c3d/4e5f6071 hard expired 5 192.0.2.1->198.51.100.2:0", [{"event": "child_closed", "connection": "hq", "child": "nets", "spi_in": "0a1b2c3d", "spi_out": "4e5f6071"}]),
        ("ike 0:hq:7: recv IPsec SA delete, spi count 1", [{"event": "child_closed", **TUN}]),
        ("ike 0:hq: deleting IPsec SA with SPI 4e5f6071", [{"event": "child_closed", "connection": "hq", "spi_out": "4e5f6071"}]),
        ("ike 0:hq:7: send IPsec SA delete, spi 0a1b2c3d", [{"event": "child_closed", **TUN, "spi_in": "0a1b2c3d"}]),
        ("ike 0:hq:7: send IKE SA delete 00112233aabbccdd/0123456789abcdef", [{"event": "ike_deleted", **TUN}]),
        ("ike 0:hq:7: negotiation timeout, deleting", [{"event": "ike_timeout", **TUN}]),
        ("ike 0:00112233aabbccdd/0000000000000000:9: no SA proposal chosen", [{"event": "proposal_mismatch", "ike_id": 9}]),
        ("ike Negotiate ISAKMP SA Error: ike 0:00112233aabbccdd/0000000000000000:9: no SA proposal chosen", [{"event": "proposal_mismatch", "ike_id": 9}]),
        ("ike 0:hq:7: received notify type AUTHENTICATION_FAILED", [{"event": "auth_failed", **TUN}]),
        ("ike 0:hq:7: received notify type INVALID_KE_PAYLOAD", [{"event": "invalid_ke", **TUN}]),
        ("ike 0:hq:7: processing notify type NAT_DETECTION_SOURCE_IP", []),
        ("ike 0:hq:7: PSK auth failed: probable pre-shared key mismatch", [{"event": "auth_failed", **TUN}]),
        ("ike 0:hq:7:31: specified selectors mismatch", [{"event": "ts_unacceptable", **TUN, "child_id": 31}]),
        ("ike 0: comes 198.51.100.2:500->192.0.2.1:500,ifindex=3....", []),
        ("ike 0:hq: link is idle 3 192.0.2.1->198.51.100.2:0 dpd=1 seqno=4", []),
    ],
)  # fmt: skip
def test_a_line_of_the_console(text: str, expected: list[dict[str, object]]) -> None:
    assert one(Parser(), f"2026-03-02 08:15:00.100200 {text}") == expected


def test_the_first_packet_says_nothing_new_after_the_sentence() -> None:
    log = (
        "ike 0:hq: no suitable IKE_SA, queuing CHILD_SA request and initiating IKE_SA negotiation\n"
        "ike 0:hq:7: sent IKE msg (SA_INIT): 192.0.2.1:500->198.51.100.2:500, len=288\n"
    )
    assert shown(Parser(), log * 2) == [
        {"line": number, "event": "ike_initiate", "connection": "hq"} for number in (1, 3)
    ]


def test_the_peer_of_a_line_that_shows_none_is_that_of_the_packets() -> None:
    log = (
        "ike 0: comes 198.51.100.2:500->192.0.2.1:500,ifindex=3....\n"
        "ike 0:00112233aabbccdd/0000000000000000:9: responder: main mode get 1st message...\n"
        "ike 0:hq:7: sent IKE msg (AUTH): 192.0.2.1:500->203.0.113.9:500, len=80\n"
        "ike 0:hq:7: negotiation timeout, deleting\n"
    )
    assert [(each.kind, each.peer, each.source) for each in events_of(Parser(), log)] == [
        ("ike_respond", None, "198.51.100.2"),
        ("ike_timeout", None, "203.0.113.9"),
    ]


def test_lines_keep_their_numbers() -> None:
    log = "x\nike 0:hq:7: responder received SA_INIT msg\n\nike 0:hq:7: negotiation timeout, deleting\n"
    assert [each["line"] for each in shown(Parser(), log)] == [2, 4]


@settings(max_examples=300, deadline=None)
@given(
    pieces(
        [
            HEAD,
            FAR,
            'action="install_sa" ',
            "in_spi=",
            'reason="',
            "ike 0:a:1: ",
            "ike V=root:0:",
            "established IKE SA ",
            "SPIs=0a1b2c3d/",
        ]
    )
)
def test_nothing_breaks_it(log: bytes) -> None:
    survives(Parser, log)


@pytest.mark.parametrize(
    "raw",
    [b'subtype=vpn a="' + b'\\"' * 500_000, b"subtype=vpn " + b"a" * 1_000_000, b"ike 0:" + b"a:" * 500_000],
)  # fmt: skip
def test_a_line_of_a_megabyte(raw: bytes) -> None:
    survives(Parser, raw)
