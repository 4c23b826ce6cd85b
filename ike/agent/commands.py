"""What the service wants done once: tunnels cut, authenticated afresh. Each outcome is kept until it was reported."""

import logging
from collections.abc import Callable
from functools import partial

from core.errors import IkewardenError
from ike.agent import report
from ike.agent.channel import ServerUnreachable
from ike.agent.circumstances import Circumstances
from ike.agent.clock import served_time
from ike.agent.desired import Command, DesiredState
from ike.daemons.port import Cut, DaemonRefused, DaemonUnreachable

_log = logging.getLogger(__name__)


def is_open(here: Circumstances, command: Command, version: int) -> bool:
    """Whether a command of the state of this version is still to be done; one that expired is recorded as failed."""
    kept = here.notes.commands.get(command.key)
    if kept is not None and kept.get("outcome") == "done":
        # What the service still names in a later state than that whose report closed it, it has opened again.
        told = kept.get("told_version")
        return command.kind == "cut" and isinstance(told, int) and version > told
    now = served_time(here.clock.wall(), here.skew)
    if command.expires_at is not None and now >= command.expires_at:
        if kept is None:
            _failed(here, command, "The command had expired when it came.")
        return False
    # A cut that failed is tried again until it is done or has expired.
    return kept is None or command.kind == "cut"


def cut(here: Circumstances, desired: DesiredState, told: Callable[[], None]) -> None:
    """Cut what is to be cut, first of all: seconds count. `told` is called when there is something to report."""
    done = False
    for command in desired.commands:
        if command.kind == "cut" and is_open(here, command, desired.version):
            here.step(partial(_cut, here, command, desired))
            done = done or command.key in here.notes.commands
    if done:
        told()


def _cut(here: Circumstances, command: Command, desired: DesiredState) -> None:
    peer = command.peer
    if peer is None:
        return
    trouble: list[str] = []
    if command.crl_authority:
        try:
            _load_named(here, command, desired)
        except DaemonUnreachable:
            raise
        except IkewardenError as error:
            # Without the list the peer may come back, but it is better cut than not.
            trouble.append(f"The CRL was not loaded: {error.message}")
            here.write_down(**report.error_entry(error))
    cuts: tuple[Cut, ...] = ()
    try:
        cuts = here.daemon.cut(peer)
    except DaemonRefused as refused:
        trouble.append(refused.message)
    trouble += [each.error or "An SA did not end." for each in cuts if not each.ended]
    _log.warning(
        "tunnels of a revoked certificate were ended",
        extra={"serial": peer.serial, "cuts": len(cuts), "failed": len(trouble)},
    )
    here.notes.commands[command.key] = report.outcome(
        command,
        done=not trouble,
        now=here.clock.wall(),
        error="; ".join(trouble),
        cuts=cuts,
    )


def _load_named(here: Circumstances, command: Command, desired: DesiredState) -> None:
    held = here.crls.held_with(command.crl_authority, command.crl_number)
    if held is None:
        if here.reached is None:
            raise ServerUnreachable("The service is not reached.")
        held = here.crls.fetch(
            here.reached, command.crl_authority, desired.authorities, number=command.crl_number
        )
    here.daemon.load_crls([held])


def carry_out(here: Circumstances, desired: DesiredState) -> None:
    """Do the other commands, and forget outcomes that were reported of commands that are named no more."""
    for command in desired.commands:
        # cut was done first of all, renew is a part of the credential's step
        if command.kind in ("cut", "renew") or not is_open(here, command, desired.version):
            continue
        if command.kind == "reauthenticate":
            here.step(partial(_reauthenticate, here, command))
        else:
            _failed(here, command, f"This agent does not know the command {command.kind}.")
    known = {each.key for each in desired.commands}
    here.notes.commands = {
        name: each
        for name, each in here.notes.commands.items()
        if name in known or not each.get("told")
    }


def _reauthenticate(here: Circumstances, command: Command) -> None:
    count = here.daemon.reauthenticate(command.connection)
    _log.info("fresh authentications started", extra={"count": count})
    done(here, command)


def done(here: Circumstances, command: Command) -> None:
    """Record that a command was carried out."""
    here.notes.commands[command.key] = report.outcome(command, done=True, now=here.clock.wall())


def _failed(here: Circumstances, command: Command, why: str) -> None:
    here.notes.commands[command.key] = report.outcome(
        command, done=False, now=here.clock.wall(), error=why
    )
