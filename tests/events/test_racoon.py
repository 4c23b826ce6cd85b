"""racoon's log to events, composed from the documented formats of its versions."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ike.events.dialects.log_racoon import CUE, Parser
from tests.events.dialect import damaged, events_of, shown

SYSLOG = "Feb 20 10:33:41 fw racoon: "
PEER = {"peer": "203.0.113.7"}

MESSAGES: list[tuple[str, list[dict[str, Any]]]] = [
    (
        "INFO: initiate new phase 1 negotiation: 198.51.100.1[500]<=>203.0.113.7[500]",
        [{"event": "ike_initiate", **PEER}],
    ),
    (
        "INFO: respond new phase 1 negotiation: 198.51.100.1[500]<=>203.0.113.7[500]",
        [{"event": "ike_respond", **PEER}],
    ),
    ("INFO: begin Identity Protection mode.", []),
    ("INFO: initiate new phase 2 negotiation: 198.51.100.1[500]<=>203.0.113.7[500]", []),
    ("INFO: IPsec-SA request for 203.0.113.7 queued due to no phase1 found.", []),
    (
        "INFO: ISAKMP-SA established 198.51.100.1[4500]-203.0.113.7[4500] spi:8d6ba0f7a74593d0:71fa69ac6b4afef3",
        [{"event": "ike_established", **PEER}],
    ),
    (
        "INFO: ISAKMP-SA deleted 198.51.100.1[500]-203.0.113.7[500] spi:8d6ba0f7a74593d0:71fa69ac6b4afef3",
        [{"event": "ike_deleted", **PEER}],
    ),
    ("INFO: purging ISAKMP-SA spi=8d6ba0f7a74593d0:71fa69ac6b4afef3.", [{"event": "ike_deleted"}]),
    (
        "INFO: IPsec-SA established: ESP/Tunnel 203.0.113.7[0]->10.0.0.1[0] spi=187337237(0xb2a8a15)",
        [{"event": "child_established", **PEER, "spi_in": "b2a8a15"}],
    ),
    (
        "INFO: IPsec-SA expired: ESP/Tunnel 10.0.0.1[0]->203.0.113.7[0] spi=172072808(0xa419f68)",
        [{"event": "child_closed", **PEER, "spi_out": "a419f68"}],
    ),
    ("INFO: IPsec-SA established: IPCOMP/Tunnel 203.0.113.7->10.0.0.1 spi=65950044(0x3ee515c)", []),
    ("INFO: purged IPsec-SA proto_id=ESP spi=3477116144.", [{"event": "child_closed"}]),
    (
        "ERROR: phase1 negotiation failed due to time up. 8d6ba0f7a74593d0:0000000000000000",
        [{"event": "ike_timeout"}],
    ),
    (
        "ERROR: phase2 negotiation failed due to time up waiting for phase1. ESP 203.0.113.7[0]->198.51.100.1[0]",
        [{"event": "ike_timeout", **PEER}],
    ),
    ("ERROR: phase2 negotiation failed due to time up. a:b", [{"event": "giving_up"}]),
    (
        "ERROR: 203.0.113.7 give up to get IPsec-SA due to time up to wait.",
        [{"event": "giving_up", **PEER}],
    ),
    (
        "[203.0.113.7] INFO: DPD: remote (ISAKMP-SA spi=8d6ba0f7a74593d0:71fa69ac6b4afef3) seems to be dead.",
        [{"event": "dpd_timeout", **PEER}],
    ),
    (
        "NOTIFY: the packet is retransmitted by 203.0.113.7[500] (1).",
        [{"event": "retransmit", **PEER, "seq": 1}],
    ),
    ("DEBUG: resend phase1 packet 53b231fc25ce2252:0000000000000000", [{"event": "retransmit"}]),
    ("ERROR: no suitable proposal found.", [{"event": "proposal_mismatch"}]),
    (
        "[203.0.113.7] ERROR: notification NO-PROPOSAL-CHOSEN received in informational exchange.",
        [{"event": "proposal_mismatch", **PEER}],
    ),
    ("ERROR: failed to get sainfo.", [{"event": "ts_unacceptable"}]),
    ("ERROR: couldn't find configuration.", [{"event": "unknown_peer"}]),
    (
        "[203.0.113.7] ERROR: couldn't find the pskey for 203.0.113.7.",
        [{"event": "auth_failed", **PEER}],
    ),
    ("NOTIFY: couldn't find the proper pskey, try to get one by the peer's address.", []),
    ("ERROR: HASH mismatched", [{"event": "auth_failed"}]),
    (
        "ERROR: couldn't find the pskey for 203.0.113.7.",
        [{"event": "auth_failed", "peer": "203.0.113.7"}],
    ),
    ("ERROR: mismatched ID was returned.", [{"event": "ts_unacceptable"}]),
    ("IKE Packet: transmit success. (Phase1 Retransmit).", [{"event": "retransmit"}]),
    ("IKE Packet: transmit success. (Initiator, Main-Mode message 1).", []),
    (
        "WARNING: unable to get certificate CRL(3) at depth:0 SubjectName:/C=XX/CN=peer.example",
        [{"event": "crl_fetch_failed"}],
    ),
    ("WARNING: self signed certificate(18) at depth:0 SubjectName:/CN=peer.example", []),
    (
        "ERROR: certificate has expired(10) at depth:0 SubjectName:/CN=peer.example",
        [{"event": "cert_invalid"}],
    ),
    (
        "ERROR: certificate revoked(23) at depth:0 SubjectName:/CN=peer.example",
        [{"event": "cert_revoked"}],
    ),
    ("INFO: received Vendor ID: DPD", []),
    ("INFO: received INITIAL-CONTACT", []),
    ("ERROR: can't start the quick mode, there is no ISAKMP-SA, 8d6b:71fa", []),
    (
        "[Branch A]: INFO: initiate new phase 1 negotiation: 198.51.100.1[500]<=>203.0.113.7[500]",
        [{"event": "ike_initiate", **PEER, "connection": "Branch A"}],
    ),
    (
        "[Self]: INFO: ISAKMP-SA expired 198.51.100.1[500]-203.0.113.7[500] spi:8d6b:71fa",
        [{"event": "ike_deleted", **PEER}],
    ),
    (
        "INFO: respond new phase 1 negotiation: 198.51.100.1[500]<=>xx.xx.xx.xx[500]",
        [{"event": "ike_respond", "peer": "xx.xx.xx.xx"}],
    ),
]


@pytest.mark.parametrize(("message", "expected"), MESSAGES)
def test_a_message_states_its_events(message: str, expected: list[dict[str, Any]]) -> None:
    assert shown(Parser, SYSLOG + message) == expected
    assert CUE.search((SYSLOG + message).encode())


@pytest.mark.parametrize(
    "prefix",
    [
        SYSLOG + "INFO: ",
        "Feb 20 10:33:41 fw racoon[123]: INFO: ",
        "2026-02-20 10:33:41: INFO: ",
        "Feb 20 10:33:41 mac racoon[123] <Notice>: ",
        "I/racoon  (  123): ",
        "1578424543.918665436 site events Site-to-site VPN: ",
        "INFO: isakmp.c:797:isakmp_ph1begin_i(): ",
    ],
)
def test_every_prefix_is_known(prefix: str) -> None:
    line = f"{prefix}initiate new phase 1 negotiation: 198.51.100.1[500]<=>203.0.113.7[500]"
    assert CUE.search(line.encode())
    assert shown(Parser, line) == [{"event": "ike_initiate", **PEER}]


def test_the_ends_of_an_sa_are_told_by_the_lines_before() -> None:
    log = (
        f"{SYSLOG}INFO: 198.51.100.1[500] used as isakmp port (fd=8)\n"
        f"{SYSLOG}INFO: IPsec-SA established: ESP/Tunnel 203.0.113.7[0]->198.51.100.1[0] spi=1(0xa1)\n"
        f"{SYSLOG}INFO: IPsec-SA established: ESP/Tunnel 198.51.100.1[0]->203.0.113.7[0] spi=2(0xa2)"
    )
    first, second = events_of(Parser, log)
    assert (first.peer, first.spi_in, first.reason) == ("203.0.113.7", "a1", None)
    assert (second.peer, second.spi_out, second.reason) == ("203.0.113.7", "a2", "other_half")


def test_newer_racoons_name_our_end_first_for_both_halves() -> None:
    log = (
        f"{SYSLOG}INFO: ISAKMP-SA established 198.51.100.1[500]-203.0.113.7[500] spi:8d6b:71fa\n"
        f"{SYSLOG}INFO: IPsec-SA established: ESP/Tunnel 198.51.100.1[500]->203.0.113.7[500] spi=1(0xa1)\n"
        f"{SYSLOG}INFO: IPsec-SA established: ESP/Tunnel 198.51.100.1[500]->203.0.113.7[500] spi=2(0xa2)"
    )
    _, first, second = events_of(Parser, log)
    assert (first.peer, first.spi_in) == ("203.0.113.7", "a1")
    assert (second.spi_out, second.reason) == ("a2", "other_half")


def test_a_wrapped_message_is_reported_where_it_starts() -> None:
    log = (
        f"{SYSLOG}INFO: isakmp.c:797:isakmp_ph1begin_i():\n"
        "initiate new phase 1 negotiation: 198.51.100.1[500]<=>203.0.113.7[500]\n"
        f"{SYSLOG}INFO: pfkey.c:1109:pk_recvupdate(): IPsec-SA\n"
        "established: ESP/Tunnel 203.0.113.7->198.51.100.1\nspi=187337237(0xb2a8a15)\n"
        f"{SYSLOG}INFO: received Vendor ID: DPD"
    )
    assert shown(Parser, log) == [
        {"line": 1, "event": "ike_initiate", **PEER},
        {"line": 3, "event": "child_established", **PEER, "spi_in": "b2a8a15"},
    ]


LINES = [(SYSLOG + message).encode() for message, _ in MESSAGES]


@settings(max_examples=150, deadline=None)
@given(damaged(LINES))
def test_no_line_breaks_the_parser(text: bytes) -> None:
    events_of(Parser, text)


@settings(max_examples=15, deadline=None)
@given(st.sampled_from([b"[", b" ", b"x", b".", b"-", b"1.", b"INFO: "]), st.sampled_from(LINES))
def test_a_line_of_a_megabyte_is_read_in_time(piece: bytes, line: bytes) -> None:
    events_of(Parser, line + piece * (1_000_000 // len(piece)))
    events_of(Parser, line[:60] + piece * (1_000_000 // len(piece)) + line[60:])
