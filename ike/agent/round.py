"""One round of the agent: make the daemon what the service wants, and tell what was found.

Trust, CRLs, credential, connections, commands, report: in this order, each step repeatable. A command to cut goes before
all of them, after the CRL that it names. What one step cannot do is written down and does not keep the others from
being done; only a daemon that does not answer ends the steps that need it.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol, runtime_checkable

from core.errors import IkewardenError
from ike.agent import report
from ike.agent.clock import Clock, served_time
from ike.agent.crls import Crl, Crls
from ike.agent.desired import Command, DesiredState
from ike.agent.drift import Wanted, compare
from ike.agent.enrollment import TOLERATED, clock_words
from ike.agent.generations import Generation
from ike.agent.home import Home, Notes, stamp
from ike.agent.renewal import Credentials, EnrollmentUnfinished
from ike.agent.schedule import due_at, may_renew, retry_seconds
from ike.agent.service import Service, ServerUnreachable
from ike.agent.settings import AgentSettings
from ike.daemons.port import (
    Daemon,
    DaemonInfo,
    DaemonUnreachable,
    Inventory,
    fingerprint,
)

_log = logging.getLogger(__name__)


@runtime_checkable
class Settling(Protocol):
    """A daemon that wants to be told when a round is over: files whose reader is called once for all changes."""

    def settle(self) -> None:
        """Bring what was changed into effect. Raises DaemonRefused."""
        ...


@dataclass
class Round:
    """The parts of a round, and what came of it. `service` None: there is no way to the service now.

    `renew`: a renewal was asked for on the command line.
    """

    home: Home
    daemon: Daemon
    settings: AgentSettings
    clock: Clock
    crls: Crls
    service: Service | None
    notes: Notes
    skew: float | None = None
    renew: bool = False
    errors: list[dict[str, str]] = field(default_factory=list)
    info: DaemonInfo | None = None
    inventory: Inventory = field(default_factory=Inventory)
    renewed: bool = False
    daemon_gone: bool = False
    service_gone: bool = False

    def run(self, desired: DesiredState | None) -> None:
        """Do all steps and report."""
        credentials = Credentials(self.home, self.daemon, self.settings, self.clock.wall)
        if desired is not None:
            self._cut(desired)
        self._step(lambda: self._meet(credentials))
        if desired is not None:
            self._step(lambda: self.daemon.trust(desired.authorities))
            self._step(lambda: self._load_crls(desired), needs_daemon=False)
        self._credential(credentials, desired)
        if desired is not None:
            self._step(lambda: self.daemon.connect(desired.connections))
            self._commands(desired, credentials)
        daemon = self.daemon
        if isinstance(daemon, Settling):
            self._step(daemon.settle)
        self.look(desired)
        self._say_clock()
        self.tell(desired)

    def something_due(self, desired: DesiredState | None) -> bool:
        """Whether a renewal, or what is left of one, waits to be done now."""
        generations = self.home.generations
        pending = generations.pending()
        if generations.replaced() or (
            pending is not None and pending.certificate is not None and self._time_to_try()
        ):
            return True
        try:
            return bool(self._why_renew(pending, desired)[0])
        except EnrollmentUnfinished:
            return False

    def look(self, desired: DesiredState | None) -> list[dict[str, str]]:
        """Compare what is loaded with what should be; gives the differences."""
        self.notes.drift = []
        self._step(self._look_at_daemon)
        if not self.daemon_gone:
            self.notes.drift = compare(self._wanted(desired), self.inventory)
        return self.notes.drift

    def _look_at_daemon(self) -> None:
        self.inventory = self.daemon.inventory()
        self.notes.sas = [report.sa_document(each) for each in self.daemon.sas()]

    def _wanted(self, desired: DesiredState | None) -> Wanted:
        current = self.home.generations.current()
        wanted = desired.crls if desired else ()
        held = [self.crls.held(each.authority) for each in wanted]
        return Wanted(
            certificate=current.certificate if current else None,
            authorities=desired.authorities if desired else (),
            crls=[crl for crl in held if crl is not None],
            connections=[each.name for each in desired.connections] if desired else (),
            old=[fingerprint(each.certified) for each in self.home.generations.replaced()],
        )

    def _meet(self, credentials: Credentials) -> None:
        """See which daemon is there; give it the credential in use again where it has forgotten it."""
        self.info = self.daemon.describe()
        self.notes.daemon = {"kind": self.info.kind, "version": self.info.version}
        self.inventory = self.daemon.inventory()
        current = self.home.generations.current()
        forgotten = current is not None and compare(
            Wanted(current.certificate, (), (), ()), self.inventory
        )
        if forgotten or self.notes.incarnation != self.info.incarnation:
            # What was only loaded is gone with the former process, or with somebody's `--load-creds`.
            credentials.load_again()
            self.notes.incarnation = self.info.incarnation

    # --- revocation lists ---------------------------------------------------------------------------------------

    def _load_crls(self, desired: DesiredState) -> None:
        lists: list[Crl] = []
        for wanted in desired.crls:
            found: list[Crl] = []
            if self.service is not None and not self.service_gone:
                update = partial(self.crls.update, self.service, wanted, desired.authorities)
                self._step(partial(_collect, found, update), needs_daemon=False)
            crl = found[0] if found else self.crls.held(wanted.authority)
            if crl is not None:
                lists.append(crl)
        self.home.drop_crls({each.authority for each in desired.crls})
        if lists:
            self._step(lambda: self.daemon.load_crls(lists))

    # --- commands -----------------------------------------------------------------------------------------------

    def _cut(self, desired: DesiredState) -> None:
        """Cut first of all: seconds count, and nothing else may stand in the way."""
        told = False
        for command in desired.commands:
            if command.kind == "cut" and self._open(command):
                self._step(partial(self._cut_one, command, desired))
                told = told or command.id in self.notes.commands
        if told:
            self._step(self._look_at_daemon)
            self.tell(desired)

    def _cut_one(self, command: Command, desired: DesiredState) -> None:
        peer = command.peer
        if peer is None:
            return
        trouble: list[str] = []
        if command.crl_authority:
            try:
                self._load_named(command, desired)
            except DaemonUnreachable:
                raise
            except IkewardenError as error:
                # Without the list the peer may come back, but it is better cut than not.
                trouble.append(f"The CRL was not loaded: {error.message}")
                self._note(error)
        cuts = self.daemon.cut(peer)
        trouble += [each.error for each in cuts if not each.ended]
        _log.warning(
            "tunnels of a revoked certificate were ended",
            extra={"serial": peer.serial, "cuts": len(cuts), "failed": len(trouble)},
        )
        self.notes.commands[command.id] = report.outcome(
            command.id,
            done=not trouble,
            now=self.clock.wall(),
            error="; ".join(filter(None, trouble)),
            cuts=cuts,
        )

    def _load_named(self, command: Command, desired: DesiredState) -> None:
        if self.service is None:
            raise ServerUnreachable("The service is not reached.")
        crl = self.crls.fetch(
            self.service, command.crl_authority, desired.authorities, number=command.crl_number
        )
        self.daemon.load_crls([crl])

    def _commands(self, desired: DesiredState, credentials: Credentials) -> None:
        for command in desired.commands:
            if command.kind == "cut" or not self._open(command):
                continue
            if command.kind == "reauthenticate":
                self._step(partial(self._reauthenticate, command))
            elif command.kind == "renew":
                pass  # part of the credential step, which has recorded it when it was done
            else:
                self._failed(command, f"This agent does not know the command {command.kind}.")
        known = {each.id for each in desired.commands}
        self.notes.commands = {
            name: each
            for name, each in self.notes.commands.items()
            if name in known or not each.get("told")
        }

    def _open(self, command: Command) -> bool:
        """Whether a command is still to be done; one that expired is recorded as failed."""
        kept = self.notes.commands.get(command.id)
        if kept is not None and kept.get("outcome") == "done":
            return False
        now = served_time(self.clock.wall(), self.skew)
        if command.expires_at is not None and now >= command.expires_at:
            if kept is None:
                self._failed(command, "The command had expired when it came.")
            return False
        return kept is None or command.kind == "cut"

    def _reauthenticate(self, command: Command) -> None:
        count = self.daemon.reauthenticate(command.connection)
        _log.info("fresh authentications started", extra={"count": count})
        self._done(command.id)

    def _done(self, command: str) -> None:
        self.notes.commands[command] = report.outcome(command, done=True, now=self.clock.wall())

    def _failed(self, command: Command, why: str) -> None:
        self.notes.commands[command.id] = report.outcome(
            command.id, done=False, now=self.clock.wall(), error=why
        )

    # --- the credential -----------------------------------------------------------------------------------------

    def _credential(self, credentials: Credentials, desired: DesiredState | None) -> None:
        generations = self.home.generations
        pending = generations.pending()
        if pending is not None and generations.identity() and credentials.of_other_kind(pending):
            self._step(lambda: self._abandon(credentials, pending))
        self._step(lambda: self._obtain(credentials, desired), needs_daemon=False)
        pending = generations.pending()
        if pending is not None and pending.certificate is not None and self._time_to_try():
            managed = [each.name for each in desired.connections] if desired else []
            self._step(lambda: self._advance(credentials, pending, managed))
        self._step(credentials.retire)

    def _abandon(self, credentials: Credentials, pending: Generation) -> None:
        current = self.home.generations.current()
        if pending.certificate is not None and current is not None:
            credentials.daemon.undo(pending.credential, current.credential_name)
        if current is not None:
            self.home.generations.discard(pending)

    def _obtain(self, credentials: Credentials, desired: DesiredState | None) -> None:
        """Ask for a new certificate where one is due, or go on asking."""
        generations = self.home.generations
        pending = generations.pending()
        if pending is not None and pending.certificate is not None:
            return
        if pending is not None and desired is not None and desired.certificate is not None:
            if credentials.take(pending, desired.certificate, desired.chain):
                return
        self._say_foreign(desired)
        reason, command = self._why_renew(pending, desired)
        if not reason:
            return
        if self.service is None or self.service_gone:
            raise ServerUnreachable(
                "The certificate is to be renewed, and the service is not reached."
            )
        _log.info("renewing", extra={"reason": reason})
        try:
            made = credentials.request(self.service)
        except EnrollmentUnfinished:
            raise
        except IkewardenError:
            self._count_failure()
            raise
        self.notes.renewed_at = stamp(self.clock.wall())
        self.notes.renew_version = desired.version if desired else None
        self.renew = False
        if command:
            self._done(command)
        _log.info("a new certificate came", extra={"serial": made.serial})

    def _say_foreign(self, desired: DesiredState | None) -> None:
        """Tell of a certificate that the service knows and this home does not: two agents of one gateway, say."""
        mine = self.home.generations.identity()
        if desired is None or mine is None:
            return
        known = desired.certificate
        if known is None:
            self._write_down(
                "certificate_ended", "The service knows no valid certificate of this gateway."
            )
        elif (
            fingerprint(known) != fingerprint(mine.certified)
            and known.not_valid_before_utc > mine.certified.not_valid_before_utc
        ):
            self._write_down(
                "certificate_foreign",
                "The service knows a newer certificate of this gateway, whose key is not here: is there another agent?",
            )

    def _why_renew(
        self, pending: Generation | None, desired: DesiredState | None
    ) -> tuple[str, str]:
        """Why a certificate should be asked for now ("" for no reason), and the id of the command that says so."""
        current = self.home.generations.identity()
        if current is None:
            raise EnrollmentUnfinished(f"There is no certificate in {self.home.path} yet.")
        if self.renew:
            return "asked for here", ""
        for command in desired.commands if desired else ():
            if command.kind == "renew" and self._open(command):
                return "commanded", command.id
        if not self._time_to_try():
            return "", ""
        if pending is not None and pending.request.get("kind") == "renew":
            return "resumed", ""
        now = served_time(self.clock.wall(), self.skew)
        last = datetime.fromisoformat(self.notes.renewed_at) if self.notes.renewed_at else None
        if not may_renew(current, last, self.clock.wall()):
            return "", ""
        if now >= due_at(current, self.settings.gateway):
            return "due", ""
        wanted = desired is not None and desired.renew
        if wanted and desired is not None and desired.version != self.notes.renew_version:
            return "the service wants it", ""
        return "", ""

    def _advance(self, credentials: Credentials, pending: Generation, managed: list[str]) -> None:
        try:
            new = credentials.advance(pending, managed, self.skew)
        except DaemonUnreachable:
            raise
        except IkewardenError:
            self._count_failure()
            raise
        self.notes.failures = 0
        self.notes.retry_at = None
        self.renewed = True
        _log.info("a certificate came into use", extra={"serial": new.serial, "proof": new.proof})

    def _time_to_try(self) -> bool:
        """Whether the time of waiting after a failure is over; a clock that jumped does not make it longer."""
        if self.notes.retry_at is None:
            return True
        left = datetime.fromisoformat(self.notes.retry_at) - self.clock.wall()
        return not 0 < left.total_seconds() <= self.notes.retry_seconds

    def _count_failure(self) -> None:
        seconds = retry_seconds(self.notes.failures, self.clock.chance)
        self.notes.failures += 1
        self.notes.retry_seconds = seconds
        self.notes.retry_at = stamp(self.clock.wall() + timedelta(seconds=seconds))

    # --- the report ---------------------------------------------------------------------------------------------

    def _say_clock(self) -> None:
        if self.skew is not None and abs(self.skew) > TOLERATED.total_seconds():
            words = clock_words(self.skew, self.clock.wall())
            self._write_down("clock_wrong", words)

    def tell(self, desired: DesiredState | None) -> None:
        """Report, and keep what was done; a report that does not get through is sent with the next round."""
        self.notes.errors = list(self.errors)
        if desired is not None:
            self.notes.version = desired.version
        self.notes.skew_seconds = self.skew
        if self.service is not None and not self.service_gone and desired is not None:
            service = self.service
            self._step(lambda: self._send(service, desired), needs_daemon=False)
        self._step(lambda: self.home.write_notes(self.notes), needs_daemon=False)

    def _send(self, service: Service, desired: DesiredState) -> None:
        current = self.home.generations.current()
        document = report.applied(
            self.notes,
            version=desired.version,
            daemon=self.info,
            certificate=fingerprint(current.certified) if current else None,
            proof=current.proof if current else None,
            inventory=self.inventory,
            errors=[*self.errors, *self.notes.drift],
        )
        service.post("/v1/gateways/self/applied", document)
        self.notes.applied_at = stamp(self.clock.wall())
        for each in document["commands"]:
            self.notes.commands[each["id"]]["told"] = True
        if not self.daemon_gone:
            at = stamp(self.clock.wall())
            service.post("/v1/gateways/self/sas", {"at": at, "sas": self.notes.sas})

    # --- containment --------------------------------------------------------------------------------------------

    def _step(self, step: Callable[[], object], *, needs_daemon: bool = True) -> None:
        """Do one step; write down what it could not do."""
        if needs_daemon and self.daemon_gone:
            return
        try:
            step()
        except IkewardenError as error:
            if isinstance(error, DaemonUnreachable):
                self.daemon_gone = True
            if isinstance(error, ServerUnreachable):
                self.service_gone = True
            self._note(error)

    def _note(self, error: IkewardenError) -> None:
        self._write_down(**report.error_entry(error))

    def _write_down(self, code: str, message: str) -> None:
        entry = {"code": code, "message": message}
        if entry not in self.errors:
            self.errors.append(entry)
            _log.warning("a step failed", extra={"code": code, "reason": message})


def _collect(found: list[Crl], fetch: Callable[[], Crl]) -> None:
    found.append(fetch())
