"""pluto's log to events: recorded from Libreswan 4.10, and composed for the versions that cannot be had."""

# ruff: noqa: E501 - lines of logs are long

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ike.events.dialects.log_pluto import CUE, Parser
from ike.events.event import EVENTS
from ike.events.reader import Reader
from tests.events.dialect import damaged, events_of, shown

RECORDED = Path(__file__).parent / "pluto"
SYSLOG = "Jan  2 03:04:05 gw pluto[77]: "


@pytest.mark.parametrize("end", ["initiator", "responder", "esp-initiator", "esp-responder"])
def test_a_recorded_log_gives_the_events_that_were_read_from_it_by_hand(end: str) -> None:
    """Both ends of one day in the lab: rekey, reauthentication, wrong keys, proposals, networks, a stranger, cookies,
    IKEv1 in both modes, a peer that is gone. And with ESP: Child SAs of both versions, their rekeys and ends, DPD.
    """
    expected = [json.loads(line) for line in (RECORDED / f"{end}.jsonl").read_text().splitlines()]
    assert shown(Parser, (RECORDED / f"{end}.log").read_bytes()) == expected


#: Message, and what it states.
MESSAGES: list[tuple[str, list[dict[str, Any]]]] = [
    # Openswan 2.6, Libreswan 3, IKEv1
    (
        '"site" #1: initiating Main Mode',
        [{"event": "ike_initiate", "connection": "site", "ike_id": 1}],
    ),
    (
        '"site" #5: initiating Main Mode to replace #1',
        [{"event": "ike_initiate", "connection": "site", "ike_id": 5}],
    ),
    (
        '"site" #2: initiating Aggressive Mode #2, connection "site"',
        [{"event": "ike_initiate", "connection": "site", "ike_id": 2}],
    ),
    (
        '"road"[2] 192.0.2.7 #3: responding to Main Mode from unknown peer 192.0.2.7:1024',
        [{"event": "ike_respond", "peer": "192.0.2.7", "connection": "road", "ike_id": 3}],
    ),
    (
        '"road"[2] <client.public.ip> #3: responding to Main Mode from unknown peer <client.public.ip>',
        [{"event": "ike_respond", "peer": "<client.public.ip>", "connection": "road", "ike_id": 3}],
    ),
    (
        '"site" #1: STATE_MAIN_I4: ISAKMP SA established {auth=OAKLEY_PRESHARED_KEY cipher=aes_128}',
        [{"event": "ike_established", "connection": "site", "ike_id": 1}],
    ),
    (
        '"site" #1: STATE_AGGR_R2: ISAKMP SA established {auth=PRESHARED_KEY}',
        [{"event": "ike_established", "connection": "site", "ike_id": 1}],
    ),
    (
        '"site/0x2" #4: STATE_QUICK_I2: sent QI2, IPsec SA established tunnel mode '
        "{ESP=>0x99E449b2 <0x4edb3379 xfrm=AES_128-HMAC_SHA1 NATOA=none NATD=none DPD=enabled}",
        [
            {
                "event": "child_established",
                "connection": "site/0x2",
                "child_id": 4,
                "spi_in": "4edb3379",
                "spi_out": "99E449b2",
            }
        ],
    ),
    (
        '"road"[2] 192.0.2.7 #4: IPsec SA established transport mode {ESPinUDP=>0x10d32cbc <0x17e0331d '
        "xfrm=AES_CBC_256-HMAC_SHA1_96 NATOA=10.0.0.9 NATD=192.0.2.7:4500 DPD=unsupported}",
        [
            {
                "event": "child_established",
                "peer": "192.0.2.7",
                "connection": "road",
                "child_id": 4,
                "spi_in": "17e0331d",
                "spi_out": "10d32cbc",
            }
        ],
    ),
    (
        '"site" #4: STATE_QUICK_R1: sent QR1, inbound IPsec SA installed, expecting QI2 tunnel mode {ESP=>0x1 <0x2 }',
        [],
    ),
    (
        '"site" #6: initiating Quick Mode PSK+ENCRYPT+PFS to replace #4 {using isakmp#1 msgid:bd2103f0}',
        [
            {
                "event": "child_rekeyed",
                "connection": "site",
                "ike_id": 1,
                "child_id": 4,
                "new_child_id": 6,
                "phase": "start",
            }
        ],
    ),
    (
        '"site" #1: received Delete SA(0xfa2bb9e8) payload: deleting IPSEC State #4',
        [
            {
                "event": "child_closed",
                "connection": "site",
                "ike_id": 1,
                "child_id": 4,
                "spi_out": "fa2bb9e8",
            }
        ],
    ),
    (
        '"site" #1: received Delete SA payload: replace IPSEC State #4 in 10 seconds',
        [{"event": "child_closed", "connection": "site", "ike_id": 1, "child_id": 4}],
    ),
    (
        '"site" #1: received Delete SA payload: deleting ISAKMP State #1',
        [{"event": "ike_deleted", "connection": "site", "ike_id": 1}],
    ),
    (
        '"site" #1: ignoring Delete SA payload: PROTO_IPSEC_ESP SA(0xfa2bb9e8) not found (maybe expired)',
        [],
    ),
    ('"site" #1: deleting state (STATE_MAIN_I1)', []),
    (
        '"site" #4: deleting state #4 (STATE_QUICK_R2)',
        [{"event": "child_closed", "connection": "site", "child_id": 4}],
    ),
    (
        '"site" #1: ISAKMP SA expired (superseded by #9)',
        [{"event": "ike_deleted", "connection": "site", "ike_id": 1}],
    ),
    (
        '"site" #1: max number of retransmissions (2) reached STATE_MAIN_I1.  No response (or no acceptable response)',
        [{"event": "giving_up", "connection": "site", "ike_id": 1}],
    ),
    (
        '"site" #2: max number of retransmissions (20) reached STATE_QUICK_I1.  No acceptable response',
        [{"event": "giving_up", "connection": "site", "child_id": 2}],
    ),
    (
        '"site" #2: retransmitting in response to duplicate packet; already STATE_MAIN_R1',
        [{"event": "retransmit", "connection": "site", "ike_id": 2}],
    ),
    (
        '"site" #2: DPD: No response from peer - declaring peer dead',
        [{"event": "dpd_timeout", "connection": "site", "ike_id": 2}],
    ),
    ('"site" #2: DPD: could not find newest phase 1 state - initiating a new one', []),
    (
        "packet from 192.0.2.9:500: initial Main Mode message received on 198.51.100.1:500 but no connection has been "
        "authorized with policy=PSK",
        [{"event": "unknown_peer", "peer": "192.0.2.9"}],
    ),
    (
        "packet from [2001:db8::9]:500: initial Main Mode message received on [2001:db8::1]:500 but no connection has "
        "been authorized",
        [{"event": "unknown_peer", "peer": "2001:db8::9"}],
    ),
    (
        '"site" #1: cannot respond to IPsec SA request because no connection is known for '
        "10.0.0.0/8===198.51.100.1<198.51.100.1>[+S=C]...192.0.2.9<192.0.2.9>[+S=C]===10.9.0.0/16",
        [{"event": "ts_unacceptable", "peer": "192.0.2.9", "connection": "site", "ike_id": 1}],
    ),
    (
        '"site" #1: probable authentication failure (mismatch of preshared secrets?): malformed payload in packet',
        [{"event": "auth_failed", "connection": "site", "ike_id": 1}],
    ),
    (
        "\"site\" #1: Can't authenticate: no preshared key found for `198.51.100.1' and `192.0.2.9'.  Attribute X",
        [{"event": "auth_failed", "peer": "192.0.2.9", "connection": "site", "ike_id": 1}],
    ),
    # IKEv2 of Openswan and Libreswan 3
    (
        '"w" #1: initiating v2 parent SA',
        [{"event": "ike_initiate", "connection": "w", "ike_id": 1}],
    ),
    (
        '"w" #2: STATE_PARENT_I3: PARENT SA established tunnel mode {ESP=>0x1234abcd <0xabcd1234 xfrm=AES NATD=none}',
        [
            {"event": "ike_established", "connection": "w", "ike_id": 2},
            {
                "event": "child_established",
                "connection": "w",
                "child_id": 2,
                "spi_in": "abcd1234",
                "spi_out": "1234abcd",
            },
        ],
    ),
    (
        '"w" #3: STATE_PARENT_I1: received unauthenticated v2N_NO_PROPOSAL_CHOSEN - ignored',
        [{"event": "proposal_mismatch", "connection": "w", "ike_id": 3}],
    ),
    # Libreswan 4 and 5
    (
        '"w" #3: initiating IKEv2 connection to 192.0.2.23 using UDP',
        [{"event": "ike_initiate", "peer": "192.0.2.23", "connection": "w", "ike_id": 3}],
    ),
    (
        '"net#192.0.2.0/24"[1] ...192.0.2.23 #1: initiating IKEv2 connection to 192.0.2.23 using UDP',
        [
            {
                "event": "ike_initiate",
                "peer": "192.0.2.23",
                "connection": "net#192.0.2.0/24",
                "ike_id": 1,
            }
        ],
    ),
    (
        '"a b"[7] 2001:db8::7 #12: processed IKE_SA_INIT request from [2001:db8::7]:UDP/500 {cipher=AES_CBC_256}',
        [{"event": "ike_respond", "peer": "2001:db8::7", "connection": "a b", "ike_id": 12}],
    ),
    (
        "\"w\" #1: initiator established IKE SA; authenticated peer certificate 'C=CA, CN=east.example' and 2048-bit",
        [
            {
                "event": "ike_established",
                "peer": "C=CA, CN=east.example",
                "connection": "w",
                "ike_id": 1,
            }
        ],
    ),
    ("\"w\" #1: authenticated using RSA with SHA2_512 and preloaded certificate '@east'", []),
    (
        '"w" #2: initiator established Child SA using #1; IPsec tunnel [10.0.0.0/8===10.9.0.0/16] '
        "{ESP/ESN=>0xc083a634 <0x6f032f60 xfrm=AES_GCM_16_256 DPD=passive}",
        [
            {
                "event": "child_established",
                "connection": "w",
                "ike_id": 1,
                "child_id": 2,
                "spi_in": "6f032f60",
                "spi_out": "c083a634",
            }
        ],
    ),
    (
        '"w" #2: responder established Child SA using #1; IPsec tunnel [a===b] {AH=>0xAHAHAH <0xAHAHAH xfrm=X}',
        [{"event": "child_established", "connection": "w", "ike_id": 1, "child_id": 2}],
    ),
    (
        '"w" #4: initiating rekey to replace Child SA #2 using IKE SA #3',
        [
            {
                "event": "child_rekeyed",
                "connection": "w",
                "ike_id": 3,
                "child_id": 2,
                "new_child_id": 4,
                "phase": "start",
            }
        ],
    ),
    (
        '"w" #5: initiator rekeyed Child SA #2 using #4; IPsec tunnel [a===b] {ESPinUDP=>0x74425b5e <0x5328924c '
        "xfrm=AES_GCM_16_256-DH19 NATD=192.0.2.2:4500 DPD=passive}",
        [
            {
                "event": "child_rekeyed",
                "peer": "192.0.2.2",
                "connection": "w",
                "ike_id": 4,
                "child_id": 2,
                "new_child_id": 5,
                "spi_in": "5328924c",
                "spi_out": "74425b5e",
            }
        ],
    ),
    (
        '"w" #2: received hard EXPIRE for inbound SPI 74425b5e bytes 588 packets 7 rekey=no; deleting old SA',
        [{"event": "child_closed", "connection": "w", "child_id": 2, "spi_in": "74425b5e"}],
    ),
    (
        '"w" #2: received soft EXPIRE for outbound SPI 74425b5e bytes 588 packets 7 rekey=yes; replacing',
        [],
    ),
    (
        '"w" #2: deleting established Child SA using IKE SA #1',
        [{"event": "child_closed", "connection": "w", "ike_id": 1, "child_id": 2}],
    ),
    (
        '"w" #2: sent INFORMATIONAL request to delete established Child SA using IKE SA #1',
        [{"event": "child_closed", "connection": "w", "ike_id": 1, "child_id": 2}],
    ),
    (
        '"w" #1: warning: Delete SA payload: PROTO_IPSEC_ESP SA(0xb03ed3f4) is our own SPI (bogus implementation)',
        [{"event": "child_closed", "connection": "w", "ike_id": 1, "spi_in": "b03ed3f4"}],
    ),
    (
        "packet from 192.0.2.45:500: responding to IKE_SA_INIT request with Message ID 0 with unencrypted notification "
        "NO_PROPOSAL_CHOSEN, no suitable connection found with IKEv2 policy",
        [{"event": "unknown_peer", "peer": "192.0.2.45"}],
    ),
    (
        "ERROR: CRL: importing http://crl.example/ca.crl failed, helper exited with non-zero status 1",
        [{"event": "crl_fetch_failed"}],
    ),
    ('"w" #2: deleting larval Child SA using IKE SA #1', []),
    (
        '"w" #1: deleting IKE SA (established IKE SA)',
        [{"event": "ike_deleted", "connection": "w", "ike_id": 1}],
    ),
    ('"w" #1: deleting IKE SA (sent IKE_SA_INIT request)', []),
    (
        '"r"[3] 192.0.2.66 #17: received Delete SA payload via #15',
        [
            {
                "event": "child_closed",
                "peer": "192.0.2.66",
                "connection": "r",
                "ike_id": 15,
                "child_id": 17,
            }
        ],
    ),
    (
        '"w" #7: deleting incomplete state after 200 seconds',
        [{"event": "ike_timeout", "connection": "w", "ike_id": 7}],
    ),
    (
        '"w" #1: ESTABLISHED_IKE_SA: 60 second timeout exceeded after 7 retransmits.  No response',
        [{"event": "giving_up", "connection": "w", "ike_id": 1}],
    ),
    (
        '"w" #1: liveness action - restarting all connections that share this peer',
        [{"event": "dpd_timeout", "connection": "w", "ike_id": 1}],
    ),
    (
        '"w" #1: IKE_AUTH request has duplicate Message ID 1; retransmitting response',
        [{"event": "retransmit", "connection": "w", "ike_id": 1}],
    ),
    (
        '"w" #1: NSS: ERROR: IPsec certificate CN=x,O=y invalid: SEC_ERROR_REVOKED_CERTIFICATE: has been revoked.',
        [{"event": "cert_revoked", "connection": "w", "ike_id": 1}],
    ),
    (
        '"w" #1: NSS: ERROR: IPsec certificate CN=x,O=y invalid: SEC_ERROR_UNKNOWN_ISSUER: not recognized.',
        [{"event": "cert_invalid", "connection": "w", "ike_id": 1}],
    ),
    (
        '"w" #1: missing or expired CRL in strict mode, failing pending update and forcing CRL update',
        [
            {"event": "cert_invalid", "connection": "w", "ike_id": 1},
            {"event": "crl_fetch_failed", "connection": "w", "ike_id": 1},
        ],
    ),
    ("CRL: fetch failed:  connection refused", [{"event": "crl_fetch_failed"}]),
    (
        "packet from 192.0.2.45:500: pluto is overloaded with half-open IKE SAs; dropping new exchange",
        [{"event": "half_open_limit", "peer": "192.0.2.45"}],
    ),
    (
        '"w" #2: IKE_AUTH response rejected Child SA with TS_UNACCEPTABLE',
        [{"event": "ts_unacceptable", "connection": "w", "child_id": 2}],
    ),
    ('"w" #1: IKE SA established but initiator rejected Child SA response', []),
    (
        "\"w\": initiating connection 'w' with serial $1 which received a Delete/Notify but must remain up",
        [],
    ),
    ("initiate on-demand for packet 10.0.0.1:8-ICMP->10.9.0.1:0", []),
    ('"w": terminating SAs using this connection', []),
]


