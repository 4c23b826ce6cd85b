"""What charon says, sentence by sentence and prefix by prefix. Addresses and names are those of documentation."""

# ruff: noqa: E501 - lines of logs are long

import json
from typing import Any

import pytest

from ike.events.dialects.log_charon_lines import CUE, DULL
from ike.events.dialects.log_charon_rules import RULES
from ike.events.event import EVENTS, REMARKS, SaEvent, printed
from ike.events.reader import Reader

NOW = 1_796_000_000.0  # late in November 2026
SA = "07[IKE] <gw|3> "
SPIS = "c1b2c3d4_i c5d6e7f8_o"
TS = "10.1.0.0/16 === 10.2.0.0/16"


def read(*lines: str) -> list[SaEvent]:
    reader = Reader(NOW)
    return [*reader.feed("\n".join(lines).encode() + b"\n"), *reader.close()]


def shown(*lines: str) -> list[dict[str, Any]]:
    return [printed(event) for event in read(*lines) if event.kind in EVENTS]


def one(line: str) -> dict[str, Any]:
    """What is shown by a line that is an event, without its number."""
    (found,) = shown(line)
    assert found.pop("line") == 1
    return found


ENDS = "between 198.51.100.1[gw.example]...192.0.2.7[C=CH, CN=west]"
PEER = {"peer": "192.0.2.7"}
IDENTITY = {"peer": "west.example"}
WEST = {"connection": "west", "ike_id": 4}
NET = {"child": "net", "child_id": 5}
NEW = {"child": "net", "child_id": 1, "new_child_id": 5}
PAIR = {"spi_in": "c1b2c3d4", "spi_out": "c5d6e7f8"}

