"""What is found below folders that somebody names."""

import posixpath
import shutil
from pathlib import Path

import pytest

from ike.audit import host as audited
from ike.audit import named, rules
from ike.audit.discovery import Discovered, discover
from ike.audit.ground import Ground
from ike.audit.values import Policy
from tests.ike.audit.conftest import KEY, NOW, PSK, SWANCTL, Files

CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n"


def roles(files: Files, *paths: str, known: bool = False) -> dict[str, str]:
    return {item.path: str(item.role) for item in found(files, *paths, known=known).items}


def found(files: Files, *paths: str, known: bool = False) -> Discovered:
    return discover(Ground(files.root), paths, known=known)


def put_host(files: Files, base: str) -> None:
    """The files of a host that were copied somewhere."""
    files.put(f"{base}/swanctl/swanctl.conf", "include conf.d/*.conf\n", 0o644)
    files.put(f"{base}/swanctl/conf.d/a.conf", SWANCTL, 0o644)
    files.put(f"{base}/swanctl/private/gw.pem", KEY)
    files.put(f"{base}/strongswan.conf", "charon {\n plugins {\n  x { secret = s }\n }\n}\n")
    files.put(f"{base}/ipsec.conf", "conn x\n  auto=add\n", 0o644)
    files.put(f"{base}/ipsec.secrets", PSK, 0o644)
    files.put(f"{base}/ipsec.d/more.secrets", PSK)
    files.put(f"{base}/racoon/psk.txt", "192.0.2.1 of-these-tests\n")
    files.put(f"{base}/NetworkManager/system-connections/a.nmconnection", "[connection]\n")


@pytest.mark.parametrize("known", [True, False])
def test_all_of_a_copied_host_is_swept_and_each_file_read_by_its_parser(
    files: Files, known: bool
) -> None:
    put_host(files, "/srv/bak/etc")
    seen = found(files, "/srv/bak", known=known)
    base = "/srv/bak/etc"
    there = {item.path.removeprefix(base): str(item.role) for item in seen.items}
    assert there == {
        "/swanctl/swanctl.conf": "configuration",
        "/swanctl/conf.d/a.conf": "secrets",
        "/swanctl/private": "folder of keys",
        "/swanctl/private/gw.pem": "private key",
        "/strongswan.conf": "secrets",
        "/ipsec.conf": "configuration",
        "/ipsec.secrets": "secrets",
        "/ipsec.d/more.secrets": "secrets",
        "/racoon/psk.txt": "secrets",
    }
    kinds = {(start.path.removeprefix(base), start.kind) for start in seen.starts}
    assert ("/strongswan.conf", "strongswan.conf") in kinds
    assert ("/swanctl/swanctl.conf", "swanctl") in kinds
    assert not seen.problems
    # Of one host, and each file once.
    [apart] = seen.apart
    assert len({entry.place for entry in apart.entries}) == len(apart.entries) == 3


def test_secrets_that_lie_deep_are_found_and_judged(files: Files) -> None:
    files.put("/opt/sub/deep/er/still/one/ipsec.secrets", '@a : PSK "swordfish"\n', 0o644)
    files.put("/opt/sub/deep/er/still/one/gw.key", KEY)
    seen = audited.look(Ground(files.root), audited.Wanted(("/opt",), known=False), NOW)
    told = {(each.rule.id, each.place.path) for each in rules.judged(seen, Policy(), NOW)}
    path = "/opt/sub/deep/er/still/one/ipsec.secrets"
    assert ("secrets-file-open-to-others", path) in told
    assert {("psk-weak", path), ("secret-sample-value", path)} & told


def test_what_was_reached_already_is_not_read_twice(files: Files) -> None:
    put_host(files, "/etc")
    seen = found(files, "/etc", known=True)
    places = [entry.place for each in (seen.found, *seen.apart) for entry in each.entries]
    assert len(places) == len(set(places)) == 3


def test_two_hosts_in_one_folder_are_read_each_by_itself(files: Files) -> None:
    put_host(files, "/srv/gw1/etc")
    put_host(files, "/srv/gw2/etc")
    assert len(found(files, "/srv").apart) == 2


