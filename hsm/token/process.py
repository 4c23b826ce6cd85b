"""The process that holds the token for this one (`hsm.token.worker`), started whenever it is needed and not there.

A line to it carries one piece of work at a time; there are some more lines than sessions. Whoever asks waits for a free
line, then for the answer. No answer in time, or none at all, ends the process, and whoever waited gets
SignerUnavailable: what the token did with work that was under way, nobody knows, and nothing of it is given out.
"""

import contextlib
import json
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from hsm.errors import KeyStoreError, ModuleUnusable, SignerUnavailable
from hsm.token.letters import Work, error_in, receive, send
from hsm.token.pin import PinGuard

_LOG: Final = logging.getLogger("ikewarden.hsm")
# Commands tell the error itself; only the service has a log.
_LOG.addHandler(logging.NullHandler())
# After a failure the next start waits, longer and longer: a token that is away must not cost a core.
_PAUSES: Final = (0.0, 0.5, 1.0, 2.0, 3.0)
# For each session: work that waits over there begins without a word from here, where many threads want to run.
_LINES: Final = 4
# A smart card takes half a minute to make an RSA key.
_GENERATING: Final = 120.0
_WORKER: Final = "hsm.token.worker"
# Passphrases, PINs and tokens are none of a module's business. What else stands there it may need.
_OURS: Final = ("IKEWARDEN_", "PGPASS")


@dataclass(frozen=True)
class TokenPlace:
    """Which token: its module, and its label or serial number or both. `sessions` of it may be used by one process;
    it has `seconds` for an answer. `withheld` names environment variables of ours that hold secrets: the module does
    not see them.
    """

    module: Path
    label: str = ""
    serial: str = ""
    sessions: int = 8
    seconds: float = 10.0
    withheld: frozenset[str] = frozenset()


class TokenProcess:
    """The way to a token, for all threads of this process. Making an instance starts nothing; nothing of it is used
    after a fork: the forked process starts its own.
    """

    def __init__(self, place: TokenPlace, pin: PinGuard) -> None:
        self.place = place
        self._pin = pin
        self._starting = threading.Lock()
        self._running: _Running | None = None
        self._failures = 0
        self._failed: KeyStoreError | None = None
        self._again_at = 0.0

    def ask(self, work: Work) -> dict[str, Any]:
        """Have it done. Raises what the work raises; SignerUnavailable, HsmAbsent, ModuleUnusable, PinRefused,
        PinUnusable where the token cannot be used.
        """
        running = self._run()
        seconds = _GENERATING if work.do == "generate" else self.place.seconds
        line = running.take(self.place.seconds)
        try:
            line.settimeout(seconds)
            send(line, work.document())
            answer = receive(line)
        except (OSError, EOFError, ValueError) as error:
            slow = isinstance(error, TimeoutError)
            words = f"did not answer within {seconds:g} s" if slow else "ended with the work"
            failure = SignerUnavailable(f"The process that holds the token {words}.")
            self._end(running, failure)
            raise failure from None
        running.give_back(line)
        refused = error_in(answer)
        if refused is not None and answer["final"]:
            self._end(running, refused)
            raise refused
        self._failures = 0
        if refused is not None:
            raise refused
        return answer

    def ensure(self) -> None:
        """See that the process is there, without asking it for anything. Raises what `ask` raises of the token."""
        self._run()

    def retry_pin(self) -> None:
        """See `PinGuard.forget`."""
        self._pin.forget()
        self._again_at = 0.0

    def close(self) -> None:
        """End the process, if there is one. The next work starts another."""
        with self._starting:
            running, self._running = self._running, None
        if running is not None:
            running.end()

    def __del__(self) -> None:
        if getattr(self, "_running", None) is not None:
            self.close()

    def _run(self) -> "_Running":
        running = self._running
        if running is not None and running.is_ours and not running.ended:
            return running
        if not self._starting.acquire(timeout=self.place.seconds):
            raise SignerUnavailable("The token is just being started.")
        try:
            return self._run_anew()
        finally:
            self._starting.release()

    def _run_anew(self) -> "_Running":
        """As the only thread that does. Starts nothing shortly after that failed."""
        running = self._running
        if running is not None and running.is_ours and not running.ended:
            return running
        self._running = None
        if running is not None:
            running.end()
        if self._failed is not None and time.monotonic() < self._again_at:
            raise _once_more(self._failed)
        try:
            self._running = self._start()
        except KeyStoreError as error:
            self._note(error)
            raise
        if self._failed is not None:
            _LOG.info("the token answers again")
            self._failed = None
        return self._running

    def _start(self) -> "_Running":
        if find_spec("pkcs11") is None:
            raise ModuleUnusable(
                "The library for PKCS#11 is not installed.",
                next_step="In a clone of ikewarden, run: pip install '.[hsm]'",
            )
        about = f"{self.place.label}\0{self.place.serial}"
        with self._pin.one_try(about, seconds=self.place.seconds) as pin:
            running = _Running(_LINES * self.place.sessions + 1, _environ(self.place.withheld))
            try:
                running.begin(self.place, pin.reveal().decode())
            except BaseException:
                running.end()
                raise
        return running

    def _end(self, running: "_Running", error: KeyStoreError) -> None:
        """Give a process up that is of no use any more, once, however many threads see it."""
        with self._starting:
            if self._running is not running:
                return
            self._running = None
            self._note(error)
        running.end()

    def _note(self, error: KeyStoreError) -> None:
        if self._failed is None:
            _LOG.error("the token cannot be used", extra={"code": error.code, "why": error.message})
        self._failed = error
        self._again_at = time.monotonic() + _PAUSES[min(self._failures, len(_PAUSES) - 1)]
        self._failures += 1


