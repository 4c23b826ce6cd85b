"""`init` and `check-config`: an instance made once, told clearly, never made twice."""

import fcntl
import json
import os
import pty
import stat
from pathlib import Path

import pytest
from cryptography import x509

from tests.fixtures.served import PROGRAM, run, surroundings

PASSPHRASE = "correct horse battery staple"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_an_instance_is_made_and_everything_is_told(tmp_path: Path) -> None:
    done = run("init", "--dir", "home", "--organization", "Example Ltd", cwd=tmp_path)
    assert done.code == 0
    home = tmp_path / "home"
    token = (home / "admin-token").read_text().strip()
    assert token not in done.out
    assert "https://localhost:8443" in done.out
    assert "home/admin-token" in done.out
    assert "ikewarden serve --dir home" in done.out
    assert token not in done.err
    assert done.err.splitlines() == [
        "… sealing the key store",
        "… making the database",
        "… making the root and the issuing authority",
    ]
    for name in ("admin-token", "passphrase", "ikewarden.toml"):
        assert mode(home / name) == 0o600
    assert mode(home) == 0o700
    root = x509.load_pem_x509_certificate((home / "root-ca.pem").read_bytes())
    assert "O=Example Ltd" in root.subject.rfc4514_string()


def test_json_has_all_of_it(tmp_path: Path) -> None:
    options = ("--port", "9443", "--validation-port", "9080", "--name", "pki.example")
    made = run("init", "--dir", tmp_path / "home", *options, "--format", "json").document
    assert made["url"] == "https://pki.example:9443"
    assert made["validation_url"] == "http://127.0.0.1:9080"
    assert made["admin_token"] == Path(made["admin_token_file"]).read_text().strip()
    for name in ("settings", "root_certificate", "passphrase"):
        assert Path(made[name]).is_file()


def test_a_second_time_changes_nothing_and_says_so(tmp_path: Path) -> None:
    assert run("init", "--dir", "home", cwd=tmp_path).code == 0
    before = {path: path.read_bytes() for path in (tmp_path / "home").rglob("*") if path.is_file()}
    again = run("init", "--dir", "home", cwd=tmp_path)
    assert (again.code, again.out) == (1, "")
    assert "There is an instance in home. (instance_exists)" in again.err
    quiet = run("init", "--dir", "home", "--if-missing", cwd=tmp_path)
    assert (quiet.code, quiet.out, quiet.err) == (0, "", "There is an instance in home.\n")
    as_json = run("init", "--dir", "home", "--format", "json", cwd=tmp_path)
    assert as_json.error["code"] == "instance_exists"
    assert before == {path: path.read_bytes() for path in before}


def test_a_half_made_instance_is_not_taken_for_a_whole_one(tmp_path: Path) -> None:
    (tmp_path / "init-unfinished").touch()
    (tmp_path / "ikewarden.toml").touch()
    for more in ((), ("--if-missing",)):
        done = run("init", "--dir", tmp_path, *more)
        assert (done.code, "(instance_unfinished)" in done.err) == (1, True)
        assert "Remove the directory" in done.err
    # Nor is it served, or opened by anything else: what `init` says of it stays true.
    for words in (("serve",), ("change-passphrase",), ("audit-log", "verify")):
        done = run(*words, "--dir", tmp_path)
        assert (done.code, "(instance_unfinished)" in done.err) == (1, True), (words, done.err)


def test_an_init_that_is_at_work_is_not_told_to_be_removed(tmp_path: Path) -> None:
    with (tmp_path / "init-unfinished").open("w") as marker:
        fcntl.flock(marker, fcntl.LOCK_EX)
        for words in (("init",), ("serve",)):
            (tmp_path / "ikewarden.toml").touch()
            done = run(*words, "--dir", tmp_path)
            assert (done.code, "(instance_unfinished)" in done.err) == (1, True), done.err
            assert "at work" in done.err
            assert "Wait" in done.err
            assert "Remove" not in done.err


def test_other_peoples_directories_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    done = run("init", "--dir", tmp_path)
    assert (done.code, "(directory_not_empty)" in done.err) == (2, True)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_the_passphrase_may_come_from_the_environment(tmp_path: Path) -> None:
    environ = {"MY_PASSPHRASE": PASSPHRASE}
    done = run(
        "init", "--dir", "home", "--passphrase-env", "MY_PASSPHRASE", cwd=tmp_path, environ=environ
    )
    assert done.code == 0, done.err
    assert PASSPHRASE not in done.out + done.err
    assert "The passphrase is kept nowhere" in done.out
    assert not (tmp_path / "home" / "passphrase").exists()
    assert not any(
        PASSPHRASE.encode() in path.read_bytes()
        for path in (tmp_path / "home").rglob("*")
        if path.is_file()
    )


@pytest.mark.parametrize("value", [None, "", "short"])
def test_a_passphrase_that_is_none_makes_nothing(tmp_path: Path, value: str | None) -> None:
    environ = {} if value is None else {"MY_PASSPHRASE": value}
    done = run(
        "init", "--dir", "home", "--passphrase-env", "MY_PASSPHRASE", cwd=tmp_path, environ=environ
    )
    assert (done.code, "(passphrase_unusable)" in done.err) == (2, True)
    assert list(tmp_path.iterdir()) == []