def test_only_folders_of_keys_are_called_so(files: Files) -> None:
    for path in ("/etc/gw.key", "/etc/ssh/ssh_host_key", "/home/alice/a.key", "/srv/keys/b.key"):
        files.put(path, KEY)
    files.put("/srv/app/c.key", KEY)
    files.put("/srv/app/one.txt", "x" * 99)
    files.put("/srv/app/two.txt", "x" * 99)
    for name in ("/", "/etc", "/home", "/home/alice", "/srv"):
        there = roles(files, name)
        folders = {path for path, role in there.items() if role == "folder of keys"}
        assert folders <= {"/srv/keys"}, name
    assert roles(files, "/srv")["/srv/app/c.key"] == "private key"


def test_the_trust_store_of_the_system_is_not_judged_and_keys_in_it_are(files: Files) -> None:
    files.put("/etc/ssl/certs/ca-certificates.crt", CERTIFICATE)
    files.put("/etc/ssl/certs/lost.pem", KEY)
    files.put("/etc/own/gw.crt", CERTIFICATE)
    files.put("/etc/own/bundle.pem", CERTIFICATE * 30)
    files.put("/etc/certs.conf", "cert = /etc/ssl/certs/ca-certificates.crt\n")
    shutil.copytree(files.root / "etc", files.root / "srv/bak", dirs_exist_ok=True)
    assert sorted(roles(files, "/etc")) == ["/etc/own/gw.crt", "/etc/ssl/certs/lost.pem"]
    assert sorted(roles(files, "/srv")) == ["/srv/bak/own/gw.crt", "/srv/bak/ssl/certs/lost.pem"]
    files.put("/etc/ipsec.conf", "ca x\n  cacert=/etc/ssl/certs/ca-certificates.crt\n")
    assert "/etc/ssl/certs/ca-certificates.crt" in roles(files, "/etc")


def test_samples_are_left_out_and_so_is_what_only_looks_alike(files: Files) -> None:
    put_host(files, "/usr/share/doc/strongswan/examples")
    put_host(files, "/srv/copy/usr/share/doc/strongswan")
    files.put("/srv/node_modules/x/test.key", KEY)
    files.put("/srv/app.conf", "password = secret\n[db]\nsecret=1\n")
    files.put("/srv/README.md", 'Write `@a : PSK "x"` there.\n' * 3)
    files.put("/srv/rsyncd.secrets", "user:password\n")
    files.put("/srv/config.xml", "<fontconfig><password>x</password></fontconfig>\n")
    files.put("/home/alice/.mozilla/p/key4.db", "SQLite")
    assert roles(files, "/usr", "/srv", "/home") == {}
    # A name alone makes no vendor.
    for path in ("/var/lib/ipsec", "/srv/src", "/srv/share/vpn", "/srv/bin"):
        files.put(f"{path}/ipsec.secrets", PSK)
        assert list(roles(files, posixpath.dirname(path))) == [f"{path}/ipsec.secrets"]
        (files.root / path[1:] / "ipsec.secrets").unlink()
    # Who names them means them.
    assert roles(files, "/usr/share/doc/strongswan/examples")


def test_copies_whose_original_is_gone_are_read_and_others_are_copies(files: Files) -> None:
    files.put("/srv/a/ipsec.secrets.old", '@a : PSK "swordfish"\n', 0o644)
    files.put("/srv/b/ipsec.secrets", PSK)
    files.put("/srv/b/ipsec.secrets.bak", PSK, 0o644)
    files.put("/srv/c/swanctl.conf", "# nothing any more\n")
    files.put("/srv/c/swanctl.conf~", SWANCTL, 0o644)
    assert roles(files, "/srv") == {
        "/srv/a/ipsec.secrets.old": "secrets",
        "/srv/b/ipsec.secrets": "secrets",
        "/srv/c/swanctl.conf": "configuration",
        "/srv/c/swanctl.conf~": "secrets",
    }
    seen = audited.look(Ground(files.root), audited.Wanted(("/srv",), known=False), NOW)
    told = {(each.rule.id, each.place.path) for each in rules.judged(seen, Policy(), NOW)}
    assert ("copy-of-secrets-open", "/srv/b/ipsec.secrets.bak") in told


