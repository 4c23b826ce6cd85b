"""Syslog of devices without an agent, over real sockets into a real service."""

# ruff: noqa: E501 - lines of logs are long

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from api.syslog.connections import MOST_OF_ONE
from tests.fixtures.ports import free_ports
from tests.fixtures.served import PROGRAM, Served, run, serving, surroundings
from tests.syslog.sending import (
    connected,
    counted,
    eventually,
    is_ended,
    old_stamp,
    secured,
    stamp,
    stream,
    throw,
)

SENDERS = {
    "127.0.0.1": "linux.syslog.example",
    "127.0.0.2": "asa.syslog.example",
    "127.0.0.3": "srx.syslog.example",
    "127.0.0.4": "fgt.syslog.example",
    "127.0.0.5": "tik.syslog.example",
    "127.0.0.6 fw-a": "fw-a.syslog.example",
    "127.0.0.6 FW-B.example": "fw-b.syslog.example",
    "127.0.1.0/24": "ios.syslog.example",
    "127.0.0.7": "nobody.syslog.example",
    "127.0.0.8": "wrong.syslog.example",
}
PROVEN = "proven.syslog.example"
FAR = "198.51.100.2"
P1 = "p1_local=ipv4(udp:500,[0..3]=192.0.2.1) p1_remote=ipv4(udp:500,[0..3]=198.51.100.2)"


@dataclass
class Receiving:
    served: Served
    udp: int
    tcp: int
    tls: int

    def events(self, gateway: str) -> list[dict[str, Any]]:
        """The oldest first."""
        page = self.served.client.get("/v1/sa-events", {"gateway": gateway, "limit": 200})
        return list(reversed(page["items"]))

    def kinds(self, gateway: str) -> list[str]:
        return [each["event"] for each in self.events(gateway)]

    def heard(self, gateway: str, *kinds: str) -> list[dict[str, Any]]:
        """Wait until just these are on record of it."""
        eventually(lambda: len(self.events(gateway)) >= len(kinds))
        found = self.events(gateway)
        assert [each["event"] for each in found] == list(kinds)
        return found

    def metric(self, name: str) -> float:
        text = self.served.client.content("/metrics").decode()
        return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name))


@pytest.fixture(scope="module")
def receiving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiving]:
    udp, tcp, tls = free_ports(3)
    environ = {
        "IKEWARDEN_SYSLOG__UDP_PORT": str(udp),
        "IKEWARDEN_SYSLOG__TCP_PORT": str(tcp),
        "IKEWARDEN_SYSLOG__TLS_PORT": str(tls),
        "IKEWARDEN_SYSLOG__SENDERS": ", ".join(f"{who} = {what}" for who, what in SENDERS.items()),
    }
    directory = tmp_path_factory.mktemp("syslog") / "instance"
    with serving(directory, environ=environ) as served:
        for name in {*SENDERS.values(), PROVEN} - {"nobody.syslog.example"}:
            served.client.post("/v1/gateways", {"name": name, "identities": [f"dns:{name}"]})
        yield Receiving(served, udp, tcp, tls)


