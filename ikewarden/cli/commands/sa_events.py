"""`ikewarden sa events`: what a log of an IKE daemon says, one event a line. No server is asked."""

import json
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Final

import click

from ikewarden.cli.help import command
from ikewarden.cli.options import example
from ikewarden.cli.session import Session, pass_session

if TYPE_CHECKING:
    from ike.events.event import SaEvent
    from ike.events.reader import Reader

_PAUSE: Final = 0.25  # seconds between two looks at a log that is followed


@command(
    epilog=example(
        "ikewarden sa events /var/log/charon.log",
        "zcat /var/log/syslog.2.gz | ikewarden sa events - --format jsonl",
        "journalctl -u strongswan -o json | ikewarden sa events -",
        "ikewarden sa events /var/log/charon.log --follow --format text",
    ),
)
@click.argument("file", type=click.Path(allow_dash=True), metavar="FILE|-")
@click.option("--follow", is_flag=True, help="Go on with what is written from now on.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["jsonl", "text"]),
    default="jsonl",
    show_default=True,
    help="jsonl: a JSON object a line. text: the same for people.",
)
@pass_session
def events(session: Session, file: str, follow: bool, form: str) -> None:
    """Print what the log of an IKE daemon says of SAs.

    One object for each event: the number of its line, its name, and what that very line shows. Reads the logs of
    strongSwan, Libreswan, racoon, RouterOS, Cisco, Juniper, FortiGate and Windows, from syslog, journald, containers
    and files, also compressed with gzip, bzip2, xz or zstd.
    """
    from ike.events.reader import Reader

    def fresh() -> Reader:
        return Reader(session.clock().timestamp())

    write = _write_text if form == "text" else _write_json
    found = _grown(Path(file), fresh) if follow and file != "-" else _read(file, fresh())
    for some in found:
        for event in some:
            write(session, event)
        if follow or file == "-":
            session.out.flush()


def _read(file: str, reader: "Reader") -> "Iterator[list[SaEvent]]":
    from ike.events import files

    for block in files.stream(sys.stdin.buffer) if file == "-" else files.blocks(Path(file)):
        yield reader.feed(block)
    yield reader.close()


def _grown(path: Path, fresh: Callable[[], "Reader"]) -> "Iterator[list[SaEvent]]":
    from ike.events import files

    reader = fresh()
    for number, piece in enumerate(files.follow(path, lambda: Event().wait(_PAUSE))):
        if piece.fresh and number:
            yield reader.close()
            reader = fresh()
        yield reader.feed(piece.data) if piece.data else reader.settle()


def _write_json(session: Session, event: "SaEvent") -> None:
    from ike.events.event import EVENTS, printed

    if event.kind in EVENTS:
        # ASCII only: then no character of an identity acts in a terminal.
        session.out.write(json.dumps(printed(event, _at(event)), ensure_ascii=True) + "\n")


def _write_text(session: Session, event: "SaEvent") -> None:
    from ike.events.event import EVENTS, printed

    if event.kind in EVENTS:
        shown = printed(event)
        number, kind = shown.pop("line"), shown.pop("event")
        rest = "  ".join(f"{name}={value}" for name, value in shown.items())
        session.screen.line(f"{_at(event) or '-':20}  {number:>8}  {kind:18}  {rest}".rstrip())


def _at(event: "SaEvent") -> str | None:
    if event.time is None:
        return None
    moment = datetime.fromtimestamp(event.time, UTC)
    return moment.isoformat(timespec="milliseconds" if moment.microsecond else "seconds").replace(
        "+00:00", "Z"
    )