@pytest.mark.parametrize(("message", "expected"), MESSAGES)
def test_a_message_states_its_events(message: str, expected: list[dict[str, Any]]) -> None:
    assert shown(Parser, SYSLOG + message) == expected
    assert CUE.search((SYSLOG + message).encode())


@pytest.mark.parametrize(
    "prefix",
    [
        "",
        SYSLOG,
        "Jan  2 03:04:05.123456: ",
        "002 ",
        "1v2 ",
        "2026-01-02T03:04:05.123456+00:00 gw pluto[77]: ",
        "<86>1 2026-01-02T03:04:05Z gw pluto 77 - - ",
        "pluto-1  | ",
        "2026-01-02T03:04:05.1Z stdout F ",
    ],
)
def test_every_prefix_is_known(prefix: str) -> None:
    line = f'{prefix}"site"[2] 192.0.2.7 #5: initiating IKEv2 connection'
    assert CUE.search(line.encode())
    assert shown(Parser, line) == [
        {"event": "ike_initiate", "peer": "192.0.2.7", "connection": "site", "ike_id": 5}
    ]


@pytest.mark.parametrize(
    "quotes", ["\N{LEFT DOUBLE QUOTATION MARK}\N{RIGHT DOUBLE QUOTATION MARK}", None]
)
def test_a_copy_from_a_web_page_is_read(quotes: str | None) -> None:
    left, right = quotes or ("&quot;", "&quot;")
    line = f"002 {left}site{right} #5: initiating Main Mode"
    assert CUE.search(line.encode())
    assert shown(Parser, line) == [{"event": "ike_initiate", "connection": "site", "ike_id": 5}]


