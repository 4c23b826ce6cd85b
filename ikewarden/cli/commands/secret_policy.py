"""Options that say when and how a tunnel's shared secret is rotated, and the commands that change only that."""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, TypeVar

import click

from core.errors import NotFound
from ikewarden.cli.commands.tunnel import PATH
from ikewarden.cli.help import command
from ikewarden.cli.options import client_command, example
from ikewarden.cli.screen import shown
from ikewarden.cli.segments import segment
from ikewarden.cli.session import Session, pass_session
from ikewarden.client import Client

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_EVERY: Final = re.compile(r"(\d{1,4})([dw])")
_CLOCK: Final = r"((?:[01][0-9]|2[0-3]):[0-5][0-9]|24:00)"
_WINDOW: Final = re.compile(rf"([A-Za-z]{{3}}(?:[,-][A-Za-z]{{3}})*) +{_CLOCK}-{_CLOCK}")
_LONGEST_DAYS: Final = 3650
_MOST_JITTER: Final = 50  # per cent


class SecretUnmanaged(NotFound):
    """The tunnel has no shared secret of this kind under management."""

    code = "secret_unmanaged"
    next_step = "Put it there with `ikewarden tunnel secret-add`."


class Every(click.ParamType[int]):
    """Days between two rotations."""

    name = "span"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read it; fails as click fails."""
        if isinstance(value, int):
            return value
        if value == "never":
            return 0
        match = _EVERY.fullmatch(value)
        if match is None:
            self.fail(f"{value!r} is no span of days: write 90d, 12w, or never.")
        days = int(match[1]) * (7 if match[2] == "w" else 1)
        if not 1 <= days <= _LONGEST_DAYS:
            self.fail(f"A secret is rotated every 1 to {_LONGEST_DAYS} days, or never.")
        return days


class Part(click.ParamType[float]):
    """A part of a whole, in per cent."""

    name = "part"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Read it; fails as click fails."""
        if isinstance(value, float):
            return value
        match = re.fullmatch(r"(\d{1,3})%", value)
        if match is None or int(match[1]) > _MOST_JITTER:
            self.fail(f"{value!r} is no part from 0% to {_MOST_JITTER}%: write 10%.")
        return int(match[1]) / 100


class WindowType(click.ParamType[dict[str, Any]]):
    """A maintenance window: `Sat,Sun 02:00-04:00` or `Mon-Fri 22:00-05:00`."""

    name = "window"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> dict[str, Any]:
        """Read it; fails as click fails."""
        if isinstance(value, dict):
            return value
        match = _WINDOW.fullmatch(value.strip())
        days = None if match is None else _days(match[1].lower())
        if match is None or days is None:
            self.fail(
                f"{value!r} is no window: write 'Sat,Sun 02:00-04:00' or 'Mon-Fri 22:00-05:00'."
            )
        return {"days": days, "start": match[2], "end": match[3]}


def _days(text: str) -> list[str] | None:
    found: list[str] = []
    for piece in text.split(","):
        first, _, last = piece.partition("-")
        if first not in _DAYS or (last or first) not in _DAYS:
            return None
        start, length = _DAYS.index(first), (_DAYS.index(last or first) - _DAYS.index(first)) % 7
        found += [_DAYS[(start + step) % 7] for step in range(length + 1)]
    return list(dict.fromkeys(found))


_OPTIONS: Final = (
    click.option(
        "--every", type=Every(), metavar="SPAN", help="How often: 90d, 12w, or never. [new: 90d]"
    ),
    click.option(
        "--jitter",
        type=Part(),
        metavar="PART",
        help="By which part of that a rotation may come earlier. [new: 10%]",
    ),
    click.option(
        "--window",
        "windows",
        type=WindowType(),
        multiple=True,
        metavar="WINDOW",
        help="Begin in this window only: 'Sat,Sun 02:00-04:00'; more than once for several. [new: at any time]",
    ),
    click.option(
        "--zone", metavar="ZONE", help="Time zone of the windows, as Europe/Berlin. [new: UTC]"
    ),
    click.option(
        "--gap/--no-gap",
        default=None,
        help="Whether SAs may be interrupted to prove a key where a daemon cannot do it without. [new: no]",
    ),
    click.option(
        "--proof-hours",
        type=click.IntRange(1, 720),
        metavar="N",
        help="How long a new key may wait to be proven before it is undone. [new: 24]",
    ),
)


