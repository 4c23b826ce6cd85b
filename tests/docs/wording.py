"""Whether a line of a page that calls the program would be understood by it."""

import re
import shlex
from collections.abc import Iterator

import click

from ikewarden.cli.root import program

_CALL = re.compile(r"(?:\.venv/bin/)?ikewarden\Z")
_END = {"|", "||", "&&", ";", "&", ">", ">>", "<", "<<<", "2>", "2>&1", "(", ")"}
# A word that stands for something else: SERIAL, FILE…, gw-a…, [PATH], KIND|KIND.
_PLACEHOLDER = re.compile(r"[A-Z][A-Z0-9_-]*…?\Z|.*…|\[.*|<.*")


def calls(text: str) -> Iterator[list[str]]:
    """The words after `ikewarden` of each call in a piece of shell; raises ValueError where the quotes do not match."""
    lexer = shlex.shlex(text.replace("\\\n", " "), posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    lexer.commenters = "#"
    words = list(lexer)
    for at, word in enumerate(words):
        if _CALL.match(word) and (at == 0 or words[at - 1] in _END or "=" in words[at - 1]):
            call = []
            for following in words[at + 1 :]:
                if following in _END:
                    break
                call.append(following)
            yield call


def misunderstood(call: list[str], *, whole: bool = True) -> str:
    """What the program would say against a call, or nothing; where the call is not `whole`, arguments and values of
    options may be missing, and options may be spoken of without a value.
    """
    context = click.Context(program, info_name="ikewarden")
    command: click.Command = program
    words = list(call)
    try:
        while isinstance(command, click.Group):
            words = _parsed(command, context, words)[1]
            if not words or words[0] == "…":
                return "a command is missing" if whole else ""
            name = words.pop(0)
            found = command.get_command(context, name)
            if found is None:
                return f"there is no {context.command_path} {name}"
            command = found
            context = click.Context(command, parent=context, info_name=name)
        if not whole:
            return _options_alone(command, context, words)
        values, left = _parsed(command, context, words)
        if left:
            return f"{context.command_path} takes no {left[0]}"
        return _values(command, context, values)
    except click.UsageError as error:
        return f"{context.command_path}: {error.format_message()}"


def _parsed(
    command: click.Command, context: click.Context, words: list[str]
) -> tuple[dict[str, object], list[str]]:
    if isinstance(command, click.Group):
        context.allow_interspersed_args = False
    # `-- PROGRAM …` and what takes all that follows is for another program.
    context.allow_extra_args = True
    values, left, _ = command.make_parser(context).parse_args(args=list(words))
    return dict(values), list(left)


def _options_alone(command: click.Command, context: click.Context, words: list[str]) -> str:
    known = {
        name for each in command.get_params(context) for name in (*each.opts, *each.secondary_opts)
    }
    for word in words:
        name = word.split("=")[0]
        if name.startswith("--") and len(name) > 2 and name not in known:
            return f"{context.command_path} has no option {name}"
    return ""


def _values(command: click.Command, context: click.Context, values: dict[str, object]) -> str:
    for each in command.get_params(context):
        given = values.get(each.name or "")
        if given is None or given == () or "UNSET" in repr(given):
            if each.required:
                return f"{context.command_path} needs {each.human_readable_name}"
            continue
        for value in given if isinstance(given, tuple | list) else (given,):
            if (
                isinstance(each.type, click.Choice | click.types.IntParamType)
                and isinstance(value, str)
                and not _PLACEHOLDER.match(value)
            ):
                each.type.convert(value, each, context)
    return ""
