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
    [
        "charon[7]",
        "charon-systemd[7]",
        "ipsec[7]",
        "strongswan",
        "/usr/lib/ipsec/charon[7]",
        "charon-systemd@site[7]",
        "3f9c2d5e8a71[7]",
    ],
)
def test_a_daemon_by_whatever_name_it_is_handed_on(tag: str) -> None:
    (event,) = read(f"Nov 29 14:33:00 gw2 {tag}: {SAID['charon']}")
    assert event.kind == "auth_failed"


F = "09[IKE] <site|1> received AUTHENTICATION_FAILED notify error"
E = "05[IKE] <site|1> IKE_SA site[1] established between 192.0.2.1[a]...198.51.100.2[b]"
STAMP = "Nov 29 14:33:00"
SHIPPED = {"@timestamp": "2026-11-29T14:33:00Z"}
WRITTEN = {"__REALTIME_TIMESTAMP": "1796000000000000"}
STRANGE = {
    "busybox": f"{STAMP} gw2 auth.info sshd[99]: Invalid user {{}} from 203.0.113.5",
    "busybox without a host": f"{STAMP} auth.info sshd[99]: Invalid user {{}} from 203.0.113.5",
    "logread": f"Sun {STAMP} 2026 authpriv.warn dropbear[99]: Bad password attempt for '{{}}'",
    "a path": f"{STAMP} gw2 /usr/sbin/kamailio[99]: NOTICE: auth failed for {{}}",
    "parentheses": f"{STAMP} gw2 sshd(pam_unix)[99]: check pass; user {{}}",
    "no host": f"{STAMP} sshd[99]: Invalid user {{}}",
    "no pid": f"{STAMP} gw2 ovpn-server: {{}}",
    "another VPN": f"{STAMP} gw2 ovpn-server[99]: TLS: failed for username '{{}}'",
    "a client": f"{STAMP} gw2 vpnc[9]: x {{}}",
    "a page of its own": f"{STAMP} gw2 ipsec-web[9]: {{}}",
    "a container": f'{STAMP} gw2 docker[99]: 203.0.113.5 - - "GET / HTTP/1.1" 200 "{{}}"',
    "a monitor": f'{STAMP} gw2 conmon[99]: 203.0.113.5 - - "GET / HTTP/1.1" 200 "{{}}"',
    "compose": 'web-1     | 203.0.113.5 - - [29/Nov/2026:14:33:00 +0000] "GET / HTTP/1.1" 200 "{}"',
    "compose and nothing else": "nginx-1  | {}",
    "no colon": f"{STAMP} gw2 program charon: {{}}",
    "brackets": f"{STAMP} gw2 [sshd] Invalid user {{}}",
    "logger": f"{STAMP} gw2 root: {{}}",
    "logger, RFC 5424": "<13>1 2026-11-29T14:33:00Z gw2 eve 99 - - {}",
    "a page": '203.0.113.5 - - [29/Nov/2026:14:33:00 +0000] "GET / HTTP/1.1" 200 "{}"',
    "a router": "<189>123: Nov 29 14:33:00: %SEC_LOGIN-4-LOGIN_FAILED: Login failed [user: {}]",
    "a firewall": '<166>Nov 29 2026 14:33:00 asa1 : %ASA-6-605004: Login denied for user "{}"',
    "a gate": 'date=2026-11-29 time=14:33:00 devname="fw1" type="event" subtype="system" user="{}"',
    "a router's topics": f"<188>{STAMP} MikroTik system,error,critical login failure for user {{}}",
    "topics alone": "system,error,critical login failure for user {} from 203.0.113.5 via ssh",
}


@pytest.mark.parametrize("around", STRANGE.values(), ids=STRANGE)
@pytest.mark.parametrize(
    "said", [F, E, SAID["pluto"], f"x: charon: {E}", f"a pluto[1]: {SAID['pluto']}"]
)
def test_no_program_but_a_daemon_is_believed(around: str, said: str) -> None:
    charon = (
        "Nov 29 14:32:59 gw2 charon[7]: 09[IKE] <site|1> retransmit 1 of request with message ID 1"
    )
    assert [each.kind for each in read(charon, around.format(said))] == ["retransmit"]
    assert read(around.format(said)) == []


@pytest.mark.parametrize("name", ["nginx", "(sd-x)", "/usr/sbin/kamailio", "php-fpm: pool", "x[y]"])
@pytest.mark.parametrize("said", [F, f"x {F}", SAID["pluto"], SAID["charon with a stamp"]])
def test_nor_by_its_identifier(name: str, said: str) -> None:
    for entry in (
        {**WRITTEN, "SYSLOG_IDENTIFIER": name, "MESSAGE": said},
        {**WRITTEN, "SYSLOG_IDENTIFIER": name, "_PID": "9", "MESSAGE": said},
        {**WRITTEN, "_COMM": name, "THREAD": "9", "GROUP": "IKE", "MESSAGE": said},
        {**SHIPPED, "message": said, "process": {"name": name}},
        {**SHIPPED, "message": said, "container.name": name},
        {**SHIPPED, "message": f"{STAMP} gw2 charon[7]: {said}", "program": name},
        {"log": f"{said}\n", "stream": "stdout", "attrs": {"tag": name}},
    ):
        assert read(json.dumps(entry)) == [], entry


