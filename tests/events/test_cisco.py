"""Cisco ASA, FTD, IOS and IOS XE: system messages and debugs, composed from the documented forms."""

# ruff: noqa: E501 - lines of logs are long

import pytest
from hypothesis import given, settings

from ike.events.dialects.log_cisco import CUE, Parser
from tests.events.said import events_of, one, pieces, shown, survives

Expected = list[dict[str, object]]
FAR = {"peer": "198.51.100.2"}
GROUP = {**FAR, "connection": "branch"}
G = "Group = branch, IP = 198.51.100.2, "
TWO = "Local:192.0.2.1:500 Remote:198.51.100.2:500 Username:Unknown IKEv2 "


def only(kind: str, **fields: object) -> Expected:
    return [{"event": kind, **fields}]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (f"5-713041: {G}IKE Initiator: New Phase 1, Intf inside, IKE Peer 198.51.100.2  local Proxy Address 10.1.0.0, remote Proxy Address 10.2.0.0,  Crypto map (outside_map)", only("ike_initiate", **GROUP)),
        (f"5-713041: {G}IKE Initiator: New Phase 2, Intf inside, IKE Peer 198.51.100.2", []),
        (f"5-713041: {G}IKE Initiator: Rekeying Phase 2, Intf outside, IKE Peer 198.51.100.2", only("child_rekeyed", **GROUP, phase="start")),
        (f"5-713119: {G}PHASE 1 COMPLETED", only("ike_established", **GROUP)),
        (f"5-713049: {G}Security negotiation complete for LAN-to-LAN Group (branch)  Initiator, Inbound SPI = 0x0a1b2c3d, Outbound SPI = 0x4e5f6071", only("child_established", **GROUP, spi_in="0a1b2c3d", spi_out="4e5f6071")),
        (f"5-713120: {G}PHASE 2 COMPLETED (msgid=0a1b2c3d)", only("child_established", **GROUP)),
        (f"5-713050: {G}Connection terminated for peer 198.51.100.2.  Reason: Peer Terminate  Remote Proxy 10.2.0.0, Local Proxy 10.1.0.0", only("child_closed", **GROUP)),
        (f"5-713050: {G}Connection terminated for peer 198.51.100.2.  Reason: IPSec SA Idle Timeout  Remote Proxy N/A, Local Proxy N/A", only("ike_deleted", **GROUP)),
        (f"5-713259: {G}Session is being torn down. Reason: Lost Service", only("ike_deleted", **GROUP)),
        (f"3-713123: {G}IKE lost contact with remote peer, deleting connection (keepalive type: DPD)", [{"event": "dpd_timeout", **GROUP}, {"event": "ike_deleted", **GROUP}]),
        (f"3-713061: {G}Rejecting IPSec tunnel: no matching crypto map entry for remote proxy 10.2.0.0/255.255.0.0/0/0 local proxy 10.1.0.0/255.255.0.0/0/0 on interface outside", only("ts_unacceptable", **GROUP)),
        (f"5-713068: {G}Received non-routine Notify message: No proposal chosen (14)", only("proposal_mismatch", **GROUP)),
        (f"5-713904: {G}All IPSec SA proposals found unacceptable!", only("proposal_mismatch", **GROUP)),
        ("4-713903: Group = 198.51.100.2, IP = 198.51.100.2, Can't find a valid tunnel group, aborting...!", only("unknown_peer", **FAR, connection="198.51.100.2")),
        (f"4-713903: {G}ERROR, had problems decrypting packet, probably due to mismatched pre-shared key.  Aborting", only("auth_failed", **GROUP)),
        (f"5-713201: {G}Duplicate Phase 1 packet detected.  Retransmitting last packet.", only("retransmit", **GROUP)),
        ("5-713202: IP = 198.51.100.2, Duplicate first packet detected. Ignoring packet.", []),
        ("3-713191: Maximum concurrent IKE negotiations exceeded!", only("half_open_limit")),
        (f"3-713902: {G}QM FSM error (P2 struct &0xd8a0f8d8, mess id 0x1b2c3d4e)!", []),
        (f"6-713172: {G}Automatic NAT Detection Status:     Remote end is NOT behind a NAT device", []),
        ("4-113019: Group = branch, Username = u, IP = 198.51.100.2, Session disconnected. Session Type: LAN-to-LAN, Duration: 0h:01m:02s, Bytes xmt: 10, Bytes rcv: 20, Reason: Lost Service", only("ike_deleted", **GROUP)),
        ("4-113019: Group = web, Username = u, IP = 198.51.100.2, Session disconnected. Session Type: SSL, Duration: 0h:01m:02s, Bytes xmt: 10, Bytes rcv: 20, Reason: User Requested", []),
        ("6-602303: IPSEC: An outbound LAN-to-LAN SA (SPI= 0x4e5f6071) between 192.0.2.1 and 198.51.100.2 (user= 198.51.100.2) has been created.", only("child_established", **FAR, spi_out="4e5f6071")),
        ("6-602304: IPSEC: An inbound LAN-to-LAN SA (SPI= 0x0a1b2c3d) between 198.51.100.2 and 192.0.2.1 (user= 198.51.100.2) has been deleted.", only("child_closed", **FAR, spi_in="0a1b2c3d")),
        (f"5-750002: {TWO}Received a IKE_INIT_SA request", only("ike_respond", **FAR)),
        (f"5-750001: {TWO}Received request to establish an IPsec tunnel; local traffic selector = Address Range: 10.1.0.1-10.1.0.1", []),
        (f"5-750006: {TWO}SA UP. Reason: New Connection Established", only("ike_established", **FAR)),
        (f"5-750007: {TWO}SA DOWN. Reason: peer request", only("ike_deleted", **FAR)),
        (f"4-750003: {TWO}Negotiation aborted due to ERROR: Failed to receive the AUTH msg before the timer expired", only("ike_timeout", **FAR)),
        (f"4-750003: {TWO}Negotiation aborted due to ERROR: Failed to authenticate the IKE SA", only("auth_failed", **FAR)),
        (f"4-750003: {TWO}Negotiation aborted due to ERROR: There was no IPSEC policy found for received TS", only("ts_unacceptable", **FAR)),
        (f"4-750003: {TWO}Negotiation aborted due to ERROR: The peer's KE payload contained the wrong DH group", only("invalid_ke", **FAR)),
        (f"4-750003: {TWO}Negotiation aborted due to ERROR: Failed to find a matching policy", only("proposal_mismatch", **FAR)),
        (f"4-750003: {TWO}Negotiation aborted due to ERROR: Maximum number of retransmissions reached", only("giving_up", **FAR)),
        (f"4-750003: {TWO}Negotiation aborted due to ERROR: Platform errors", []),
        (f"5-750004: {TWO}Sending COOKIE challenge to throttle possible DoS", only("cookie", **FAR)),
        (f"4-751022: {TWO}Tunnel rejected: Crypto Map Policy not found for remote traffic selector 10.2.0.0/10.2.0.255/0/65535/0", only("ts_unacceptable", **FAR)),
        (f"3-751009: {TWO}Unable to find tunnel group for peer.", only("unknown_peer", **FAR)),
        (f"3-751002: {TWO}No preshared key or trustpoint configured for self in tunnel group branch", only("auth_failed", **GROUP)),
        (f"3-751011: {TWO}Failed user authentication. Error: x", only("auth_failed", **FAR)),
        ("5-752016: IKEv2 was successful at setting up a tunnel.  Map Tag = outside_map. Map Sequence Number = 1.", only("child_established")),
        ("5-752003: Tunnel Manager dispatching a KEY_ACQUIRE message to IKEv2.  Map Tag = outside_map.  Map Sequence Number = 1.", []),
        ("3-717009: Certificate validation failed. Certificate is revoked, serial number: 0A, subject name: cn=gw.example.", only("cert_revoked")),
        ("3-717027: Certificate chain failed validation. No suitable trustpoint was found to validate chain.", only("cert_invalid")),
        ("3-717010: CRL polling failed for trustpoint tp-a.", only("crl_fetch_failed")),
    ],
)  # fmt: skip
@pytest.mark.parametrize("product", ["ASA", "FTD"])
def test_a_message_of_an_asa(product: str, message: str, expected: Expected) -> None:
    line = f"Mar  2 08:15:00 fw-a : %{product}-{message}"
    assert CUE.search(line.encode())
    assert one(Parser(), line) == expected


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("%CRYPTO-5-SESSION_STATUS: Crypto tunnel is UP  .  Peer 198.51.100.2:500       Id: 198.51.100.2", only("child_established", **FAR)),
        ("%CRYPTO-5-IKEV2_SESSION_STATUS: Crypto tunnel v2 is DOWN. Peer 198.51.100.2:4500       Id: branch.example", only("child_closed", **FAR)),
        ("%IKEV2-5-SA_UP: SA UP", only("ike_established")),
        ("%IKEV2-5-SA_DOWN: SA DOWN", only("ike_deleted")),
        ("%IKEV2-5-RECV_CONNECTION_REQUEST: Received a IKE_INIT_SA request", only("ike_respond")),
        ("%IKEV2-5-OSAL_INITIATE_TUNNEL: Received request to establish an IPsec tunnel; local traffic selector = Address Range: 10.1.0.0-10.1.0.255", []),
        ("%IKEV2-3-NEG_ABORT: Negotiation aborted due to ERROR: Received no proposal chosen notify", only("proposal_mismatch")),
        ("%CRYPTO-6-IKMP_MODE_FAILURE: Processing of Quick mode failed with peer at 198.51.100.2", only("proposal_mismatch", **FAR)),
        ("%CRYPTO-6-IKMP_MODE_FAILURE: Processing of Main mode failed with peer at 198.51.100.2", only("proposal_mismatch", **FAR)),
        ("%CRYPTO-6-IKMP_MODE_FAILURE: Processing of Informational mode failed with peer at 198.51.100.2", []),
        ("%CRYPTO-4-IKMP_BAD_MESSAGE: IKE message from 198.51.100.2 failed its sanity check or is malformed", only("auth_failed", **FAR)),
        ("%CRYPTO-6-IKMP_AUTH_FAIL: Authentication method 1 failed with host 198.51.100.2", only("auth_failed", **FAR)),
        ("%CRYPTO-6-IKMP_CRYPT_FAILURE: IKE (connection id 1007) unable to decrypt packet", only("auth_failed", ike_id=1007)),
        ("%CRYPTO-6-IKMP_CRYPT_FAILURE: IKE (connection id 1007) unable to encrypt packet", []),
        ("%CRYPTO-5-IKMP_INVAL_CERT: Certificate received from 198.51.100.2 is bad: certificate invalid", only("cert_invalid", **FAR)),
        ("%CRYPTO-4-IKMP_NO_SA: IKE message from 198.51.100.2 has no SA and is not an initialization offer", []),
        ("%CRYPTO-4-RECVD_PKT_INV_SPI: decaps: rec'd IPSEC packet has invalid spi for destaddr=192.0.2.1, prot=50, spi=0x0A1B2C3D, srcaddr=198.51.100.2", []),
        ("%CRYPTO-6-EZVPN_CONNECTION_UP: (Server)  Mode=NEM  Client_type=CISCO_IOS  User=  Group=branch  Client_public_addr=198.51.100.2  Server_public_addr=192.0.2.1", only("ike_established", **GROUP)),
        ("%PKI-3-CERTIFICATE_REVOKED: Certificate chain validation has failed.  The certificate (SN: 0A) is revoked", only("cert_revoked")),
        ("%PKI-3-CERTIFICATE_INVALID_EXPIRED: Certificate chain validation has failed.  The certificate (SN: 0A) has expired.", only("cert_invalid")),
        ("%PKI-3-CRL_FETCH_FAIL: CRL fetch for trustpoint tp-a failed", only("crl_fetch_failed")),
        ("ISAKMP:(0): beginning Main Mode exchange", only("ike_initiate")),
        ("ISAKMP:(1007):beginning Quick Mode exchange, M-ID of 12345", []),
        ("ISAKMP (0): received packet from 198.51.100.2 dport 500 sport 500 Global (N) NEW SA", only("ike_respond", **FAR)),
        ("ISAKMP-PAK: (1007):received packet from 198.51.100.2 dport 500 sport 500 Global (R) QM_IDLE", []),
        ("ISAKMP:(1007):SA has been authenticated with 198.51.100.2", []),
        ("ISAKMP:(1007):Old State = IKE_R_MM5  New State = IKE_P1_COMPLETE", only("ike_established", ike_id=1007)),
        ("ISAKMP:(1007):Old State = IKE_P1_COMPLETE  New State = IKE_P1_COMPLETE", []),
        ("ISAKMP (0:7): Old State = IKE_QM_I_QM1  New State = IKE_QM_PHASE2_COMPLETE", only("child_established", ike_id=7)),
        ("ISAKMP:(0): retransmitting phase 1 MM_NO_STATE...", only("retransmit")),
        ('ISAKMP:(0):deleting SA reason "Death by retransmission P1" state (I) MM_NO_STATE (peer 198.51.100.2)', [{"event": "giving_up", **FAR}, {"event": "ike_deleted", **FAR}]),
        ('ISAKMP:(1007):deleting SA reason "No reason" state (I) QM_IDLE       (peer 198.51.100.2)', only("ike_deleted", **FAR, ike_id=1007)),
        ("ISAKMP:(0):phase 1 SA policy not acceptable! (local 192.0.2.1 remote 198.51.100.2)", only("proposal_mismatch", **FAR)),
        ("ISAKMP:(0):no offers accepted!", only("proposal_mismatch")),
        ("ISAKMP:(1007): IPSec policy invalidated proposal with error 32", only("ts_unacceptable", ike_id=1007)),
        ("ISAKMP:(1007): IPSec policy invalidated proposal with error 256", only("proposal_mismatch", ike_id=1007)),
        ("ISAKMP:(1007):peer 198.51.100.2 not responding!", only("dpd_timeout", **FAR, ike_id=1007)),
        ("ISAKMP: (1007):Enqueued KEY_MGR_DELETE_SAS for IPSEC SA (SPI:0x4E5F6071)", only("child_closed", ike_id=1007, spi_out="4E5F6071")),
        ("IPSEC(key_engine_delete_sas): delete SA with spi 0x4E5F6071 proto 50 for 198.51.100.2", only("child_closed")),
        ("IKEv2:(SESSION ID = 7,SA ID = 2):Verify SA init message", only("ike_respond", ike_id=2)),
        ("IKEv2:(SESSION ID = 7,SA ID = 2):Generating IKE_SA_INIT message", only("ike_initiate", ike_id=2)),
        ("IKEv2:(SESSION ID = 7,SA ID = 2):IKEV2 SA created; inserting SA into database. SA lifetime timer (86400 sec) started", only("ike_established", ike_id=2)),
        ("IKEv2-ERROR:(SESSION ID = 7,SA ID = 2):: Failed to find a matching policy", only("proposal_mismatch", ike_id=2)),
        ("IKEv2:(SESSION ID = 7,SA ID = 2):Verification of peer's authentication data FAILED", only("auth_failed", ike_id=2)),
        ("IKEv2:(SESSION ID = 7,SA ID = 2):Sending DELETE INFO message for IPsec SA [SPI: 0x0A1B2C3D]", only("child_closed", ike_id=2, spi_in="0A1B2C3D")),
        ("IKEv2-PROTO-2: (17): Sending invalid ke notification, peer sent group 2, local policy prefers group 14", only("invalid_ke", ike_id=17)),
        ("IKEv2:(SESSION ID = 7,SA ID = 2):Searching policy based on peer's identity 'SA UP' of type 'FQDN'", []),
    ],
)  # fmt: skip
def test_a_message_of_ios(message: str, expected: Expected) -> None:
    line = f"*Mar  2 08:15:00.123: {message}"
    assert CUE.search(line.encode())
    assert one(Parser(), line) == expected


