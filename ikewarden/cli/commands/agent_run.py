"""`ikewarden agent run` and `once`: the agent at work."""

import contextlib
import logging
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from core.errors import IkewardenError
from ikewarden.cli.commands.agent import files_options, home_option
from ikewarden.cli.failures import FAILED, UNREACHABLE
from ikewarden.cli.help import command
from ikewarden.cli.options import example, format_option
from ikewarden.cli.session import Session, pass_session

if TYPE_CHECKING:
    from ike.agent.home import Home
    from ike.agent.loop import Agent
    from ike.agent.settings import AgentSettings
    from ikewarden.logs import Format, Level

_AWAY = ("server_unreachable", "server_untrusted", "answer_broken")


@command(
    epilog=example("ikewarden agent run", "ikewarden agent run --home /srv/agent --log-format json")
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="How much is written to standard error.",
)
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How it is written.",
)
@home_option
@pass_session
def run(session: Session, home: Path, log_level: str, log_format: str) -> int:
    """Keep the IKE daemon as the service wants it, until stopped.

    SIGTERM and Ctrl-C end it, SIGHUP has it read agent.toml again. Under systemd it says when it is ready, and that it
    lives. What is loaded in the daemon stays when it ends.
    """
    from core.notify import Supervisor
    from ike.agent.home import Home
    from ikewarden.logs import configure_logs

    configure_logs(cast("Level", log_level), cast("Format", log_format), stream=session.err)
    supervisor = Supervisor(session.environ)
    place = Home(home)
    with place.locked():
        agent = _agent(session, place, {})
        while True:
            agent.after_round = lambda: _publish(session, place)
            with _signals(agent):
                if not agent.run(supervisor).reload:
                    return 0
            agent = _begin_anew(session, place, agent)


def _begin_anew(session: Session, home: "Home", former: "Agent") -> "Agent":
    """An agent with the settings of now; with the former ones where they cannot be used."""
    from ike.agent.loop import Agent

    try:
        return _agent(session, home, {})
    except IkewardenError as error:
        extra = {"code": error.code, "reason": error.message}
        logging.getLogger(__name__).warning("agent.toml is not used", extra=extra)
        return Agent(home, former.daemon, former.settings, former.clock)


@command(
    epilog=example(
        "ikewarden agent once",
        "ikewarden agent once --renew",
        "ikewarden agent once --audit",
        "ikewarden agent once --render swanctl --out /srv/out --after systemctl reload myvpn",
    ),
)
@click.option("--renew", is_flag=True, help="Renew now, whatever the dates say.")
@click.option("--audit", is_flag=True, help="Audit this host too, and report what was found.")
@files_options
@click.option(
    "--after",
    "after_given",
    is_flag=True,
    help="Run the PROGRAM that follows, with its ARGUMENTS, when files changed: without a shell.",
)
@home_option
@format_option()
@click.argument("program", nargs=-1, type=click.UNPROCESSED, metavar="[PROGRAM ARGUMENTS…]")
@pass_session
def once(session: Session, /, home: Path, renew: bool, audit: bool, **given: Any) -> int:
    """Do once what `run` does all the time, and tell what came of it.

    Fetches the desired state, makes the daemon so, renews what is due, reports. For a timer or a script: exit code 0
    means that everything is as it should be, 3 that the service was not reached.
    """
    from ike.agent.home import Home
    from ikewarden.cli.commands.agent_status import tell
    from ikewarden.logs import configure_logs

    if given["after_given"] != bool(given["program"]):
        raise click.UsageError("Give --after and then the program with its arguments.")
    configure_logs("error", "text", stream=session.err)
    place = Home(home)
    with place.locked():
        notes = _agent(session, place, given).once(renew=renew, audit=audit)
    tell(session, place)
    codes = [each["code"] for each in notes.errors]
    if any(code in _AWAY for code in codes):
        return UNREACHABLE
    return FAILED if codes or notes.drift else 0


once.allow_interspersed_args = False  # what follows --after is the program's


def _agent(session: Session, home: "Home", given: dict[str, Any]) -> "Agent":
    from ike.agent.clock import Clock
    from ike.agent.daemons import build
    from ike.agent.enrollment import settled
    from ike.agent.loop import Agent

    settings = _overruled(settled(home), given)
    return Agent(home, build(settings, session.clock), settings, Clock(session.clock))


def _overruled(settings: "AgentSettings", given: dict[str, Any]) -> "AgentSettings":
    """The settings with what the command line says of files."""
    files = settings.files
    if given.get("out"):
        files = replace(files, out=str(given["out"].absolute()))
    if given.get("program"):
        files = replace(files, after=tuple(given["program"]))
    if given.get("render"):
        return replace(settings, daemon="files", files=replace(files, render=given["render"]))
    return replace(settings, files=files)


@contextlib.contextmanager
def _signals(agent: "Agent") -> Iterator[None]:
    before = {
        number: signal.signal(number, lambda *_, act=act: act())
        for number, act in (
            (signal.SIGTERM, agent.stop),
            (signal.SIGINT, agent.stop),
            (signal.SIGHUP, agent.reload),
        )
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _publish(session: Session, home: "Home") -> None:
    from ike.agent.status import publish

    with contextlib.suppress(OSError, IkewardenError):
        publish(home, session.environ, session.clock())
