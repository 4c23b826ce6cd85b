"""The receiver under attack and in want: floods, endless lines, connections without number, records that are away."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from api.syslog import connections
from api.syslog.delivery import Room
from api.syslog.framing import LONGEST
from api.syslog.receiver import JOB, Receiver, SyslogSettings, bind_all
from api.syslog.senders import Sender
from fleet.monitoring import shown
from ike.agent.watching.crush import MOST
from pki.desk import Desk
from store import jobs
from store.engine import Store
from tests.fixtures.desk import NOW, OPERATOR
from tests.fixtures.ports import free_ports
from tests.fleet.crew import enlist
from tests.fleet.monitoring import alerts_of, events_of
from tests.syslog.sending import connected, counted, eventually, is_ended, stream, throw

# The records are not what is tested.
pytestmark = pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
GW, OTHER = "gw1.example", "gw2.example"
SENDERS = ("127.0.0.2 = gw1.example", "127.0.0.3 = gw2.example")


class Watch:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> Any:
        return self.now


class Running:
    """A receiver in a thread of its own."""

    def __init__(self, desk: Desk, room: Room) -> None:
        self.desk, self.clock = desk, Watch()
        self.udp, self.tcp = free_ports(2)
        self._bound = bind_all("127.0.0.1", self.udp, self.tcp, None)
        settings = SyslogSettings([Sender.parse(each) for each in SENDERS], "s", "me", room=room)
        self.receiver = Receiver(self._bound, settings, desk, _no_credential, self.clock)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        self._loop.run_until_complete(self.receiver.run())
        self._loop.close()

    def stop(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self.receiver.stop.set)
        self._thread.join()
        for each in (self._bound.udp, self._bound.tcp):
            assert each is not None
            each.close()

    def seqs(self, gateway: str = GW) -> list[int]:
        found = events_of(self.desk, gateway=gateway, limit=500)
        return [each.document["ike_id"] for each in reversed(found)]

    def lost(self) -> dict[str, int]:
        """How many lines the records know to be lost, by gateway."""
        counters = shown.figures(self.desk, OPERATOR).counters
        return {gateway: number for (gateway, what), number in counters.items() if what == "lost"}

    def tallied(self, name: str) -> int:
        tally = self.receiver._tally
        return tally._new[name] + tally._noted[name]

    def noted(self) -> dict[str, Any]:
        """What is on record of how it fared, after it was stopped."""
        with self.desk.store.read() as connection:
            [state] = [each for each in jobs.latest(connection) if each.job == JOB]
        return {**(state.detail or {}), "error": state.last_error}


def _no_credential() -> Any:
    raise AssertionError("nobody asks for TLS")


@pytest.fixture
def running(desk: Desk) -> Iterator[Running]:
    for name in (GW, OTHER):
        enlist(desk, name)
    made = Running(desk, Room(100, 150))
    yield made
    made.stop()


def established(number: int) -> bytes:
    said = f"IKE_SA branch[{number}] established between 192.0.2.1[a]...198.51.100.2[b]"
    return f"<30>1 {NOW.isoformat()} x charon 1 - - 05[IKE] <branch|{number}> {said}".encode()


def test_hostile_streams_and_a_good_line_after_each(running: Running) -> None:
    forged = b"IKE\n" + established(98)
    for number, data in enumerate(
        (
            b"x" * (1 << 20) + b"\n",
            counted(b"<13>" + bytes(range(256)) * 5000),
            bytes(range(256)) * 40 + b"\n",
            # Who counts may write what he likes, but in one line.
            counted(b"<13>1 - x charon 1 - - 05[CFG] id '" + forged + b"'"),
        )
    ):
        stream(running.tcp, data + counted(established(number)), "127.0.0.2")
    eventually(lambda: len(running.seqs()) == 4)
    assert sorted(running.seqs()) == [0, 1, 2, 3]
    running.stop()
    assert running.noted()["cut"] == 2


def test_no_end_of_a_line_and_no_patience(running: Running) -> None:
    with (
        connected(running.tcp, "127.0.0.2") as endless,
        connected(running.tcp, "127.0.0.2") as idle,
    ):
        for _ in range(8):
            endless.sendall(b"x" * LONGEST)
        idle.sendall(established(1) + b"\n")
        eventually(lambda: running.seqs() == [1])
        running.clock.now += timedelta(seconds=90)
        assert is_ended(endless)
        idle.sendall(established(2) + b"\n")
        eventually(lambda: running.seqs() == [1, 2])


def test_connections_of_one_source_do_not_keep_others_out(running: Running) -> None:
    with contextlib.ExitStack() as stack:
        lines = [
            stack.enter_context(connected(running.tcp, "127.0.0.2"))
            for _ in range(connections.MOST_OF_ONE + 5)
        ]
        assert all(map(is_ended, lines[-5:]))
        assert is_ended(stack.enter_context(connected(running.tcp, "127.0.0.9")))
        stream(running.tcp, established(1), "127.0.0.3")
        eventually(lambda: running.seqs(OTHER) == [1])
    eventually(lambda: running.receiver._house.connections == 0)
    running.stop()
    noted = running.noted()
    assert (noted["connection_limit"], noted["unknown_source"]) == (5, 1)
    assert noted["error"] == "syslog_dropped: 5 connections were too many."


def test_a_flood_over_udp_does_not_drown_another_device(running: Running) -> None:
    noise = b"<13>Nov 29 12:00:00 x sshd[1]: nothing of interest"
    flood = threading.Thread(
        target=partial(throw, running.udp, *[noise] * 30_000, source="127.0.0.2")
    )
    flood.start()
    flood.join()

    def is_heard() -> bool:
        # What found no room in the kernel is lost, whosever it is.
        throw(running.udp, established(99), source="127.0.0.3")
        return 99 in running.seqs(OTHER)

    eventually(is_heard)
    running.stop()
    noted = running.noted()
    # By the clock that stands still, all of it came at once.
    dropped, kernel = noted.get("too_fast", 0), noted.get("kernel", 0)
    assert dropped + kernel >= 9_000
    assert "syslog_dropped" in noted["error"]
    # Whose lines the kernel dropped, nobody knows: they may be of any device that sends so.
    lost = running.lost()
    assert dropped <= lost[GW] <= dropped + kernel
    assert lost.get(OTHER, 0) <= kernel
    assert all(each.kind == "events_lost" for each in alerts_of(running.desk))


def test_while_the_records_are_away_streams_wait_and_datagrams_do_not(
    running: Running, second_store: Store
) -> None:
    with second_store.write():
        data = b"".join(established(number) + b"\n" for number in range(400)) * 10
        sender = threading.Thread(target=partial(stream, running.tcp, data, "127.0.0.2"))
        sender.start()
        eventually(lambda: not running.receiver._delivery.has_room(GW))
        throw(running.udp, *[established(5000)] * 7, source="127.0.0.2")
        # The rest is not ours yet.
        eventually(lambda: running.tallied("backlog") == 7)
        # However long it takes, it is not their fault.
        running.clock.now += timedelta(seconds=100)
        assert running.tallied("tcp") < 4000
        assert sender.is_alive()

    running.clock.now += timedelta(seconds=100)

    def is_over() -> bool:
        [last] = events_of(running.desk, gateway=GW, limit=1) or [None]
        # Numbers go on behind those that were lost.
        return last is not None and last.number == 3999 + running.lost().get(GW, 0)

    eventually(is_over)
    sender.join()
    assert running.seqs()[-400:] == list(range(400))
    eventually(lambda: running.lost() == {GW: 7})
    assert [each.kind for each in alerts_of(running.desk)] == ["events_lost"]


def refused(after: float, source: str, name: str, error: str) -> bytes:
    said = f"Local:192.0.2.1:500 Remote:{source}:500 Username:{name} IKEv2 Negotiation aborted"
    at = NOW + timedelta(seconds=after)
    return f"<164>{at:%b %d %H:%M:%S} asa %ASA-4-750003: {said} due to ERROR: {error}".encode()


def test_guessing_within_a_flood_of_strangers_is_seen(desk: Desk) -> None:
    enlist(desk, GW)
    running = Running(desk, Room())
    try:
        for step in range(30):
            flood = [
                refused(2 * step, f"203.0.{step}.{host}", "Unknown", "No proposal chosen")
                for host in range(100)
            ]
            guess = refused(2 * step, "198.51.100.66", f"user{step}", "Auth exchange failed")
            throw(running.udp, *flood, guess, source="127.0.0.2")
            running.clock.now += timedelta(seconds=2)
            eventually(lambda sent=101 * (step + 1): running.tallied("udp") == sent)
        running.clock.now += timedelta(seconds=60)
        eventually(lambda: "auth_guessing" in [each.kind for each in alerts_of(desk)])
    finally:
        running.stop()
    assert len(events_of(desk, gateway=GW, kind="auth_failed")) == 30
    # Of each kind some in ten seconds, of which a minute cuts seven; the rest is a number.
    counters = shown.figures(desk, OPERATOR).counters
    assert set(counters) == {(GW, "left_out")}
    assert 3_000 - 7 * MOST <= counters[GW, "left_out"] <= 3_000 - 6 * MOST


def test_what_waits_at_the_end_is_delivered(running: Running) -> None:
    throw(running.udp, established(1), source="127.0.0.2")
    eventually(lambda: running.tallied("udp"))
    running.stop()
    assert running.seqs() == [1]
