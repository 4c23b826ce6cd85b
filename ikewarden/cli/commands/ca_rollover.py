"""`ikewarden ca rollover` and `ca cross-sign`: another key in the place of an authority's, phase by phase."""

from datetime import datetime
from pathlib import Path
from typing import Any, Final

import click

from core.errors import NotFound
from hsm.ports import KEY_ALGORITHMS
from ikewarden.cli import files
from ikewarden.cli.help import command
from ikewarden.cli.lazy import Lazy, LazyGroup
from ikewarden.cli.local import config_option, opened_instance
from ikewarden.cli.options import (
    FUTURE,
    approval_option,
    client_command,
    directory_option,
    example,
    format_option,
    rfc3339,
    store_option,
)
from ikewarden.cli.screen import Column
from ikewarden.cli.segments import segment
from ikewarden.cli.session import Session, pass_session
from ikewarden.client import Client

_PATH: Final = "/v1/rollovers"
_OF: Final = "/v1/authorities"
_COLUMNS: Final = (
    Column("Rollover", "id", whole=True),
    Column("Authority", "authority", whole=True),
    Column("Successor", "successor", whole=True),
    Column("State", "state", whole=True),
    Column("Switch", "switch_at", whole=True),
    Column("Begun", "created_at", whole=True, spare=1),
    Column("By", "created_by", spare=2),
)
_NEXT: Final = {
    "prepared": "Publish it, so that gateways trust both: `ikewarden ca rollover publish {authority}`.",
    "published": "When the gateways have it, switch: `ikewarden ca rollover switch {authority}`.",
    "scheduled": "Until {switch_at} certificates come from {authority}, from then on from {successor}; "
    "`ikewarden ca rollover back {authority}` takes it back.",
    "switched": "When nothing of the old key is in force: `ikewarden ca rollover finish {authority}`.",
    "finished": "The lists and the OCSP of {authority} go on.",
    "abandoned": "{successor} never issues.",
}
# While peers have both, or are about to.
_BOTH: Final = ("prepared", "published", "scheduled", "switched")
_SAME_SUBJECT: Final = (
    "{authority} and {successor} have the same subject. Libreswan keeps one revocation list for a subject, and refuses "
    "that of {successor} as long as it has {authority}: a revoked certificate of {successor} is let in there until "
    "then. Keep that time short (docs/how-to/rollover.md)."
)
_MOVED: Final = (
    "The key of {successor} is in {successor_key_store}, that of {authority} in {key_store}."
)
_days = click.option(
    "--days", type=click.IntRange(1, 14640), metavar="DAYS", help="How long it is valid."
)

_successor = click.option(
    "--successor", metavar="NAME", help="What it is called. [default: NAME-2]"
)
_algorithm = click.option(
    "--algorithm", type=click.Choice(KEY_ALGORITHMS), help="[default: as before]"
)
_store = store_option("where the key of the authority is")
_subject = click.option(
    "--subject",
    metavar="DN",
    help="Its subject (RFC 4514). [default: the next number; of a root the same]",
)


class NoRollover(NotFound):
    """The authority has no rollover."""

    code = "rollover_none"
    next_step = "Begin one: `ikewarden ca rollover start NAME`."


@click.group(
    cls=LazyGroup,
    lazy={
        "start": Lazy(
            f"{__name__}:start", "Make the next key of an authority; nobody is told of it yet."
        ),
        "request": Lazy(
            f"{__name__}:request",
            "Make the next key of an authority whose parent is outside, and its request.",
        ),
        "list": Lazy(f"{__name__}:list_", "List rollovers, the newest first."),
        "show": Lazy(f"{__name__}:show", "Show the rollover of an authority."),
        "publish": Lazy(f"{__name__}:publish", "Have gateways trust both keys."),
        "switch": Lazy(
            f"{__name__}:switch", "Have certificates come from the successor, now or on a date."
        ),
        "back": Lazy(f"{__name__}:back", "Go one phase back."),
        "finish": Lazy(
            f"{__name__}:finish", "Retire the old authority; its lists and its OCSP go on."
        ),
    },
    epilog=example("ikewarden ca rollover list"),
)
def rollover() -> None:
    """Another key in the place of an authority's, without an interruption."""


@command("start", epilog=example("ikewarden ca rollover start issuing"))
@click.argument("name")
@_successor
@_algorithm
@_days
@_subject
@_store
@approval_option
@client_command()
@pass_session
def start(session: Session, /, name: str, **given: Any) -> None:
    """Make the next key of an authority; nobody is told of it yet.

    Limits and parent are those of the authority; the lists and the OCSP of the old key go on. An issuing CA gets
    another subject, `CN=Issuing CA 2` after `CN=Issuing CA`; a root keeps its own.
    """
    _show(session, session.connect().post(f"{_OF}/{segment(name)}/rollover", given))