def test_lines_for_debugging_are_no_events() -> None:
    assert not shown(Parser, SYSLOG + '| "w" #2: deleting IKE SA (established IKE SA)')
    assert not shown(Parser, '| "w" #2: deleting IKE SA (established IKE SA)')


def test_a_failed_exchange_is_a_failed_rekey_where_it_was_announced_as_one() -> None:
    log = (
        '"w" #4: initiating rekey to replace Child SA #2 using IKE SA #1\n'
        '"w" #4: CREATE_CHILD_SA failed with error notification NO_PROPOSAL_CHOSEN'
    )
    assert [(row["event"], row.get("child_id")) for row in shown(Parser, log)[1:]] == [
        ("child_rekey_failed", 4),
        ("proposal_mismatch", 4),
    ]


def test_another_attempt_at_what_never_came_up_is_no_rekey() -> None:
    log = (
        '"s" #2: initiating Quick Mode PSK {using isakmp#1 msgid:1}\n'
        '"s" #3: initiating Quick Mode PSK to replace #2 {using isakmp#1 msgid:2}'
    )
    assert shown(Parser, log) == []


def test_the_answer_to_a_stranger_is_no_mismatch_of_proposals() -> None:
    log = (
        "packet from 192.0.2.9:500: initial Main Mode message received but no connection has been authorized\n"
        "packet from 192.0.2.9:500: sending notification NO_PROPOSAL_CHOSEN to 192.0.2.9:500"
    )
    assert [row["event"] for row in shown(Parser, log)] == ["unknown_peer"]


