"""What of a host matters: found from the daemons' own configuration, in the layouts of real systems."""

import os
import socket
import tempfile
import threading
from pathlib import Path

import pytest

from ike.audit.discovery import Discovered, discover
from ike.audit.ground import Ground
from tests.fixtures.needs import needs_root
from tests.ike.audit.conftest import KEY, PSK, SWANCTL, Files

SAMPLES = Path(__file__).parent.parent / "secrets" / "samples"
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n"


def found(files: Files, *paths: str, known: bool = True) -> Discovered:
    return discover(Ground(files.root), paths, known=known)


def roles(discovered: Discovered) -> dict[str, str]:
    return {item.path: str(item.role) for item in discovered.items}


def starts(discovered: Discovered) -> set[tuple[str, str]]:
    return {(start.path, start.kind) for start in discovered.starts}


def test_swanctl_with_its_folders(files: Files) -> None:
    files.put("/etc/swanctl/swanctl.conf", "include conf.d/*.conf\n")
    files.put("/etc/swanctl/conf.d/a.conf", SWANCTL)
    files.put("/etc/swanctl/conf.d/b.conf", "secrets {\n token1 {\n  pin = 1\n }\n}\n")
    files.put(
        "/etc/swanctl/conf.d/c.conf",
        "connections {\n x {\n  local {\n   certs = /srv/own.pem, other.pem\n  }\n  children {\n"
        '   y {\n    updown = "/usr/local/bin/up.sh -v"\n   }\n  }\n }\n}\n'
        "secrets {\n private1 {\n  file = /srv/own.key\n }\n}\nauthorities {\n z {\n  file = /srv/ca.pem\n }\n}\n",
    )
    for path, content in (
        ("/srv/own.pem", CERTIFICATE),
        ("/srv/own.key", KEY),
        ("/srv/ca.pem", CERTIFICATE),
        ("/usr/local/bin/up.sh", "#!/bin/sh\n"),
        ("/etc/swanctl/private/gw.key", KEY),
        ("/etc/swanctl/private/README", "Put keys here.\n"),
        ("/etc/swanctl/pkcs12/a.p12", b"\x30\x82\x01\x00\x02\x01\x03"),
        ("/etc/swanctl/rsa/a.der", b"\x30\x82\x01\x00\x02\x01\x00"),
        ("/etc/swanctl/x509ca/ca.pem", CERTIFICATE),
        ("/etc/swanctl/x509/a.pem", CERTIFICATE),
        ("/etc/swanctl/x509crl/a.crl", b"\x30\x82"),
    ):
        files.put(path, content)
    seen = found(files)
    assert roles(seen) == {
        "/etc/swanctl/swanctl.conf": "configuration",
        "/etc/swanctl/conf.d/a.conf": "secrets",
        "/etc/swanctl/conf.d/b.conf": "secrets",
        "/etc/swanctl/conf.d/c.conf": "configuration",
        "/srv/own.pem": "certificate",
        "/srv/own.key": "private key",
        "/srv/ca.pem": "trusted certificates",
        "/usr/local/bin/up.sh": "program",
        "/etc/swanctl/private": "folder of keys",
        "/etc/swanctl/private/gw.key": "private key",
        "/etc/swanctl/pkcs12": "folder of keys",
        "/etc/swanctl/pkcs12/a.p12": "private key",
        "/etc/swanctl/rsa": "folder of keys",
        "/etc/swanctl/rsa/a.der": "private key",
        "/etc/swanctl/x509ca/ca.pem": "trusted certificates",
        "/etc/swanctl/x509/a.pem": "certificate",
        "/etc/swanctl/x509crl/a.crl": "revocation list",
    }
    assert starts(seen) == {("/etc/swanctl/swanctl.conf", "swanctl")}
    (key,) = [item for item in seen.items if item.path == "/srv/own.key"]
    assert str(key.named_by) == "/etc/swanctl/conf.d/c.conf:15"


