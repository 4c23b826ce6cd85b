"""The text of an audit on a terminal: with colours there, without them anywhere else."""

from collections.abc import Iterable, Mapping
from typing import Final, TextIO

from ike.audit.forms.text import Line

_STYLES: Final[Mapping[str, str]] = {
    "critical": "bold red",
    "high": "red",
    "medium": "yellow",
    "low": "cyan",
    "info": "blue",
    "place": "bold",
    "quiet": "dim",
    "good": "green",
}


def show(out: TextIO, lines: Iterable[Line]) -> None:
    """Write the lines as they are; a terminal gets colours unless NO_COLOR is set."""
    if not out.isatty():
        for line in lines:
            out.write(f"{line.text}\n")
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(file=out, highlight=False, markup=False, emoji=False)
    for line in lines:
        # Whole, whatever the width: a path is there to be copied.
        console.print(Text(line.text, _STYLES.get(line.style, "")), soft_wrap=True)
