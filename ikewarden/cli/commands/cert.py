"""`ikewarden cert`: the commands about certificates; those that make or check one have modules of their own."""

from collections.abc import Mapping
from typing import Any, Final

import click

from ikewarden.cli.help import command
from ikewarden.cli.lazy import Lazy, LazyGroup
from ikewarden.cli.options import (
    FUTURE,
    PAST,
    approval_option,
    client_command,
    example,
    limit_option,
    rfc3339,
)
from ikewarden.cli.screen import Column, Screen
from ikewarden.cli.session import Session, pass_session
from pki.x509.serials import normal

PATH: Final = "/v1/certificates"
_STATUSES: Final = ("pending", "valid", "held", "revoked", "abandoned", "expired")


def _status(entry: Mapping[str, Any]) -> str:
    """Its own status, and that nobody accepts it where its CA is revoked or on hold."""
    shadowed = entry["status"] == "valid" and not entry["in_force"]
    return "valid, CA is not" if shadowed else str(entry["status"])


def _whom(entry: Mapping[str, Any]) -> object:
    """Its names; without any, what it is for and its subject: an authority's is not to be taken for a gateway's."""
    return entry["names"] or f"({entry['profile']}) {entry['subject']}"


_COLUMNS: Final = (
    Column("Serial", "serial", whole=True),
    Column("Status", _status, whole=True),
    Column("Profile", "profile", spare=2),
    Column("Names", _whom),
    Column("Expires", lambda entry: str(entry.get("not_after"))[:10], whole=True, spare=1),
)
authority_option = click.option(
    "--authority",
    metavar="NAME",
    help="Its authority, where two of them used the same serial number.",
)


@click.group(
    cls=LazyGroup,
    lazy={
        "issue": Lazy(
            "ikewarden.cli.commands.cert_issue:issue",
            "Issue a certificate: make the key here, fetch the certificate.",
        ),
        "list": Lazy(f"{__name__}:list_", "Search certificates, newest first."),
        "show": Lazy(f"{__name__}:show", "Show one certificate."),
        "revoke": Lazy(
            "ikewarden.cli.commands.cert_revoke:revoke",
            "Revoke a certificate for ever.",
        ),
        "reach": Lazy(
            "ikewarden.cli.commands.cert_revoke:reach",
            "Tell how far a revocation has got.",
        ),
        "hold": Lazy(f"{__name__}:hold", "Stop a certificate for a while."),
        "release": Lazy(f"{__name__}:release", "Let a certificate on hold be valid again."),
        "renew": Lazy(
            "ikewarden.cli.commands.cert_renew:renew", "Issue the successor of a certificate."
        ),
        "lint": Lazy(
            "ikewarden.cli.commands.cert_lint:lint",
            "Check a certificate file against what IKE daemons accept.",
        ),
    },
    epilog=example("ikewarden cert issue gw1.example.com 192.0.2.1 --out gw1"),
)
def cert() -> None:
    """Certificates: issue, look, revoke, renew, lint."""


@command(
    "list",
    epilog=example(
        "ikewarden cert list --status valid --expires-before 14d",
        "ikewarden cert list gw1.example.com --format json",
    ),
)
@click.argument("query", required=False)
@click.option("--status", type=click.Choice(_STATUSES), help="Only these.")
@click.option(
    "--expires-before", type=FUTURE, metavar="TIME", help="RFC 3339, a date, or from now: 14d."
)
@click.option("--expires-after", type=FUTURE, metavar="TIME", help="The same.")
@click.option(
    "--issued-before", type=PAST, metavar="TIME", help="RFC 3339, a date, or back from now: 7d."
)
@click.option("--issued-after", type=PAST, metavar="TIME", help="The same.")
@click.option(
    "--renewed/--not-renewed",
    default=None,
    help="Only those with a valid successor, or that the service renews by itself; or only others.",
)
@click.option("--name", metavar="TEXT", help="As QUERY, in subject, names and gateway alone.")
@click.option("--serial", metavar="HEX", help="With what the serial number begins.")
@click.option(
    "--key-hash", "key_sha256", metavar="SHA256", help="Of its public key, hexadecimal or base64."
)
@click.option("--gateway", metavar="NAME", help="Only those of this gateway.")
@click.option("--profile", metavar="NAME", help="Only those of this profile.")
@click.option("--authority", metavar="NAME", help="Only those of this authority.")
@limit_option
@client_command()
@pass_session
def list_(session: Session, /, limit: int, **given: Any) -> None:
    """Search certificates, newest first.

    With QUERY begins a word of a subject, name or gateway; or it is a serial number, a fingerprint or the hash of a
    key, in any spelling, of which eight digits are enough.
    """
    times = ("expires_before", "expires_after", "issued_before", "issued_after")
    renewed = {None: None, True: "true", False: "false"}[given["renewed"]]
    query = {
        **given,
        **{each: rfc3339(given[each]) for each in times},
        "q": given["query"],
        "key": given["key_sha256"],
        "renewed": renewed,
    }
    del query["query"], query["key_sha256"]
    found = session.connect().listing(PATH, query, limit=limit)
    session.screen.entries(_COLUMNS, found.items, more=found.more, nothing="No such certificate.")


@command(
    "show",
    epilog=example("ikewarden cert show 4f2a…", "ikewarden cert show 4f2a… --format pem > gw1.pem"),
)
@click.argument("serial")
@authority_option
@client_command("pem")
@pass_session
def show(session: Session, serial: str, authority: str | None) -> int:
    """Show one certificate.

    SERIAL is hexadecimal, with or without colons.
    """
    found = session.connect().get(f"{PATH}/{normal(serial)}", {"authority": authority})
    if session.format != "pem":
        show_certificate(session.screen, found)
        return 0
    if found["certificate"] is None:
        session.screen.note(f"It is {found['status']}: there is no certificate to show.")
        return 1
    session.screen.verbatim(found["certificate"])
    return 0


@command("hold", epilog=example("ikewarden cert hold 4f2a…"))
@click.argument("serial")
@click.option(
    "--yes-i-cut",
    type=click.IntRange(min=0),
    metavar="N",
    help="For that of a CA: stop up to N certificates and tunnels below it, where that is more than the limit.",
)
@authority_option
@approval_option
@client_command()
@pass_session
def hold(session: Session, serial: str, authority: str | None, yes_i_cut: int | None) -> None:
    """Stop a certificate for a while.

    Daemons refuse it when they next look; tunnels that are up stay up. That of a CA stops all that stands below it:
    `cert revoke --dry-run` tells how much that is.
    """
    _change(session, serial, "hold", {"cut_confirmed": yes_i_cut}, authority)


@command("release", epilog=example("ikewarden cert release 4f2a…"))
@click.argument("serial")
@authority_option
@approval_option
@client_command()
@pass_session
def release(session: Session, serial: str, authority: str | None) -> None:
    """Let a certificate on hold be valid again."""
    _change(session, serial, "release", {}, authority)


def _change(
    session: Session, serial: str, verb: str, body: Mapping[str, Any], authority: str | None
) -> None:
    path = f"{PATH}/{normal(serial)}/{verb}"
    changed = session.connect().post(path, body, {"authority": authority})
    show_certificate(session.screen, changed)


def show_certificate(screen: Screen, found: Mapping[str, Any]) -> None:
    """Write a certificate on record; for people without its PEM and what it does not have."""
    if screen.is_json:
        screen.json(found)
        return
    screen.fields(
        (name, value)
        for name, value in found.items()
        if name != "certificate" and value is not None
    )
