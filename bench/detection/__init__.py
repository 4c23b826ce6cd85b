"""Are the alerts right? A simulator of fleets with faults, attacks and what only looks like them; and how fast."""

import json
import subprocess
import sys

from rich.table import Table

from bench.detection.faults import FAULTS
from bench.detection.fleet import DEVELOPMENT, HELD_OUT
from bench.detection.judging import Verdict, judge
from bench.detection.page import SCENARIO, STRENGTHS
from bench.rounds import Bench, Row, alone, compare

_TRIALS, _FLEETS, _TUNNELS, _DAYS = 40, 400, 20, 5.0
_EVENTS, _PEERS = 400_000, 100_000
_RECALL = _PRECISION = 0.99
_FALSE, _PER_SECOND, _MEBIBYTES = 1.0, 300_000.0, 500.0


def run(bench: Bench) -> list[Row]:
    """Judge the rules on the held-out split; measure speed and memory of the watch."""
    quick = bench.options.quick
    trials, fleets = (2, 5) if quick else (_TRIALS, _FLEETS)
    bench.say(f"{DEVELOPMENT.name} (what the rules were made by)")
    show(bench, judge(DEVELOPMENT, max(trials // 10, 1), max(fleets // 10, 1), _TUNNELS, _DAYS))
    bench.say(f"{HELD_OUT.name} (other seeds, other lifetimes, jitter and delays)")
    verdict = judge(HELD_OUT, trials, fleets, _TUNNELS, _DAYS)
    show(bench, verdict)
    return [*_rows(verdict), *_speed(bench, quick)]


def show(bench: Bench, verdict: Verdict) -> None:
    """A table by rule, and what was wrong."""
    table = Table(title=f"{verdict.quiet_days:,.0f} quiet tunnel-days")
    names = (
        "rule",
        "trials",
        "recall",
        "precision",
        "median delay s",
        "false per 10,000 tunnel-days",
    )
    for name in names:
        table.add_column(name, justify="left" if name == "rule" else "right")
    for kind, score in verdict.kinds.items():
        cells = (
            f"{score.recall:.4f}",
            f"{score.precision:.4f}",
            f"{score.delay:,.0f}",
            f"{verdict.often(kind):.2f}",
        )
        table.add_row(kind, str(score.expected), *cells)
    bench.console.print(table)
    apart = Table(title="by fault and strength: recall, median delay in seconds")
    for name in ("fault", *STRENGTHS):
        apart.add_column(name, justify="left" if name == "fault" else "right")
    for name in dict.fromkeys(name for name, _ in verdict.faults):
        scores = [verdict.faults[(name, strength)] for strength in range(3)]
        apart.add_row(name, *(f"{each.recall:.3f}  {each.delay:,.0f}" for each in scores))
    bench.console.print(apart)
    for line in verdict.wrong[:20]:
        bench.say(line)


def _rows(verdict: Verdict) -> list[Row]:
    rows = []
    for kind, score in verdict.kinds.items():
        shares = (("recall", score.recall, _RECALL), ("precision", score.precision, _PRECISION))
        for name, share, goal in shares:
            what = ("detection", f"{name}_{kind}", "share")
            rows.append(compare(what, [share], "goal", [goal]))
        delay = ("detection", f"delay_{kind}", "s")
        rows.append(alone(delay, [score.delay], note=f"{score.expected} trials"))
        false = ("detection", f"false_{kind}", "per 10,000 tunnel-days")
        rows.append(alone(false, [verdict.often(kind)]))
    note = f"{verdict.quiet_days:,.0f} tunnel-days with look-alikes"
    false = ("detection", "false_alarms", "per 10,000 tunnel-days")
    rows.append(alone(false, [verdict.false_per_10_000], note=f"goal: at most {_FALSE:g}; {note}"))
    for (name, strength), score in verdict.faults.items():
        kind = next(each.kind for each in FAULTS if each.name == name)
        scenario = ("detection", f"{SCENARIO}{name}, {STRENGTHS[strength]}", "s")
        rows.append(alone(scenario, [score.delay], note=f"{kind}, recall {score.recall:.3f}"))
    return rows


def _speed(bench: Bench, quick: bool) -> list[Row]:
    events, peers = (20_000, 2_000) if quick else (_EVENTS, _PEERS)
    paces = [_side("pace", events)["per_second"] for _ in range(bench.options.rounds)]
    taken = _side("memory", peers)["mebibytes"]
    return [
        compare(
            ("detection", "events_observed", "/s"),
            paces,
            "goal",
            [_PER_SECOND],
            note="one core, by process CPU time; mostly rekeys, which are the dearest",
        ),
        compare(
            ("detection", f"memory_of_{peers}_peers", "MiB"),
            [taken],
            "limit",
            [_MEBIBYTES],
            less_is_better=True,
            note="one gateway; each peer with 16 ages learned",
        ),
    ]


def _side(what: str, count: int) -> dict[str, float]:
    command = [sys.executable, "-m", "bench.detection.speed", what, str(count)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found
