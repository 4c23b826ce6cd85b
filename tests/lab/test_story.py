"""Certificates issued over REST bring up a real tunnel, traffic passes, and a revocation ends it ("Done when" 2)."""

from pathlib import Path

import pytest

from hsm.ports import KeyAlgorithm
from tests.lab import Lab
from tests.lab.story import served, tell


@pytest.mark.parametrize("algorithm", ["ec-p256", "ec-p384", "rsa-3072", "ed25519"])
def test_enrolled_gateways_connect_and_a_revoked_one_is_refused(
    lab: Lab, tmp_path: Path, algorithm: KeyAlgorithm
) -> None:
    said: list[str] = []
    with served(tmp_path / "instance", algorithm, in_lab=True) as warden:
        words = tell(lab, warden, algorithm, said.append)
    assert any("100 of 100 pings" in line for line in said)
    assert any("certificate was revoked" in line for line in words)
    assert any("AUTHENTICATION_FAILED" in line for line in words)
