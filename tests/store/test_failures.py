"""A full disk, a locked, damaged, unreachable or restarted database: a clear error, nothing lost, and it heals."""

import json
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from psycopg import errors as pg
from sqlalchemy import insert, select, text, update

from core.errors import Unavailable
from store.engine import Limits, Store, open_store
from store.errors import (
    StoreBusy,
    StoreDamaged,
    StoreDeadlock,
    StoreExposed,
    StoreFull,
    StoreUnreachable,
)
from store.failures import translate
from store.schema import migrate
from store.tables import authorities, notices
from store.writergate import WriterGate
from tests.fixtures.needs import needs_root
from tests.fixtures.postgresql import Server
from tests.store.test_processes import start
from tests.store.test_together import note
from tests.store.test_transactions import authority, count, row

_ROOT = Path(__file__).parents[2]
HASTY = Limits(busy=timedelta(milliseconds=300))


@pytest.fixture
def sqlite_path(sqlite_template: Path, tmp_path: Path) -> Path:
    """A migrated, empty SQLite file."""
    return Path(shutil.copy(sqlite_template, tmp_path / "records.db"))


@pytest.fixture
def sqlite_store(sqlite_path: Path) -> Iterator[Store]:
    """The same, open, and impatient."""
    store = open_store(f"sqlite:///{sqlite_path}", limits=HASTY)
    yield store
    store.close()


# --- full


def test_full_sqlite_refuses_keeps_what_it_had_and_recovers(sqlite_store: Store) -> None:
    def limit(pages: int) -> None:
        with sqlite_store.write() as connection:  # there is one writing connection: it stays
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

    limit(1)  # that is, no more than there are
    acknowledged = 0

    def fill() -> None:
        nonlocal acknowledged
        for number in range(10_000):
            sqlite_store.together(note(f"{number}" + "n" * 500))
            acknowledged += 1

    with pytest.raises(StoreFull) as caught:
        fill()
    assert caught.value.code == "store_full"
    assert count(sqlite_store) == acknowledged > 0
    with pytest.raises(StoreFull), sqlite_store.write() as connection:
        connection.execute(insert(notices), row("n" * 9000))
    limit(1_000_000)
    sqlite_store.together(note("after"))
    assert count(sqlite_store) == acknowledged + 1


@needs_root
def test_full_disk_refuses_keeps_what_it_had_and_recovers(tmp_path: Path) -> None:
    # A mount namespace of its own: the kernel unmounts when the process ends, however it ends.
    disk = tmp_path / "disk"
    disk.mkdir(mode=0o700)
    done = subprocess.run(
        [
            *("unshare", "--mount", "--propagation", "private", "sh", "-ec"),
            'mount -t tmpfs -o size=3m,mode=0700 none "$1"; exec "$2" -m tests.store.writers fill "$1"',
            *("sh", str(disk), sys.executable),
        ],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    acknowledged, code, proven, kept, afterwards, sound = json.loads(done.stdout)
    assert (code, proven) == ("store_full", "store_full")
    assert kept == acknowledged > 10
    assert (afterwards, sound) == (kept + 1, "ok")


# --- locked


def test_sqlite_locked_by_another_program(sqlite_store: Store, sqlite_path: Path) -> None:
    holder = start("hold", str(sqlite_path))
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(StoreBusy) as caught:
        sqlite_store.together(note("1"))
    assert caught.value.code == "store_busy"
    with pytest.raises(StoreBusy), sqlite_store.write():
        pass
    assert count(sqlite_store) == 0  # reading goes on
    holder.communicate()
    sqlite_store.together(note("2"))
    assert count(sqlite_store) == 1


def test_row_locked_by_another_transaction(store: Store, store_url: str) -> None:
    with store.write() as connection:
        connection.execute(insert(authorities), authority())
    hasty = open_store(store_url, limits=HASTY)
    with store.write() as connection:
        connection.execute(update(authorities).values(created_by="a"))
        with pytest.raises(StoreBusy), hasty.write() as other:
            other.execute(update(authorities).values(created_by="b"))
    with hasty.write() as other:
        other.execute(update(authorities).values(created_by="b"))
    hasty.close()


def test_statement_that_takes_too_long_is_ended(postgresql_server: Server) -> None:
    limits = Limits(statement=timedelta(milliseconds=500))
    store = open_store(postgresql_server.url("postgres"), limits=limits)
    with pytest.raises(StoreBusy), store.read() as connection:
        connection.execute(text("SELECT pg_sleep(10)"))
    with store.read() as connection:
        assert connection.execute(text("SELECT 1")).scalar() == 1
    store.close()


def test_writers_of_one_file_take_turns_and_give_up_in_time(tmp_path: Path) -> None:
    path, brief = tmp_path / "turn.lock", timedelta(milliseconds=100)
    first, second = WriterGate(path, timedelta(seconds=60)), WriterGate(path, brief)
    order: list[str] = []

    def patient() -> None:
        with WriterGate(path, timedelta(seconds=60)):
            order.append("third")

    with first:
        for _ in range(2):
            with pytest.raises(StoreBusy), second:
                pass
        thread = threading.Thread(target=patient)
        thread.start()
        order.append("first")
    thread.join(60)
    with second:
        order.append("second")
    assert order == ["first", "third", "second"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    first.close()
    second.close()


def test_turn_that_comes_too_late_is_passed_on(tmp_path: Path) -> None:
    path = tmp_path / "turn.lock"
    first, second = (WriterGate(path, timedelta(milliseconds=50)) for _ in range(2))
    with first, pytest.raises(StoreBusy), second:
        pass
    # The second still stands in the queue for a moment; its turn must not be lost in nobody's hands.
    for gate in (first, second) * 5:
        entered = False
        for _ in range(100):
            try:
                with gate:
                    entered = True
                    break
            except StoreBusy:
                continue
        assert entered
    first.close()
    second.close()


# --- damaged, exposed


def test_damaged_file(tmp_path: Path) -> None:
    path = tmp_path / "records.db"
    path.touch(0o600)
    path.write_bytes(b"this is not a database, whatever its name says" * 100)
    store = open_store(f"sqlite:///{path}")
    with pytest.raises(StoreDamaged) as caught, store.read() as connection:
        connection.execute(text("SELECT 1 FROM notices"))
    assert caught.value.code == "store_damaged"
    store.close()


def test_files_are_ours_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        url = f"sqlite:///{tmp_path}/records.db"
        migrate(url)
        store = open_store(url)
        store.together(note("1"))
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
        store.close()
    finally:
        os.umask(before)
    assert set(modes) == {f"records.db{end}" for end in ("", "-wal", "-shm", ".lock")}
    assert set(modes.values()) == {0o600}


@pytest.mark.parametrize("mode", [0o606, 0o660, 0o604])
def test_file_open_to_others_is_refused(sqlite_path: Path, mode: int) -> None:
    sqlite_path.chmod(mode)
    with pytest.raises(StoreExposed, match=f"{mode:04o}") as caught:
        open_store(f"sqlite:///{sqlite_path}")
    assert caught.value.next_step == f"Run: chmod go-rwx {sqlite_path}"


def test_directory_that_others_may_write_is_refused(sqlite_path: Path) -> None:
    sqlite_path.parent.chmod(0o770)
    with pytest.raises(StoreExposed) as caught:
        open_store(f"sqlite:///{sqlite_path}")
    assert caught.value.next_step == f"Run: chmod go-w {sqlite_path.parent}"


def test_missing_directory(tmp_path: Path) -> None:
    with pytest.raises(StoreUnreachable, match="ENOENT"):
        open_store(f"sqlite:///{tmp_path}/no/records.db")


# --- unreachable


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://u:hunter2@127.0.0.1:1/records",
        "postgresql+psycopg://u:hunter2@/records?host=/nonexistent",
    ],
)
def test_unreachable_postgresql(url: str) -> None:
    store = open_store(url)
    with pytest.raises(StoreUnreachable) as caught:
        store.together(note("1"))
    assert caught.value.code == "store_unreachable"
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))
    with pytest.raises(StoreUnreachable), store.read():
        pass
    store.close()