SENTENCES = [
    # IKE SAs
    ("initiating IKE_SA west[4] to 192.0.2.7", "ike_initiate", PEER | WEST),
    ("initiating Main Mode IKE_SA west[4] to 192.0.2.7", "ike_initiate", PEER | WEST),
    (
        "initiating Aggressive Mode IKE_SA a b[4] to 2001:db8::7",
        "ike_initiate", {"peer": "2001:db8::7", "connection": "a b", "ike_id": 4},
    ),
    ("192.0.2.7 is initiating an IKE_SA", "ike_respond", PEER),
    ("192.0.2.7 is initiating a Main Mode IKE_SA", "ike_respond", PEER),
    ("192.0.2.7 is initiating a Aggressive Mode IKE_SA", "ike_respond", PEER),
    ("192.0.2.7 is initiating IKE_SA west[4]", "ike_respond", PEER | WEST),
    (f"IKE_SA west[4] established {ENDS}", "ike_established", PEER | WEST),
    (f"IKE_SA west[4] rekeyed {ENDS}", "ike_rekeyed", PEER | WEST | {"old_ike_id": 3}),
    ("reauthenticating IKE_SA west[4]", "ike_reauth", WEST),
    ("reauthenticating IKE_SA due to address change", "ike_reauth", {}),
    (f"deleting IKE_SA west[4] {ENDS}", "ike_deleted", PEER | WEST),
    ("IKE_SA deleted", "ike_deleted", {}),
    ("received DELETE for IKE_SA west[4]", "ike_deleted", WEST),
    ("sending DELETE for IKE_SA west[4]", "ike_deleted", WEST),
    ("deleting duplicate IKE_SA for peer 'west.example' due to uniqueness policy", "ike_deleted", IDENTITY),
    ("destroying duplicate IKE_SA for peer 'west.example', received INITIAL_CONTACT", "ike_deleted", IDENTITY),
    ("deleting IKE_SA after 30 seconds of CHILD_SA inactivity", "ike_deleted", {}),
    ("deleting half open IKE_SA with 192.0.2.7 after timeout", "ike_timeout", PEER),
    ("deleting half open IKE_SA after timeout", "ike_timeout", {}),
    ("<REMOTE IP> is initiating an IKE_SA", "ike_respond", {"peer": "<REMOTE IP>"}),
    ("X.X.X.X is initiating a Main Mode IKE_SA", "ike_respond", {"peer": "X.X.X.X"}),
    ("deleting half open IKE_SA west[4] with 192.0.2.7 after timeout", "ike_timeout", PEER | WEST),
    ("establishing IKE_SA failed, peer not responding", "ike_timeout", {}),
    ("peer did not initiate expected exchange, reestablishing IKE_SA", "ike_timeout", {}),
    # Child SAs
    (f"CHILD_SA net{{5}} established with SPIs {SPIS} and TS {TS}", "child_established", NET | PAIR),
    (
        f"CHILD_SA net{{5}} established with SPIs {SPIS} and TS 10.1.0.0/16=== 10.2.0.0/16",
        "child_established", NET | PAIR,
    ),
    (f"outbound CHILD_SA net{{5}} established with SPIs {SPIS} and TS {TS}", "child_established", NET | PAIR),
    ("CHILD_SA net{5} established with SPIs xxxxxxxx_i xxxxxxxx_o and TS x === y", "child_established", NET),
    (
        f"rekeyed CHILD_SA net{{1}} with SPIs c0000001_i c0000002_o with net{{5}} with SPIs {SPIS}",
        "child_rekeyed", NEW | PAIR,
    ),
    ("detected rekeying of CHILD_SA net{5}", "child_rekeyed", NET),
    ("CHILD_SA net{5} state change: REKEYING => REKEYED", "child_rekeyed", NET),
    ("creating rekey job for CHILD_SA ESP/0xc1b2c3d4/198.51.100.1", "child_rekeyed", {"phase": "start"}),
    ("CHILD_SA rekeying failed, trying again in 14 seconds", "child_rekey_failed", {}),
    ("peer didn't find the CHILD_SA we tried to rekey", "child_rekey_failed", {}),
    (
        f"closing CHILD_SA net{{5}} with SPIs c1b2c3d4_i (168 bytes) c5d6e7f8_o (20 bytes) and TS {TS}",
        "child_closed", NET | PAIR,
    ),
    (f"closing expired CHILD_SA net{{5}} with SPIs {SPIS} and TS {TS}", "child_closed", NET | PAIR),
    ("CHILD_SA closed", "child_closed", {}),
    ("CHILD_SA net{5} closed", "child_closed", NET),
    ("CHILD_SA rekey collision lost, deleting redundant child net{5}", "child_closed", NET),
    ("deleting CHILD_SA after 60 seconds of inactivity", "child_closed", {}),
    ("sending DELETE for ESP CHILD_SA with SPI c1b2c3d4", "child_closed", {"spi_in": "c1b2c3d4"}),
    ("received DELETE for ESP CHILD_SA with SPI c5d6e7f8", "child_closed", {"spi_out": "c5d6e7f8"}),
    ("received DELETE for AH CHILD_SA with SPI c5d6e7f8", "child_closed", {"spi_out": "c5d6e7f8"}),
    # Authentication
    ("received AUTHENTICATION_FAILED notify error", "auth_failed", {}),
    ("received AUTHENTICATION_FAILED error notify", "auth_failed", {}),
    ("tried 2 shared keys for 'gw.example' - 'west.example', but MAC mismatched", "auth_failed", IDENTITY),
    ("no shared key found for 'gw.example' - 'west.example'", "auth_failed", IDENTITY),
    ("no shared key found for 'gw.example'[198.51.100.1] - 'west.example'[192.0.2.7]", "auth_failed", PEER),
    ("no shared key found for 198.51.100.1 - 192.0.2.7", "auth_failed", PEER),
    ("no trusted RSA public key found for 'C=CH, CN=west'", "auth_failed", {"peer": "C=CH, CN=west"}),
    ("EAP method EAP_MSCHAPV2 failed for peer carol", "auth_failed", {"peer": "carol"}),
    ("no EAP key found for hosts 'gw.example' - 'west.example'", "auth_failed", IDENTITY),
    ("loading EAP_MSCHAPV2 method failed", "auth_failed", {}),
    ("received EAP_FAILURE, EAP authentication failed", "auth_failed", {}),
    ("XAuth authentication of 'carol' failed", "auth_failed", {"peer": "carol"}),
    ("RADIUS authentication of 'carol' failed", "auth_failed", {"peer": "carol"}),
    ("EAP-MS-CHAPv2 verification failed, retry (1)", "auth_failed", {}),
    ("Aggressive Mode PSK disabled for security reasons", "auth_failed", {}),
    ("found 1 matching config, but none allows pre-shared key authentication using Main Mode", "auth_failed", {}),
    (
        "constraint check failed: identity 'gw.example' (ID_FQDN) required, not matched by 'west.example' (ID_FQDN)",
        "auth_failed", IDENTITY,
    ),
    # Certificates
    ('no issuer certificate found for "C=CH, CN=west"', "cert_invalid", {}),
    ("subject certificate invalid (valid from Jul 31 02:03:48 2021 to Jul 30 02:03:48 2026)", "cert_invalid", {}),
    ("path length of 2 violates constraint of 1", "cert_invalid", {}),
    ("constraint check failed: peer not authenticated by CA 'CN=CA'", "cert_invalid", {}),
    ("constraint check failed: RULE_CRL_VALIDATION is STALE, but requires at least GOOD", "cert_invalid", {}),
    ("certificate was revoked on Aug 11 14:52:03 UTC 2026, reason: key compromise", "cert_revoked", {}),
    ("crl fetching failed", "crl_fetch_failed", {}),
    ("ocsp request to http://ocsp.example failed", "crl_fetch_failed", {}),
    ("crl fetch from 'http://crl.example/ca.crl' recently failed, skipping", "crl_fetch_failed", {}),
    # Proposals, groups, networks
    ("received proposals unacceptable", "proposal_mismatch", {}),
    ("received proposals inacceptable", "proposal_mismatch", {}),
    ("no acceptable proposal found", "proposal_mismatch", {}),
    ("no proposal found", "proposal_mismatch", {}),
    ("no matching proposal found, sending NO_PROPOSAL_CHOSEN", "proposal_mismatch", {}),
    ("received NO_PROPOSAL_CHOSEN notify error", "proposal_mismatch", {}),
    ("received NO_PROPOSAL_CHOSEN notify, no CHILD_SA built", "proposal_mismatch", {}),
    ("peer didn't accept DH group ECP_256, it requested MODP_2048", "invalid_ke", {}),
    ("DH group ECP_256 inacceptable, requesting MODP_2048", "invalid_ke", {}),
    ("key exchange method ECP_256 unacceptable, requesting MODP_2048", "invalid_ke", {}),
    ("received TS_UNACCEPTABLE notify, no CHILD_SA built", "ts_unacceptable", {}),
    ("received INVALID_ID_INFORMATION error notify", "ts_unacceptable", {}),
    (f"traffic selectors {TS} unacceptable", "ts_unacceptable", {}),
    (f"no matching CHILD_SA config found for {TS}", "ts_unacceptable", {}),
    ("no matching peer config found", "unknown_peer", {}),
    ("no peer config found", "unknown_peer", {}),
    ("no IKE config found for 198.51.100.1...192.0.2.7, sending NO_PROPOSAL_CHOSEN", "unknown_peer", PEER),
    # Retransmissions, dead peers, floods
    ("retransmit 3 of request with message ID 1", "retransmit", {"seq": 3}),
    ("sending retransmit 2 of request message ID 0, seq 3", "retransmit", {"seq": 2}),
    ("received retransmit of request with ID 2, retransmitting response", "retransmit", {}),
    ("giving up after 5 retransmits", "giving_up", {}),
    ("DPD check timed out, enforcing DPD action", "dpd_timeout", {}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("sentence", "kind", "fields"), SENTENCES, ids=[each[0] for each in SENTENCES]
)
def test_a_sentence_is_its_event_with_what_it_shows(
    sentence: str, kind: str, fields: dict[str, Any]
) -> None:
    assert one(SA + sentence) == {"event": kind, "connection": "gw", "ike_id": 3, **fields}


FLOODS = [
    ("09[NET] sending COOKIE notify to 192.0.2.7", "cookie", PEER),
    ("09[ENC] <gw|3> parsed IKE_SA_INIT response 0 [ N(COOKIE) ]", "cookie", {"connection": "gw", "ike_id": 3}),
    (
        "09[NET] ignoring IKE_SA setup from 192.0.2.7, per-IP half-open IKE_SA limit of 4 reached",
        "half_open_limit", PEER,
    ),
    ("09[NET] ignoring IKE_SA setup from 192.0.2.7, half-open IKE_SA limit of 4 reached", "half_open_limit", PEER),
    (
        "09[NET] ignoring IKE_SA setup from 192.0.2.7, half open IKE_SA count of 9 exceeds limit of 4",
        "half_open_limit", PEER,
    ),
    ("09[NET] ignoring IKE_SA setup from 192.0.2.7, peer too aggressive", "half_open_limit", PEER),
]  # fmt: skip


@pytest.mark.parametrize(("line", "kind", "fields"), FLOODS, ids=[line for line, _, _ in FLOODS])
def test_floods_are_told_by_the_network_side(line: str, kind: str, fields: dict[str, Any]) -> None:
    assert one(line) == {"event": kind, **fields}


NOTHING = [
    f"inbound CHILD_SA net{{5}} established with SPIs {SPIS} and TS {TS}",
    "establishing CHILD_SA net{5} reqid 1",
    "scheduling rekeying in 13440s",
    "maximum IKE_SA lifetime 14400s",
    "schedule delete of duplicate IKE_SA for peer 'west.example' due to uniqueness policy",
    "authentication of 'west.example' with pre-shared key successful",
    "authentication of 'gw.example' (myself) with pre-shared key",
    "sending DPD request",
    "peer not responding, trying again (2/3)",
    "restarting CHILD_SA net",
    "remote host is behind NAT",
    "failed to establish CHILD_SA, keeping IKE_SA",
    "received TEMPORARY_FAILURE notify, will retry later",
    "no matching proposal found, trying alternative config",
    "received unknown vendor ID: 01:02",
    "selected proposal: ESP:AES_GCM_16_256/NO_EXT_SEQ",
    "selected peer config 'gw' unacceptable: non-matching authentication done",
    "vici terminate IKE_SA 'west'",
    "received retransmit of response with ID 2, but next request already sent",
    "generating new cookie secret after 12s since first use",
    "ignoring IKE_SA setup from 192.0.2.7, job load of 40 exceeds limit of 30",
    "generating IKE_AUTH response 1 [ N(AUTH_FAILED) ]",
    # words of an event in what a peer chose
    "authentication of 'x' failed' with pre-shared key successful",
    "XAuth authentication of 'x' failed' successful",
    "looking for peer configs matching 198.51.100.1[%any]...192.0.2.7[9.9.9.9 is initiating an IKE_SA]",
    "received EAP identity '9.9.9.9 is initiating an IKE_SA'",
]


@pytest.mark.parametrize("message", NOTHING)
def test_what_is_no_event(message: str) -> None:
    assert shown(SA + message) == []


PREFIXES = [
    ("07[IKE] <gw|3> ", "gw", 3),
    ("07[IKE1] <gw|3> ", "gw", 3),
    ("07[IKE] <3> ", None, 3),
    ("07[IKE] ", None, None),
    ("[IKE] ", None, None),
    ("112[IKE] <gw|3> ", "gw", 3),
    ("07[IKE] <a b#c/d|e|3> ", "a b#c/d|e", 3),
    ("07[IKE] <(unnamed)|3> ", None, 3),
    ("07[IKE] <gw-1> ", "gw-1", None),
    ("Jun 20 14:29:47 07[IKE] <gw|3> ", "gw", 3),
    ("2026-06-20T14:29:47.123456 07[IKE] <gw|3> ", "gw", 3),
    ("Sat, 2026-06-20, 14:29:47 07[IKE] <gw|3> ", "gw", 3),
    ("Jun 20 14:29:47 host charon[2428]: 07[IKE] <gw|3> ", "gw", 3),
    ("Jun 20 14:29:47 host charon: 07[IKE] <gw|3> ", "gw", 3),
    ("Jun 20 14:29:47 host ipsec[2428]: 07[IKE] <gw|3> ", "gw", 3),
    ("Jun 20 14:29:47 host charon-systemd[2428]: ", None, None),
    ("Jun 20 14:29:47 charon-systemd[2428]: Jun 20 14:29:47 07[IKE] <gw|3> ", "gw", 3),
    ("<30>Jun 20 14:29:47 host charon: 07[IKE] <gw|3> ", "gw", 3),
    ("<30>1 2026-06-20T14:29:47.1+02:00 host charon 2428 - - 07[IKE] <gw|3> ", "gw", 3),
    ('<30>1 2026-06-20T14:29:47Z host charon 1 - [a@1 b="c"] 07[IKE] <gw|3> ', "gw", 3),
    ("strongswan_1  | 07[IKE] <gw|3> ", "gw", 3),
    ("\x1b[36mstrongswan_1  |\x1b[0m 07[IKE] <gw|3> ", "gw", 3),
    ("2026-06-20T14:29:47.123456789Z stdout F 07[IKE] <gw|3> ", "gw", 3),
    ("2026-06-20T14:29:47\tInformational\tcharon\t07[IKE] <gw|3> ", "gw", 3),
    ("charon: message repeated 2 times: [ 07[IKE] <gw|3> ", "gw", 3),
    ("I/charon: 07[IKE] ", None, None),
]


@pytest.mark.parametrize(("prefix", "name", "number"), PREFIXES, ids=[p for p, _, _ in PREFIXES])
def test_every_prefix_is_understood(prefix: str, name: str | None, number: int | None) -> None:
    expected = {"connection": name, "ike_id": number, "seq": 3, "event": "retransmit"}
    found = one(f"{prefix}retransmit 3 of request with message ID 1")
    assert found == {key: value for key, value in expected.items() if value is not None}


TEXT = "giving up after 5 retransmits"
JOURNAL = {"__REALTIME_TIMESTAMP": "1781965787000000", "_HOSTNAME": "host", "_PID": "9"}
JSON = [
    {"time": "2026-06-20 14:29:47", "thread": 7, "group": "IKE", "level": 1}
    | {"ikesa-uniqueid": "3", "ikesa-name": "gw", "msg": TEXT},
    {
        "MESSAGE": TEXT,
        "MESSAGE_ID": "57d2708cd60743bd8c3966bfe248be03",
        "THREAD": "07",
        "GROUP": "IKE",
    }
    | {"IKE_SA_NAME": "gw", "IKE_SA_UNIQUE_ID": "3", "SYSLOG_IDENTIFIER": "charon-systemd"}
    | JOURNAL,
    {"MESSAGE": list(f"{SA}{TEXT}".encode()), "SYSLOG_IDENTIFIER": "charon"} | JOURNAL,
    {"log": f"{SA}{TEXT}\n", "stream": "stdout", "time": "2026-06-20T14:29:47Z"},
    {"@timestamp": "2026-06-20T14:29:47.000Z", "message": f"{SA}{TEXT}", "host": {"name": "h"}},
]


@pytest.mark.parametrize("entry", JSON)
def test_json_of_charon_the_journal_and_containers(entry: dict[str, object]) -> None:
    (event,) = read(json.dumps(entry))
    assert printed(event) == {"line": 1, "event": "giving_up", "connection": "gw", "ike_id": 3}
    assert event.time == 1_781_965_787


def test_a_line_that_shows_only_a_child_names_its_connection_by_it() -> None:
    assert one("07[IKE] CHILD_SA net{5} closed") == {
        "event": "child_closed",
        "connection": "net",
        "child": "net",
        "child_id": 5,
    }


def test_an_identity_of_the_peer_cannot_stand_for_its_address() -> None:
    line = (
        SA + "IKE_SA gw[3] established between 198.51.100.1[gw.example]...192.0.2.7[x]...9.9.9.9[y]"
    )
    (event,) = read(line)
    assert (event.peer, event.identity) == ("192.0.2.7", "x]...9.9.9.9[y")


def test_a_message_that_is_wrapped_is_told_on_its_first_line() -> None:
    start = "Jun 20 14:29:47 host charon[2428]: 07[IKE] <gw|3> IKE_SA gw[3] "
    whole = "established between 198.51.100.1[gw.example]...192.0.2.7[west.example]"
    expected = {"line": 2, "event": "ike_established", "peer": "192.0.2.7"}
    for lines in (
        (start + whole[:20], "  " + whole[20:]),
        (start, whole),
        (start + whole[:45], whole[45:]),  # within a word, as a terminal breaks it
        (start + whole[:12], whole[12:30], whole[30:]),
    ):
        found = shown("07[NET] sending packet: from a[500] to b[500] (9 bytes)", *lines)
        assert found == [{**expected, "connection": "gw", "ike_id": 3}]


def test_a_message_that_is_cut_off_is_told_with_what_is_there() -> None:
    lines = (SA + "IKE_SA gw[3] established betw", SA + "sending DPD request")
    assert shown(*lines) == [
        {"line": 1, "event": "ike_established", "connection": "gw", "ike_id": 3}
    ]


def test_two_messages_on_one_line_are_both_told() -> None:
    tag = "Jun 20 14:29:47 host charon[2428]: "
    found = shown(f"{tag}07[ENC] could not decrypt payloads{tag}07[IKE] IKE_SA deleted")
    assert [(each["line"], each["event"]) for each in found] == [
        (1, "auth_failed"),
        (1, "ike_deleted"),
    ]


def test_a_peer_cannot_add_a_message_by_its_identity() -> None:
    evil = "x] Jun 20 14:29:47 07[IKE] IKE_SA other[9] established between a[b]...c[d"
    line = f"{SA}IKE_SA gw[3] established between 198.51.100.1[gw]...192.0.2.7[{evil}]"
    assert [each["ike_id"] for each in shown(line)] == [3]
    assert [each["ike_id"] for each in shown("Jun 20 14:29:47 h charon[8]: " + line)] == [3]


def test_a_peer_cannot_hide_a_message_by_its_identity() -> None:
    for evil in (
        "[NET] received packet: from ",
        "[IKE] <x|9> ",
        "charon[1]: ",
        "07[ENC] x",
        "\\n",
        "<",
    ):
        line = f"Jun 20 14:29:47 h charon[8]: 07[IKE] no shared key found for 'gw' - '{evil}'"
        assert [(each["event"], each["peer"]) for each in shown(line)] == [("auth_failed", evil)]


def test_a_broken_packet_of_ikev2_is_no_wrong_key() -> None:
    assert (
        shown(
            "07[ENC] verifying encrypted payload integrity failed",
            "07[ENC] could not decrypt payloads",
            "07[IKE] integrity check failed",
        )
        == []
    )
    assert [each["event"] for each in shown(
        "07[ENC] invalid ID_V1 payload length, decryption failed?",
        "07[ENC] could not decrypt payloads",
        "07[IKE] message parsing failed",
    )] == ["auth_failed"]  # fmt: skip


def test_a_refused_exchange_that_was_a_rekey_is_a_failed_rekey() -> None:
    ours = [
        "05[ENC] <gw|3> generating CREATE_CHILD_SA request 8 [ N(REKEY_SA) SA No KE TSi TSr ]",
        "11[ENC] <gw|3> parsed CREATE_CHILD_SA response 8 [ N(NO_PROP) ]",
        "11[IKE] <gw|3> failed to establish CHILD_SA, keeping IKE_SA",
    ]
    theirs = [
        "11[ENC] <gw|3> parsed CREATE_CHILD_SA request 2 [ N(REKEY_SA) SA No TSi TSr ]",
        "11[IKE] <gw|3> no acceptable proposal found",
        "11[IKE] <gw|3> failed to establish CHILD_SA, keeping IKE_SA",
    ]
    assert [each["event"] for each in shown(*ours)] == ["child_rekey_failed"]
    assert [each["event"] for each in shown(*theirs)] == ["proposal_mismatch", "child_rekey_failed"]
    assert shown(*(line.replace("N(REKEY_SA) ", "") for line in ours)) == []


@pytest.mark.parametrize(
    ("ends", "claimed"),
    [
        ("peer configs matching 198.51.100.1[gw]...192.0.2.7[old.example]", "old.example"),
        ("peer configs matching 198.51.100.1[gw]...192.0.2.7[C=CH, CN=a [b]]", "C=CH, CN=a [b]"),
        (
            "pre-shared key peer configs matching 2001:db8::1...2001:db8::7[192.168.0.2]",
            "192.168.0.2",
        ),
        ("peer configs matching 198.51.100.1[%any]...192.0.2.7[%any]", None),
        ("peer configs matching 198.51.100.1[gw]...192.0.2.7[cut", None),
        ("an IKE config for 198.51.100.1...192.0.2.7", None),
        (f"peer configs matching 198.51.100.1[gw]{'...' * 1_000}", None),
    ],
)
@pytest.mark.parametrize("ike", ["", "<4> "])
def test_who_an_unknown_peer_claims_to_be_stands_in_the_line_before(
    ends: str, claimed: str | None, ike: str
) -> None:
    lines = [
        f"10[CFG] {ike}looking for {ends}",
        f"11[CFG] {ike}looking for peer configs matching 198.51.100.1[gw]...192.0.2.9[other]",
        f"10[CFG] {ike}no matching peer config found",
        f"10[CFG] {ike}no matching peer config found",
    ]
    found = [(event.kind, event.identity) for event in read(*lines)]
    assert found == [("unknown_peer", claimed), ("unknown_peer", None)]


def test_whom_a_line_is_about_is_known_from_the_lines_before_it() -> None:
    lines = [
        "05[IKE] initiating IKE_SA west[4] to 192.0.2.7",
        "09[NET] received packet: from 192.0.2.7[500] to 198.51.100.1[500] (36 bytes)",
        "09[IKE] received NO_PROPOSAL_CHOSEN notify error",
        "10[NET] received packet: from 192.0.2.9[500] to 198.51.100.1[500] (36 bytes)",
        "10[IKE] no matching peer config found",
        "10[IKE] giving up after 5 retransmits",
        "11[IKE] <west|4> giving up after 5 retransmits",
    ]
    found = [(event.source, event.name) for event in read(*lines)]
    assert found == [
        ("192.0.2.7", "west"),
        ("192.0.2.7", "west"),
        ("192.0.2.9", None),
        (None, None),  # a timer's: not about the packet that the thread saw before
        ("192.0.2.7", "west"),
    ]
    assert "peer" not in printed(read(*lines)[1])  # that line does not show it


def test_whom_a_child_sa_is_of_is_known_where_no_line_has_the_number_of_an_ike_sa() -> None:
    lines = [
        "09[NET] received packet: from 192.0.2.7[4500] to 198.51.100.1[4500] (36 bytes)",
        f"09[IKE] IKE_SA west[3] established {ENDS}",
        f"09[IKE] CHILD_SA net{{5}} established with SPIs {SPIS} and TS {TS}",
        "10[NET] received packet: from 192.0.2.9[4500] to 198.51.100.1[4500] (36 bytes)",
        f"10[IKE] closing expired CHILD_SA net{{5}} with SPIs {SPIS} and TS {TS}",
        f"10[IKE] closing CHILD_SA net{{6}} with SPIs {SPIS} and TS {TS}",
    ]
    assert [(event.kind, event.source, event.name) for event in read(*lines)] == [
        ("ike_established", "192.0.2.7", "west"),
        ("child_established", "192.0.2.7", "west"),
        ("child_closed", "192.0.2.7", "west"),
        ("child_closed", None, "net"),
    ]


def test_hosts_of_one_log_are_kept_apart() -> None:
    one, other = (f"Jun 20 14:29:47 {name} charon[1]: " for name in ("gw1", "gw2"))
    events = read(
        f"{one}05[IKE] initiating IKE_SA west[4] to 192.0.2.7",
        f"{other}05[IKE] <east|4> giving up after 5 retransmits",
    )
    assert [(event.host, event.source) for event in events] == [("gw1", "192.0.2.7"), ("gw2", None)]


PACKETS = (
    "05[NET] received packet: from 192.0.2.{}[500] to 198.51.100.{}[500] (36 bytes)",
    "05[IKE] {}",
)
MISMATCH = "tried 1 shared key for 'gw' - 'west', but MAC mismatched"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("gw1-1  | ", "gw2-1  | "),
        ("gw1-1  | 2026-06-20T14:29:47 ", "gw2-1  | 2026-06-20T14:29:47 "),
        ("[pod/ipsec-0/charon] ", "[pod/ipsec-1/charon] "),
        ("Jun 20 14:29:47 gw charon[7]: ", "Jun 20 14:29:47 gw charon[8]: "),
        ("Jun 20 14:29:47 gw charon-systemd[7]: ", "Jun 20 14:29:47 gw charon[7777777]: "),
        ("<30>1 2026-06-20T14:29:47Z gw charon 7 - - ", "<30>1 2026-06-20T14:29:47Z gw charon 8 - - "),
    ],
)  # fmt: skip
def test_daemons_of_one_log_are_kept_apart(one: str, other: str) -> None:
    """They number their threads alike, so the packet of one must not be that of the other."""
    packet, told = PACKETS
    events = read(
        one + packet.format(7, 1),
        other + packet.format(8, 2),
        one + told.format(MISMATCH),
        other + told.format("received AUTHENTICATION_FAILED notify error"),
        one + told.format("retransmit 1 of request with message ID 0"),
        other + "05[NET] sending packet: from 198.51.100.2[500] to 192.0.2.8[500] (36 bytes)",
    )
    assert [(event.kind, event.source) for event in events] == [
        ("auth_failed", "192.0.2.7"),
        ("auth_failed", "192.0.2.8"),
        ("retransmit", None),
    ]


