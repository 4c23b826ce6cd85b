"""Devices that send syslog over loopback, each from an address of its own."""

import socket
import ssl
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

SECONDS = 90


def counted(*messages: bytes) -> bytes:
    """RFC 6587 §3.4.1."""
    return b"".join(b"%d %s" % (len(each), each) for each in messages)


def throw(port: int, *messages: bytes, source: str = "127.0.0.1") -> None:
    """Send datagrams."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.bind((source, 0))
        for each in messages:
            line.sendto(each, ("127.0.0.1", port))


def connected(port: int, source: str = "127.0.0.1") -> socket.socket:
    """A connection."""
    return socket.create_connection(("127.0.0.1", port), SECONDS, source_address=(source, 0))


def stream(port: int, data: bytes, source: str = "127.0.0.1") -> None:
    """Send over a connection, and wait for its end."""
    with connected(port, source) as line:
        line.sendall(data)
        line.shutdown(socket.SHUT_WR)
        while line.recv(4096):
            pass


def secured(
    port: int, ca_file: Path, credential: tuple[Path, Path] | None = None, source: str = "127.0.0.1"
) -> ssl.SSLSocket:
    """A connection with TLS, with a client certificate and its key if given."""
    context = ssl.create_default_context(cafile=ca_file)
    if credential is not None:
        context.load_cert_chain(*credential)
    return context.wrap_socket(connected(port, source), server_hostname="localhost")


def is_ended(line: socket.socket) -> bool:
    """Wait until the other side ends it; whether it did."""
    try:
        return line.recv(1) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


def eventually(check: Callable[[], object]) -> None:
    """Wait until something is true."""
    deadline = time.monotonic() + SECONDS
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def stamp(after: float = 0) -> str:
    """RFC 5424, some seconds from now."""
    return datetime.fromtimestamp(time.time() + after, UTC).isoformat(timespec="milliseconds")


def old_stamp(after: float = 0) -> str:
    """RFC 3164: neither a year nor a zone."""
    moment = datetime.fromtimestamp(time.time() + after, UTC)
    return f"{moment:%b} {moment.day:2} {moment:%H:%M:%S}"
