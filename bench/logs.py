"""A log of charon read and judged, beside `fail2ban-regex` with one rule on the same file, and its memory."""

import json
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

from bench import charon_log
from bench.rounds import Bench, Row, alone, alternate, compare

_LIMIT = 500_000  # lines a second, issue 6
_LINES = 1_000_000
_FEW = 100_000
_QUICK = 20_000
# The peer as an operator calls it, `fail2ban-regex LOG RULE`: it finds out by itself how the log writes its dates and
# takes them out of the lines. The one rule: what ours reports among all else.
_RULE = r"^\s*\d+\[IKE\] <\S+> tried \d+ shared keys? for '[^']*' - '<HOST>', but MAC mismatched"
# And tuned, with a pattern for the dates of this very log.
_DATE = ("--datepattern", "{^LN-BEG}%Y-%m-%dT%H:%M:%S")
_MATCHED = re.compile(r"Lines: (\d+) lines, \d+ ignored, (\d+) matched")
_DATED = re.compile(r"^\|  \[(\d+)\] ", re.MULTILINE)


def run(bench: Bench) -> list[Row]:
    """Write the logs, then ours and the peer in turn."""
    count = _QUICK if bench.options.quick else _LINES
    large, small, single, bare = (
        bench.directory / f"{name}.log" for name in ("large", "small", "single", "bare")
    )
    for path, lines in ((large, count), (small, min(_FEW, count)), (single, 1)):
        charon_log.write(path, lines)
    charon_log.write(bare, count, named=False)
    name = "charon_filelog"
    if bench.options.ours_only or shutil.which("fail2ban-regex") is None:
        if not bench.options.ours_only:
            bench.remarks.append(
                "fail2ban-regex is not there: `bash tests/prepare.sh bench` installs it. No peer."
            )
        pace = [_ours(large)["per_second"] for _ in range(bench.options.rounds)]
        return [alone(("logs", f"{name}_read_and_judged", "lines/s"), pace)]
    sides = {
        "ours": lambda: _ours(large)["per_second"],
        "ours, ike_name off": lambda: _ours(bare)["per_second"],
        "ours, parsing alone": lambda: _ours(large, "parse")["per_second"],
        "fail2ban-regex": lambda: _peer(large, single),
        "fail2ban-regex --datepattern": lambda: _peer(large, single, *_DATE),
    }
    figures = alternate(bench, sides, unit=" lines/s")
    memory = [[_ours(path)["peak"] for _ in range(3)] for path in (large, small)]
    judged = (
        f"{count:,} lines, {_ours(large)['events'] / count:.1%} of them events, of {charon_log.TUNNELS} tunnels;"
        " seconds of processor time"
    )
    ours, peer = figures["ours"], figures["fail2ban-regex"]
    beside = f"{name}_read_and_judged_beside"
    return [
        compare(
            ("logs", f"{name}_read_and_judged", "lines/s"),
            ours,
            "limit",
            [float(_LIMIT)] * len(ours),
            note=judged,
        ),
        compare(
            ("logs", f"{name}_without_ike_name_read_and_judged", "lines/s"),
            figures["ours, ike_name off"],
            "limit",
            [float(_LIMIT)] * len(ours),
            note="the same log as charon writes it by default: whom a line is about is in the lines before it",
        ),
        compare(
            ("logs", beside, "lines/s"),
            ours,
            "fail2ban-regex",
            peer,
            note="`fail2ban-regex LOG RULE`, one failregex, the same log, its start not counted; ours with all rules",
        ),
        compare(
            ("logs", f"{beside}_of_a_tuned_one", "lines/s"),
            ours,
            "fail2ban-regex --datepattern",
            figures["fail2ban-regex --datepattern"],
            note="the same, told how this log writes its dates",
        ),
        compare(
            ("logs", f"{name}_read", "lines/s"),
            figures["ours, parsing alone"],
            "fail2ban-regex",
            peer,
            note="ours finds all events, and judges none",
        ),
        compare(
            ("logs", "peak_memory", "MiB"),
            memory[0],
            f"ours on {_FEW:,} lines",
            memory[1],
            less_is_better=True,
            note="nothing grows with a file",
        ),
    ]


def _ours(path: Path, what: str = "judge") -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-m", "bench.logs_side", what, path],
        check=True,
        capture_output=True,
        text=True,
    )
    said: dict[str, float] = json.loads(done.stdout)
    assert said["events"] > 0, "no event was read"
    return said


def _peer(path: Path, single: Path, *options: str) -> float:
    """Lines a second of processor time, without that of its start: what a log of a single line takes."""
    start, _ = _searched(single, *options)
    seconds, shown = _searched(path, *options)
    found, dated = _MATCHED.search(shown), _DATED.search(shown)
    assert found is not None, shown[-500:]
    assert int(found[2]) > 0, "the peer's rule found nothing"
    assert dated is not None, "the peer read no date"
    assert dated[1] == found[1], "the peer did not read every date"
    return int(found[1]) / (seconds - start)


def _searched(path: Path, *options: str) -> tuple[float, str]:
    """Seconds of processor time that the peer took, and what it printed."""
    before = _children()
    done = subprocess.run(
        ["fail2ban-regex", *options, path, _RULE], check=False, capture_output=True, text=True
    )
    return _children() - before, done.stdout


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