def test_a_daemon_that_was_begun_anew_knows_no_numbers_but_who_has_which_address() -> None:
    tag = "Jun 20 14:29:47 gw charon[{}]: "
    events = read(
        tag.format(7) + f"05[IKE] IKE_SA west[1] established {ENDS}",
        tag.format(8) + "06[IKE] <1> received AUTHENTICATION_FAILED notify error",
        tag.format(8) + PACKETS[0].format(7, 1),
        tag.format(8) + PACKETS[1].format(MISMATCH),
    )
    assert [(event.source, event.name) for event in events] == [
        ("192.0.2.7", "west"),
        (None, None),
        ("192.0.2.7", "west"),
    ]


def test_numbers_are_not_those_of_before_a_start_of_the_daemon() -> None:
    events = read(
        PACKETS[0].format(7, 1),
        f"05[IKE] IKE_SA west[1] established {ENDS}",
        f"05[IKE] CHILD_SA net{{5}} established with SPIs {SPIS} and TS {TS}",
        "00[DMN] Starting IKE charon daemon (strongSwan 5.9.8, Linux 6.1, x86_64)",
        "06[IKE] <1> received AUTHENTICATION_FAILED notify error",
        f"05[IKE] closing CHILD_SA net{{5}} with SPIs {SPIS} and TS {TS}",
    )
    assert [(event.kind, event.source, event.name) for event in events] == [
        ("ike_established", "192.0.2.7", "west"),
        ("child_established", "192.0.2.7", "west"),
        ("daemon_started", None, None),
        ("auth_failed", None, None),
        ("child_closed", None, "net"),
    ]


