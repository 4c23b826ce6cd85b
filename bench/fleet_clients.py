"""`python -m bench.fleet_clients PORT ROOT PLACE COUNT FILE`: agents that wait for the state of their gateway.

Each has a connection of its own, over TLS with the client certificate of its gateway, and asks again as soon as it is
answered. Says `ready` when all are waiting; ends when its standard input does, and writes the time of each gateway's
first news to FILE. One thread and epoll: what is measured is the service.
"""

import json
import resource
import select
import socket
import ssl
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.fleet_records import gateway_name

_CONNECTING = 8
_READ = 1 << 16
_WAIT = 300


class Agent:
    """One simulated agent."""

    __slots__ = ("buffer", "etag", "name", "socket")

    def __init__(self, name: str, connection: ssl.SSLSocket) -> None:
        self.name = name
        self.socket = connection
        self.buffer = b""
        self.etag = b""

    def ask(self) -> None:
        """Ask for the state; from the second time on, wait for another one."""
        known = b"If-None-Match: %s\r\n" % self.etag if self.etag else b""
        query = b"?wait=%d" % _WAIT if self.etag else b""
        self.socket.sendall(
            b"GET /v1/gateways/self/state%s HTTP/1.1\r\nHost: localhost\r\n%s\r\n" % (query, known)
        )

    def read(self) -> int | None:
        """The status of the answer, once it is there."""
        try:
            data = self.socket.recv(_READ)
        except (ssl.SSLWantReadError, BlockingIOError):
            return None
        if not data:
            raise ConnectionError(f"{self.name}: the service hung up")
        self.buffer += data
        head, found, body = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return None
        fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:])
        length = int(fields.get(b"content-length", b"0"))
        if len(body) < length:
            return None
        self.buffer = b""
        status = int(head[9:12])
        if status not in {200, 304}:
            raise ConnectionError(f"{self.name}: {status} {body[:300]!r}")
        self.etag = fields[b"etag"]
        return status


class Crowd:
    """All of them."""

    def __init__(self, port: int, root: Path, place: Path) -> None:
        self._port = port
        self._place = place
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._context.load_verify_locations(root)
        self._lock = threading.Lock()

    def connect(self, number: int) -> Agent:
        """Connect, fetch the state once, and wait for another."""
        plain = socket.create_connection(("127.0.0.1", self._port), timeout=60)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:  # the connection takes over what the context has at this moment
            self._context.load_cert_chain(self._place / f"{number}.pem")
            secured = self._context.wrap_socket(
                plain, server_hostname="localhost", do_handshake_on_connect=False
            )
        secured.do_handshake()
        agent = Agent(gateway_name(number), secured)
        agent.ask()
        while agent.read() is None:
            pass
        agent.ask()
        secured.setblocking(False)
        return agent


def main() -> None:
    """Connect, wait, and write down who heard when."""
    port, root, place, count, file = sys.argv[1:]
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    crowd = Crowd(int(port), Path(root), Path(place))
    with ThreadPoolExecutor(_CONNECTING) as pool:
        agents = list(pool.map(crowd.connect, range(int(count))))
    heard: dict[str, float] = {}
    poll = select.epoll()
    by_number = {agent.socket.fileno(): agent for agent in agents}
    for number in by_number:
        poll.register(number, select.EPOLLIN)
    poll.register(sys.stdin.fileno(), select.EPOLLIN | select.EPOLLHUP)
    print("ready", flush=True)
    while True:
        for number, _ in poll.poll():
            agent = by_number.get(number)
            if agent is None:
                Path(file).write_text(json.dumps(heard))
                return
            status = agent.read()
            if status is None:
                continue
            if status == 200:
                heard.setdefault(agent.name, time.monotonic())
            agent.ask()


if __name__ == "__main__":
    main()
