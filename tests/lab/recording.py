"""`python -m tests.lab.recording [SCENARIO…]`: play scenarios with real daemons and keep their log files.

What the daemons wrote themselves stands in tests/events/recorded/<scenario>.<end>.log, with nothing changed: the tests
of the parsers, of the rules and of `ikewarden sa analyze` read them.
"""

import re
import shutil
import sys
import traceback
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.lab.charon import Gateway
from tests.lab.errors import LabError
from tests.lab.lab import Lab, usable
from tests.lab.pluto import Pluto
from tests.lab.settings import Section, merged

RECORDED: Final = Path(__file__).parents[1] / "events/recorded"
LARGEST: Final = 200_000
#: Every shared key of a scenario begins with this, so that a log that holds one is found.
SECRET: Final = "lab-secret-"
_AT_ONCE: Final = 6  # scenarios mostly wait
_FORBIDDEN: Final = re.compile(rf"{SECRET}|/tmp/|PRIVATE KEY".encode())


@dataclass
class Stage:
    """A lab whose daemons' logs are kept under `scenario` when the play is over."""

    scenario: str
    lab: Lab
    kept: dict[str, Path] = field(default_factory=dict)

    def charon(
        self,
        name: str,
        *,
        net: int = 1,
        settings: Section | None = None,
        iso: bool = True,
        clock: str = "",
    ) -> Gateway:
        """A gateway that also writes the log that is kept: default levels, `ike_name` and milliseconds.

        With a `clock`, such as -1h, its time is wrong by that; `set_clock` changes it.
        """
        path = self.lab.directory / f"{name}.recorded"
        log: Mapping[str, Any] = {
            "path": path,
            "time_format": "%Y-%m-%dT%H:%M:%S" if iso else "%b %e %T",
            "time_add_ms": "yes",
            "default": 1,
            "net": net,
            "ike_name": "yes",
            "flush_line": "yes",
        }
        self.kept[name] = path
        told = merged({"filelog": {"recorded": log}}, settings or {})
        gateway = self.lab.gateway(name, settings=told, start=not clock)
        if clock:
            gateway.start(clock=self.set_clock(name, clock))
        return gateway

    def set_clock(self, name: str, clock: str) -> Path:
        """The time of a gateway is wrong by that from now on; gives the file that says so."""
        path = self.lab.directory / f"{name}.clock"
        path.write_text(clock)
        return path

    def pluto(self, name: str) -> Pluto:
        """A pluto; its log is kept."""
        gateway = self.lab.pluto(name)
        self.kept[name] = gateway.log.path
        return gateway

    def keep(self, folder: Path) -> list[Path]:
        """Copy the logs into `folder`; raises LabError where one is too large or holds what it must not."""
        written = []
        for end, path in self.kept.items():
            content = path.read_bytes()
            if len(content) > LARGEST:
                raise LabError(f"{self.scenario}: the log of {end} has {len(content):,} bytes")
            if isinstance(self.lab.plutos.get(end), Pluto):
                content = _without_paths(content)
            if found := _FORBIDDEN.search(content):
                raise LabError(f"{self.scenario}: the log of {end} holds {found[0]!r}")
            target = folder / f"{self.scenario}.{end}.log"
            target.write_bytes(content)
            written.append(target)
        return written


def _without_paths(content: bytes) -> bytes:
    """pluto names its files at the start; the folder of a lab is not what a gateway has."""
    return re.sub(rb"/tmp/ikewarden-lab-[0-9a-f]+/\w+", b"/etc/ipsec", content)


def record(scenario: str, folder: Path = RECORDED) -> list[Path]:
    """Play one scenario and keep its logs; gives the files."""
    from tests.lab.scenarios import SCENARIOS

    with Lab() as lab:
        stage = Stage(scenario, lab)
        SCENARIOS[scenario](stage)
        return stage.keep(folder)


def main(wanted: Sequence[str]) -> int:
    """Play what is wanted, or all; what failed is told, and the old files of it stay."""
    from tests.lab.scenarios import SCENARIOS

    if reason := usable():
        sys.stderr.write(f"{reason}\n")
        return 1
    if shutil.which("nft") is None:
        sys.stderr.write("recording needs nft: apt-get install nftables\n")
        return 1
    if unknown := set(wanted) - set(SCENARIOS):
        sys.stderr.write(f"No such scenario: {', '.join(sorted(unknown))}\n")
        return 2
    RECORDED.mkdir(parents=True, exist_ok=True)
    failed = 0
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for name, future in [(name, pool.submit(record, name)) for name in wanted or SCENARIOS]:
            try:
                files = future.result()
            except Exception:  # noqa: BLE001 - one that failed must not take the others with it
                failed += 1
                sys.stderr.write(f"{name}: {traceback.format_exc()}\n")
            else:
                for file in files:
                    sys.stdout.write(f"{file.name}: {file.stat().st_size:,} bytes\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
