"""`ikewarden ca`: certificate authorities."""

from dataclasses import dataclass
from typing import Any

import click

from hsm.ports import KEY_ALGORITHMS
from ikewarden.cli.help import command
from ikewarden.cli.lazy import Lazy, LazyGroup
from ikewarden.cli.options import approval_option, client_command, example, store_option
from ikewarden.cli.screen import Column, Screen
from ikewarden.cli.segments import segment
from ikewarden.cli.session import Session, pass_session

_PATH = "/v1/authorities"
_COLUMNS = (
    Column("Name", "name", whole=True),
    Column("Kind", "kind"),
    Column("Status", "status", whole=True),
    Column("Parent", "parent"),
    Column("Algorithm", "algorithm"),
    Column("Key in", "key_store"),
    Column("Expires", "not_after", whole=True),
    Column("Subject", "subject"),
)

_CROSSES = (
    Column("Authority", "subject", whole=True),
    Column("Signed by", "issuer", whole=True),
    Column("Status", "status", whole=True),
    Column("Expires", "not_after", whole=True),
    Column("Serial number", "serial", whole=True),
)


@dataclass(frozen=True)
class Wanted:
    """What the command line says of a new authority."""

    name: str
    kind: str
    subject: str
    parent: str | None
    algorithm: str
    days: int
    path_length: int | None
    permitted: tuple[str, ...]
    excluded: tuple[str, ...]
    shards: int
    key_store: str | None


@click.group(
    cls=LazyGroup,
    lazy={
        "list": Lazy(f"{__name__}:list_", "List authorities."),
        "show": Lazy(f"{__name__}:show", "Show one authority, and where its lists are."),
        "create": Lazy(
            f"{__name__}:create", "Found an authority: its key, its certificate, its first lists."
        ),
        "request": Lazy(
            "ikewarden.cli.commands.ca_outside:request",
            "Make the key of an authority whose parent is outside, and its request.",
        ),
        "sign": Lazy(
            "ikewarden.cli.commands.ca_outside:sign",
            "Sign the certificate of an authority whose key is on another machine.",
        ),
        "import": Lazy(
            "ikewarden.cli.commands.ca_outside:import_",
            "Take the certificate of an authority that was requested, with its root and that root's list.",
        ),
        "crl": Lazy(
            "ikewarden.cli.commands.ca_outside:crl",
            "Make a fresh revocation list on this machine, or take one of a root outside.",
        ),
        "ceremony": Lazy(
            "ikewarden.cli.commands.ca_ceremony:ceremony",
            "Hold a written ceremony on this machine: make exactly the authorities that FILE describes.",
        ),
        "rollover": Lazy(
            "ikewarden.cli.commands.ca_rollover:rollover",
            "Another key in the place of an authority's, without an interruption.",
        ),
        "cross-sign": Lazy(
            "ikewarden.cli.commands.ca_rollover:cross_sign",
            "Certify the key of an authority by another one, beside its own certificate.",
        ),
        "cross-certificates": Lazy(
            f"{__name__}:cross_certificates",
            "List by whom else the key of an authority is certified.",
        ),
    },
    epilog=example("ikewarden ca list"),
)
def ca() -> None:
    """Certificate authorities."""


@command("list", epilog=example("ikewarden ca list"))
@client_command()
@pass_session
def list_(session: Session) -> None:
    """List authorities."""
    found = session.connect().get(_PATH)
    session.screen.entries(_COLUMNS, found["items"], nothing="There is no authority.")


@command(
    "show",
    epilog=example(
        "ikewarden ca show issuing", "ikewarden ca show issuing --format pem > issuing.pem"
    ),
)
@click.argument("name")
@client_command("pem")
@pass_session
def show(session: Session, name: str) -> None:
    """Show one authority, and where its lists are.

    As PEM: its certificate, and those above it up to the root.
    """
    found = session.connect().get(f"{_PATH}/{segment(name)}")
    _show(session.screen, found)


