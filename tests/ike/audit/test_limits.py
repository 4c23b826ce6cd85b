"""What is in the way in folders of keys, limits that are told, and places that were looked past."""

import os

import pytest

from ike.audit import discovery
from tests.ike.audit.conftest import KEY, PSK, SWANCTL, Files
from tests.ike.audit.corpus import making


def problems(files: Files) -> set[tuple[str, str]]:
    return {(problem.place.path, problem.message) for problem in files.seen().problems}


def test_a_key_behind_much_else_is_found(files: Files) -> None:
    files.put("/etc/swanctl/private/w.pem", b"# padding\n" * 7000 + making.key_pem(), 0o644)
    assert ("critical", "key-file-open-to-others", "/etc/swanctl/private/w.pem") in files.told()
    assert problems(files) == set()


def test_what_cannot_be_a_key_is_told_where_keys_are(files: Files) -> None:
    here = files.folder("/etc/swanctl/private")
    os.mkfifo(here / "fifo")
    with (here / "big.pem").open("wb") as big:
        big.truncate(10 * 2**30)
    told = dict(problems(files))
    assert told["/etc/swanctl/private/fifo"] == "not a regular file"
    assert "larger than" in told["/etc/swanctl/private/big.pem"]


@pytest.mark.parametrize("path", ["/etc/racoon/psk.txt", "/conf/config.xml"])
def test_a_fifo_in_place_of_secrets_is_told(files: Files, path: str) -> None:
    files.folder(os.path.dirname(path))
    os.mkfifo(files.root / path[1:])
    assert (path, "not a regular file") in problems(files)


def test_limits_are_told(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "_MANY", 3)
    folder = "/etc/NetworkManager/system-connections"
    for number in range(4):
        files.put(f"{folder}/{number}.nmconnection", "[connection]\n")
    [(path, message)] = problems(files)
    assert path.startswith(folder)
    assert "the rest is not looked at" in message


def test_copies_of_whole_folders_are_swept(files: Files) -> None:
    files.put("/etc/swanctl.bak/conf.d/site-c.conf", SWANCTL, 0o644)
    files.put("/etc/swanctl_old/private/gw1", KEY, 0o644)
    files.put("/etc/swanctl_old/README", "Nothing.\n", 0o644)
    assert {(rule, path) for _, rule, path in files.told()} == {
        ("stray-secrets", "/etc/swanctl.bak/conf.d/site-c.conf"),
        ("stray-key-open", "/etc/swanctl_old/private/gw1"),
    }


def test_a_script_that_a_shell_is_given_is_one(files: Files) -> None:
    files.put(
        "/etc/ipsec.conf", 'conn x\n  leftupdown="/bin/sh /opt/vpn/up.sh 2>/dev/null /dev/null"\n'
    )
    files.put("/opt/vpn/up.sh", "#!/bin/sh\n", 0o777)
    assert files.told() == [("critical", "program-writable", "/opt/vpn/up.sh")]


def test_passwords_of_libreswan(files: Files) -> None:
    files.put("/etc/ipsec.conf", "conn x\n  xauthby=file\n")
    files.put("/etc/ipsec.secrets", PSK)
    files.put("/etc/ipsec.d/passwd", "anna:$6$x$y\n", 0o644)
    assert ("critical", "secrets-file-open-to-others", "/etc/ipsec.d/passwd") in files.told()
