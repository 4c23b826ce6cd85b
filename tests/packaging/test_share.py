"""share/: man pages and completion, as an installation puts them beside the program."""

import os
import re
import subprocess

import pytest

from docs.share import SHARE, files
from tests.fixtures.needs import program

PAGES = sorted(name for name in files() if name.startswith("man/"))


@pytest.mark.parametrize("name", sorted(files()))
def test_it_is_what_the_program_says_now(name: str) -> None:
    assert (SHARE / name).read_text("utf-8") == files()[name](), "run `make docs`"


def test_nothing_else_is_there() -> None:
    there = {str(path.relative_to(SHARE)) for path in SHARE.rglob("*") if path.is_file()}
    assert there == set(files())


@pytest.mark.parametrize("name", PAGES)
def test_mandoc_finds_nothing(name: str) -> None:
    done = subprocess.run(
        [program("mandoc"), "-Tlint", "-W", "warning", SHARE / name],
        capture_output=True,
        text=True,
        check=False,
    )
    # A date would be that of a build; the version is what tells one page from another.
    found = [line for line in done.stdout.splitlines() if "missing date" not in line]
    assert found == []


@pytest.mark.parametrize("name", PAGES)
def test_groff_finds_nothing_and_shows_what_is_there(name: str) -> None:
    environ = {"PATH": os.environ["PATH"], "MANWIDTH": "80", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        [program("man"), "--warnings", "--local-file", "-Tutf8", SHARE / name],
        capture_output=True,
        text=True,
        env=environ,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    shown = re.sub(r"\x1b\[[0-9;]*m|.\x08", "", done.stdout)
    words = {
        "man/man1/ikewarden.1": ("ikewarden cert revoke", "--reason", "IKEWARDEN_TOKEN_FILE"),
        "man/man5/ikewarden.toml.5": ("[keys.pkcs11]", "password_file", "IKEWARDEN_API__PORT"),
    }[name]
    for word in words:
        assert word in shown
    assert "`" not in shown