@command(
    "create",
    epilog=example(
        "ikewarden ca create branch --parent root --subject 'CN=Branch Issuing CA,O=Example' \\",
        "    --permit dns:branch.example.com --permit ip:192.0.2.0/24",
    ),
)
@click.argument("name")
@click.option(
    "--subject", required=True, metavar="DN", help="Its name as RFC 4514 writes it: CN=…,O=…."
)
@click.option(
    "--kind",
    type=click.Choice(["root", "issuing"]),
    default="issuing",
    show_default=True,
    help="A root signs itself.",
)
@click.option("--parent", metavar="NAME", help="The authority that signs it.")
@click.option(
    "--algorithm",
    type=click.Choice(KEY_ALGORITHMS),
    default="ec-p256",
    show_default=True,
    help="Its key.",
)
@click.option(
    "--days",
    type=click.IntRange(1, 14640),
    metavar="DAYS",
    default=3650,
    show_default=True,
    help="How long it is valid.",
)
@click.option(
    "--path-length",
    type=click.IntRange(0, 16),
    metavar="N",
    help="How many authorities may follow below it. [default: 0; for a root, 1]",
)
@click.option(
    "--permit",
    "permitted",
    multiple=True,
    metavar="NAME",
    help="Name constraint: only names below this one (dns:…, ip:…/24); more than once for several.",
)
@click.option(
    "--exclude",
    "excluded",
    multiple=True,
    metavar="NAME",
    help="Name constraint: no names below this one.",
)
@click.option(
    "--shards",
    type=click.IntRange(0, 4096),
    metavar="N",
    default=0,
    show_default=True,
    help="Publish its CRL in N parts. Not for IKE peers: they take any part for the whole.",
)
@store_option("as [keys] store says")
@approval_option
@client_command("pem")
@pass_session
def create(session: Session, /, **given: Any) -> None:
    """Found an authority: its key, its certificate, its first lists.

    The key is made in a key store of the service and never leaves it.
    """
    wanted = Wanted(**given)
    if (wanted.kind == "root") == (wanted.parent is not None):
        raise click.UsageError("An issuing authority needs --parent, and a root has none.")
    body = {
        "name": wanted.name,
        "kind": wanted.kind,
        "subject": wanted.subject,
        "algorithm": wanted.algorithm,
        "parent": wanted.parent,
        "days": wanted.days,
        "path_length": _path_length(wanted),
        "permitted": list(wanted.permitted),
        "excluded": list(wanted.excluded),
        "shards": wanted.shards,
        "key_store": wanted.key_store,
    }
    made = session.connect().post(_PATH, body)
    if session.format == "text":
        session.screen.note(f"Founded {made['name']}.")
    _show(session.screen, made)


@command(
    "cross-certificates",
    epilog=example(
        "ikewarden ca cross-certificates root-2",
        "ikewarden ca cross-certificates root-2 --by root --format pem > new-with-old.pem",
    ),
)
@click.argument("name")
@click.option("--by", "issuer", metavar="NAME", help="Only those that this authority signed.")
@client_command("pem")
@pass_session
def cross_certificates(session: Session, name: str, issuer: str | None) -> None:
    """List by whom else the key of an authority is certified.

    Rollovers of roots do that, and `ca cross-sign`. As PEM: the certificates, the newest first.
    """
    found = session.connect().get(f"{_PATH}/{segment(name)}/cross-certificates")["items"]
    items = [each for each in found if issuer in (None, each["issuer"])]
    if session.format == "pem":
        session.screen.verbatim("".join(each["certificate"] for each in items))
    else:
        session.screen.entries(_CROSSES, items, nothing="There is no cross-certificate.")


def _path_length(wanted: Wanted) -> int:
    if wanted.path_length is not None:
        return wanted.path_length
    return 1 if wanted.kind == "root" else 0


def _show(screen: Screen, found: dict[str, Any]) -> None:
    if screen.format == "pem":
        screen.verbatim("".join([found["certificate"], *found["chain"]]))
    elif screen.is_json:
        screen.json(found)
    else:
        pem = ("certificate", "chain")
        screen.fields((name, value) for name, value in found.items() if name not in pem)
