"""The commands of the pages are run as they stand, in order, and print what the pages say that they print."""

import re
import tomllib
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT, Block, blocks, shell_blocks
from tests.docs.hosts import Host, Ran, hosts
from tests.docs.sessions import SESSIONS
from tests.lab.lab import Lab

UNRUN = Path(__file__).with_name("unrun.toml")
# What differs from run to run: numbers, serial numbers, fingerprints, times.
_VARIES = re.compile(r"[0-9a-f]{7,}|\d+")


def _marked(page: str) -> list[Block]:
    return [block for block in blocks(ROOT / page) if block.verb]


@pytest.mark.parametrize("page", SESSIONS)
def test_a_page_does_what_it_says(page: str, lab: Lab) -> None:
    session = SESSIONS[page]
    with hosts(lab, *session.hosts, charons=session.charons) as made:
        if "clone" in made:
            (made["clone"].work / "tests").symlink_to(ROOT / "tests")
        for name, step in session.before:
            _succeeds(made[name], step)
        for block in _marked(page):
            if block.verb == "file":
                name, _, path = block.what.partition("/")
                (made[name].work / path).parent.mkdir(parents=True, exist_ok=True)
                (made[name].work / path).write_text(block.text)
                continue
            typed = [_typed(command.text, session.words) for command in block.commands]
            ran = made[block.what].run(typed)
            for number, command in enumerate(block.commands):
                where = f"{page}:{block.line}: {command.text}"
                assert number < len(ran), f"{where}: was not reached"
                expected = block.status if command is block.commands[-1] else 0
                assert ran[number].status == expected, f"{where}\n{ran[number].said}"
                _assert_shown(command.shown, ran[number], where)


def _succeeds(host: Host, step: str) -> None:
    (ran,) = host.run([step])
    assert ran.status == 0, f"{step}\n{ran.said}"


def _typed(text: str, words: dict[str, str]) -> str:
    for word, meant in words.items():
        text = re.sub(rf"\b{word}\b", lambda _, meant=meant: meant, text)
    return text


def _assert_shown(shown: tuple[str, ...], ran: Ran, where: str) -> None:
    """Each line of the page is there, in order, whatever its numbers are; `…` stands for anything, alone for lines."""
    lines = iter([line.rstrip() for line in ran.said.splitlines()])
    for wanted in shown:
        if wanted.strip() in ("", "…"):
            continue
        pattern = re.compile(_pattern(wanted))
        assert any(pattern.fullmatch(line) for line in lines), f"{where}: {wanted}\n{ran.said}"


def _pattern(wanted: str) -> str:
    parts = []
    for part in re.split(r"(…|\s+)", wanted.rstrip()):
        if part == "…":
            parts.append(".*")
        elif part.isspace():
            parts.append(r"\s+")
        else:
            parts.append(r"[0-9a-f]+".join(re.escape(each) for each in _VARIES.split(part)))
    return "".join(parts)


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
        _assert_shown((wanted,), ran, "x")
    else:
        with pytest.raises(AssertionError):
            _assert_shown((wanted,), ran, "x")
