"""Settings of monitoring, and what becomes of them."""

from datetime import timedelta
from pathlib import Path

from ikewarden.wiring import make_rules
from pki.desk import Retention
from tests.program.test_settings import load


def test_retention_as_operations_obey_it(tmp_path: Path) -> None:
    assert make_rules(load(tmp_path)).retention == Retention()
    text = """
    [monitoring]
    events_days = 3
    counts_days = 5
    alerts_days = 7
    """
    assert make_rules(load(tmp_path, text)).retention == Retention(
        events=timedelta(days=3), counts=timedelta(days=5), alerts=timedelta(days=7)
    )
