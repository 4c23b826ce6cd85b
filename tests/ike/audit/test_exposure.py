"""Copies, repositories, core dumps and keys that lie about."""

import base64
import gzip
import lzma
import os
import subprocess
import tracemalloc
from pathlib import Path

import pytest

from ike.audit import copies, rights, work_trees
from ike.audit.ground import Ground
from ike.audit.values import Policy, Role
from ike.secrets.tree import MAX_OCTETS, File
from tests.fixtures.needs import left_out, needs_root
from tests.ike.audit.conftest import KEY, PSK, SWANCTL, Files

SECRETS = "/etc/ipsec.secrets"


def rules(files: Files) -> list[tuple[str, str, str]]:
    return files.told(Policy())


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("ipsec.secrets~", "ipsec.secrets"),
        ("ipsec.secrets.~3~", "ipsec.secrets"),
        ("ipsec.secrets.bak", "ipsec.secrets"),
        ("ipsec.secrets.BAK", "ipsec.secrets"),
        ("ipsec.secrets.old.1", "ipsec.secrets"),
        ("ipsec.secrets.rpmsave", "ipsec.secrets"),
        ("ipsec.secrets.dpkg-old", "ipsec.secrets"),
        ("ipsec.secrets.ucf-dist", "ipsec.secrets"),
        ("ipsec.secrets-2026-11-29", "ipsec.secrets"),
        ("ipsec.secrets.20261129", "ipsec.secrets"),
        ("ipsec.secrets_20261129-1200", "ipsec.secrets"),
        (".ipsec.secrets.swp", "ipsec.secrets"),
        ("#ipsec.secrets#", "ipsec.secrets"),
        ("gw.key (copy)", "gw.key"),
        ("gw-old", "gw"),
        ("ipsec.secrets", ""),
        ("gw1.key", ""),
        ("gw.key", ""),
        ("~", ""),
        (".bak", ""),
        ("", ""),
    ],
)
def test_a_copy_is_known_by_its_name(name: str, plain: str) -> None:
    assert copies.original(name) == plain


def test_copies_beside_secrets(files: Files) -> None:
    files.put(SECRETS, PSK)
    files.put(SECRETS + "~", PSK, 0o644)
    files.put(SECRETS + ".bak", PSK)
    files.put(SECRETS + ".dpkg-dist", '# gw : PSK "example"\n', 0o644)  # no more than comments
    files.put("/etc/.ipsec.secrets.swp", b"b0VIM 9.0\0\0\0" + PSK.encode() + b"\0", 0o600)
    files.put("/etc/swanctl/private/gw.key", KEY)
    files.put("/etc/swanctl/private/gw.key.old", KEY)
    files.folder("/etc/swanctl/private", 0o700)
    found = files.findings()
    assert [(f.weight.value, f.rule.id, f.place.path) for f in found] == [
        ("critical", "copy-of-secrets-open", SECRETS + "~"),
        ("low", "copy-of-secrets", "/etc/.ipsec.secrets.swp"),
        ("low", "copy-of-secrets", SECRETS + ".bak"),
        ("low", "copy-of-secrets", "/etc/swanctl/private/gw.key.old"),
    ]
    assert found[0].fix == f"`rm '/etc/ipsec.secrets~'`, {rights.ANEW}"
    assert found[1].fix == "rm /etc/.ipsec.secrets.swp"
    assert "a value of these tests" not in repr([f.evidence for f in found])


@pytest.mark.parametrize(
    ("ending", "content"),
    [
        ("~", PSK.encode("utf-16")),
        (".bak", PSK.encode("utf-16-le")),
        (".gz", gzip.compress(PSK.encode(), mtime=0)),
        (".bak.xz", lzma.compress(PSK.encode())),
        (".zst", b"\x28\xb5\x2f\xfd\x04\x00" + bytes(range(128, 160))),
        (".old", base64.encodebytes(PSK.encode())),
        (".b64", base64.b64encode(PSK.encode())),
    ],
    ids=["~", ".bak", ".gz", ".bak.xz", ".zst", ".old", ".b64"],
)
def test_a_copy_in_another_writing(files: Files, ending: str, content: bytes) -> None:
    files.put(SECRETS, PSK)
    files.put(SECRETS + ending, content, 0o644)
    assert files.told() == [("critical", "copy-of-secrets-open", SECRETS + ending)]


@pytest.mark.parametrize(
    ("ending", "content"),
    [
        (".gpg", b"\x85\x01\x0c\x03" + bytes(range(128, 160))),
        (".gz", b""),
        (".bak", b"no secrets here\n"),
        (".dpkg-dist", b"# Keys.\n\ninclude /var/lib/strongswan/ipsec.secrets.inc\n"),
        (".old", "Schlüssel: siehe Tresor\n".encode()),
        (".save", b"\xef\xbb\xbf# caf\xe9\n"),  # of an editor of old
    ],
)
def test_what_is_no_copy_in_another_writing(files: Files, ending: str, content: bytes) -> None:
    files.put(SECRETS, PSK)
    files.put(SECRETS + ending, content, 0o644)
    assert files.told() == []