def test_ipsec_conf_and_secrets_with_what_they_name(files: Files) -> None:
    files.put(
        "/etc/ipsec.conf", "conn a\n\tleft=192.0.2.1\n\tleftcert=/srv/a.pem\n\tleftupdown=/srv/up\n"
    )
    files.put(
        "/etc/ipsec.secrets",
        ': RSA gw.pem "pass"\n: ECDSA /srv/b.pem\n: RSA nickname\ninclude d/*\n',
    )
    files.put("/etc/d/more", PSK)
    files.put("/etc/ipsec.d/private/gw.pem", KEY)
    files.put("/srv/b.pem", KEY)
    files.put("/srv/a.pem", CERTIFICATE)
    files.put("/srv/up", "#!/bin/sh\n")
    files.put("/etc/ipsec.d/cacerts/ca.pem", CERTIFICATE)
    seen = found(files)
    assert roles(seen) == {
        "/etc/ipsec.conf": "configuration",
        "/etc/ipsec.secrets": "secrets",
        "/etc/d/more": "secrets",
        "/etc/ipsec.d/private": "folder of keys",
        "/etc/ipsec.d/private/gw.pem": "private key",
        "/srv/b.pem": "private key",
        "/srv/a.pem": "certificate",
        "/srv/up": "program",
        "/etc/ipsec.d/cacerts/ca.pem": "trusted certificates",
    }
    named = {item.path: str(item.named_by) for item in seen.items if item.named_by}
    assert named["/etc/ipsec.d/private/gw.pem"] == "/etc/ipsec.secrets:1"
    assert named["/etc/d/more"] == "/etc/ipsec.secrets"


def test_nss_databases_where_ipsec_conf_says(files: Files) -> None:
    files.put("/etc/ipsec.conf", 'config setup\n\tnssdir="/srv/nss"\nconn a\n\tleft=192.0.2.1\n')
    for path in ("/srv/nss/key4.db", "/srv/nss/nsspassword", "/etc/ipsec.d/cert9.db"):
        files.put(path, "x")
    seen = found(files)
    assert roles(seen) == {
        "/etc/ipsec.conf": "configuration",
        "/srv/nss": "folder of keys",
        "/srv/nss/key4.db": "key database",
        "/srv/nss/nsspassword": "password",
        "/etc/ipsec.d": "folder of keys",
        "/etc/ipsec.d/cert9.db": "key database",
    }
    assert {("/srv/nss", "nss"), ("/etc/ipsec.d", "nss")} < starts(seen)


def test_strongswan_conf_that_holds_secrets(files: Files) -> None:
    files.put(
        "/etc/strongswan.conf", "charon {\n load_modular = yes\n}\ninclude strongswan.d/*.conf\n"
    )
    files.put(
        "/etc/strongswan.d/radius.conf",
        "charon {\n plugins {\n  eap-radius {\n   servers {\n    a {\n     secret = x\n    }\n   }\n  }\n }\n}\n",
    )
    files.put(
        "/etc/strongswan.d/sql.conf",
        "charon.plugins.sql.database = mysql://u:p@127.0.0.1/d\ncharon {\n plugins {\n  attr-sql {\n"
        "   database = sqlite:///var/lib/ipsec.db\n  }\n  pkcs11 {\n   modules {\n    hsm {\n"
        "     path = /usr/lib/hsm.so\n    }\n   }\n  }\n }\n}\n",
    )
    files.put("/etc/strongswan.d/plain.conf", "charon {\n plugins {\n  vici {\n  }\n }\n}\n")
    files.put("/var/lib/ipsec.db", "SQLite")
    files.put("/usr/lib/hsm.so", "x")
    assert roles(found(files)) == {
        "/etc/strongswan.conf": "configuration",
        "/etc/strongswan.d/radius.conf": "secrets",
        "/etc/strongswan.d/sql.conf": "secrets",
        "/etc/strongswan.d/plain.conf": "configuration",
        "/var/lib/ipsec.db": "secrets",
        "/usr/lib/hsm.so": "program",
    }


