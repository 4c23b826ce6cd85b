"""Dumps of SAs as files: which form one has, and what stands in it."""

import codecs
import itertools
import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Final

from ike.sas import pluto, windows, xfrm
from ike.sas.association import Association
from ike.sas.combining import combined
from ike.sas.errors import SasUnknown, SasUnreadable

_LARGEST: Final = 64 * 2**20
_STATUS: Final = re.compile(r"000 #\d+: ")
_HEAD: Final = 50  # lines that are looked at for the form


def of_files(paths: Sequence[str], *, now: datetime) -> list[Association]:
    """The SAs of one host, of dumps that were made at the same time; `-` is standard input. `now` is an aware time.

    Raises SasUnreadable, SasUnknown.
    """
    dumps = _Dumps()
    for path in paths:
        try:
            if path == "-":
                dumps.read(sys.stdin.buffer, "standard input", now)
                continue
            with Path(path).open("rb") as file:
                made = datetime.fromtimestamp(Path(path).stat().st_mtime, now.tzinfo)
                dumps.read(file, path, made)
        except (OSError, ValueError) as error:
            raise SasUnreadable(f"{path} cannot be read: {_said(error)}.") from None
    return dumps.associations()


def _said(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


class _Dumps:
    """What was read so far."""

    def __init__(self) -> None:
        self._kernel: list[Association] = []
        self._windows: list[Association] = []
        self._texts: list[str] = []  # pluto's
        self._now: float | None = None

    def read(self, file: BinaryIO, name: str, now: datetime) -> None:
        """Take one dump, made at `now`. Raises SasUnknown."""
        lines = _lines(file)
        head = list(itertools.islice(lines, _HEAD))
        start = next((line.strip() for line in head if line.strip()), "")
        whole = itertools.chain(head, lines)
        if xfrm.HEAD.match(start):
            del head
            # Line by line: keys may stand in it. The kernel prints local times.
            local = now.astimezone().replace(tzinfo=None)
            self._kernel += xfrm.associations(xfrm.states(whole), now=local)
        elif start[:1] in ("[", "{"):
            self._windows += windows.of_powershell(_document(_joined(whole), name))
        elif any(windows.NETSH.match(line.strip()) for line in head):
            self._windows += windows.of_netsh(_joined(whole))
        elif any(pluto.TRAFFIC.search(line) or _STATUS.match(line) for line in head) or (
            start.startswith("000 ")
        ):
            self._texts.append(_joined(whole))
            self._now = now.timestamp()
        elif start:
            raise SasUnknown(f"{name} holds no list of SAs that is known.")

    def associations(self) -> list[Association]:
        """All that was read, of one host."""
        told: list[Association] = []
        if self._texts:
            text = "\n".join(self._texts)
            status = text if _STATUS.search(text) else ""
            told = pluto.associations(text, status, now=self._now)
        found = combined(told, self._kernel) if told else self._kernel
        return [*self._windows, *found]


def _lines(file: BinaryIO) -> Iterator[str]:
    """The lines of UTF-8, or of UTF-16 as PowerShell writes it."""
    first = file.readline()
    if first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text = (first + file.read(_LARGEST)).decode("utf-16", "replace")
        yield from text.splitlines(keepends=True)
        return
    yield first.removeprefix(codecs.BOM_UTF8).decode(errors="replace")
    while line := file.readline(_LARGEST):
        yield line.decode(errors="replace")


def _joined(lines: Iterable[str]) -> str:
    return "".join(lines)[:_LARGEST]


def _document(text: str, name: str) -> object:
    try:
        found: object = json.loads(text)
    except (ValueError, RecursionError):
        raise SasUnknown(f"{name} begins as JSON and is none.") from None
    return found