@pytest.mark.parametrize(
    "entry",
    [
        {**WRITTEN, "SYSLOG_IDENTIFIER": "charon", "MESSAGE": F},
        {**WRITTEN, "SYSLOG_IDENTIFIER": "ipsec", "_PID": "9", "MESSAGE": F},
        {**WRITTEN, "SYSLOG_IDENTIFIER": "dockerd", "CONTAINER_NAME": "vpn-gate-1", "MESSAGE": F},
        {**SHIPPED, "message": F, "process": {"name": "charon-systemd"}},
        {**SHIPPED, "message": F, "syslogtag": "charon[8]:"},
        {**SHIPPED, "message": F, "systemd": {"unit": "strongswan-starter.service"}},
        {**SHIPPED, "message": F, "container": {"name": "site-ipsec-1"}},
        {**SHIPPED, "message": F},
        {"log": f"{F}\n", "stream": "stdout", "time": "2026-11-29T14:33:00Z"},
    ],
)
def test_a_daemon_is_believed_by_its_identifier(entry: dict[str, object]) -> None:
    assert [each.kind for each in read(json.dumps(entry))] == ["auth_failed"]


@pytest.mark.parametrize(
    "prefix",
    [
        "",
        f"{STAMP} ",
        f"{STAMP} gw2 ",
        f"Sun {STAMP} 2026 daemon.info : ",
        f"Sun {STAMP} 2026 daemon.info syslog: ",
        f"{STAMP} gw2 daemon.info charon: ",
        f"{STAMP} charon: ",
        f"{STAMP}\tcharon\t\t",
        f"{STAMP} charon 4711 ",
        "<30>1 2026-11-29T14:33:00Z gw2 charon 99 - - ",
        '<30>1 2026-11-29T14:33:00Z gw2 charon 99 - [meta sequenceId="3"] ',
        "2026-11-29T14:33:00.123Z stdout F ",
        "vpn-1  | ",
        "strongswan_1  | 2026-11-29 14:33:00 ",
        "Sun, 2026-11-29, 14:33:00 ",
        "I/charon  ( 1234): ",
        "11-29 14:33:00.123  1234  5678 I charon  : ",
        f"{STAMP} gw2 NetworkManager[7]: ",
        f"{STAMP} gw2 conmon[7]: ",
        f"{STAMP} gw2 charon-nm[7]: ",
        f"{STAMP} gw2 ipsec_starter[7]: ",
        "charon: message repeated 2 times: [ ",
    ],
)
def test_the_layouts_that_daemons_have(prefix: str) -> None:
    assert [each.kind for each in read(prefix + F)] == ["auth_failed"]


IDENTITIES = {
    "pluto": 'Nov 29 14:33:00 gw2 pluto[77]: "branches"[1] 203.0.113.5 #2: '
    "authentication failed: peer ID '@{}' does not match",
    "racoon": "Nov 29 14:33:01 gw2 racoon: ERROR: ID mismatched with peers {}",
    "racoon's login": 'Nov 29 14:33:01 gw2 racoon: INFO: login succeeded for user "{}"',
    "juniper": "Nov 29 14:33:01 srx1 kmd[1200]: IKE negotiation failed with error: No proposal chosen. IKE Version: 1, "
    "VPN: Not-Available Gateway: Not-Available, Local: 192.0.2.1/500, Remote: 203.0.113.5/500, "
    "Local IKE-ID: Not-Available, Remote IKE-ID: {}, VR-ID: 0",
    "asa": "Nov 29 14:33:01 asa1 : %ASA-4-713903: Group = {}, IP = 203.0.113.5, Error: Unable to remove PeerTblEntry",
    "ios": "<189>124: Nov 29 14:33:01: %CRYPTO-5-IKEV2_SESSION_STATUS: Crypto tunnel v2 is DOWN.  "
    "Peer 203.0.113.5:500  Id: {}",
    "fortigate": 'date=2026-11-29 time=14:33:00 devname="fw1" type="event" subtype="vpn" remip=203.0.113.5 user="{}" '
    'action="negotiate" status="failure" reason="peer SA proposal not match local policy"',
    "charon without groups": "Nov 29 14:33:01 gw2 charon-systemd[3]: "
    "tried 1 shared key for 'gw' - '{}', but MAC mismatched",
}


@pytest.mark.parametrize("around", IDENTITIES.values(), ids=IDENTITIES)
@pytest.mark.parametrize(
    "said",
    [
        F,
        E,
        f"x gw2 charon[3]: {E}",
        SAID["pluto"],
        SAID["asa"],
        SAID["juniper"],
        "packet from 198.51.100.2:500: initial Main Mode message received but no connection has been authorized",
        "x, IP = 198.51.100.2, PHASE 1 COMPLETED",
        "x, Username = y, IP = 198.51.100.2, PHASE 1 COMPLETED",
        "x, Remote: 198.51.100.2/500, error: Authentication failed",
        "AUTHENTICATION_FAILED NO_PROPOSAL_CHOSEN",
    ],
)
def test_the_identity_that_a_peer_chose_is_no_word_of_the_daemon(around: str, said: str) -> None:
    plain = [(each.kind, each.source) for each in read(around.format("x"))]
    quoted = read(around.format(said))
    assert [(each.kind, each.source) for each in quoted] == plain


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