def test_racoon(files: Files) -> None:
    files.put(
        "/etc/racoon/racoon.conf",
        'path pre_shared_key "/etc/racoon/psk.txt";\npath certificate "/etc/racoon/certs";\n'
        'include "more.conf";\nremote anonymous {\n  certificate_type x509 "gw.crt" "gw.key";\n'
        '  ca_type x509 "ca.crt";\n  script "/etc/racoon/up.sh" phase1_up;\n}\n',
    )
    files.put("/etc/racoon/more.conf", "# more\n")
    files.put("/etc/racoon/psk.txt", "192.0.2.2 value\n")
    files.put("/etc/racoon/up.sh", "#!/bin/sh\n")
    for name, content in (("gw.crt", CERTIFICATE), ("ca.crt", CERTIFICATE), ("gw.key", KEY)):
        files.put(f"/etc/racoon/certs/{name}", content)
    seen = found(files)
    assert roles(seen) == {
        "/etc/racoon/racoon.conf": "configuration",
        "/etc/racoon/more.conf": "configuration",
        "/etc/racoon/psk.txt": "secrets",
        "/etc/racoon/certs": "folder of keys",
        "/etc/racoon/certs/gw.key": "private key",
        "/etc/racoon/certs/gw.crt": "certificate",
        "/etc/racoon/certs/ca.crt": "trusted certificates",
        "/etc/racoon/up.sh": "program",
    }
    assert ("/etc/racoon/psk.txt", "racoon-psk") in starts(seen)


def test_networkmanager_vyos_and_opnsense(files: Files) -> None:
    folder = "/etc/NetworkManager/system-connections"
    service = "[vpn]\nservice-type=org.freedesktop.NetworkManager.strongswan\n"
    files.put(f"{folder}/work.nmconnection", service + "[vpn-secrets]\npassword=x\n")
    files.put(f"{folder}/cert.nmconnection", service)
    files.put(f"{folder}/home.nmconnection", "[wifi-security]\npsk=x\n")
    files.put("/config/config.boot", "vpn {\n    ipsec {\n  pre-shared-secret x\n    }\n}\n")
    files.put("/config/auth/gw/a.key", KEY)
    files.put("/config/auth/gw/a.crt", CERTIFICATE)
    files.put("/conf/config.xml", "<opnsense/>")
    files.put("/conf/backup/config-1.xml", "<opnsense/>")
    seen = found(files)
    assert roles(seen) == {
        f"{folder}/work.nmconnection": "secrets",
        f"{folder}/cert.nmconnection": "configuration",
        "/config/config.boot": "secrets",
        "/config/auth": "folder of keys",
        "/config/auth/gw/a.key": "private key",
        "/conf/config.xml": "secrets",
        "/conf/backup/config-1.xml": "secrets",
    }
    assert starts(seen) == {
        (f"{folder}/work.nmconnection", "networkmanager"),
        (f"{folder}/cert.nmconnection", "networkmanager"),
        ("/config/config.boot", "vyos-config"),
        ("/conf/config.xml", "opnsense-xml"),
    }


@pytest.mark.parametrize("layout", ["debian", "libreswan", "opnsense", "pfsense", "vyos"])
def test_layouts_of_real_systems(layout: str) -> None:
    seen = discover(Ground(SAMPLES / layout))
    # Certificates were left out of the samples.
    assert all("names it: no such file" in problem.message for problem in seen.problems)
    assert {item.path for item in seen.items} >= set(seen.found.changed)
    secrets = {item.path for item in seen.items if item.role == "secrets"}
    assert {entry.place.path for entry in seen.found.entries} <= secrets