def test_other_kinds(files: Files) -> None:
    files.put("/srv/nss/key4.db", "SQLite")
    files.put("/srv/nss/cert9.db", "SQLite")
    files.put("/srv/vyos/config.boot", "vpn {\n    ipsec {\n        secret x\n    }\n}\n")
    files.put("/srv/fw/config.xml", "<?xml version='1.0'?><opnsense><a/></opnsense>")
    files.put("/srv/p/a.p12", b"\x30\x82\x01\x00\x02\x01\x03" + b"x" * 99)
    there = roles(files, "/srv")
    assert there["/srv/nss/key4.db"] == "key database"
    assert there["/srv/vyos/config.boot"] == there["/srv/fw/config.xml"] == "secrets"
    assert there["/srv/p/a.p12"] == "private key"


VYOS = "interfaces {\n}\nvpn {\n    ipsec {\n        secret x\n    }\n}\n"
FIREWALL = (
    "<?xml version='1.0'?><pfsense><ipsec><mobilekey><ident>a</ident>\n"
    "<pre-shared-key>swordfish</pre-shared-key>\n</mobilekey></ipsec></pfsense>"
)


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("config-fw.example-20261128093000.xml", FIREWALL, "opnsense-xml"),
        ("gw.boot", VYOS, "vyos-config"),
        ("of-a-colleague", FIREWALL, "opnsense-xml"),
        ("junos", "system {\n    host-name a;\n}\ninterfaces {\n}\n" + VYOS, ""),
        ("other.xml", "<html><body>pfsense</body></html>" + " " * 40, ""),
    ],
)
def test_exported_configuration_is_known_by_what_stands_in_it(
    files: Files, name: str, text: str, kind: str
) -> None:
    path = f"/srv/backups/{name}"
    files.put(path, text, 0o644)
    for named_ in ("/srv", path) if kind else ("/srv",):
        seen = discover(Ground(files.root), (named_,), known=False)
        assert [each.kind for each in seen.starts if each.path == path] == ([kind] if kind else [])
        assert not seen.problems


def test_exported_configuration_that_lies_about_is_told(files: Files) -> None:
    files.put("/root/config-fw.example-20261128.xml", FIREWALL, 0o644)
    files.put("/home/anna/gw.boot", VYOS, 0o644)
    files.put("/config/config.boot", VYOS, 0o600)
    files.put("/config/archive/config.boot.1", VYOS, 0o644)
    files.put("/config/archive/config.boot.2.gz", b"\x1f\x8b" + b"x" * 60, 0o644)
    files.put("/usr/share/doc/some.xml", FIREWALL, 0o644)
    seen = audited.look(Ground(files.root), audited.Wanted(()), NOW)
    told = {each.place.path for each in rules.judged(seen, Policy(), NOW)}
    assert told >= {
        "/root/config-fw.example-20261128.xml",
        "/home/anna/gw.boot",
        "/config/archive/config.boot.1",
        "/config/archive/config.boot.2.gz",
    }
    assert "/usr/share/doc/some.xml" not in told


def test_links_are_followed_within_the_copy(files: Files, tmp_path: Path) -> None:
    outside = Files(tmp_path / "outside")
    outside.root.mkdir()
    outside.put("/ipsec.secrets", PSK)
    files.link("/srv/out", str(outside.root))
    files.link("/srv/data", "/data/vpn")
    files.link("/srv/up", "/")
    files.put("/data/vpn/ipsec.secrets", PSK)
    files.put("/data/gw.key", KEY)
    files.link("/srv/gw.key", "../data/gw.key")
    assert roles(files, "/srv") == {
        "/srv/gw.key": "private key",
        "/data/vpn/ipsec.secrets": "secrets",
    }
    files.link("/named", "/data/vpn")
    assert list(roles(files, "/named")) == ["/data/vpn/ipsec.secrets"]


def test_a_bound_that_cuts_it_short_is_told(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(named, "MAX_LOOKS", 3)
    for number in range(5):
        files.put(f"/srv/file{number}", "x" * 99)
    files.put("/srv/z/ipsec.secrets", PSK)
    seen = found(files, "/srv")
    assert [str(problem.place) for problem in seen.problems] == ["/srv"]
    assert [item.path for item in seen.items] == ["/srv/z/ipsec.secrets"]