def test_a_wrapped_message_is_reported_where_it_starts() -> None:
    log = (
        f'{SYSLOG}"w" #2: initiator established Child SA using #1; IPsec tunnel\n'
        "[a===b] {ESP=>0xc083a634 <0x6f032f60\nxfrm=AES_GCM_16_256 DPD=passive}\n"
        f'{SYSLOG}"w" #1: IKE SA authentication request\nrejected by peer: AUTHENTICATION_FAILED'
    )
    assert shown(Parser, log) == [
        {
            "line": 1,
            "event": "child_established",
            "connection": "w",
            "ike_id": 1,
            "child_id": 2,
            "spi_in": "6f032f60",
            "spi_out": "c083a634",
        },
        {"line": 4, "event": "auth_failed", "connection": "w", "ike_id": 1},
    ]


def test_two_messages_in_one_line_are_both_reported() -> None:
    log = f'{SYSLOG}"a" #1: initiating Main Mode {SYSLOG}"b" #2: ISAKMP SA expired (LATEST!)'
    assert [(row["event"], row["connection"]) for row in shown(Parser, log)] == [
        ("ike_initiate", "a"),
        ("ike_deleted", "b"),
    ]


@pytest.mark.parametrize(
    "line",
    [
        f'{SYSLOG}"w" #1: Peer ID is ID_FQDN: \'@{SYSLOG}"w" #2: deleting IKE SA (established IKE SA)\'',
        'Jan  2 03:04:05 gw sshd[9]: Invalid user "w" #2: deleting IKE SA (established IKE SA) from 192.0.2.9',
        f"{SYSLOG}\"w\" #1: Peer ID is ID_FQDN: 'AUTHENTICATION_FAILED'",
    ],
)
def test_what_a_stranger_chooses_is_no_event(line: str) -> None:
    assert shown(Parser, line) == []


