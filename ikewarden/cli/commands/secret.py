"""`ikewarden tunnel secrets` and `secret-add`: shared secrets under management; `ikewarden secret claim`."""

import base64
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click

from core.secret import Secret
from ikewarden.cli import keyfiles
from ikewarden.cli.commands.secret_policy import (
    at,
    kept,
    kind_of,
    kind_option,
    own_kind_option,
    policy_of,
    policy_options,
)
from ikewarden.cli.commands.tunnel import PATH
from ikewarden.cli.files import SECRET, FileExists, write_new
from ikewarden.cli.help import command
from ikewarden.cli.lazy import Lazy, LazyGroup
from ikewarden.cli.options import client_command, example, format_option
from ikewarden.cli.screen import Column, Screen, shown
from ikewarden.cli.segments import segment
from ikewarden.cli.session import Session, pass_session

CLAIM: Final = "/v1/handovers/claim"
_VERSIONS: Final = (
    Column("Version", "version", whole=True),
    Column("State", "state", whole=True),
    Column("Source", "source", whole=True),
    Column("Fingerprint", "fingerprint", whole=True),
    Column("PPK_ID", "ppk_id"),
    Column("In use since", "current_at", whole=True),
    Column("Destroyed", "destroyed_at", whole=True),
)
_ENDS: Final = (
    Column("End", lambda entry: entry["gateway"] or "outside peer"),
    Column("Should have", "keys", whole=True),
    Column("Loaded", "loaded", whole=True),
    Column("Proven", lambda entry: (entry["authenticated"] or {}).get("version"), whole=True),
    Column("Foreign", lambda entry: [each["where"] for each in entry["foreign"]]),
    Column("Said", "reported_at", whole=True),
    Column("Error", "error"),
)


@click.group(
    cls=LazyGroup,
    lazy={"claim": Lazy(f"{__name__}:claim", "Get a key that was handed over to you, once.")},
    epilog=example("ikewarden secret claim https://keys.example.com:8443 --ca-file root-ca.pem"),
)
def secret() -> None:
    """Shared secrets that were handed over to you."""


@command("secrets", epilog=example("ikewarden tunnel secrets gw1-gw2"))
@click.argument("name")
@client_command()
@pass_session
def secrets(session: Session, name: str) -> None:
    """Show a tunnel's shared secrets: versions, ages, what each end has; never a value.

    A fingerprint is keyed: the same value has the same one, and nobody can guess a value from it.
    """
    found = session.connect().get(f"{PATH}/{segment(name)}/secrets")
    screen = session.screen
    if screen.is_json:
        screen.json(found)
        return
    if not found["items"]:
        screen.note(f"No shared secret of {name} is under management.")
        screen.note(f"Put it there with `ikewarden tunnel secret-add {name}`.")
    for number, each in enumerate(found["items"]):
        if number:
            screen.line()
        _show(screen, each)


def _show(screen: Screen, slot: Mapping[str, Any]) -> None:
    lists = ("versions", "ends", "rotation", "connections", "identities")
    head = {name: value for name, value in slot.items() if name not in lists}
    rotation = slot["rotation"]
    head["rotation"] = None if rotation is None else f"{rotation['id']}: {rotation['state']}"
    head["policy"] = in_words(slot["policy"])
    screen.document(head)
    for columns, key in ((_VERSIONS, "versions"), (_ENDS, "ends")):
        if slot[key]:
            screen.line()
            screen.table(columns, slot[key])


def in_words(policy: Mapping[str, Any]) -> str:
    """A policy in a line."""
    days = policy["interval_days"]
    words = [f"every {days} days" if days else "on demand only"]
    if days and policy["jitter"]:
        words.append(f"up to {policy['jitter']:.0%} earlier")
    words += [
        f"{','.join(each['days'])} {each['start']}-{each['end']} {policy['zone']}"
        for each in policy["windows"]
    ]
    if policy["gap"]:
        words.append("SAs may be interrupted")
    if policy["frozen"]:
        words.append("frozen")
    return "; ".join(words)


