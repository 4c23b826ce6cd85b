"""Who holds a lease: a process, named so that another one on the same machine can tell when it is dead.

What a dead process held need not be waited for until the lease ends. Only what is certain counts: of another machine,
another boot or another container nothing is known.
"""

import os
import socket
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final

_PARTS: Final = 4


def name_of_this_process(random: str) -> str:
    """A name for a lease of this process: host, number, start and place of the process, and `random` against reuse."""
    pid = os.getpid()
    return f"{socket.gethostname()}:{pid}:{_start(pid) or '-'}:{_place()}:{random}"


def is_dead(holder: str) -> bool:
    """Whether the process that gave itself this name (to which anything may be added behind) is known to be dead."""
    parts = holder.split(":")
    if len(parts) <= _PARTS or not parts[1].isdecimal():
        return False
    host, pid, start, place = parts[:_PARTS]
    if "-" in (start, place) or (host, place) != (socket.gethostname(), _place()):
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass  # somebody else's by now, or always
    # Where that of a living process cannot be read, nothing is known of it.
    now = _start(int(pid))
    return now is not None and now != start


@cache
def _place() -> str:
    """The boot of the kernel and the container in which process numbers mean the same; `-` where that is unknown."""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        return f"{boot.replace('-', '')}.{Path('/proc/self/ns/pid').stat().st_ino}"
    return "-"


def _start(pid: int) -> str | None:
    """When a process began, in ticks since the boot; `dead` of one that only waits to be buried."""
    with suppress(OSError):
        # proc_pid_stat(5): fields 3 and 22, counted behind the command's name, which may have anything in it.
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return "dead" if fields[0] in (b"Z", b"X") else fields[19].decode("ascii")
    return None
