"""Errors: told once, in one way, with the right exit code, and nothing behind them shown."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.cli.conftest import HANG_UP, Actor, Answer
from tests.fixtures.served import PROGRAM, run, surroundings


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("cert", "nonsense"),
        ("cert", "list", "--nonsense"),
        ("cert", "list", "--limit", "0"),
        ("cert", "list", "--limit", "x"),
        ("cert", "revoke", "4f"),
        ("cert", "revoke", "4f", "--reason", "boredom"),
        ("cert", "show"),
        ("cert", "show", "not-hex", "--url", "https://localhost:1"),
        ("cert", "lint", "/nonexistent"),
        ("cert", "issue"),
        ("cert", "issue", "a b", "--url", "https://localhost:1"),
        ("cert", "issue", "x.example", "--not-after", "soon"),
        ("cert", "issue", "x.example", "--not-after", "2027-01-01T00:00:00"),
        ("cert", "issue", "x.example", "--name", "../x"),
        ("ca", "create", "x", "--subject", "CN=x"),
        ("ca", "create", "x", "--subject", "CN=x", "--kind", "root", "--parent", "y"),
        ("serve", "--only", "everything"),
        ("check-config",),
        ("init", "--port", "0"),
        ("init", "--passphrase-prompt", "--passphrase-env", "X", "--dir", "never-made"),
        ("whoami", "--url", "http://localhost:8443"),
        ("whoami", "--dir", "/nonexistent"),
    ],
)
def test_bad_usage_and_input_end_with_2(arguments: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "t").write_text("token")
    (tmp_path / "t").chmod(0o600)
    environ = {"IKEWARDEN_TOKEN_FILE": "t", "IKEWARDEN_DIR": "nowhere"}
    done = run(*arguments, cwd=tmp_path, environ=environ)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("ikewarden: ")
    assert "Traceback" not in done.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t"]
    as_json = run(*arguments, "--format", "json", cwd=tmp_path, environ=environ)
    assert as_json.code == 2
    assert {"code", "detail", "next_step"} <= set(as_json.error)


def test_no_arguments_show_the_help() -> None:
    done = run()
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("Usage: ikewarden [OPTIONS] COMMAND")


def test_a_similar_command_is_suggested() -> None:
    assert "Did you mean 'revoke'?" in run("cert", "revok").err


def test_a_missing_choice_is_told_in_one_line() -> None:
    said = run("cert", "revoke", "4f2a").err.splitlines()[0]
    assert "Missing option '--reason'. Choose from: unspecified, key" in said


def test_usage_errors_name_the_page_to_read() -> None:
    assert "  Next: See: ikewarden cert revoke --help" in run("cert", "revoke").err


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, 2),
        (401, 2),
        (403, 1),
        (404, 1),
        (405, 2),
        (408, 2),
        (409, 1),
        (413, 2),
        (415, 2),
        (422, 2),
        (431, 2),
        (500, 1),
        (502, 3),
        (503, 3),
    ],
)
def test_refusals_end_with_the_code_of_their_class(
    actor: Actor, tmp_path: Path, status: int, code: int
) -> None:
    problem = {
        "type": "urn:x",
        "status": status,
        "detail": "So it is.",
        "code": "some_code",
        "next_step": "Do this.",
        "request_id": "r7",
    }
    actor.script = [Answer.of(problem, status)]
    options = actor.options(tmp_path / "token")
    done = run("whoami", *options)
    assert (done.code, done.out) == (code, "")
    assert done.err == "ikewarden: So it is. (some_code)\n  Next: Do this.\n"
    as_json = run("whoami", *options, "--format=json")
    assert (as_json.code, as_json.error) == (code, problem)


def test_places_and_details_are_told(actor: Actor, tmp_path: Path) -> None:
    problem = {
        "detail": "The body does not fit.",
        "code": "lint_refused",
        "next_step": "",
        "errors": [{"pointer": "/csr", "detail": "must not be empty"}],
        "details": {"findings": [{"rule": "a", "why": "b"}, {"rule": "c"}], "limit": 3, "none": []},
    }
    actor.script = [Answer.of(problem, 422)]
    done = run("whoami", *actor.options(tmp_path / "token"))
    assert done.err.splitlines() == [
        "ikewarden: The body does not fit. (lint_refused)",
        "  /csr: must not be empty",
        "  findings:",
        "    - rule: a",
        "      why: b",
        "    - rule: c",
        "  limit: 3",
        "  none: []",
    ]


def test_a_problem_without_members_is_told_by_its_status(actor: Actor, tmp_path: Path) -> None:
    actor.script = [Answer.of({}, 404)]
    done = run("whoami", *actor.options(tmp_path / "token"))
    assert done.err == "ikewarden: The service answered with status 404. (http_404)\n"


def test_an_unreachable_service_ends_with_3(actor: Actor, tmp_path: Path) -> None:
    options = actor.options(tmp_path / "token")
    actor.script = [HANG_UP]
    for arguments in (
        ("whoami", *options),
        ("whoami", *options, "--url", "https://localhost:1"),
        ("whoami", *options, "--url", actor.url.replace("localhost", "127.0.0.1")),
    ):
        done = run(*arguments)
        assert (done.code, done.out) == (3, ""), done.err
        assert "(service_" in done.err
        assert "  Next: " in done.err


def test_an_unforeseen_error_shows_its_kind_and_not_its_words(actor: Actor, tmp_path: Path) -> None:
    actor.script = [Answer.of({"items": [{"canary": "iw_secret"}]})]  # not what it promised
    options = actor.options(tmp_path / "token")
    done = run("ca", "list", *options, environ={"IKEWARDEN_TRACEBACK": ""})
    assert done.code == 0  # a field that is missing shows as nothing
    actor.script = [Answer.of({"name": "x"})]
    done = run("whoami", *options)
    assert done.code == 1
    assert "(internal_error)" in done.err
    assert "KeyError at commands/whoami.py:" in done.err
    assert "Traceback" not in done.err
    assert "Traceback" in run("whoami", *options, environ={"IKEWARDEN_TRACEBACK": "1"}).err


def test_a_full_disk_behind_standard_output(actor: Actor, tmp_path: Path) -> None:
    actor.script = [Answer.of({"items": []})]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*PROGRAM, "ca", "list", "--format", "json", *actor.options(tmp_path / "token")],
            stdout=full,
            stderr=subprocess.PIPE,
            env=surroundings(),
            check=False,
        )
    assert done.returncode == 1
    assert json.loads(done.stderr)["detail"] == "No space left on device."


def test_a_reader_that_has_seen_enough(actor: Actor, tmp_path: Path) -> None:
    actor.script = [Answer.of({"items": [{"name": "x" * 100}] * 20_000})]
    process = subprocess.Popen(
        [*PROGRAM, "ca", "list", "--format", "json", *actor.options(tmp_path / "token")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=surroundings(),
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.read(10)
    process.stdout.close()
    with process.stderr:
        assert process.stderr.read() == b""
    assert process.wait() == 1


def test_closed_streams_harm_nobody(actor: Actor, tmp_path: Path) -> None:
    actor.script = [Answer.of({"items": []})]
    options = actor.options(tmp_path / "token")
    command = ["sh", "-c", 'exec "$@" >&- 2>&-', "sh", *PROGRAM, "ca", "list", *options]
    assert subprocess.run(command, env=surroundings(), check=False).returncode == 0


def test_interruption_is_quiet(tmp_path: Path) -> None:
    ready, go = os.pipe()
    # Whoever runs the tests in the background has them ignore it.
    listening = ("env", "--default-signal=INT")
    process = subprocess.Popen(
        [*listening, *PROGRAM, "profile", "create", "-", "--url", "https://localhost:1"],
        stdin=ready,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=surroundings(),
        cwd=tmp_path,
    )
    status = Path(f"/proc/{process.pid}/wchan")
    deadline = time.monotonic() + 60
    while "pipe" not in status.read_text() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    os.close(ready)
    os.close(go)
    assert (process.returncode, out.strip(), err.strip()) == (130, b"", b"")
