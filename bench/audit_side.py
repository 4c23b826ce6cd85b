"""The process whose audit is measured; it loads nothing else. `python -m bench.audit_side FOLDER`."""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

from ike.audit import host, rules
from ike.audit.ground import Ground
from ike.audit.values import Policy


def _audit(tree: Path) -> None:
    now = datetime.now(UTC)
    seen = host.look(Ground(tree), host.Wanted(), now)
    found = rules.judged(seen, Policy(), now)
    # Not ru_maxrss: that counts what the process was before it became this one.
    status = Path("/proc/self/status").read_text("ascii")
    peak = int(status.partition("VmHWM:")[2].split()[0])
    print(json.dumps({"findings": len(found), "files": seen.files, "peak": peak}))


if __name__ == "__main__":
    _audit(Path(sys.argv[1]))
