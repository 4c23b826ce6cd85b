"""`ikewarden tunnel import`: keys that stand in the files of IKE daemons, looked at and taken under management."""

import ipaddress
import os
import secrets
import socket
import textwrap
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from core.errors import NotFound
from core.secret import Secret
from ikewarden.cli.commands.secret_policy import policy_of, policy_options
from ikewarden.cli.failures import FAILED, failure_of
from ikewarden.cli.help import command
from ikewarden.cli.options import client_command, example
from ikewarden.cli.segments import segment
from ikewarden.cli.session import Session, pass_session

if TYPE_CHECKING:
    from ike.secrets.looking import Overview, Seen, Tunnel
    from ike.secrets.values import End, Place, Problem
    from ikewarden.cli.importing import Step, Terms
    from ikewarden.cli.screen import Screen
    from ikewarden.client import Client, Document

_WIDTH: Final = 80
_PROBLEMS: Final = 3  # of one file
_OF_TAKING: Final = {
    **{name: name for name in ("only", "yes", "every", "jitter", "zone", "gap")},
    "accept_weak": "accept-weak",
    "frozen": "freeze",
    "windows": "window",
    "proof_hours": "proof-hours",
}


class NothingFound(NotFound):
    """There are no files of an IKE daemon, or nothing in them."""

    code = "nothing_found"
    next_step = "Name the files or folders, or give the folder of a copied tree with --root."


@command(
    "import",
    epilog=example(
        "ikewarden tunnel import --look",
        "ikewarden tunnel import --look --root /mnt/image",
        "ikewarden tunnel import --gateway gw1.example.com --only branch7",
    ),
)
@click.argument("paths", nargs=-1, type=click.Path(), metavar="[PATH]…")
@click.option("--look", is_flag=True, help="Only look at the files; no service is asked.")
@click.option("--gateway", metavar="NAME", help="Whose files they are, as it is on record.")
@click.option(
    "--root",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path("/"),
    help="A copy of the gateway's files; paths are those inside of it. [default: /]",
)
@click.option(
    "--daemon",
    type=click.Choice(["strongswan", "libreswan"]),
    help="Whose ipsec.conf and ipsec.secrets they are, where the files do not tell.",
)
@click.option("--only", multiple=True, metavar="CONNECTION", help="This one; more for several.")
@click.option(
    "--accept-weak",
    is_flag=True,
    help="Take keys that can be guessed too, so that they are rotated away.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--freeze", "frozen", is_flag=True, help="Rotate none of them until it is unfrozen.")
@policy_options
@client_command()
@pass_session
def import_(session: Session, /, paths: tuple[str, ...], **given: Any) -> int:
    """Look at typed keys, and take them over.

    Reads ipsec.secrets, ipsec.conf and swanctl.conf in their usual places, or the PATHs, with all they include. Shows
    which key answers for which connection, how good and how old it is and where else it is used; never the key itself.
    With --gateway, what is to be done is shown first, and asked for: a tunnel on record for each connection, and its
    key as the first version; one older than the interval of its policy is rotated at once. No file is changed. Ends
    with 1 where something could not be read or was refused.
    """
    if given["look"] == bool(given["gateway"]):
        raise click.UsageError("Give either --look, or --gateway with the gateway's name.")
    if given["look"]:
        for option, name in _OF_TAKING.items():
            if given[option] not in (None, False, ()):
                raise click.UsageError(f"--{name} goes with --gateway.")
        overview = _overview(paths, given, _is_here if given["root"] == Path("/") else _never)
        _show(session, overview)
        return FAILED if overview.problems else 0
    if session.screen.is_json and not given["yes"]:
        raise click.UsageError("--format json does not ask: give --yes too.")
    return _take_over(session, paths, given)


def _overview(
    paths: Sequence[str], given: Mapping[str, Any], is_own: Callable[[str], bool]
) -> "Overview":
    from ike.secrets.looking import look
    from ike.secrets.reading import read
    from ike.secrets.tree import Tree
    from ike.secrets.values import Dialect, Kind

    root: Path = given["root"]
    dialect = Dialect(given["daemon"]) if given["daemon"] else None
    # Inside a copy there is no current folder.
    base = os.getcwd() if root == Path("/") else "/"
    absolute = [os.path.normpath(os.path.join(base, each)) for each in paths]
    found = read(Tree(root), absolute, dialect=dialect, is_own=is_own)
    # A token's PIN is no shared secret.
    shared = tuple(each for each in found.entries if each.kind is not Kind.PIN)
    overview = look(replace(found, entries=shared), Secret(secrets.token_bytes(32)))
    if not overview.tunnels and not overview.others and not overview.problems:
        raise NothingFound(
            "No pre-shared key was found.",
            next_step="Name files, or the folders that they are in: folders are not searched below. Of a copy of a "
            "gateway's whole tree (etc/ and so on) give the top with --root.",
        )
    return overview