def test_a_debug_of_an_asa_without_numbers() -> None:
    assert one(Parser(), f"Mar 02 08:15:00 [IKEv1]: {G}PHASE 1 COMPLETED") == only(
        "ike_established", **GROUP
    )


@pytest.mark.parametrize(
    ("lines", "kinds"),
    [
        (["Verify SA init message", "Generating IKE_SA_INIT message"], ["ike_respond"]),
        (["Generating IKE_SA_INIT message", "Verify SA init message"], ["ike_initiate"]),
        (["Generating IKE_SA_INIT message"] * 2, ["ike_initiate"] * 2),
    ],
)
def test_who_starts_is_told_by_what_comes_first(lines: list[str], kinds: list[str]) -> None:
    sa = "IKEv2:(SESSION ID = 7,SA ID = 2):"
    packet = f"{sa}Received Packet [From 198.51.100.2:500/To 192.0.2.1:500/VRF i0:f0] \n"
    events = events_of(Parser(), packet + "\n".join(sa + line for line in lines))
    assert [(each.kind, each.peer, each.source) for each in events] == [
        (kind, None, "198.51.100.2") for kind in kinds
    ]


def test_a_notice_that_only_a_list_of_payloads_shows() -> None:
    log = "Payload contents: \n VID IDr AUTH NOTIFY(NO_PROPOSAL_CHOSEN) \n SA KE N NOTIFY(NAT_DETECTION_SOURCE_IP) \n"
    assert shown(Parser(), log) == [{"line": 2, "event": "proposal_mismatch"}]


