"""The agent at work: one thread that acts, one that polls the service, one that watches the daemon."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue
from typing import Final

from core.errors import IkewardenError
from core.notify import Supervisor
from ike.agent import auditing, proofs, report, round, sharing
from ike.agent import desired as desired_state
from ike.agent.auditor import Auditor
from ike.agent.channel import ServerRefused, Service
from ike.agent.circumstances import Circumstances
from ike.agent.clock import Clock
from ike.agent.credential import something_due
from ike.agent.crls import Crls
from ike.agent.desired import DesiredState, StateUnusable
from ike.agent.errors import NotEnrolled
from ike.agent.home import Home, Notes, stamp
from ike.agent.polling import Heard, Poller, Silent
from ike.agent.proofs import Proofs
from ike.agent.renewal import EnrollmentNeeded, EnrollmentUnfinished, said
from ike.agent.schedule import contact_seconds, due_at
from ike.agent.settings import AgentSettings
from ike.agent.watching import threads as watching
from ike.daemons.port import Daemon, DaemonEvent, EventKind, IkeSa, TokenKey

_log = logging.getLogger(__name__)
_SETTLE_SECONDS: Final = 0.2
_WATCH_AGAIN_SECONDS: Final = 1.0
_LEAST_WATCHDOG: Final = 120
_LAST_SECONDS: Final = 2.0  # for each thread of the watch, to end
_POLL_SECONDS: Final = 0.2
# What may stay as it is for months; a round is made for it when it is new.
_LASTING: Final = ("secret_foreign", "secret_shadowed")


@dataclass(frozen=True)
class Ended:
    """Why the agent ended: `reload` means that it is to begin anew with settings read again."""

    reload: bool


_Message = Heard | Silent | DaemonEvent | Ended


class Agent:
    """One agent, in a home whose lock the caller holds."""

    def __init__(self, home: Home, daemon: Daemon, settings: AgentSettings, clock: Clock) -> None:
        self.home = home
        self.daemon = daemon
        self.settings = settings
        self.clock = clock
        self.notes: Notes = home.notes()
        self.notes.secrets = sharing.sound(self.notes.secrets)
        self.desired: DesiredState | None = None
        self.etag: str | None = None
        self.crls = Crls(home)
        self.proofs = Proofs(clock.monotonic)
        self.skew: float | None = None
        self._trouble: list[dict[str, str]] = []
        self._away = False
        self._service: Service | None = None
        self._inbox: SimpleQueue[_Message] = SimpleQueue()
        self._unsent = 0  # rounds in a row whose report did not get through
        self.after_round: Callable[[], None] = lambda: None
        self.look_at_host: Callable[[], auditing.Looked] = lambda: auditing.look(settings, clock)

    # --- once ---------------------------------------------------------------------------------------------------

    def once(self, *, renew: bool = False, audit: bool = False) -> Notes:
        """Fetch the state, do one round, report; without the service, do what the last state wants. With `audit`,
        audit the host and report that too.

        Raises NotEnrolled, ServiceUrlUnusable and the errors of the home; all else is in the notes' errors.
        """
        self._remember()
        try:
            service = self.connect()
            found = service.state(None, 0)
        except ServerRefused as refused:
            self._silent(Silent(refused, self.skew))
        except IkewardenError as error:
            self._silent(Silent(error, self.skew))
            self._hang_up()
        else:
            self.skew = service.skew
            if found is not None:
                self._heard(Heard(*found, self.skew))
        self.round(renew=renew)
        if self._prove_and_wait():
            self.round()
        if audit:
            self._audit_once()
        self._hang_up()
        return self.notes

    def _audit_once(self) -> None:
        error = self._auditor(threading.Event()).once()
        if error is not None:
            self.notes.errors.append(report.error_entry(error))
            self._keep_notes()

    # --- for good -----------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """End soon; may be called by a signal handler."""
        self._inbox.put(Ended(reload=False))

    def reload(self) -> None:
        """End soon, to begin anew; may be called by a signal handler."""
        self._inbox.put(Ended(reload=True))

    def run(self, supervisor: Supervisor) -> Ended:
        """Work until `stop` or `reload`. Raises what keeps it from beginning, and nothing later."""
        self._remember()
        gone = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(gone,), name="watch", daemon=True)
        watcher.start()  # before anything is done that it should see the end of
        self.round()
        poller = self._poller(gone)
        poller.start()
        if self.settings.audit.hours:
            self._auditor(gone).start()
        watches = watching.begin(
            self.home, self.settings, self.clock, connect=self.connect, stop=gone
        )
        seconds = max(_LEAST_WATCHDOG, self.settings.proof_seconds + 90)
        if supervisor.watchdog_seconds is not None:
            supervisor.tell(WATCHDOG_USEC=seconds * 1_000_000)
        supervisor.tell(READY=1, STATUS=self._status())
        try:
            return self._work(poller, watcher, supervisor)
        finally:
            gone.set()
            supervisor.tell(STOPPING=1, STATUS="stopping")
            self._hang_up()
            for each in watches:  # two that write to one spool give a number twice
                each.join(_LAST_SECONDS)

    def _work(self, poller: Poller, watcher: threading.Thread, supervisor: Supervisor) -> Ended:
        now = self.clock.monotonic
        check_at = now() + self.settings.check_seconds
        report_at = self._report_at()
        while True:
            messages = self._collect(min(check_at, report_at, self.proofs.due_at()) - now())
            for message in messages:
                if isinstance(message, Ended):
                    return message
            unsent = self._unsent
            act = self._act_on(messages)
            if self._unsent > unsent:
                report_at = min(report_at, self._report_at())
            if now() >= check_at:
                check_at = now() + self.settings.check_seconds
                act = act or self._needs_round()
            if act or now() >= report_at:
                if self.round().renewed:
                    poller.renewed()
                report_at = self._report_at()
            self._prove()
            if poller.is_alive() and watcher.is_alive():
                supervisor.tell(WATCHDOG=1, STATUS=self._status())

    def _report_at(self) -> float:
        """When to report without a reason; sooner where a report did not get through, and the service answers."""
        seconds = float(self.settings.report_seconds)
        if self._unsent and not self._away:
            seconds = 1.0 + contact_seconds(self._unsent, self.clock.chance, cap=seconds)
        return self.clock.monotonic() + seconds

    def _collect(self, seconds: float) -> list[_Message]:
        """All messages that are there within a moment after the first one."""
        messages: list[_Message] = []
        wait = max(0.0, min(seconds, 10.0))  # often enough for every watchdog
        try:
            while True:
                messages.append(self._inbox.get(timeout=wait))
                # A state is acted on at once; events of SAs come in swarms.
                quick = isinstance(messages[-1], Heard | Ended)
                wait = 0.0 if quick else _SETTLE_SECONDS
        except Empty:
            return messages

    def _act_on(self, messages: list[_Message]) -> bool:
        """Take the messages in; whether a whole round is due."""
        act, sas = False, False
        for message in messages:
            match message:
                case Heard():
                    act = self._heard(message) or act
                case Silent():
                    self._silent(message)
                case DaemonEvent(kind=EventKind.RESTARTED):
                    _log.warning("the daemon was restarted or has forgotten its keys")
                    self.notes.incarnation = ""
                    self.proofs.forget()
                    act = True
                case DaemonEvent(kind=EventKind.LOST):
                    _log.warning("the daemon does not answer")
                case DaemonEvent(kind=EventKind.UP, sa=IkeSa() as sa):
                    act = self._saw(sa) or act
                    sas = True
                case DaemonEvent():  # an SA came, went or changed
                    sas = True
        if sas and not act:
            self._tell_sas()
        return act

    def _needs_round(self) -> bool:
        """Whether something is to be done that no message tells of; asks the daemon, not the service."""
        probe = self._round_of(None)
        if something_due(probe, self.desired):
            return True
        before = self.notes.drift
        drift = round.look(probe, self.desired)
        if probe.daemon_gone:
            return False  # the watcher tells when it is back
        return any(each["code"] not in _LASTING or each not in before for each in drift)

    def _saw(self, sa: IkeSa) -> bool:
        """Take in an authentication; whether the service waits for it."""
        slots = self.desired.secrets if self.desired is not None else None
        if not slots or not self.proofs.saw(self.notes, slots, sa, self.clock.wall()):
            return False
        self._keep_notes()
        return True

    def _prove(self) -> Circumstances | None:
        """Start the authentications that are due; None where there is none."""
        slots = self.desired.secrets if self.desired is not None else None
        if not slots or self.proofs.due_at() > self.clock.monotonic():
            return None
        made = self._round_of(None)
        for connection, gap in self.proofs.due(slots).items():
            before = len(made.errors)
            made.step(partial(proofs.start, self.daemon, connection, gap=gap))
            failed = len(made.errors) > before and not made.daemon_gone
            self.proofs.tried(connection, made.errors[-1] if failed else None)
        return made

    def _prove_and_wait(self) -> bool:
        """Without a watcher: look for what comes of the orders to prove; whether there is something to tell."""
        end = self.clock.monotonic() + self.settings.proof_seconds
        slots = self.desired.secrets if self.desired is not None else None
        news: list[bool] = []

        def look() -> None:
            news.extend(sa.established and self._saw(sa) for sa in self.daemon.sas())

        while slots and self.proofs.waits(self.notes) and self.clock.monotonic() < end:
            made = self._prove() or self._round_of(None)
            made.step(look)
            if made.daemon_gone:
                break
            threading.Event().wait(_POLL_SECONDS)
        return any(news)

    # --- parts --------------------------------------------------------------------------------------------------

    def round(self, *, renew: bool = False) -> Circumstances:
        """Do one round."""
        service = self._service_or_none()
        made = self._round_of(service, renew=renew)
        made.errors += self._trouble
        try:
            round.run(made, self.desired)
        except Exception:  # noqa: BLE001 - an adapter's mistake must not end the agent; it tries again
            _log.exception("a round broke off")
            made.errors.append(
                {"code": "internal_error", "message": "A round broke off; see the agent's log."}
            )
            self.notes.errors = made.errors
        self._unsent = 0 if made.told or self.desired is None else self._unsent + 1
        if made.renewed or made.service_gone:
            self._hang_up()
        self.after_round()
        return made

    def _round_of(self, service: Service | None, *, renew: bool = False) -> Circumstances:
        return Circumstances(
            home=self.home,
            daemon=self.daemon,
            settings=self.settings,
            clock=self.clock,
            crls=self.crls,
            proofs=self.proofs,
            service=service,
            notes=self.notes,
            skew=self.skew,
            renew=renew,
        )

    def connect(self) -> Service:
        """A connection with the newest certificate, for one thread. Raises NotEnrolled, EnrollmentUnfinished."""
        identity = self.home.identity()
        if identity is None and self.home.generations.pending():
            raise EnrollmentUnfinished(f"There is no certificate in {self.home.path} yet.")
        if identity is None:
            raise NotEnrolled(f"There is no certificate in {self.home.path}.")
        if isinstance(identity.key, TokenKey):
            raise EnrollmentNeeded(
                "This gateway's key is in a token, and it has no other to speak by."
            )
        return Service(
            self.settings.url,
            self.home.root(),
            clock=self.clock.wall,
            credential=identity.credential,
        )

    def _service_or_none(self) -> Service | None:
        """The connection of the acting thread; None while the service is known not to answer."""
        if self._away:
            return None
        try:
            self._service = self._service or self.connect()
        except IkewardenError:
            return None
        return self._service

    def _hang_up(self) -> None:
        if self._service is not None:
            self._service.close()
            self._service = None

    def _remember(self) -> None:
        self.connect().close()  # fails here and now where nothing was enrolled
        state, etag = self.home.desired()
        if state is None:
            return
        try:
            self.desired = desired_state.read(state, self.settings.gateway)
            self.etag = etag
        except StateUnusable as error:
            _log.warning("the kept state is not used", extra={"reason": error.message})

    def _heard(self, message: Heard) -> bool:
        """Take in what the service said; whether a round is due."""
        back = self._away
        self.skew = message.skew
        self._trouble, self._away = [], False
        self.notes.contact_at = stamp(self.clock.wall())
        self.notes.contact_error = ""
        if back:
            _log.info("the service answers again")
        if message.state is None:
            return back or bool(self._unsent)
        try:
            self.desired = desired_state.read(message.state, self.settings.gateway)
            self.etag = message.etag
            self.home.write_desired(message.state, message.etag or "")
        except IkewardenError as error:
            _log.warning(
                "a state was not kept", extra={"code": error.code, "reason": error.message}
            )
            self._trouble = [report.error_entry(error)] if isinstance(error, StateUnusable) else []
        return True

    def _silent(self, message: Silent) -> None:
        self.skew = message.skew if message.skew is not None else self.skew
        error = said(message.error) if isinstance(message.error, ServerRefused) else message.error
        entry = report.error_entry(error)
        if not self._away:
            _log.warning(
                "the service is not reached", extra={"code": error.code, "reason": error.message}
            )
        self._trouble, self._away = [entry], True
        self._hang_up()
        if self.notes.contact_error != error.message:
            self.notes.contact_error = error.message
            self.notes.errors = [entry]
            self._keep_notes()

    def _keep_notes(self) -> None:
        try:
            self.home.write_notes(self.notes)
        except IkewardenError as full:
            _log.warning("notes were not kept", extra={"reason": full.message})

    def _tell_sas(self) -> None:
        """Report the SAs alone: one came or went."""
        service = self._service_or_none()
        if service is None:
            return
        try:
            found = self.daemon.sas()
            self.notes.sas = [report.sa_document(each, self.notes.secrets) for each in found]
            self._keep_notes()
            self.after_round()
            told = report.sas_report(self.notes.sas, self.clock.wall())
            service.post("/v1/gateways/self/sas", told)
        except IkewardenError as error:
            self._unsent += 1  # a round tells them
            self._hang_up()
            _log.warning(
                "SAs were not reported", extra={"code": error.code, "reason": error.message}
            )

    def _poller(self, gone: threading.Event) -> Poller:
        return Poller(
            self.connect,
            self._inbox.put,
            etag=self.etag,
            wait=self.settings.wait_seconds,
            clock=self.clock,
            stop=gone,
        )

    def _auditor(self, gone: threading.Event) -> Auditor:
        return Auditor(
            self.home,
            self.settings,
            self.clock,
            look=self.look_at_host,
            connect=self.connect,
            stop=gone,
        )

    def _watch(self, gone: threading.Event) -> None:
        """Pass on what the daemon tells, for ever."""
        while not gone.is_set():
            try:
                for event in self.daemon.watch(gone.is_set):
                    self._inbox.put(event)
            except Exception:  # noqa: BLE001 - its contract is never to raise; it is begun again
                _log.exception("watching the daemon broke off")
            gone.wait(_WATCH_AGAIN_SECONDS)

    def _status(self) -> str:
        """One line for `systemctl status`."""
        current = self.home.generations.current()
        if current is None:
            return "waiting: no certificate is in use yet"
        due = due_at(current, self.settings.gateway)
        reached = "service reached" if not self._trouble else f"service: {self._trouble[0]['code']}"
        return f"{self.settings.gateway}: renews {due:%Y-%m-%d %H:%M}Z, {reached}"