@command("request", epilog=example("ikewarden ca rollover request issuing --out issuing-2.csr"))
@click.argument("name")
@_successor
@_algorithm
@_subject
@_store
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    metavar="FILE",
    help="Where the request goes.",
)
@directory_option
@config_option
@format_option()
@pass_session
def request(session: Session, /, name: str, out: Path, config: Path | None, **given: Any) -> None:
    """Make the next key of an authority whose parent is outside, and its request.

    It works on the instance of this machine. When the request is signed, `ikewarden ca import` brings the certificate
    in and begins the rollover. Asked again, the request is for the same key.
    """
    from pki.actors import Actor, Role
    from pki.rollover import phases
    from pki.rollover.successor import RolloverRequest

    wanted = RolloverRequest(name, **given)
    with opened_instance(session, config) as opened:
        actor = Actor("console", Role.ADMIN)
        made, csr = phases.ask(opened.desk, actor, wanted, now=session.clock())
    files.write_new(out, csr, files.PUBLIC)
    found = {"authority": name, "successor": made, "request": str(out)}
    session.screen.document(found)
    session.screen.note(
        f"Have it signed, and bring it in: `ikewarden ca import {made} CERTIFICATE …`. That begins the rollover."
    )


@command("list", epilog=example("ikewarden ca rollover list"))
@client_command()
@pass_session
def list_(session: Session) -> None:
    """List rollovers, the newest first."""
    found = session.connect().get(_PATH)
    session.screen.entries(_COLUMNS, found["items"], nothing="There is no rollover.")


@command("show", epilog=example("ikewarden ca rollover show issuing"))
@click.argument("name")
@client_command()
@pass_session
def show(session: Session, name: str) -> None:
    """Show the rollover of an authority.

    That is the one under way, or the last; with what of the old key is in force.
    """
    client = session.connect()
    _show(session, client.get(f"{_PATH}/{_find(client, name)['id']}"))


@command("publish", epilog=example("ikewarden ca rollover publish issuing"))
@click.argument("name")
@approval_option
@client_command()
@pass_session
def publish(session: Session, name: str) -> None:
    """Have gateways trust both keys.

    Of a root, the old key certifies the new one, and the new one the old.
    """
    _move(session, name, {"to": "published"})


@command(
    "switch",
    epilog=example(
        "ikewarden ca rollover switch issuing", "ikewarden ca rollover switch issuing --on 14d"
    ),
)
@click.argument("name")
@click.option(
    "--on", type=FUTURE, metavar="TIME", help="RFC 3339, a date, or from now: 14d. [default: now]"
)
@click.option("--despite", is_flag=True, help="Although gateways do not know the successor yet.")
@client_command()
@pass_session
def switch(session: Session, name: str, on: datetime | None, despite: bool) -> None:
    """Have certificates come from the successor, now or on a date.

    What gateways renew comes from it, too. Certificates of the old key stay valid. Until the date that is given the
    rollover is `scheduled`.
    """
    _move(session, name, {"to": "switched", "on": rfc3339(on), "despite": despite})


@command("back", epilog=example("ikewarden ca rollover back issuing"))
@click.argument("name")
@approval_option
@client_command()
@pass_session
def back(session: Session, name: str) -> None:
    """Go one phase back.

    From the first one the rollover is abandoned: the successor never issues.
    """
    _move(session, name, {"to": "back"})


@command("finish", epilog=example("ikewarden ca rollover finish issuing"))
@click.argument("name")
@click.option("--despite", is_flag=True, help="Although certificates of the old key are in force.")
@approval_option
@client_command()
@pass_session
def finish(session: Session, name: str, despite: bool) -> None:
    """Retire the old authority; its lists and its OCSP go on."""
    _move(session, name, {"to": "finished", "despite": despite})


@command("cross-sign", epilog=example("ikewarden ca cross-sign root-2 --by partner-root"))
@click.argument("subject")
@click.option("--by", "issuer", required=True, metavar="NAME", help="The authority that signs.")
@_days
@approval_option
@client_command("pem")
@pass_session
def cross_sign(session: Session, subject: str, issuer: str, days: int | None) -> None:
    """Certify the key of an authority by another one, beside its own certificate.

    It ends with the issuer's certificate at the latest, and can be revoked as any other.
    """
    body = {"issuer": issuer, "days": days}
    made = session.connect().post(f"{_OF}/{segment(subject)}/cross-certificates", body)
    screen = session.screen
    if screen.format == "pem":
        screen.verbatim(made["certificate"])
    elif screen.is_json:
        screen.json(made)
    else:
        screen.fields((name, value) for name, value in made.items() if name != "certificate")


def _find(client: Client, name: str) -> dict[str, Any]:
    """The newest rollover of an authority: any before it has ended."""
    for each in client.get(_PATH)["items"]:
        if each["authority"] == name:
            found: dict[str, Any] = each
            return found
    raise NoRollover(f"The authority {name[:100]!r} has no rollover.")


def _move(session: Session, name: str, body: dict[str, Any]) -> None:
    client = session.connect()
    found = _find(client, name)
    body = {**body, "from": found["state"]}
    _show(session, client.post(f"{_PATH}/{found['id']}", body))


def _show(session: Session, found: dict[str, Any]) -> None:
    session.screen.document(found)
    session.screen.note(_NEXT[found["state"]].format(**found))
    if found["state"] == "prepared" and found["key_store"] != found["successor_key_store"]:
        session.screen.note(_MOVED.format(**found))
    if found["same_subject"] and found["state"] in _BOTH:
        session.screen.note(_SAME_SUBJECT.format(**found))
