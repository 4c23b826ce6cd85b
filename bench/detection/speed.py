"""The process whose speed or memory is measured: `python -m bench.detection.speed WHAT COUNT`."""

import gc
import json
import random
import sys
import time
from pathlib import Path
from typing import Any

from ike.detection.watch import Watch
from ike.events.event import SaEvent

_START = 1_750_000_000.0


def fleet(tunnels: int, rounds: int) -> list[SaEvent]:
    """The events of ordinary days: each tunnel comes up, and its Child SA is rekeyed `rounds` times."""
    draw = random.Random(1)
    found: list[tuple[float, SaEvent]] = []
    for number in range(tunnels):
        at = _START + 3000 * draw.random()
        name, source = f"site-{number}", f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
        common: dict[str, Any] = {
            "ike_id": number,
            "name": name,
            "source": source,
            "daemon": "charon",
            "host": "gw",
        }
        found.append((at, SaEvent("ike_initiate", 0, at, **common)))
        up = SaEvent("ike_established", 0, at, identity=f"{name}.example", **common)
        found.append((at, up))
        for step in range(rounds):
            child = number + step * tunnels
            spis: dict[str, Any] = {
                "spi_in": f"{draw.getrandbits(32):08x}",
                "spi_out": f"{draw.getrandbits(32):08x}",
            }
            made = SaEvent(
                "child_established", 0, at, child="net", child_id=child, **spis, **common
            )
            found.append((at, made))
            if step:
                old: dict[str, Any] = {
                    "child": "net",
                    "child_id": child - tunnels,
                    "size": 5_000_000,
                }
                found.append((at + 2, SaEvent("child_closed", 0, at + 2, **old, **common)))
            if draw.random() < 0.5:
                found.append((at + 9, SaEvent("retransmit", 0, at + 9, seq=1, **common)))
            at += 3600 - 360 * max(draw.random(), draw.random())
    found.sort(key=lambda each: each[0])
    return [event._replace(line=line) for line, (_, event) in enumerate(found, 1)]


def _pace(count: int) -> dict[str, float]:
    events = fleet(max(count // 50, 1), 20)
    gc.collect()
    gc.freeze()
    watch = Watch()
    began = time.process_time()
    for event in events:
        watch.observe(event)
    watch.settle()
    seconds = time.process_time() - began
    assert not watch.alerts(), watch.alerts()[0]
    return {"per_second": len(events) / seconds, "events": len(events)}


def _resident() -> float:
    status = Path("/proc/self/status").read_text("ascii")
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def _memory(peers: int) -> dict[str, float]:
    """MiB that a watch over `peers` peers takes, each with full history."""
    watch, before, rounds = Watch(), _resident(), 20
    draw = random.Random(1)
    line = 0
    for step in range(rounds):
        for number in range(peers):
            line += 1
            at = _START + 3400 * step + 3000 * number / peers + 100 * draw.random()
            name, source = f"site-{number}", f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
            common: dict[str, Any] = {
                "ike_id": number,
                "name": name,
                "source": source,
                "daemon": "charon",
            }
            if not step:
                watch.observe(
                    SaEvent("ike_established", -line, at, identity=f"{name}.example", **common)
                )
            watch.observe(
                SaEvent(
                    "child_established", line, at, child="net", child_id=number + step * peers,
                    spi_in=f"{draw.getrandbits(32):08x}", spi_out=f"{draw.getrandbits(32):08x}",
                    **common,
                )
            )  # fmt: skip
            if step:
                old = number + (step - 1) * peers
                watch.observe(
                    SaEvent(
                        "child_closed", line, at + 1, child="net", child_id=old, size=9, **common
                    )
                )
    watch.settle()
    return {"mebibytes": _resident() - before, "peers": peers}


if __name__ == "__main__":
    print(json.dumps({"pace": _pace, "memory": _memory}[sys.argv[1]](int(sys.argv[2]))))
