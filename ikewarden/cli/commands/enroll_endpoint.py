"""`ikewarden enroll-endpoint`: by which doors devices ask for certificates."""

from collections.abc import Mapping
from typing import Any

import click

from ikewarden.cli.help import command
from ikewarden.cli.lazy import Lazy, LazyGroup
from ikewarden.cli.options import client_command, example
from ikewarden.cli.screen import Column
from ikewarden.cli.session import Session, pass_session


def _wants(entry: Mapping[str, Any]) -> list[str]:
    est, scep, acme, cmp = (entry[door] or {} for door in ("est", "scep", "acme", "cmp"))
    ways = dict.fromkeys(way for door in (est, scep, cmp) for way in door.get("authentication", ()))
    keys = ["makes keys"] * est.get("server_keys", False)
    old = ["legacy SCEP"] * scep.get("legacy", False)
    return [*ways, *keys, *old, *acme.get("challenges", ())]


_COLUMNS = (
    Column("Endpoint", "name", whole=True),
    Column("Profile", "profile", whole=True),
    Column("Authority", "authority"),
    Column("Approval", "approval"),
    Column("Wants", _wants),
    Column("EST", lambda entry: entry["est"] and entry["est"]["url"], spare=1),
    Column("SCEP", lambda entry: entry["scep"] and entry["scep"]["url"], spare=1),
    Column("CMP", lambda entry: entry["cmp"] and entry["cmp"]["url"], spare=1),
    Column("ACME", lambda entry: entry["acme"] and entry["acme"]["url"], spare=2),
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
    found = session.connect().get("/v1/enroll-endpoints")
    session.screen.entries(_COLUMNS, found["items"], nothing="There is no endpoint.")