def test_a_message_on_two_lines_is_reported_where_it_starts() -> None:
    head = f"Mar  2 08:15:00 fw-a %ASA-4-750003: {TWO.removesuffix('IKEv2 ')}"
    tail = "IKEv2 Negotiation aborted due to ERROR: Failed to authenticate the IKE SA"
    (event,) = shown(Parser(), f"x\n{head}\n{tail}\n")
    assert event == {"line": 2, "event": "auth_failed", **FAR}
    # The next message is not a part of one that was cut.
    cut = f"{head}\nMar  2 08:15:01 fw-a %ASA-5-713119: {G}PHASE 1 COMPLETED"
    assert [each["event"] for each in shown(Parser(), cut)] == ["ike_established"]


def test_an_sa_that_a_debug_lists_over_lines() -> None:
    log = (
        "Mar  2 08:15:00.001: IPSEC(sa_request): ,\n  (key eng. msg.) OUTBOUND local= 192.0.2.1:500, remote= 198.51.100.2:500,\n"
        "Mar  2 08:15:00.002: IPSEC(create_sa): sa created,\n  (sa) sa_dest= 198.51.100.2, sa_proto= 50, \n"
        "    sa_spi= 0x4E5F6071(1314873457), \n    sa_trans= esp-aes esp-sha-hmac , sa_conn_id= 2002\n"
    )
    (event,) = shown(Parser(), log)
    assert (event["line"], event["event"]) == (3, "child_established")


