"""One process group: a parent that starts the parts, starts again what dies, and ends them all together."""

import logging
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from api import processes
from api.server import end_with_parent
from core.notify import Supervisor

_LOG = logging.getLogger("ikewarden.serve")
_GRACE_SECONDS = 15.0
# A part that dies again and again is started less and less often, and the first time at once.
_PAUSES = (0.0, 1.0, 2.0, 5.0, 10.0, 30.0)
_CALM_SECONDS = 60.0


@dataclass(frozen=True)
class Part:
    """A process of the group: `run` returns its exit code. It is called in the child, after the fork."""

    name: str
    run: Callable[[], int]


@dataclass
class _Child:
    part: Part
    pid: int = 0
    started: float = 0.0
    deaths: int = 0
    start_at: float = 0.0


@dataclass
class _Group:
    children: list[_Child]
    manager: Supervisor
    stopping: bool = False
    failed: bool = False
    signals: list[int] = field(default_factory=list)
    told_at: float = float("-inf")
    announced: bool = False


def supervise(parts: Sequence[Part], manager: Supervisor) -> int:
    """Run the parts until SIGINT or SIGTERM; give 0 for a clean end, 1 if a part did not end cleanly.

    A part that dies is started again after a pause. When this process is killed, the parts get SIGTERM from the
    kernel, so that none is left behind.

    The service manager hears when all parts were started, and then, where it has a watchdog, that this process goes
    round and all parts live. While a part is dead it hears nothing: what does not come up again ends the whole group.
    """
    group = _Group([_Child(part) for part in parts], manager)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda got, _frame: group.signals.append(got))
    while not group.signals:
        now = time.monotonic()
        for child in group.children:
            if child.pid == 0 and now >= child.start_at:
                _start(child, now)
        _reap(group)
        _tell(group, now)
        # Signals interrupt nothing here that matters: the next round sees them within this pause.
        signal.sigtimedwait([signal.SIGCHLD], 0.2)
    return _stop(group)


def _tell(group: _Group, now: float) -> None:
    if not all(child.pid for child in group.children):
        return
    if not group.announced:
        group.announced = True
        names = ", ".join(child.part.name for child in group.children)
        group.manager.tell(READY=1, STATUS=f"serving: {names}")
    seconds = group.manager.watchdog_seconds
    # Half of the time, as sd_watchdog_enabled(3) advises.
    if seconds is not None and now - group.told_at >= seconds / 2:
        group.told_at = now
        group.manager.tell(WATCHDOG=1)


def _start(child: _Child, now: float) -> None:
    parent = os.getpid()
    # A signal that comes before the child has its own handlers would be taken by ours, and be lost.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    pid = os.fork()
    if pid == 0:
        os._exit(_live(child.part, parent, before))
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    child.pid, child.started = pid, now


def _live(part: Part, parent: int, mask: set[int | signal.Signals]) -> int:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C reaches the group; the parent passes it on
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    end_with_parent(parent)
    try:
        processes.enlist(part.name)
        return part.run()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001 - whatever it was, the parent must see an exit code
        _LOG.exception("a part failed", extra={"part": part.name})
        return 1


def _reap(group: _Group) -> None:
    for child in group.children:
        if child.pid == 0:
            continue
        pid, status = os.waitpid(child.pid, os.WNOHANG)
        if pid == 0:
            continue
        code = os.waitstatus_to_exitcode(status)
        lived = time.monotonic() - child.started
        child.deaths = 0 if lived > _CALM_SECONDS else child.deaths
        pause = _PAUSES[min(child.deaths, len(_PAUSES) - 1)]
        child.deaths += 1
        child.pid, child.start_at = 0, time.monotonic() + pause
        _LOG.error(
            "a part ended and is started again",
            extra={"part": child.part.name, "exit": code, "pause": pause},
        )


def _stop(group: _Group) -> int:
    group.manager.tell(STOPPING=1, STATUS="stopping")
    for child in group.children:
        if child.pid:
            os.kill(child.pid, signal.SIGTERM)
    deadline = time.monotonic() + _GRACE_SECONDS
    clean = True
    for child in group.children:
        clean &= child.pid == 0 or _wait(child, deadline)
    return 0 if clean else 1


def _wait(child: _Child, deadline: float) -> bool:
    while True:
        pid, status = os.waitpid(child.pid, os.WNOHANG)
        if pid:
            code = os.waitstatus_to_exitcode(status)
            return code in {0, -signal.SIGTERM}
        if time.monotonic() > deadline:
            _LOG.error("a part did not end and is killed", extra={"part": child.part.name})
            os.kill(child.pid, signal.SIGKILL)
            os.waitpid(child.pid, 0)
            return False
        signal.sigtimedwait([signal.SIGCHLD], 0.05)