SHIPPED = {"@timestamp": "2026-06-20T14:29:47Z"}
JOURNAL = {"SYSLOG_IDENTIFIER": "dockerd", "_PID": "5", "_HOSTNAME": "box"}


@pytest.mark.parametrize(
    ("entry", "host"),
    [
        (SHIPPED | {"message": f"{SA}x", "host": {"name": "gw1"}}, "gw1"),
        (SHIPPED | {"message": f"{SA}x", "host": "gw1"}, "gw1"),
        (SHIPPED | {"message": f"Jun 20 14:29:47 gw2 charon: {SA}x", "host": {"name": "relay"}}, "gw2"),
        (SHIPPED | {"message": f"{SA}x", "host": {"name": "box"}, "container": {"name": "vpn-1"}}, "box/vpn-1"),
        ({"log": f"{SA}x", "time": "2026-06-20T14:29:47Z", "container_name": "/vpn-1"}, "vpn-1"),
        (JOURNAL | {"MESSAGE": f"{SA}x", "CONTAINER_NAME": "vpn-1"}, "box/vpn-1"),
        (JOURNAL | {"MESSAGE": f"{SA}x", "SYSLOG_IDENTIFIER": "charon"}, "box"),
    ],
)  # fmt: skip
def test_what_ships_a_line_tells_whose_it_is(entry: dict[str, Any], host: str) -> None:
    said = json.dumps(entry).replace("] <gw|3> x", "] <gw|3> received TS_UNACCEPTABLE notify")
    assert [event.host for event in read(said)] == [host]


