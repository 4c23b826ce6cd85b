"""`ikewarden hsm check` and `init --pkcs11`: what a module can do, and what is wrong with it."""

import contextlib
import os
import pty
from pathlib import Path

import pytest

from ikewarden.settings import load_settings
from tests.fixtures.served import PROGRAM, Done, run, surroundings
from tests.fixtures.softhsm import MODULE, FaultyModule, SoftToken

CEREMONY = Path(__file__).parents[2] / "docs/how-to/ceremony/offline-root.toml"


@pytest.fixture
def instance(tmp_path: Path, hsm_token: SoftToken) -> Path:
    """One whose keys are in the token."""
    directory = tmp_path / "instance"
    words = ("--pkcs11", MODULE, "--token", hsm_token.label, "--pin-file", hsm_token.pin_file)
    done = run("init", "--dir", directory, *words)
    assert done.code == 0, done.err
    return directory


def check(instance: Path, *words: str, **environ: str) -> Done:
    return run("hsm", "check", "--dir", instance, *words, environ=environ)


def test_an_instance_has_its_keys_in_the_token_and_is_told_what_that_can_do(
    instance: Path, hsm_token: SoftToken
) -> None:
    before = hsm_token.labels()
    assert [label.rpartition("-")[0] for label in before] == ["ca-issuing", "ca-root"]
    assert not list((instance / "keys").glob("*.key"))
    settings = load_settings(instance / "ikewarden.toml", {})
    assert (settings.keys.store, settings.keys.pkcs11.module) == ("pkcs11", MODULE)
    assert settings.keys.pkcs11.token == hsm_token.label
    shown = check(instance)
    assert shown.code == 0, shown.err
    assert hsm_token.label in shown.out
    assert "ec-p256    yes   ECDSA\n" in shown.out
    assert "rsa-2048   yes   PKCS#1 v1.5, PSS\n" in shown.out
    assert "ml-dsa" not in shown.out  # which no device could do
    assert hsm_token.pin not in shown.out + shown.err
    # A rehearsal makes its keys in files, and shows what is written.
    file = instance.parent / "ceremony.toml"
    file.write_text(CEREMONY.read_text().replace('store = "files"', 'store = "pkcs11"'))
    rehearse = ("ca", "ceremony", file, "--dry-run", "--dir", instance, "--format", "json")
    rehearsed = run(*rehearse).document
    assert {each.get("store") for each in rehearsed["steps"]} == {"pkcs11", None}
    told = check(instance, "--algorithm", "ec-p521", "--format", "json").document
    assert told["token"]["label"] == hsm_token.label
    assert "ECDSA" in told["token"]["mechanisms"]
    assert told["algorithms"] == [
        {"algorithm": "ec-p521", "works": True, "signs": ["ECDSA"], "code": None, "message": None}
    ]
    assert hsm_token.labels() == before


def test_what_is_wrong_is_said_with_its_exit_code(
    instance: Path, hsm_token: SoftToken, faulty: FaultyModule, tmp_path: Path
) -> None:
    def outcome(*words: str, **environ: str) -> tuple[int, str]:
        place = {"IKEWARDEN_KEYS__PKCS11__MODULE": str(faulty.path)}
        done = check(instance, *words, "--format", "json", **(place | environ))
        assert done.error["next_step"]
        assert hsm_token.pin not in done.out + done.err
        return done.code, done.error["code"]

    one = ("--algorithm", "ec-p256")
    faulty.fail(pair="70")  # CKR_MECHANISM_INVALID
    assert outcome(*one) == (1, "hsm_unfit")
    faulty.fail(open="30")  # CKR_DEVICE_ERROR
    assert outcome(*one) == (3, "signer_unavailable")
    faulty.fail()
    assert outcome(IKEWARDEN_KEYS__PKCS11__MODULE="/none.so") == (1, "pkcs11_module_unusable")
    assert outcome(IKEWARDEN_KEYS__PKCS11__TOKEN="another") == (3, "hsm_absent")
    assert outcome(IKEWARDEN_KEYS__PKCS11__PIN_FILE=str(tmp_path / "none")) == (2, "pin_unusable")
    assert outcome(IKEWARDEN_KEYS__PKCS11__TOKEN="") == (2, "settings_invalid")
    assert outcome(IKEWARDEN_KEYS__STORE="files", IKEWARDEN_KEYS__PKCS11__MODULE="") == (
        2,
        "hsm_not_set",
    )
    hsm_token.write_pin("00000000x")
    assert outcome() == (1, "pin_refused")
    assert outcome() == (1, "pin_refused")
    assert faulty.calls["login a0"] == 1
    assert outcome("--retry-pin") == (1, "pin_refused")
    assert faulty.calls["login a0"] == 2


def test_a_token_needs_its_module(tmp_path: Path) -> None:
    done = run("init", "--dir", tmp_path / "instance", "--token", "ca")
    assert (done.code, "both --pkcs11 and --token" in done.err) == (2, True)
    assert not (tmp_path / "instance").exists()


def test_without_a_pin_nothing_is_made(tmp_path: Path, hsm_token: SoftToken) -> None:
    directory = tmp_path / "instance"
    words = ("init", "--dir", directory, "--pkcs11", MODULE, "--token", hsm_token.label)
    for more in ((), ("--pin-file", tmp_path / "none")):
        done = run(*words, *more)
        assert (done.code, "(pin_unusable)" in done.err) == (2, True)
        assert not directory.exists()


def test_what_is_wrong_with_the_token_leaves_nothing_behind(
    tmp_path: Path, hsm_token: SoftToken
) -> None:
    """So `init` can be run again as soon as it is mended."""
    directory, wrong = tmp_path / "instance", tmp_path / "wrong"
    wrong.write_text("00000000x")
    wrong.chmod(0o600)
    right: dict[str, str | Path] = {
        "--pkcs11": MODULE,
        "--token": hsm_token.label,
        "--pin-file": hsm_token.pin_file,
    }
    for mistake, code in (
        ({"--pkcs11": "/none.so"}, "pkcs11_module_unusable"),
        ({"--token": "another"}, "hsm_absent"),
        ({"--pin-file": wrong}, "pin_refused"),
    ):
        words = [word for pair in (right | mistake).items() for word in pair]
        done = run("init", "--dir", directory, *words)
        assert (done.code != 0, f"({code})" in done.err) == (True, True), done.err
        assert not directory.exists()
    directory.mkdir()
    done = run(
        "init", "--dir", directory, "--pkcs11", "/none.so", "--token", "x", "--pin-file", wrong
    )
    assert (done.code, list(directory.iterdir())) == (1, [])


def test_the_pin_may_be_typed(instance: Path, hsm_token: SoftToken) -> None:
    settings = instance / "ikewarden.toml"
    kept = [line for line in settings.read_text().splitlines() if "pin_file" not in line]
    settings.write_text("\n".join(kept) + "\n")
    pid, terminal = pty.fork()
    if pid == 0:
        command = [*PROGRAM, "hsm", "check", "--dir", str(instance), "--algorithm", "ec-p256"]
        os.execve(command[0], command, surroundings())  # noqa: S606 - no shell is wanted
    written = b""
    while b"PIN of the token: " not in written:
        written += os.read(terminal, 1000)
    os.write(terminal, hsm_token.pin.encode() + b"\n")
    with contextlib.suppress(OSError):  # EIO: it has ended
        while piece := os.read(terminal, 1000):
            written += piece
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, written
    os.close(terminal)
    assert b"ec-p256    yes" in written
    assert hsm_token.pin.encode() not in written
