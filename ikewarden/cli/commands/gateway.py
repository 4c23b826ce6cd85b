"""`ikewarden gateway`: gateways on record, and the one line with which each enrolls."""

import shlex
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import click

from core.secret import Secret
from ikewarden.cli.commands.cert_revoke import REASONS
from ikewarden.cli.files import SECRET, FileExists, write_new
from ikewarden.cli.help import command
from ikewarden.cli.lazy import Lazy, LazyGroup
from ikewarden.cli.options import (
    FUTURE,
    approval_option,
    client_command,
    example,
    limit_option,
    rfc3339,
)
from ikewarden.cli.screen import Column, Screen, shown
from ikewarden.cli.segments import segment
from ikewarden.cli.session import Session, pass_session
from ikewarden.client import Client

PATH: Final = "/v1/gateways"


def _daemon(entry: Mapping[str, Any]) -> str | None:
    named: str | None = entry["daemon"]
    applied = entry["applied"]
    if applied is None:
        return named
    return f"{applied['daemon']['kind']} {applied['daemon']['version']}".strip() or named


def _versions(entry: Mapping[str, Any]) -> str:
    applied = entry["applied"]
    return f"{applied['version'] if applied else 0} of {entry['version']}"


def _last_seen(entry: Mapping[str, Any]) -> str | None:
    """Of a device without an agent, when its events were last heard."""
    seen: str | None = entry["last_seen_at"] or entry.get("last_heard_at")
    return seen


_COLUMNS: Final = (
    Column("Name", "name"),
    Column("Status", "status", whole=True),
    Column("Daemon", _daemon),
    Column("State", _versions, whole=True),
    Column("Drift", lambda entry: entry["drifting"] or None),
    Column("Expires", lambda entry: str(entry["ends_at"] or "-")[:10], whole=True),
    Column("Last seen", _last_seen, whole=True),
)
_TUNNELS: Final = (
    Column("Tunnel", "name"),
    Column("Peer", "peer"),
    Column("Managed", "managed"),
    Column("SAs", "sas"),
    Column("Dies", "ends_at", whole=True),
)
_DRIFT: Final = (
    Column("Drift", "problem", whole=True),
    Column("Kind", "kind", whole=True),
    Column("What", "what"),
)
_PENDING: Final = (
    Column("Pending", "kind", whole=True),
    Column("Of", lambda entry: entry["serial"] or entry["connection"]),
    Column("Told", "told"),
)
_hours = click.option(
    "--hours",
    type=click.IntRange(1, 720),
    metavar="N",
    default=24,
    show_default=True,
    help="How long the enrollment may be used.",
)
_in_token = click.option(
    "--in-token",
    is_flag=True,
    help="Its key will be in a PKCS#11 token (`agent enroll --key pkcs11:…`): the line is for two certificates.",
)
_out = click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the enrollment line to this new file (mode 0600) in place of the screen.",
)


@click.group(
    cls=LazyGroup,
    lazy={
        "add": Lazy(
            f"{__name__}:add", "Register a gateway, and get the line with which it enrolls."
        ),
        "list": Lazy(f"{__name__}:list_", "Search gateways."),
        "show": Lazy(f"{__name__}:show", "Show a gateway, its tunnels, and where it drifts."),
        "enrollment": Lazy(
            f"{__name__}:enrollment", "Make a new enrollment line; one made before ends."
        ),
        "renew": Lazy(f"{__name__}:renew", "Have a gateway renew its certificate now."),
        "reauthenticate": Lazy(
            f"{__name__}:reauthenticate", "Have a gateway authenticate a connection afresh."
        ),
        "remove": Lazy(f"{__name__}:remove", "Take a gateway off the records."),
    },
    epilog=example("ikewarden gateway add gw1.example.com --identity ip:192.0.2.1"),
)
def gateway() -> None:
    """Gateways: register, enroll, look, remove."""


