"""What the steps of a round share: the parts they work with, and what they found out on the way."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from core.errors import IkewardenError
from ike.agent import report
from ike.agent.channel import ServerUnreachable, Service
from ike.agent.clock import Clock, instant
from ike.agent.crls import Crls
from ike.agent.home import Home, Notes, stamp
from ike.agent.proofs import Proofs
from ike.agent.renewal import Credentials
from ike.agent.schedule import retry_seconds
from ike.agent.settings import AgentSettings
from ike.daemons.port import Daemon, DaemonInfo, DaemonUnreachable, Inventory

_log = logging.getLogger(__name__)


@dataclass
class Circumstances:
    """The parts of a round, and what came of it so far. `service` None: there is no way to the service now.

    `renew`: a renewal was asked for on the command line. `alive` is called before each step, for the watchdog.
    """

    home: Home
    daemon: Daemon
    settings: AgentSettings
    clock: Clock
    crls: Crls
    proofs: Proofs
    service: Service | None
    notes: Notes
    skew: float | None = None
    renew: bool = False
    alive: Callable[[], None] = lambda: None
    errors: list[dict[str, str]] = field(default_factory=list)
    info: DaemonInfo | None = None
    inventory: Inventory = field(default_factory=Inventory)
    renewed: bool = False
    told: bool = False
    daemon_gone: bool = False
    service_gone: bool = False
    # What is wrong with slots of shared secrets by their name; None where this round has not come to them.
    slot_errors: dict[str, dict[str, str]] | None = None
    refusal: dict[str, str] | None = None  # what the daemon said to the slots
    may_sweep: bool = False

    @property
    def credentials(self) -> Credentials:
        """The steps of a credential, here."""
        return Credentials(self.home, self.daemon, self.settings, self.clock.wall)

    @property
    def reached(self) -> Service | None:
        """The service, as long as it answers."""
        return None if self.service_gone else self.service

    def step(self, step: Callable[[], object], *, needs_daemon: bool = True) -> None:
        """Do one step; write down what it could not do."""
        if needs_daemon and self.daemon_gone:
            return
        self.alive()
        try:
            step()
        except IkewardenError as error:
            self.daemon_gone = self.daemon_gone or isinstance(error, DaemonUnreachable)
            self.service_gone = self.service_gone or isinstance(error, ServerUnreachable)
            self.write_down(**report.error_entry(error))

    def write_down(self, code: str, message: str, next_step: str = "") -> None:
        """Add to the errors of this round, once."""
        entry = {"code": code, "message": message}
        if next_step:
            entry["next_step"] = next_step
        if entry not in self.errors:
            self.errors.append(entry)
            level = logging.DEBUG if entry in self.notes.errors else logging.WARNING
            _log.log(level, "not as it should be", extra={"code": code, "reason": message})

    def may_try(self) -> bool:
        """Whether the time of waiting after a failure is over; a clock that jumped does not make it longer."""
        until = instant(self.notes.retry_at)
        if until is None:
            return True
        left = (until - self.clock.wall()).total_seconds()
        return not 0 < left <= self.notes.retry_seconds

    def count_failure(self) -> None:
        """Wait longer before the next try."""
        seconds = retry_seconds(self.notes.failures, self.clock.chance)
        self.notes.failures += 1
        self.notes.retry_seconds = seconds
        self.notes.retry_at = stamp(self.clock.wall() + timedelta(seconds=seconds))

    def count_success(self) -> None:
        """Forget the failures."""
        self.notes.failures, self.notes.retry_at = 0, None