def test_devices_of_all_makes_over_udp(receiving: Receiving) -> None:
    throw(
        receiving.udp,
        f"<165>{time.strftime('%b %d %Y %H:%M:%S', time.gmtime())} asa1 : %ASA-5-713119: Group = branch, IP = {FAR}, PHASE 1 COMPLETED".encode(),
        f"<165>:{old_stamp()} UTC: %ASA-vpn-5-750007: Local:192.0.2.1:500 Remote:{FAR}:500 Username:Unknown IKEv2 SA DOWN. Reason: peer request\n".encode(),
        source="127.0.0.2",
    )
    throw(
        receiving.udp,
        f"<30>{old_stamp()} srx-a kmd[1379]: Phase-1 [responder] done for {P1}".encode(),
        f"<28>1 {stamp()} srx-a kmd 1379 KMD_DPD_PEER_DOWN - DPD detected peer {FAR} is dead".encode(),
        source="127.0.0.3",
    )
    throw(
        receiving.udp,
        f'<189>{time.strftime("date=%Y-%m-%d time=%H:%M:%S", time.gmtime())} devname="fgt-a" logid="0101037127" type="event" subtype="vpn" level="notice" vd="root" remip={FAR} locip=192.0.2.1 action="phase1-up" vpntunnel="to branch"'.encode(),
        source="127.0.0.4",
    )
    throw(
        receiving.udp,
        f"<30>{old_stamp()} router ipsec,info respond new phase 1 (Identity Protection): 192.0.2.1[500]<=>{FAR}[500]".encode(),
        source="127.0.0.5",
    )
    throw(
        receiving.udp,
        f"<188>46: *{old_stamp()}.124: %CRYPTO-4-IKMP_NO_SA: IKE message from {FAR} has no SA and is not an initialization offer".encode(),
        f"<189>47: *{old_stamp()}.125: %CRYPTO-5-IKEV2_SESSION_STATUS: Crypto tunnel v2 is UP.  Peer {FAR}:500       Id: {FAR}".encode(),
        source="127.0.1.9",
    )
    for gateway, kinds in {
        "asa": ("ike_established", "ike_deleted"),
        "srx": ("ike_established", "dpd_timeout"),
        "fgt": ("ike_established",),
        "tik": ("ike_respond",),
        "ios": ("child_established",),
    }.items():
        for each in receiving.heard(f"{gateway}.syslog.example", *kinds):
            assert (each["peer"], each["clock"]) == (FAR, None)


def test_both_framings_of_tcp_and_the_program_logger(receiving: Receiving) -> None:
    said = "05[IKE] <branch|{0}> IKE_SA branch[{0}] established between 192.0.2.1[gw]...198.51.100.2[branch]"
    for number, options in enumerate(
        (["-T", "--octet-count", "--rfc5424"], ["-T", "--rfc3164"], ["-d", "--rfc5424"])
    ):
        port = receiving.udp if "-d" in options else receiving.tcp
        logger = ["logger", "-n", "127.0.0.1", "-P", str(port), "-t", "charon"]
        subprocess.run([*logger, *options, said.format(number)], check=True)
    found = receiving.heard("linux.syslog.example", *["ike_established"] * 3)
    assert {each["detail"]["ike_id"] for each in found} == {0, 1, 2}
    assert {each["connection"] for each in found} == {"branch"}


def test_a_relay_tells_its_devices_apart_and_nobody_else(receiving: Receiving) -> None:
    def line(host: str) -> bytes:
        return f"<28>1 {stamp()} {host} kmd 1379 KMD_DPD_PEER_DOWN - DPD detected peer {FAR} is dead".encode()

    known = receiving.metric('ikewarden_syslog_dropped_total{reason="unknown_source"}')
    stream(
        receiving.tcp,
        counted(line("fw-a"), line("fw-b.example"), line("asa1"), line("asa.syslog.example")),
        "127.0.0.6",
    )
    # Whatever it calls itself.
    throw(receiving.udp, line("fw-a"), line("asa.syslog.example"), source="127.0.0.99")
    receiving.heard("fw-a.syslog.example", "dpd_timeout")
    receiving.heard("fw-b.syslog.example", "dpd_timeout")
    eventually(
        lambda: (
            receiving.metric('ikewarden_syslog_dropped_total{reason="unknown_source"}') - known == 4
        )
    )
    assert "dpd_timeout" not in receiving.kinds("asa.syslog.example")
    assert receiving.served.log.count("syslog from unknown sources was dropped") == 1


