"""A log of charon read and judged, beside `fail2ban-regex` with one rule on the same file, and its memory."""

import json
import random
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from bench.rounds import Bench, Row, alone, alternate, compare

_LIMIT = 500_000  # lines a second, issue 6
_LINES = 1_000_000
_FEW = 100_000
_QUICK = 20_000
_START = 1_790_000_000.0
_TUNNELS = 200
# The one rule of the peer: what ours reports among all else.
_RULE = (
    r"^\s*\S+ \d+\[IKE\] <\S+> tried \d+ shared keys? for '[^']*' - '<HOST>', but MAC mismatched"
)
_MATCHED = re.compile(r"Lines: (\d+) lines, \d+ ignored, (\d+) matched")


def run(bench: Bench) -> list[Row]:
    """Write the logs, then ours and the peer in turn."""
    count = _QUICK if bench.options.quick else _LINES
    large, small = bench.directory / "large.log", bench.directory / "small.log"
    for path, lines in ((large, count), (small, min(_FEW, count))):
        _write(path, lines)
    name = "charon_filelog"
    if bench.options.ours_only or shutil.which("fail2ban-regex") is None:
        if not bench.options.ours_only:
            bench.remarks.append(
                "fail2ban-regex is not installed (Debian package fail2ban): no peer."
            )
        pace = [_ours(large)["per_second"] for _ in range(bench.options.rounds)]
        return [alone(("logs", f"{name}_read_and_judged", "lines/s"), pace)]
    sides = {
        "ours": lambda: _ours(large)["per_second"],
        "ours, parsing alone": lambda: _ours(large, "parse")["per_second"],
        "fail2ban-regex": lambda: _peer(small),
    }
    figures = alternate(bench, sides, unit=" lines/s")
    memory = [[_ours(path)["peak"] for _ in range(3)] for path in (large, small)]
    judged = (
        f"{count:,} lines, {_ours(large)['events'] / count:.1%} of them events, of {_TUNNELS} tunnels;"
        " seconds of processor time"
    )
    return [
        compare(
            ("logs", f"{name}_read_and_judged", "lines/s"),
            figures["ours"],
            "limit",
            [float(_LIMIT)] * len(figures["ours"]),
            note=judged,
        ),
        compare(
            ("logs", f"{name}_read", "lines/s"),
            figures["ours, parsing alone"],
            "fail2ban-regex",
            figures["fail2ban-regex"],
            note="one failregex, on the first lines of the same log; ours knows all events",
        ),
        compare(
            ("logs", f"{name}_read_and_judged_beside", "lines/s"),
            figures["ours"],
            "fail2ban-regex",
            figures["fail2ban-regex"],
            note="the same, with all rules of detection",
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


def _peer(path: Path) -> float:
    """Lines a second of processor time; its start, some tenths of a second, is in it."""
    command = [
        "fail2ban-regex",
        "--datepattern",
        r"{^LN-BEG}%%Y-%%m-%%dT%%H:%%M:%%S",
        str(path),
        _RULE,
    ]
    before = _children()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds = _children() - before
    found = _MATCHED.search(done.stdout)
    assert found is not None, done.stdout[-500:]
    assert int(found[2]) > 0, "the peer's rule found nothing"
    return int(found[1]) / seconds


def _children() -> float:

    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


# ---------------------------------------------------------------- the log


def _write(path: Path, lines: int) -> None:
    """Ordinary days of many tunnels, with a wrong key now and then, as charon's filelog has them at level 1."""
    draw, at, number = random.Random(6), _START, 0
    with path.open("w", encoding="ascii") as opened:
        while number < lines:
            at += draw.expovariate(1 / 3)
            tunnel = draw.randrange(_TUNNELS)
            for text in _scene(draw, tunnel):
                stamp = f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%S}"
                opened.write(f"{stamp} {draw.randrange(5, 17):02d}{text}\n")
                number += 1


def _scene(draw: random.Random, tunnel: int) -> Iterator[str]:
    name, sa = f"site-{tunnel}", 1 + tunnel
    near, far = "192.0.2.1", f"198.51.{100 + tunnel // 250}.{1 + tunnel % 250}"
    ike = f"<{name}|{sa}>"
    packet = f"[NET] {ike} received packet: from {far}[4500] to {near}[4500] ({draw.randrange(76, 400)} bytes)"
    answer = f"[NET] {ike} sending packet: from {near}[4500] to {far}[4500] ({draw.randrange(76, 400)} bytes)"
    kind = draw.random()
    if kind < 0.93:  # a peer is asked whether it is there
        message = draw.randrange(10_000)
        yield packet
        yield f"[ENC] {ike} parsed INFORMATIONAL request {message} [ ]"
        yield f"[ENC] {ike} generating INFORMATIONAL response {message} [ ]"
        yield answer
    elif kind < 0.996:  # a Child SA is rekeyed
        spis = [f"{draw.getrandbits(32):08x}" for _ in range(4)]
        child = draw.randrange(1, 9000)
        selectors = f"TS 10.{tunnel}.0.0/16 === 10.255.0.0/16"
        yield packet
        yield f"[ENC] {ike} parsed CREATE_CHILD_SA request 7 [ N(REKEY_SA) SA No KE TSi TSr ]"
        yield f"[CFG] {ike} selected proposal: ESP:AES_GCM_16_256/ECP_384/NO_EXT_SEQ"
        made = f"inbound CHILD_SA net{{{child + 1}}} established with SPIs {spis[0]}_i {spis[1]}_o"
        yield f"[IKE] {ike} {made} and {selectors}"
        yield f"[ENC] {ike} generating CREATE_CHILD_SA response 7 [ SA No KE TSi TSr ]"
        yield answer
        yield packet
        yield f"[ENC] {ike} parsed INFORMATIONAL request 8 [ D ]"
        yield f"[IKE] {ike} received DELETE for ESP CHILD_SA with SPI {spis[3]}"
        yield (
            f"[IKE] {ike} closing CHILD_SA net{{{child}}} with SPIs {spis[2]}_i (84 bytes) {spis[3]}_o (84 bytes)"
            f" and {selectors}"
        )
        yield f"[IKE] {ike} sending DELETE for ESP CHILD_SA with SPI {spis[2]}"
        yield f"[IKE] {ike} CHILD_SA closed"
        yield f"[ENC] {ike} generating INFORMATIONAL response 8 [ D ]"
        yield answer
    else:
        stranger = f"<{draw.randrange(1000, 9000)}>"
        yield f"[NET] {stranger} received packet: from {far}[500] to {near}[500] (264 bytes)"
        yield f"[ENC] {stranger} parsed IKE_SA_INIT request 0 [ SA KE No N(NATD_S_IP) N(NATD_D_IP) ]"
        yield f"[IKE] {stranger} {far} is initiating an IKE_SA"
        yield f"[IKE] {ike} tried 1 shared key for '{near}' - '{far}', but MAC mismatched"
        yield f"[ENC] {ike} generating IKE_AUTH response 1 [ N(AUTH_FAILED) ]"
        yield answer
