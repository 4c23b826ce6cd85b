"""A gateway needs no library of the server: the agent's commands run where none can be imported."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures.served import Served, surroundings

SERVER = (
    "flask",
    "werkzeug",
    "sqlalchemy",
    "alembic",
    "pydantic",
    "pydantic_core",
    "uvicorn",
    "uvloop",
    "httptools",
    "apscheduler",
    "granian",
    "prometheus_client",
    "psycopg",
    "pkcs11",
)
# what of ours is the server's
ROOMS = ("api", "scheduler", "fleet", "store", "hsm")
_SCRIPT = f"""
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {SERVER + ROOMS!r}:
            raise ModuleNotFoundError("blocked: " + name, name=name)

sys.meta_path.insert(0, Blocker())
from ikewarden.main import main
sys.argv[0] = "ikewarden"
sys.exit(main())
"""


def blocked(*arguments: str | Path, given: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", _SCRIPT, *map(str, arguments)],
        env=surroundings(),
        input=given,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_blocker_blocks() -> None:
    done = blocked("serve", "--dir", "/nonexistent")
    assert done.returncode == 1
    done = blocked("check-config", __file__)
    assert "extra_missing" in done.stderr


@pytest.mark.parametrize("command", ["", "enroll", "run", "once", "status", "unit"])
def test_help(command: str) -> None:
    done = blocked("agent", *filter(None, [command]), "--help")
    assert (done.returncode, done.stderr) == (0, "")


def test_the_whole_way(served: Served, tmp_path: Path) -> None:
    name = "base-install.example.com"
    served.client.post("/v1/gateways", {"name": name, "identities": [f"dns:{name}"]})
    line = served.client.post(f"/v1/gateways/{name}/enrollment", {"hours": 1})["enrollment"]
    home = ("--home", tmp_path / "home")
    files = ("--render", "pem", "--out", tmp_path / "out")
    done = blocked("agent", "enroll", *home, *files, given=line)
    assert done.returncode == 0, done.stderr
    for arguments in (["once", "--renew"], ["once"], ["status"], ["unit"]):
        done = blocked("agent", *arguments, *home)
        assert (done.returncode, done.stderr) == (0, ""), arguments