@command(
    "add",
    epilog=example(
        "ikewarden gateway add gw1.example.com",
        "ikewarden gateway add branch-7 --identity dns:vpn.branch7.example --identity ip:192.0.2.7",
    ),
)
@click.argument("name")
@click.option(
    "--identity",
    "identities",
    multiple=True,
    metavar="NAME",
    help="An IKE identity that it may prove: dns:…, ip:…, email:…, dn:…; more than once for several. "
    "[default: its name]",
)
@click.option(
    "--profile", metavar="NAME", default="gateway", show_default=True, help="Its profile."
)
@click.option("--authority", metavar="NAME", help="Who certifies it. [default: the service's]")
@click.option(
    "--daemon",
    type=click.Choice(["strongswan", "libreswan", "windows", "files"]),
    help="Its IKE daemon, if that is known.",
)
@_hours
@_in_token
@_out
@client_command()
@pass_session
def add(session: Session, /, name: str, out: Path | None, **given: Any) -> None:
    """Register a gateway, and get the line with which it enrolls.

    The line holds the service's URL, the fingerprint of its root, and a token for its certificate: it is a secret, and
    shown this once. `gateway enrollment` makes another one.
    """
    from ikewarden.cli.requesting import typed

    _check(out)
    body = {
        "name": name,
        "identities": [str(typed(each)) for each in given["identities"] or (name,)],
        "profile": given["profile"],
        "authority": given["authority"],
        "daemon": given["daemon"],
    }
    client = session.connect()
    made = client.post(PATH, body)
    session.screen.note(f"Registered the gateway {made['name']}.")
    _enroll(session.screen, client, made, _asked(**given), out, {"gateway": made})


@command(
    "enrollment", epilog=example("ikewarden gateway enrollment gw1.example.com --out gw1.enroll")
)
@click.argument("name")
@_hours
@_in_token
@_out
@client_command()
@pass_session
def enrollment(session: Session, /, name: str, out: Path | None, **given: Any) -> None:
    """Make a new enrollment line; one made before ends."""
    _check(out)
    client = session.connect()
    _enroll(session.screen, client, client.get(_at(name)), _asked(**given), out, {})


def _asked(*, hours: int, in_token: bool, **_: Any) -> dict[str, Any]:
    return {"hours": hours, **({"key": "token"} if in_token else {})}


def _check(out: Path | None) -> None:
    if out is not None and out.exists():
        raise FileExists(out)


def _enroll(
    screen: Screen,
    client: Client,
    gateway: Mapping[str, Any],
    asked: Mapping[str, Any],
    out: Path | None,
    more: Mapping[str, Any],
) -> None:
    made = client.post(_at(gateway["name"], "/enrollment"), dict(asked))
    line, until = Secret(made["enrollment"]), made["expires_at"]
    given = {"enrollment": made["enrollment"], "enrollment_file": None}
    order = "ikewarden agent enroll" + (" --key pkcs11:…" if asked.get("key") else "")
    place = "On the gateway, as root, give"
    if gateway["daemon"] == "windows":
        order = "ikewarden agent windows-bundle --out Ikewarden"
        place = "To make the module for the gateway, give"
    if out is not None:
        write_new(out, line.reveal() + b"\n", SECRET)
        given = {"enrollment": None, "enrollment_file": str(out)}
        order += f" --enrollment-file {shlex.quote(out.name)}"
    if screen.is_json:
        screen.json({**more, **given, "expires_at": until, "command": order})
        return
    if out is not None:
        screen.note(f"The enrollment line is in {out}. {place} this command where that file is:")
        screen.line(f"  {order}")
    else:
        screen.note(f"{place} this command; then paste the line below it:")
        screen.note(f"  {order}")
        screen.line(line.reveal().decode())
    screen.note(f"It can be used once, until {shown(until)}.")


