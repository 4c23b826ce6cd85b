"""Two people at the command line: one asks, the other approves, the first does it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.served import Served, serving


@pytest.fixture(scope="module")
def ruled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service under the rule."""
    environ = {
        "IKEWARDEN_APPROVALS__REQUIRED": "authority.create,authority.revoke,mass.revoke,role.change",
        "IKEWARDEN_APPROVALS__MASS_REVOCATION": "1",
    }
    with serving(tmp_path_factory.mktemp("ruled") / "instance", environ=environ) as service:
        yield service


def test_from_nobody_to_two_people(ruled: Served, tmp_path: Path) -> None:
    assert "nobody can approve" in ruled.log
    new_ca = ("ca", "create", "branch", "--parent", "root", "--subject", "CN=Branch")
    done = ruled.run(*new_ca)
    assert (done.code, "(approval_required)" in done.err) == (1, True)
    assert "--role approver" in done.err
    bob = tmp_path / "bob.token"
    ruled.json("token", "create", "bob", "--role", "approver", "--out", bob)
    done = ruled.run("token", "create", "eve", "--role", "approver")
    assert (done.code, "(approval_required)" in done.err) == (1, True)
    done = ruled.run(*new_ca, "--format", "json")
    number = str(done.error["details"]["approval"])
    assert f"--approval {number}" in done.error["next_step"]
    as_bob = ("--token-file", bob)
    assert number in ruled.run("approval", "list", *as_bob).out
    shown = ruled.run("approval", "show", number, *as_bob).out
    assert "parameters.subject" in shown
    assert "CN=Branch" in shown
    done = ruled.run("approval", "approve", number, "--reason", "me")
    assert (done.code, "(role_not_permitted)" in done.err) == (1, True)
    ruled.json("approval", "approve", number, "--reason", "planned", *as_bob)
    done = ruled.run(*new_ca, "--days", "10", "--approval", number)
    assert (done.code, "(approval_mismatch)" in done.err) == (1, True)
    assert "lifetime" in done.err
    assert ruled.json(*new_ca, "--approval", number)["name"] == "branch"
    done = ruled.run(*new_ca, "--approval", number)
    assert done.code == 1
    assert ruled.json("approval", "show", number)["state"] == "used"
    events = ruled.json("audit-log", "list", "--object", f"approval:{number}")["items"]
    assert [each["action"] for each in events][:1] == ["approval.use"]
    _many(ruled, as_bob, tmp_path)


def _many(ruled: Served, as_bob: tuple[str | Path, ...], tmp_path: Path) -> None:
    made = []
    for number in range(3):
        name = f"gw{number}.example"
        made.append(ruled.json("cert", "issue", name, "--out", tmp_path / name)["serial"])
    end = ("cert", "revoke", *made, "--reason", "keyCompromise")
    assert ruled.run(*end, "--dry-run").code == 2
    number = str(ruled.run(*end, "--format", "json").error["details"]["approval"])
    ruled.json("approval", "refuse", number, "--reason", "not now", *as_bob)
    done = ruled.run(*end, "--approval", number)
    assert (done.code, "(approval_not_usable)" in done.err) == (1, True)
    number = str(ruled.run(*end, "--format", "json").error["details"]["approval"])
    ruled.json("approval", "approve", number, "--reason", "go on", *as_bob)
    done = ruled.run(*end, "--approval", number)
    assert done.code == 0, done.err
    assert all(serial in done.out for serial in made)
    number = str(
        ruled.run("token", "create", "eve", "--role", "admin", "--format", "json").error["details"][
            "approval"
        ]
    )
    assert ruled.json("approval", "withdraw", number)["state"] == "withdrawn"
    assert "No approval is approved." in ruled.run("approval", "list", "--state", "approved").err
