"""Folders and links on the way to files that matter."""

from collections.abc import Callable

import pytest

from ike.audit.values import Policy
from tests.fixtures.needs import needs_root
from tests.ike.audit.conftest import KEY, PSK, USER, Files

SECRETS = "/etc/ipsec.secrets"


@pytest.mark.parametrize(
    ("folder", "mode"), [("/etc", 0o757), ("/etc/swanctl", 0o777), ("/etc/swanctl/private", 0o702)]
)
def test_a_folder_that_everybody_writes_is_told_once(files: Files, folder: str, mode: int) -> None:
    files.put("/etc/swanctl/private/a.key", KEY)
    files.put("/etc/swanctl/private/b.key", KEY)
    files.folder("/etc/swanctl/private", 0o700)
    files.folder(folder, mode)
    found = [each for each in files.findings() if each.rule.id == "folder-writable-by-others"]
    assert [(each.place.path, each.weight) for each in found] == [(folder, "critical")]
    assert found[0].fix == f"chmod {mode & ~0o022:o} {folder}"
    assert "a.key" in found[0].evidence or "private" in found[0].evidence


def test_behind_a_closed_folder_it_matters_little(files: Files) -> None:
    files.put("/root/vpn/psk.secrets", PSK)
    files.put(SECRETS, "include /root/vpn/*.secrets\n")
    files.folder("/root", 0o700)
    files.folder("/root/vpn", 0o777)
    assert files.told() == [("low", "folder-writable-by-others", "/root/vpn")]


def test_the_sticky_bit(files: Files) -> None:
    files.folder("/tmp", 0o1777)
    files.put("/tmp/gw.secrets", PSK)
    files.put(SECRETS, "include /tmp/gw.secrets\n")
    assert files.told() == [("medium", "file-in-shared-folder", "/tmp")]


@needs_root
def test_groups_and_owners_of_folders(files: Files) -> None:
    files.put("/etc/swanctl/private/a.key", KEY)
    folder = "/etc/swanctl/private"
    files.folder(folder, 0o770, (0, 50))
    assert files.told() == [("high", "folder-writable-by-group", folder)]
    assert files.told(Policy(groups=frozenset({"staff"}))) == []
    files.folder(folder, 0o770, (0, 60))  # nobody is in it
    assert files.told() == []
    files.folder("/etc/swanctl", 0o755, (105, 110))
    assert files.told() == [("medium", "folder-owned-by-another", "/etc/swanctl")]
    files.folder("/etc/swanctl", 0o755, (1000, 0))
    (found,) = files.findings()
    assert (found.weight, found.fix) == ("high", "chown root /etc/swanctl")
    assert "owner alice" in found.evidence


@needs_root
def test_an_acl_of_a_folder(files: Files, grant: Callable[..., None]) -> None:
    files.put(SECRETS, PSK)
    grant(files.root / "etc", [(USER, 7, 1001)])
    (found,) = files.findings()
    assert (found.rule.id, found.place.path) == ("folder-writable-by-acl", "/etc")
    assert "the user bob write it" in found.evidence


@needs_root
def test_a_home_folder(files: Files) -> None:
    files.put("/srv/people/bob/psk/gw.secrets", PSK, 0o600, (1001, 1001))
    files.folder("/srv/people/bob", 0o700, (1001, 1001))
    files.folder("/srv/people/bob/psk", 0o700, (1001, 1001))
    files.put(SECRETS, "include /srv/people/bob/psk/*.secrets\n")
    found = files.findings()
    assert {(each.rule.id, each.place.path) for each in found} == {
        ("file-in-home", "/srv/people/bob/psk/gw.secrets"),
        ("secret-owned-by-another", "/srv/people/bob/psk/gw.secrets"),
    }
    assert "/etc/ipsec.secrets names it" in found[0].evidence


@needs_root
def test_a_link_into_a_home_folder(files: Files) -> None:
    files.put("/home/alice/gw.key", KEY, 0o600, (1000, 1000))
    files.folder("/home/alice", 0o700, (1000, 1000))
    files.link("/etc/swanctl/private/gw.key", "../../../home/alice/gw.key")
    files.folder("/etc/swanctl/private", 0o700)
    path = "/etc/swanctl/private/gw.key"
    assert files.told() == [
        ("high", "link-into-home", path),
        ("high", "secret-owned-by-another", path),
    ]
    assert "leads to /home/alice/gw.key" in files.findings()[0].evidence


@needs_root
def test_the_owner_of_a_link(files: Files) -> None:
    files.put("/etc/real.secrets", PSK)
    files.link("/etc/ipsec.secrets", "real.secrets", (1000, 1000))
    assert files.told() == [("low", "link-owned-by-another", SECRETS)]
    files.folder("/tmp", 0o1777)
    files.link("/tmp/here", "/etc/real.secrets", (1000, 1000))
    (files.root / "etc/ipsec.secrets").unlink()
    files.link("/etc/ipsec.secrets", "/tmp/here")
    assert files.told() == [
        ("high", "link-owned-by-another", "/tmp/here"),
        ("medium", "file-in-shared-folder", "/tmp"),
    ]


def test_a_link_is_judged_by_where_it_leads(files: Files) -> None:
    files.put("/srv/open/gw.key", KEY, 0o644)
    files.folder("/srv/open", 0o755)
    files.link("/etc/swanctl/private/gw.key", "/srv/open/gw.key")
    files.folder("/etc/swanctl/private", 0o700)
    # The folder with the link keeps nobody from going straight to the file.
    found = files.findings()[0]
    assert (found.weight, found.rule.id) == ("critical", "key-file-open-to-others")
    assert "`chmod 600 /srv/open/gw.key`" in found.fix