class _Running:
    """One such process and its lines."""

    def __init__(self, lines: int, environ: Mapping[str, str]) -> None:
        self._owner = os.getpid()
        pairs = [socket.socketpair() for _ in range(lines)]
        theirs = [there for _, there in pairs]
        self._lines = [here for here, _ in pairs]
        self._free = threading.Condition()
        self._idle: list[socket.socket] = []
        self._gone = False
        first, self._life = os.pipe()
        try:
            self._process = subprocess.Popen(
                # -P: nothing is imported from where the service happened to be started.
                [sys.executable, "-P", "-m", _WORKER, *(str(each.fileno()) for each in theirs)],
                env=environ,
                stdin=first,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # modules chatter
                pass_fds=[each.fileno() for each in theirs],
            )
        except OSError as error:
            for each in self._lines:
                each.close()
            os.close(self._life)
            raise SignerUnavailable(
                f"No process for the token could be started: {os.strerror(error.errno or 0)}."
            ) from None
        finally:
            os.close(first)
            for each in theirs:
                each.close()

    def begin(self, place: TokenPlace, pin: str) -> None:
        """Have it load the module and log in. Raises what comes of that."""
        asked = {
            "module": str(place.module),
            "token": place.label,
            "serial": place.serial,
            "pin": pin,
            "sessions": place.sessions,
            # Who waits for a session hears of it before we would take the process for dead.
            "patience": place.seconds / 2,
        }
        try:
            os.write(self._life, json.dumps(asked).encode() + b"\n")
            self._lines[0].settimeout(
                place.seconds + 5
            )  # Python itself takes a while on a busy machine
            answer = receive(self._lines[0])
        except TimeoutError:
            raise SignerUnavailable(f"{place.module} took too long to start.") from None
        except (OSError, EOFError):
            raise SignerUnavailable(f"The process that loaded {place.module} died of it.") from None
        if refused := error_in(answer):
            raise refused
        with self._free:
            self._idle = list(self._lines)

    @property
    def is_ours(self) -> bool:
        """Whether this process started it, and not the one that this was forked from."""
        return self._owner == os.getpid()

    @property
    def ended(self) -> bool:
        """Whether it is no more."""
        return self._gone or self._process.poll() is not None

    def take(self, seconds: float) -> socket.socket:
        """A free line. Raises SignerUnavailable where there is none in time."""
        with self._free:
            if not self._free.wait_for(lambda: bool(self._idle) or self._gone, seconds):
                raise SignerUnavailable(f"The token was busy for {seconds:g} s.")
            if self._gone:
                raise SignerUnavailable("The token failed before this was its turn.")
            # The last one used: so no more sessions are opened than are needed.
            return self._idle.pop()

    def give_back(self, line: socket.socket) -> None:
        """The line is free again."""
        with self._free:
            self._idle.append(line)
            self._free.notify()

    def end(self) -> None:
        """End it, and wake up whoever waits for a line. Of a process that this was forked from, let go only."""
        with self._free:
            if self._gone:
                return
            self._gone = True
            self._free.notify_all()
        for each in self._lines:
            if self.is_ours:  # of a line that two processes hold, only the one end is closed
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
            each.close()
        os.close(self._life)
        if self.is_ours:
            self._process.kill()
            self._process.wait()
        else:
            self._process.returncode = 0  # not ours to wait for


def _environ(withheld: frozenset[str]) -> dict[str, str]:
    return {
        name: value
        for name, value in os.environ.items()
        if name not in withheld and not name.startswith(_OURS)
    }


def _once_more(error: KeyStoreError) -> KeyStoreError:
    details: Mapping[str, object] = error.details
    return type(error)(error.message, next_step=error.next_step, details=details)
