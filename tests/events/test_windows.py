"""Windows Security events in every form of export, composed from the manifest's fields and messages."""

# ruff: noqa: E501 - lines of logs are long

import json

import pytest
from hypothesis import given, settings

from ike.events.dialects.log_windows import CUE, Parser
from tests.events.said import events_of, one, pieces, shown, survives

FAR = "198.51.100.2"
FAILED = {
    "LocalMMPrincipalName": "-",
    "RemoteMMPrincipalName": "-",
    "LocalAddress": "192.0.2.1",
    "LocalKeyModPort": "500",
    "RemoteAddress": FAR,
    "RemoteKeyModPort": "500",
    "KeyModName": "%%8222",
    "FailurePoint": "%%8199",
    "FailureReason": "Negotiation timed out",
    "MMFilterID": "0",
}
QUICK = {
    "LocalAddress": "10.1.0.0",
    "LocalTunnelEndpoint": "192.0.2.1",
    "RemoteAddress": "10.2.0.0",
    "RemoteTunnelEndpoint": FAR,
    "MainModeSaId": "12",
    "QuickModeSaId": "59",
    "InboundSpi": "1234567890",
    "OutboundSpi": "987654321",
}
MESSAGE = """An IPsec main mode negotiation failed.

Local Endpoint:
\tLocal Principal Name:\t-
\tNetwork Address:\t192.0.2.1
\tKeying Module Port:\t500

Remote Endpoint:
\tPrincipal Name:\t\t-
\tNetwork Address:\t198.51.100.2
\tKeying Module Port:\t500

Additional Information:
\tKeying Module Name:\tIKEv2
\tRole:\t\t\tInitiator

Failure Information:
\tFailure Point:\t\tLocal computer
\tFailure Reason:\t\tIKE authentication credentials are unacceptable
\tState:\t\t\tSent first (SA) payload
"""
ENDED = """An IPsec quick mode security association ended.

Local Endpoint:
\tNetwork Address:\t192.0.2.1
\tPort:\t\t\t0
\tTunnel Endpoint:\t\t-

Remote Endpoint:
\tNetwork Address:\t198.51.100.2
\tPort:\t\t\t3389
\tTunnel Endpoint:\t\t-

Additional Information:
\tProtocol:\t\t6
\tQuick Mode SA ID:\t59
"""


def xml(number: int, fields: dict[str, str], end: str = "") -> str:
    data = end.join(f"<Data Name='{name}'>{value}</Data>" for name, value in fields.items())
    return end.join(
        (
            "<Event xmlns='http://schemas.microsoft.com/win/2004/08/events/event'><System>",
            "<Provider Name='Microsoft-Windows-Security-Auditing'/>",
            f"<EventID>{number}</EventID>",
            "<TimeCreated SystemTime='2026-03-02T08:15:00.1234567Z'/>",
            "<Computer>gw.example</Computer></System><EventData>",
            data,
            "</EventData></Event>",
        )
    )


@pytest.mark.parametrize(
    ("number", "kinds"),
    [
        (4646, ["cookie"]),
        (4650, ["ike_established"]),
        (4651, ["ike_established"]),
        (4655, ["ike_deleted"]),
        (4976, []),
        (4977, []),
        (4978, []),
        (4979, ["ike_established"]),
        (4980, ["ike_established"]),
        (4981, ["ike_established"]),
        (4982, ["ike_established"]),
        (4983, ["auth_failed", "ike_deleted"]),
        (4984, ["auth_failed", "ike_deleted"]),
        (5049, ["child_closed"]),
        (5453, []),
        (4624, []),
    ],
)
def test_an_event_by_its_number(number: int, kinds: list[str]) -> None:
    line = xml(number, {"LocalAddress": "192.0.2.1", "RemoteAddress": FAR, "MMSAID": "12"})
    assert CUE.search(line.encode())
    assert one(Parser(), line) == [
        {"event": kind, "peer": FAR, "ike_id": 12} for kind in kinds
    ] or (number == 5049 and one(Parser(), line)[0]["event"] == "child_closed")


@pytest.mark.parametrize(
    ("number", "reason", "kinds"),
    [
        (4653, "Negotiation timed out", ["ike_timeout"]),
        (4652, "IKE authentication credentials are unacceptable", ["auth_failed"]),
        (4653, "IKE security attributes are unacceptable", ["proposal_mismatch"]),
        (4653, "Policy match error", ["proposal_mismatch"]),
        (4653, "No policy configured", ["unknown_peer"]),
        (4652, "Certificate Revocation Check of peer's certificate failed", ["cert_invalid"]),
        (4653, "IKE SA deleted by peer before establishment completed", ["ike_deleted"]),
        (4653, "Processing first (SA) payload", []),
        (4654, "Negotiation timed out", ["giving_up"]),
        (4654, "No policy configured", ["ts_unacceptable"]),
        (4654, "Policy match error", ["proposal_mismatch"]),
    ],
)
def test_a_failure_by_its_reason(number: int, reason: str, kinds: list[str]) -> None:
    assert [
        each["event"] for each in one(Parser(), xml(number, {**FAILED, "FailureReason": reason}))
    ] == kinds


