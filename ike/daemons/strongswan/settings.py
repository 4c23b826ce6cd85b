"""The syntax of swanctl.conf: written, and read with what it includes."""

import glob
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HEAD = "# Written by the ikewarden agent, which replaces it. Do not edit.\n"


def render(section: Mapping[str, Any], depth: int = 0) -> str:
    """A section as text: mappings become sections, lists are joined, the rest is `key = "value"`.

    Every section gets lines of its own: `x { a = b }` on one line is a syntax error. Values are quoted; none may hold
    a quotation mark, a backslash or a control character, which `ike.daemons.connections` sees to.
    """
    margin = "  " * depth
    lines = []
    for key, value in section.items():
        if isinstance(value, Mapping):
            lines.append(f"{margin}{key} {{\n{render(value, depth + 1)}{margin}}}\n")
        else:
            text = ", ".join(value) if isinstance(value, list | tuple) else str(value)
            lines.append(f'{margin}{key} = "{text}"\n')
    return "".join(lines)


@dataclass
class Section:
    """A section of a file, and of those that add to it; `path` is the file where it begins."""

    path: Path
    values: dict[str, str] = field(default_factory=dict)
    sections: dict[str, "Section"] = field(default_factory=dict)


def read(path: Path) -> Section:
    """A file with all that it includes, in the order in which swanctl takes it.

    What cannot be read or understood is passed over: swanctl takes nothing of such a file, but nor does it forget then
    what it had loaded.
    """
    root = Section(path)
    _read_into(root, path, depth=0)
    return root


_DEEPEST = 10
_TOKEN = re.compile(
    r"""[ \t\r]*(?:
        (?P<comment>\#[^\n]*)
      | (?P<text>"(?:[^"\\]|\\.)*")
      | (?P<sign>[{}=:,\n])
      | (?P<word>[^\#{}:,="\n\t\r\ ]+)
    )""",
    re.VERBOSE | re.DOTALL,
)
_VALUE = re.compile(r"""[ \t\r]*("(?:[^"\\]|\\.)*"|[^"\#}\n]*)""", re.DOTALL)
_INCLUDE = re.compile(r"""[ \t]*("(?:[^"\\]|\\.)*"|[^\n\#{} ]+)""")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}


def _read_into(root: Section, path: Path, *, depth: int) -> None:
    try:
        text = path.read_text("utf-8", errors="surrogateescape")
    except OSError:
        return
    stack, word, at = [root], "", 0
    while found := _TOKEN.match(text, at):
        at = found.end()
        if found["word"] == "include" and depth < _DEEPEST:
            if included := _INCLUDE.match(text, at):
                at = included.end()
                for each in _included(path, _plain(included[1])):
                    _read_into(stack[-1], each, depth=depth + 1)
        elif found["word"]:
            # `name : other {` takes over what the other section has; that is not looked at here.
            word = word or found["word"]
        elif found["sign"] == "=" and (value := _VALUE.match(text, at)):
            at = value.end()
            stack[-1].values[word] = _plain(value[1])
            word = ""
        elif found["sign"] in ("{", "}"):
            _turn(stack, found["sign"], word, path)
            word = ""


def _turn(stack: list[Section], sign: str, word: str, path: Path) -> None:
    """Into a section, or out of it."""
    if sign == "{":
        stack.append(stack[-1].sections.setdefault(word, Section(path)))
    elif len(stack) > 1:
        stack.pop()


def _included(path: Path, pattern: str) -> Iterator[Path]:
    return (Path(each) for each in sorted(glob.glob(str(path.parent / pattern))))


def _plain(value: str) -> str:
    if value.startswith('"'):
        return _ESCAPED.sub(lambda found: _ESCAPES.get(found[1], found[1]), value[1:-1])
    return value.strip()
