"""The audit of a copied host: 100,000 files gone through, beside `find -printf` on the same tree, and its memory."""

import json
import subprocess
import sys
import time
from pathlib import Path

from bench.rounds import Bench, Row, alone, alternate, compare

_LIMIT = 5  # times that of find, issue 5
_FILES = 100_000
_FEW = 1_000
_QUICK = 5_000
_IN_FOLDER = 100
_ENDINGS = ("json", "conf", "txt", "dat", "log", "bin", "xml", "html", "so", "md")
_KEY = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEG\n-----END PRIVATE KEY-----\n"


def run(bench: Bench) -> list[Row]:
    """Write the trees, then ours and find in turn."""
    count = _QUICK if bench.options.quick else _FILES
    large, small = bench.directory / "large", bench.directory / "small"
    _plant(large, count)
    _plant(small, _FEW)
    name = f"tree_of_{count}_files"
    if bench.options.ours_only:
        return [alone(("audit", name, "s"), [_ours(large)[0] for _ in range(bench.options.rounds)])]
    sides = {
        "ours": lambda: _ours(large)[0],
        "find with modes": lambda: _find(large, "%m %u %g %s %p\\n"),
        "find": lambda: _find(large, "%p\\n"),
    }
    _find(large, "%p\\n")  # the first one reads the disk
    figures = alternate(bench, sides, unit=" s")
    ours = figures["ours"]
    memory = [[_ours(tree)[1] for _ in range(3)] for tree in (large, small)]
    return [
        compare(
            ("audit", name, "s"),
            ours,
            "limit",
            [_LIMIT * one for one in figures["find with modes"]],
            less_is_better=True,
            note=f"{_LIMIT} × `find -printf '%m %u %g %s %p\\n'`; a process from its start to its end",
        ),
        compare(
            ("audit", name + "_beside_bare_find", "s"),
            ours,
            "find",
            figures["find"],
            less_is_better=True,
            note="`find -printf '%p\\n'`, which looks at names alone",
        ),
        compare(
            ("audit", name + "_peak_memory", "MiB"),
            memory[0],
            f"ours on {_FEW:,} files",
            memory[1],
            less_is_better=True,
            note="nothing is kept of a tree but what matters in it",
        ),
    ]


def _plant(tree: Path, count: int) -> None:
    """Files as they are on a host: most matter to nobody, one in 100 is looked into, one in 1,000 is a key."""
    for number in range(count):
        folder = tree / "srv" / f"part{number // 10_000}" / f"folder{number // _IN_FOLDER}"
        if number % _IN_FOLDER == 0:
            folder.mkdir(parents=True)
        ending = "pem" if number % 100 == 7 else _ENDINGS[number % len(_ENDINGS)]
        path = folder / f"file-{number:06d}.{ending}"
        path.write_text(_KEY if number % 1_000 == 7 else "")
    swanctl = tree / "etc" / "swanctl"
    (swanctl / "private").mkdir(parents=True)
    (swanctl / "private" / "gw.key").write_text(_KEY)
    (swanctl / "swanctl.conf").write_text(
        "secrets {\n ike {\n  secret = of this benchmark\n }\n}\n"
    )


def _find(tree: Path, form: str) -> float:
    began = time.perf_counter()
    subprocess.run(["find", tree, "-printf", form], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def _ours(tree: Path) -> tuple[float, float]:
    """Seconds, and the most memory in MiB."""
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "bench.audit_side", tree], check=True, capture_output=True, text=True
    )
    seconds = time.perf_counter() - began
    said = json.loads(done.stdout)
    assert said["findings"] > 0, "the audit found nothing"
    return seconds, said["peak"] / 1024
