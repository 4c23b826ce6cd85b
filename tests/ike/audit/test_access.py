"""Who gets at files: modes, as far as folders let anybody pass, owners, ACLs, links, sockets, capabilities."""

import os
import shlex
import socket
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from ike.audit import rights
from ike.audit.values import Policy
from tests.fixtures.needs import needs_root
from tests.ike.audit.conftest import GROUP_, KEY, PSK, SWANCTL, USER, Files

SECRETS = "/etc/ipsec.secrets"
GATEWAY = "/etc/swanctl/private/gw.key"


def test_a_host_as_its_packages_make_it_has_no_findings(files: Files) -> None:
    files.put("/etc/ipsec.conf", "conn a\n  left=192.0.2.1\n  right=192.0.2.2\n  auto=add\n", 0o644)
    files.put(SECRETS, PSK + "include /var/lib/strongswan/*.inc\n")
    files.put("/var/lib/strongswan/ipsec.secrets.inc", PSK)
    files.put("/etc/strongswan.conf", "include strongswan.d/*.conf\n", 0o644)
    files.put("/etc/strongswan.d/charon.conf", "charon {\n  threads = 16\n}\n", 0o644)
    files.put("/etc/swanctl/swanctl.conf", "# nothing\ninclude conf.d/*.conf\n", 0o644)
    files.put("/etc/swanctl/conf.d/gw2.conf", SWANCTL)
    files.put(GATEWAY, KEY)
    files.folder("/etc/swanctl/private", 0o750)
    seen = files.seen()
    # The key is none: that is the only thing that cannot be read.
    assert [each.place.path for each in seen.problems] == [GATEWAY]
    assert files.told() == []


@pytest.mark.parametrize(
    ("mode", "severity", "rule", "fix"),
    [
        (0o644, "critical", "secrets-file-open-to-others", "600"),
        (0o602, "critical", "secrets-file-open-to-others", "600"),
        (0o404, "critical", "secrets-file-open-to-others", "400"),
        (0o606, "critical", "secrets-file-open-to-others", "600"),
        (0o640, "info", "secrets-file-open-to-group", "600"),
    ],
)
def test_the_mode_of_a_file_of_secrets(
    files: Files, mode: int, severity: str, rule: str, fix: str
) -> None:
    files.put(SECRETS, PSK, mode)
    found = next(each for each in files.findings() if each.rule.id == rule)
    assert (found.weight, found.place.path) == (severity, SECRETS)
    assert f"chmod {fix} {SECRETS}" in found.fix
    # Who could write it alone, or nobody, has not read it.
    assert (rights.ANEW in found.fix) == bool(mode & 0o004)
    assert f"mode {mode:04o}" in found.evidence.lower()
    assert "a value of these tests" not in found.evidence


def test_a_folder_that_lets_nobody_pass_makes_it_a_small_thing(files: Files) -> None:
    files.put(GATEWAY, KEY, 0o644)
    assert ("critical", "key-file-open-to-others", GATEWAY) in files.told()
    files.folder("/etc/swanctl/private", 0o700)
    assert files.told() == [("low", "key-file-open-to-others", GATEWAY)]
    assert "/etc/swanctl/private (mode 0700)" in files.findings()[0].evidence


@needs_root
@pytest.mark.parametrize(
    ("group", "severity", "phrase"),
    [
        (50, "high", "staff (alice, bob)"),
        (110, "high", "strongswan (strongswan)"),
        (60, "low", "empty (nobody else is in it)"),
        (4711, "high", "4711 (it has no name here)"),
    ],
)
def test_the_group_of_a_key(files: Files, group: int, severity: str, phrase: str) -> None:
    files.put(GATEWAY, KEY, 0o640, (0, group))
    (found,) = [each for each in files.findings() if each.rule.id == "key-file-open-to-group"]
    assert found.weight == severity
    assert phrase in found.evidence


@needs_root
def test_a_group_that_the_policy_names_may_read_and_not_write(files: Files) -> None:
    policy = Policy(groups=frozenset({"strongswan"}))
    files.put(GATEWAY, KEY, 0o640, (0, 110))
    files.folder("/etc/swanctl/private", 0o750, (0, 110))
    assert files.told(policy) == []
    files.put(GATEWAY, KEY, 0o660, (0, 110))
    (found,) = files.findings(policy)
    assert found.fix == f"chmod 640 {GATEWAY}"


