"""Messages of charon's plugin error-notify, from a socket that speaks as it does."""

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ike.agent.watching.notices import Notices
from ike.daemons.strongswan.notices import MESSAGE, event_of
from ike.events.event import EVENTS, REMARKS
from tests.ike.agent.watching.test_sources import now
from tests.lab import Lab

# What charon 5.9.8 sent when a peer had another key.
TOLD = MESSAGE.pack(
    3, b"peer authentication failed", b"site", b"left.example.net", b"192.0.2.1[4500]"
)


def test_what_charon_tells() -> None:
    assert len(TOLD) == 768
    event = event_of(TOLD, 5.0)
    assert event is not None
    assert (event.kind, event.reason, event.peer, event.connection, event.identity, event.time) == (
        *("auth_failed", "key", "192.0.2.1", "site", "left.example.net", 5.0),
    )


@pytest.mark.parametrize("number", range(1, 30))
def test_every_type_is_an_event_or_none(number: int) -> None:
    event = event_of(MESSAGE.pack(number, b"", b"", b"", b""), 5.0)
    assert event is None or event.kind in {*EVENTS, *REMARKS}
    if event is not None:
        assert (event.peer, event.connection, event.identity) == (None, None, None)


def test_texts_of_any_bytes() -> None:
    odd = event_of(MESSAGE.pack(3, b"\xff" * 384, b"\xff" * 64, b"\x1b[2J" * 64, b"[" * 60), 5.0)
    assert odd is not None
    assert (odd.connection, odd.peer) == ("\ufffd" * 64, None)
    for _ in range(200):
        noise = MESSAGE.pack(3, *(os.urandom(size) for size in (384, 64, 256, 60)))
        assert event_of(noise, 5.0) is not None


@pytest.mark.parametrize("number", [0, -1, 256, 1 << 24])
def test_no_message_of_the_plugin(number: int) -> None:
    with pytest.raises(ValueError, match="error-notify"):
        event_of(MESSAGE.pack(number, b"", b"", b"", b""), 5.0)


@pytest.fixture
def plugin(tmp_path: Path) -> Iterator[tuple[Path, socket.socket]]:
    path = tmp_path / "charon.enfy"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        listener.settimeout(20)
        yield path, listener


def test_messages_in_pieces_a_hang_up_and_another_program(
    plugin: tuple[Path, socket.socket], lab: Lab
) -> None:
    path, listener = plugin
    charon = lab.gateway("left").vici_socket  # too old for `alert`
    told = Notices(path, charon, now).gather(None, threading.Event())
    assert next(told).failing == ""
    first, _ = listener.accept()
    first.sendall(TOLD + TOLD[:100])
    assert [each.kind for each in next(told).events] == ["auth_failed"]
    first.sendall(TOLD[100:] + TOLD)
    assert len(next(told).events) == 2
    first.close()
    assert "charon.enfy" in next(told).failing
    assert next(told).failing == ""
    second, _ = listener.accept()
    second.sendall(b"HTTP/1.1 400 Bad Request\r\n" + b"x" * 768)
    assert "not charon's plugin" in next(told).failing
    second.close()
    listener.close()
    path.unlink()
    assert "No such file" in next(told).failing
    told.close()


def test_no_charon(tmp_path: Path) -> None:
    told = Notices(tmp_path / "none", tmp_path / "vici", now).gather({"x": 1}, threading.Event())
    found = next(told)
    assert "charon cannot be reached" in found.failing
    assert found.position == {"x": 1}