def policy_options(command: Decorated) -> Decorated:
    """Give a command the options of a policy."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def policy_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """The policy in a request: what options named, and nothing else."""
    named = {
        "interval_days": given["every"],
        "jitter": given["jitter"],
        "windows": list(given["windows"]) or None,
        "zone": given["zone"],
        "gap": given["gap"],
        "proof_hours": given["proof_hours"],
    }
    return {name: value for name, value in named.items() if value is not None}


kind_option = click.option(
    "--kind",
    type=click.Choice(["psk", "ppk"]),
    default="psk",
    show_default=True,
    help="Pre-shared key, or post-quantum preshared key.",
)


own_kind_option = click.option(
    "--kind", type=click.Choice(["psk", "ppk"]), help="[default: psk, or the only one that it has]"
)


def kind_of(client: Client, name: str, kind: str | None) -> str:
    """The kind that is meant where none was named: psk, unless the tunnel has a PPK only."""
    if kind is not None:
        return kind
    items = client.get(f"{PATH}/{segment(name)}/secrets")["items"]
    return "ppk" if [each["kind"] for each in items] == ["ppk"] else "psk"


def at(name: str, kind: str) -> str:
    """The path of a tunnel's shared secret."""
    return f"{PATH}/{segment(name)}/secrets/{kind}"


@command(
    "policy",
    epilog=example(
        "ikewarden tunnel policy gw1-gw2",
        "ikewarden tunnel policy gw1-gw2 --every 30d --jitter 20%",
        "ikewarden tunnel policy gw1-gw2 --window 'Sat,Sun 02:00-04:00' --zone Europe/Berlin",
        "ikewarden tunnel policy gw1-gw2 --any-time",
    ),
)
@click.argument("name")
@own_kind_option
@policy_options
@click.option("--any-time", is_flag=True, help="Take all windows away.")
@client_command()
@pass_session
def policy(session: Session, /, name: str, kind: str | None, any_time: bool, **given: Any) -> None:
    """Show or change when and how a tunnel's shared secret is rotated.

    What no option names stays as it is; windows that are given replace those before.
    """
    wanted = policy_of(given)
    if any_time:
        if given["windows"]:
            raise click.UsageError("Give either --window or --any-time.")
        wanted["windows"] = []
    client = session.connect()
    kind = kind_of(client, name, kind)
    _show(session, client.patch(at(name, kind), wanted) if wanted else kept(client, name, kind))


@command("freeze", epilog=example("ikewarden tunnel freeze gw1-gw2"))
@click.argument("name")
@own_kind_option
@client_command()
@pass_session
def freeze(session: Session, name: str, kind: str | None) -> None:
    """Begin no rotation of a tunnel's shared secret until it is unfrozen.

    One that is under way goes on to its end.
    """
    found = _frozen(session, name, kind, frozen=True)
    rotation = found["rotation"]
    session.screen.note(f"{found['name']} is frozen: no rotation of it begins by itself.")
    if rotation is not None:
        waits = (rotation["state"], rotation["reason"]) == ("scheduled", "scheduled")
        goes_on = "waits until it is unfrozen" if waits else "is under way and goes on to its end"
        session.screen.note(f"Rotation {rotation['id']} {goes_on}.")
    _show(session, found)


@command("unfreeze", epilog=example("ikewarden tunnel unfreeze gw1-gw2"))
@click.argument("name")
@own_kind_option
@client_command()
@pass_session
def unfreeze(session: Session, name: str, kind: str | None) -> None:
    """Let the rotations of a tunnel's shared secret begin again when they are due."""
    found = _frozen(session, name, kind, frozen=False)
    due = found["due_at"]
    when = "its rotations begin on demand only"
    if found["rotation"] is not None:
        when = f"rotation {found['rotation']['id']} is under way"
    elif due is not None:
        late = datetime.fromisoformat(due) <= session.clock()
        when = "it is due, and its rotation begins" if late else f"it is due on {shown(due)}"
    session.screen.note(f"{found['name']} is not frozen any more: {when}.")
    _show(session, found)


def _frozen(session: Session, name: str, kind: str | None, *, frozen: bool) -> Mapping[str, Any]:
    client = session.connect()
    return client.patch(at(name, kind_of(client, name, kind)), {"frozen": frozen})


def kept(client: Client, name: str, kind: str) -> Mapping[str, Any]:
    """The tunnel's shared secret of this kind. Raises SecretUnmanaged."""
    for each in client.get(f"{PATH}/{segment(name)}/secrets")["items"]:
        if each["kind"] == kind:
            return dict(each)
    step = f"Put it there with `ikewarden tunnel secret-add {name}`."
    if kind == "ppk":
        step = "Only a managed tunnel has one: make it anew with `--managed --ppk required`."
    raise SecretUnmanaged(
        f"No {kind} of the tunnel {name} is under management.",
        next_step=step,
    )


def _show(session: Session, found: Mapping[str, Any]) -> None:
    if session.screen.is_json:
        session.screen.json(found)
        return
    session.screen.document({**found["policy"], "due_at": found["due_at"]})
