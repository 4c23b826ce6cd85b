"""`ikewarden sa`: security associations, from logs, of this host, and as the service knows them from its gateways."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click

from ikewarden.cli.help import command
from ikewarden.cli.lazy import Lazy, LazyGroup
from ikewarden.cli.options import client_command, example, limit_option
from ikewarden.cli.screen import Column
from ikewarden.cli.session import Session, pass_session

_PATH: Final = "/v1/sas"


def _proof(entry: Mapping[str, Any]) -> str | None:
    """The peer's certificate, or the shared secrets, as far as they are known."""
    secrets = ", ".join(f"{each['name']} v{each['version']}" for each in entry["secrets"])
    return entry["remote_serial"] or entry["remote_certificate"] or secrets or None


_COLUMNS: Final = (
    Column("Gateway", "gateway"),
    Column("SA", "id", whole=True),
    Column("Tunnel", lambda entry: entry["tunnel"] or f"({entry['connection']})"),
    Column("State", "state", whole=True),
    Column("Remote", lambda entry: f"{entry['remote_id']} {entry['remote_address']}"),
    Column("Authenticated by", _proof),
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
        "list": Lazy(f"{__name__}:list_", "List the SAs of this host, of a dump, or of the fleet."),
    },
    epilog=example(
        "ikewarden sa analyze /var/log/charon.log",
        "ikewarden sa events /var/log/charon.log",
        "ikewarden sa list",
        "ikewarden sa list --service --gateway gw1.example.com",
    ),
)
def sa() -> None:
    """Security associations."""


@command(
    "list",
    epilog=example(
        "ikewarden sa list",
        "ip -s xfrm state list nokeys | ikewarden sa list -",
        "ikewarden sa list mmsa.txt --format json",
        "ikewarden sa list --service --tunnel gw1-gw2",
        "ikewarden sa list --service --certificate 4f2a… --format json",
    ),
)
@click.argument("files", nargs=-1, metavar="[FILE…]")
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
@click.option(
    "--socket",
    type=click.Path(path_type=Path),
    help="charon's VICI socket. [default: /var/run/charon.vici]",
)
@limit_option
@client_command()
@pass_session
def list_(session: Session, /, files: tuple[str, ...], service: bool, **given: Any) -> None:
    """List the SAs of this host, of a dump, or of the fleet.

    Of this host: what charon and pluto tell, and what the kernel has, put together. SAs whose keys were given by hand
    are named as such, and so are those that no daemon knows.

    Of FILEs, of one host: what `ip -s xfrm state`, `ipsec trafficstatus`, `ipsec whack --status`,
    `netsh advfirewall monitor show mmsa` and `qmsa`, or `Get-NetIPsecMainModeSA` and `Get-NetIPsecQuickModeSA` with
    `| ConvertTo-Json` printed; - for standard input. Keys in a dump are not kept, and not shown.

    With --service: those that gateways reported, with the certificates that authenticated them, as far as the agents
    know.
    """
    limit, socket = given.pop("limit"), given.pop("socket")
    if not service:
        if any(given.values()):
            raise click.UsageError("--gateway, --tunnel and --certificate go with --service.")
        if files and socket:
            raise click.UsageError("Give files, or the socket of the daemon that is to be asked.")
        _list_here(session, files, socket)
        return
    if files or socket:
        raise click.UsageError("--service asks the service, and reads no file and no socket.")
    found = session.connect().listing(_PATH, given, limit=limit)
    session.screen.entries(_COLUMNS, found.items, more=found.more, nothing="No such SA.")


def _list_here(session: Session, files: tuple[str, ...], socket: Path | None) -> None:
    from ike.sas import host, reading, text
    from ike.sas.association import document
    from ike.sas.errors import SasUnreachable

    now, screen = session.clock(), session.screen
    if files:
        associations, more = reading.of_files(files, now=now), {}
    else:
        listed = host.of_host(host.Here(vici=socket) if socket else host.Here(), now)
        if socket is not None and "charon" not in listed.asked:
            raise SasUnreachable(listed.silent.get("charon", f"No socket is at {socket}."))
        associations, more = listed.associations, {"asked": listed.asked, "silent": listed.silent}
        for reason in listed.silent.values():
            screen.note(reason)
        if not {"charon", "pluto"} & {*listed.asked, *listed.silent}:
            screen.note("No IKE daemon runs here: neither charon's nor pluto's socket is there.")
    if screen.is_json:
        screen.json({"items": [document(each) for each in associations], **more})
        return
    for line in text.lines(associations):
        screen.line(line)
