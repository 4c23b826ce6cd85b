"""Completion, in the shells themselves."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures import needs
from tests.fixtures.served import run, surroundings

_BASH = """
source "$1"
COMP_WORDS=({words}) COMP_CWORD={last} COMPREPLY=()
_ikewarden_completion ikewarden "{word}" ""
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
# Without a terminal there is no line to complete: what the function offers is written out instead.
_ZSH = """
autoload -U compinit && compinit -u -D
_describe() { print -l -- ${(P)3}; }
compadd() { print -l -- ${(P)@[-1]}; }
words=(WORDS) CURRENT=$#words
source "$1"
_ikewarden_completion
"""


@pytest.fixture
def program(tmp_path: Path) -> dict[str, str]:
    """An environment in which `ikewarden` is this program."""
    bin_directory = tmp_path / "bin"
    bin_directory.mkdir()
    called = bin_directory / "ikewarden"
    called.write_text(f'#!/bin/sh\nexec {sys.executable} -m ikewarden.main "$@"\n')
    called.chmod(0o755)
    (tmp_path / "home").mkdir()
    return surroundings(
        {
            "PATH": f"{bin_directory}:{os.environ['PATH']}",
            "PYTHONPATH": os.getcwd(),
            "HOME": str(tmp_path / "home"),
        }
    )


def _script(shell: str, tmp_path: Path) -> Path:
    done = run("completion", shell)
    assert (done.code, done.err) == (0, "")
    path = tmp_path / f"completion.{shell}"
    path.write_text(done.out)
    return path


def _ran(command: list[str | Path], environ: dict[str, str], tmp_path: Path) -> list[str]:
    done = subprocess.run(
        command, env=environ, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stderr == "", done.stderr
    return done.stdout.split()


_CASES = [
    (["ser"], "serve"),
    (["cert", "re"], "revoke"),
    (["serve", "--only", "val"], "validation"),
    (["agent", "enroll", "--key-t"], "--key-type"),
]


@pytest.mark.parametrize(("words", "expected"), _CASES)
def test_bash(program: dict[str, str], tmp_path: Path, words: list[str], expected: str) -> None:
    text = _BASH.format(words=" ".join(["ikewarden", *words]), last=len(words), word=words[-1])
    script = _script("bash", tmp_path)
    command = [needs.program("bash"), "--norc", "-c", text, "bash", script]
    assert expected in _ran(command, program, tmp_path)


@pytest.mark.parametrize(("words", "expected"), _CASES)
def test_zsh(program: dict[str, str], tmp_path: Path, words: list[str], expected: str) -> None:
    text = _ZSH.replace("WORDS", " ".join(["ikewarden", *words]))
    command = [needs.program("zsh"), "-f", "-c", text, "zsh", _script("zsh", tmp_path)]
    offered = _ran(command, program, tmp_path)
    assert any(each.partition(":")[0] == expected for each in offered), offered


@pytest.mark.parametrize(("words", "expected"), _CASES)
def test_fish(program: dict[str, str], tmp_path: Path, words: list[str], expected: str) -> None:
    script = _script("fish", tmp_path)
    line = " ".join(["ikewarden", *words])
    text = f"source {script}; complete -C '{line}'"
    assert expected in _ran([needs.program("fish"), "--no-config", "-c", text], program, tmp_path)
