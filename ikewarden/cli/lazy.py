"""Groups of commands whose modules are imported only when one of them is called."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import click

from ikewarden.cli.help import write_options


@dataclass(frozen=True, slots=True)
class Lazy:
    """Where a command is, as `module:attribute`, and its first line of help, so that a list of commands needs no
    import. Tests hold the two together.
    """

    target: str
    summary: str


class LazyGroup(click.Group):
    """A group that knows the names and summaries of its commands, and finds the commands when they are asked for."""

    def __init__(self, *args: Any, lazy: Mapping[str, Lazy], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names in the order of their declaration, which is that of a user's way."""
        return list(self.lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command, if there is one of this name."""
        known = self.lazy.get(cmd_name)
        if known is None:
            return None
        module, _, attribute = known.target.partition(":")
        found = getattr(importlib.import_module(module), attribute)
        if not isinstance(found, click.Command):
            raise TypeError(f"{known.target} is no command")
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or say which ones have a similar name."""
        try:
            return super().resolve_command(ctx, args)
        except click.exceptions.NoSuchCommand as error:
            raise click.exceptions.NoSuchCommand(
                error.command_name, possibilities=self.lazy, ctx=ctx
            ) from None

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options in two sections, and the commands."""
        write_options(self, ctx, formatter)
        self.format_commands(ctx, formatter)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands from the declarations, without an import."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, known.summary) for name, known in self.lazy.items()])