def _never(_text: str) -> bool:
    return False


def _is_here(text: str) -> bool:
    """Whether an address is this machine's."""
    try:
        address = ipaddress.ip_address(text)  # a name would be looked up
        family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as tried:
            tried.bind((str(address), 0))
    except (OSError, ValueError):
        return False
    return True


# looking


def _show(session: Session, overview: "Overview") -> None:
    screen = session.screen
    now = session.clock()
    if screen.is_json:
        screen.json(document(overview, now))
        return
    if overview.tunnels:
        _show_table(screen, overview, now)
    for tunnel in overview.tunnels:
        _show_tunnel(screen, tunnel, now)
    if overview.others:
        screen.line("Secrets that answer for no connection here:")
        for seen in overview.others:
            _secret_line(screen, seen, now)
            for remark in seen.remarks:
                _wrapped(screen, f"! {remark}", 6)
        screen.line()
    if overview.problems:
        screen.line("Not read:")
        for text in _told(overview.problems):
            _wrapped(screen, text, 2)
        screen.line()
    _wrapped(screen, _summary(overview), 0)


def _told(problems: Iterable["Problem"]) -> Iterator[str]:
    """What could not be read, in lines; of a file that is no such file at all the first ones tell enough."""
    by_file: defaultdict[str, list[Problem]] = defaultdict(list)
    for problem in problems:
        by_file[problem.place.path].append(problem)
    for path, those in by_file.items():
        yield from (f"{each.place}: {each.message}" for each in those[:_PROBLEMS])
        if len(those) > _PROBLEMS:
            yield f"{path}: and {len(those) - _PROBLEMS} more lines like these"


def _show_table(screen: "Screen", overview: "Overview", now: datetime) -> None:
    from ikewarden.cli.screen import Column

    columns = [Column(title, title) for title in ("Key", "Strength", "Age", "IKE", "Connection")]
    rows = []
    for tunnel in overview.tunnels:
        first = tunnel.secrets[0] if tunnel.secrets else None
        rows.append(
            {
                "Key": first.fingerprint if first else None,
                "Strength": str(first.strength.verdict) if first else None,
                "Age": _age(first.changed, now) if first else None,
                "IKE": "/".join(map(str, tunnel.connection.versions)),
                "Connection": tunnel.connection.name,
            }
        )
    screen.table(columns, rows)
    screen.line()


def _show_tunnel(screen: "Screen", tunnel: "Tunnel", now: datetime) -> None:
    connection = tunnel.connection
    versions = " or ".join(f"IKEv{version}" for version in connection.versions)
    _wrapped(screen, f"{connection.name}  {versions}, {connection.place}", 0)
    _wrapped(screen, f"local   {_end(connection.local)}", 2)
    _wrapped(screen, f"remote  {_end(connection.remote)}", 2)
    for number, seen in enumerate(tunnel.secrets):
        _secret_line(screen, seen, now, second=number > 0)
    _warn(screen, tunnel)
    screen.line()


def _warn(screen: "Screen", tunnel: "Tunnel") -> None:
    said = dict.fromkeys(tunnel.remarks)
    if tunnel.secrets:
        said |= dict.fromkeys(tunnel.secrets[0].remarks)
    for remark in said:
        _wrapped(screen, f"! {remark}", 4)


def _end(end: "End") -> str:
    identity = "any" if end.identity is None else str(end.identity)
    addresses = ", ".join(end.addresses)
    return f"{identity} at {addresses}" if addresses else identity


def _secret_line(screen: "Screen", seen: "Seen", now: datetime, *, second: bool = False) -> None:
    strength = seen.strength
    parts = [
        f"{strength.verdict}, {strength.octets} octets ({seen.entry.form})",
        _age(seen.changed, now),
        str(seen.entry.place),
    ]
    label = "also   " if second else f"{seen.entry.kind:<7}"
    _wrapped(screen, f"{label} {seen.fingerprint}  {'  '.join(filter(None, parts))}", 2)


