"""`ikewarden health`, as a container's health check asks it."""

import os

import pytest
from sqlalchemy import delete

from store.engine import open_store
from store.tables import job_runs
from tests.fixtures.served import Served


def test_all_is_well(served: Served) -> None:
    assert served.run("health").out == "ok\n"
    assert served.json("health") == {"ok": True, "troubles": []}
    for part in ("api", "validation", "scheduler"):
        assert served.run("health", "--only", part).code == 0
    assert served.run("health", "--only", "api", "--live").code == 0


def test_it_needs_no_token_and_no_passphrase(served: Served) -> None:
    """A health check runs beside the service and should hold nothing."""
    hidden = [served.directory / name for name in ("admin-token", "passphrase")]
    for path in hidden:
        path.rename(f"{path}.hidden")
    try:
        assert served.run("health").code == 0
    finally:
        for path in hidden:
            os.rename(f"{path}.hidden", path)


def test_what_is_wrong_is_told_by_part(own_served: Served) -> None:
    own_served.stop()
    store = open_store(f"sqlite:///{own_served.directory}/ikewarden.db")
    with store.write() as connection:
        connection.execute(delete(job_runs))
    store.close()
    done = own_served.run("health")
    assert done.code == 1
    lines = done.out.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["api", "validation", *["scheduler"] * 2]
    assert lines[0].endswith("(part_silent)")
    assert lines[2].endswith("(job_silent)")
    said = own_served.run("health", "--format", "json").document
    assert said["ok"] is False
    assert {each["code"] for each in said["troubles"]} == {"part_silent", "job_silent"}


@pytest.mark.parametrize("name", ["elsewhere.example", "other.example"])
def test_the_api_must_prove_itself(served: Served, name: str) -> None:
    """Another name than that of its certificate: whoever answers there is somebody else."""
    done = served.run("health", "--only", "api", environ={"IKEWARDEN_API__NAMES": name})
    assert done.code == 1
    assert "part_silent" in done.out


def test_why_the_api_is_not_ready_is_told(own_served: Served) -> None:
    own_served.stop()
    own_served.environ = {"IKEWARDEN_VALIDATION__URL": "http://127.0.0.1:1"}
    own_served.start(ready=False)
    assert own_served.troubles()
    done = own_served.run("health", "--only", "api")
    assert (done.code, "(validation_url_misdirected)" in done.out) == (1, True)
    assert own_served.run("health", "--only", "api", "--live").code == 0