def test_a_child_sa_names_the_ends_of_its_tunnel() -> None:
    assert one(Parser(), xml(5451, QUICK)) == [
        {
            "event": "child_established",
            "peer": FAR,
            "ike_id": 12,
            "child_id": 59,
            "spi_in": "1234567890",
            "spi_out": "987654321",
        }
    ]
    transport = {**QUICK, "RemoteAddress": FAR, "RemoteTunnelEndpoint": "-"}
    assert one(Parser(), xml(5452, transport))[0]["peer"] == FAR


def test_a_peer_without_an_address_is_its_identity() -> None:
    fields = {"RemoteMMPrincipalName": "CN=gw.example", "RemoteAddress": "-"}
    assert one(Parser(), xml(4651, fields))[0]["peer"] == "CN=gw.example"


def test_time_and_computer_come_from_the_event() -> None:
    (event,) = events_of(Parser(), xml(4655, FAILED))
    assert event.time == pytest.approx(1772439300.123456)
    assert event.host == "gw.example"


def test_xml_over_many_lines_on_one_and_in_utf_16() -> None:
    log = "\n".join((xml(4653, FAILED), xml(5451, QUICK, "\r\n"), xml(4655, FAILED)))
    lines = [(each["line"], each["event"]) for each in shown(Parser(), log)]
    expected = [(1, "ike_timeout"), (2, "child_established"), (16, "ike_deleted")]
    assert lines == expected
    for encoding in ("utf-16", "utf-16-be"):
        raw = log.encode(encoding)
        assert CUE.search(raw.split(b"\n")[0])
        assert [(each["line"], each["event"]) for each in shown(Parser(), raw)] == expected
    both = f"<Events>{xml(4653, FAILED)}{xml(4655, FAILED)}</Events>"
    assert [(each["line"], each["event"]) for each in shown(Parser(), both)] == [
        (1, "ike_timeout"),
        (1, "ike_deleted"),
    ]


def test_xml_as_the_event_viewer_shows_it_and_with_a_lost_end() -> None:
    log = xml(4653, FAILED, "\n").replace("</EventData></Event>", "")
    log += "\n- " + xml(4655, FAILED, "\n  ").replace("'", '"')
    assert [(each["line"], each["event"]) for each in shown(Parser(), log)] == [
        (1, "ike_timeout"),
        (17, "ike_deleted"),
    ]


def test_entities_are_not_expanded() -> None:
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>' + xml(
        4653, {**FAILED, "RemoteAddress": "&b;"}
    )
    assert one(Parser(), bomb) == [{"event": "ike_timeout", "peer": "&b;"}]


def test_json_of_shippers_on_one_line() -> None:
    flat = {"EventID": 4653, "SourceName": "Microsoft-Windows-Security-Auditing", **FAILED}
    beat = {
        "@timestamp": "2026-03-02T08:15:00.000Z",
        "winlog": {"event_id": "4653", "event_data": FAILED},
        "event": {"code": "4653"},
    }
    dumped = {
        "Event": {
            "System": {"EventID": {"#text": 4653}},
            "EventData": {"Data": [{"@Name": k, "#text": v} for k, v in FAILED.items()]},
        }
    }
    inside = {"EventID": 4653, "EventData": xml(4653, FAILED)}
    for each in (flat, beat, dumped, inside):
        line = json.dumps(each)
        assert CUE.search(line.encode())
        expected = [{"event": "ike_timeout", "peer": FAR}]
        assert one(Parser(), line) == expected
        assert one(Parser(), f"<13>Mar  2 08:15:00 gw nxlog: {line}") == expected
    assert one(Parser(), json.dumps([flat, flat])) == [{"event": "ike_timeout", "peer": FAR}] * 2


def test_json_of_powershell_over_many_lines() -> None:
    records = [
        {"Id": 4624, "Message": "An account was successfully logged on."},
        {
            "Id": 4653,
            "Properties": [{"Value": "-"}, {"Value": FAR}],
            "TimeCreated": "/Date(1772439300000)/",
            "Message": MESSAGE.replace("\n", "\r\n"),
        },
        {"Id": 5452, "Message": ENDED.replace("\n", "\r\n")},
    ]
    log = json.dumps(records, indent=4)
    starts = [number for number, line in enumerate(log.split("\n"), 1) if line == "    {"]
    assert shown(Parser(), log) == [
        {"line": starts[1], "event": "auth_failed", "peer": FAR},
        {"line": starts[2], "event": "child_closed", "peer": FAR, "child_id": 59},
    ]


