"""Writes share/: what an installation puts beside the program, which are man pages and completion for shells.

The man pages are the reference pages of the command line and of the settings, in the language of man(7).
"""

import re
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Final

from click.shell_completion import get_completion_class

from ikewarden.cli.commands.completion import NAME, VARIABLE
from ikewarden.cli.reference import page as commands_page
from ikewarden.cli.root import program
from ikewarden.settings_reference import render as settings_page

SHARE: Final = Path(__file__).parent.parent / "share"
_SEE: Final = {
    "ikewarden.1": ("ikewarden \\- keys and certificates for IPsec fleets", "ikewarden.toml (5)"),
    "ikewarden.toml.5": ("ikewarden.toml \\- settings of ikewarden", "ikewarden (1)"),
}
_SYNOPSIS: Final = {
    "ikewarden.1": ".SH SYNOPSIS\n.B ikewarden\n.I command\n.RI [ options ]\n",
    "ikewarden.toml.5": "",
}


def files() -> dict[str, Callable[[], str]]:
    """What there is to write, by its path in share/."""
    return {
        "man/man1/ikewarden.1": lambda: _man("ikewarden.1", commands_page()),
        "man/man5/ikewarden.toml.5": lambda: _man("ikewarden.toml.5", settings_page()),
        "bash-completion/completions/ikewarden": lambda: _completion("bash"),
        "zsh/site-functions/_ikewarden": lambda: _completion("zsh"),
        "fish/vendor_completions.d/ikewarden.fish": lambda: _completion("fish"),
    }


def main() -> None:
    """Write all of it."""
    for name, render in files().items():
        path = SHARE / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(render(), "utf-8")


def _completion(shell: str) -> str:
    kind = get_completion_class(shell)
    if kind is None:
        raise LookupError(shell)
    return kind(program, {}, NAME, VARIABLE).source()


def _man(name: str, markdown: str) -> str:
    """A man page made of a reference page."""
    title, _, section = name.rpartition(".")
    line, see = _SEE[name]
    head = f'.TH {title.upper()} {section} "" "ikewarden {version("ikewarden")}" "ikewarden"\n.ad l\n.nh\n'
    # A heading begins a paragraph by itself.
    body = re.sub(r"(?m)^(\.S[HS] .*)\n\.PP$", r"\1", "\n".join(_lines(markdown)))
    body = body.removeprefix(".PP\n")
    other, number = see.split()
    return (
        f"{head}.SH NAME\n{line}\n{_SYNOPSIS[name]}.SH DESCRIPTION\n{body}\n"
        f".SH SEE ALSO\n.BR {other} {number}\n"
    )


def _lines(markdown: str) -> Iterator[str]:
    """The subset of Markdown that the reference pages are written in, as lines of man(7)."""
    markdown = re.sub(r"<!--.*?-->\n*", "", markdown, flags=re.S)
    fenced = began = False
    for line in markdown.splitlines()[1:]:  # the title is the page's name
        if line.startswith("```") or (line.startswith("    ") != fenced and not began):
            fenced = not fenced
            began = fenced and line.startswith("```")
            yield ".PP\n.nf\n.RS" if fenced else ".RE\n.fi"
            if line.startswith("```"):
                continue
        if fenced:
            yield _escaped(line.removeprefix("    ") if not began else line)
        elif not line:
            continue
        else:
            yield from _prose(line)
    if fenced:
        yield ".RE\n.fi"


def _prose(line: str) -> Iterator[str]:
    if line.startswith("#"):
        depth, _, text = line.partition(" ")
        yield f".{'SH' if depth == '##' else 'SS'} {_quoted(text)}"
    elif found := re.fullmatch(r"- (`.*?`): ?(.*)", line):
        yield f".TP\n{_marked(found[1])}"
        yield _marked(found[2])
    elif line.startswith("- "):
        yield f".br\n{_marked(line[2:])}"
    else:
        yield f".PP\n{_marked(line)}" if line[0].isupper() else _marked(line)


def _quoted(text: str) -> str:
    return '"' + _marked(text.replace("`", "")).replace('"', "\\(dq") + '"'


def _marked(text: str) -> str:
    """Text with what stands in backticks in bold; a link is its words."""
    text = re.sub(r"\[([^]]+)\]\([^)]+\)", r"\1", text)
    pieces = text.split("`")
    return "".join(
        f"\\fB{_escaped(piece, first=not place)}\\fR"
        if place % 2
        else _escaped(piece, first=not place)
        for place, piece in enumerate(pieces)
    )


def _escaped(text: str, *, first: bool = True) -> str:
    # A line may be broken within a long choice.
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("|", "|\\:")
    return f"\\&{text}" if first and text[:1] in {".", "'"} else text


if __name__ == "__main__":
    main()
