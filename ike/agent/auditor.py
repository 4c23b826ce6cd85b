"""The thread that audits the host: by the clock, and soon after something changed that the last audit looked at."""

import logging
import os
import threading
import time
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from core.errors import IkewardenError
from ike.agent.auditing import Document, Glance, Looked, first_wait, glance, next_wait
from ike.agent.channel import ServerRefused, Service
from ike.agent.clock import Clock
from ike.agent.home import Home, stamp
from ike.agent.schedule import contact_seconds
from ike.agent.settings import AgentSettings

PATH: Final = "/v1/gateways/self/findings"
_log = logging.getLogger(__name__)
# After a change: until what somebody does is done. Between two audits: so that a file that changes all the time costs
# little.
_SETTLE_SECONDS: Final = 10.0
_GAP_SECONDS: Final = 300.0
_RETRY_CAP: Final = 900.0
# File systems count in these.
_TICK_NS: Final = 20_000_000
_UNTIMED: Final = 4
# Others on this host go first (setpriority(2)).
_NICE: Final = 10


class AuditBroken(IkewardenError):
    """The audit of the agent's own host did not come to its end."""

    code = "audit_broken"
    next_step = "Run `ikewarden audit` on the host; report what it says."


@dataclass(frozen=True)
class Pace:
    """Seconds: between glances at what the last audit looked at, from a change to the audit, from audit to audit."""

    glance: float
    settle: float = _SETTLE_SECONDS
    gap: float = _GAP_SECONDS


class Auditor(threading.Thread):
    """Audits and reports until `stop` is set. `look` makes an audit, `connect` a connection with the credential of now.

    A report that does not get through is sent again until it does, or until the next audit.
    """

    def __init__(
        self,
        home: Home,
        settings: AgentSettings,
        clock: Clock,
        *,
        look: Callable[[], Looked],
        connect: Callable[[], Service],
        stop: threading.Event,
        pace: Pace | None = None,
    ) -> None:
        super().__init__(name="audit", daemon=True)  # does not keep the process from ending
        self._home, self._settings, self._clock = home, settings, clock
        self._look, self._connect, self._stop_event = look, connect, stop
        self._pace = pace or Pace(float(settings.check_seconds))
        self._seen: Glance = {}
        self._unsent: Document | None = None
        self._failures = 0
        self._due = self._send_at = self._ended = 0.0

    def run(self) -> None:
        """Wait, look, tell."""
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        now = self._clock.monotonic
        self._due = now() + self._first_wait()
        glance_at = now() + self._pace.glance
        while not self._stop_event.wait(self._seconds(glance_at)):
            if now() >= glance_at:
                glance_at = now() + self._pace.glance
                if self._changed():
                    self._due = min(
                        self._due,
                        max(now() + self._pace.settle, self._ended + self._pace.gap),
                    )
            if now() >= self._due:
                self.audit()
            if self._unsent is not None and now() >= self._send_at:
                self._send()

    def _seconds(self, glance_at: float) -> float:
        waits = [glance_at, self._due]
        if self._unsent is not None:
            waits.append(self._send_at)
        return max(0.0, min(waits) - self._clock.monotonic())

    def _first_wait(self) -> float:
        return first_wait(self._clock.chance())

    def _changed(self) -> bool:
        found = self._glance(self._seen)
        if found == self._seen:
            return False
        _log.info("files that the audit looked at have changed")
        self._seen = found
        return True

    def audit(self) -> None:
        """Look at the host; what was found is to be told next. Never raises."""
        before, began = self._glance(self._seen), time.time_ns() - _TICK_NS
        try:
            looked = self._look()
        except Exception as error:  # noqa: BLE001 - a mistake in a rule must not end the agent; the next audit comes
            _log.error("an audit broke off", extra=_origin(error))
            self._note(
                at=stamp(self._clock.wall()), error=f"internal_error: {type(error).__name__}"
            )
        else:
            # What changed meanwhile has changed since.
            after = self._glance(looked.watched)
            self._seen = {
                path: before.get(path, () if _since(status, began) else status)
                for path, status in after.items()
            }
            self._unsent, self._failures, self._send_at = looked.document, 0, 0.0
            counts = looked.document["summary"]
            self._note(at=stamp(self._clock.wall()), summary=counts, error="")
            _log.info("audited", extra={"seconds": looked.document["seconds"]})
        self._ended = self._clock.monotonic()
        self._due = self._ended + next_wait(self._settings.audit, self._clock.chance())

    def _glance(self, paths: Iterable[str]) -> Glance:
        return glance(paths, but=self._home.path)

    def once(self) -> IkewardenError | None:
        """Audit and report now, in the calling thread; gives what kept it from that."""
        self.audit()
        if self._unsent is None:
            return AuditBroken("The audit of this host broke off; the agent's log says why.")
        return self._send()

    def _send(self) -> IkewardenError | None:
        document = self._unsent
        if document is None:
            return None
        try:
            tell(self._connect, document)
        except IkewardenError as error:
            self._failures += 1
            self._note(error=f"{error.code}: {error.message}")
            _log.warning(
                "an audit was not reported", extra={"code": error.code, "reason": error.message}
            )
            if isinstance(error, ServerRefused) and _is_final(error):
                self._unsent = None  # it would be refused again: the next audit is another one
                return error
            after = error.retry_after if isinstance(error, ServerRefused) else None
            wait = contact_seconds(self._failures + 3, self._clock.chance, after, cap=_RETRY_CAP)
            self._send_at = self._clock.monotonic() + wait
            return error
        except Exception as error:  # noqa: BLE001 - as above
            _log.error("the report of an audit broke off", extra=_origin(error))
            self._unsent = None
        else:
            self._unsent = None
            self._note(told_at=stamp(self._clock.wall()), error="")
        return None

    def _note(self, **members: Any) -> None:
        try:
            self._home.write_audit_notes({**self._notes(), **members})
        except IkewardenError as full:
            _log.warning("notes of the audit were not kept", extra={"reason": full.message})

    def _notes(self) -> dict[str, Any]:
        with suppress(IkewardenError):
            return self._home.audit_notes()
        return {}


def _since(status: tuple[int, ...], began: int) -> bool:
    """Whether a file that no audit looked at before has changed after this time, as far as its status tells times."""
    return len(status) > _UNTIMED and status[-1] >= began


def _is_final(refused: ServerRefused) -> bool:
    """Whether no time and no new enrollment makes the service take this report."""
    return refused.problem == "route_not_found" or refused.status in (400, 405, 413, 415, 422)


def tell(connect: Callable[[], Service], document: Document) -> None:
    """Report. Raises what connecting and `Service.post` raise."""
    service = connect()
    try:
        service.post(PATH, document)
    finally:
        service.close()


def _origin(error: Exception) -> dict[str, str]:
    """Where a mistake was made. Not its own words: they may quote what was read, which may be a secret."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    return {"kind": type(error).__name__, "where": where}
