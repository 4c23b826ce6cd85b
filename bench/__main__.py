"""`python -m bench [NAME…]`: run benchmarks, print a table, write bench/results.json and the reference page."""

import argparse
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from bench import (
    audit,
    console,
    crl,
    detection,
    doors,
    fleet,
    hsm,
    ingest,
    issuance,
    logs,
    machine,
    ocsp,
    primes,
    results,
    revocation,
    rotation,
)
from bench.baoserver import Refused
from bench.load import LoadFailed
from bench.ours import OursRefused
from bench.postgresql import Postgresql, PostgresqlMissing
from bench.processes import ProgramDied
from bench.rounds import Bench, Options, Row

_BENCHES: dict[str, Callable[[Bench], list[Row]]] = {
    "issuance": issuance.run,
    "hsm": hsm.run,
    "revocation": revocation.run,
    "doors": doors.run,
    "ocsp": ocsp.run,
    "crl": crl.run,
    "fleet": fleet.run,
    "rotation": rotation.run,
    "ingest": ingest.run,
    "console": console.run,
    "audit": audit.run,
    "primes": primes.run,
    "detection": detection.run,
    "logs": logs.run,
}
_PREFIX = "ikewarden-bench-"
_FAILURES = (
    LoadFailed,
    Refused,
    OursRefused,
    PostgresqlMissing,
    ProgramDied,
    TimeoutError,
    OSError,
)


def _arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(_BENCHES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=5, help="of each run")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument(
        "--revoked", type=int, default=1_000_000, help="certificates on record in the crl benchmark"
    )
    parser.add_argument(
        "--tunnels",
        type=int,
        default=10_000,
        help="due at once in the rotation benchmark, and on record in that of the console",
    )
    parser.add_argument(
        "--certificates",
        type=int,
        default=1_000_000,
        help="certificates on record in the benchmark of the console",
    )
    parser.add_argument(
        "--ours-only", action="store_true", help="no peer; nothing is written: to profile"
    )
    parser.add_argument(
        "--quick", action="store_true", help="see that it works: 1 round of 1 s; nothing is written"
    )
    parser.add_argument(
        "--directory", type=Path, default=Path(tempfile.gettempdir()), help="where records are kept"
    )
    chosen = parser.parse_args(words)
    unknown = sorted(set(chosen.names) - set(_BENCHES))
    if unknown:
        parser.error(
            f"no benchmark is called {', '.join(unknown)}; there are {', '.join(_BENCHES)}"
        )
    if not (1 <= chosen.rounds <= 50 and 1 <= chosen.seconds <= 120):
        parser.error("at most 50 rounds of at most 120 seconds")
    if not 1_000 <= chosen.revoked <= 20_000_000:
        parser.error("between 1,000 and 20,000,000 revoked certificates")
    if not 10 <= chosen.tunnels <= 100_000:
        parser.error("between 10 and 100,000 tunnels")
    if not 10_000 <= chosen.certificates <= 20_000_000:
        parser.error("between 10,000 and 20,000,000 certificates")
    return chosen


def main(words: Sequence[str]) -> int:
    """Run what was asked for; gives 0, or 1 if a benchmark failed, or 130 after Ctrl-C."""
    chosen = _arguments(words)
    options = Options(
        rounds=1 if chosen.quick else chosen.rounds,
        seconds=1 if chosen.quick else chosen.seconds,
        ours_only=chosen.ours_only,
        quick=chosen.quick,
        database=chosen.database,
        revoked=chosen.revoked,
        tunnels=chosen.tunnels,
        certificates=chosen.certificates,
        directory=chosen.directory.resolve(),
    )
    screen = Console()
    if not screen.is_terminal:
        screen = Console(width=130)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have it ignored
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    _sweep(options.directory)
    where = machine.look(options.directory)
    names = [name for name in _BENCHES if not chosen.names or name in chosen.names]
    failed, rows = False, []
    for name in names:
        screen.print(f"[bold]{name}[/bold]")
        try:
            made = _run(name, options, screen)
        except KeyboardInterrupt:
            screen.print("stopped; everything that was started has ended")
            return 130
        except _FAILURES as error:
            screen.print(f"[red]{name} failed:[/red] {type(error).__name__}: {escape(str(error))}")
            failed = True
            continue
        rows += made
        if not (options.quick or options.ours_only):
            # After each, so that what was measured is kept whatever happens next.
            everything = results.write(results.RESULTS, made, where, options, datetime.now(UTC))
            results.write_page(results.PAGE, everything)
    results.show(screen, rows)
    return 1 if failed else 0


def _run(name: str, options: Options, screen: Console) -> list[Row]:
    directory = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=options.directory))
    (directory / "owner").write_text(str(os.getpid()))
    try:
        with ExitStack() as stack:
            database_url = None
            if options.database == "postgresql":
                place = directory / "postgresql"
                place.mkdir()
                server = Postgresql(place)
                stack.callback(server.stop)
                database_url = server.url
            bench = Bench(options, directory, stack, screen, database_url)
            rows = _BENCHES[name](bench)
            for remark in bench.remarks:
                bench.say(remark)
            return rows
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _sweep(directory: Path) -> None:
    """Remove what a killed run left behind; its programs died with it."""
    for old in directory.glob(f"{_PREFIX}*"):
        try:
            owner = int((old / "owner").read_text())
        except (OSError, ValueError):
            continue
        if not Path(f"/proc/{owner}").exists():
            shutil.rmtree(old, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
