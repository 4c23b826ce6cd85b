"""The process that reads a log and is measured: `python -m bench.logs_side parse|judge FILE`."""

import json
import sys
import time
from pathlib import Path

from ike.detection.watch import Watch
from ike.events.files import blocks
from ike.events.reader import Reader


def _read(what: str, path: Path) -> None:
    reader, watch, events = Reader(1_800_000_000.0), Watch(), 0
    began = time.process_time()
    lines = 0
    for block in blocks(path):
        lines += block.count(b"\n")
        found = reader.feed(block)
        events += len(found)
        if what == "judge":
            watch.observe_all(found)
    events += len(reader.close())
    watch.settle()
    seconds = time.process_time() - began
    # Not ru_maxrss: that counts what the process was before it became this one.
    status = Path("/proc/self/status").read_text("ascii")
    peak = int(status.partition("VmHWM:")[2].split()[0]) / 1024
    print(json.dumps({"per_second": lines / seconds, "events": events, "peak": peak}))


if __name__ == "__main__":
    _read(sys.argv[1], Path(sys.argv[2]))