def _age(changed: datetime | None, now: datetime) -> str:
    if changed is None:
        return ""
    days = max((now - changed).days, 0)
    return f"{days} days" if days != 1 else "1 day"


def _summary(overview: "Overview") -> str:
    every = overview.secrets
    weak = sum(seen.strength.verdict == "weak" for seen in every)
    reused = sum(bool(seen.elsewhere) for seen in every)
    others = sum(bool(seen.answers_for_others) for seen in every)
    verb = "lets" if others == 1 else "let"
    tunnels, secrets_ = len(overview.tunnels), len(every)
    return (
        f"{tunnels} connection{'s' * (tunnels != 1)} with pre-shared keys,"
        f" {secrets_} secret{'s' * (secrets_ != 1)}:"
        f" {weak} weak, {reused} used more than once, {others} that {verb} one peer pass for another."
    )


def _wrapped(screen: "Screen", text: str, indent: int) -> None:
    """Text in 80 columns; what is longer without a blank stays whole, so that it can be copied."""
    from core.escaping import escaped

    lines = textwrap.wrap(
        escaped(text),
        _WIDTH,
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent + 2),
        break_long_words=False,
        break_on_hyphens=False,
    )
    for line in lines:
        screen.line(line)


def document(overview: "Overview", now: datetime) -> dict[str, Any]:
    """The overview for programs: never a value."""
    return {
        "tunnels": [_tunnel_document(tunnel) for tunnel in overview.tunnels],
        "secrets": [_secret_document(seen, now) for seen in overview.secrets],
        "problems": [
            {**_place(problem.place), "error": problem.message} for problem in overview.problems
        ],
    }


def _tunnel_document(tunnel: "Tunnel") -> dict[str, Any]:
    connection = tunnel.connection
    return {
        "connection": connection.name,
        **_place(connection.place),
        "daemon": connection.dialect,
        "ike_versions": list(connection.versions),
        "local": _end_document(connection.local),
        "remote": _end_document(connection.remote),
        "secrets": [
            {"fingerprint": seen.fingerprint, **_place(seen.entry.place)} for seen in tunnel.secrets
        ],
        "ambiguous": tunnel.answer.tied,
        "others_accepted": tunnel.answer.accepted,
        "remarks": list(tunnel.remarks),
    }


def _end_document(end: "End") -> dict[str, Any]:
    return {
        "identity": None if end.identity is None else str(end.identity),
        "addresses": list(end.addresses),
        "psk": end.psk,
    }


def _secret_document(seen: "Seen", now: datetime) -> dict[str, Any]:
    entry, changed = seen.entry, seen.changed
    return {
        "fingerprint": seen.fingerprint,
        "kind": entry.kind,
        "name": entry.name or None,
        **_place(entry.place),
        "daemon": entry.dialect,
        "owners": [str(owner) for owner in entry.owners],
        "form": entry.form,
        "octets": seen.strength.octets,
        "bits": seen.strength.bits,
        "strength": seen.strength.verdict,
        "reasons": list(seen.strength.reasons),
        "changed_at": None if changed is None else changed.isoformat().replace("+00:00", "Z"),
        "age_days": None if changed is None else max((now - changed).days, 0),
        "same_value_at": [_place(each.place) for each in seen.elsewhere],
        "connections": list(seen.connections),
        "answers_for_others": seen.answers_for_others or None,
    }


def _place(place: "Place") -> dict[str, Any]:
    return {"path": place.path, "line": place.line or None}


# taking over


def _take_over(session: Session, paths: Sequence[str], given: Mapping[str, Any]) -> int:
    from ikewarden.cli import importing

    client = session.connect()
    gateway = client.get(f"/v1/gateways/{segment(given['gateway'])}")
    overview = _overview(paths, given, _of_gateway(gateway, given["root"]))
    steps = importing.plan(client, gateway, importing.chosen(overview, given["only"]))
    screen = session.screen
    for text in _told(overview.problems):
        screen.note(f"Not read: {text}.")
    if not overview.tunnels:
        raise _without_connections(overview)
    policy = policy_of(given) | ({"frozen": True} if given["frozen"] else {})
    terms = importing.Terms(given["accept_weak"], policy)
    if not screen.is_json:
        _show_plan(screen, steps)
    to_do = [step for step in steps if step.to_do]
    _tell_due(session, to_do, policy)
    if to_do and not given["yes"] and not _agreed(f"Take {_keys(len(to_do))} under management?"):
        screen.note("Nothing was changed.")
        return FAILED
    refused = _carried_out(session, client, to_do, terms)
    if screen.is_json:
        screen.json({"connections": [_step_document(step, refused) for step in steps]})
    elif to_do:
        screen.note(f"{_keys(len(to_do) - len(refused))} taken under management.")
    return FAILED if refused or overview.problems else 0


