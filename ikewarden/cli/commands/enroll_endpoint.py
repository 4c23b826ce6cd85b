"""`ikewarden enroll-endpoint`: by which doors devices ask for certificates."""

from collections.abc import Iterator, Mapping
from typing import Any

import click

from ikewarden.cli.help import command
from ikewarden.cli.lazy import Lazy, LazyGroup
from ikewarden.cli.options import client_command, example
from ikewarden.cli.screen import Column
from ikewarden.cli.session import Session, pass_session

_DOORS = ("est", "scep", "cmp", "acme")


def _by_door(entry: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """A line for each door that is open: what proves who asks is another thing at each."""
    for name in _DOORS:
        door = entry[name]
        if door is not None:
            yield {**entry, "door": name.upper(), "wants": _wants(door), "url": door["url"]}


def _wants(door: Mapping[str, Any]) -> list[str]:
    account = ["account of a token"] * door.get("external_account", False)
    keys = ["makes keys"] * door.get("server_keys", False)
    old = ["3DES and SHA-1 too"] * door.get("legacy", False)
    return [*door.get("authentication", ()), *account, *door.get("challenges", ()), *keys, *old]


_COLUMNS = (
    Column("Endpoint", "name", whole=True),
    Column("Profile", "profile", whole=True),
    Column("Authority", "authority", spare=2),
    Column("Approval", "approval", spare=1),
    Column("Door", "door", whole=True),
    Column("Wants", "wants"),
    Column("URL", "url", whole=True),
)


@click.group(
    cls=LazyGroup,
    lazy={
        "list": Lazy(f"{__name__}:list_", "List enrollment endpoints, with the URL of each door.")
    },
    epilog=example("ikewarden enroll-endpoint list"),
)
def enroll_endpoint() -> None:
    """Enrollment endpoints: who, by which door, gets what."""


@command("list", epilog=example("ikewarden enroll-endpoint list"))
@client_command()
@pass_session
def list_(session: Session) -> None:
    """List enrollment endpoints, with the URL of each door.

    They are files: [enrollment] endpoints_directory says where.
    """
    found = session.connect().get("/v1/enroll-endpoints")["items"]
    lines = found if session.screen.is_json else [each for one in found for each in _by_door(one)]
    session.screen.entries(_COLUMNS, lines, nothing="There is no endpoint.")
