"""Files that are named and not there, and passphrases whose key is not there or needs none."""

import pytest

from ike.audit import rules
from ike.audit.values import Policy
from tests.ike.audit.conftest import NOW, Files
from tests.ike.audit.corpus import making

CONF = "connections {\n x {\n  local {\n   certs = gw.pem, /srv/gone.pem\n  }\n }\n}\n"
LOCKED = "secrets {\n private-gw {\n  file = gw.key\n  secret = swordfish\n }\n}\n"


def problems(files: Files) -> list[tuple[str, str]]:
    return [(problem.place.path, problem.message) for problem in files.seen().problems]


def told(files: Files) -> set[str]:
    return {each.rule.id for each in rules.judged(files.seen(), Policy(), NOW)}


def test_certificates_that_are_named_and_missing_are_told(files: Files) -> None:
    files.put("/etc/swanctl/swanctl.conf", CONF)
    by = "/etc/swanctl/swanctl.conf:4 names it: no such file"
    assert problems(files) == [("/etc/swanctl/x509/gw.pem", by), ("/srv/gone.pem", by)]
    files.put("/etc/swanctl/x509/gw.pem", making.key_pem())
    files.put("/srv/gone.pem", making.key_pem())
    assert problems(files) == []


def test_raw_public_keys_that_are_named_and_missing_are_told(files: Files) -> None:
    files.put("/etc/swanctl/swanctl.conf", CONF.replace("certs", "pubkeys"))
    by = "/etc/swanctl/swanctl.conf:4 names it: no such file"
    assert problems(files) == [("/etc/swanctl/pubkey/gw.pem", by), ("/srv/gone.pem", by)]
    public = "-----BEGIN PUBLIC KEY-----\nMA==\n-----END PUBLIC KEY-----\n"
    files.put("/etc/swanctl/pubkey/gw.pem", public)
    files.put("/srv/gone.pem", public, 0o666)
    assert problems(files) == []
    # Whoever writes it decides who is let in.
    assert [(rule, path) for _, rule, path in files.told()] == [
        ("certificate-writable", "/srv/gone.pem")
    ]


def test_parts_name_files_in_the_folders_of_the_whole(files: Files) -> None:
    files.put("/etc/swanctl/swanctl.conf", "include conf.d/*.conf\n")
    files.put("/etc/swanctl/conf.d/a.conf", CONF.replace(", /srv/gone.pem", ""))
    assert [path for path, _ in problems(files)] == ["/etc/swanctl/x509/gw.pem"]


@pytest.mark.parametrize("name", ["%smartcard:1", "nick name", "pkcs11:object=x"])
def test_what_is_no_file_is_not_missed(files: Files, name: str) -> None:
    files.put("/etc/ipsec.conf", f"conn x\n  leftcert={name}\n  leftauth=pubkey\n")
    assert problems(files) == []


def test_ipsec_conf(files: Files) -> None:
    files.put("/etc/ipsec.conf", "conn x\n  leftcert=gw.pem\n  leftauth=pubkey\n")
    assert [path for path, _ in problems(files)] == ["/etc/ipsec.d/certs/gw.pem"]
    # Libreswan has names in its database there.
    files.put("/etc/ipsec.conf", "conn x\n  leftcert=gw\n  ikev2=insist\n")
    assert problems(files) == []


def test_a_passphrase_matters_where_its_key_is_there_and_locked(files: Files) -> None:
    about = {"passphrase-beside-key", "passphrase-weak"}
    files.put("/etc/swanctl/swanctl.conf", LOCKED)
    assert not about & told(files)
    assert [path for path, _ in problems(files)] == ["/etc/swanctl/private/gw.key"] or problems(
        files
    )
    files.put("/etc/swanctl/private/gw.key", making.key_pem(1))
    assert not about & told(files)
    assert problems(files) == []
    files.put("/etc/swanctl/private/gw.key", making.key_pem(1, passphrase="swordfish"))
    assert about <= told(files)
