"""What a service manager hears of `ikewarden serve` (sd_notify(3))."""

import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from tests.fixtures.served import PROGRAM, Served, surroundings


@pytest.fixture
def heard(tmp_path: Path) -> socket.socket:
    """Where the manager listens."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(str(tmp_path / "notify"))
    listener.settimeout(120)
    return listener


def test_it_is_told_of_the_start_of_life_and_of_the_end(
    own_served: Served, heard: socket.socket
) -> None:
    own_served.stop()
    environ = {"NOTIFY_SOCKET": heard.getsockname(), "WATCHDOG_USEC": "1000000"}
    command = [*PROGRAM, "serve", "--dir", str(own_served.directory)]
    with (
        heard,
        subprocess.Popen(
            command, env=surroundings(environ), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process,
    ):
        try:
            first = heard.recv(4096).decode().splitlines()
            assert first == ["READY=1", "STATUS=serving: api-1, api-2, validation, scheduler"]
            assert heard.recv(4096) == b"WATCHDOG=1"
            assert heard.recv(4096) == b"WATCHDOG=1"
        finally:
            process.send_signal(signal.SIGTERM)
        said = b""
        while b"STOPPING" not in said:
            said = heard.recv(4096)
        assert process.wait(90) == 0


def test_a_watchdog_of_another_process_is_none_of_its_business(
    own_served: Served, heard: socket.socket
) -> None:
    """WATCHDOG_PID names whom the watchdog is for."""
    own_served.stop()
    environ = {
        "NOTIFY_SOCKET": heard.getsockname(),
        "WATCHDOG_USEC": "1000",
        "WATCHDOG_PID": str(os.getpid()),
    }
    command = [*PROGRAM, "serve", "--only", "validation", "--dir", str(own_served.directory)]
    with (
        heard,
        subprocess.Popen(
            command, env=surroundings(environ), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process,
    ):
        assert heard.recv(4096).startswith(b"READY=1")
        process.send_signal(signal.SIGTERM)
        assert heard.recv(4096).startswith(b"STOPPING=1")
        assert process.wait(90) == 0
