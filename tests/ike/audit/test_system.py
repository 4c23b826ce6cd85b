"""The system's own folders, and VyOS's own group: what is judged there, and what is never planned."""

import os
import warnings
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_der_x509_certificate

from ike.audit import fixing, system
from ike.audit.fixing import Change, rehearse
from ike.audit.ground import Ground
from ike.audit.host import Wanted
from ike.audit.values import Accounts, Policy
from ike.audit.whole import Outcome, Task, carry_out
from pki.x509.lint.facts import read_facts
from tests.fixtures.needs import needs_root
from tests.ike.audit.conftest import KEY, NOW, PSK, Files
from tests.ike.audit.planted import status_of
from tests.x509 import workshop


def audited(files: Files, *paths: str, policy: Policy | None = None) -> Outcome:
    wanted = Wanted(paths, known=not paths)
    return carry_out(Ground(files.root), Task("gw", wanted, policy=policy or Policy()), lambda: NOW)


def planned(outcome: Outcome) -> dict[str, int]:
    return {each.path: each.mode for each in outcome.changes() if not each.barred}


@pytest.mark.parametrize(
    "path",
    ["/", "/etc", "/usr", "/usr/local", "/var", "/var/lib", "/tmp", "/home", "/root", "/srv", "/opt",
     "/run", "/boot", "/config", "/conf", "/home/carol", "/srv/people/bob", "/srv/people", "/etc/ssh"],
)  # fmt: skip
def test_folders_of_the_system_are_known(path: str) -> None:
    assert system.is_folder_of(path, Accounts(homes={"/srv/people/bob": "bob"}))


def test_no_folder_of_the_system_is_changed(files: Files) -> None:
    for folder in ("/etc", "/home/alice", "/srv", "/opt/keys"):
        files.put(f"{folder}/gw.key", KEY, 0o644)
        files.folder(folder, 0o777)
    files.link("/keys", "/etc")
    outcome = audited(files, "/etc", "/home", "/srv", "/opt", "/keys")
    assert {path: oct(mode) for path, mode in planned(outcome).items()} == {
        "/etc/gw.key": "0o600",
        "/home/alice/gw.key": "0o600",
        "/srv/gw.key": "0o600",
        "/opt/keys": "0o750",
        "/opt/keys/gw.key": "0o600",
    }
    # What is wrong there is told all the same.
    told = {(each.rule.id, each.place.path) for each in outcome.audit.findings}
    assert ("folder-writable-by-others", "/etc") in told


def test_a_folder_of_this_machines_system_is_left_alone_whatever_the_root(tmp_path: Path) -> None:
    was = status_of(os.lstat("/usr/lib"))
    change = Change("/lib", was.mode & ~0o005, was.uid, was.gid, was)
    [outcome] = rehearse([change], Path("/usr"))
    assert "system" in outcome.reason
    (tmp_path / "lib").mkdir()
    was = status_of(os.lstat(tmp_path / "lib"))
    [outcome] = fixing.rehearse(
        [Change("/lib", was.mode & ~0o005, was.uid, was.gid, was)], tmp_path
    )
    assert outcome.done


def test_open_copies_and_strays_are_closed(files: Files) -> None:
    files.put("/etc/ipsec.secrets", PSK)
    files.put("/etc/ipsec.secrets.bak", PSK, 0o644)
    files.put("/root/old.key", KEY, 0o644)
    files.put("/srv/lost.secrets", PSK, 0o640)
    files.put("/srv/etc-backup.tar.gz", "x", 0o644)
    modes = planned(audited(files))
    assert set(modes.values()) == {0o600}
    assert set(modes) == {
        "/etc/ipsec.secrets.bak",
        "/root/old.key",
        "/srv/lost.secrets",
        "/srv/etc-backup.tar.gz",
    }


VYOS = "vpn {\n    ipsec {\n        secret x\n    }\n}\n"


@needs_root
def test_the_administrators_of_vyos_write_its_configuration(files: Files) -> None:
    files.put("/etc/group", "root:x:0:\nvyattacfg:x:102:alice\nstaff:x:50:alice,bob\n", 0o644)
    files.put("/config/config.boot", VYOS, 0o660, (0, 102))
    files.put("/config/auth/a.key", KEY)
    files.folder("/config/auth", 0o2770, (0, 102))
    files.folder("/config", 0o2775, (0, 102))
    assert files.told() == []
    # What everyone may do is a fault there too, and to mend it takes nothing from the group.
    files.put("/config/config.boot", VYOS, 0o664, (0, 102))
    assert files.told() == [("critical", "secrets-file-open-to-others", "/config/config.boot")]
    assert "660" in files.findings()[0].fix
    assert planned(audited(files)) == {"/config/config.boot": 0o660}
    # Another group, and another file, are none of theirs.
    files.put("/config/config.boot", VYOS, 0o660, (0, 50))
    assert files.told() == [("high", "secrets-file-open-to-group", "/config/config.boot")]
    files.put("/config/config.boot", VYOS, 0o660, (0, 102))
    files.put("/etc/ipsec.secrets", PSK, 0o660, (0, 102))
    policy = Policy(groups=frozenset({"vyattacfg"}))
    assert files.told(policy) == [("high", "secrets-file-open-to-group", "/etc/ipsec.secrets")]
    assert planned(audited(files, policy=policy)) == {"/etc/ipsec.secrets": 0o640}


def test_a_strange_certificate_leaks_no_warning(files: Files) -> None:
    made = workshop.end_entity()
    number = made.serial_number
    octets = number.to_bytes(number.bit_length() // 8 + 1, "big")
    head = b"\x02" + bytes([len(octets)])
    content = made.public_bytes(Encoding.DER).replace(head + octets, head + b"\xff" + octets[1:])
    files.put("/srv/x/gw.crt", content)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loaded = load_der_x509_certificate(content)
        assert loaded.serial_number < 1
        assert caught  # the library minds
        caught.clear()
        assert audited(files, "/srv").audit.items == 1
        read_facts(loaded)
    assert [str(each.message) for each in caught] == []
