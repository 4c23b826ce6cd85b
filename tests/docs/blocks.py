"""The fenced blocks of the pages, and the shell commands in them.

How pages are written, so that they can be held to it:

- ```` ```console ````: a line from `$ ` on (as a user) or `# ` (as root) is a command, and goes on after a backslash or
  a pipe at its end; what follows is what it prints, where `…` stands for anything.
- ```` ```sh ````: commands alone, without a prompt.
- A comment before a block, which no reader sees, says what is done with it. `<!-- run: HOST -->` runs it on that host
  of the page's session (`sessions.py`), `<!-- run: HOST exit=1 -->` where its last command is to end so, and
  `<!-- file: HOST/PATH -->` writes it into a file there, below the user's folder.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[a-z]*) *$")
_MARK = re.compile(r"^ *<!-- (?P<verb>run|file): (?P<what>\S+)(?: exit=(?P<status>\d))? -->$")
_PROMPTS = ("$ ", "# ")
SHELL = ("console", "sh")


@dataclass(frozen=True)
class Command:
    """One command as a reader would type it, and what the page says that it prints."""

    text: str
    shown: tuple[str, ...] = ()


@dataclass(frozen=True)
class Block:
    """One fenced block: `page` from the root of the project, `line` of its fence. `verb`, `what` and `status` are what
    the comment before it says.
    """

    page: str
    line: int
    language: str
    text: str
    verb: str = ""
    what: str = ""
    status: int = 0
    commands: tuple[Command, ...] = field(default=(), compare=False)

    @property
    def name(self) -> str:
        """What the block is called in `unrun.toml`: its page and its first command."""
        return f"{self.page}: {self.commands[0].text.splitlines()[0]}"


def pages() -> list[Path]:
    """Every page that people read, from the root of the project."""
    top = [ROOT / name for name in ("README.md", "README.zh.md", "CONTRIBUTING.md", "SECURITY.md")]
    return [page for page in top if page.exists()] + sorted((ROOT / "docs").rglob("*.md"))


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page, in order."""
    name = str(page.relative_to(ROOT))
    mark: tuple[str, str, int] = ("", "", 0)
    inside: list[str] | None = None
    language, indent, opened = "", "", 0
    for number, line in enumerate(page.read_text("utf-8").splitlines(), 1):
        fence = _FENCE.match(line)
        if inside is None:
            if fence:
                inside, opened = [], number
                language, indent = fence["language"], fence["indent"]
            elif marked := _MARK.match(line):
                mark = (marked["verb"], marked["what"], int(marked["status"] or 0))
            elif line.strip():
                mark = ("", "", 0)
        elif fence and not fence["language"]:
            text = "".join(f"{each}\n" for each in inside)
            commands = tuple(_commands(language, inside))
            yield Block(name, opened, language, text, *mark, commands)
            mark, inside = ("", "", 0), None
        else:
            inside.append(line.removeprefix(indent))


def _commands(language: str, lines: list[str]) -> Iterator[Command]:
    text = ""
    shown: list[str] = []
    goes_on = False
    for line in lines if language in SHELL else ():
        if goes_on:
            text += "\n" + line
        elif language == "sh" or line.startswith(_PROMPTS):
            if text:
                yield Command(text, tuple(shown))
            text, shown = (line if language == "sh" else line[2:]), []
        else:
            shown.append(line)
            continue
        goes_on = text.rstrip().endswith(("\\", "|"))
    if text:
        yield Command(text, tuple(shown))


def shell_blocks() -> list[Block]:
    """Every block with a command in it, of all pages. Left out are the generated one, whose text stands in the code,
    and what says the same in another language.
    """
    found = []
    for page in pages():
        if page.name not in ("cli.md", "README.zh.md"):
            found += [block for block in blocks(page) if block.commands]
    return found
