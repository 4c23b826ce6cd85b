"""Every call of the program that stands on a page is one that it understands."""

import re
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT, Block, blocks, pages, shell_blocks
from tests.docs.wording import calls, misunderstood

_INLINE = re.compile(r"`(ikewarden [^`\n]+)`")
_UNMARKED = re.compile(r"^(?:[$#] )?(?:\.venv/bin/)?ikewarden [a-z]", re.M)
_INDENTED = re.compile(r"^(?: {4}|\t)(?:[$#] )?(?:\.venv/bin/)?ikewarden [a-z]", re.M)


@pytest.mark.parametrize("block", shell_blocks(), ids=lambda block: f"{block.page}:{block.line}")
def test_the_program_understands_what_a_block_calls(block: Block) -> None:
    for command in block.commands:
        for call in calls(command.text):
            assert not misunderstood(call), command.text


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_what_prose_says_of_commands_is_there(page: Path) -> None:
    for line in page.read_text("utf-8").splitlines():
        for said in _INLINE.findall(line):
            for call in said.replace("|", " | ").split(" | ")[:1]:
                words = call.split()[1:]
                assert not misunderstood(words, whole=False), said


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_stand_in_blocks_that_are_known_as_shell(page: Path) -> None:
    for block in blocks(page):
        if block.language == "":
            assert not _UNMARKED.search(block.text), f"{block.page}:{block.line}"
    # In the generated page of the command line, what stands indented is the usage.
    if page.name != "cli.md":
        assert not _INDENTED.search(page.read_text("utf-8")), "put it into a fence: ```sh"


@pytest.mark.parametrize(
    ("text", "against"),
    [
        ("ikewarden cert issue gw1.example.com --out gw1", ""),
        ("ikewarden cert issu gw1", "there is no ikewarden cert issu"),
        ("ikewarden cert issue gw1 --outt x", "--outt"),
        ("echo x | ikewarden sa analyze -", ""),
        ("X=1 ikewarden sa analyse -  # a comment", "there is no ikewarden sa analyse"),
        ("ikewarden cert revoke SERIAL --reason nothing", "nothing"),
        ("ikewarden cert revoke", "needs"),
        ("ikewarden whoami too many", "takes no too"),
        ("ikewarden ca", "a command is missing"),
    ],
)
def test_the_judge_tells_right_from_wrong(text: str, against: str) -> None:
    (call,) = calls(text)
    said = misunderstood(call)
    assert against in said
    assert bool(said) == bool(against)