def test_rules_learn_the_address_from_earlier_lines() -> None:
    log = (
        '"w" #3: initiating IKEv2 connection to 192.0.2.23 using UDP\n'
        '"w" #3: IKE SA authentication request rejected by peer: AUTHENTICATION_FAILED'
    )
    failed = events_of(Parser, log)[1]
    assert (failed.peer, failed.source, failed.name) == (None, "192.0.2.23", "w")


LATER: list[tuple[str, dict[str, Any]]] = [
    ("deleting IPsec SA (QUICK_I2) aged 1.2s and sending notification using ISAKMP SA #1", {"event": "child_closed", "ike_id": 1, "child_id": 3}),
    ("deleting Child SA (ESTABLISHED_CHILD_SA) aged 1.2s and sending notification using IKE SA #1", {"event": "child_closed", "ike_id": 1, "child_id": 3}),
    ('deleting IPsec SA (QUICK_R2) and sending notification using ISAKMP SA "w/0x1" #1', {"event": "child_closed", "ike_id": 1, "child_id": 3}),
    ("Peer public key SubjectAltName does not match peer ID for this connection", {"event": "auth_failed", "ike_id": 3}),
    ("X509: connection failed due to unmatched IDs", {"event": "auth_failed", "ike_id": 3}),
    ("retransmitting CREATE_CHILD_SA rekey ike; will wait 0.5 seconds for response", {"event": "retransmit", "ike_id": 3}),
    ("Peer attempted PSK authentication but we want rsasig in I2 Auth Payload", {"event": "auth_failed", "ike_id": 3}),
    ("established IKE SA; authenticated using authby=secret and peer ID_IPV4_ADDR '192.0.2.23'",
     {"event": "ike_established", "peer": "192.0.2.23", "ike_id": 3}),
    ("established Child SA; IPsec tunnel [10.1.0.0-10.1.255.255:0-65535 0] {ESP=>0x0a0b0c0d <0x01020304 xfrm=AES_GCM_16_256-NONE}",
     {"event": "child_established", "child_id": 3, "spi_in": "01020304", "spi_out": "0a0b0c0d"}),
    ("responding to CREATE_CHILD_SA message (ID 2) from 192.0.2.23:4500 with encrypted notification NO_PROPOSAL_CHOSEN",
     {"event": "proposal_mismatch", "peer": "192.0.2.23", "ike_id": 3}),
]  # fmt: skip


