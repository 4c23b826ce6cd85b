"""`ikewarden audit-log head|key|export`: what is kept elsewhere, so that the log can be checked against it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click

from ikewarden.cli.help import command
from ikewarden.cli.options import client_command, example
from ikewarden.cli.session import Session, pass_session

_HEAD: Final = "/v1/audit-log/head"
_ENTRIES: Final = "/v1/audit-log/entries"
_PAGE: Final = 500


@command(
    epilog=example(
        "ikewarden audit-log head > head-$(date +%F)", "ikewarden audit-log head --format json"
    )
)
@client_command()
@pass_session
def head(session: Session) -> None:
    """Print the newest signed head: keep it elsewhere.

    It says how many rows there are and what their root is. `audit-log verify --head` compares the log with it.
    """
    found = session.connect().get(_HEAD)
    if session.screen.is_json:
        session.screen.json(found)
    else:
        session.screen.verbatim(_text(found, "note"))


@command(epilog=example("ikewarden audit-log key > audit-log.pub"))
@client_command()
@pass_session
def key(session: Session) -> None:
    """Print the public key that heads are signed with: keep it elsewhere.

    It never changes by itself. `audit-log verify --key` takes it.
    """
    found = session.connect().get(_HEAD)
    line = _text(found, "key")
    if session.screen.is_json:
        session.screen.json({"key": line})
    else:
        session.screen.verbatim(line)


@command(
    epilog=example(
        "ikewarden audit-log export audit.jsonl",
        "ikewarden audit-log verify audit.jsonl --key audit-log.pub",
    )
)
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@client_command()
@pass_session
def export(session: Session, file: Path) -> None:
    """Write all rows and the signed head into a file.

    One JSON object a line, the head in the last one. The file (mode 0600) is written over if it is there.
    """
    from ikewarden.cli.files import SECRET, write_over

    client = session.connect()
    found = client.get(_HEAD)
    size = int(found["size"])
    write_over(file, _lines(client, found), SECRET)
    if session.screen.is_json:
        session.screen.json({"file": str(file), "size": size, "root": found["root"]})
    else:
        session.screen.line(f"{size} rows and their signed head are in {file}.")


def _lines(client: Any, found: dict[str, Any]) -> Iterator[bytes]:
    """The lines of an export, with their newlines."""
    from ikewarden.client import AnswerUnreadable
    from pki.tlog.export import last_line

    size, cursor, at = int(found["size"]), None, 0
    while at < size:
        page = client.get(_ENTRIES, {"limit": min(_PAGE, size - at), "cursor": cursor})
        for each in page["items"]:
            if each["position"] != at or "\n" in each["entry"]:
                raise AnswerUnreadable("The service did not give the rows in their order.")
            at += 1
            yield each["entry"].encode() + b"\n"
        cursor = page["next_cursor"]
        if cursor is None and at < size:
            raise AnswerUnreadable("The service gave fewer rows than it has signed.")
    yield last_line(_text(found, "note")) + b"\n"


def _text(found: dict[str, Any], name: str) -> str:
    """A member as text that a terminal may see: lines of printable characters."""
    text = str(found[name])
    if not all(line.isprintable() for line in text.split("\n")):
        from ikewarden.client import AnswerUnreadable

        raise AnswerUnreadable("What the service gave is no signed head.")
    return text
