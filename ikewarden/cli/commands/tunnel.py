"""`ikewarden tunnel`: tunnels on record."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import click

from ikewarden.cli.help import command
from ikewarden.cli.lazy import Lazy, LazyGroup
from ikewarden.cli.options import FUTURE, client_command, example, limit_option, rfc3339
from ikewarden.cli.screen import Column
from ikewarden.cli.segments import segment
from ikewarden.cli.session import Session, pass_session

PATH: Final = "/v1/tunnels"
_COMMANDS: Final = "ikewarden.cli.commands"
_ROTATION: Final = f"{_COMMANDS}.rotation"
_SECRET: Final = f"{_COMMANDS}.secret"
_POLICY: Final = f"{_COMMANDS}.secret_policy"


def _end(side: str) -> Any:
    def name(entry: Mapping[str, Any]) -> str:
        end = entry[side]
        return str(end["gateway"] or f"{end['peer']['name']} (outside)")

    return name


def _key_since(entry: Mapping[str, Any]) -> str | None:
    """The day of the oldest of its keys, and the rotation that is under way."""
    days = [str(each["current_at"])[:10] for each in entry["secrets"] if each["current_at"]]
    states = [each["state"] for each in entry["secrets"] if each["state"]]
    return " ".join([*sorted(days)[:1], *states[:1]]) or None


def _is_by_psk(entry: Mapping[str, Any]) -> bool:
    """Whether its ends authenticate by a pre-shared key: certificates that end are those of the agents then."""
    if entry["definition"] is not None:
        return bool(entry["definition"]["authentication"] == "psk")
    return any(each["kind"] == "psk" for each in entry["secrets"])


def _dies(entry: Mapping[str, Any]) -> str | None:
    return None if _is_by_psk(entry) else entry["ends_at"] or "no certificate"


_COLUMNS: Final = (
    Column("Name", "name"),
    Column("Left", _end("left")),
    Column("Right", _end("right")),
    Column("Managed", "managed", spare=2),
    Column("SAs", "sas"),
    Column("Key since", _key_since, whole=True, spare=1),
    Column("Dies", _dies, whole=True),
)
_KEYS: Final = (
    Column("Shared secret", "kind", whole=True),
    Column("Version", "version", whole=True),
    Column("In use since", "current_at", whole=True),
    Column("Due", "due_at", whole=True),
    Column(
        "Rotation",
        lambda entry: entry["rotation_id"] and f"{entry['rotation_id']}: {entry['state']}",
    ),
    Column("Frozen", "frozen", whole=True),
)
_SAS: Final = (
    Column("SA", "id", whole=True),
    Column("Gateway", "gateway"),
    Column("State", "state", whole=True),
    Column("Remote", lambda entry: f"{entry['remote_id']} {entry['remote_address']}"),
    Column("Authenticated by", lambda entry: entry["remote_serial"] or entry["remote_certificate"]),
)


@click.group(
    cls=LazyGroup,
    lazy={
        "add": Lazy(f"{__name__}:add", "Put a tunnel on record."),
        "list": Lazy(f"{__name__}:list_", "Search tunnels, or those that die before a date."),
        "show": Lazy(f"{__name__}:show", "Show a tunnel, its ends and its SAs."),
        "remove": Lazy(f"{__name__}:remove", "Take a tunnel off the records."),
        "import": Lazy(f"{__name__}_import:import_", "Look at typed keys, and take them over."),
        "rotate": Lazy(f"{_ROTATION}:rotate", "Rotate a tunnel's shared secrets now."),
        "secrets": Lazy(
            f"{_SECRET}:secrets",
            "Show a tunnel's shared secrets: versions, ages, what each end has; never a value.",
        ),
        "secret-add": Lazy(f"{_SECRET}:add", "Put a tunnel's pre-shared key under management."),
        "secret-remove": Lazy(
            f"{_SECRET}:remove",
            "Take a tunnel's shared secret off: its gateways unload it, and its values are destroyed in the store.",
        ),
        "policy": Lazy(
            f"{_POLICY}:policy", "Show or change when and how a tunnel's shared secret is rotated."
        ),
        "freeze": Lazy(
            f"{_POLICY}:freeze",
            "Begin no rotation of a tunnel's shared secret until it is unfrozen.",
        ),
        "unfreeze": Lazy(
            f"{_POLICY}:unfreeze",
            "Let the rotations of a tunnel's shared secret begin again when they are due.",
        ),
        "handover": Lazy(
            f"{_SECRET}:handover", "Hand the key to whoever runs the outside peer of a tunnel."
        ),
    },
    epilog=example("ikewarden tunnel add gw1-gw2 gw1.example.com gw2.example.com"),
)
def tunnel() -> None:
    """Tunnels: who talks to whom."""


@command(
    "add",
    epilog=example(
        "ikewarden tunnel add gw1-gw2 gw1.example.com gw2.example.com",
        "ikewarden tunnel add to-bank gw1.example.com bank --peer-identity dns:vpn.bank.example",
        "ikewarden tunnel add gw1-gw2 gw1.example.com gw2.example.com --managed --start \\",
        "    --left-address 192.0.2.1 --right-address 192.0.2.2 \\",
        "    --left-network 10.1.0.0/16 --right-network 10.2.0.0/16",
        "ikewarden tunnel add gw1-gw3 gw1.example.com gw3.example.com --managed --psk --ppk preferred …",
    ),
)
@click.argument("name")
@click.argument("left")
@click.argument("right")
@click.option(
    "--peer-identity",
    "identities",
    multiple=True,
    metavar="NAME",
    help="RIGHT is an outside peer with this IKE identity; more than once for several.",
)
@click.option(
    "--peer-authority", metavar="NAME", help="Which authority of ours certifies the outside peer."
)
@click.option("--managed", is_flag=True, help="Keep the connection in the daemons of its gateways.")
@click.option("--left-address", multiple=True, metavar="ADDRESS", help="Where the left end is.")
@click.option("--right-address", multiple=True, metavar="ADDRESS", help="Where the right end is.")
@click.option("--left-network", multiple=True, metavar="CIDR", help="What is behind the left end.")
@click.option("--right-network", multiple=True, metavar="CIDR", help="What is behind the right.")
@click.option("--proposal", multiple=True, metavar="IKE", help="IKE proposals, the best first.")
@click.option("--esp-proposal", multiple=True, metavar="ESP", help="ESP proposals, likewise.")
@click.option("--start", is_flag=True, help="The left end starts it.")
@click.option(
    "--revocation",
    type=click.Choice(["strict", "ifuri", "relaxed"]),
    default="strict",
    show_default=True,
    help="How the daemons check that a peer's certificate is not revoked.",
)
@click.option(
    "--psk", is_flag=True, help="Authenticate by a shared key that the service makes and rotates."
)
@click.option(
    "--ike-version", type=click.Choice(["1", "2"]), default="2", show_default=True, help="Of IKE."
)
@click.option(
    "--ppk",
    type=click.Choice(["none", "preferred", "required"]),
    default="none",
    show_default=True,
    help="A post-quantum preshared key (RFC 8784) that the service makes and rotates.",
)
@client_command()
@pass_session
def add(session: Session, /, name: str, left: str, right: str, **given: Any) -> None:
    """Put a tunnel on record.

    LEFT and RIGHT are gateways; with --peer-identity, RIGHT is an outside peer's name. A managed tunnel is loaded into
    the daemons of its gateways under its name.
    """
    from ikewarden.cli.requesting import typed

    end: dict[str, Any] = {"gateway": right}
    if given["identities"]:
        identities = [str(typed(each)) for each in given["identities"]]
        peer = {"name": right, "identities": identities, "authority": given["peer_authority"]}
        end = {"peer": peer}
    elif given["peer_authority"]:
        raise click.UsageError("--peer-authority goes with --peer-identity.")
    body = {
        "name": name,
        "left": {"gateway": left},
        "right": end,
        "managed": given["managed"],
        "definition": _definition(given),
    }
    session.screen.document(session.connect().post(PATH, body))


def _definition(given: Mapping[str, Any]) -> dict[str, Any] | None:
    needed = ("left_address", "right_address", "left_network", "right_network")
    there: Sequence[str] = [name for name in needed if given[name]]
    if not given["managed"]:
        if there or any(given[each] for each in ("start", "proposal", "esp_proposal")):
            raise click.UsageError("Addresses, networks and proposals are for --managed.")
        if given["psk"] or given["ppk"] != "none" or given["ike_version"] != "2":
            raise click.UsageError(
                "--psk, --ppk and --ike-version are for --managed. `tunnel secret-add` takes care of the key of a "
                "connection that is your own."
            )
        return None
    if missing := [name for name in needed if name not in there]:
        raise click.UsageError(f"--managed needs --{missing[0].replace('_', '-')}.")
    return {
        "left_addresses": list(given["left_address"]),
        "right_addresses": list(given["right_address"]),
        "proposals": list(given["proposal"]),
        "revocation": given["revocation"],
        "authentication": "psk" if given["psk"] else "certificate",
        "ike_version": int(given["ike_version"]),
        "ppk": given["ppk"],
        "children": [
            {
                "name": "net",
                "left_networks": list(given["left_network"]),
                "right_networks": list(given["right_network"]),
                "esp_proposals": list(given["esp_proposal"]),
                "start_action": "start" if given["start"] else "none",
            }
        ],
    }


@command(
    "list",
    epilog=example(
        "ikewarden tunnel list --expires-before 2027-03-01",
        "ikewarden tunnel list --gateway gw1.example.com",
    ),
)
@click.argument("query", required=False)
@click.option("--gateway", metavar="NAME", help="Only those of this gateway.")
@click.option(
    "--expires-before",
    type=FUTURE,
    metavar="TIME",
    help="Only those that die before: RFC 3339, a date, or from now: 14d.",
)
@limit_option
@client_command()
@pass_session
def list_(
    session: Session,
    query: str | None,
    gateway: str | None,
    expires_before: datetime | None,
    limit: int,
) -> None:
    """Search tunnels, or those that die before a date.

    QUERY is part of a name, or of an outside peer. A tunnel dies when an end has no valid certificate left. One
    with a pre-shared key does not; --expires-before, and `ends_at` in JSON, go by the certificates of its agents.
    """
    asked = {"q": query, "gateway": gateway, "expires_before": rfc3339(expires_before)}
    found = session.connect().listing(PATH, asked, limit=limit)
    nothing = "No such tunnel." if any(asked.values()) else "No tunnel is on record yet."
    session.screen.entries(_COLUMNS, found.items, more=found.more, nothing=nothing)


@command("show", epilog=example("ikewarden tunnel show gw1-gw2"))
@click.argument("name")
@client_command()
@pass_session
def show(session: Session, name: str) -> None:
    """Show a tunnel, its ends and its SAs."""
    found = session.connect().get(f"{PATH}/{segment(name)}")
    screen = session.screen
    if screen.is_json:
        screen.json(found)
        return
    screen.document(_fields(found))
    if found["secrets"]:
        screen.line()
        screen.table(_KEYS, found["secrets"])
    if found["live"]:
        screen.line()
        screen.table(_SAS, found["live"])


def _fields(found: Mapping[str, Any]) -> dict[str, Any]:
    """What is shown of it in lines; no end of a certificate where none authenticates."""
    fields = {key: value for key, value in found.items() if key not in {"live", "secrets"}}
    if _is_by_psk(found):
        fields |= {side: {**found[side], "ends_at": None} for side in ("left", "right")}
        fields["ends_at"] = None
    return fields


@command("remove", epilog=example("ikewarden tunnel remove gw1-gw2"))
@click.argument("name")
@client_command()
@pass_session
def remove(session: Session, name: str) -> None:
    """Take a tunnel off the records.

    The daemons of its gateways unload a managed one and end its SAs; another one is left alone.
    """
    session.connect().delete(f"{PATH}/{segment(name)}")
    session.screen.note(f"Removed the tunnel {name}.")
    if session.screen.is_json:
        session.screen.json({"removed": name})