@pytest.mark.parametrize(("message", "expected"), LATER)
def test_wordings_that_came_and_went_are_read(message: str, expected: dict[str, Any]) -> None:
    assert shown(Parser, f'"w" #3: {message}') == [{**expected, "connection": "w"}]


def test_what_a_line_calls_an_ike_sa_is_one_whatever_its_number_was_before() -> None:
    log = (
        '"w" #2: initiator established Child SA using #1; IPsec tunnel {ESP=>0x0a0b0c0d <0x01020304 xfrm=AES}\n'
        '"w" #2: deleting IKE SA (ESTABLISHED_IKE_SA) aged 2.2s and sending notification'
    )
    assert shown(Parser, log)[1] == {
        "line": 2,
        "event": "ike_deleted",
        "connection": "w",
        "ike_id": 2,
    }


LINES = [(SYSLOG + message).encode() for message, _ in MESSAGES]


@settings(max_examples=150, deadline=None)
@given(damaged(LINES))
def test_no_line_breaks_the_parser(text: bytes) -> None:
    events_of(Parser, text)


@settings(max_examples=15, deadline=None)
@given(
    st.sampled_from([b'"', b"[", b" ", b"'", b"x ", b"<", b"#1: ", b"no ", b"("]),
    st.sampled_from(LINES),
)
def test_a_line_of_a_megabyte_is_read_in_time(piece: bytes, line: bytes) -> None:
    events_of(Parser, line + piece * (1_000_000 // len(piece)))
    events_of(Parser, line[:60] + piece * (1_000_000 // len(piece)) + line[60:])


@pytest.mark.parametrize("first", ["pluto[7]: ", "Jun 20 14:29:47 gw pluto[7]: "])
@pytest.mark.parametrize("begun", [True, False])
def test_numbers_are_not_those_of_another_run_of_the_daemon(first: str, begun: bool) -> None:
    """The number of a process changes with it, and a log may show where it began."""
    second = first if begun else first.replace("7", "8")
    lines = [
        f'{first}"east"[1] 192.0.2.9 #1: sent Main Mode request',
        f'{first}"east"[1] 192.0.2.9 #1: ignoring informational payload NO_PROPOSAL_CHOSEN',
        f"{second}Starting Pluto (Libreswan Version 4.10)" if begun else "",
        f'{second}"west" #1: ignoring informational payload AUTHENTICATION_FAILED',
    ]
    reader = Reader(1_796_000_000.0)
    events = [*reader.feed("\n".join(lines).encode() + b"\n"), *reader.close()]
    told = [(each.source, each.name) for each in events if each.kind in EVENTS]
    assert told[0][0] == "192.0.2.9"
    assert told[-1] == (None, "west")