def test_the_ends_of_an_sa_may_stand_below_all_the_rest() -> None:
    """Newer IOS lists the lifetime before them."""
    log = (
        "*Mar  2 08:15:00.002: IPSEC(create_sa): sa created,\n  (sa) sa_dest= 192.0.2.1, sa_proto= 50, \n"
        "    sa_spi= 0x4E5F6071(1314873457), \n    sa_trans= esp-aes esp-sha-hmac , sa_conn_id= 2001\n"
        "    sa_lifetime(k/sec)= (4608000/3600),\n  (identity) local= 192.0.2.1:0, remote= 198.51.100.2:0,\n"
        "    local_proxy= 10.1.0.0/255.255.0.0/256/0,\n    remote_proxy= 10.2.0.0/255.255.0.0/256/0\n"
    )
    assert shown(Parser(), log) == [
        {"line": 1, "event": "child_established", **FAR, "spi_in": "4E5F6071"}
    ]


def test_ipv6_and_hosts_before_the_port() -> None:
    six = "%ASA-5-750006: Local:2001:db8::1:500 Remote:2001:db8::2:4500 Username:x IKEv2 SA UP. Reason: New Connection Established"
    assert one(Parser(), six) == only("ike_established", peer="2001:db8::2")
    named = "%ASA-5-750002: Local:gw.example:500 Remote:far.example:500 Username:x Received a IKE_INIT_SA request"
    assert one(Parser(), named) == only("ike_respond", peer="far.example")


