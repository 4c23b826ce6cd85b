"""Which findings are turned into which changes."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from ike.audit import access, access_rules, ground, host, parents
from ike.audit.fixing import Change, carry_out
from ike.audit.planning import is_mended, plan
from ike.audit.undoing import undo
from ike.audit.values import Accounts, Area, Finding, Item, Policy, Role, Rule, Severity, Step
from ike.secrets.values import Place
from tests.ike.audit.planted import NOW, item, make, status_of

KEY = "/etc/swanctl/private/gw.pem"
POLICY = Policy(groups=frozenset({"ipsec"}))
ACCOUNTS = Accounts(groups={0: "root", 50: "ipsec", 60: "staff"})


def finding(rule: str, path: str = KEY, area: Area = Area.ACCESS) -> Finding:
    return Finding(Rule(rule, area, Severity.HIGH, "", "", ""), Place(path, 0), "")


def key(root: Path, mode: int, gid: int = 60, uid: int = 1000) -> Item:
    make(root, KEY, mode, (uid, gid))
    seen = item(root, KEY)
    parts = ("/etc", "/etc/swanctl", "/etc/swanctl/private")
    steps = tuple(Step(each, status_of(os.lstat(root / each[1:]))) for each in parts)
    # Owners as they would be with root's rights.
    return replace(seen, steps=steps, status=replace(seen.status, uid=uid, gid=gid))


@pytest.mark.parametrize(
    ("rules", "gid", "before", "after"),
    [
        (["key-file-open-to-others"], 60, 0o644, 0o600),
        (["key-file-open-to-others", "key-file-open-to-group"], 60, 0o664, 0o600),
        (["secrets-file-open-to-group"], 60, 0o640, 0o600),
        (["secrets-file-open-to-group"], 50, 0o660, 0o640),
        (["configuration-writable"], 60, 0o666, 0o644),
        (["acl-grants-access"], 60, 0o660, 0o600),
        (["program-setuid"], 60, 0o4755, 0o755),
    ],
)
def test_modes(tmp_path: Path, rules: list[str], gid: int, before: int, after: int) -> None:
    seen = key(tmp_path, before, gid)
    found = [finding(rule) for rule in rules]
    [change] = plan(found, [seen], ACCOUNTS, POLICY)
    assert (change.path, change.mode, change.uid, change.gid) == (KEY, after, 1000, gid)
    assert change.findings == tuple(each.id for each in found)
    assert not change.barred


def test_owners(tmp_path: Path) -> None:
    found = [finding("secret-owned-by-another")]
    [change] = plan(found, [key(tmp_path, 0o600)], ACCOUNTS, POLICY)
    assert (change.mode, change.uid, change.gid) == (0o600, 0, 60)


def test_an_acl_is_not_closed_where_that_would_close_the_group_of_the_policy(
    tmp_path: Path,
) -> None:
    found = [finding("acl-grants-access")]
    [change] = plan(found, [key(tmp_path, 0o660, 50)], ACCOUNTS, POLICY)
    assert "setfacl" in change.barred


def test_the_acl_of_a_configuration_keeps_its_readers(tmp_path: Path) -> None:
    seen = replace(key(tmp_path, 0o660), role=Role.CONFIGURATION)
    [change] = plan([finding("acl-grants-access")], [seen], ACCOUNTS, POLICY)
    assert change.mode == 0o640


def test_folders_on_the_way(tmp_path: Path) -> None:
    make(tmp_path, KEY, 0o600)
    (tmp_path / "etc/swanctl").chmod(0o777)
    seen = key(tmp_path, 0o600)
    found = [finding("folder-writable-by-others", "/etc/swanctl")]
    [change] = plan(found, [seen], ACCOUNTS, POLICY)
    assert (change.path, change.mode) == ("/etc/swanctl", 0o755)
    assert not change.barred


def test_folders_are_not_handed_over(tmp_path: Path) -> None:
    seen = key(tmp_path, 0o600)
    owned = [replace(each, status=replace(each.status, uid=1000)) for each in seen.steps]
    seen = replace(seen, steps=tuple(owned))
    found = [finding("folder-owned-by-another", "/etc/swanctl")]
    [change] = plan(found, [seen], ACCOUNTS, POLICY)
    assert "not handed over" in change.barred


def test_what_a_link_leads_to_is_barred(tmp_path: Path) -> None:
    seen = key(tmp_path, 0o644)
    (tmp_path / "link").symlink_to("etc")
    through = Step("/link", status_of(os.lstat(tmp_path / "link")), target="etc")
    seen = replace(seen, path="/link/swanctl/private/gw.pem", steps=(through, *seen.steps))
    found = [finding("key-file-open-to-others", seen.path)]
    [change] = plan(found, [seen], ACCOUNTS, POLICY)
    assert change.path == KEY
    assert "/link on the way" in change.barred
    # A folder behind it is reached without it.
    (tmp_path / "etc/swanctl").chmod(0o777)
    behind = replace(seen.steps[2], status=status_of(os.lstat(tmp_path / "etc/swanctl")))
    seen = replace(seen, steps=(through, seen.steps[1], behind, *seen.steps[3:]))
    found = [finding("folder-writable-by-others", "/etc/swanctl")]
    [change] = plan(found, [seen], ACCOUNTS, POLICY)
    assert not change.barred


def test_others_are_left_alone(tmp_path: Path) -> None:
    seen = key(tmp_path, 0o644)
    found = [
        finding("secret-hard-linked"),
        finding("control-socket-open-to-others"),
        finding("key-file-open-to-others", "/elsewhere"),
        finding("key-file-open-to-others", area=Area.EXPOSURE),
        finding("key-file-open-to-others", area=Area.WINDOWS),
    ]
    assert plan(found, [seen], ACCOUNTS, POLICY) == []


def test_the_rules_are_there() -> None:
    known = {rule.id for rule in (*access_rules.RULES, *parents.RULES)}
    mended = {rule for rule in known if is_mended(rule)}
    assert known - mended == {
        *("secret-hard-linked", "control-socket-open-to-others", "control-socket-open-to-group"),
        *("program-capabilities", "file-in-shared-folder", "file-in-home", "link-into-home"),
        "link-owned-by-another",
    }


def test_what_the_access_rules_find_is_mended(tmp_path: Path) -> None:
    root = tmp_path / "root"
    make(root, "/etc/passwd", 0o644).write_text("root:x:0:0::/root:/bin/sh\n")
    make(root, "/etc/group", 0o644).write_text("root:x:0:\n")
    make(root, "/etc/ipsec.secrets", 0o644).write_text(': PSK "dG9vIHNob3J0IGZvciBhIGtleQ"\n')
    make(root, "/etc/swanctl/swanctl.conf", 0o666).write_text("connections {}\n")
    make(root, KEY, 0o644)
    (root / "etc/swanctl").chmod(0o777)

    def found() -> tuple[list[Finding], list[Change]]:
        seen = host.look(ground.Ground(root), host.Wanted(), NOW)
        facts = next(each for each in seen.facts if isinstance(each, access.Access))
        judged = [each for facts in seen.facts for each in facts.judge(Policy(), NOW)]
        mended = [each for each in judged if is_mended(each.rule.id)]
        return mended, plan(mended, facts.items, facts.accounts, Policy())

    findings, changes = found()
    assert {each.path for each in changes} >= {"/etc/ipsec.secrets", "/etc/swanctl", KEY}
    assert {each for change in changes for each in change.findings} == {
        each.id for each in findings
    }
    assert all(each.done for each in carry_out(changes, root, tmp_path / "undo", NOW))
    assert found() == ([], [])
    assert all(each.done for each in undo(tmp_path / "undo"))
    assert found()[0] == findings
