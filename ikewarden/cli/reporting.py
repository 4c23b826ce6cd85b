"""What all reports have on the command line: how they are written, and into which file."""

import io
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import click

from ikewarden.cli.files import PUBLIC, write_over
from ikewarden.cli.options import PAST, Decorated, client_command, rfc3339
from ikewarden.cli.session import Session
from ikewarden.client import AnswerUnreadable

PATH: Final = "/v1/reports"
FILES: Final = ("html", "csv", "pdf")
# With what the signature beside a report is called.
SIGNATURE: Final = ".p7s"


def _moment(_ctx: click.Context, _parameter: click.Parameter, value: datetime | None) -> str | None:
    return rfc3339(value)


def report_options(command: Decorated) -> Decorated:
    """Give a command what every report has."""
    options = (
        click.option(
            "--lang",
            type=click.Choice(["en", "zh"]),
            help="The language of html and pdf. [default: en]",
        ),
        click.option(
            "--at",
            type=PAST,
            metavar="TIME",
            callback=_moment,
            help="As of which moment it tells. [default: the end of the period, or now]",
        ),
        click.option(
            "--signed",
            is_flag=True,
            help=f"Signed by the service: within a PDF, else beside the file as FILE{SIGNATURE}.",
        ),
        click.option(
            "--out",
            type=click.Path(dir_okay=False, path_type=Path),
            metavar="FILE",
            help="Write it there, in the place of what is there.",
        ),
        client_command(*FILES),
    )
    for option in reversed(options):
        command = option(command)
    return command


def period_option(default: str, what: str) -> Callable[[Decorated], Decorated]:
    """Give a command `--period`."""
    return click.option(
        "--period",
        metavar="PERIOD",
        help=f"{what}: 2026-Q3, 2026-10, 2026-W40, last-30d, next-30d, FROM..TO. [default: {default}]",
    )


def plain(asked: Mapping[str, Any]) -> Mapping[str, Any]:
    """What is asked of a report that is not a file."""
    return {name: value for name, value in asked.items() if name not in {"lang", "signed"}}


def is_file(session: Session, kind: str, asked: Mapping[str, Any], out: Path | None) -> bool:
    """Whether it is a report for a file; then it is written, to `out` or to the screen."""
    signed = asked["signed"]
    if session.format == "text" and (out is not None or signed):
        option = "--out" if out is not None else "--signed"
        raise click.UsageError(f"{option} takes a report in --format html, pdf, csv or json.")
    if out is None and (signed or session.format == "pdf"):
        what = "A signed report" if signed else "A PDF"
        raise click.UsageError(f"{what} goes into a file: give --out FILE.")
    if session.format not in FILES and out is None:
        return False
    wanted = {**asked, "signed": "true" if signed else None, "format": session.format}
    parts = session.connect().parts(f"{PATH}/{kind}", wanted)
    if signed and session.format != "pdf" and out is not None:
        _write_both(session, out, b"".join(parts))
        return True
    content = _without_heads(parts) if session.format == "csv" else parts
    if out is None:
        for part in content:
            session.out.write(part.decode())
    else:
        write_over(out, content, PUBLIC)
        session.screen.note(f"Written to {out}.")
    return True


def _write_both(session: Session, out: Path, archive: bytes) -> None:
    """The report and its signature, as they came together."""
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            content, signature = (opened.read(name) for name in opened.namelist())
    except (ValueError, zipfile.BadZipFile):
        raise AnswerUnreadable("The service gave no signed report.") from None
    beside = out.with_name(out.name + SIGNATURE)
    write_over(out, content, PUBLIC)
    write_over(beside, signature, PUBLIC)
    session.screen.note(f"Written to {out}, its signature to {beside}.")


def _without_heads(parts: Iterable[bytes]) -> Iterator[bytes]:
    """The parts of a table as one: the first line of each names the columns."""
    for number, part in enumerate(parts):
        yield part.partition(b"\r\n")[2] if number else part
