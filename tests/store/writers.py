"""Programs that tests start in processes of their own: `python -m tests.store.writers COMMAND URL …`."""

import json
import os
import sqlite3
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import func, select

from store import audit, outbox, proof
from store.engine import Limits, Store, Unit, open_store
from store.errors import StoreFull
from store.schema import migrate
from store.tables import notices

NOW = datetime(2030, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def notice(unit: Unit, kind: str, number: str) -> None:
    """Two rows that must be there together or not at all."""
    unit.insert(notices, {"kind": kind, "object": number, "stage": "s", "at": NOW})
    audit.record(
        unit,
        at=NOW,
        actor="tester",
        role="admin",
        action="note",
        object=f"{kind}/{number}",
        outcome="ok",
        detail={},
        request_id="r",
    )


def in_threads(count: int, act: Callable[[int], None]) -> None:
    threads = [threading.Thread(target=act, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def say(text: str) -> None:
    """One line, written at once: what was printed before a SIGKILL has left the process."""
    os.write(1, f"{text}\n".encode())


def endless(store: Store, name: str) -> None:
    """Write for ever from eight threads; print each number once it is committed."""

    def act(thread: int) -> None:
        number = 0
        while True:
            identity = f"{thread}.{number}"
            store.together(lambda unit, identity=identity: notice(unit, name, identity))
            say(identity)
            number += 1

    in_threads(8, act)


def some(store: Store, name: str, threads: str, each: str) -> None:
    """Write a given number of times from some threads, half of them in transactions of their own."""

    def act(thread: int) -> None:
        for number in range(int(each)):
            identity = f"{thread}.{number}"
            if thread % 2:
                store.together(lambda unit, identity=identity: notice(unit, name, identity))
            else:
                with store.write() as connection:
                    connection.execute(
                        notices.insert(),
                        {"kind": name, "object": identity, "stage": "s", "at": NOW},
                    )

    in_threads(int(threads), act)


def claimer(store: Store, owner: str, rounds: str) -> None:
    """Claim messages from four threads and print the numbers."""

    def act(thread: int) -> None:
        for _ in range(int(rounds)):
            for message in outbox.claim(
                store, owner=f"{owner}.{thread}", limit=3, lease=timedelta(minutes=1), now=NOW
            ):
                say(str(message.id))

    in_threads(4, act)


def hold(path: str) -> None:
    """Hold SQLite's write lock, as a foreign program would, until standard input ends."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    say("held")
    sys.stdin.read()


def fill(directory: str) -> None:
    """Fill a small file system, make room again; print what happened as JSON."""
    ballast = Path(directory) / "ballast"
    url = f"sqlite:///{directory}/records.db"
    migrate(url)
    store = open_store(url, limits=Limits(busy=timedelta(seconds=2)))
    ballast.write_bytes(bytes(1 << 20))
    acknowledged, refused = 0, ""
    try:
        for number in range(100_000):
            store.together(lambda unit, number=number: notice(unit, "n" * 500, str(number)))
            acknowledged += 1
    except StoreFull as error:
        refused = error.code
    try:
        for _ in range(1000):  # a few may still find room, in what a checkpoint gave back
            proof.prove(store, NOW)
        proven = "written"
    except StoreFull as error:
        proven = error.code
    counts = []
    with store.read() as connection:
        counts.append(connection.execute(select(func.count()).select_from(notices)).scalar())
    ballast.unlink()
    store.together(lambda unit: notice(unit, "after", "1"))
    proof.prove(store, NOW)
    store.close()
    with open_store(url).read() as connection:
        counts.append(connection.execute(select(func.count()).select_from(notices)).scalar())
        sound = connection.exec_driver_sql("PRAGMA integrity_check").scalar()
    say(json.dumps([acknowledged, refused, proven, *counts, sound]))


def main() -> None:
    command, target, *arguments = sys.argv[1:]
    if command in {"hold", "fill"}:
        {"hold": hold, "fill": fill}[command](target)
        return
    store = open_store(target)
    {"endless": endless, "some": some, "claimer": claimer}[command](store, *arguments)
    store.close()


if __name__ == "__main__":
    main()
