"""The processes: several behind one socket, stopped in order, told apart from nobody by the counters."""

import multiprocessing
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from api import meters
from api.server import ApiSettings, ListenFailed, bind, end_with_parent, serve_api
from hsm.ports import PrivateKey
from pki.actors import Role
from pki.desk import Desk
from pki.holdings import Holdings
from store.engine import open_store
from tests.api.serving import Client, Reply
from tests.api.site import Site, new_csr
from tests.fakes import FakeKeyStore

on_sqlite = pytest.mark.parametrize("site", ["sqlite"], indirect=True)
_FORK = multiprocessing.get_context("fork")


class SlowKeys(FakeKeyStore):
    """Keys that a test lets hang by making a file, from another process."""

    def __init__(self, inner: FakeKeyStore, file: Path) -> None:
        super().__init__()
        self._inner = inner
        self._file = file

    def open(self, uri: str) -> PrivateKey:
        while self._file.exists():
            self._file.with_suffix(".reached").touch()
            time.sleep(0.02)
        return self._inner.open(uri)


class Group:
    """Worker processes behind one socket."""

    def __init__(self, site: Site, workers: int, **settings: object) -> None:
        self.site = site
        self.slow = site.directory / "slow"
        bound = bind("127.0.0.1", 0)
        self.port: int = bound.getsockname()[1]
        self._credential = site.credential()  # before the fork: a store does not survive one
        self.settings = ApiSettings(version="0", **settings)  # type: ignore[arg-type]  # a test's own names
        self.processes = [_FORK.Process(target=self._run, args=[bound]) for _ in range(workers)]
        for process in self.processes:
            process.start()
        bound.close()

    def wait_until_slow(self) -> None:
        """Until somebody hangs on a key."""
        reached = self.slow.with_suffix(".reached")
        _until(reached.exists, "somebody hangs")
        reached.unlink()

    def _run(self, bound: socket.socket) -> None:
        signal.signal(
            signal.SIGINT, signal.default_int_handler
        )  # whoever runs the tests may ignore it

        def desk() -> Desk:
            return replace(
                self.site.desk,
                store=open_store(self.site.url),
                holdings=Holdings(),
                keys=SlowKeys(self.site.keys, self.slow),
            )

        serve_api(
            [bound],
            self.settings,
            desk,
            lambda _: self._credential,
            clock=lambda: datetime.now(UTC),
        )

    def client(self, role: Role | None = None) -> Client:
        """A client with a role's token."""
        token = None if role is None else self.site.tokens[role]
        return Client(self, token=token, trust=self.site.trust())

    def stop(self) -> list[int | None]:
        """Send SIGTERM to all; give their exit codes."""
        for process in self.processes:
            process.terminate()
        return [_end(process) for process in self.processes]


def _until(done: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 60
    while not done():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def _end(process: BaseProcess) -> int | None:
    process.join(60)
    if process.is_alive():
        process.kill()
        process.join()
    return process.exitcode


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=60).close()
    except ConnectionError:
        return False
    return True


@contextmanager
def _group(site: Site, workers: int = 1, **settings: object) -> Iterator[Group]:
    group = Group(site, workers, **settings)
    try:
        yield group
    finally:
        group.slow.unlink(missing_ok=True)
        assert group.stop() == [0] * workers


@on_sqlite
def test_workers_share_a_socket_and_their_counters(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(meters.DIRECTORY, str(tmp_path))
    with _group(site, workers=2) as group:
        clients: list[Client] = []

        def ask() -> bool:
            """With ever more connections, until both work: one may have begun later."""
            clients.append(group.client(Role.AUDITOR))
            assert clients[-1].get("/v1/whoami").status == 200
            return len(clients) >= 30 and len(list(tmp_path.glob("counter_*.db"))) == 2

        _until(ask, "both work")

        def counted() -> bool:  # a request is counted after it was answered
            text = clients[0].get("/metrics").body.decode()
            (number,) = re.findall(r'_total\{.*"/v1/whoami",status="200"\} (\S+)', text)
            return float(number) == len(clients)

        _until(counted, "all are counted")
        for client in clients:
            client.connection.close()


@on_sqlite
def test_what_is_under_way_ends_before_the_process(site: Site) -> None:
    replies: list[Reply] = []
    with _group(site, grace=300.0) as group:
        with group.client(Role.OPERATOR) as client:
            assert client.get("/v1/whoami").status == 200
            group.slow.touch()

            def ask() -> None:
                body = {"csr": new_csr("stopping.example"), "profile": "gateway"}
                replies.append(client.post("/v1/certificates", body))

            asking = threading.Thread(target=ask)
            asking.start()
            group.wait_until_slow()
            (process,) = group.processes
            process.terminate()
            _until(lambda: not _listens(group.port), "nobody listens any more")
            assert process.is_alive()
            group.slow.unlink()
            asking.join(60)
    (reply,) = replies
    assert reply.status == 201
    assert reply.headers["connection"] == "close"


@on_sqlite
def test_an_idle_connection_does_not_hold_a_stop_up(site: Site) -> None:
    with _group(site, grace=300.0) as group, group.client() as client:
        assert client.get("/healthz").status == 200
        assert group.stop() == [0]


@on_sqlite
def test_a_hanging_operation_does_not_hold_a_stop_up_for_ever(site: Site) -> None:
    replies: list[Reply] = []
    with _group(site, grace=1.0) as group:
        with group.client(Role.OPERATOR) as client:
            assert client.get("/v1/whoami").status == 200
            group.slow.touch()
            body = {"csr": new_csr("hanging.example"), "profile": "gateway"}

            def ask() -> None:
                replies.append(client.post("/v1/certificates", body))

            asking = threading.Thread(target=ask)
            asking.start()
            group.wait_until_slow()
            assert group.stop() == [0]
            asking.join(60)
    assert (replies[0].status, replies[0].code) == (503, "stopping")


@on_sqlite
def test_ctrl_c_ends_it_too(site: Site) -> None:
    with _group(site) as group:
        with group.client() as client:
            assert client.get("/healthz").status == 200
        (process,) = group.processes
        assert process.pid is not None
        os.kill(process.pid, signal.SIGINT)
        assert _end(process) == 0


def test_a_busy_port_is_told_early() -> None:
    with bind("127.0.0.1", 0) as bound:
        port = bound.getsockname()[1]
        with pytest.raises(ListenFailed, match=f"127.0.0.1 port {port}: Address already in use"):
            bind("127.0.0.1", port)
    with pytest.raises(ListenFailed):
        bind("192.0.2.1", 0)
    with pytest.raises(ListenFailed):
        bind("no.such.host.invalid", 0)


def test_a_child_ends_with_its_parent() -> None:
    here, there = _FORK.Pipe(duplex=False)
    parent_pid = 0

    def grandchild() -> None:
        end_with_parent(parent_pid)
        there.send(os.getpid())
        time.sleep(60)

    def parent() -> None:
        nonlocal parent_pid
        parent_pid = os.getpid()
        _FORK.Process(target=grandchild).start()
        time.sleep(60)

    process = _FORK.Process(target=parent)
    process.start()
    pid = here.recv()
    process.kill()
    process.join(60)
    deadline = time.monotonic() + 50
    while Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes():
        assert time.monotonic() < deadline
        time.sleep(0.02)
