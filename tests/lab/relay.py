"""A TCP relay from an address inside the lab to a service of the root namespace, or the other way."""

import contextlib
import socket
import threading
from collections.abc import Callable
from functools import partial

_CHUNK = 65536


class Relay:
    """Carries every connection to `listener` on to `target` (host, port), until it is closed. `connect` makes the
    connection there, by default from where we are.
    """

    def __init__(
        self,
        listener: socket.socket,
        target: tuple[str, int],
        connect: Callable[[tuple[str, int]], socket.socket] | None = None,
    ) -> None:
        self._listener = listener
        self._connect = connect or partial(socket.create_connection, timeout=60)
        self._target = target
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._closed = False
        self._threads: list[threading.Thread] = []
        host, port = listener.getsockname()[:2]
        self.address = f"{host}:{port}"
        self._spawn(self._accept)

    def close(self) -> None:
        """Stop listening, cut the connections under way, wait for the threads."""
        with self._lock:
            self._closed = True
            sockets = [self._listener, *self._open]
        for each in sockets:
            _shut(each, socket.SHUT_RDWR)  # wakes the thread that waits in it
        for thread in list(self._threads):
            thread.join(timeout=60)
        self._listener.close()

    def _spawn(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._spawn(self._carry, client)

    def _carry(self, client: socket.socket) -> None:
        with client:
            try:
                server = self._connect(self._target)
            except OSError:
                return  # the client sees its connection closed, as with any dead service
            server.settimeout(None)
            with server:
                with self._lock:
                    if self._closed:
                        return
                    self._open |= {client, server}
                back = threading.Thread(target=_pump, args=(server, client), daemon=True)
                back.start()
                _pump(client, server)
                back.join()
                with self._lock:
                    self._open -= {client, server}


def _pump(source: socket.socket, sink: socket.socket) -> None:
    """Copy until the source ends, then end the sink's direction; an error ends both."""
    try:
        while data := source.recv(_CHUNK):
            sink.sendall(data)
        _shut(sink, socket.SHUT_WR)
    except OSError:
        _shut(source, socket.SHUT_RDWR)
        _shut(sink, socket.SHUT_RDWR)


def _shut(each: socket.socket, how: int) -> None:
    with contextlib.suppress(OSError):
        each.shutdown(how)
