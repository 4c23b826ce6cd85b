"""Where a passphrase may come from."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hsm.errors import NotAPlainFile, PassphraseUnusable, WeakMode, WrongOwner
from hsm.passphrase import (
    find_passphrase,
    passphrase_from_environment,
    passphrase_from_file,
    passphrase_from_prompt,
)
from tests.fixtures.needs import needs_root


def written(path: Path, content: bytes, mode: int = 0o600) -> Path:
    path.touch(0o600)
    path.write_bytes(content)
    path.chmod(mode)
    return path


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (b"a b c", b"a b c"),
        (b"a b c\n", b"a b c"),
        (b"a b c\r\n", b"a b c"),
        (b" a b c \n\n", b" a b c \n"),
        (b"\xff\x00\xfe", b"\xff\x00\xfe"),
        (b"x" * 4096 + b"\r\n", b"x" * 4096),
    ],
)
def test_a_file_is_read_without_its_line_end(tmp_path: Path, content: bytes, value: bytes) -> None:
    assert passphrase_from_file(written(tmp_path / "p", content)).reveal() == value


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660])
def test_a_file_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    path = written(tmp_path / "p", b"secret words", mode)
    with pytest.raises(WeakMode) as refusal:
        passphrase_from_file(path)
    assert refusal.value.next_step == f"Run: chmod 0600 '{path}'"


@needs_root
def test_a_file_of_somebody_else_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "p", b"secret words")
    os.chown(path, 12345, 12345)
    with pytest.raises(WrongOwner):
        passphrase_from_file(path)


def test_a_symbolic_link_is_judged_by_its_target(tmp_path: Path) -> None:
    path = written(tmp_path / "p", b"secret words", 0o400)
    (tmp_path / "link").symlink_to(path)
    assert passphrase_from_file(tmp_path / "link").reveal() == b"secret words"
    path.chmod(0o444)
    with pytest.raises(WeakMode):
        passphrase_from_file(tmp_path / "link")


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PassphraseUnusable, match="No such file"):
        passphrase_from_file(tmp_path / "none")
    with pytest.raises(NotAPlainFile):
        passphrase_from_file(tmp_path)
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(NotAPlainFile):
        passphrase_from_file(tmp_path / "pipe")


@pytest.mark.parametrize("content", [b"", b"\n", b"\r\n", b"x" * 4097, b"x" * 10**6])
def test_an_empty_or_endless_file_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(PassphraseUnusable):
        passphrase_from_file(written(tmp_path / "p", content))


def test_the_environment() -> None:
    assert passphrase_from_environment("P", {"P": "wörter"}).reveal() == "wörter".encode()
    with pytest.raises(PassphraseUnusable, match="not set"):
        passphrase_from_environment("P", {})
    with pytest.raises(PassphraseUnusable, match="empty"):
        passphrase_from_environment("P", {"P": ""})


def test_the_prompt() -> None:
    assert passphrase_from_prompt(lambda: "typed words").reveal() == b"typed words"
    with pytest.raises(PassphraseUnusable):
        passphrase_from_prompt(lambda: "")


def test_the_first_source_wins(tmp_path: Path) -> None:
    file = written(tmp_path / "p", b"from the file")
    environ = {"P": "from the environment"}

    def prompt() -> str:
        return "from the prompt"

    found = find_passphrase(file=file, variable="P", environ=environ, prompt=prompt)
    assert found.reveal() == b"from the file"
    found = find_passphrase(variable="P", environ=environ, prompt=prompt)
    assert found.reveal() == b"from the environment"
    found = find_passphrase(variable="P", environ={}, prompt=prompt)
    assert found.reveal() == b"from the prompt"


def test_no_source_says_what_to_set() -> None:
    with pytest.raises(PassphraseUnusable) as refusal:
        find_passphrase(variable="P", environ={})
    assert "passphrase_file" in refusal.value.next_step


def test_a_file_that_fails_is_not_passed_over(tmp_path: Path) -> None:
    with pytest.raises(PassphraseUnusable):
        find_passphrase(file=tmp_path / "none", variable="P", environ={"P": "words"})


def test_refusals_do_not_repeat_the_value(tmp_path: Path) -> None:
    path = written(tmp_path / "p", b"secret words" * 1000)
    with pytest.raises(PassphraseUnusable) as refusal:
        passphrase_from_file(path)
    assert "secret words" not in repr(refusal.value) + refusal.value.next_step


_READ = """
import os, sys
from pathlib import Path
from hsm.passphrase import passphrase_from_file
os.setgroups([int(sys.argv[2])]); os.setgid(4321); os.setuid(4321)
print(passphrase_from_file(Path(sys.argv[1])).reveal().decode())
"""


@needs_root
@pytest.mark.parametrize(
    ("owner", "group", "mode", "said"),
    [
        (0, 5432, 0o440, ""),  # a secret of Kubernetes, under fsGroup
        (0, 5432, 0o640, ""),
        (0, 5432, 0o660, "WeakMode"),
        (0, 5432, 0o444, "WeakMode"),
        (4321, 5432, 0o440, "WeakMode"),  # it is ours to close
        (1234, 5432, 0o440, "WrongOwner"),
    ],
)
def test_what_root_gave_to_our_group(
    tmp_path: Path, owner: int, group: int, mode: int, said: str
) -> None:
    path = written(tmp_path / "p", b"secret words", mode)
    os.chown(path, owner, group)
    for each in (tmp_path, *tmp_path.parents):
        each.chmod(0o755)
        if each.name.startswith("pytest-of-"):
            break
    done = subprocess.run(
        [sys.executable, "-c", _READ, str(path), str(group)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == ("" if said else "secret words\n"), done.stderr
    assert said in done.stderr
