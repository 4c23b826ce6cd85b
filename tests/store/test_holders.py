"""What a killed process held is free for the next one on its machine; what is not known to be dead stays held."""

import os
import signal
import socket
import subprocess
import sys
from datetime import timedelta

from store import holders, leases, outbox
from store.engine import Store
from tests.store.writers import NOW

TTL = timedelta(minutes=5)
_NAMES_ITSELF = """
import sys
from store import holders
print(holders.name_of_this_process("r"), flush=True)
sys.stdin.read()
"""


def _another() -> tuple[subprocess.Popen[str], str]:
    """A running process and the name it gave itself."""
    process = subprocess.Popen(
        [sys.executable, "-c", _NAMES_ITSELF],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def _kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_a_process_is_dead_when_it_is() -> None:
    process, name = _another()
    assert not holders.is_dead(name)
    assert not holders.is_dead(f"{name}:outbox_changes")
    os.kill(process.pid, signal.SIGKILL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert holders.is_dead(name), "not yet buried"
    _kill(process)
    assert holders.is_dead(name)
    assert holders.is_dead(f"{name}:outbox_changes")


def test_a_number_used_again_is_another_process() -> None:
    host, pid, start, place, rest = holders.name_of_this_process("r").split(":")
    assert not holders.is_dead(":".join([host, pid, start, place, rest]))
    assert holders.is_dead(":".join([host, pid, str(int(start) - 1), place, rest]))


def test_of_others_nothing_is_known() -> None:
    process, name = _another()
    _kill(process)
    host, pid, start, place, rest = name.split(":")
    assert host == socket.gethostname()
    for other in (
        ["elsewhere", pid, start, place, rest],
        [host, pid, start, "another-boot.1", rest],
        [host, pid, "-", place, rest],
        [host, "x", start, place, rest],
        [host, pid, start],
        ["somebody"],
        [""],
    ):
        assert not holders.is_dead(":".join(other)), other


def test_what_dead_processes_held_is_free(store: Store) -> None:
    process, dead = _another()
    _kill(process)
    alive = holders.name_of_this_process("r")
    with store.write() as connection:
        for number in range(2):
            outbox.put(connection, topic="t", key=str(number), payload={"n": number}, now=NOW)
    for number, owner in enumerate((dead, alive)):
        leases.take(store, f"of {number}", owner, TTL, NOW)
        outbox.claim(store, owner=f"{owner}:lane", limit=1, lease=TTL, now=NOW)
    assert leases.release_of(store, holders.is_dead) == 1
    assert outbox.release_of(store, holders.is_dead) == 1
    assert leases.take(store, "of 0", "next", TTL, NOW) is not None
    assert leases.take(store, "of 1", "next", TTL, NOW) is None
    claimed = outbox.claim(store, owner="next", limit=9, lease=TTL, now=NOW)
    assert [message.payload["n"] for message in claimed] == [0]
