"""`ikewarden sa`: security associations, from logs and as the service knows them from its gateways."""

from typing import Final

import click

from ikewarden.cli.help import command
from ikewarden.cli.lazy import Lazy, LazyGroup
from ikewarden.cli.options import client_command, example, limit_option
from ikewarden.cli.screen import Column
from ikewarden.cli.session import Session, pass_session

_PATH: Final = "/v1/sas"
_COLUMNS: Final = (
    Column("Gateway", "gateway"),
    Column("SA", "id", whole=True),
    Column("Tunnel", lambda entry: entry["tunnel"] or f"({entry['connection']})"),
    Column("State", "state", whole=True),
    Column("Remote", lambda entry: f"{entry['remote_id']} {entry['remote_address']}"),
    Column("Authenticated by", lambda entry: entry["remote_serial"] or entry["remote_certificate"]),
    Column("Since", "established_at", whole=True),
)


@click.group(
    cls=LazyGroup,
    lazy={
        "analyze": Lazy(
            f"{__name__}_analyze:analyze", "Find abnormal renegotiation in logs of IKE daemons."
        ),
        "events": Lazy(
            f"{__name__}_events:events", "Print what the log of an IKE daemon says of SAs."
        ),
        "list": Lazy(f"{__name__}:list_", "List the SAs that gateways reported."),
    },
    epilog=example(
        "ikewarden sa analyze /var/log/charon.log",
        "ikewarden sa events /var/log/charon.log",
        "ikewarden sa list --service --gateway gw1.example.com",
    ),
)
def sa() -> None:
    """Security associations."""


@command(
    "list",
    epilog=example(
        "ikewarden sa list --service --tunnel gw1-gw2",
        "ikewarden sa list --service --certificate 4f2a… --format json",
    ),
)
@click.option(
    "--service",
    is_flag=True,
    help="Those that the gateways of the fleet reported to the service.",
)
@click.option("--gateway", metavar="NAME", help="Only those of this gateway.")
@click.option("--tunnel", metavar="NAME", help="Only those of this tunnel.")
@click.option(
    "--certificate", metavar="SERIAL", help="Only those under this serial number or fingerprint."
)
@limit_option
@client_command()
@pass_session
def list_(
    session: Session,
    service: bool,
    gateway: str | None,
    tunnel: str | None,
    certificate: str | None,
    limit: int,
) -> None:
    """List the SAs that gateways reported.

    With the certificates that authenticated them, as far as the agents know.
    """
    if not service:
        raise click.UsageError("Say --service for the SAs of the fleet.")
    asked = {"gateway": gateway, "tunnel": tunnel, "certificate": certificate}
    found = session.connect().listing(_PATH, asked, limit=limit)
    session.screen.entries(_COLUMNS, found.items, more=found.more, nothing="No such SA.")