@needs_root
def test_a_folder_keeps_a_group_out_that_is_not_its_own(files: Files) -> None:
    files.put(GATEWAY, KEY, 0o640, (0, 50))
    files.folder("/etc/swanctl/private", 0o750, (0, 110))
    assert files.told() == [("low", "key-file-open-to-group", GATEWAY)]
    files.folder("/etc/swanctl/private", 0o750, (0, 50))
    assert files.told() == [("high", "key-file-open-to-group", GATEWAY)]


@needs_root
def test_a_group_that_passes_where_the_others_do_not(files: Files) -> None:
    files.put(GATEWAY, KEY, 0o644, (0, 50))
    files.folder("/etc/swanctl/private", 0o750, (0, 50))
    assert files.told() == [
        ("high", "key-file-open-to-group", GATEWAY),
        ("low", "key-file-open-to-others", GATEWAY),
    ]


@needs_root
@pytest.mark.parametrize(("owner", "severity"), [(1000, "high"), (105, "medium")])
def test_the_owner_of_a_key(files: Files, owner: int, severity: str) -> None:
    files.put(GATEWAY, KEY, 0o600, (owner, 0))
    files.folder("/etc/swanctl/private", 0o700)
    (found,) = files.findings()
    assert (found.rule.id, found.weight) == ("secret-owned-by-another", severity)
    assert f"chown root {GATEWAY}" in found.fix
    assert (rights.ANEW in found.fix) == (severity == "high")  # a daemon's user may read them
    assert files.told(Policy(users=frozenset({"alice", "strongswan"}))) == []


@needs_root
def test_configuration_that_others_write(files: Files) -> None:
    files.put("/etc/ipsec.conf", "conn a\n", 0o666)
    files.put("/etc/strongswan.conf", "charon {\n}\n", 0o664, (0, 50))
    files.put("/etc/swanctl/x509ca/root.pem", "-----BEGIN CERTIFICATE-----\n", 0o664, (0, 50))
    files.put("/etc/swanctl/x509crl/a.crl", "x", 0o666)
    files.put("/etc/swanctl/swanctl.conf", "", 0o664, (1000, 60))
    assert files.told() == [
        ("critical", "configuration-writable", "/etc/ipsec.conf"),
        ("high", "configuration-writable", "/etc/strongswan.conf"),
        ("high", "configuration-owned-by-another", "/etc/swanctl/swanctl.conf"),
        ("high", "trusted-certificate-writable", "/etc/swanctl/x509ca/root.pem"),
        ("medium", "revocation-list-writable", "/etc/swanctl/x509crl/a.crl"),
    ]


@needs_root
def test_an_acl_gives_what_the_mode_does_not_show(files: Files, grant: Callable[..., None]) -> None:
    key = files.put(GATEWAY, KEY)
    files.folder("/etc/swanctl/private", 0o755)
    grant(key, [(USER, 4, 1000), (GROUP_, 6, 50)], mask=4)
    found = [each for each in files.findings() if each.rule.id == "acl-grants-access"]
    assert [each.subject for each in found] == ["group 50", "user 1000"]
    assert "the user alice read it" in found[1].evidence
    assert "staff (alice, bob) read it" in found[0].evidence  # the mask takes the writing away
    assert found[0].fix == f"`setfacl -b {GATEWAY}`, {rights.ANEW}"
    # The digit of the group is the mask's: the group itself has nothing.
    assert "key-file-open-to-group" not in [each.rule.id for each in files.findings()]
    assert found[0].id != found[1].id


@needs_root
def test_an_acl_behind_a_closed_folder(files: Files, grant: Callable[..., None]) -> None:
    grant(files.put(GATEWAY, KEY), [(USER, 4, 1000)])
    folder = files.folder("/etc/swanctl/private", 0o700)
    assert files.told() == [("low", "acl-grants-access", GATEWAY)]
    grant(folder, [(USER, 1, 1000)])
    assert files.told() == [("high", "acl-grants-access", GATEWAY)]


def test_a_second_name_of_a_key(files: Files) -> None:
    os.link(files.put(SECRETS, PSK), files.folder("/srv") / "kept")
    (found,) = files.findings()
    assert (found.rule.id, found.fix) == (
        "secret-hard-linked",
        f"find / -xdev -samefile {SECRETS}",
    )


@pytest.mark.parametrize(("mode", "told"), [(0o755, True), (0o751, True), (0o750, False)])
def test_a_folder_of_keys(files: Files, mode: int, told: bool) -> None:
    files.put(GATEWAY, KEY)
    files.folder("/etc/swanctl/private", mode)
    files.folder("/etc/swanctl/pkcs12", 0o755)  # nothing in it
    found = files.findings()
    assert [each.fix for each in found] == (["chmod 750 /etc/swanctl/private"] if told else [])


