"""What the processes of this service use, as the kernel tells it: prometheus_client knows this of one process only.

Each part of the service writes its process id into the directory that all of them share, so that whichever is asked can
look at all of them. Elsewhere than on Linux nothing is told.
"""

import contextlib
import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from api.meters import DIRECTORY
from core.figures import Figure, Labels, counter, gauge

_PREFIX: Final = "part-"

START: Final = gauge(
    "process_start_time_seconds",
    "When the process of a part of the service started: api-1 …, validation, scheduler, syslog.",
    "part",
)
CPU: Final = counter(
    "process_cpu_seconds",
    "Processor time that a part of the service has used, with the workers below it that live.",
    "part",
)
MEMORY: Final = gauge(
    "process_resident_memory_bytes",
    "Memory of a part of the service, with the workers below it; what they share counts for each.",
    "part",
)
OPEN: Final = gauge(
    "process_open_fds",
    "Open file descriptors of a part of the service, with the workers below it. Each gateway that waits is one.",
    "part",
)
LIMIT: Final = gauge(
    "process_max_fds", "File descriptors that a process of this part may open.", "part"
)
FAMILIES: Final = (START, CPU, MEMORY, OPEN, LIMIT)


def enlist(part: str) -> None:
    """Say that this process is a part of the service, in the place of one of this name before it."""
    if DIRECTORY in os.environ:
        place = Path(os.environ[DIRECTORY]) / (_PREFIX + part)
        place.write_text(str(os.getpid()))


def figures() -> list[Figure]:
    """What each part uses now; nothing where the parts are not known."""
    if DIRECTORY not in os.environ:
        return []
    found: defaultdict[str, dict[Labels, float]] = defaultdict(dict)
    for place in sorted(Path(os.environ[DIRECTORY]).glob(_PREFIX + "*")):
        part = place.name.removeprefix(_PREFIX)
        # It may have ended, and nobody else have its place yet.
        with contextlib.suppress(OSError, ValueError, IndexError):
            pid = int(place.read_text())
            used = [_Used(each) for each in (pid, *_below(pid))]
            found[START.name][part,] = used[0].started
            found[CPU.name][part,] = sum(each.seconds for each in used)
            found[MEMORY.name][part,] = sum(each.octets for each in used)
            found[OPEN.name][part,] = sum(each.files for each in used)
            found[LIMIT.name][part,] = used[0].most_files
    return [each.figure(found[each.name]) for each in FAMILIES]


class _Used:
    """What one process uses (proc_pid_stat(5), proc_pid_limits(5)). Raises OSError where there is none."""

    def __init__(self, pid: int) -> None:
        place = Path("/proc") / str(pid)
        # The name stands in brackets, and may have spaces and brackets in it.
        stat = (place / "stat").read_text().rpartition(")")[2].split()
        ticks = os.sysconf("SC_CLK_TCK")
        self.seconds = (int(stat[11]) + int(stat[12])) / ticks
        self.started = _booted() + int(stat[19]) / ticks
        self.octets = int(stat[21]) * os.sysconf("SC_PAGE_SIZE")
        self.files = len(os.listdir(place / "fd"))
        limits = (place / "limits").read_text().partition("Max open files")[2].split()
        self.most_files = float(limits[0].replace("unlimited", "inf"))


def _booted() -> int:
    return int(Path("/proc/stat").read_text().partition("\nbtime ")[2].split()[0])


def _below(pid: int) -> Iterator[int]:
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            for child in (task / "children").read_text().split():
                yield int(child)
                yield from _below(int(child))
