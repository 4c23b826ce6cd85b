"""RHEL with Libreswan: its configuration, and an NSS database that NSS itself made."""

import datetime as dt
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tests.ike.audit.corpus import making
from tests.ike.audit.corpus.image import Image

NSS: Final = "/var/lib/ipsec/nss"
_PASSWD: Final = """\
root:x:0:0:root:/root:/bin/bash
alice:x:1000:1000:Alice:/home/alice:/bin/bash
"""
_GROUP: Final = "root:x:0:\nwheel:x:10:alice\nalice:x:1000:\n"
_IPSEC_CONF: Final = """\
# /etc/ipsec.conf - Libreswan configuration file
config setup
    logfile=/var/log/pluto.log
    crl-strict=yes
    virtual-private=%v4:10.0.0.0/8,%v4:192.168.0.0/16

include /etc/crypto-policies/back-ends/libreswan.config
include /etc/ipsec.d/*.conf
"""
_POLICY: Final = (
    "conn %default\n"
    "\tikev2=insist\n"
    "\tpfs=yes\n"
    "\tike=aes_gcm256-sha2_512+sha2_256;dh20+dh19\n"
    "\tesp=aes_gcm256\n"
)
_BY_CERTIFICATE: Final = """\
conn site-b
    authby=ecdsa
    left=192.0.2.1
    leftid=@gw1.example.com
    leftcert=gw1
    leftsubnet=10.1.0.0/16
    right=192.0.2.2
    rightid=@gw2.example.com
    rightsubnet=10.2.0.0/16
    ikelifetime=8h
    salifetime=1h
    auto=start
"""
_BY_PSK: Final = """\
conn site-c
    authby=secret
    left=192.0.2.1
    leftid=@gw1.example.com
    leftsubnet=10.1.0.0/16
    right=192.0.2.3
    rightid=@gw3.example.com
    rightsubnet=10.3.0.0/16
    salifetime=1h
    auto=start
"""
_UNIT: Final = (
    "[Unit]\nDescription=Internet Key Exchange (IKE) Protocol Daemon for IPsec\n\n"
    "[Service]\nType=notify\nExecStart=/usr/libexec/ipsec/pluto --leak-detective --nofork\n"
)


def rhel(image: Image, now: dt.datetime) -> None:
    """RHEL 9 with Libreswan, its database without a password, as `ipsec initnss` makes it."""
    image.put("/etc/passwd", _PASSWD, 0o644)
    image.put("/etc/group", _GROUP, 0o644)
    image.folder("/root", 0o700)
    image.folder("/home/alice", 0o700)
    image.put("/etc/ipsec.conf", _IPSEC_CONF, 0o644)
    image.put("/etc/ipsec.secrets", "include /etc/ipsec.d/*.secrets\n")
    image.put("/etc/crypto-policies/back-ends/libreswan.config", _POLICY, 0o644)
    image.folder("/etc/ipsec.d", 0o700)
    for name in ("block", "clear", "private", "private-or-clear"):
        image.put(f"/etc/ipsec.d/policies/{name}", "# addresses\n", 0o644)
    image.put("/etc/ipsec.d/site-b.conf", _BY_CERTIFICATE, 0o644)
    image.put("/etc/ipsec.d/site-c.conf", _BY_PSK, 0o644)
    secret = f'@gw1.example.com @gw3.example.com : PSK "{making.secret()}"\n'
    image.put("/etc/ipsec.d/site-c.secrets", secret)
    image.folder(NSS, 0o700)
    database(image, now)
    image.put("/usr/libexec/ipsec/pluto", "\x7fELF", 0o755)
    image.put("/usr/sbin/ipsec", "#!/bin/sh\n", 0o755)
    image.put("/usr/lib/systemd/systemd-coredump", "\x7fELF", 0o755)
    image.put("/usr/lib/systemd/system/ipsec.service", _UNIT, 0o644)
    dumps = "[Service]\nLimitCORE=0\n"
    image.put("/etc/systemd/system/ipsec.service.d/dumps.conf", dumps, 0o644)
    image.socket("/run/pluto/pluto.ctl", 0o700)


def database(image: Image, now: dt.datetime, password: str = "") -> None:
    """Make the database anew, with the gateway's key and the certificates of both ends and of the authorities."""
    folder = image.here(NSS)
    for each in folder.iterdir():
        each.unlink()
    with TemporaryDirectory() as name:
        given = Path(name)
        (given / "password").write_text(password + "\n")
        (given / "transport").write_text("transport\n")
        (given / "gw1.p12").write_bytes(making.p12(now, "transport"))
        (given / "root.pem").write_bytes(making.root(now))
        (given / "gw2.pem").write_bytes(making.peer(now))
        lock = ("-f", str(given / "password"))
        at = ("-d", f"sql:{folder}")
        _run("certutil", "-N", *at, *(lock if password else ("--empty-password",)))
        where = ("-i", str(given / "gw1.p12"), "-w", str(given / "transport"))
        _run("pk12util", *at, *where, "-k", str(given / "password"))
        for nickname, trust in (("root", "CT,,"), ("gw2", ",,")):
            _run(
                "certutil", "-A", *at, "-n", nickname, "-t", trust, "-i", f"{given}/{nickname}.pem"
            )
    for each in folder.iterdir():
        each.chmod(0o600)


def _run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True, timeout=60, stdin=subprocess.DEVNULL)
