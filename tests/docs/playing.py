"""Play a page: run its commands in order, on the hosts of its session, and compare what they print with it."""

import re
from collections.abc import Callable, Mapping

from tests.docs.blocks import ROOT, Block, blocks
from tests.docs.hosts import Host, Ran, hosts
from tests.docs.sessions import SESSIONS
from tests.lab.lab import Lab

# What differs from run to run: numbers, serial numbers, fingerprints, times.
_VARIES = re.compile(r"[0-9a-f]{7,}|\d+")
_BASE64 = re.compile(r"[0-9A-Za-z+/]{40,}=*")


class NotAsSaid(AssertionError):
    """A command failed, or printed something else than its page says."""


def play(page: str, lab: Lab, *, enough: Callable[[Block], bool] = lambda _: False) -> int:
    """Play a page up to its end, or to the first block that is `enough`; returns how many blocks were run. Raises
    NotAsSaid with the place and what was printed.
    """
    session = SESSIONS[page]
    count = 0
    with hosts(lab, *session.hosts, charons=session.charons) as made:
        if "clone" in made:
            (made["clone"].work / "tests").symlink_to(ROOT / "tests")
        for name, step in session.before:
            _run(made[name], Block(page, 0, "sh", "", "run", name), [step])
        for block in blocks(ROOT / page):
            if block.verb == "file":
                name, _, path = block.what.partition("/")
                (made[name].work / path).parent.mkdir(parents=True, exist_ok=True)
                (made[name].work / path).write_text(block.text)
            if block.verb == "run":
                typed = [_typed(command.text, session.words) for command in block.commands]
                for command, ran in zip(
                    block.commands, _run(made[block.what], block, typed), strict=True
                ):
                    compare(command.shown, ran, f"{page}:{block.line}: {command.text}")
                count += 1
                if enough(block):
                    break
    return count


def _run(host: Host, block: Block, typed: list[str]) -> list[Ran]:
    ran = host.run(typed)
    for number, text in enumerate(typed):
        expected = block.status if number == len(typed) - 1 else 0
        if number >= len(ran) or ran[number].status != expected:
            said = ran[number].said if number < len(ran) else "it was not reached"
            ended = ran[number].status if number < len(ran) else "nothing"
            raise NotAsSaid(f"{block.page}:{block.line}: {text}\nended with {ended}\n{said}")
    return ran


def _typed(text: str, words: Mapping[str, str]) -> str:
    for word, meant in words.items():
        text = re.sub(rf"\b{word}\b", lambda _, meant=meant: meant, text)
    return text


def compare(shown: tuple[str, ...], ran: Ran, where: str) -> None:
    """Each line of the page is there, in order, whatever its numbers are; `…` stands for anything, alone for lines.
    Raises NotAsSaid.
    """
    lines = iter([line.rstrip() for line in ran.said.splitlines()])
    for wanted in shown:
        if wanted.strip() in ("", "…"):
            continue
        pattern = re.compile(_pattern(wanted))
        if not any(pattern.fullmatch(line) for line in lines):
            raise NotAsSaid(f"{where}: not printed: {wanted}\n{ran.said}")


def _pattern(wanted: str) -> str:
    parts = []
    for part in re.split(r"(…|\s+)", wanted.rstrip()):
        if part == "…":
            parts.append(".*")
        elif part.isspace():
            parts.append(r"\s+")
        elif _BASE64.match(part):
            parts.append(r"\S+")
        else:
            parts.append(r"[0-9a-f]+".join(re.escape(each) for each in _VARIES.split(part)))
    return "".join(parts)
