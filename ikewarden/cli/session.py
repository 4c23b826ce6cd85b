"""What a command is given by its surroundings: environment, clock, streams, and the options that all have."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from ikewarden.cli.place import find_directory

if TYPE_CHECKING:
    from ikewarden.cli.screen import Screen
    from ikewarden.client import Client


@dataclass
class Session:
    """One call of the program. `given` holds the connection options and `approval` by name, `format` that of
    --format.
    """

    environ: Mapping[str, str]
    clock: Callable[[], datetime]
    out: TextIO
    err: TextIO
    given: dict[str, Path | str] = field(default_factory=dict)
    format: str = "text"

    @property
    def directory(self) -> Path:
        """The instance that is meant; whether there is one is another question."""
        named = self.given.get("dir")
        return find_directory(Path(named) if named else None, self.environ)

    @property
    def screen(self) -> "Screen":
        """Where results go."""
        from ikewarden.cli.screen import Screen

        return Screen(self.format, self.out, self.err)

    @property
    def ask(self) -> Callable[[str], str] | None:
        """Puts a question to the person at the terminal, whose answer is not shown; None where there is nobody."""
        return _ask if os.isatty(0) else None

    def connect(self) -> "Client":
        """A client of the service that options and environment name.

        Raises what `find_service` raises, and ConnectionUnusable.
        """
        from core import spans
        from ikewarden.cli.connection import find_service
        from ikewarden.client import Client

        approval = self.given.get("approval")
        return Client(
            find_service(self.given, self.environ),
            passphrase=_passphrase,
            approval=None if approval is None else str(approval),
            trace=spans.handed_down(self.environ),
        )


pass_session = click.make_pass_decorator(Session)


def _ask(question: str) -> str:
    answer: str = click.prompt(question, prompt_suffix="", hide_input=True, err=True)
    return answer


def _passphrase() -> str:
    if not os.isatty(0):
        return ""
    answer: str = click.prompt("Passphrase of the client key", hide_input=True, err=True)
    return answer