REMARKED = [
    ("selected proposal: IKE:AES_CBC_128/HMAC_SHA1_96/PRF_HMAC_SHA1/MODP_1024", "algorithms"),
    ("scheduling reauthentication in 3240s", "rekey_scheduled"),
    ("detected CHILD_REKEY collision with CHILD_REKEY", "collision"),
    ("NAT mappings of CHILD_SA ESP/0xc1/192.0.2.7 changed to 192.0.2.7[4501], queuing update job", "address_changed"),
    ("signal of type SIGINT received. Shutting down", "daemon_stopped"),
    ("Starting IKE charon daemon (strongSwan 5.9.8, Linux 6.1, x86_64)", "daemon_started"),
    ("loaded vici connection", None),
    ("replaced vici connection: gw", "configured"),
]  # fmt: skip


@pytest.mark.parametrize(("message", "kind"), REMARKED)
def test_remarks_are_for_the_rules_only(message: str, kind: str | None) -> None:
    assert [event.kind for event in read(SA + message)] == ([kind] if kind else [])
    assert shown(SA + message) == []


def test_every_rule_is_one_that_can_speak() -> None:
    for rule in RULES:
        assert rule.kind in EVENTS or rule.kind in REMARKS
        assert " " in rule.literal or "is initiating" in rule.whole.pattern, rule.whole.pattern


