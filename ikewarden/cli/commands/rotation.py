"""`ikewarden tunnel rotate` and `ikewarden rotation`: shared secrets rotated, and watched while they are."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import click

from ikewarden.cli.commands.tunnel import PATH as TUNNELS
from ikewarden.cli.help import command
from ikewarden.cli.lazy import Lazy, LazyGroup
from ikewarden.cli.options import client_command, example, limit_option
from ikewarden.cli.screen import Column, Screen
from ikewarden.cli.segments import segment
from ikewarden.cli.session import Session, pass_session
from ikewarden.client import Client

PATH: Final = "/v1/rotations"
_LOOK_SECONDS: Final = 1.0
_ENDED: Final = frozenset({"retired", "rolled_back", "cancelled"})
_WAY: Final = (
    ("scheduled", "waits for its turn"),
    ("generated", "makes the new key"),
    ("stored", "the new key is in the store"),
    ("staged_first", "one end is to take it beside the old one"),
    ("staged", "the other end is to take both too"),
    ("promoted", "both ends are to prove themselves by the new key"),
    ("proven", "a fresh authentication was seen; the old key is withdrawn"),
    ("retired", "the new key alone is in force"),
)
# What one end alone does, where the other one is none of ours or there is no old key.
_WORDS: Final = {
    ("manual", "staged_first"): "our end is to take it beside the old one",
    ("manual", "staged"): "the outside peer is to take the key",
    ("manual", "promoted"): "our end is to prove itself by the new key",
    ("first", "promoted"): "the ends are to take the key, and to authenticate by it",
    ("first", "proven"): "a fresh authentication was seen",
    ("first", "retired"): "the key is in force",
}
# Where there is no old key beside which the new one could be.
_AT_ONCE: Final = frozenset({"first", "emergency"})
_OFF_THE_WAY: Final = {
    "rolling_back": "is being undone: the old key stays in force",
    "rolled_back": "was undone: the old key is in force",
    "cancelled": "was cancelled before anything was made",
    "stuck": "is stuck, and goes on when what holds it up is gone",
}
_COLUMNS: Final = (
    Column("Rotation", "id", whole=True),
    Column("Secret", "secret"),
    Column("State", "state", whole=True),
    Column("Method", "method", whole=True, spare=2),
    Column(
        "Versions",
        lambda entry: f"{entry['from_version'] or '-'} → {entry['to_version'] or '-'}",
        spare=1,
    ),
    Column("Begun", "created_at", whole=True),
    Column("By", "created_by", spare=3),
    Column("Ended", "ended_at", whole=True, spare=3),
    Column("Error", "error"),
)
_STEPS: Final = (
    Column("Step", "number", whole=True),
    Column("Where", lambda entry: entry["side"] or "both", whole=True),
    Column("What", "what"),
    Column("Then waits for", "waits_for"),
)


@click.group(
    cls=LazyGroup,
    lazy={
        "list": Lazy(f"{__name__}:list_", "Search rotations, the newest first."),
        "show": Lazy(f"{__name__}:show", "Show a rotation, and what it waits for."),
        "confirm": Lazy(
            f"{__name__}:confirm",
            "Say that the outside peer has the new key, so that our end may use it.",
        ),
        "cancel": Lazy(
            f"{__name__}:cancel",
            "Have a rotation undone: the old key stays in force, the new one is destroyed.",
        ),
    },
    epilog=example("ikewarden rotation list --state running"),
)
def rotation() -> None:
    """Rotations of shared secrets."""


@command(
    "rotate",
    epilog=example(
        "ikewarden tunnel rotate gw1-gw2 --plan",
        "ikewarden tunnel rotate gw1-gw2 --wait",
        "ikewarden tunnel rotate gw1-gw2 --emergency --reason 'the key was in a ticket'",
    ),
)
@click.argument("name")
@click.option("--kind", type=click.Choice(["psk", "ppk"]), help="[default: all that it has]")
@click.option("--plan", is_flag=True, help="Only tell what would be done; change nothing.")
@click.option(
    "--emergency",
    is_flag=True,
    help="The present key is known to others: both ends change at once, SAs are made anew.",
)
@click.option("--reason", metavar="TEXT", help="Why, for the audit log.")
@click.option("--wait", is_flag=True, help="Watch it until it ends; Ctrl-C only ends the watching.")
@client_command()
@pass_session
def rotate(session: Session, /, name: str, plan: bool, wait: bool, **given: Any) -> int:
    """Rotate a tunnel's shared secrets now.

    The new key is made and taken by both ends beside the old one, before either uses it; a fresh authentication proves
    it before the old one is destroyed. Whatever fails on the way is undone. With --wait, ends with 1 unless the new key
    is in force, or waits for people: that is not watched.
    """
    client, screen = session.connect(), session.screen
    body = {"kind": given["kind"], "emergency": given["emergency"], "reason": given["reason"]}
    answer = client.post(f"{TUNNELS}/{segment(name)}/rotate", {**body, "plan": plan})
    if plan:
        _show_plans(screen, answer)
        return 0
    begun = answer["rotations"]
    if not wait:
        _show_begun(screen, begun)
        return 0
    sleep = time.sleep  # noqa: TID251 - an entry point
    found = [_watch(screen, client, each, sleep) for each in begun]
    if screen.is_json:
        screen.json({"rotations": found})
    return 0 if all(map(_is_well, found)) else 1


def _is_well(found: Mapping[str, Any]) -> bool:
    """Whether it ended as it should, or waits for people, which is not watched."""
    return found["state"] == "retired" or _waits_for_confirmation(found)


def _show_plans(screen: Screen, answer: Mapping[str, Any]) -> None:
    if screen.is_json:
        screen.json({"plans": answer["plans"]})
        return
    for number, plan in enumerate(answer["plans"]):
        if number:
            screen.line()
        screen.fields(
            {
                "secret": plan["secret"],
                "method": plan["method"],
                "interruption": plan["interruption"] or "none",
                "missing": plan["missing"],
            }.items()
        )
        screen.line()
        screen.table(_STEPS, [{"number": n, **step} for n, step in enumerate(plan["steps"], 1)])
    screen.note("Nothing was changed.")


def _show_begun(screen: Screen, begun: Sequence[Mapping[str, Any]]) -> None:
    if screen.is_json:
        screen.json({"rotations": begun})
        return
    screen.table(_COLUMNS, begun)
    screen.note(f"Look at it with `ikewarden rotation show {begun[0]['id']} --wait`.")


@command(
    "list",
    epilog=example(
        "ikewarden rotation list --state running", "ikewarden rotation list --tunnel gw1-gw2"
    ),
)
@click.option("--tunnel", metavar="NAME", help="Only those of this tunnel.")
@click.option(
    "--state",
    type=click.Choice(["running", *(name for name, _ in _WAY), *_OFF_THE_WAY]),
    metavar="STATE",
    help="Only these: running, stuck, rolled_back, retired, …",
)
@limit_option
@client_command()
@pass_session
def list_(session: Session, tunnel: str | None, state: str | None, limit: int) -> None:
    """Search rotations, the newest first."""
    asked = {"tunnel": tunnel, "state": state}
    found = session.connect().listing(PATH, asked, limit=limit)
    nothing = "No such rotation." if any(asked.values()) else "No secret was rotated yet."
    session.screen.entries(_COLUMNS, found.items, more=found.more, nothing=nothing)


@command("show", epilog=example("ikewarden rotation show 17 --wait"))
@click.argument("number", type=click.IntRange(1))
@click.option("--wait", is_flag=True, help="Watch it until it ends; Ctrl-C only ends the watching.")
@client_command()
@pass_session
def show(session: Session, number: int, wait: bool) -> int:
    """Show a rotation, and what it waits for.

    With --wait, ends with 1 unless the new key is in force.
    """
    client, screen = session.connect(), session.screen
    found = client.get(f"{PATH}/{number}")
    if wait:
        sleep = time.sleep  # noqa: TID251 - an entry point
        found = _watch(screen, client, found, sleep)
    if screen.is_json:
        screen.json(found)
    elif not wait:
        shown = {name: value for name, value in found.items() if name != "back"}
        screen.document({**shown, "state": in_words(found), "being_undone": found["back"]})
    return 0 if not wait or _is_well(found) else 1


@command("confirm", epilog=example("ikewarden rotation confirm 17"))
@click.argument("number", type=click.IntRange(1))
@client_command()
@pass_session
def confirm(session: Session, number: int) -> None:
    """Say that the outside peer has the new key, so that our end may use it.

    `tunnel handover` brings the key there.
    """
    found = session.connect().post(f"{PATH}/{number}/confirm")
    session.screen.note(
        f"Rotation {number}: noted that the outside peer has the new key; our end is to prove itself by it."
    )
    session.screen.document(found)


@command("cancel", epilog=example("ikewarden rotation cancel 17"))
@click.argument("number", type=click.IntRange(1))
@client_command()
@pass_session
def cancel(session: Session, number: int) -> None:
    """Have a rotation undone: the old key stays in force, the new one is destroyed."""
    found = session.connect().post(f"{PATH}/{number}/cancel")
    session.screen.note(f"Rotation {number} {_undone(found)}.")
    session.screen.document(found)


def _undone(found: Mapping[str, Any]) -> str:
    """What came of a cancellation."""
    old = "it had no key before" if found["from_version"] is None else "the old key stays in force"
    if found["state"] == "cancelled":
        return f"was cancelled before anything was made; {old}"
    if found["state"] == "rolled_back":
        return f"was undone; {old}"
    return f"is being undone; {old}"


def _watch(
    screen: Screen, client: Client, found: dict[str, Any], sleep: Callable[[float], None]
) -> dict[str, Any]:
    """Look at a rotation until it ends, or until a person is needed."""
    try:
        with _display(screen, found) as tell:
            while True:
                tell(found)
                if found["state"] in _ENDED or _needs_somebody(found):
                    break
                sleep(_LOOK_SECONDS)
                found = client.get(f"{PATH}/{found['id']}")
    except KeyboardInterrupt:
        screen.note(f"It goes on without you: `ikewarden rotation show {found['id']} --wait`.")
        raise
    _advise(screen, found)
    return found


def _needs_somebody(found: Mapping[str, Any]) -> bool:
    return bool(found["state"] == "stuck" or _waits_for_confirmation(found))


def _waits_for_confirmation(found: Mapping[str, Any]) -> bool:
    waits = (found.get("method"), found["state"]) == ("manual", "staged")
    return waits and found["confirmed_at"] is None and not found["back"]


def _advise(screen: Screen, found: Mapping[str, Any]) -> None:
    if found["error"]:
        screen.note(f"{found['error']} ({found['error_code']})")
    if found["next_step"]:
        screen.note(f"Next: {found['next_step']}")
    if found.get("waits_for"):
        screen.note(found["waits_for"])


@contextmanager
def _display(
    screen: Screen, first: Mapping[str, Any]
) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """How a rotation is shown while it goes on: on a terminal the whole way, else a line for each change."""
    if screen.is_json or not screen.out.isatty():
        said: list[str] = []

        def tell(found: Mapping[str, Any]) -> None:
            line = in_words(found)
            if line not in said[-1:]:
                said.append(line)
                screen.note(f"{first['secret']}: {line}")

        yield tell
        return
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console(file=screen.out, highlight=False, markup=False, emoji=False)
    with Live(console=console, refresh_per_second=4) as live:
        yield lambda found: live.update(Text("\n".join(way(found))))


def in_words(found: Mapping[str, Any]) -> str:
    """Where a rotation stands, in a line."""
    state = str(found["state"])
    return f"{state}: {_words(found).get(state) or _OFF_THE_WAY[state]}"


def _words(found: Mapping[str, Any]) -> dict[str, str]:
    """The states that a rotation of this method comes through, in words."""
    method = found.get("method")
    left_out = {"staged_first", "staged"} if method in _AT_ONCE else set()
    return {
        state: _WORDS.get((str(method), state), words)
        for state, words in _WAY
        if state not in left_out
    }


def way(found: Mapping[str, Any]) -> list[str]:
    """The whole way of a rotation: what is done, where it is, what is to come."""
    stages = list(_words(found).items())
    names = [name for name, _ in stages]
    lines = [f"{found['secret']}: rotation {found['id']}, {found['method']}"]
    state = found["state"]
    if state not in names:
        return [*lines, f"  ! {in_words(found)}"]
    at = names.index(state)
    for number, (name, words) in enumerate(stages):
        mark = "✓" if number < at or state == "retired" else "→" if number == at else " "
        lines.append(f"  {mark} {name:<13} {words}")
    if found.get("waits_for"):
        lines.append(f"  {found['waits_for']}")
    return lines
