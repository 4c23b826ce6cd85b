"""Several processes on one database, and processes that die."""

import random
import subprocess
import sys
import time
from pathlib import Path

from sqlalchemy import func, select

from store.engine import Store
from store.tables import audit_events, notices

_ROOT = Path(__file__).parents[2]


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.store.writers", *arguments],
        cwd=_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_sigkill_loses_nothing_that_was_acknowledged(store: Store, store_url: str) -> None:
    chance = random.Random(4)
    for turn in range(4):
        name = f"turn{turn}"
        process = start("endless", store_url, name)
        assert process.stdout is not None
        printed = [process.stdout.readline().strip()]
        time.sleep(chance.uniform(0.01, 0.3))
        process.kill()
        # Not communicate(): it would pass over what readline() has read ahead.
        rest = process.stdout.read().splitlines(keepends=True)
        process.communicate()
        printed += [line.strip() for line in rest if line.endswith("\n")]
        with store.read() as connection:
            there = set(connection.scalars(select(notices.c.object).where(notices.c.kind == name)))
            audited = set(
                connection.scalars(
                    select(audit_events.c.object).where(audit_events.c.object.like(f"{name}/%"))
                )
            )
        assert set(printed) <= there
        assert audited == {f"{name}/{number}" for number in there}  # both rows or neither
        assert len(there) - len(printed) <= 8  # at most one for each thread was not printed yet


def test_three_processes_of_four_threads_write_everything(store: Store, store_url: str) -> None:
    processes = [start("some", store_url, f"p{number}", "4", "25") for number in range(3)]
    for process in processes:
        process.communicate(timeout=300)
        assert process.returncode == 0
    with store.read() as connection:
        assert connection.execute(select(func.count()).select_from(notices)).scalar() == 300
