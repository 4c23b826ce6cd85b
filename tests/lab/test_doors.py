"""One tunnel for each protocol by which devices enroll, with certificates that its own clients fetched."""

from pathlib import Path

import pytest

from tests.fixtures.another_year import of_go
from tests.fixtures.needs import needs_program
from tests.lab import Lab
from tests.lab.doors import CMP_ENDPOINT, SCEP_ENDPOINT, acme_lab, by_cmp, by_est, by_scep
from tests.lab.story import Enroll, served, tell


@pytest.mark.parametrize("enroll", [by_est, by_scep, by_cmp])
def test_gateways_that_came_in_connect(lab: Lab, tmp_path: Path, enroll: Enroll) -> None:
    said: list[str] = []
    endpoints = tmp_path / "endpoints"
    endpoints.mkdir()
    (endpoints / "vpn.toml").write_text(SCEP_ENDPOINT)
    (endpoints / "managed.toml").write_text(CMP_ENDPOINT)
    settings = {"IKEWARDEN_ENROLLMENT__ENDPOINTS_DIRECTORY": str(endpoints)}
    with served(tmp_path / "instance", "ec-p256", in_lab=True, settings=settings) as warden:
        words = tell(lab, warden, "ec-p256", said.append, enroll=enroll)
    assert any("100 of 100 pings" in line for line in said)
    assert any("certificate was revoked" in line for line in words)


@of_go
@needs_program("lego", "lego")
def test_gateways_that_came_in_by_acme_connect(lab: Lab, tmp_path: Path) -> None:
    said: list[str] = []
    with acme_lab(tmp_path / "endpoints") as acme:
        given = {"in_lab": True, "settings": acme.settings}
        with served(tmp_path / "instance", "ec-p256", **given) as warden:
            words = tell(lab, warden, "ec-p256", said.append, enroll=acme.enroll)
    assert any("100 of 100 pings" in line for line in said)
    assert any("certificate was revoked" in line for line in words)
