"""Connections to an address that was judged, and to no other, in a time that has an end."""

import contextlib
import http.client
import io
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final

from pki.acme.validation import ProofMissing
from scheduler.acme.addresses import Address

#: So long nothing may come at all, and so long one proof may take, redirects and all. Seconds.
SILENT: Final = 5.0
WHOLE: Final = 20.0
# Of an answer, with all that comes before and behind it.
_MOST_OCTETS: Final = 65_536


class Patience:
    """How long a proof may still take."""

    def __init__(self) -> None:
        self._end = time.monotonic() + WHOLE

    def left(self) -> float:
        """Seconds. Raises ProofMissing when there are none."""
        rest = self._end - time.monotonic()
        if rest <= 0:
            raise ProofMissing("connection", "it took too long")
        return rest


@contextlib.contextmanager
def connected(found: Sequence[Address], port: int, patience: Patience) -> Iterator[socket.socket]:
    """A connection to the first of the addresses that takes it. Raises ProofMissing."""
    for address in found:
        seconds = min(SILENT, patience.left())
        try:
            held = socket.create_connection((str(address), port), timeout=seconds)
        except OSError:
            continue
        with contextlib.closing(held), _ending(held, patience):
            yield held
        return
    raise ProofMissing("connection", f"nothing answers at port {port}")


@contextlib.contextmanager
def secured(
    held: socket.socket, context: ssl.SSLContext, name: str | None, patience: Patience
) -> Iterator[ssl.SSLSocket]:
    """TLS over a connection, for a server of this name. Raises OSError."""
    # Not at once: what cuts it must have it before the other side can let us wait.
    tls = context.wrap_socket(held, server_hostname=name, do_handshake_on_connect=False)
    with contextlib.closing(tls), _ending(tls, patience):
        tls.do_handshake()
        yield tls


@contextlib.contextmanager
def _ending(held: socket.socket, patience: Patience) -> Iterator[None]:
    """Cut a connection when the time is over: a timeout of a socket begins anew with each byte that comes."""

    def cut() -> None:
        with contextlib.suppress(OSError):
            # Below TLS: another thread may be inside of it.
            socket.socket.shutdown(held, socket.SHUT_RDWR)

    timer = threading.Timer(patience.left(), cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


class _Meagre(io.RawIOBase):
    """So many octets of a stream, and not more. Reading on raises OSError."""

    def __init__(self, raw: io.RawIOBase) -> None:
        self._raw = raw
        self._left = _MOST_OCTETS

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self._left <= 0:
            raise OSError("too much")
        number = self._raw.readinto(memoryview(buffer)[: self._left])
        self._left -= number or 0
        return number

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Short(http.client.HTTPResponse):
    """An answer that ends: the library reads on over any number of preliminary answers, and lines behind the body."""

    def __init__(self, *words: Any, **named: Any) -> None:
        super().__init__(*words, **named)
        self.fp = io.BufferedReader(_Meagre(self.fp.detach()))


class Pinned(http.client.HTTPConnection):
    """HTTP over a connection that is there already: nothing is looked up, and no proxy asked."""

    response_class = _Short

    def __init__(self, host: str, port: int, held: socket.socket) -> None:
        super().__init__(host, port)
        self.sock = held
        self.auto_open = 0


def unjudged() -> ssl.SSLContext:
    """TLS that believes any certificate: a client has none yet, and proves itself by what it answers."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
