"""The long poll: a thread that asks for the desired state, and says what came or why nothing did."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from core.errors import IkewardenError
from ike.agent.channel import AnswerBroken, Document, ServerRefused, Service
from ike.agent.clock import Clock
from ike.agent.schedule import contact_seconds

_log = logging.getLogger(__name__)
_QUICK: Final = 1.0
# A gateway that is refused asks now and then whether it still is.
_REFUSED_CAP: Final = 900.0


@dataclass(frozen=True)
class Heard:
    """The service answered: with a state and its ETag, or that nothing changed. `skew`: its clock minus ours."""

    state: Document | None
    etag: str | None
    skew: float | None


@dataclass(frozen=True)
class Silent:
    """The service did not answer, or refused."""

    error: IkewardenError
    skew: float | None


class Poller(threading.Thread):
    """Asks until `stop` is set. `connect` makes a connection with the credential of now; `say` must not block."""

    def __init__(
        self,
        connect: Callable[[], Service],
        say: Callable[[Heard | Silent], None],
        *,
        etag: str | None,
        wait: int,
        clock: Clock,
        stop: threading.Event,
    ) -> None:
        super().__init__(name="poll", daemon=True)  # does not keep the process from ending
        self._connect = connect
        self._say = say
        self._etag = etag
        self._wait = wait
        self._clock = clock
        self._stop_event = stop
        self._wake = threading.Event()
        self._renewed = threading.Event()

    def renewed(self) -> None:
        """The credential changed: use the new one from the next request on, and do not wait with it."""
        self._renewed.set()
        self._wake.set()

    def run(self) -> None:
        """Ask, tell, ask again."""
        service: Service | None = None
        failures, wait = 0, 0
        while not self._stop_event.is_set():
            if self._renewed.is_set() and service is not None:
                self._renewed.clear()
                service.close()
                service = None
            began = self._clock.monotonic()
            try:
                service = service or self._connect()
                found = self._ask(service, wait)
            except IkewardenError as error:
                failures += 1
                wait = 0
                self._say(Silent(error, service.skew if service else None))
                self._pause(_seconds(error, failures, self._clock))
                continue
            if self._stop_event.is_set():
                break
            failures, wait = 0, self._wait
            self._say(Heard(found, self._etag if found else None, service.skew))
            if found is None and self._clock.monotonic() - began < _QUICK:
                self._pause(
                    _QUICK
                )  # a service that does not hold the request is not asked in a tight loop
        if service is not None:
            service.close()

    def _ask(self, service: Service, wait: int) -> Document | None:
        found = service.state(self._etag, wait)
        if found is None:
            return None
        document, etag = found
        if not etag:
            raise AnswerBroken(f"{service.url} gave a state without an ETag.")
        self._etag = etag
        return document

    def _pause(self, seconds: float) -> None:
        """Wait on the clock that does not jump; woken by a stop or a new credential."""
        end = self._clock.monotonic() + seconds
        while not self._stop_event.is_set() and not self._wake.is_set():
            left = end - self._clock.monotonic()
            if left <= 0:
                break
            self._wake.wait(min(left, 0.5))
        self._wake.clear()


def _seconds(error: IkewardenError, failures: int, clock: Clock) -> float:
    if isinstance(error, ServerRefused):
        if error.later:
            return contact_seconds(failures, clock.chance, error.retry_after)
        return max(
            5.0, contact_seconds(failures + 3, clock.chance, error.retry_after, cap=_REFUSED_CAP)
        )
    return contact_seconds(failures, clock.chance)
