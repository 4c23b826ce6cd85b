"""The service and its store of shared secrets: it starts without one, says so, and tells nobody the token."""

from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.openbao import OpenBao
from tests.fixtures.served import Served, serving
from tests.hsm.vaults import our_policy
from tests.lab.story import wait_until


def _job(served: Served) -> dict[str, Any]:
    """The job that looks at the store, once it has run."""

    def found() -> list[dict[str, Any]]:
        items = served.client.get("/v1/jobs")["items"]
        return [each for each in items if each["job"] == "secret_store" and each["outcome"]]

    wait_until(lambda: bool(found()), "the first look at the store")
    return found()[0]


@pytest.mark.parametrize("sealed", [False, True])
def test_the_store_is_looked_at_and_its_token_is_told_to_nobody(
    openbao: OpenBao, tmp_path: Path, sealed: bool
) -> None:
    mount = openbao.engine()
    token = openbao.new_token(our_policy(openbao, mount))
    environ = {
        "VAULT_TOKEN": token,
        "IKEWARDEN_SECRETS__STORE": "vault",
        "IKEWARDEN_SECRETS__URL": openbao.url,
        "IKEWARDEN_SECRETS__MOUNT": mount,
        "IKEWARDEN_SECRETS__AUTH": "token",
        "IKEWARDEN_LOGS__LEVEL": "debug",
    }
    if sealed:
        openbao.seal()
    try:
        with serving(tmp_path / "instance", environ=environ) as served:
            job = _job(served)
            log = served.log
    finally:
        if sealed:
            openbao.unseal()
    assert job["outcome"] == ("failed" if sealed else "ok")
    if sealed:
        assert "sealed" in job["last_error"]
    assert token not in log
    for file in (tmp_path / "instance").rglob("*"):
        assert not file.is_file() or token.encode() not in file.read_bytes()


def test_files_are_looked_at_too(served: Served) -> None:
    assert _job(served)["outcome"] == "ok"