def _without_connections(overview: "Overview") -> NothingFound:
    count = len(overview.others)
    there = "a secret was" if count == 1 else f"{count} secrets were" if count else "no secret was"
    return NothingFound(
        f"No connection with a pre-shared key was found, so nothing can be taken over; {there} found.",
        next_step="Name the file with the connections too (ipsec.conf, swanctl.conf). --look shows all that there is.",
    )


def _tell_due(session: Session, steps: Sequence["Step"], policy: Mapping[str, Any]) -> None:
    """Say which keys are so old that taking them over begins a rotation."""
    from ikewarden.cli import importing

    now, screen = session.clock(), session.screen
    due = [step for step in steps if importing.is_due(step, policy, now)]
    for step in due:
        screen.note(
            f"{step.connection}: in use since {importing.since(step, now):%Y-%m-%d}: it is due."
        )
    if due:
        of = "its rotation begins" if len(due) == 1 else "their rotations begin"
        when = "in the next window" if policy.get("windows") else "at once"
        screen.note(
            f"{_keys(len(due))} due: {of} {when}. With --freeze nothing begins, --every and --window say when."
        )


def _agreed(question: str) -> bool:
    try:
        return click.confirm(question, err=True)
    except click.Abort as aborted:
        # click makes the same of Ctrl-C, which needs no words
        if not isinstance(aborted.__context__, EOFError):
            raise
        click.echo(err=True)
    raise click.UsageError("Nobody answers here, and nothing was changed: give --yes.")


def _keys(count: int) -> str:
    return f"{count} key" if count == 1 else f"{count} keys"


def _of_gateway(gateway: "Document", root: Path) -> Callable[[str], bool]:
    known = set(gateway["identities"])
    here = _is_here if root == Path("/") else _never
    return lambda text: text in known or f"ip:{text}" in known or here(text)


def _show_plan(screen: "Screen", steps: Iterable["Step"]) -> None:
    for step in steps:
        seen = step.secret
        if step.left_out:
            _wrapped(screen, f"{step.connection}: left out: {step.left_out}", 0)
        elif step.done:
            _wrapped(screen, f"{step.connection}: its key is under management: {step.tunnel}", 0)
        elif seen is not None:
            what = "tunnel on record" if step.create is None else f"new tunnel {_to(step)}"
            key = f"{seen.fingerprint}, {seen.strength.verdict}, {seen.entry.place}"
            _wrapped(screen, f"{step.connection}: {step.tunnel} ({what}); key {key}", 0)
            _warn(screen, step.found)


def _to(step: "Step") -> str:
    right = (step.create or {})["right"]
    if "gateway" in right:
        return f"to the gateway {right['gateway']}"
    return f"to the outside peer {right['peer']['identities'][0]}"


def _carried_out(
    session: Session, client: "Client", steps: Iterable["Step"], terms: "Terms"
) -> dict[str, Mapping[str, Any]]:
    """Do it, go on after a refusal, and give what was refused, by connection."""
    from ikewarden.cli import importing
    from ikewarden.client import Refused

    refused: dict[str, Mapping[str, Any]] = {}
    for step in steps:
        try:
            importing.carry_out(client, step, terms, now=session.clock())
        except Refused as error:
            told = failure_of(error).document
            refused[step.connection] = told
            session.screen.note(f"{step.connection}: {told['detail']} ({told['code']})")
            if told.get("next_step"):
                session.screen.note(f"  Next: {told['next_step']}")
        else:
            session.screen.note(f"{step.connection}: taken over as {step.tunnel}.")
    return refused


def _step_document(step: "Step", refused: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    problem = refused.get(step.connection)
    state = "taken_over"
    if step.left_out:
        state = "left_out"
    elif step.done:
        state = "managed"
    elif problem is not None:
        state = "refused"
    return {
        "connection": step.connection,
        "tunnel": step.tunnel or None,
        "created": step.create is not None and problem is None,
        "state": state,
        "reason": step.left_out or None,
        "problem": problem,
        "fingerprint": step.secret.fingerprint if step.secret is not None else None,
    }