def test_wrong_database_is_unreachable(postgresql_server: Server) -> None:
    store = open_store(postgresql_server.url("no_such_database"))
    with pytest.raises(StoreUnreachable), store.read():
        pass
    store.close()


def test_postgresql_restart_heals_by_itself(postgresql_programs: Path) -> None:
    server = Server(postgresql_programs)
    try:
        server.start()
        migrate(server.url("postgres"))
        store = open_store(server.url("postgres"))
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda n: store.together(note(f"{n}")), range(8)))
            barrier = threading.Barrier(4)

            def occupy(_: int) -> None:
                with store.read():
                    barrier.wait(60)

            list(pool.map(occupy, range(4)))  # several idle connections, all about to die
            server.stop()
            with pytest.raises(StoreUnreachable):
                store.together(note("down"))
            with pytest.raises(StoreUnreachable):
                store.look(select(notices.c.object), {})
            server.start()
            list(pool.map(occupy, range(4)))
            server.stop()
            server.start()
            assert len(store.look(select(notices.c.object), {})) == 8
        assert store.together(note("up")) == "up"
        assert count(store) == 9
        store.close()
    finally:
        server.remove()


def test_connection_cut_in_the_middle(postgresql_server: Server) -> None:
    with postgresql_server.database("template_ikewarden") as url:
        store = open_store(url)
        _cut(store, postgresql_server)
        assert count(store) == 0
        store.close()


def _cut(store: Store, postgresql_server: Server) -> None:
    with pytest.raises(StoreUnreachable), store.write() as connection:  # noqa: PT012
        number = connection.execute(text("SELECT pg_backend_pid()")).scalar()
        connection.execute(insert(notices), row("lost"))
        with postgresql_server.admin() as admin:
            admin.execute("SELECT pg_terminate_backend(%s)", (number,))
        connection.execute(insert(notices), row("lost too"))


# --- the table of failures


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (pg.DiskFull(), StoreFull),
        (pg.LockNotAvailable(), StoreBusy),
        (pg.QueryCanceled(), StoreBusy),
        (pg.DeadlockDetected(), StoreDeadlock),
        (pg.SerializationFailure(), StoreBusy),
        (pg.TooManyConnections(), StoreBusy),
        (pg.AdminShutdown(), StoreUnreachable),
        (pg.CannotConnectNow(), StoreUnreachable),
        (pg.ConnectionFailure(), StoreUnreachable),
        (pg.InvalidPassword(), StoreUnreachable),
        (pg.IoError(), StoreUnreachable),
        (pg.ReadOnlySqlTransaction(), StoreUnreachable),
        (pg.DataCorrupted(), StoreDamaged),
        (psycopg.OperationalError(), StoreUnreachable),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else type(value).__name__,
)
def test_postgresql_failures(error: psycopg.Error, expected: type[Unavailable]) -> None:
    assert type(translate(error)) is expected


@pytest.mark.parametrize(
    "error",
    [
        pg.UndefinedTable(),
        pg.NotNullViolation(),
        psycopg.ProgrammingError(),
        sqlite3.ProgrammingError(),
        ValueError(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_bugs_are_not_dressed_up(error: Exception) -> None:
    assert translate(error) is None
