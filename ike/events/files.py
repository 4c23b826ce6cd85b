"""Log files as blocks of bytes: plain or compressed, of today or of last week, whole or while they grow."""

import bz2
import codecs
import gzip
import importlib
import io
import lzma
import stat
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

from ike.events.errors import (
    LogDamaged,
    LogNotFile,
    LogNotFollowable,
    LogNotFound,
    LogNotText,
    LogUnreadable,
    ZstdMissing,
)
from ike.events.tail import START, Piece, Tail, rotated

__all__ = ["Piece", "blocks", "follow", "rotated", "stream"]

_BLOCK: Final = 1 << 18
_LOOKED_AT: Final = 1 << 16  # bytes at the beginning that tell what a file is
_ODD: Final = 0.3  # as much of them may be control characters: a crash leaves runs of NUL in logs
_CONTROLS: Final = bytes(set(range(32)) - set(b"\t\n\r\x0b\x0c\x1b")) + b"\x7f"
_UTF16: Final = (b"\xff\xfe", b"\xfe\xff")
# The beginning of files that are often taken for logs, and what to do with them.
_OTHERS: Final = {
    b"ElfFile\0": "Export the Windows log as XML: `wevtutil qe Security /f:XML > ike.xml`.",
    b"LPKSHHRH": "Export the journal: `journalctl -o json --file FILE | ikewarden sa events -`.",
    b"\xd4\xc3\xb2\xa1": "This is a capture of packets, no log.",
    b"\x0a\x0d\x0d\x0a": "This is a capture of packets, no log.",
}
_BROKEN: Final = (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, ValueError)


def blocks(path: Path) -> Iterator[bytes]:
    """The text of a log, uncompressed, block by block; UTF-16 becomes UTF-8.

    Raises the errors of `ike.events.errors`: LogDamaged after what could be read.
    """
    with _opened(path) as file:
        yield from _text(_uncompressed(file, path), path)


def stream(file: BinaryIO) -> Iterator[bytes]:
    """The same of a stream such as standard input, as soon as something comes."""
    buffered = io.BufferedReader(_Raw(file), _LOOKED_AT)
    yield from _text(_uncompressed(buffered, Path("standard input")), Path("standard input"))


def follow(path: Path, wait: Callable[[], object]) -> Iterator[Piece]:
    """What is in a log, and then what comes, for ever; `wait` is called when there is nothing more, and may end it by
    an exception.

    A log that is renamed is read to its end, and then its successors, once something is in them. One that is cut off,
    or written anew, is read again from its beginning.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        raise LogNotFollowable(f"{path} is no file that grows.")  # a pipe would wait when opened
    with _opened(path) as file:
        if _compression(file.peek(8)) is not None:
            raise LogNotFollowable(f"{path} is compressed, so nothing will be added to it.")
    tail = Tail(path, START)
    try:
        while True:
            try:
                piece = tail.read()
            except FileNotFoundError:  # between the renaming and the new file
                piece = Piece(b"")
            except OSError as error:
                raise LogUnreadable(f"{path} cannot be read: {_said(error)}.") from None
            yield piece
            if not piece.data:
                wait()
    finally:
        tail.close()


def _opened(path: Path) -> io.BufferedReader:
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise LogNotFile(f"{path} is a directory.")
        if stat.S_ISBLK(mode) or stat.S_ISSOCK(mode):
            raise LogNotFile(f"{path} is no file.")
        return path.open("rb")
    except (FileNotFoundError, NotADirectoryError):
        raise LogNotFound(f"There is no {path}.") from None
    except (OSError, ValueError) as error:
        raise LogUnreadable(f"{path} cannot be read: {_said(error)}.") from None


def _said(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _compression(head: bytes) -> str | None:
    for magic, name in (
        (b"\x1f\x8b", "gzip"),
        (b"BZh", "bzip2"),
        (b"\xfd7zXZ\0", "xz"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
    ):
        if head.startswith(magic):
            return name
    return None


def _uncompressed(file: Any, path: Path) -> Any:
    how = _compression(file.peek(8)[:8])
    if how == "gzip":
        return gzip.GzipFile(fileobj=file)
    if how == "bzip2":
        return bz2.BZ2File(file)
    if how == "xz":
        return lzma.LZMAFile(file)
    if how == "zstd":
        return _zstd(path).ZstdFile(file)
    return file


def _zstd(path: Path) -> Any:
    """The module of the standard library, from 3.14 on, or the same one for those before."""
    for name in ("compression.zstd", "backports.zstd"):
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError:
            continue
    raise ZstdMissing(f"{path} is compressed with zstd, and there is nothing here to read that.")


def _text(file: Any, path: Path) -> Iterator[bytes]:
    head = next(pieces := _pieces(file, path), b"")
    if head.startswith(_UTF16):
        decoder = codecs.getincrementaldecoder("utf-16")("replace")
        yield from (decoder.decode(each).encode() for each in _chained(head, pieces))
        return
    _refuse_others(head, path)
    yield from _chained(head.removeprefix(codecs.BOM_UTF8), pieces)


def _chained(head: bytes, rest: Iterable[bytes]) -> Iterator[bytes]:
    yield head
    yield from rest


def _refuse_others(head: bytes, path: Path) -> None:
    for magic, step in _OTHERS.items():
        if head.startswith(magic):
            raise LogNotText(f"{path} is no log as text.", next_step=step)
    looked_at = head[:_LOOKED_AT]
    odd = len(looked_at) - len(looked_at.translate(None, _CONTROLS))
    if odd > len(looked_at) * _ODD:
        raise LogNotText(f"{path} holds no text.")


def _pieces(file: Any, path: Path) -> Iterator[bytes]:
    read = getattr(file, "read1", file.read)
    while True:
        try:
            data = read(_BLOCK)
        except _BROKEN as error:
            raise LogDamaged(f"{path} is damaged: {_said(error)}.") from None
        except OSError as error:  # bz2 tells of bad data so, too
            raise LogDamaged(f"{path} cannot be read on: {_said(error)}.") from None
        if not data:
            return
        yield data


class _Raw(io.RawIOBase):
    """A stream that gives what is there, without waiting for a full block."""

    def __init__(self, file: BinaryIO) -> None:
        self._read = getattr(file, "read1", file.read)

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Put what came into the buffer; 0 at the end."""
        data = self._read(len(buffer))
        buffer[: len(data)] = data
        return len(data)
