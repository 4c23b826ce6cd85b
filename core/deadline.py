"""An end to what a receiver can make us wait for: a timeout of a socket begins anew with each byte that comes."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

#: So long nothing may come at all, and so long everything may take together. Seconds.
SILENT: Final = 5.0
WHOLE: Final = 20.0


@contextlib.contextmanager
def deadline(find: Callable[[], socket.socket | None]) -> Iterator[None]:
    """Cut the connection that `find` gives when the time is over: whoever waits at it gets an error of the system."""

    def cut() -> None:
        held = find()
        if held is not None:
            with contextlib.suppress(OSError):
                # Below TLS: another thread may be inside of it.
                socket.socket.shutdown(held, socket.SHUT_RDWR)

    timer = threading.Timer(WHOLE, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def trusting(ca_file: Path | None) -> ssl.SSLContext:
    """TLS that believes only who proves its name by this root, or by one of this system."""
    context = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