@needs_root
def test_a_copy_in_a_group_of_its_own(files: Files) -> None:
    files.put(SECRETS, PSK)
    files.put(SECRETS + ".save", PSK, 0o640, (0, 50))
    assert files.told() == [("high", "copy-of-secrets-open", SECRETS + ".save")]
    assert files.told(Policy(groups=frozenset({"staff"}))) == [
        ("low", "copy-of-secrets", SECRETS + ".save")
    ]


def git(folder: Path, *words: str) -> None:
    """Run git on a repository of these tests."""
    plain = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
    subprocess.run(
        ["git", "-C", str(folder), *words],
        check=True,
        capture_output=True,
        env={**os.environ, **plain},
    )


@pytest.fixture
def repository(files: Files) -> Path:
    """A repository of /etc as etckeeper makes one."""
    folder = files.folder("/etc")
    try:
        git(folder, "init", "-q")
    except (OSError, subprocess.CalledProcessError):
        left_out("there is no git")
    (folder / ".git").chmod(0o700)
    return folder


def test_a_file_that_git_tracks(files: Files, repository: Path) -> None:
    files.put(SECRETS, PSK)
    files.put("/etc/swanctl/swanctl.conf", SWANCTL)
    files.put("/etc/sub/ipsec.secrets", PSK)
    assert rules(files)[-2:] == [
        ("low", "secret-in-work-tree", SECRETS),
        ("low", "secret-in-work-tree", "/etc/swanctl/swanctl.conf"),
    ]
    # A file of the same name elsewhere is another file.
    git(repository, "add", "swanctl", "sub")
    tracked = [told for told in rules(files) if told[1] != "stray-secrets"]
    assert tracked == [
        ("medium", "secret-in-repository", "/etc/swanctl/swanctl.conf"),
        ("low", "secret-in-work-tree", SECRETS),
    ]
    git(repository, "remote", "add", "origin", "ssh://git.example.com/etc")
    assert ("high", "secret-in-repository", "/etc/swanctl/swanctl.conf") in rules(files)


def test_an_index_whose_paths_are_shortened(files: Files, repository: Path) -> None:
    files.put(SECRETS, PSK)
    files.put("/etc/ipsec.conf", "conn a\n", 0o644)
    git(repository, "add", "ipsec.conf", "ipsec.secrets")
    git(repository, "update-index", "--index-version", "4")
    ground = Ground(files.root)
    (kept,) = work_trees.look(ground, [ground.item(SECRETS, Role.SECRETS)])
    assert kept.tracked in (None, True)
    git(repository, "update-index", "--index-version", "3")
    (kept,) = work_trees.look(ground, [ground.item(SECRETS, Role.SECRETS)])
    assert kept.tracked is True


def test_other_systems_and_half_a_repository(files: Files) -> None:
    files.put("/srv/a/.hg/dirstate", b"\0x" + b"ipsec.secrets")
    files.put("/srv/a/.hg/hgrc", "[paths]\ndefault = https://hg.example.com/\n")
    files.put("/srv/a/ipsec.secrets", PSK)
    files.put("/srv/b/.git", "gitdir: /elsewhere\n")
    files.put("/srv/b/ipsec.secrets", PSK)
    ground = Ground(files.root)
    items = [ground.item(f"/srv/{name}/ipsec.secrets", Role.SECRETS) for name in "ab"]
    first, second = work_trees.look(ground, items)
    assert (first.tracked, first.repository.shared) == (True, True)
    assert (second.tracked, second.repository.shared) == (None, False)


class Counting(Ground):
    """Counts what is read of indexes."""

    octets = 0

    def read(self, path: str, limit: int = MAX_OCTETS) -> File:
        """As of any host."""
        found = super().read(path, limit)
        self.octets += len(found.content)
        return found


def test_no_more_than_one_index_is_kept_and_only_so_much_is_gone_through(files: Files) -> None:
    size, count = 16 * 2**20, 70
    for number in range(count):
        files.put(f"/srv/{number:02}/ipsec.secrets", PSK)
        index = files.put(f"/srv/{number:02}/.git/index", b"DIRC\0\0\0\2")
        os.truncate(index, size)  # sparse: nobody pays for it
    ground = Counting(files.root)
    items = [ground.item(f"/srv/{n:02}/ipsec.secrets", Role.SECRETS) for n in range(count)]
    tracemalloc.start()
    try:
        kept = work_trees.look(ground, items)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [each.tracked for each in kept] == [False] * 64 + [None] * 6
    assert ground.octets == 64 * size
    assert peak < 5 * size