def test_over_tls_a_certificate_decides_and_is_asked_for_again(
    receiving: Receiving, tmp_path: Path
) -> None:
    served = receiving.served
    made = served.json("cert", "issue", PROVEN, "--out", tmp_path)
    credential = (tmp_path / f"{PROVEN}.pem", tmp_path / f"{PROVEN}.key")
    line = f"<28>1 {stamp()} asa.syslog.example kmd 1379 KMD_DPD_PEER_DOWN - DPD detected peer {FAR} is dead".encode()
    # It comes from the address of another, and says to be a third.
    with secured(receiving.tls, served.ca_file, credential, "127.0.0.2") as client:
        client.sendall(counted(line))
        receiving.heard(PROVEN, "dpd_timeout")
    # openssl says nothing of itself, so its address decides.
    before = len(receiving.events("srx.syslog.example"))
    command = [
        "openssl",
        "s_client",
        "-connect",
        f"127.0.0.1:{receiving.tls}",
        "-quiet",
        "-no_ign_eof",
    ]
    command += ["-bind", "127.0.0.3:0", "-CAfile", str(served.ca_file), "-verify_return_error"]
    subprocess.run(command, input=counted(line), check=True, capture_output=True, timeout=30)
    eventually(lambda: len(receiving.events("srx.syslog.example")) == before + 1)
    served.json("cert", "revoke", made["serial"], "--reason", "keyCompromise")
    with secured(receiving.tls, served.ca_file, credential, "127.0.0.2") as client:
        assert is_ended(client)
    # From nowhere that we know, with nothing.
    with secured(receiving.tls, served.ca_file, source="127.0.0.99") as client:
        assert is_ended(client)
    assert receiving.kinds(PROVEN) == ["dpd_timeout"]


def test_who_begins_and_says_nothing_keeps_nobody_out(receiving: Receiving) -> None:
    before = len(receiving.events("srx.syslog.example"))
    line = f"<28>1 {stamp()} srx-a kmd 1379 KMD_DPD_PEER_DOWN - DPD detected peer {FAR} is dead"
    with contextlib.ExitStack() as stack:
        silent = [
            stack.enter_context(connected(receiving.tls, "127.0.0.99"))
            for _ in range(MOST_OF_ONE + 3)
        ]
        client = secured(receiving.tls, receiving.served.ca_file, source="127.0.0.3")
        stack.enter_context(client).sendall(counted(line.encode()))
        eventually(lambda: len(receiving.events("srx.syslog.example")) == before + 1)
        assert all(map(is_ended, silent))


def test_strangers_keep_no_device_with_a_certificate_out(
    receiving: Receiving, tmp_path: Path
) -> None:
    """They come from many networks, say nothing, or begin a handshake and say no more."""
    served = receiving.served
    served.json("cert", "issue", PROVEN, "--out", tmp_path)
    credential = (tmp_path / f"{PROVEN}.pem", tmp_path / f"{PROVEN}.key")
    before = len(receiving.events(PROVEN))
    line = f"<28>1 {stamp()} x kmd 1379 KMD_DPD_PEER_DOWN - DPD detected peer {FAR} is dead"
    with contextlib.ExitStack() as stack:
        for network in range(10, 30):
            for _ in range(27):
                stranger = connected(receiving.tls, f"127.0.{network}.1")
                stack.enter_context(stranger)
                if network % 4 == 0:
                    stranger.sendall(b"\x16\x03\x01\x02\x00\x01")
        client = stack.enter_context(
            secured(receiving.tls, served.ca_file, credential, "127.0.9.9")
        )
        client.sendall(counted(line.encode()))
        eventually(lambda: len(receiving.events(PROVEN)) == before + 1)
        eventually(lambda: receiving.metric("ikewarden_syslog_connections") < 400)
        gave_way = 'ikewarden_syslog_dropped_total{reason="gave_way"}'
        eventually(lambda: receiving.metric(gave_way) > 100)


def test_alerts_arise(receiving: Receiving) -> None:
    lines = [
        f"<163>{old_stamp(3 * each - 60)} asa1 : %ASA-4-713903: Group = branch, IP = {FAR}, ERROR, had problems decrypting packet, probably due to mismatched pre-shared key.  Aborting".encode()
        for each in range(12)
    ]
    stream(receiving.tcp, b"\n".join(lines) + b"\n", "127.0.0.8")

    def alerts() -> list[dict[str, Any]]:
        query = {"gateway": "wrong.syslog.example"}
        return list(receiving.served.client.get("/v1/alerts", query)["items"])

    eventually(alerts)
    assert {each["kind"] for each in alerts()} <= {"auth_failures", "auth_guessing"}


