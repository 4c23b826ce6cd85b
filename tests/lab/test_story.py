"""Certificates issued over REST bring up a real tunnel, traffic passes, and a revocation ends it ("Done when" 2)."""

from pathlib import Path

import pytest

from hsm.ports import KeyAlgorithm
from ikewarden.instance import TokenPlan
from tests.fixtures.openbao import OpenBao
from tests.fixtures.softhsm import MODULE, SoftToken
from tests.hsm.vaults import key_settings
from tests.lab import Lab
from tests.lab.story import served, tell


@pytest.mark.parametrize("algorithm", ["ec-p256", "ec-p384", "rsa-3072", "ed25519"])
def test_enrolled_gateways_connect_and_a_revoked_one_is_refused(
    lab: Lab, tmp_path: Path, algorithm: KeyAlgorithm
) -> None:
    _tell(lab, tmp_path / "instance", algorithm)


def test_they_do_with_the_keys_of_the_authorities_in_a_token(
    lab: Lab, tmp_path: Path, hsm_token: SoftToken
) -> None:
    plan = TokenPlan(MODULE, hsm_token.label, hsm_token.pin_file)
    _tell(lab, tmp_path / "instance", "ec-p384", token=plan)
    assert len([label for label in hsm_token.labels() if label.startswith("ca-")]) == 2


def test_they_do_with_the_keys_of_the_authorities_in_a_transit_engine(
    lab: Lab, tmp_path: Path, lasting_openbao: OpenBao
) -> None:
    mount = lasting_openbao.transit()
    _tell(lab, tmp_path / "instance", "rsa-3072", transit=key_settings(lasting_openbao, mount))
    keys = lasting_openbao.call("LIST", f"{mount}/keys")["data"]["keys"]
    assert len([key for key in keys if key.startswith("ca-")]) == 2


def _tell(
    lab: Lab,
    directory: Path,
    algorithm: KeyAlgorithm,
    *,
    token: TokenPlan | None = None,
    transit: str | None = None,
) -> None:
    said: list[str] = []
    with served(directory, algorithm, in_lab=True, token=token, transit=transit) as warden:
        words = tell(lab, warden, algorithm, said.append)
    assert any("100 of 100 pings" in line for line in said)
    assert any("certificate was revoked" in line for line in words)
    assert any("AUTHENTICATION_FAILED" in line for line in words)