def test_a_file_is_found_once_whatever_leads_to_it(files: Files) -> None:
    files.put("/etc/strongswan/swanctl/swanctl.conf", SWANCTL)
    files.link("/etc/swanctl", "strongswan/swanctl")
    files.put("/etc/strongswan/swanctl/private/a.key", KEY)
    seen = found(files)
    assert sorted(item.real for item in seen.items) == [
        "/etc/strongswan/swanctl/private",
        "/etc/strongswan/swanctl/private/a.key",
        "/etc/strongswan/swanctl/swanctl.conf",
    ]


def test_files_and_folders_that_somebody_names(files: Files) -> None:
    files.put("/etc/ipsec.secrets", PSK)
    files.put("/srv/vpn/gw.key", KEY)
    files.put("/srv/vpn/deep/er/b.pem", KEY)
    files.put("/srv/one.pem", KEY)
    files.put("/srv/ca.pem", CERTIFICATE)
    files.put("/srv/my.secrets", PSK)
    files.put("/srv/racoon.conf", "# nothing\n")
    named = (
        "/srv/vpn",
        "/srv/one.pem",
        "/srv/ca.pem",
        "/srv/my.secrets",
        "/srv/racoon.conf",
        "/srv/no",
    )
    seen = found(files, *named, known=False)
    assert roles(seen) == {
        "/srv/vpn": "folder of keys",
        "/srv/vpn/gw.key": "private key",
        "/srv/vpn/deep/er": "folder of keys",
        "/srv/vpn/deep/er/b.pem": "private key",
        "/srv/one.pem": "private key",
        "/srv/ca.pem": "certificate",
        "/srv/my.secrets": "secrets",
        "/srv/racoon.conf": "configuration",
    }
    assert [str(problem.place) for problem in seen.problems] == ["/srv/no"]
    assert "/etc/ipsec.secrets" in roles(found(files, *named))


def test_nothing_is_waited_for_and_nothing_stops_the_rest(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(files.folder("/etc") / "ipsec.secrets")
    os.mkfifo(files.folder("/etc/swanctl/private") / "gw.key")
    with socket.socket(socket.AF_UNIX) as opened:
        monkeypatch.chdir(files.root)  # a path of a socket is short
        opened.bind("etc/ipsec.conf")
    files.link("/etc/strongswan.conf", "strongswan.conf")
    files.put("/etc/racoon/racoon.conf", b'\xff\0\xfe include "racoon.conf";')
    files.put("/etc/swanctl/swanctl.conf", "include swanctl.conf\n" + SWANCTL)
    files.link("/etc/swanctl/private/none.key", "gone")
    files.put("/etc/swanctl/private/half.key", KEY[:40])
    result: list[Discovered] = []
    thread = threading.Thread(target=lambda: result.append(found(files)), daemon=True)
    thread.start()
    thread.join(20)
    assert result, "it waits for something"
    assert "/etc/swanctl/swanctl.conf" in roles(result[0])
    assert "/etc/swanctl/private/half.key" in roles(result[0])
    told = {problem.place.path for problem in result[0].problems}
    assert {"/etc/ipsec.secrets", "/etc/ipsec.conf", "/etc/strongswan.conf"} <= told


@needs_root
def test_what_may_not_be_read_matters_no_less() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)  # noqa: S103 - another user looks at it
        files = Files(Path(folder))
        files.put("/etc/ipsec.secrets", PSK)
        files.put("/etc/swanctl/private/gw.key", KEY)
        pid = os.fork()
        if pid == 0:
            os.setuid(1000)
            ok = roles(found(files)) == {
                "/etc/ipsec.secrets": "secrets",
                "/etc/swanctl/private": "folder of keys",
                "/etc/swanctl/private/gw.key": "private key",
            }
            os._exit(0 if ok else 1)
        _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def test_a_router_without_ipsec_whose_configuration_is_broken_is_told(files: Files) -> None:
    files.put("/config/config.boot", "a {\n" * 2000)
    [problem] = found(files).problems
    assert str(problem.place) == "/config/config.boot:51"
    files.put("/config/config.boot", "system {\n    host-name gw\n}\n")
    assert found(files).problems == ()
