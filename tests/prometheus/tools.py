"""Debian's prometheus and promtool, and the files that they are given."""

import subprocess
from pathlib import Path
from typing import Any

import yaml

from tests.fixtures.needs import program

ROOT = Path(__file__).parents[2]
RULES = ROOT / "monitoring/prometheus/ikewarden.rules.yml"
DASHBOARDS = sorted((ROOT / "monitoring/grafana").glob("*.json"))


def promtool(*arguments: str | Path, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run promtool."""
    return subprocess.run(
        [program("promtool", "prometheus"), *map(str, arguments)],
        input=given,
        capture_output=True,
        timeout=120,
        check=False,
    )


def rules() -> dict[str, dict[str, Any]]:
    """The alert rules by name."""
    document = yaml.safe_load(RULES.read_text("utf-8"))
    found = [rule for group in document["groups"] for rule in group["rules"]]
    assert len({rule["alert"] for rule in found}) == len(found)
    return {rule["alert"]: rule for rule in found}
