"""The log of RouterOS to events, composed from its documented formats."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ike.events.dialects.log_mikrotik import CUE, Parser
from tests.events.dialect import damaged, events_of, shown

PEER = {"peer": "203.0.113.7"}
ENDS = "198.51.100.1[500]-203.0.113.7[500] spi:aaaaaaaaaaaaaaaa:bbbbbbbbbbbbbbbb"

LINES: list[tuple[str, list[dict[str, Any]]]] = [
    (
        "ipsec,info respond new phase 1 (Identity Protection): 198.51.100.1[500]<=>203.0.113.7[54178]",
        [{"event": "ike_respond", **PEER}],
    ),
    (
        "ipsec,info initiate new phase 1 (Aggressive): 198.51.100.1[500]<=>203.0.113.7[500]",
        [{"event": "ike_initiate", **PEER}],
    ),
    (f"ipsec,info ISAKMP-SA established {ENDS}", [{"event": "ike_established", **PEER}]),
    (f"ipsec,info ISAKMP-SA deleted {ENDS} rekey:1", [{"event": "ike_deleted", **PEER}]),
    (
        "ipsec,info purging ISAKMP-SA 198.51.100.1[4500]<=>203.0.113.7[16146] spi=cc63:4ef4.",
        [{"event": "ike_deleted", **PEER}],
    ),
    (
        "ipsec,error phase1 negotiation failed due to time up 198.51.100.1[500]<=>203.0.113.7[54178] f24f:07a7",
        [{"event": "ike_timeout", **PEER}],
    ),
    ("ipsec,error no suitable proposal found.", [{"event": "proposal_mismatch"}]),
    (
        "ipsec,error 203.0.113.7 failed to get valid proposal.",
        [{"event": "proposal_mismatch", **PEER}],
    ),
    ("ipsec,error 203.0.113.7 phase1 negotiation failed.", []),
    (
        "ipsec,error 203.0.113.7 parsing packet failed, possible cause: wrong password",
        [{"event": "auth_failed", **PEER}],
    ),
    (
        "ipsec,error message repeated 10 times: [ 203.0.113.7 failed to get valid proposal. ]",
        [{"event": "proposal_mismatch", **PEER}],
    ),
    (
        f"ipsec,info new ike2 SA (R): office {ENDS}",
        [{"event": "ike_respond", **PEER, "connection": "office"}],
    ),
    (
        f"ipsec,info new ike2 SA (I): my office {ENDS}",
        [{"event": "ike_initiate", **PEER, "connection": "my office"}],
    ),
    (
        f"ipsec,info,account peer authorized: office {ENDS}",
        [{"event": "ike_established", **PEER, "connection": "office"}],
    ),
    (
        f"ipsec,info killing ike2 SA: office {ENDS}",
        [{"event": "ike_deleted", **PEER, "connection": "office"}],
    ),
    (f"ipsec,info killing ike2 SA: {ENDS}", [{"event": "ike_deleted", **PEER}]),
    (
        "ipsec,error identity not found for responder: ADDR4:198.51.100.1 peer: ADDR4:203.0.113.7",
        [{"event": "unknown_peer", **PEER}],
    ),
    (
        "ipsec,error identity not found for server:vpn.example peer: FQDN: alice",
        [{"event": "unknown_peer", "peer": "alice"}],
    ),
    ("ipsec,error got fatal error: AUTHENTICATION_FAILED", [{"event": "auth_failed"}]),
    ("ipsec,debug reply notify: TS_UNACCEPTABLE", [{"event": "ts_unacceptable"}]),
    (
        "ipsec,debug IPsec-SA established: ESP/Tunnel 203.0.113.7[4500]->10.0.0.1[4500] spi=0x1234abc",
        [{"event": "child_established", **PEER, "spi_in": "1234abc"}],
    ),
    (
        "ipsec IPsec-SA killing: 10.0.0.1[4500]->203.0.113.7[4500] spi=0xdeadbee",
        [{"event": "child_closed", **PEER, "spi_out": "deadbee"}],
    ),
    (
        "ipsec,error unable to get local issuer certificate(20) at depth:0 cert:CN=peer.example",
        [{"event": "cert_invalid"}],
    ),
    ("ipsec,info acquired 10.0.5.7 address for 203.0.113.7, alice", []),
    ("ipsec processing payload: ID_I", []),
    ("l2tp,ppp,error <203.0.113.7>: user bob authentication failed", []),
    ("system,error,critical login failure for user admin from 203.0.113.7 via ssh", []),
]


@pytest.mark.parametrize(("line", "expected"), LINES)
def test_a_line_states_its_events(line: str, expected: list[dict[str, Any]]) -> None:
    for prefix in ("", "2026-09-18 09:53:32 ", "Sep 18 09:53:32 router ", "<30>Sep 18 09:53:32 "):
        assert shown(Parser, prefix + line) == expected
        assert bool(CUE.search((prefix + line).encode())) == line.startswith(
            ("ipsec,", "ipsec IPsec")
        )


def test_the_prefix_of_a_logging_rule_is_passed_over() -> None:
    line = "ipsec,info edge: respond new phase 1 (Identity Protection): 198.51.100.1[500]<=>203.0.113.7[500]"
    assert shown(Parser, line) == [{"event": "ike_respond", **PEER}]


def test_a_copy_without_topics_and_line_ends_still_tells() -> None:
    line = (
        "respond new phase 1 (Identity Protection): 198.xxx.xxx.xxx[500]<=>203.xxx.xxx.xxx[8730]"
        "ISAKMP-SA established 198.xxx.xxx.xxx[4500]-203.xxx.xxx.xxx[16146] spi:cc63:4ef4"
        "purging ISAKMP-SA 198.xxx.xxx.xxx[4500]<=>203.xxx.xxx.xxx[16146] spi=cc63:4ef4."
    )
    assert CUE.search(line.encode())
    assert [(row["event"], row["peer"]) for row in shown(Parser, line)] == [
        ("ike_respond", "203.xxx.xxx.xxx"),
        ("ike_established", "203.xxx.xxx.xxx"),
        ("ike_deleted", "203.xxx.xxx.xxx"),
    ]


def test_an_identity_is_no_event() -> None:
    line = f"ipsec,error identity not found for server: peer: FQDN: ISAKMP-SA established {ENDS}"
    assert [row["event"] for row in shown(Parser, line)] == ["unknown_peer"]


ENCODED = [line.encode() for line, _ in LINES]


@settings(max_examples=150, deadline=None)
@given(damaged(ENCODED))
def test_no_line_breaks_the_parser(text: bytes) -> None:
    events_of(Parser, text)


@settings(max_examples=15, deadline=None)
@given(
    st.sampled_from([b"[", b" ", b"x", b".", b"-", b"1.", b"]-", b"ISAKMP-SA established "]),
    st.sampled_from(ENCODED),
)
def test_a_line_of_a_megabyte_is_read_in_time(piece: bytes, line: bytes) -> None:
    events_of(Parser, line + piece * (1_000_000 // len(piece)))
    events_of(Parser, line[:40] + piece * (1_000_000 // len(piece)) + line[40:])