def test_the_passphrase_may_be_typed(tmp_path: Path) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        command = [*PROGRAM, "init", "--dir", "home", "--passphrase-prompt", "--busy-ok"]
        os.execve(command[0], command, surroundings())  # noqa: S606 - no shell is wanted
    written = b""
    for question in (b"Passphrase for the keys: ", b"Repeat for confirmation: "):
        while question not in written:
            written += os.read(terminal, 1000)
        os.write(terminal, PASSPHRASE.encode() + b"\n")
    try:
        while more := os.read(terminal, 1000):
            written += more
    except OSError:
        pass
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert PASSPHRASE.encode() not in written
    assert b"The passphrase is kept nowhere" in written


def test_a_passphrase_cannot_be_typed_where_nobody_is(tmp_path: Path) -> None:
    done = run("init", "--dir", "home", "--passphrase-prompt", cwd=tmp_path)
    assert done.code == 2
    assert done.err.splitlines()[0].endswith("(passphrase_not_asked)")
    assert list(tmp_path.iterdir()) == []


def test_what_starts_it_tells_where_everything_is(tmp_path: Path) -> None:
    done = run("init", "--dir", "home", "--if-missing", cwd=tmp_path)
    assert done.out.startswith("Made an instance in home.")
    assert "https://" not in done.out


@pytest.mark.parametrize(
    "option", ["--organization", "--host", "--name", "--validation-host", "--validation-url"]
)
def test_values_cannot_write_settings_of_their_own(tmp_path: Path, option: str) -> None:
    for value in ('x"\n[logs]\nlevel = "debug', "x\\", 'a"b', "\x1b"):
        done = run("init", "--dir", "home", option, value, cwd=tmp_path)
        assert (done.code, "(setting_unusable)" in done.err) == (2, True)
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_may_not_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = run("init", "--dir", tmp_path / "file" / "home")
    assert done.code == 2
    assert "(system_error)" in done.err
    assert "Look whether the path is right" in done.err
    assert "Traceback" not in done.err


def test_there_is_nothing_to_serve(tmp_path: Path) -> None:
    done = run("serve", "--dir", "home", cwd=tmp_path)
    assert (done.code, done.out) == (1, "")
    assert "ikewarden init --dir home" in done.err


def test_settings_are_checked_all_at_once(tmp_path: Path) -> None:
    path = tmp_path / "ikewarden.toml"
    path.write_text("[api]\nport = 70000\nhots = 1\n[databse]\n")
    done = run("check-config", path)
    assert done.code == 1
    assert "3 problems (settings_invalid)" in done.err
    lines = done.out.splitlines()
    assert len(lines) == 3
    assert all(line.startswith(f"{path}: ") for line in lines)
    assert any("did you mean api.host?" in line for line in lines)
    as_json = run("check-config", path, "--format", "json")
    assert as_json.code == 1
    assert not as_json.document["ok"]
    assert {each["key"] for each in as_json.document["problems"]} == {
        "api.port",
        "api.hots",
        "databse",
    }


def test_good_settings_are_ok_and_the_environment_counts(tmp_path: Path) -> None:
    path = tmp_path / "ikewarden.toml"
    path.write_text("")
    assert run("check-config", path).out == "ok\n"
    assert run("check-config", path, "--format", "json").document == {"ok": True, "problems": []}
    done = run("check-config", path, environ={"IKEWARDEN_API__PORT": "x"})
    assert (done.code, "IKEWARDEN_API__PORT: api.port" in done.out) == (1, True)


def test_the_files_of_enrollment_endpoints_are_checked_too(tmp_path: Path) -> None:
    path, directory = tmp_path / "ikewarden.toml", tmp_path / "endpoints"
    path.write_text('[enrollment]\nendpoints_directory = "endpoints"\n')
    assert "is not a directory" in run("check-config", path).out
    directory.mkdir()
    assert run("check-config", path).out == "ok\n"
    (directory / "bad.toml").write_text('name = "bad"\nprofil = "gateway"\n[est]\n')
    done = run("check-config", path)
    assert (done.code, "1 problem (invalid_endpoint)" in done.err) == (1, True)
    assert f"{directory / 'bad.toml'}: profil" in done.out
    assert not run("check-config", path, "--format", "json").document["ok"]


def test_settings_that_are_not_there(tmp_path: Path) -> None:
    done = run("check-config", tmp_path / "none.toml")
    assert (done.code, "(settings_missing)" in done.err) == (2, True)


def test_the_reference_of_settings_is_printed() -> None:
    assert run("check-config", "--reference").out.startswith("# Settings\n")


def test_the_settings_of_a_new_instance_are_good(tmp_path: Path) -> None:
    assert run("init", "--dir", "home", cwd=tmp_path).code == 0
    assert run("check-config", "home/ikewarden.toml", cwd=tmp_path).out == "ok\n"
    json.dumps(
        run("check-config", "home/ikewarden.toml", "--format", "json", cwd=tmp_path).document
    )