def test_text_of_wevtutil() -> None:
    def block(index: int, number: int, text: str) -> str:
        return (
            f"Event[{index}]:\n  Log Name: Security\n  Source: Microsoft-Windows-Security-Auditing\n"
            f"  Date: 2026-03-02T08:15:00.000\n  Event ID: {number}\n  Task: IPsec\n  User: N/A\n"
            f"  Computer: gw\n  Description: \n{text}\n"
        )

    log = (
        block(0, 4653, MESSAGE)
        + block(1, 4624, "An account was logged on.\n")
        + block(2, 5452, ENDED)
    )
    starts = [n for n, line in enumerate(log.split("\n"), 1) if line.startswith("Event[")]
    assert shown(Parser(), log) == [
        {"line": starts[0], "event": "auth_failed", "peer": FAR},
        {"line": starts[2], "event": "child_closed", "peer": FAR, "child_id": 59},
    ]


def test_text_of_the_event_viewer_and_of_format_list() -> None:
    viewer = (
        "Log Name:      Security\nSource:        Microsoft-Windows-Security-Auditing\nDate:          3/2/2026 8:15:00 AM\n"
        f"Event ID:      4653\nTask Category: IPsec Main Mode\nComputer:      gw\nDescription:\n{MESSAGE}\n"
    )
    body = MESSAGE.strip("\n").replace("\n", "\n               ")
    listed = f"\nTimeCreated  : 3/2/2026 8:15:00 AM\nProviderName : Microsoft-Windows-Security-Auditing\nId           : 4653\nMessage      : {body}\n\n"
    for log, first in ((viewer, "Log Name:"), (listed, "TimeCreated")):
        twice = log + log
        starts = [n for n, line in enumerate(twice.split("\n"), 1) if line.startswith(first)]
        assert [each["line"] for each in shown(Parser(), twice)] == starts
        assert {each["peer"] for each in shown(Parser(), twice)} == {FAR}


def test_one_line_of_syslog_with_escaped_ends() -> None:
    flat = MESSAGE.replace("\n", "#015#012").replace("\t", "#011")
    line = f"<13>Mar  2 08:15:00 gw Microsoft-Windows-Security-Auditing[4]: 4653: {flat}"
    assert one(Parser(), line) == [{"event": "auth_failed", "peer": FAR}]
    blanks = " ".join(MESSAGE.split())
    assert one(Parser(), f"gw MSWinEventLog 4653 {blanks}") == [
        {"event": "auth_failed", "peer": FAR}
    ]


def test_a_message_in_another_language_is_known_by_its_number() -> None:
    log = "Log Name:      Security\nEvent ID:      4655\nDescription:\nEine IPsec-Hauptmodus-Sicherheitszuordnung wurde beendet.\n"
    assert shown(Parser(), log) == [{"line": 1, "event": "ike_deleted"}]


@settings(max_examples=400, deadline=None)
@given(
    pieces(
        [
            "<Event xmlns='x'>",
            "</Event>",
            "<EventID>4653</EventID>",
            "<Data Name='RemoteAddress'>192.0.2.9</Data>",
            '{"EventID": 4653, ',
            '"RemoteAddress": "192.0.2.9"',
            "}",
            "[",
            "]",
            "Event[1]:",
            "Log Name: Security",
            "Event ID: 4653",
            "Description:",
            "An IPsec main mode negotiation failed.",
            "Remote Endpoint:",
            "Network Address: ",
            "Failure Reason: timed out",
            "Id : 4655",
            "Message : ",
        ]
    )
)
def test_nothing_breaks_it(log: bytes) -> None:
    survives(Parser, log)


@pytest.mark.parametrize(
    "raw",
    [
        b"<Event >" * 120_000,
        b"<Event ><EventID>4653</EventID>" + b"<Data Name='a'>" * 60_000,
        b"{" * 1_000_000,
        b'{"EventID":4653,"a":"' + b'\\"' * 400_000,
        b'"\\' * 500_000,
        (b"[{" * 40 + b'"x"\n') * 5000,
        b"An IPsec main mode negotiation failed. " * 25_000,
        b"An IPsec main mode negotiation failed.\n" + b" x\n" * 300_000,
    ],
)
def test_a_megabyte_of_trouble(raw: bytes) -> None:
    survives(Parser, raw)
