"""The reference page of the command line, made from the commands.

`python -m ikewarden.cli.reference` writes docs/reference/cli.md.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click

from ikewarden.cli.help import CONNECTION
from ikewarden.cli.root import program

PAGE: Final = Path("docs/reference/cli.md")
_HEAD: Final = """\
# Command line

<!-- Made from ikewarden/cli/ by `make docs`; a test compares the two. -->

Every command ends with 0 when it is done, 1 when it failed or found something, 2 for bad usage or
input, 3 when the service cannot be reached or does not prove itself, and where it, its records or the
store of its keys cannot do it now (too busy, full, away): the same may work later. Results go to standard output,
errors to standard error: one sentence, what to do next, and a stable code in parentheses.
`--format json` prints what the API answers (lists as `{"items": […]}`, with `"more": true` where
`--limit` cut them), and errors as `{"code", "detail", "next_step", …}`.

Times are RFC 3339 (`2027-01-31T12:00:00Z`), dates (midnight UTC) or spans from now, in
minutes, hours, days or weeks (`30m`, `12h`, `90d`, `52w`).

The base install is enough for every command that talks to a service, for `cert lint` and `audit`;
`init`, `serve`, `migrate` and `check-config` need the extra `server`.

Completion: `ikewarden completion bash`, `zsh` or `fish` prints what the shell needs; for this shell alone,
`eval "$(ikewarden completion bash)"`.

## Which service

Options of every command that talks to a service; they can also stand before the command, as
`--format` can.
"""
_AFTER: Final = """\

An option wins over the environment, and that over the directory of an instance. With `--dir` the
environment is not looked at. The token in a directory is sent only where the root in the same
directory is trusted. A token is never an argument, because other users could see it.
"""


def page() -> str:
    """The page, in Markdown."""
    parts = [_HEAD, "\n"]
    root = click.Context(program, info_name="ikewarden")
    for parameter in program.get_params(root):
        if parameter.name in CONNECTION:
            parts.append(_option(parameter, root))
    parts.append(_AFTER)
    for context in _contexts(root):
        parts.append(_section(context))
    return "".join(parts)


def main() -> None:
    """Write the page."""
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page())
    sys.stdout.write(f"{PAGE}\n")


def _contexts(above: click.Context) -> Iterator[click.Context]:
    """Every command below, in the order of the help pages."""
    group = above.command
    if not isinstance(group, click.Group):
        return
    for name in group.list_commands(above):
        command = group.get_command(above, name)
        if command is not None:
            context = click.Context(command, parent=above, info_name=name)
            yield context
            yield from _contexts(context)


def _section(context: click.Context) -> str:
    command = context.command
    depth = (
        "##" if isinstance(command, click.Group) or context.command_path.count(" ") == 1 else "###"
    )
    parts = [f"\n{depth} `{context.command_path}`\n\n{_prose(command.help or '')}\n"]
    if isinstance(command, click.Group):
        return "".join(parts)
    usage = " ".join(command.collect_usage_pieces(context))
    parts.append(f"\n    {context.command_path} {usage}\n\n")
    connects = False
    for parameter in command.get_params(context):
        if parameter.name == "url":
            connects = True
        if parameter.name not in CONNECTION or (parameter.name == "dir" and not _connects(command)):
            parts.append(_option(parameter, context))
    if connects:
        parts.append("- and those of [which service](#which-service).\n")
    parts.append(_example(command))
    return "".join(parts)


def _connects(command: click.Command) -> bool:
    return any(parameter.name == "url" for parameter in command.params)


def _option(parameter: click.Parameter, context: click.Context) -> str:
    record = parameter.get_help_record(context)
    if record is None or isinstance(parameter, click.Argument) or "--help" in parameter.opts:
        return ""
    names, text = record
    return f"- `{names}`: {' '.join(text.split())}\n"


def _prose(text: str) -> str:
    paragraphs = text.replace("\b", "").strip().split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _example(command: click.Command) -> str:
    lines = (command.epilog or "").replace("\b", "").strip().splitlines()[1:]
    return "\n```sh\n" + "\n".join(line.removeprefix("  ") for line in lines) + "\n```\n"


if __name__ == "__main__":
    main()
