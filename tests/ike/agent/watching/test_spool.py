"""The spool of events: numbered, whole after a death, bounded; and the log that is read on from a place."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ike.agent.watching.spool import NAME, Spool
from ike.events.tail import Tail


def numbers(spool: Spool) -> list[int]:
    return [each["n"] for each in spool.batch(10**6).events]


def test_events_keep_their_numbers_over_a_restart(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.add([{"n": 0}, {"n": 1}], {"offset": 7})
    first = spool.batch(1)
    assert (first.first, first.events) == (0, [{"n": 0}])
    spool.done(first)
    again = Spool(tmp_path)
    # What was told and not noted is told again, under the same number.
    assert (again.batch(1).stream, again.batch(1).first) == (first.stream, 0)
    assert again.position_of("") == {"offset": 7}
    again.done(again.batch(5))
    again.add([{"n": 2}], {"offset": 9})
    assert (again.batch(5).first, numbers(again)) == (2, [2])


@pytest.mark.parametrize("cut", range(1, 40))
def test_half_a_line_is_no_line(tmp_path: Path, cut: int) -> None:
    spool = Spool(tmp_path)
    spool.add([{"n": 0}], {"offset": 1})
    spool.add([{"n": 1}], {"offset": 2})
    path = tmp_path / NAME
    path.write_bytes(path.read_bytes()[:-cut])
    again = Spool(tmp_path)
    last = numbers(again)
    assert last in ([0], [])
    assert (again.position_of("") or {}).get("offset", 0) == len(last)
    again.add([{"n": 5}], {"offset": 3})
    assert numbers(Spool(tmp_path)) == [*last, 5]


def test_the_oldest_give_way(tmp_path: Path) -> None:
    spool = Spool(tmp_path, most=3)
    spool.add([{"n": n} for n in range(5)], None)
    batch = spool.batch(10)
    assert (batch.first, batch.oldest, numbers(spool)) == (2, 2, [2, 3, 4])
    assert spool.lost == 2
    again = Spool(tmp_path, most=3)
    assert (again.batch(10).first, numbers(again)) == (2, [2, 3, 4])


@pytest.mark.parametrize("content", [b"", b"\x00\x01", b"[]\n", b'{"stream": "a"}\n', b"{"])
def test_what_cannot_be_understood_is_begun_anew(tmp_path: Path, content: bytes) -> None:
    first = Spool(tmp_path)
    (tmp_path / NAME).write_bytes(content)
    again = Spool(tmp_path)
    assert again.batch(1).stream != first.batch(1).stream
    assert again.position_of("") is None


def test_the_file_does_not_grow_with_what_was_told(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    for round_ in range(60):
        spool.add([{"n": n, "text": "x" * 200} for n in range(500)], {"offset": round_})
        spool.done(spool.batch(1000))
    assert (tmp_path / NAME).stat().st_size < 3 * 2**20
    again = Spool(tmp_path)
    assert again.position_of("") == {"offset": 59}
    assert again.batch(1).first + len(again) == 30_000


OPENED: list[Tail] = []


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while OPENED:
        OPENED.pop().close()


def opened(path: Path, place: dict[str, object] | None) -> Tail:
    OPENED.append(Tail(path, place))
    return OPENED[-1]


def rest(tail: Tail) -> bytes:
    found = b""
    while data := tail.read().data:
        found += data
    return found


def resumed(path: Path, place: dict[str, object]) -> Tail:
    return opened(path, json.loads(json.dumps(place)))


def test_a_log_is_read_on(tmp_path: Path) -> None:
    log = tmp_path / "charon.log"
    log.write_bytes(b"old\n")
    tail = opened(log, None)
    assert rest(tail) == b""
    with log.open("ab") as file:
        file.write(b"one\ntw")
    assert rest(tail) == b"one\n"
    with log.open("ab") as file:
        file.write(b"o\n")
    again = resumed(log, tail.place())
    assert (again.before, rest(again)) == (b"old\none\n", b"two\n")
    assert rest(tail) == b"two\n"


@pytest.mark.parametrize("alive", [True, False])
def test_a_log_is_rotated(tmp_path: Path, alive: bool) -> None:
    log = tmp_path / "charon.log"
    log.write_bytes(b"")
    tail = opened(log, None)
    with log.open("ab") as file:
        file.write(b"one\n")
    assert rest(tail) == b"one\n"
    with log.open("ab") as file:
        file.write(b"two\n")
    log.rename(tmp_path / "charon.log.1")
    log.write_bytes(b"three\n")
    reader = tail if alive else resumed(log, tail.place())
    assert rest(reader) == b"two\nthree\n"
    log.rename(tmp_path / "charon.log.0")
    os.rename(tmp_path / "charon.log.1", tmp_path / "charon.log.2")
    os.rename(tmp_path / "charon.log.0", tmp_path / "charon.log.1")
    log.write_bytes(b"four\n")
    assert rest(reader) == b"four\n"


@pytest.mark.parametrize("alive", [True, False])
def test_a_log_is_cut_off(tmp_path: Path, alive: bool) -> None:
    log = tmp_path / "charon.log"
    log.write_bytes(b"")
    tail = opened(log, None)
    with log.open("ab") as file:
        file.write(b"one\ntwo\n")
    assert rest(tail) == b"one\ntwo\n"
    os.truncate(log, 0)
    with log.open("ab") as file:
        file.write(b"new\n")
    assert rest(tail if alive else resumed(log, tail.place())) == b"new\n"


def test_a_log_that_was_replaced_is_another(tmp_path: Path) -> None:
    log = tmp_path / "charon.log"
    log.write_bytes(b"one\n")
    place = opened(log, None).place()
    with log.open("r+b") as file:  # the same number of a file, another beginning
        file.write(b"ONE\nTWO\n")
    assert rest(resumed(log, place)) == b"ONE\nTWO\n"


def test_a_log_that_comes_later(tmp_path: Path) -> None:
    tail = opened(tmp_path / "charon.log", None)
    place = tail.place()
    with pytest.raises(FileNotFoundError):
        tail.read()
    (tmp_path / "charon.log").write_bytes(b"one\n")
    assert rest(tail) == b"one\n"
    assert rest(resumed(tmp_path / "charon.log", place)) == b"one\n"
