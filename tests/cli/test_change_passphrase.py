"""`ikewarden change-passphrase`: one of the two passphrases opens the keys, never none."""

import os
import pty
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.fixtures.served import PROGRAM, Done, run, surroundings

OLD, NEW = "correct horse battery staple", "another horse, another staple"


@pytest.fixture
def instance(tmp_path: Path) -> Path:
    made = run(
        *("init", "--dir", "home", "--passphrase-env", "IKEWARDEN_PASSPHRASE"),
        cwd=tmp_path,
        environ={"IKEWARDEN_PASSPHRASE": OLD},
    )
    assert made.code == 0, made.err
    return tmp_path / "home"


def change(instance: Path, *words: str | Path, present: str = OLD) -> Done:
    environ = {"IKEWARDEN_PASSPHRASE": present}
    return run("change-passphrase", "--dir", instance, *words, environ=environ)


def written(path: Path, content: str, mode: int = 0o600) -> Path:
    path.write_text(content)
    path.chmod(mode)
    return path


def test_the_new_one_opens_the_keys_and_the_old_one_no_longer(
    instance: Path, tmp_path: Path
) -> None:
    file = written(tmp_path / "new", f"{NEW}\n")
    done = change(instance, "--new-file", file)
    assert done.code == 0, done.err
    assert f'Set [keys] passphrase_file = "{file}"' in done.err
    again = change(instance, "--new-file", written(tmp_path / "third", OLD[::-1]))
    assert (again.code, "(wrong_passphrase)" in again.err) == (2, True), again.err
    # From the environment, and from the file that the settings name now.
    told = run("audit-log", "verify", "--dir", instance, environ={"IKEWARDEN_PASSPHRASE": NEW})
    assert told.code == 0, told.err
    with closing(sqlite3.connect(instance / "ikewarden.db")) as records:
        rows = records.execute("SELECT actor, action FROM audit_events ORDER BY id").fetchall()
    assert rows[-1] == ("console", "keys.passphrase")
    settings = instance / "ikewarden.toml"
    settings.write_text(
        settings.read_text().replace("[keys]\n", f'[keys]\npassphrase_file = "{file}"\n', 1)
    )
    same = change(instance, "--new-file", file, present="ignored, for the file comes first")
    assert (same.code, "the file with the present passphrase" in same.err) == (2, True)
    back = change(instance, "--new-file", written(tmp_path / "back", OLD))
    assert back.code == 0, back.err


def test_what_is_no_passphrase_changes_nothing(instance: Path, tmp_path: Path) -> None:
    seal = (instance / "keys" / "seal.json").read_bytes()
    refusals = (
        (("--new-file", written(tmp_path / "short", "short")), 2, "passphrase_unusable"),
        (("--new-file", written(tmp_path / "open", NEW, 0o644)), 3, "weak_mode"),
        (("--new-file", tmp_path / "none"), 2, "passphrase_unusable"),
        ((), 2, "--new-file"),
    )
    for words, code, told in refusals:
        done = change(instance, *words)
        assert (done.code, told in done.err) == (code, True), done.err
    wrong = change(instance, "--new-file", written(tmp_path / "new", NEW), present=NEW)
    assert (wrong.code, "(wrong_passphrase)" in wrong.err) == (2, True)
    assert (instance / "keys" / "seal.json").read_bytes() == seal


def test_it_may_be_typed(instance: Path) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        command = [*PROGRAM, "change-passphrase", "--dir", str(instance)]
        os.execve(command[0], command, surroundings())  # noqa: S606 - no shell is wanted
    seen = b""
    answers = (
        (b"Passphrase of the key store: ", OLD),
        (b"New passphrase for the keys: ", NEW),
        (b"Repeat for confirmation: ", NEW),
    )
    try:
        for question, answer in answers:
            while question not in seen:
                seen += os.read(terminal, 1000)
            seen = seen.partition(question)[2]
            os.write(terminal, answer.encode() + b"\n")
        while more := os.read(terminal, 1000):
            seen += more
    except OSError:
        pass
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, seen
    assert b"Done." in seen