def test_every_kind_of_event_has_a_sentence() -> None:
    assert {kind for _, kind, _ in SENTENCES + FLOODS} == set(EVENTS)


SENT = "[NET] sending packet: from 198.51.100.1[4500] to "


def repeated(thread: str, peer: str, times: int) -> list[str]:
    return [
        f"{thread}[IKE] retransmit {times} of request with message ID 2",
        f"{thread}{SENT}{peer}[4500] (80 bytes)",
    ]


def test_without_numbers_the_packet_after_a_repeat_tells_whom_it_is_about() -> None:
    up = [f"03[IKE] IKE_SA west[4] established {ENDS}"]
    first, second = read(*up, *repeated("07", "192.0.2.7", 1), *repeated("08", "203.0.113.9", 1))[
        1:
    ]
    assert (first.line, first.source, first.name, first.peer) == (2, "192.0.2.7", "west", None)
    assert (second.line, second.source, second.name) == (4, "203.0.113.9", None)
    (other,) = read(*repeated("07", "192.0.2.7", 1)[:1], f"08{SENT}192.0.2.7[4500] (80 bytes)")
    (last,) = read(*repeated("07", "192.0.2.7", 1)[:1])
    assert other.source is last.source is None


def test_without_numbers_a_dead_peer_is_who_is_asked_anew() -> None:
    lines = (
        "08[IKE] DPD check timed out, enforcing DPD action",
        "08[IKE] restarting CHILD_SA net",
        "08[IKE] initiating Main Mode IKE_SA west[5] to 192.0.2.7",
    )
    dead, asked = read(f"03[IKE] IKE_SA west[4] established {ENDS}", *lines)[1:]
    assert [(each.line, each.source, each.name) for each in (dead, asked)] == [
        (2, "192.0.2.7", "west"),
        (4, "192.0.2.7", "west"),
    ]
    (alone,) = read(lines[0], "09" + lines[2][2:])[:1]
    assert (alone.kind, alone.source) == ("dpd_timeout", None)


