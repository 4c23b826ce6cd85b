"""A ceremony at a terminal, beside a running service: two people, a root, two issuing CAs, a transcript."""

import hashlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509

from tests.fixtures.served import Done, Served, run, serving, surroundings
from tests.fixtures.terminal import run_at_terminal
from tests.pki.requests import DER

FILE = Path(__file__).parents[2] / "docs/how-to/ceremony/root-and-issuing.toml"
CROSSED = FILE.with_name("new-root-crossed.toml")
HASH = hashlib.sha256(FILE.read_bytes()).hexdigest()
MADE = ["example-gateways", "example-people", "example-root"]


@pytest.fixture(scope="module")
def ruled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service under the two-person rule."""
    environ = {"IKEWARDEN_APPROVALS__REQUIRED": "authority.create,authority.issue,role.change"}
    with serving(tmp_path_factory.mktemp("ruled") / "instance", environ=environ) as service:
        yield service


def hold(
    ruled: Served, *arguments: str | Path, answers: tuple[str, ...] = (HASH[:16], HASH)
) -> Done:
    return run_at_terminal(
        *("ca", "ceremony", FILE, *arguments),
        *("--dir", ruled.directory),
        answers=answers,
        environ=ruled.environ,
    )


def names(ruled: Served) -> list[str]:
    return sorted(
        each["name"]
        for each in ruled.json("ca", "list")["items"]
        if each["name"] not in ("root", "issuing")
    )


def test_from_rehearsal_to_a_transcript_that_verifies(ruled: Served, tmp_path: Path) -> None:
    bob = tmp_path / "bob.token"
    ruled.json("token", "create", "bob", "--role", "approver", "--out", bob)
    written = tmp_path / "transcript"
    rehearsed = ruled.run("ca", "ceremony", FILE, "--dry-run", environ=ruled.environ)
    assert rehearsed.code == 0, rehearsed.err
    for text in (*MADE, "ec-p384", "nothing was made", "dns:gw.example.com", HASH[:4]):
        assert text in rehearsed.out
    shown = ruled.run("ca", "ceremony", FILE, "--dry-run", "--format", "json").document
    assert [each["path_length"] for each in shown["steps"][:3]] == [1, 0, 0]
    assert [each["store"] for each in shown["steps"][:3]] == ["files"] * 3
    assert "second person" in rehearsed.out
    # Without a terminal, without the second person: nobody is asked to type anything.
    for done, exit_code, code in (
        (ruled.run("ca", "ceremony", FILE), 2, "ceremony_no_console"),
        (hold(ruled, "--transcript", tmp_path / "no" / "such", answers=()), 2, "system_error"),
        (hold(ruled, "--transcript", written, answers=()), 1, "approval_required"),
    ):
        assert (done.code, f"({code})" in done.err) == (exit_code, True), done.err
    assert names(ruled) == []
    (waiting,) = ruled.json("approval", "list")["items"]
    number = str(waiting["id"])
    assert HASH in ruled.run("approval", "show", number).out
    ruled.json(*("approval", "approve", number, "--reason", "as agreed"), *("--token-file", bob))
    done = hold(ruled, "--approval", number, answers=(HASH[:16], "yes"))
    assert (done.code, "(ceremony_not_confirmed)" in done.err) == (1, True), done.err
    (no,) = ruled.json("audit-log", "list", "--action", "ceremony.confirm")["items"]
    assert (no["outcome"], no["detail"]["witness"]) == ("denied", "Carol Example")
    # Killed in the middle of it, and held again: what was made is left as it is.
    killed = FILE, "--transcript", written, "--approval", number
    _kill_at("root example-root: made", ruled, HASH, *killed)
    assert not written.exists()
    assert "example-root" in names(ruled)
    done = hold(ruled, "--transcript", written, *(() if names(ruled) else ("--approval", number)))
    assert done.code == 0, done.err
    assert names(ruled) == MADE
    keys = [path.name for path in (ruled.directory / "keys").glob("ca-example-*")]
    assert len(keys) == 3
    key = tmp_path / "log.pub"
    key.write_text(ruled.run("audit-log", "key").out)
    checked = run("ca", "ceremony", "--verify", written, "--key", key)
    assert checked.code == 0, checked.err
    records = run("ca", "ceremony", "--verify", written, "--key", key, "--format", "json").document[
        "records"
    ]
    assert {each["witness"] for each in records if each["record"] == "ceremony.confirm"} == {
        "Bob Example",
        "Carol Example",
    }
    assert any(each.get("approved_by") == "bob" for each in records)
    _spoiled(written, key, tmp_path)
    # The service knows them at once, and issues from them.
    out = tmp_path / "gw"
    ruled.json("cert", "issue", "a.gw.example.com", "--authority", MADE[0], "--out", out)
    done = hold(ruled, "--transcript", written)
    assert (done.code, "(file_exists)" in done.err) == (1, True)


def _kill_at(line: str, ruled: Served, digits: str, *arguments: str | Path) -> None:
    """Kill a run when it says this."""
    import os
    import pty

    ours, theirs = pty.openpty()
    os.write(ours, f"{digits}\n{digits}\n".encode())
    with subprocess.Popen(
        [sys.executable, "-m", "ikewarden.main", "ca", "ceremony", *map(str, arguments)],
        env=surroundings({**ruled.environ, "IKEWARDEN_DIR": str(ruled.directory)}),
        stdin=theirs,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stderr is not None
        for said in process.stderr:
            if line.encode() in said:
                process.send_signal(signal.SIGKILL)
                break
    os.close(ours)
    os.close(theirs)
    assert process.returncode == -signal.SIGKILL


def _spoiled(written: Path, key: Path, tmp_path: Path) -> None:
    lines = written.read_bytes().splitlines(keepends=True)
    bad = tmp_path / "bad"
    for content, exit_code, code in (
        ([lines[0].replace(b"Example PKI", b"Another PKI"), *lines[1:]], 1, "transcript_untrusted"),
        (lines[:-1], 2, "transcript_unreadable"),
        ([b"{}\n"], 2, "transcript_unreadable"),
    ):
        bad.write_bytes(b"".join(content))
        done = run("ca", "ceremony", "--verify", bad, "--key", key)
        assert (done.code, f"({code})" in done.err) == (exit_code, True), done.err
    assert run("ca", "ceremony", "--verify", bad).code == 2
    assert run("ca", "ceremony").code == 2


def test_cross_signs_killed_half_way_and_taken_up_again(own_served: Served, tmp_path: Path) -> None:
    # Beside what `init` made.
    text = CROSSED.read_text("utf-8").replace('"example-root"', '"root"')
    text = text.replace('"example-gateways"', '"issuing"')
    file, written, key = (tmp_path / name for name in ("ceremony.toml", "transcript", "log.pub"))
    file.write_text(text)
    digits = hashlib.sha256(file.read_bytes()).hexdigest()
    rehearsed = own_served.run("ca", "ceremony", file, "--dry-run")
    assert rehearsed.code == 0, rehearsed.err
    assert "Signed by" in rehearsed.out
    shown = own_served.run("ca", "ceremony", file, "--dry-run", "--format", "json").document
    crosses = [each for each in shown["steps"] if each["record"] == "cross"]
    assert [(each["name"], each["signed_by"], each["path_length"]) for each in crosses] == [
        ("example-gateways-2", "root", 0),
        ("issuing", "example-root-2", 0),
    ]
    line = "cross example-gateways-2 by root: made"
    _kill_at(line, own_served, digits, file, "--transcript", written)
    assert not written.exists()
    done = run_at_terminal(
        *("ca", "ceremony", file, "--transcript", written, "--dir", own_served.directory),
        answers=(digits, digits),
    )
    assert done.code == 0, done.err
    assert "example-gateways-2 by root" in done.err
    key.write_text(own_served.run("audit-log", "key").out)
    checked = run("ca", "ceremony", "--verify", written, "--key", key)
    assert checked.code == 0, checked.err
    for subject, issuer in (("example-gateways-2", "root"), ("issuing", "example-root-2")):
        (made,) = own_served.json("ca", "cross-certificates", subject)["items"]
        assert made["issuer"] == issuer
        der = x509.load_pem_x509_certificate(made["certificate"].encode()).public_bytes(DER)
        sha256 = hashlib.sha256(der).hexdigest()
        assert f"cross {subject} by {issuer}: SHA-256 {sha256}" in checked.out


def test_a_transcript_is_checked_with_the_base_install_alone(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("x")
    (tmp_path / "transcript").write_text("x")
    arguments = ["ca", "ceremony", "--verify", str(tmp_path / "transcript")]
    script = (
        "import sys; from ikewarden.main import main; import pki.ceremony.transcript;"
        f"sys.argv = {['ikewarden', *arguments, '--key', str(tmp_path / 'key')]!r}; assert main() == 2;"
        "assert not {'sqlalchemy', 'pydantic', 'store'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=False, env=surroundings()
    )
    assert done.returncode == 0, done.stderr.decode()
