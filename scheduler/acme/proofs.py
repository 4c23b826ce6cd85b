"""Looks for what is due, several at a time: a lane of the scheduler."""

import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Final

from core.errors import IkewardenError
from pki.acme import validation
from pki.acme.validation import Look, Prober, ProofMissing
from pki.desk import Desk
from scheduler.acme import dns01, http01, tlsalpn01
from scheduler.acme.resolving import Lookup
from scheduler.jobs import SCHEDULER

_LOG = logging.getLogger("ikewarden.scheduler")
#: How many are looked at together: a client that lets us wait holds up no more than one of them.
AT_ONCE: Final = 16
LANE: Final = "acme_proofs"
_KINDS: Final[Mapping[str, Callable[[Look, Lookup], None]]] = {
    "http-01": http01.prove,
    "dns-01": dns01.prove,
    "tls-alpn-01": tlsalpn01.prove,
}


def probe(look: Look) -> None:
    """Look over the network. Raises ProofMissing."""
    if look.kind not in look.door.challenges:
        raise ProofMissing("unauthorized", f"no {look.kind} is taken of this account any more")
    if look.spent:
        # Asked for in time, all at once: each would be connected to on a stranger's word.
        raise ProofMissing("rateLimited", "too many proofs of this account failed within an hour")
    _KINDS[look.kind](look, Lookup(look.door.resolvers))


class Proofs:
    """Claims what is due and has it looked at by threads of its own."""

    def __init__(
        self, desk: Desk, owner: str, clock: Callable[[], datetime], prober: Prober = probe
    ) -> None:
        self._owner = owner
        self._desk, self._clock, self._prober = desk, clock, prober
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix=LANE)
        self._free = threading.Semaphore(AT_ONCE)

    def run(self, now: datetime) -> int:
        """Begin to look at what is due, as much as there are threads for; tell how many these were."""
        places = 0
        while places < AT_ONCE and self._free.acquire(blocking=False):
            places += 1
        taken: list[Look] = []
        try:
            if places:
                taken = validation.claim(
                    self._desk, SCHEDULER, owner=self._owner, limit=places, now=now
                )
        finally:
            if places > len(taken):
                self._free.release(places - len(taken))
        for look in taken:
            self._threads.submit(self._settle, look)
        return len(taken)

    def close(self) -> None:
        """Let the threads end."""
        self._threads.shutdown()

    def _settle(self, look: Look) -> None:
        try:
            missing = self._outcome(look)
            validation.settle(self._desk, SCHEDULER, look, missing, now=self._clock())
        except IkewardenError as error:
            # Nothing is recorded: when the claim has ended, it is looked at again.
            _LOG.warning("proof not recorded", extra={"code": error.code})
        except Exception:  # noqa: BLE001 - nobody waits for this thread to raise
            _LOG.exception("proof not recorded", extra={"challenge": look.challenge_id})
        finally:
            self._free.release()

    def _outcome(self, look: Look) -> ProofMissing | None:
        try:
            self._prober(look)
        except ProofMissing as error:
            return error
        except Exception:  # noqa: BLE001 - one proof's fault must not stop the others, and it is no proof
            _LOG.exception("proof failed", extra={"challenge": look.challenge_id})
            return ProofMissing("serverInternal", "it could not be looked at")
        return None