def test_ipv6_peers_of_ios_with_and_without_a_port() -> None:
    up = (
        "%CRYPTO-5-SESSION_STATUS: Crypto tunnel is UP.  Peer 2001:DB8::2:500       Id: 2001:DB8::2"
    )
    assert one(Parser(), up) == only("child_established", peer="2001:DB8::2")
    refused = "ISAKMP:(0):phase 1 SA policy not acceptable! (local 2001:DB8::1 remote 2001:DB8::2)"
    assert one(Parser(), refused) == only("proposal_mismatch", peer="2001:DB8::2")


def test_masked_addresses_stand_as_printed() -> None:
    lines = {
        "ISAKMP (0): received packet from 198.51.x.y dport 500 sport 500 Global (N) NEW SA": "198.51.x.y",
        "%CRYPTO-5-SESSION_STATUS: Crypto tunnel is DOWN.  Peer X.X.X.X:500       Id: X.X.X.X": "X.X.X.X",
        "%FTD-vpn-5-713041: IP = X.X.X.X, IKE Initiator: New Phase 1, Intf out, IKE Peer X.X.X.X": "X.X.X.X",
    }
    for line, peer in lines.items():
        assert [each["peer"] for each in one(Parser(), line)] == [peer]


def test_names_are_not_sentences() -> None:
    group = "%ASA-6-713172: Group = PHASE 1 COMPLETED, IP = 198.51.100.2, Automatic NAT Detection Status: none"
    assert one(Parser(), group) == []
    (event,) = events_of(
        Parser(), "%ASA-5-713119: Group = a, b #1, IP = 198.51.100.2, PHASE 1 COMPLETED"
    )
    assert event.connection == "a, b #1"


