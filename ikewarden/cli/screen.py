"""Results on the screen: tables for a terminal, aligned text for a pipe, JSON for a program.

What is shown may come from an attacker (a name in a request): control characters and those that turn the direction
of text are escaped, nothing is read as markup, and nothing is cut off.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from shutil import get_terminal_size
from textwrap import wrap
from typing import Any, Final, TextIO

from rich.cells import cell_len

from core.escaping import escaped

_BETWEEN: Final = 2  # blanks between two columns of a table
_NARROWEST: Final = 10
_STYLES: Final = {
    "valid": "green",
    "active": "green",
    "pass": "green",
    "ok": "green",
    "warn": "yellow",
    "held": "yellow",
    "pending": "yellow",
    "fail": "red",
    "failed": "red",
    "revoked": "red",
    "expired": "red",
}

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: its title, and the key of an entry or a function of it. `whole`: never folded; `spare`: left
    out where a terminal is too narrow, that of the highest number first.
    """

    title: str
    value: str | Callable[[Document], object]
    whole: bool = False
    spare: int = 0

    def cell(self, entry: Document) -> str:
        """What stands in this column for an entry."""
        found = entry.get(self.value) if isinstance(self.value, str) else self.value(entry)
        return shown(found)


@dataclass(frozen=True)
class Screen:
    """Standard output in the format that was asked for; notes for people go to standard error."""

    format: str
    out: TextIO
    err: TextIO

    @property
    def is_json(self) -> bool:
        """Whether a program reads along."""
        return self.format == "json"

    def json(self, document: object) -> None:
        """Write a document. ASCII only: then no character in it acts in a terminal."""
        self.out.write(json.dumps(document, indent=2, ensure_ascii=True) + "\n")

    def line(self, text: str = "") -> None:
        """Write one line for people."""
        self.out.write(escaped(text) + "\n")

    def verbatim(self, text: str) -> None:
        """Write lines as they are, for PEM that was checked."""
        self.out.write(text if text.endswith("\n") else text + "\n")

    def note(self, text: str) -> None:
        """Tell people something beside the result."""
        if not self.is_json:
            self.err.write(escaped(text) + "\n")

    def table(self, columns: Sequence[Column], entries: Iterable[Document]) -> None:
        """Write a table: on a terminal with colours and folded to fit, else aligned.

        Where a terminal is too narrow, spare columns are left out, with a word about it; where that is not enough, each
        entry becomes a list of its fields.
        """
        rows = [[column.cell(entry) for column in columns] for entry in entries]
        titles = [column.title for column in columns]
        if not self.out.isatty():
            for line in aligned([titles, *rows]):
                self.out.write(line + "\n")
            return
        kept = list(range(len(columns)))
        while True:
            some = [[row[number] for number in kept] for row in rows]
            these = [columns[number] for number in kept]
            widths = fitting(these, some, get_terminal_size((100, 24)).columns)
            spare = [number for number in kept if columns[number].spare]
            if widths is not None or not spare:
                break
            kept.remove(max(spare, key=lambda number: (columns[number].spare, number)))
        if widths is None:
            for row in rows:
                self.fields(zip(titles, row, strict=True))
                self.line()
            return
        self._rich(these, some, widths)
        if len(kept) < len(columns):
            left = ", ".join(title for number, title in enumerate(titles) if number not in kept)
            self.note(f"Left out for want of room: {left}.")

    def entries(
        self,
        columns: Sequence[Column],
        entries: Sequence[Document],
        *,
        nothing: str,
        more: bool = False,
    ) -> None:
        """Write a list: `{"items": […]}`, with `"more": true` where it was cut at the limit; or a table."""
        if self.is_json:
            self.json({"items": entries, **({"more": True} if more else {})})
            return
        if entries:
            self.table(columns, entries)
        else:
            self.note(nothing)
        if more:
            self.note(f"There are more than these {len(entries)}: give a larger --limit.")

    def document(self, document: Document) -> None:
        """Write one thing as the API shows it; inner objects as `outer.inner` for people."""
        if self.is_json:
            self.json(document)
        else:
            self.fields(_flat(document))

    def fields(self, pairs: Iterable[tuple[str, object]]) -> None:
        """Write names and values, one a line; a list takes a line for each of its values. On a terminal, what is longer
        goes on in the next line, at a word.
        """
        rows = []
        for name, value in pairs:
            values = value if isinstance(value, list) and value else [value]
            rows += [
                [name if not number else "", shown(each)] for number, each in enumerate(values)
            ]
        if self.out.isatty():
            room = get_terminal_size((100, 24)).columns - _BETWEEN
            room -= max((cell_len(name) for name, _ in rows), default=0)
            rows = [
                [name if not number else "", part]
                for name, text in rows
                for number, part in enumerate(folded(text, room))
            ]
        for line in aligned(rows):
            self.out.write(line + "\n")

    def _rich(
        self, columns: Sequence[Column], rows: Sequence[Sequence[str]], widths: Sequence[int]
    ) -> None:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, padding=(0, _BETWEEN, 0, 0), header_style="bold")
        for column, width in zip(columns, widths, strict=True):
            table.add_column(column.title, overflow="fold", width=width)
        for row in rows:
            table.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in row))
        whole = sum(widths) + _BETWEEN * len(widths)
        Console(file=self.out, width=whole, highlight=False, markup=False, emoji=False).print(table)


def folded(text: str, room: int) -> list[str]:
    """A text as lines that end at a word."""
    width = max(room, _NARROWEST)
    return wrap(text, width, break_long_words=False, break_on_hyphens=False) or [text]


def fitting(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], room: int
) -> list[int] | None:
    """How wide each column is so that a table fits; None where it does not, and nothing may be cut off.

    Columns that may be folded give way, the widest first, and only between words: what is copied must be whole.
    """
    titles = [cell_len(column.title) for column in columns]
    longest = [
        max([title, *(cell_len(word) for row in rows for word in row[number].split())])
        for number, title in enumerate(titles)
    ]
    widths = [
        max([title, *(cell_len(row[number]) for row in rows)])
        for number, title in enumerate(titles)
    ]
    left = room - _BETWEEN * len(columns)
    while sum(widths) > left:
        foldable = [
            number
            for number, column in enumerate(columns)
            if not column.whole and widths[number] > longest[number]
        ]
        if not foldable:
            return None
        widths[max(foldable, key=lambda number: widths[number])] -= 1
    return widths


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as lines whose columns begin below each other."""
    if not rows:
        return []
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = (
            cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)
        )
        lines.append("  ".join(cells).rstrip())
    return lines


def shown(value: object) -> str:
    """A value of a JSON document as one line of text."""
    match value:
        case None | "" | []:
            text = "-"
        case bool():
            text = "yes" if value else "no"
        case datetime():
            text = f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}"
        case str():
            text = _as_time(value) or value
        case Mapping():
            text = ", ".join(f"{name}={shown(each)}" for name, each in value.items())
        case list() | tuple():
            text = ", ".join(map(shown, value))
        case _:
            text = str(value)
    return escaped(text)


def _flat(document: Document, prefix: str = "") -> Iterable[tuple[str, object]]:
    for name, value in document.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _as_time(text: str) -> str | None:
    """`2027-01-31 12:00:00Z` of an RFC 3339 time; None for other text."""
    if len(text) < len("2027-01-31T12:00:00Z") or text[10:11] != "T" or not text[:4].isdigit():
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return None if moment.tzinfo is None else shown(moment)
