"""A VICI socket that is absent, slow, not charon's, or breaks off: a clear error, within the time."""

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ike.daemons.port import Daemon, DaemonRefused, DaemonUnreachable, EventKind
from ike.daemons.strongswan import StrongSwan
from tests.ike.daemons.charon_rig import now
from tests.ike.daemons.contract import Pki, revoked, watching

# For who must answer, and for who does not.
LONG, SHORT = 60.0, 0.5
Behaviour = Callable[[socket.socket], None]


@contextlib.contextmanager
def listening(path: Path, behave: Behaviour) -> Iterator[None]:
    """A server on a Unix socket that does one thing to each connection."""
    stop = threading.Event()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(8)
        listener.settimeout(0.05)

        def serve() -> None:
            with contextlib.ExitStack() as kept:
                while not stop.is_set():
                    with contextlib.suppress(OSError):
                        connection = kept.enter_context(listener.accept()[0])
                        connection.settimeout(LONG)
                        behave(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


def framed(payload: bytes) -> bytes:
    return struct.pack("!I", len(payload)) + payload


def say(*pieces: bytes, close: bool = True, pause: float = 0.0) -> Behaviour:
    """Read what is asked, answer with these bytes, close or stay."""

    def behave(connection: socket.socket) -> None:
        connection.recv(4096)
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(pause)
        if close:
            connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    return behave


def close_at_once(connection: socket.socket) -> None:
    connection.close()


RESPONSE, UNKNOWN, CONFIRM, EVENT = (bytes([kind]) for kind in (1, 2, 5, 7))
# A section "a" begins and does not end; a value is longer than the message; a type that is none.
BAD_MESSAGES = [b"\x01\x01a", b"\x03\x01a\x00\xff", b"\x09zzz", b"\x03\x05\xff\xfe"]

CASES: dict[str, tuple[Behaviour, str]] = {
    "closes at once": (close_at_once, "closed the connection|broke"),
    "closes after the question": (say(), "closed the connection"),
    "closes in the length": (say(b"\0\0"), "closed the connection"),
    "closes in the message": (say(framed(RESPONSE + b"\x03\x01a\x00\x01b")[:7]), "closed"),
    "never answers": (say(close=False), "did not answer"),
    "stops in the message": (say(framed(RESPONSE + b"x" * 99)[:50], close=False), "did not answer"),
    "drips": (say(*[b"\0", b"\0", b"\1", b"\0", *[b"x"] * 1200], pause=0.1), "did not answer"),
    "speaks HTTP": (say(b"HTTP/1.1 400 Bad Request\r\n\r\n", close=False), "does not speak VICI"),
    "says nothing at length": (say(struct.pack("!I", 0), close=False), "does not speak VICI"),
    "promises 4 GiB": (say(b"\xff" * 4, close=False), "does not speak VICI"),
    "answers with another kind": (say(framed(b"\x2a")), "does not speak VICI"),
    "confirms what was not asked": (say(framed(CONFIRM)), "does not speak VICI"),
    **{
        f"bad message {number}": (say(framed(RESPONSE + bad)), "does not speak VICI")
        for number, bad in enumerate(BAD_MESSAGES)
    },
}


SILENT = {"never answers", "stops in the message", "drips"}


def asking(tmp_path: Path, seconds: float) -> StrongSwan:
    return StrongSwan(
        now=now, socket=tmp_path / "vici", swanctl=tmp_path / "swanctl", seconds=seconds
    )


@pytest.fixture
def daemon(tmp_path: Path) -> StrongSwan:
    return asking(tmp_path, SHORT)


@pytest.mark.parametrize("case", CASES)
def test_a_bad_socket_is_told_in_time(tmp_path: Path, case: str) -> None:
    behave, words = CASES[case]
    daemon = asking(tmp_path, SHORT if case in SILENT else LONG)
    with listening(tmp_path / "vici", behave):
        began = time.monotonic()
        with pytest.raises(DaemonUnreachable, match=words) as refused:
            daemon.describe()
        assert time.monotonic() - began < LONG
    assert str(tmp_path / "vici") in refused.value.message
    assert refused.value.next_step


def test_an_absent_socket_is_told(daemon: StrongSwan, tmp_path: Path) -> None:
    with pytest.raises(DaemonUnreachable, match="No such file"):
        daemon.describe()
    (tmp_path / "vici").write_bytes(b"no socket")
    with pytest.raises(DaemonUnreachable, match="Connection refused"):
        daemon.describe()


def test_a_socket_without_permission_or_of_a_dead_daemon_is_told(
    daemon: StrongSwan, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "vici"))
    with pytest.raises(DaemonUnreachable, match="Connection refused"):
        daemon.describe()


def test_a_queue_that_is_full_is_waited_for(daemon: StrongSwan, tmp_path: Path) -> None:
    with contextlib.ExitStack() as opened:
        listener = opened.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(str(tmp_path / "vici"))
        listener.listen(0)
        first = opened.enter_context(socket.socket(socket.AF_UNIX))
        first.connect(str(tmp_path / "vici"))
        began = time.monotonic()
        with pytest.raises(DaemonUnreachable, match="took no connection"):
            daemon.describe()
        assert time.monotonic() - began > SHORT * 0.8


@pytest.mark.parametrize("case", ["absent", "speaks HTTP", "never answers", "closes at once"])
def test_no_method_says_anything_else(daemon: Daemon, tmp_path: Path, case: str) -> None:
    pki = Pki()
    made = pki.credential()
    calls: list[Callable[[], object]] = [
        daemon.describe,
        daemon.inventory,
        daemon.sas,
        lambda: daemon.trust(pki.authorities),
        lambda: daemon.stage(made),
        lambda: daemon.check(made),
        lambda: daemon.apply(made, None),
        lambda: daemon.prove(made, ["x"], seconds=1),
        lambda: daemon.undo(made, None),
        lambda: daemon.load_crls([pki.crl(1)]),
        lambda: daemon.connect([]),
        lambda: daemon.cut(revoked(made.certificate)),
        lambda: daemon.reauthenticate("x"),
    ]
    behave = CASES[case][0] if case != "absent" else None
    with listening(tmp_path / "vici", behave) if behave else contextlib.nullcontext():
        for call in calls:
            with pytest.raises(DaemonUnreachable):
                call()
    # A key that charon never got does not lie about for its next start.
    assert list((tmp_path / "swanctl").glob("private/*")) == []


@pytest.mark.parametrize("case", ["absent", "speaks HTTP", "never answers", "closes at once"])
def test_watch_says_lost_once_and_ends_when_told(
    daemon: StrongSwan, tmp_path: Path, case: str
) -> None:
    behave = CASES[case][0] if case != "absent" else None
    with listening(tmp_path / "vici", behave) if behave else contextlib.nullcontext():
        with watching(daemon) as seen:
            seen.wait_for(EventKind.LOST)
            time.sleep(1)
        assert [event.kind for event in seen.events] == [EventKind.LOST]


def test_a_charon_without_the_command_is_too_old(tmp_path: Path) -> None:
    daemon = asking(tmp_path, LONG)
    with (
        listening(tmp_path / "vici", say(framed(UNKNOWN))),
        pytest.raises(DaemonRefused, match="knows no command 'version'"),
    ):
        daemon.describe()
