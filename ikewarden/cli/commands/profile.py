"""`ikewarden profile`: what certificates contain."""

import json
import sys
import tomllib
from pathlib import Path
from typing import Any

import click

from core.errors import InvalidInput
from ikewarden.cli.files import named
from ikewarden.cli.help import command
from ikewarden.cli.lazy import Lazy, LazyGroup
from ikewarden.cli.options import client_command, example
from ikewarden.cli.screen import Column
from ikewarden.cli.session import Session, pass_session

_COLUMNS = (
    Column("Name", "name", whole=True),
    Column("Lifetime", "lifetime"),
    Column(
        "Must pass", lambda entry: [d for d, level in entry["lint"].items() if level == "block"]
    ),
    Column("Description", "description"),
)
_LONGEST = 65536


class ProfileUnreadable(InvalidInput):
    """A file that holds no profile."""

    code = "profile_unreadable"


@click.group(
    cls=LazyGroup,
    lazy={
        "list": Lazy(f"{__name__}:list_", "List profiles."),
        "show": Lazy(f"{__name__}:show", "Show one profile with every field."),
        "create": Lazy(
            f"{__name__}:create", "Add a profile from a file; it never changes afterwards."
        ),
    },
    epilog=example("ikewarden profile list"),
)
def profile() -> None:
    """Profiles: what certificates contain."""


@command("list", epilog=example("ikewarden profile list"))
@click.option("--all", "internal", is_flag=True, help="Also those of the service itself.")
@client_command()
@pass_session
def list_(session: Session, internal: bool) -> None:
    """List profiles."""
    found = session.connect().get("/v1/profiles")
    chosen = [each for each in found["items"] if internal or not each["internal"]]
    columns = (*_COLUMNS, Column("Internal", "internal")) if internal else _COLUMNS
    session.screen.entries(columns, chosen, nothing="There is no profile.")


@command("show", epilog=example("ikewarden profile show gateway"))
@click.argument("name")
@client_command()
@pass_session
def show(session: Session, name: str) -> None:
    """Show one profile with every field."""
    from ikewarden.cli.segments import segment

    found = session.connect().get(f"/v1/profiles/{segment(name)}")
    if not session.screen.is_json:
        from pki.x509.keys import algorithm_in_words

        found["key_algorithms"] = [algorithm_in_words(each) for each in found["key_algorithms"]]
    session.screen.document(found)


@command(
    "create",
    epilog=example("ikewarden profile create branch-gateway.toml"),
)
@click.argument(
    "file", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)
)
@client_command()
@pass_session
def create(session: Session, file: Path) -> None:
    """Add a profile from a file; it never changes afterwards.

    The file (- for standard input) is TOML, or JSON as `profile show --format json` prints it.
    """
    document = _read(file)
    if document.get("internal") is False:  # it is shown, and not to be chosen
        del document["internal"]
    made = session.connect().post("/v1/profiles", document)
    session.screen.note(f"Added the profile {made['name']}.")
    session.screen.document(made)


def _read(file: Path) -> dict[str, Any]:
    if str(file) == "-":
        content = sys.stdin.buffer.read(_LONGEST + 1)
    else:
        with file.open("rb") as opened:
            content = opened.read(_LONGEST + 1)
    try:
        text = content[:_LONGEST].decode()
        document = json.loads(text) if text.lstrip().startswith("{") else tomllib.loads(text)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict) or len(content) > _LONGEST:
        raise ProfileUnreadable(
            f"{named(file)} is neither TOML nor JSON of a profile.",
            next_step="Begin with the output of `ikewarden profile show gateway --format json`.",
        )
    return document
