"""The credential's part of a round: asked for when it is due, brought into use, the former one retired."""

import logging
from functools import partial

from core.errors import IkewardenError
from ike.agent import channel_key, commands
from ike.agent.channel import ServerRefused, ServerUnreachable
from ike.agent.circumstances import Circumstances
from ike.agent.clock import instant, served_time
from ike.agent.desired import Command, DesiredState
from ike.agent.generations import Generation
from ike.agent.home import stamp
from ike.agent.renewal import EnrollmentUnfinished, said
from ike.agent.schedule import due_at, may_renew
from ike.daemons.port import DaemonUnreachable, fingerprint

_log = logging.getLogger(__name__)


def see_to(here: Circumstances, desired: DesiredState | None) -> None:
    """Do what the credential needs now."""
    generations = here.home.generations
    pending = generations.pending()
    if pending is not None and here.credentials.of_other_kind(pending):
        here.step(partial(_abandon, here, pending))
    here.step(lambda: _obtain(here, desired), needs_daemon=False)
    pending = generations.pending()
    if pending is not None and pending.certificate is not None and here.may_try():
        managed = [each.name for each in desired.connections] if desired else []
        here.step(partial(_advance, here, pending, managed))
    here.step(here.credentials.retire)
    here.step(here.credentials.sweep, needs_daemon=False)
    here.step(lambda: renew_channel(here), needs_daemon=False)


def renew_channel(here: Circumstances) -> None:
    """Renew what a home speaks by that has a key for it, when that is due, or go on with it."""
    current, pending = here.home.channel.current(), here.home.channel.pending()
    if current is None or here.reached is None or not here.may_try():
        return
    now = here.clock.wall()
    if pending is None and served_time(now, here.skew) < due_at(current, here.settings.gateway):
        return
    try:
        made = channel_key.renew(here.home, here.reached, now=now)
    except ServerRefused as refused:
        here.count_failure()
        raise said(refused) from None
    except IkewardenError:
        here.count_failure()
        raise
    here.renewed = True
    _log.info("the channel has a new certificate", extra={"serial": made.serial})


def something_due(here: Circumstances, desired: DesiredState | None) -> bool:
    """Whether a renewal, or what is left of one, waits to be done now."""
    generations = here.home.generations
    pending = generations.pending()
    if generations.replaced():
        return True
    if pending is not None and pending.certificate is not None:
        return here.may_try()
    try:
        return bool(_why_renew(here, pending, desired)[0])
    except EnrollmentUnfinished:
        return False


def _abandon(here: Circumstances, pending: Generation) -> None:
    current = here.home.generations.current()
    if current is None:
        return
    if pending.certificate is not None:
        here.daemon.undo(pending.credential, current.credential_name)
    here.home.generations.discard(pending)


def _obtain(here: Circumstances, desired: DesiredState | None) -> None:
    """Ask for a new certificate where one is due, or go on asking."""
    pending = here.home.generations.pending()
    if pending is not None and pending.certificate is not None:
        return
    if pending is not None and desired is not None and desired.certificate is not None:
        if here.credentials.take(pending, desired.certificate, desired.chain):
            return
    _say_foreign(here, desired)
    reason, command = _why_renew(here, pending, desired)
    if not reason:
        return
    if here.reached is None:
        raise ServerUnreachable("The certificate is to be renewed, and the service is not reached.")
    _log.info("asking for a new certificate", extra={"reason": reason})
    try:
        made = here.credentials.request(here.reached)
    except IkewardenError:
        here.count_failure()
        raise
    here.notes.renewed_at = stamp(here.clock.wall())
    here.notes.renew_version = desired.version if desired else None
    here.renew = False
    here.count_success()
    if command is not None:
        commands.done(here, command)
    _log.info("a new certificate came", extra={"serial": made.serial})


def _why_renew(
    here: Circumstances, pending: Generation | None, desired: DesiredState | None
) -> tuple[str, Command | None]:
    """Why a certificate should be asked for now ("" for no reason), and the command that says so."""
    mine = here.home.generations.identity()
    if mine is None:
        raise EnrollmentUnfinished(f"There is no certificate in {here.home.path} yet.")
    if here.renew:
        return "asked for here", None
    if not here.may_try():
        return "", None
    for command in desired.commands if desired else ():
        version = desired.version if desired else 0
        if command.kind == "renew" and commands.is_open(here, command, version):
            return "commanded", command
    if pending is not None and pending.request.get("kind") == "renew":
        return "resumed", None
    return _by_itself(here, mine, desired), None


def _by_itself(here: Circumstances, mine: Generation, desired: DesiredState | None) -> str:
    """The reason that lies in the certificate or in the desired state; none too soon after the last renewal."""
    now = here.clock.wall()
    if not may_renew(mine, instant(here.notes.renewed_at), now):
        return ""
    if served_time(now, here.skew) >= due_at(mine, here.settings.gateway):
        return "due"
    if desired is None or not desired.renew or desired.version == here.notes.renew_version:
        return ""
    # A command to renew sets this too, and is done by its id.
    told = any(command.kind == "renew" for command in desired.commands)
    return "" if told else "the service wants it"


def _advance(here: Circumstances, pending: Generation, managed: list[str]) -> None:
    try:
        new = here.credentials.advance(pending, managed, here.skew)
    except DaemonUnreachable:
        raise  # it is gone on with when the daemon is back
    except IkewardenError:
        here.count_failure()
        raise
    here.count_success()
    here.renewed = True
    _log.info("a certificate came into use", extra={"serial": new.serial, "proof": new.proof})


def _say_foreign(here: Circumstances, desired: DesiredState | None) -> None:
    """Tell of a certificate that the service knows and this home does not: two agents of one gateway, say."""
    mine = here.home.generations.identity()
    if desired is None or mine is None:
        return
    known = desired.certificate
    if known is None:
        message = "The service knows no valid certificate of this gateway."
        here.write_down("certificate_ended", message)
    elif (
        fingerprint(known) != fingerprint(mine.certified)
        and known.not_valid_before_utc > mine.certified.not_valid_before_utc
    ):
        here.write_down(
            "certificate_foreign",
            "The service knows a newer certificate of this gateway, whose key is not here: is there another agent?",
        )
