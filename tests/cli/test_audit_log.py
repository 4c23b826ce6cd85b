"""The audit log of a running service: exported, kept, checked without the service, and lost."""

import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.served import Served, run, serving, surroundings


def wait_for_head(served: Served, size: int = 1) -> dict[str, Any]:
    """The newest head, once it is over so many rows."""
    deadline = time.monotonic() + 120
    while True:
        done = served.run("audit-log", "head", "--format", "json")
        if done.code == 0 and done.document["size"] >= size:
            return dict(done.document)
        assert time.monotonic() < deadline, done.err
        time.sleep(0.2)


@pytest.fixture(scope="module")
def kept(served: Served, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Key, head and export of the running service, in files."""
    directory = tmp_path_factory.mktemp("kept")
    files = directory / "log.pub", directory / "head", directory / "audit.jsonl"
    wait_for_head(served)
    files[0].write_text(served.run("audit-log", "key").out)
    files[1].write_text(served.run("audit-log", "head").out)
    assert served.run("audit-log", "export", files[2]).code == 0
    return files


def test_exported_and_checked_without_the_service(kept: tuple[Path, Path, Path]) -> None:
    key, head, file = kept
    assert file.stat().st_mode & 0o777 == 0o600
    done = run("audit-log", "verify", file, "--key", key, "--head", head)
    assert (done.code, done.err) == (0, "")
    assert "as they were signed" in done.out
    shown = run("audit-log", "verify", file, "--key", key, "--format", "json").document
    assert shown["ok"] is True
    assert shown["size"] == len(file.read_bytes().splitlines()) - 1


def test_a_file_that_was_changed(kept: tuple[Path, Path, Path], tmp_path: Path) -> None:
    # tests/tlog has every kind of change
    key, _, whole = kept
    lines, file = whole.read_bytes().splitlines(keepends=True), tmp_path / "changed"
    for change, exit_code, code in (
        ([lines[0].replace(b"init", b"nobody"), *lines[1:]], 1, "audit_log_changed"),
        ([*lines[:-2], lines[-1]], 1, "audit_log_cut"),
        (lines[:-1], 2, "audit_export_unreadable"),
    ):
        file.write_bytes(b"".join(change))
        done = run("audit-log", "verify", file, "--key", key, "--format", "json")
        assert (done.code, done.error["code"]) == (exit_code, code)


def test_a_file_is_checked_with_the_base_install_alone(kept: tuple[Path, Path, Path]) -> None:
    key, head, file = kept
    arguments = [
        "ikewarden",
        "audit-log",
        "verify",
        *map(str, (file, "--key", key, "--head", head)),
    ]
    script = (
        f"import sys; from ikewarden.main import main; sys.argv = {arguments!r}; assert main() == 0;"
        "assert not {'sqlalchemy', 'pydantic', 'store', 'hsm', 'urllib3'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=False, env=surroundings()
    )
    assert done.returncode == 0, done.stderr.decode()


def test_what_verify_is_not_given(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"\xff")
    done = run("audit-log", "verify", file)
    assert done.code == 2
    assert "--key" in done.err
    done = run("audit-log", "verify", file, "--key", file, "--format", "json")
    assert (done.code, done.error["code"]) == (2, "audit_key_unreadable")
    assert run("audit-log", "verify", tmp_path / "none", "--key", file).code == 2
    done = run("audit-log", "verify", "--dir", tmp_path, "--format", "json")
    assert (done.code, done.error["code"]) == (1, "instance_missing")


def test_the_records_of_a_running_service(served: Served, kept: tuple[Path, Path, Path]) -> None:
    key, head, _ = kept
    shown = served.json("audit-log", "verify", "--key", key, "--head", head)
    assert shown["ok"] is True
    assert shown["findings"] == []
    # Its own heads, the one remembered beside the keys, and ours.
    assert shown["heads"] >= 3


@pytest.fixture
def stopped(tmp_path: Path) -> Iterator[Served]:
    """A service with a log, at rest. It signs every second."""
    environ = {"IKEWARDEN_SCHEDULER__AUDIT_LOG": "1"}
    with serving(tmp_path / "instance", environ=environ) as service:
        wait_for_head(service)
        assert service.stop() == 0
        yield service


def test_tampering_and_an_old_database(stopped: Served) -> None:
    """One service for both, because starting one takes long."""
    database = stopped.directory / "ikewarden.db"
    whole = database.read_bytes()
    # A row changed.
    _execute(database, "UPDATE audit_events SET actor = 'nobody' WHERE id = 1")
    done = stopped.run("audit-log", "verify", "--format", "json")
    assert done.code == 1
    (finding,) = done.document["findings"]
    assert (finding["code"], finding["event"]) == ("row_changed", 1)
    assert "row_changed" in stopped.run("audit-log", "verify").out
    # Then the database as it was before something happened.
    database.write_bytes(whole)
    size = stopped.json("audit-log", "verify")["size"]
    stopped.start()
    assert stopped.run("token", "create", "a", "--role", "auditor").code == 0
    newest = wait_for_head(stopped, size + 1)
    assert stopped.stop() == 0
    for more in ("-wal", "-shm"):
        Path(f"{database}{more}").unlink(missing_ok=True)
    database.write_bytes(whole)
    assert stopped.run("audit-log", "verify").code == 1
    # It is not served, and nothing is signed.
    done = stopped.run("serve", "--dir", stopped.directory, environ=stopped.environ)
    assert done.code == 1
    assert "audit_log_rolled_back" in done.err
    numbers = _crl_numbers(database)
    done = stopped.run("audit-log", "accept-gap", "--reason", "a test restored it")
    assert (done.code, done.err) == (0, "")
    assert all(
        new > old + 1_000_000 for old, new in zip(numbers, _crl_numbers(database), strict=True)
    )
    stopped.start()
    head = wait_for_head(stopped)
    assert head["origin"] != newest["origin"]
    again = stopped.run("audit-log", "accept-gap", "--reason", "twice", "--format", "json")
    assert (again.code, again.error["code"]) == (1, "audit_log_no_gap")
    assert stopped.run("audit-log", "verify").code == 0


def _crl_numbers(database: Path) -> list[int]:
    with sqlite3.connect(database) as connection:
        rows = connection.execute("SELECT number FROM crl_numbers ORDER BY authority_id").fetchall()
    connection.close()
    return [number for (number,) in rows]


def _execute(database: Path, statement: str) -> None:
    with sqlite3.connect(database) as connection:
        connection.execute(statement)
    connection.close()
