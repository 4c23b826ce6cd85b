"""A service that makes reports by itself."""

import stat
import time
from pathlib import Path

from tests.fixtures.served import Served, serving

REPORTS = """
[[reports]]
name = "ends"
kind = "expiring"
every = "weekly"
format = "csv"
signed = true
folder = "reports"

[[reports]]
name = "board"
kind = "compliance"
every = "monthly"
language = "zh"
folder = "reports"
"""
_PATIENCE = 300.0  # seconds, on a machine that has much else to do


def _until(served: Served, folder: Path, number: int) -> list[Path]:
    deadline = time.monotonic() + _PATIENCE
    while True:
        found = [each for each in sorted(folder.iterdir()) if not each.name.startswith(".")]
        if len(found) == number:
            return found
        assert time.monotonic() < deadline, served.log[-3000:]
        time.sleep(0.2)


def test_reports_come_by_themselves_and_once(tmp_path: Path) -> None:
    with serving(tmp_path / "instance") as served:
        served.stop()
        folder = served.directory / "reports"
        folder.mkdir()
        with (served.directory / "ikewarden.toml").open("a") as settings:
            settings.write(REPORTS)
        served.start()
        board, ends = _until(served, folder, 2)
        assert board.name.startswith("board-ikewarden-compliance-")
        assert board.read_bytes().startswith(b"%PDF")
        assert ends.name.endswith(".csv.zip")
        assert {stat.S_IMODE(each.stat().st_mode) for each in (board, ends)} == {0o640}
        deadline = time.monotonic() + _PATIENCE
        while True:
            jobs = {each["job"]: each for each in served.client.get("/v1/jobs")["items"]}
            if jobs.get("reports", {}).get("last_success_at"):
                break
            assert time.monotonic() < deadline, jobs.get("reports")
            time.sleep(0.2)
        made = served.client.listing("/v1/audit-events", {"action": "report.made"}, limit=9)
        assert [each["actor"] for each in made.items] == ["scheduler", "scheduler"]
        written = board.stat().st_mtime_ns
        served.stop()
        served.start()
        assert _until(served, folder, 2) == [board, ends]
        assert board.stat().st_mtime_ns == written