@command(
    "secret-add",
    epilog=example(
        "ikewarden tunnel secret-add gw1-gw2 --import psk.txt --every 90d",
        "ikewarden tunnel secret-add gw1-gw2 --window 'Sat,Sun 02:00-04:00' --zone Europe/Berlin --jitter 10%",
        "ikewarden tunnel secret-add to-bank --import psk.txt --accept-weak --left-connection bank",
    ),
)
@click.argument("name")
@click.option(
    "--import",
    "file",
    type=click.Path(dir_okay=False, path_type=Path, allow_dash=True),
    metavar="FILE",
    help="The secret that both ends have now, in a file of mode 0600, or - for standard input. "
    "[default: the service makes one, and brings it to both ends]",
)
@click.option(
    "--accept-weak", is_flag=True, help="Take it although it can be guessed, to rotate it away."
)
@click.option(
    "--left-connection", metavar="NAME", help="Its name in the left daemon. [default: NAME]"
)
@click.option("--right-connection", metavar="NAME", help="Its name in the right daemon.")
@click.option("--left-identity", metavar="ID", help="[default: the first on record]")
@click.option("--right-identity", metavar="ID", help="[default: the first on record]")
@click.option(
    "--ike-version", type=click.Choice(["1", "2"]), default="2", show_default=True, help="Of IKE."
)
@policy_options
@client_command()
@pass_session
def add(session: Session, /, name: str, file: Path | None, **given: Any) -> None:
    """Put a tunnel's pre-shared key under management.

    An imported one is checked: length, entropy, examples out of documentation, use for another tunnel. The connection
    may be your own (--left-connection); then only the secret is taken care of.
    """
    from ikewarden.cli.requesting import typed

    body: dict[str, Any] = {"kind": "psk", "policy": policy_of(given)}
    if file is not None:
        value = base64.b64encode(keyfiles.read(file).reveal()).decode()
        body["import"] = {
            "value": value,
            "accept_weak": given["accept_weak"],
        }
    elif given["accept_weak"]:
        raise click.UsageError("--accept-weak goes with --import.")
    for option in ("left_connection", "right_connection"):
        body[option] = given[option]
    for option in ("left_identity", "right_identity"):
        body[option] = None if given[option] is None else str(typed(given[option]))
    body["ike_version"] = int(given["ike_version"])
    made = session.connect().post(f"{PATH}/{segment(name)}/secrets", body)
    screen = session.screen
    if screen.is_json:
        screen.json(made)
        return
    _show(screen, made)
    if made["rotation"] is not None:
        screen.note(
            f"Its first key is on its way: `ikewarden rotation show {made['rotation']['id']}`."
        )


@command("secret-remove", epilog=example("ikewarden tunnel secret-remove gw1-gw2"))
@click.argument("name")
@kind_option
@client_command()
@pass_session
def remove(session: Session, name: str, kind: str) -> None:
    """Take a tunnel's shared secret off: its gateways unload it, and its values are destroyed in the store."""
    session.connect().delete(at(name, kind))
    session.screen.note(f"Removed the {kind} of the tunnel {name}.")
    if session.screen.is_json:
        session.screen.json({"removed": f"{name}.{kind}"})


@command(
    "handover",
    epilog=example(
        "ikewarden tunnel handover to-bank --hours 8",
        "ikewarden tunnel handover to-bank --file bank.psk",
    ),
)
@click.argument("name")
@own_kind_option
@click.option(
    "--hours",
    type=click.IntRange(1, 336),
    metavar="N",
    default=24,
    show_default=True,
    help="How long the token is good.",
)
@click.option(
    "--file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the key to this new file (mode 0600), to bring it there yourself.",
)
@client_command()
@pass_session
def handover(session: Session, name: str, kind: str | None, hours: int, file: Path | None) -> None:
    """Hand the key to whoever runs the outside peer of a tunnel.

    It is the new key where a rotation has made one, else the present one; which it is, is told. Without --file: a
    token that is good once, and the command that uses it. Send the token by another way than the rest. After they have
    the new key: `rotation confirm`.
    """
    _check_place(file)
    client, screen = session.connect(), session.screen
    kind = kind_of(client, name, kind)
    made = client.post(f"{PATH}/{segment(name)}/handover", {"kind": kind, "hours": hours})
    token = Secret(made.pop("token"))
    slot = kept(client, name, kind)
    made["in_force"] = slot["version"] == made["version"]
    screen.note(_which(slot, made["version"]))
    if file is not None:
        found = client.post(CLAIM, {"token": token.reveal().decode()})
        _deliver(screen, found | {"in_force": made["in_force"]}, file)
        _then(screen, slot, made["version"])
        return
    order = f"ikewarden secret claim {made['url']} --ca-file root-ca.pem"
    if screen.is_json:
        screen.json({**made, "token": token.reveal().decode(), "command": order})
        return
    screen.note("Send them the service's root-ca.pem, and this command:")
    screen.note(f"  {order}")
    screen.note("It asks for this token; send that by another way:")
    screen.line(token.reveal().decode())
    screen.note(f"It can be used once, until {shown(made['expires_at'])}.")
    _then(screen, slot, made["version"])


