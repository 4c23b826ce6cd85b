"""A clock that is wrong, for one daemon: libfaketime reads from a file by how much."""

from importlib.util import find_spec
from pathlib import Path
from typing import Final

from tests.lab.errors import LabError

_LIBRARY: Final = "vendor/libfaketime/src/libfaketime.so.1"


def moved(clock: Path) -> dict[str, str]:
    """The environment of a program whose clock is off by what stands in the file `clock`; raises LabError."""
    spec = find_spec("libfaketime")
    if spec is None or spec.origin is None:
        raise LabError("a wrong clock needs libfaketime: make .venv/.dev")
    return {
        "LD_PRELOAD": str(Path(spec.origin).parent / _LIBRARY),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        # charon waits by the monotonic clock, which nobody sets.
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_FORCE_MONOTONIC_FIX": "0",
    }
