"""`ikewarden token`: bearer tokens."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from core.secret import Secret
from ikewarden.cli.files import SECRET, check_new, write_new
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
from ikewarden.cli.place import program
from ikewarden.cli.screen import Column, shown
from ikewarden.cli.segments import segment
from ikewarden.cli.session import Session, pass_session

_PATH = "/v1/tokens"
_SECRETS = ("token", "eab_hmac_key", "cmp_secret")


def _limits(entry: Any) -> list[str]:
    """The limits of a token in short."""
    lists = ("profiles", "authorities", "names", "networks")
    words = [each for name in lists for each in entry[name] or []]
    nowhere = ["no network"] if entry["networks"] == [] else []
    words += [f"endpoint {each}" for each in entry["endpoints"] or []]
    return [*words, *nowhere, *([f"gateway {entry['gateway']}"] if entry["gateway"] else [])]


def _state(entry: Any, now: datetime) -> str:
    """Whether a token is still good for anything."""
    if entry["revoked_at"] is not None:
        return "revoked"
    if entry["expires_at"] is not None and datetime.fromisoformat(entry["expires_at"]) <= now:
        return "expired"
    return "used up" if entry["uses_left"] == 0 else "active"


def _columns(now: datetime) -> tuple[Column, ...]:
    return (
        Column("Id", "id", whole=True),
        Column("Name", "name"),
        Column("Role", "role"),
        Column("State", lambda entry: _state(entry, now), whole=True),
        Column("Limits", _limits),
        Column("Uses left", "uses_left", spare=1),
        Column("Expires", "expires_at", whole=True),
        Column("Revoked", "revoked_at", whole=True, spare=3),
        Column("Made by", "created_by", spare=2),
    )


@dataclass(frozen=True)
class Wanted:
    """What the command line says of a new token."""

    name: str
    role: str
    profiles: tuple[str, ...]
    authorities: tuple[str, ...]
    names: tuple[str, ...]
    networks: tuple[str, ...]
    endpoints: tuple[str, ...]
    gateway: str | None
    uses: int | None
    expires: datetime | None
    out: Path | None
    eab: bool
    cmp: bool

    def check(self) -> None:
        """Raise UsageError for what cannot be shown together, or is not there."""
        for option, given in (("--eab", self.eab), ("--cmp", self.cmp)):
            if given and self.role != "enroller":
                raise click.UsageError(f"{option} is for tokens of the role enroller.")
        if self.cmp and self.eab:
            raise click.UsageError("--eab and --cmp exclude each other: make a token for each.")

    @property
    def shown(self) -> str:
        """Which of the secrets is shown."""
        return "cmp_secret" if self.cmp else "eab_hmac_key" if self.eab else "token"

    def body(self) -> dict[str, Any]:
        """The same as the API reads it; a limit that was not given is none."""
        return {
            "name": self.name,
            "role": self.role,
            "profiles": list(self.profiles) or None,
            "authorities": list(self.authorities) or None,
            "names": list(self.names) or None,
            "networks": list(self.networks) or None,
            "endpoints": list(self.endpoints) or None,
            "gateway": self.gateway,
            "uses": self.uses,
            "expires_at": rfc3339(self.expires),
        }


@click.group(
    cls=LazyGroup,
    lazy={
        "create": Lazy(f"{__name__}:create", "Make a token; its secret is shown this once."),
        "list": Lazy(f"{__name__}:list_", "List tokens, without their secrets."),
        "revoke": Lazy(f"{__name__}:revoke", "End a token at once."),
    },
    epilog=example("ikewarden token list"),
)
def token() -> None:
    """Bearer tokens for people, programs and enrolling gateways."""


@command(
    "create",
    epilog=example(
        "ikewarden token create gw1 --role enroller --profile gateway --allow dns:gw1.example.com --out gw1.token",
        "ikewarden token create carol --role operator --expires 90d",
    ),
)
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice(["admin", "operator", "approver", "auditor", "enroller"]),
    required=True,
    help="What it may do at all.",
)
@click.option(
    "--profile",
    "profiles",
    multiple=True,
    metavar="NAME",
    help="Only this profile; more than once for several.",
)
@click.option(
    "--authority",
    "authorities",
    multiple=True,
    metavar="NAME",
    help="Only this authority; likewise.",
)
@click.option(
    "--allow",
    "names",
    multiple=True,
    metavar="PATTERN",
    help="Only names that fit: dns:gw1.example.com, dns:*.gw.example, ip:192.0.2.0/24; likewise.",
)
@click.option(
    "--network",
    "networks",
    multiple=True,
    metavar="CIDR",
    help="For ACME: only in this one of the networks that an endpoint opens, as 10.0.0.0/8; likewise.",
)
@click.option(
    "--endpoint",
    "endpoints",
    multiple=True,
    metavar="NAME",
    help="For an enroller: only through this enrollment endpoint, and not over REST; likewise.",
)
@click.option(
    "--gateway",
    metavar="NAME",
    help="Tie it to this gateway: all that it reads and changes is that gateway's. No audit log, no jobs.",
)
@click.option(
    "--uses",
    type=click.IntRange(1, 1_000_000),
    metavar="N",
    help="How many certificates it fetches. [default: 1 for an enroller, else any number]",
)
@click.option(
    "--expires",
    type=FUTURE,
    metavar="TIME",
    help="RFC 3339, a date, or from now: 30m (minutes), 12h, 90d, 52w.",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the secret to this new file (mode 0600) in place of the screen.",
)
@click.option(
    "--eab",
    is_flag=True,
    help="Show kid and HMAC key for an ACME client's external account binding in place of the secret.",
)
@click.option(
    "--cmp",
    is_flag=True,
    help="Show reference and secret for a CMP client's message protection in place of the secret.",
)
@approval_option
@client_command()
@pass_session
def create(session: Session, /, **given: Any) -> None:
    """Make a token; its secret is shown this once.

    The name stands in the audit log. An enroller's token is for named profiles and, if not said otherwise, for one
    certificate.
    """
    wanted = Wanted(**given)
    if wanted.out is not None:
        check_new(wanted.out)
    body = wanted.body()
    if wanted.role == "enroller" and wanted.uses is None:
        body["uses"] = 1
    wanted.check()
    made = session.connect().post(_PATH, body)
    secret = Secret(made[wanted.shown])
    if wanted.out is not None:
        write_new(wanted.out, secret.reveal() + b"\n", SECRET)
        made = {**made, **dict.fromkeys(_SECRETS), "token_file": str(wanted.out)}
    screen = session.screen
    if screen.is_json:
        screen.json(made)
        return
    screen.note(f"Made the {made['role']} token {made['id']} for {made['name']}.")
    ends = made["expires_at"] and shown(made["expires_at"])
    screen.note(
        f"It ends at {ends}."
        if ends
        else f"It does not expire; `{program()} token revoke {made['id']}` ends it."
    )
    if wanted.out is not None:
        screen.line(f"It is in {wanted.out}.")
        return
    if wanted.eab:
        screen.note(
            f"The kid is {made['id']}, and this is its HMAC key, shown once and kept nowhere:"
        )
    elif wanted.cmp:
        screen.note(
            f"The reference is {made['id']}, and this is its secret, shown once and kept nowhere:"
        )
    else:
        screen.note("This is shown once and kept nowhere:")
    screen.line(secret.reveal().decode())


@command("list", epilog=example("ikewarden token list"))
@limit_option
@client_command()
@pass_session
def list_(session: Session, limit: int) -> None:
    """List tokens, without their secrets."""
    found = session.connect().listing(_PATH, limit=limit)
    session.screen.entries(
        _columns(session.clock()), found.items, more=found.more, nothing="There is no token."
    )


@command("revoke", epilog=example("ikewarden token revoke 5d0c2a9be1f04733"))
@click.argument("token_id", metavar="ID")
@client_command()
@pass_session
def revoke(session: Session, token_id: str) -> None:
    """End a token at once.

    By its id, as `token list` shows it; not by its secret.
    """
    ended = session.connect().post(f"{_PATH}/{segment(token_id)}/revoke")
    session.screen.note(f"Ended the token {ended['id']}.")
    session.screen.document(ended)