@needs_root
def test_sockets(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, mode, group in (
        ("charon.vici", 0o777, 0),
        ("charon.ctl", 0o770, 120),
        ("x", 0o777, 0),
    ):
        here = files.folder("/run") / name
        monkeypatch.chdir(here.parent)  # a path of a socket is short
        with socket.socket(socket.AF_UNIX) as opened:
            opened.bind(name)
        here.chmod(mode)
        os.chown(here, 0, group)
    files.put("/run/pluto/pluto.ctl", "a file, no socket", 0o666)
    # Nobody is in ipsec-admins.
    assert files.told() == [("critical", "control-socket-open-to-others", "/run/charon.vici")]
    os.chown(files.root / "run/charon.ctl", 0, 50)
    assert files.told()[1] == ("high", "control-socket-open-to-group", "/run/charon.ctl")


@needs_root
def test_capabilities_and_set_user_id_of_programs(files: Files) -> None:
    def give(path: Path, *bits: int) -> None:
        held = sum(1 << bit for bit in bits)
        value = struct.pack("<5I", 0x02000001, held, 0, 0, 0)
        os.setxattr(path, "security.capability", value)

    give(files.put("/usr/lib/ipsec/charon", "x", 0o755), 12, 13)
    give(files.put("/usr/libexec/ipsec/pluto", "x", 0o755), 1)
    files.put("/usr/sbin/swanctl", "x", 0o4755)
    found = files.findings()
    assert [(each.weight, each.rule.id, each.place.path) for each in found] == [
        ("high", "program-capabilities", "/usr/libexec/ipsec/pluto"),
        ("high", "program-setuid", "/usr/sbin/swanctl"),
        ("low", "program-capabilities", "/usr/lib/ipsec/charon"),
    ]
    assert "cap_net_admin,cap_net_raw" in found[2].evidence
    assert found[1].fix == "chmod 755 /usr/sbin/swanctl"


def test_own_files_and_databases(files: Files) -> None:
    files.put("/var/lib/ikewarden/passphrase", "words", 0o644)
    files.put("/var/lib/ikewarden/root-ca.pem", "-----BEGIN CERTIFICATE-----\n", 0o644)
    files.put("/var/lib/ikewarden-agent/secrets/gw2", "x", 0o604)
    files.put("/var/lib/ipsec/nss/key4.db", "SQLite format 3", 0o644)
    files.put("/var/lib/ipsec/nss/cert9.db", "SQLite format 3", 0o644)
    files.put("/var/lib/ipsec/nss/pkcs11.txt", "library=\n", 0o646)
    files.put("/var/lib/ipsec/nss/nsspassword", "NSS Certificate DB:x\n", 0o644)
    found = {
        (severity, rule, path) for severity, rule, path in files.told() if severity == "critical"
    }
    assert found == {
        ("critical", "ikewarden-file-open-to-others", "/var/lib/ikewarden/passphrase"),
        ("critical", "ikewarden-file-open-to-others", "/var/lib/ikewarden-agent/secrets/gw2"),
        ("critical", "key-database-open-to-others", "/var/lib/ipsec/nss/key4.db"),
        ("critical", "trust-database-writable", "/var/lib/ipsec/nss/pkcs11.txt"),
        ("critical", "password-file-open-to-others", "/var/lib/ipsec/nss/nsspassword"),
    }


def test_a_command_can_be_copied_whatever_the_name(files: Files) -> None:
    name = "/etc/swanctl/private/a b$(c)'.key"
    files.put(name, KEY, 0o644)
    found = next(each for each in files.findings() if each.rule.id == "key-file-open-to-others")
    command = found.fix.removeprefix("`").rpartition("`")[0]
    assert shlex.split(command) == ["chmod", "600", name]


def test_what_others_could_read_is_to_be_made_anew(files: Files) -> None:
    files.put(GATEWAY, KEY, 0o644)
    (found,) = (each for each in files.findings() if each.rule.id == "key-file-open-to-others")
    assert found.fix == f"`chmod 600 {GATEWAY}`, {rights.ANEW}"
    assert "could read" in found.rule.fix
    files.folder("/etc/swanctl/private", 0o700)
    (found,) = (each for each in files.findings() if each.rule.id == "key-file-open-to-others")
    assert found.fix == f"chmod 600 {GATEWAY}"  # the folder has kept it