def _which(slot: Mapping[str, Any], version: int) -> str:
    """Which key is handed over, and whether it is in force."""
    name, rotation, present = slot["name"], slot["rotation"], slot["version"]
    if rotation is None:
        order = f"`ikewarden tunnel rotate {slot['tunnel']}`"
        return f"No new key yet: this is version {version} of {name}, in force now; {order} makes a new one."
    if version != rotation["to_version"]:
        why = "The new key is being undone" if rotation["back"] else "No new key yet"
        return f"{why}: this is version {version} of {name}, in force now."
    if rotation["from_version"] is None:
        return f"This is version {version} of {name}, its first key."
    if present == version:
        return f"This is version {version} of {name}, the new key; our end proves itself by it already."
    return f"This is version {version} of {name}, the new key; version {present} is in force until you confirm."


def _then(screen: Screen, slot: Mapping[str, Any], version: int) -> None:
    """What is to be done when they have it."""
    rotation = slot["rotation"]
    if rotation is None or rotation["method"] != "manual" or rotation["to_version"] != version:
        return
    if rotation["confirmed_at"] is None and not rotation["back"]:
        screen.note(f"When they have it, then: `ikewarden rotation confirm {rotation['id']}`.")


@command(
    "claim",
    epilog=example(
        "ikewarden secret claim https://keys.example.com:8443 --ca-file root-ca.pem --out bank.psk"
    ),
)
@click.argument("url")
@click.option(
    "--ca-file",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="The root that the service must prove itself by, PEM.",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the key to this new file (mode 0600) in place of the screen.",
)
@format_option()
@pass_session
def claim(session: Session, url: str, ca_file: Path, out: Path | None) -> None:
    """Get a key that was handed over to you, once.

    The token is asked for, or read from standard input: it never stands in a command line.
    """
    from ikewarden.client import Client, Service

    _check_place(out)
    client = Client(Service(url, ca_file))
    token = _asked()
    found = client.post(CLAIM, {"token": token.reveal().decode()})
    _deliver(session.screen, found, out)


def _check_place(file: Path | None) -> None:
    """Before the key is fetched, which can be done once."""
    if file is None:
        return
    if file.exists():
        raise FileExists(file)
    if not (file.parent.is_dir() and os.access(file.parent, os.W_OK)):
        raise keyfiles.SecretFileUnusable(
            f"No file can be made in {file.parent}.",
            next_step="Name a folder that you can write to.",
        )


def _asked() -> Secret:
    if os.isatty(0):
        return Secret(click.prompt("Token", hide_input=True, err=True).strip())
    line = sys.stdin.readline(300).strip()
    if not line:
        raise click.UsageError("Give the token on standard input.")
    return Secret(line)


def _deliver(screen: Screen, found: dict[str, Any], file: Path | None) -> None:
    value = Secret(base64.b64decode(found.pop("value")))
    text = _as_written(value)
    if file is not None:
        write_new(file, text.reveal() + b"\n", SECRET)
        if screen.is_json:
            screen.json({**found, "file": str(file)})
            return
        screen.note(f"The key is in {file}: version {found['version']} of {found['tunnel']}.")
    elif screen.is_json:
        screen.json({**found, "value": text.reveal().decode()})
    else:
        screen.note(f"Version {found['version']} of the {found['kind']} of {found['tunnel']}:")
        screen.line(text.reveal().decode())
    if found["ppk_id"] and not screen.is_json:
        screen.note(f"Its PPK_ID is {found['ppk_id']}.")


def _as_written(value: Secret) -> Secret:
    """The value as secrets files take it: as text where it is some, else 0x and hexadecimal."""
    raw = value.reveal()
    looks_coded = raw[:2].lower() in (b"0x", b"0s", b"0t")
    if not looks_coded and all(0x20 < octet < 0x7F and octet not in b"\"'\\#" for octet in raw):
        return Secret(raw)
    return Secret(f"0x{raw.hex()}")
