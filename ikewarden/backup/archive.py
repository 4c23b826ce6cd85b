"""What is inside the encryption: a tar of plain files, the first of which says what the others are."""

import json
import os
import re
import tarfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Final

from ikewarden.backup.errors import BackupUnreadable, BackupVersionUnknown

FORMAT: Final = 1
MANIFEST: Final = "backup.json"
FILES: Final = "instance/"
RECORDS: Final = "records/"
PRIVATE: Final = 0o600
_BLOCK: Final = 512
_PIECE: Final = 1 << 20
_MOST_MANIFEST: Final = 64 * 1024
_PART: Final = re.compile(r"[A-Za-z0-9_.@:+=-]{1,255}")


@dataclass(frozen=True)
class Manifest:
    """What a backup is: `schema` is the version of the tables, `database` their kind, `made_at` RFC 3339 in UTC.

    `directories` are those of the instance that are private, and made even if they are empty.
    """

    program: str
    schema: str
    database: str
    made_at: str
    backup: str
    directories: tuple[str, ...]
    format: int = FORMAT


@dataclass(frozen=True)
class Entry:
    """A file: its name in the archive and its content, or where that is."""

    name: str
    content: bytes | Path
    mode: int = PRIVATE


class Packed:
    """An archive that is made while it is read."""

    def __init__(self, manifest: Manifest, entries: Iterator[Entry]) -> None:
        self._pieces = _pieces(manifest, entries)
        self._rest = b""

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes; none at the end."""
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return b""
            self._rest = piece
        taken = self._rest if size < 0 else self._rest[:size]
        self._rest = self._rest[len(taken) :]
        return taken


class Weighed:
    """A sink that keeps the beginning of what it is given, and counts the rest."""

    def __init__(self) -> None:
        self.size = 0
        self._head = bytearray()

    def write(self, piece: bytes) -> int:
        """Take a piece."""
        self.size += len(piece)
        room = _BLOCK + _MOST_MANIFEST - len(self._head)
        if room > 0:
            self._head += piece[:room]
        return len(piece)

    def flush(self) -> None:
        """There is nothing to do."""

    def manifest(self) -> Manifest:
        """What the archive says of itself. Raises BackupUnreadable, BackupVersionUnknown."""
        try:
            first = tarfile.TarInfo.frombuf(bytes(self._head[:_BLOCK]), "utf-8", "strict")
            document = json.loads(self._head[_BLOCK : _BLOCK + first.size])
            known = document["format"] == FORMAT
        except (tarfile.TarError, ValueError, KeyError, TypeError, UnicodeError):
            raise BackupUnreadable("What was decrypted is no backup.") from None
        if first.name != MANIFEST:
            raise BackupUnreadable("What was decrypted is no backup.")
        if not known:
            raise BackupVersionUnknown(
                f"The backup has the format {document['format']}, made by ikewarden "
                f"{document.get('program')}; this program knows {FORMAT}."
            )
        return Manifest(**{**document, "directories": tuple(document["directories"])})


def unpack(archive: IO[bytes], target: Path) -> None:
    """Write the files of a verified archive below `target`, each to disk.

    Raises BackupUnreadable for names and kinds that a backup does not have, and OSError.
    """
    with tarfile.open(fileobj=archive, mode="r:") as opened:
        for member in opened:
            if not member.isreg() or not _is_sound(member.name):
                raise BackupUnreadable(f"A backup has no such file: {member.name!r}.")
            path = target / member.name
            for parent in reversed(
                Path(member.name).parents
            ):  # each closed to others, not the last only
                (target / parent).mkdir(mode=0o700, exist_ok=True)
            content: Any = opened.extractfile(member)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(os.open(path, flags, PRIVATE), "wb") as file:
                os.fchmod(file.fileno(), member.mode & 0o644)
                while piece := content.read(_PIECE):
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())


def _is_sound(name: str) -> bool:
    parts = name.split("/")
    return all(_PART.fullmatch(part) and part not in {".", ".."} for part in parts)


def _pieces(manifest: Manifest, entries: Iterator[Entry]) -> Iterator[bytes]:
    yield from _packed(Entry(MANIFEST, json.dumps(asdict(manifest)).encode()))
    for entry in entries:
        yield from _packed(entry)
    yield bytes(2 * _BLOCK)


def _packed(entry: Entry) -> Iterator[bytes]:
    header = tarfile.TarInfo(entry.name)
    header.mode = entry.mode
    if isinstance(entry.content, bytes):
        header.size = len(entry.content)
        yield header.tobuf(tarfile.PAX_FORMAT)
        yield entry.content
    else:
        with entry.content.open("rb") as file:
            header.size = os.fstat(file.fileno()).st_size
            yield header.tobuf(tarfile.PAX_FORMAT)
            left = header.size
            while left:
                piece = file.read(min(_PIECE, left))
                if not piece:
                    raise OSError(f"{entry.content} became shorter while it was read")
                left -= len(piece)
                yield piece
    yield bytes(-header.size % _BLOCK)
