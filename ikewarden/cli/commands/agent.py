"""`ikewarden agent`: the commands on a gateway. They need the base install only, and no operator's credential."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from ikewarden.cli.lazy import Lazy, LazyGroup
from ikewarden.cli.options import example

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
_HERE: Final = "ikewarden.cli.commands"
HOME: Final = "/var/lib/ikewarden-agent"

home_option = click.option(
    "--home",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="IKEWARDEN_AGENT_HOME",
    default=HOME,
    help=f"The agent's home. [env: IKEWARDEN_AGENT_HOME; default: {HOME}]",
)


def files_options(command: Decorated) -> Decorated:
    """Give a command the options for files in the place of a daemon."""
    for option in (
        click.option(
            "--out",
            type=click.Path(file_okay=False, path_type=Path),
            help="Where the files go: a directory of their own.",
        ),
        click.option(
            "--render",
            type=click.Choice(["swanctl", "ipsec", "pem", "pkcs12"]),
            help="Write files of this kind, and touch no daemon.",
        ),
    ):
        command = option(command)
    return command


@click.group(
    cls=LazyGroup,
    lazy={
        "enroll": Lazy(
            f"{_HERE}.agent_enroll:enroll",
            "Make this gateway's key, get its certificate, and give both to the IKE daemon.",
        ),
        "run": Lazy(
            f"{_HERE}.agent_run:run", "Keep the IKE daemon as the service wants it, until stopped."
        ),
        "once": Lazy(
            f"{_HERE}.agent_run:once",
            "Do once what `run` does all the time, and tell what came of it.",
        ),
        "status": Lazy(f"{_HERE}.agent_status:status", "Show what the agent knows."),
        "unit": Lazy(f"{_HERE}.agent_status:unit", "Print a systemd unit for the agent."),
        "windows-bundle": Lazy(
            f"{_HERE}.agent_windows:windows_bundle",
            "Write a PowerShell module for a Windows gateway.",
        ),
    },
    epilog=example("ikewarden agent enroll", "ikewarden agent status"),
)
def agent() -> None:
    """On a gateway: enroll, feed the IKE daemon, renew."""
