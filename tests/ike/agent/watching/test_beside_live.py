"""What stands beside VICI, with a real charon and a real service: its counters and error-notify; and journald."""

import os
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from ike.agent.watching.sources import Gathered, Journal
from tests.fixtures.needs import needs
from tests.fixtures.served import Served
from tests.ike.agent.watching.test_live import Watched, until
from tests.ike.agent.watching.test_sources import events, gathered, idle
from tests.ike.sas.pair import pair, share
from tests.lab import Gateway, Lab, Refused
from tests.lab.flood import add_addresses, flood
from tests.lab.namespaces import Namespace, Process

JOURNALD = Path("/lib/systemd/systemd-journald")


@pytest.fixture
def watched(served: Served, tmp_path: Path, request: pytest.FixtureRequest) -> Watched:
    name = f"b{abs(hash(request.node.name)) % 10**8}.example.com"
    return Watched(served, tmp_path / "home", name)


def seen(watched: Watched, kind: str, reason: str | None = None) -> list[dict[str, Any]]:
    return [e for e in watched.events() if (e["event"], e["reason"]) == (kind, reason)]


def send(host: Namespace, target: str, *messages: bytes) -> None:
    with host.within(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sender:
        for each in messages:
            sender.sendto(each, (target, 500))


def message(exchange: int, flags: int, *, spis: bytes, body: bytes = b"") -> bytes:
    """An IKEv2 message with whatever body (RFC 7296 §3.1)."""
    return spis + struct.pack("!BBBBII", 46, 0x20, exchange, flags, 0, 28 + len(body)) + body


def test_what_no_event_over_vici_tells(watched: Watched, lab: Lab) -> None:
    left, right = pair(lab)
    stranger = lab.namespace("stranger")
    addresses = [f"192.0.2.{n}" for n in range(100, 120)]
    add_addresses(stranger, addresses)
    settings = watched.settings(
        socket=str(right.vici_socket),
        counters_seconds=1,
        error_notify=str(right.directory / "enfy"),
    )
    with watched.watching(settings):
        until(lambda: "error-notify" in watched.home.watch_notes().get("source", ""))
        until(lambda: not watched.home.watch_notes()["errors"])
        until(lambda: (watched.home.path / "watch/events.jsonl").read_bytes().count(b'"p"') >= 1)
        assert watched.home.watch_notes()["source"] == "VICI, counters, error-notify"
        _fail(left, right)
        until(lambda: seen(watched, "auth_failed", "key"))
        _wait_for_a_look(watched)
        flood(stranger, right.outside, addresses[:3], each=2)
        until(lambda: sum(_numbers(watched, "refused")) == 6)
        inform = message(37, 0x08, spis=os.urandom(16))
        broken = message(34, 0x08, spis=os.urandom(8) + bytes(8), body=b"\xff" * 40)
        send(stranger, right.outside, inform, inform, broken)
        until(lambda: _numbers(watched, "unknown_spi") and _numbers(watched, "malformed"))
        _open_to_everybody(right)
        flood(stranger, right.outside, addresses, each=1)
        until(lambda: seen(watched, "half_open"))
        right.stop()
        until(lambda: len(watched.home.watch_notes()["errors"]) == 3)
        right.start()
        until(lambda: not watched.home.watch_notes()["errors"])
        until(lambda: "daemon_started" in watched.kinds())
        share(right, "a-third")
        right.swanctl("--load-conns")
        with pytest.raises(Refused):
            left.initiate("net")
        until(lambda: len(seen(watched, "auth_failed", "key")) == 2)
    (failed, _) = seen(watched, "auth_failed", "key")
    assert (failed["peer"], failed["identity"]) == ("192.0.2.1", "left.example.net")
    assert failed["connection"] == "site"
    assert seen(watched, "half_open")[0]["detail"]["number"] >= 5


def _numbers(watched: Watched, reason: str) -> list[int]:
    return [each["detail"]["number"] for each in seen(watched, "counted", reason)]


def _wait_for_a_look(watched: Watched) -> None:
    """Until the counters were read once, so that there is a number to begin at."""
    noted = watched.home.path / "watch/events.jsonl"
    until(lambda: b'"of": "counters"' in noted.read_bytes())


def _fail(left: Gateway, right: Gateway) -> None:
    share(right, "another-key")
    with pytest.raises(Refused):
        left.initiate("net")


def _open_to_everybody(right: Gateway) -> None:
    right.add_connection(
        "any",
        {
            "version": 2,
            "local_addrs": right.outside,
            "remote_addrs": "%any",
            "local": {"auth": "psk", "id": "right.example.net"},
            "remote": {"auth": "psk"},
        },
    )


class Journald:
    """A journald for one charon alone, in whose mount namespace it runs; `program` is its `journalctl`."""

    def __init__(self, charon: Gateway, folder: Path) -> None:
        self.charon, self._folder = charon, folder
        self._inside = ["nsenter", "-t", str(charon.process_id), "-m"]
        self.program = str(folder / "journalctl")
        Path(self.program).write_text(f'#!/bin/sh\nexec {" ".join(self._inside)} journalctl "$@"\n')
        Path(self.program).chmod(0o755)
        self._process: Process | None = None
        self.begin()

    def begin(self) -> None:
        """Start it; anew, where it runs."""
        if self._process is not None:
            self._process.stop()
        ready = Path(f"/proc/{self.charon.process_id}/root/run/systemd/journal/io.systemd.journal")
        ready.unlink(missing_ok=True)
        script = (
            "mountpoint -q /sys/fs/cgroup || mount -t cgroup2 none /sys/fs/cgroup;"
            f"mkdir -p /run/systemd/journal /run/log/journal; exec {JOURNALD}"
        )
        command = [*self._inside, "sh", "-c", script]
        output = self._folder / "journald"
        # Not under libfaketime: its timers are the kernel's.
        self._process = self.charon.namespace.start(command, output=output, env={"LD_PRELOAD": ""})
        until(ready.exists)


def told(kind: str) -> Callable[[list[Gathered]], bool]:
    """Whether it was told, and then nothing more."""
    return lambda some: idle(some) and any(each.kind == kind for each in events(some))


@needs(JOURNALD.exists(), "needs systemd-journald (Debian: systemd)")
def test_a_real_journal(lab: Lab, tmp_path: Path) -> None:
    """It is followed from its end, read on after the agent was away, and through an end of journald."""
    left, _ = pair(lab)
    journald = Journald(left, tmp_path)
    source = Journal(lambda: datetime.now(UTC), journald.program)
    left.initiate("net")
    left.terminate("site")
    first = gathered(source, None, idle)
    assert events(first) == []
    left.initiate("net")
    second = gathered(source, first[-1].position, told("child_established"))
    up = next(each for each in events(second) if each.kind == "ike_established")
    assert (up.connection, up.peer, up.ike_id) == ("site", "192.0.2.2", 2)
    journald.begin()
    left.terminate("site")
    third = gathered(source, second[-1].position, told("ike_deleted"))
    assert "ike_established" not in {each.kind for each in events(third)}
    with closing(source.gather(third[-1].position, threading.Event())) as following:
        next(following)
        journald.begin()
        left.initiate("net")
        found = (each.kind for some in islice(following, 400) for each in some.events)
        assert "ike_established" in found
