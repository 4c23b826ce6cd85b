"""One tunnel for each protocol by which devices enroll, with certificates that its own clients fetched."""

from pathlib import Path

import pytest

from tests.lab import Lab
from tests.lab.doors import by_est
from tests.lab.story import Enroll, served, tell


@pytest.mark.parametrize("enroll", [by_est])
def test_gateways_that_came_in_connect(lab: Lab, tmp_path: Path, enroll: Enroll) -> None:
    said: list[str] = []
    with served(tmp_path / "instance", "ec-p256", in_lab=True) as warden:
        words = tell(lab, warden, "ec-p256", said.append, enroll=enroll)
    assert any("100 of 100 pings" in line for line in said)
    assert any("certificate was revoked" in line for line in words)