def test_the_receiver_dies_and_its_sockets_do_not(receiving: Receiving) -> None:
    def receivers() -> list[str]:
        return re.findall(r"receiver of syslog started owner=\S*:(\d+)", receiving.served.log)

    def line(after: float) -> bytes:
        text = f"DPD detected peer {FAR} is dead"
        return f"<28>1 {stamp(after)} x kmd 1379 KMD_DPD_PEER_DOWN - {text}".encode()

    before = len(receiving.events("srx.syslog.example"))
    os.kill(int(receivers()[-1]), signal.SIGKILL)
    throw(receiving.udp, line(0), source="127.0.0.3")
    stream(receiving.tcp, line(20) + b"\n", "127.0.0.3")
    eventually(lambda: len(receiving.events("srx.syslog.example")) == before + 2)
    assert len(receivers()) == 2
    # The stream goes on where it was.
    numbers = [each["number"] for each in receiving.events("srx.syslog.example")]
    assert sorted(numbers) == list(range(len(numbers)))


def test_gateways_that_are_not_registered(receiving: Receiving) -> None:
    line = (
        f"<28>1 {stamp()} x kmd 1379 KMD_DPD_PEER_DOWN - DPD detected peer {FAR} is dead".encode()
    )
    throw(receiving.udp, line, source="127.0.0.7")
    name = 'ikewarden_syslog_dropped_total{reason="gateway_not_found"}'
    eventually(lambda: receiving.metric(name) == 1)
    assert "gateway_not_found" in receiving.served.log


def test_a_second_receiver_that_wants_certificates_of_all(
    receiving: Receiving, tmp_path: Path
) -> None:
    served, [port] = receiving.served, free_ports(1)
    served.json("cert", "issue", PROVEN, "--out", tmp_path)
    credential = (tmp_path / f"{PROVEN}.pem", tmp_path / f"{PROVEN}.key")
    before = len(receiving.events(PROVEN))
    environ = {
        "IKEWARDEN_SYSLOG__TLS_PORT": str(port),
        "IKEWARDEN_SYSLOG__TLS_CLIENT_CERTIFICATE": "true",
        "IKEWARDEN_SYSLOG__SENDERS": "127.0.0.3 = srx.syslog.example",
    }
    command = [*PROGRAM, "serve", "--only", "syslog", "--dir", str(served.directory)]
    line = (
        f"<28>1 {stamp()} x kmd 1379 KMD_DPD_PEER_DOWN - DPD detected peer {FAR} is dead".encode()
    )

    def is_there() -> bool:
        with contextlib.suppress(OSError):
            connected(port).close()
            return True
        return False

    with (tmp_path / "log").open("wb") as log:
        with subprocess.Popen(command, env=surroundings(environ), stderr=log, stdout=log) as second:
            eventually(is_there)
            with secured(port, served.ca_file, source="127.0.0.3") as client:
                assert is_ended(client)
            with secured(port, served.ca_file, credential, "127.0.0.3") as client:
                client.sendall(counted(line))
                eventually(lambda: len(receiving.events(PROVEN)) == before + 1)
            second.send_signal(signal.SIGTERM)
            assert second.wait(30) == 0
    jobs = {each["job"]: each for each in served.client.get("/v1/jobs")["items"]}
    assert jobs["syslog"]["outcome"] in {"ok", "failed"}


def test_alone_it_wants_to_be_on_and_its_ports_free(receiving: Receiving) -> None:
    alone = ("serve", "--only", "syslog", "--dir", receiving.served.directory)
    done = run(*alone)
    assert (done.code, "(syslog_off)" in done.err) == (2, True)
    done = run(*alone, environ=receiving.served.environ)
    assert (done.code, "(listen_failed)" in done.err) == (1, True)
