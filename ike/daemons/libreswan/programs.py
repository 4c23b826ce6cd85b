"""Runs programs without a shell, under a time limit, with secrets in files that have no name."""

import os
import selectors
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from ike.daemons.port import DaemonUnreachable

# Messages are matched as text, so no translation; and nothing of the agent's own environment but what finds programs.
_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "TZ": "UTC"}


@dataclass(frozen=True)
class Ended:
    """How a program ended: its exit status, None where its time was up or enough was heard, and all it printed."""

    status: int | None
    text: str

    @property
    def last_words(self) -> str:
        """The last line that says something, for a message to people."""
        lines = [line.strip() for line in self.text.splitlines() if line.strip()]
        return lines[-1] if lines else "no word"


@contextmanager
def nameless(content: bytes) -> Iterator[int]:
    """A file in memory with this content, open for the block; children reach it by `path_of`."""
    # Nothing to clean up after a kill, nothing on a disk that somebody may read later.
    handle = os.memfd_create("ikewarden", os.MFD_CLOEXEC)
    try:
        os.write(handle, content)
        yield handle
    finally:
        os.close(handle)


def path_of(handle: int) -> str:
    """The path under which a child process that inherited the file can open it."""
    return f"/proc/self/fd/{handle}"


def run(
    command: Sequence[str],
    *,
    seconds: float,
    stdin: bytes = b"",
    handles: Sequence[int] = (),
    enough: Callable[[str], bool] | None = None,
) -> Ended:
    """Run a program until it ends, until `enough(text so far)`, or until its time is up.

    `handles` are files of `nameless` that it may open. Raises DaemonUnreachable when the program is not there.
    """
    reader, writer = os.pipe()
    try:
        with nameless(stdin) as source:
            os.lseek(source, 0, os.SEEK_SET)
            process = subprocess.Popen(
                command,
                stdin=source,
                stdout=writer,
                stderr=subprocess.STDOUT,
                env=_ENVIRONMENT,
                pass_fds=tuple(handles),
            )
    except OSError as error:
        os.close(reader)
        raise DaemonUnreachable(
            f"{command[0]} cannot be run: {error.strerror}.",
            next_step="Install Libreswan and the NSS tools, or set where the programs are.",
        ) from error
    finally:
        os.close(writer)
    with process:
        try:
            return _attend(process, reader, seconds, enough)
        finally:
            process.kill()  # does nothing to a process that has ended
            os.close(reader)


def _attend(
    process: "subprocess.Popen[bytes]",
    reader: int,
    seconds: float,
    enough: Callable[[str], bool] | None,
) -> Ended:
    heard = b""
    deadline = time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        selector.register(reader, selectors.EVENT_READ)
        while (left := deadline - time.monotonic()) > 0:
            if not selector.select(left):
                break
            piece = os.read(reader, 65536)
            heard += piece
            if not piece:
                with suppress(subprocess.TimeoutExpired):
                    status = process.wait(max(left, 0.1))
                    return Ended(status, heard.decode(errors="replace"))
                break
            if enough is not None and enough(heard.decode(errors="replace")):
                break
    return Ended(None, heard.decode(errors="replace"))