@settings(max_examples=400, deadline=None)
@given(
    pieces(
        [
            "%ASA-5-713119: ",
            "%ASA-4-750003: ",
            G,
            TWO,
            "PHASE 1 COMPLETED",
            "%CRYPTO-5-SESSION_STATUS: ",
            "Crypto tunnel is UP",
            " Peer 192.0.2.9:500",
            "ISAKMP:(1001):",
            "Old State = A  New State = IKE_P1_COMPLETE",
            "IPSEC(create_sa): sa created,",
            "sa_spi= 0x1,",
            "IKEv2:(SESSION ID = 1,SA ID = 1):",
            "Deleting SA",
        ]
    )
)
def test_nothing_breaks_it(log: bytes) -> None:
    survives(Parser, log)


@pytest.mark.parametrize(
    "raw",
    [
        b"%ASA-5-713119: Group = " + b"a, Username = " * 80_000,
        b"%ASA-5-750002: Local:" + b":" * 1_000_000,
        b"ISAKMP:(" + b"1:" * 500_000,
        b"IPSEC(create_sa): sa created,\n" * 20_000,
        b"%CRYPTO-6-X_Y: " + b"Client_public_addr=" * 50_000,
    ],
)
def test_a_megabyte_of_trouble(raw: bytes) -> None:
    survives(Parser, raw)


def test_a_group_that_is_unknown_is_named_without_quotes() -> None:
    line = "[IKEv1]: IP = 198.51.100.2, Received ISAKMP Aggressive Mode message 1 with unknown tunnel group name 'far'."
    assert one(Parser(), line) == only("unknown_peer", **FAR, connection="far")


def test_a_peer_that_refused_without_encryption_is_told() -> None:
    line = f"%ASA-5-713904: {G}Received an un-encrypted AUTH_FAILED notify message, dropping"
    assert [each["event"] for each in one(Parser(), line)] == ["auth_failed"]