def test_without_numbers_he_is_given_up_whose_last_repeat_is_the_oldest() -> None:
    lines = [
        *repeated("01", "192.0.2.7", 3),
        *repeated("02", "192.0.2.8", 2),
        *repeated("03", "192.0.2.9", 3),
        *repeated("04", "192.0.2.10", 3),
        "05[NET] received packet: from 192.0.2.7[4500] to 198.51.100.1[4500] (80 bytes)",
        *["06[IKE] giving up after 3 retransmits"] * 4,
    ]
    given_up = [event.source for event in read(*lines) if event.kind == "giving_up"]
    assert given_up == ["192.0.2.9", "192.0.2.10", "192.0.2.7", None]


def test_lines_that_are_passed_over_are_those_without_an_event() -> None:
    for sentence, _, _ in SENTENCES:
        for prefix, _, _ in PREFIXES:
            raw = f"{prefix}{sentence}\n".encode()
            assert CUE.search(raw)
            found = DULL.match(raw)
            assert found is not None
            assert found.start("begin") == 0, raw


CHANGES = [
    "CREATED => INSTALLING", "INSTALLING => INSTALLED", "INSTALLED => REKEYING", "INSTALLED => DELETING",
    "REKEYED => DELETING",
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_only_the_change_to_rekeyed_is_a_rekey(change: str) -> None:
    """Else every Child SA of a log with more details would be one that was replaced."""
    changed = f"07[CHD] <gw|3> CHILD_SA net{{5}} state change: {change}"
    assert shown(changed, "07[IKE] <gw|3> sending DPD request") == []


NAKED = [
    ("initiating Main Mode IKE_SA west[4] to 192.0.2.7", "ike_initiate", PEER | WEST),
    (f"IKE_SA west[4] established {ENDS}", "ike_established", PEER | WEST),
    (f"CHILD_SA net{{5}} established with SPIs {SPIS} and TS {TS}", "child_established", {"connection": "net"} | NET | PAIR),
    ("Jun 20 14:29:47 CHILD_SA net{5} state change: INSTALLED => REKEYED", "child_rekeyed", {"connection": "net"} | NET),
    ("received TS_UNACCEPTABLE notify, no CHILD_SA built", "ts_unacceptable", {}),
    ("retransmit 2 of request with message ID 0", "retransmit", {"seq": 2}),
    ("giving up after 5 retransmits", "giving_up", {}),
    ("no trusted RSA public key found for 'west.example'", "auth_failed", IDENTITY),
]  # fmt: skip


@pytest.mark.parametrize(("line", "kind", "fields"), NAKED)
def test_what_a_control_tool_shows_without_a_prefix_is_read(
    line: str, kind: str, fields: dict[str, Any]
) -> None:
    found = one(line)
    found.pop("time", None)
    assert found == {"event": kind, **fields}


def test_a_cookie_and_a_refused_mode_of_authentication_are_told() -> None:
    assert one(SA + "received COOKIE notify")["event"] == "cookie"
    assert one(SA + "peer requested EAP, config unacceptable")["event"] == "auth_failed"


def test_an_ellipsis_between_the_ends_is_read_as_three_dots() -> None:
    web = "IKE_SA west[4] established between 198.51.100.1[gw.example]\u2026192.0.2.7[west.example]"
    assert one(SA + web) == {"event": "ike_established", **PEER, **WEST}


def test_the_older_wording_of_an_expiry_is_read() -> None:
    old = "07[KNL] creating delete job for ESP CHILD_SA with SPI c1b2c3d4 and reqid {3}"
    assert one(old)["event"] == "child_closed"


@pytest.mark.parametrize(
    "message",
    [
        "EAP-MS-CHAPv2 failed with error ERROR_AUTHENTICATION_FAILURE: '(null)'",
        "EAP_MSCHAPV2 method failed",
        "final authorization hook forbids IKE_SA, cancelling",
    ],
)
def test_what_ends_an_authentication_is_told(message: str) -> None:
    assert one(SA + message) == {"event": "auth_failed", "connection": "gw", "ike_id": 3}


def test_a_payload_list_is_enough_where_a_cookie_is_demanded() -> None:
    assert one("09[ENC] generating IKE_SA_INIT response 0 [ N(COOKIE) ]") == {"event": "cookie"}


def test_a_rekey_of_an_unknown_child_has_failed() -> None:
    told = SA + "unable to rekey, ESP CHILD_SA with SPI c1b2c3d4 not found"
    assert one(told)["event"] == "child_rekey_failed"


def test_an_identity_that_a_pager_cut_takes_no_address_with_it() -> None:
    cut = "deleting IKE_SA west[4] between 198.51.100.1[CN=gw]...192.0.2.7[C=CH, O=Ex>"
    assert one(SA + cut) == {"event": "ike_deleted", **PEER, **WEST}


def test_what_network_manager_hands_on_is_read() -> None:
    relayed = "Jun 20 14:29:47 laptop NetworkManager[11]: "
    started, other = shown(
        relayed + "initiating Main Mode IKE_SA west[4] to 192.0.2.7",
        relayed + "<info>  [1.5] vpn-connection: received NO_PROPOSAL_CHOSEN error notify",
        relayed + "received NO_PROPOSAL_CHOSEN error notify",
    )
    assert (started["event"], started["peer"]) == ("ike_initiate", "192.0.2.7")
    assert (other["line"], other["event"]) == (3, "proposal_mismatch")
