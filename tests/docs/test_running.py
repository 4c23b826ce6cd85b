"""The commands of the pages are run as they stand, in order, and print what the pages say that they print."""

import tomllib
from pathlib import Path

import pytest

from tests.docs.blocks import shell_blocks
from tests.docs.hosts import Ran
from tests.docs.playing import NotAsSaid, compare, play
from tests.docs.sessions import SESSIONS
from tests.lab.lab import Lab

UNRUN = Path(__file__).with_name("unrun.toml")


@pytest.mark.parametrize("page", [page for page in SESSIONS if "/how-to/" not in page])
def test_a_page_does_what_it_says(page: str, lab: Lab) -> None:
    assert play(page, lab) > 0


def _reasons() -> dict[str, str]:
    """Why a block is not run, by what it is called."""
    return {
        name: entry["because"]
        for entry in tomllib.loads(UNRUN.read_text("utf-8"))["unrun"]
        for name in entry["blocks"]
    }


def test_every_block_of_commands_is_run_or_it_is_said_why_not() -> None:
    run = {block.name for block in shell_blocks() if block.verb == "run"}
    others = {block.name for block in shell_blocks() if block.verb != "run"}
    reasons = _reasons()
    assert not others - reasons.keys(), "run them (tests/docs/sessions.py), or say why not"
    assert not reasons.keys() - others, "these are run, or are no more"
    assert run
    assert {page for page, _, _ in (name.partition(": ") for name in run)} == SESSIONS.keys()


@pytest.mark.parametrize(
    ("wanted", "said", "there"),
    [
        ("serial       …", "serial       4f2a", True),
        ("Version  State", "Version   State", True),
        ("1 tunnel ends.", "2 tunnel ends.", True),
        ("1 tunnel ends.", "1 tunnel ends. More", False),
        ("verdict ok", "verdict alert", False),
    ],
)
def test_what_a_page_shows_is_compared(wanted: str, said: str, there: bool) -> None:
    ran = Ran("x", f"before\n{said}\nafter", 0)
    if there:
        compare((wanted,), ran, "x")
    else:
        with pytest.raises(NotAsSaid):
            compare((wanted,), ran, "x")
