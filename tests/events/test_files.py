"""Logs as files: compressed, rotated, growing, damaged, and what is none."""

import bz2
import contextlib
import gzip
import lzma
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from backports import zstd

from core.errors import IkewardenError
from ike.events import files
from ike.events.errors import (
    LogDamaged,
    LogNotFile,
    LogNotFollowable,
    LogNotFound,
    LogNotText,
    ZstdMissing,
)

TEXT = b"".join(b"07[IKE] <gw|3> giving up after %d retransmits\n" % each for each in range(20_000))
COMPRESSED: dict[str, Callable[[bytes], bytes]] = {
    "log": lambda text: text,
    "log.gz": gzip.compress,
    "log.bz2": bz2.compress,
    "log.xz": lzma.compress,
    "log.zst": zstd.compress,
}


@pytest.mark.parametrize("name", COMPRESSED)
def test_what_is_compressed_is_read_by_what_it_is_not_by_its_name(
    tmp_path: Path, name: str
) -> None:
    path = tmp_path / f"{name}.old"
    path.write_bytes(COMPRESSED[name](TEXT))
    assert b"".join(files.blocks(path)) == TEXT
    with path.open("rb") as file:
        assert b"".join(files.stream(file)) == TEXT


@pytest.mark.parametrize("name", [each for each in COMPRESSED if each != "log"])
def test_a_damaged_file_is_read_as_far_as_it_goes(tmp_path: Path, name: str) -> None:
    whole = COMPRESSED[name](TEXT * 5)
    path = tmp_path / name
    path.write_bytes(whole[: len(whole) // 2])
    read = bytearray()
    with pytest.raises(LogDamaged):
        read.extend(each for block in files.blocks(path) for each in block)
    assert (TEXT * 5).startswith(read)


def test_two_members_of_gzip_are_one_log(tmp_path: Path) -> None:
    path = tmp_path / "log.gz"
    path.write_bytes(gzip.compress(b"one\n") + gzip.compress(b"two\n"))
    assert b"".join(files.blocks(path)) == b"one\ntwo\n"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-8-sig"])
def test_other_encodings_become_utf_8(tmp_path: Path, encoding: str) -> None:
    text = "Gerät: 07[IKE] IKE_SA deleted\r\n"
    mark = b"\xfe\xff" if encoding == "utf-16-be" else b""
    path = tmp_path / "log"
    path.write_bytes(mark + text.encode(encoding))
    assert b"".join(files.blocks(path)).decode() == text


def _failure(path: Path) -> IkewardenError:
    with pytest.raises(IkewardenError) as caught:
        list(files.blocks(path))
    return caught.value


def test_what_is_no_log_is_named(tmp_path: Path) -> None:
    fifo, junk, evtx = tmp_path / "none", tmp_path / "junk", tmp_path / "evtx"
    junk.write_bytes(bytes(range(32)) * 500)
    evtx.write_bytes(b"ElfFile\0" + b"x" * 5000)
    assert isinstance(_failure(fifo), LogNotFound)
    assert isinstance(_failure(junk / "below"), LogNotFound)
    assert isinstance(_failure(tmp_path), LogNotFile)
    assert isinstance(_failure(junk), LogNotText)
    assert "wevtutil" in _failure(evtx).next_step
    assert _failure(Path("a\0b")).code == "log_unreadable"


def test_runs_of_nul_after_a_crash_are_no_reason_to_refuse(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(TEXT[:9000] + b"\0" * 3000 + TEXT[:9000])
    assert b"".join(files.blocks(path)) == path.read_bytes()


def test_without_a_library_for_zstd_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "backports.zstd", None)
    path = tmp_path / "log.zst"
    path.write_bytes(zstd.compress(TEXT))
    found = _failure(path)
    assert isinstance(found, ZstdMissing)
    assert "pip install '.[zstd]'" in found.next_step


def test_an_empty_log_is_a_log(tmp_path: Path) -> None:
    (tmp_path / "log").touch()
    assert b"".join(files.blocks(tmp_path / "log")) == b""


def test_a_rotated_set_is_in_the_order_of_time(tmp_path: Path) -> None:
    for name in ("log", "log.1", "log.2.gz", "log.10.zst", "logger", "log.old", "log.1.bak"):
        (tmp_path / name).touch()
    assert [each.name for each in files.rotated(tmp_path / "log")] == [
        "log.10.zst",
        "log.2.gz",
        "log.1",
        "log",
    ]
    for name in ("day", "day-20260102.gz", "day-20260101", "day-20260102-1700000000"):
        (tmp_path / name).touch()
    assert [each.name for each in files.rotated(tmp_path / "day")] == [
        "day-20260101",
        "day-20260102.gz",
        "day-20260102-1700000000",
        "day",
    ]


class _Over(Exception):
    """The script of a test has ended."""


def _followed(path: Path, *acts: Callable[[], object]) -> list[list[bytes]]:
    """What is read, by file, while something is done whenever nothing more comes."""
    script: Iterator[Callable[[], object]] = iter(acts)

    def wait() -> None:
        act = next(script, None)
        if act is None:
            raise _Over
        act()

    found: list[list[bytes]] = []
    with contextlib.suppress(_Over):
        for piece in files.follow(path, wait):
            if piece.fresh:
                found.append([])
            if piece.data:
                found[-1].append(piece.data)
    return found


def _append(path: Path, text: bytes) -> Callable[[], object]:
    def act() -> None:
        with path.open("ab") as file:
            file.write(text)

    return act


def test_a_growing_log_is_followed_over_its_rotation(tmp_path: Path) -> None:
    log, old = tmp_path / "log", tmp_path / "log.1"
    log.write_bytes(b"one\n")
    found = _followed(
        log,
        _append(log, b"two\n"),
        lambda: log.rename(old),
        _append(old, b"three\n"),  # the daemon still has the old file
        log.touch,
        _append(old, b"four\n"),
        lambda: (_append(old, b"five\n")(), _append(log, b"six\n")()),
        _append(log, b"seven\n"),
    )
    assert [b"".join(each) for each in found] == [b"one\ntwo\nthree\nfour\nfive\n", b"six\nseven\n"]


def test_a_log_that_is_cut_off_is_read_from_its_beginning(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"one\ntwo\n")
    found = _followed(log, lambda: os.truncate(log, 0), _append(log, b"3\n"))
    assert [b"".join(each) for each in found] == [b"one\ntwo\n", b"3\n"]


def test_what_is_compressed_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "log.gz").write_bytes(gzip.compress(TEXT))
    with pytest.raises(LogNotFollowable):
        next(files.follow(tmp_path / "log.gz", lambda: None))


def test_what_has_no_places_is_not_followed(tmp_path: Path) -> None:
    """A pipe forgets what was read: there is nothing to go back to."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/null")):
        with pytest.raises(LogNotFollowable, match="no file that grows"):
            next(files.follow(path, lambda: None))


def test_a_log_that_is_written_anew_with_the_same_size_is_another(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"one\ntwo\n")
    found = _followed(log, lambda: log.write_bytes(b"ten\nsix\n"), _append(log, b"3\n"))
    assert [b"".join(each) for each in found] == [b"one\ntwo\n", b"ten\nsix\n3\n"]