@command(
    "list",
    epilog=example(
        "ikewarden gateway list --status unreachable",
        "ikewarden gateway list --expires-before 14d --format json",
    ),
)
@click.argument("query", required=False)
@click.option(
    "--status",
    type=click.Choice(["new", "no_certificate", "ok", "behind", "unreachable"]),
    help="Only these.",
)
@click.option("--drift", is_flag=True, help="Only those whose daemon does not hold what it should.")
@click.option(
    "--expires-before",
    type=FUTURE,
    metavar="TIME",
    help="Whose last valid certificate ends before: RFC 3339, a date, or from now: 14d.",
)
@limit_option
@client_command()
@pass_session
def list_(
    session: Session,
    query: str | None,
    status: str | None,
    drift: bool,
    expires_before: datetime | None,
    limit: int,
) -> None:
    """Search gateways.

    QUERY is part of a name or identity.
    """
    asked = {
        "q": query,
        "status": status,
        "drift": "true" if drift else None,
        "expires_before": rfc3339(expires_before),
    }
    found = session.connect().listing(PATH, asked, limit=limit)
    nothing = "No such gateway." if any(asked.values()) else "No gateway is on record yet."
    session.screen.entries(_COLUMNS, found.items, more=found.more, nothing=nothing)


@command("show", epilog=example("ikewarden gateway show gw1.example.com"))
@click.argument("name")
@client_command()
@pass_session
def show(session: Session, name: str) -> None:
    """Show a gateway, its tunnels, and where it drifts.

    Drift: `not_loaded` is desired and not in the daemon, `not_desired` the other way round, `outdated` an old list,
    `in_use` a certificate that SAs or the daemon's cache still use.
    """
    found = session.connect().get(_at(name))
    screen = session.screen
    if screen.is_json:
        screen.json(found)
        return
    lists = ("tunnels", "drift", "commands")
    screen.document({key: value for key, value in found.items() if key not in lists})
    for columns, key in ((_TUNNELS, "tunnels"), (_DRIFT, "drift"), (_PENDING, "commands")):
        if found[key]:
            screen.line()
            screen.table(columns, found[key])


@command("renew", epilog=example("ikewarden gateway renew gw1.example.com"))
@click.argument("name")
@client_command()
@pass_session
def renew(session: Session, name: str) -> None:
    """Have a gateway renew its certificate now.

    Its agent does it as soon as it hears of it, with a new key, and without losing an SA.
    """
    session.screen.document(session.connect().post(_at(name, "/commands"), {"kind": "renew"}))


@command(
    "reauthenticate", epilog=example("ikewarden gateway reauthenticate gw1.example.com gw1-gw2")
)
@click.argument("name")
@click.argument("connection")
@client_command()
@pass_session
def reauthenticate(session: Session, name: str, connection: str) -> None:
    """Have a gateway authenticate a connection afresh."""
    body = {"kind": "reauthenticate", "connection": connection}
    session.screen.document(session.connect().post(_at(name, "/commands"), body))


@command(
    "remove",
    epilog=example("ikewarden gateway remove gw1.example.com --revoke cessationOfOperation"),
)
@click.argument("name")
@click.option(
    "--revoke",
    type=click.Choice(REASONS, case_sensitive=False),
    metavar=f"[{'|'.join(REASONS)}]",
    help="Revoke its valid certificates too, for this reason.",
)
@click.option(
    "--yes-i-cut",
    type=click.IntRange(min=0),
    metavar="N",
    help="End up to N tunnels, where that is more than the service ends unasked.",
)
@approval_option
@client_command()
@pass_session
def remove(session: Session, name: str, revoke: str | None, yes_i_cut: int | None) -> None:
    """Take a gateway off the records.

    Its tunnels must be gone. Its certificates stay valid, if you do not say otherwise.
    """
    session.connect().delete(_at(name), {"revoke": revoke, "cut_confirmed": yes_i_cut})
    session.screen.note(f"Removed the gateway {name}.")
    if session.screen.is_json:
        session.screen.json({"removed": name})


def _at(name: str, more: str = "") -> str:
    return f"{PATH}/{segment(name)}{more}"
