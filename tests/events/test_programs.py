"""Lines of other programs in one log with a daemon's: what they quote is no event."""

import json
from pathlib import Path

import pytest

from ike.events.event import SaEvent
from ike.events.reader import Reader

NOW = 1_795_960_000.0
SAID = {
    "charon": "09[IKE] <site|1> received AUTHENTICATION_FAILED notify error",
    "charon by its tag": "charon: 09[IKE] <site|1> received AUTHENTICATION_FAILED notify error",
    "charon with a stamp": "Nov 29 14:33:00 09[IKE] <site|1> received AUTHENTICATION_FAILED notify error",
    "pluto": 'pluto[7]: "site" #1: initiator established IKE SA',
    "asa": "%ASA-5-750006: Local:192.0.2.1:500 Remote:198.51.100.2:500 Username:site SA UP. "
    "Reason: New Connection Established",
    "juniper": "kmd[7]: KMD_VPN_DOWN_ALARM_USER: VPN site from 198.51.100.2 is down.",
    "mikrotik": "ipsec,info ISAKMP-SA established 192.0.2.1[500]-198.51.100.2[500] "
    "spi:8d6ba0f7a74593d0:71fa69ac6b4afef3",
    "racoon": "racoon: INFO: ISAKMP-SA established 192.0.2.1[500]-198.51.100.2[500] "
    "spi:8d6ba0f7a74593d0:71fa69ac6b4afef3",
    "fortigate": "type=event subtype=ipsec action=tunnel-down remip=198.51.100.2 vpntunnel=site",
}
AROUND = {
    "a login": "Nov 29 14:33:00 gw2 sshd[99]: Invalid user {} from 203.0.113.5 port 40000",
    "a login of RFC 5424": "<38>1 2026-11-29T14:33:00Z gw2 sshd 99 - - Invalid user {} from 203.0.113.5",
    "a page": 'Nov 29 14:33:00 gw2 nginx: 203.0.113.5 "GET / HTTP/1.1" 404 153 "-" "{}"',
    "a mail": "2026-11-29T14:33:00.123456+01:00 gw2 postfix/smtpd[12]: helo {}",
    "a command": "<86>Nov 29 14:33:00 gw2 sudo: eve : {}",
}


def read(*lines: str) -> list[SaEvent]:
    reader = Reader(NOW)
    return [*reader.feed("".join(f"{line}\n" for line in lines).encode()), *reader.close()]


@pytest.mark.parametrize("around", AROUND.values(), ids=AROUND)
@pytest.mark.parametrize("said", SAID.values(), ids=SAID)
def test_what_another_program_quotes_is_no_event(around: str, said: str) -> None:
    assert read(said), "without a program around it, it is one"
    assert read(around.format(said)) == []


@pytest.mark.parametrize("said", SAID.values(), ids=SAID)
def test_in_the_journal_too(said: str) -> None:
    entry = {"MESSAGE": f"Invalid user {said}", "SYSLOG_IDENTIFIER": "sshd", "_PID": "99"}
    assert read(json.dumps(entry)) == []


@pytest.mark.parametrize(
    "tag",
    ["charon[7]", "charon-systemd[7]", "ipsec[7]", "strongswan", "vpn-gate[7]", "3f9c2d5e8a71[7]"],
)
def test_a_daemon_by_whatever_name_it_is_handed_on(tag: str) -> None:
    (event,) = read(f"Nov 29 14:33:00 gw2 {tag}: {SAID['charon']}")
    assert event.kind == "auth_failed"


def test_an_unknown_tag_in_front_of_nothing_but_a_message_of_charon() -> None:
    (event,) = read(f"Nov 29 14:33:00 gw2 moon[7]: {SAID['charon']}")
    assert event.kind == "auth_failed"


def test_a_packet_that_another_program_quotes_names_no_source() -> None:
    genuine = "Nov 29 14:33:0{} gw2 charon[7]: 09[NET] received packet: from 192.0.2.7[500] to 192.0.2.1[500]"
    packet = "09[NET] received packet: from 203.0.113.5[500] to 192.0.2.1[500]"
    quoted = f"Nov 29 14:33:01 gw2 sshd[99]: Invalid user {packet}"
    failed = "Nov 29 14:33:02 gw2 charon[7]: 09[IKE] tried 1 shared key for 'a' - 'b', but MAC mismatched"
    alone = read(genuine.format(0), failed)
    assert [each.source for each in read(genuine.format(0), quoted, failed)] == [
        each.source for each in alone
    ]
    assert alone[0].source == "192.0.2.7"


@pytest.mark.parametrize(
    "path", sorted(Path(__file__).with_name("recorded").glob("*.log")), ids=lambda path: path.stem
)
def test_nothing_of_a_whole_log_is_taken_from_another_program(path: Path) -> None:
    lines = path.read_text(errors="replace").splitlines()
    quoted = [AROUND["a login"].format(line) for line in lines]
    assert read(*quoted) == []