def test_a_name_that_is_the_end_of_thousands_is_given_up(files: Files) -> None:
    files.put("/srv/ipsec.secrets", PSK)
    files.put("/srv/.git/index", b"DIRC\0\0\0\2" + b"x/ipsec.secrets\0" * 2000)
    ground = Ground(files.root)
    [kept] = work_trees.look(ground, [ground.item("/srv/ipsec.secrets", Role.SECRETS)])
    assert kept.tracked is None


def test_keys_that_lie_about(files: Files) -> None:
    files.folder("/tmp", 0o1777)
    files.put("/srv/www/download/gw.p12", b"\x30\x82\x01\x00\x02\x01\x03", 0o644)
    files.put("/opt/vpn/gw.pem", KEY, 0o644)
    files.put("/opt/vpn/locked.pem", KEY.replace("PRIVATE", "ENCRYPTED PRIVATE"), 0o644)
    files.put("/opt/closed/tls.key", KEY)
    files.put("/home/alice/gw.key", KEY)
    files.put("/home/alice/.ssh/id.pem", KEY)
    files.put("/tmp/new.key", KEY)
    files.put("/root/old.secrets", PSK)
    files.put("/srv/ipsec.secrets.old", PSK, 0o644)
    files.put("/var/backups/etc-2026.tar.gz", b"\x1f\x8b", 0o644)
    files.put("/usr/share/doc/python/sample.pem", KEY, 0o644)
    files.put("/srv/app/node_modules/tls/test.pem", KEY, 0o644)
    files.put("/srv/certificate.pem", "-----BEGIN CERTIFICATE-----\n", 0o644)
    files.put("/srv/notes.key", "where the keys are\n", 0o644)
    assert files.told() == [
        ("critical", "stray-secrets", "/srv/ipsec.secrets.old"),
        ("high", "stray-key-open", "/opt/vpn/gw.pem"),
        ("medium", "stray-key-open", "/opt/vpn/locked.pem"),
        ("medium", "stray-secrets", "/root/old.secrets"),
        ("medium", "stray-key-open", "/srv/www/download/gw.p12"),
        ("medium", "archive-open", "/var/backups/etc-2026.tar.gz"),
        ("low", "stray-key", "/home/alice/gw.key"),
        ("low", "stray-key", "/tmp/new.key"),
    ]


def test_core_dumps(files: Files) -> None:
    unit = "/usr/lib/systemd/system/strongswan.service"
    files.put(unit, "[Service]\nExecStart=/usr/sbin/charon-systemd\n", 0o644)
    assert files.told() == []
    files.put("/usr/lib/systemd/systemd-coredump", "x", 0o755)
    assert files.told() == [("low", "core-dumps-kept", unit)]
    files.put("/etc/systemd/coredump.conf", "[Coredump]\n#Storage=none\nStorage=none\n", 0o644)
    assert files.told() == []
    drop_in = "/etc/systemd/system/strongswan.service.d/x.conf"
    files.put(drop_in, "[Service]\nLimitCORE=infinity\n", 0o644)
    (found,) = files.findings()
    assert (found.rule.id, str(found.place)) == ("core-dumps-wanted", drop_in + ":2")
    files.put(drop_in, "[Service]\nLimitCORE=0:infinity\n", 0o644)
    assert files.told() == []
    files.put("/etc/systemd/system.conf", "[Manager]\nDefaultLimitCORE=infinity\n", 0o644)
    assert files.told() == []
    files.put(drop_in, "", 0o644)
    assert files.told() == [("medium", "core-dumps-wanted", "/etc/systemd/system.conf")]
    files.put("/etc/systemd/system.conf", "", 0o644)
    files.put("/etc/security/limits.conf", "# * soft core 1\n* soft core unlimited\n", 0o644)
    files.put("/etc/security/limits.d/a.conf", "* hard core 0\nroot - core 0\n", 0o644)
    (found,) = files.findings()
    assert (found.rule.id, str(found.place)) == ("core-limit-raised", "/etc/security/limits.conf:2")


def test_secrets_that_may_be_in_use_are_not_deleted_unseen(files: Files) -> None:
    files.put("/root/ipsec.secrets.2024", PSK, 0o600)
    files.put("/srv/ipsec.secrets.2024", PSK, 0o644)
    files.put("/srv/gw.pem", KEY, 0o644)
    found = {each.place.path: each.fix for each in files.findings()}
    fix = found["/root/ipsec.secrets.2024"]
    assert fix == "Look whether anything needs it; if not, `rm /root/ipsec.secrets.2024`."
    assert found["/srv/ipsec.secrets.2024"] == f"`chmod 600 /srv/ipsec.secrets.2024`, {rights.ANEW}"
    assert found["/srv/gw.pem"] == f"`chmod 600 /srv/gw.pem`, {rights.ANEW}"
