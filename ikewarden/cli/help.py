"""Help pages: a command's own options first, those that say which service it talks to below them."""

from collections.abc import Callable
from typing import Any, Final

import click

CONNECTION: Final = frozenset({"dir", "url", "token_file", "ca_file", "cert", "key"})


def write_options(
    command: click.Command, ctx: click.Context, formatter: click.HelpFormatter
) -> None:
    """Write the options of a command in two sections."""
    own: list[tuple[str, str]] = []
    connection: list[tuple[str, str]] = []
    for parameter in command.get_params(ctx):
        record = parameter.get_help_record(ctx)
        if record is not None and not isinstance(parameter, click.Argument):
            (connection if parameter.name in CONNECTION else own).append(record)
    for title, records in (("Options", own), ("Which service", connection)):
        if records:
            with formatter.section(title):
                formatter.write_dl(records)


class Command(click.Command):
    """A command with such a page."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options in two sections."""
        write_options(self, ctx, formatter)


def command(
    name: str | None = None, *, epilog: str
) -> Callable[[Callable[..., Any]], click.Command]:
    """Make a command of a function, as `click.command` does; each has an example in its epilog."""
    return click.command(name, cls=Command, epilog=epilog)
