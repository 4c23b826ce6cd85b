"""The images of the comparison: a Debian host with strongSwan and a RHEL host with Libreswan, each without a fault, and
with each fault in files of its own.
"""

import base64
import datetime as dt
import secrets
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.ike.audit.conftest import Files
from tests.x509 import workshop

NSS: Final = "/var/lib/ipsec/nss"
_ACCOUNTS: Final = (
    "root:x:0:0:root:/root:/bin/bash\nanna:x:1000:1000:Anna:/home/anna:/bin/bash\n",
    "root:x:0:\nvpn:x:990:anna\nanna:x:1000:\n",
)
_CONNECTION: Final = """\
connections {{
  {name} {{
    version = 2
    local_addrs = 192.0.2.1
    remote_addrs = 192.0.2.{number}
    proposals = {ike}
    local {{
      auth = psk
      id = gw1.example.com
    }}
    remote {{
      auth = psk
      id = {name}.example.com
    }}
    children {{
      net {{
        remote_ts = 10.{number}.0.0/16
        esp_proposals = {esp}
      }}
    }}
  }}
}}
secrets {{
  ike-{name} {{
    id = {name}.example.com
    secret = "{secret}"
  }}
}}
"""
_BY_CERTIFICATE: Final = """\
connections {
  centre {
    version = 2
    local_addrs = 192.0.2.1
    remote_addrs = 192.0.2.2
    proposals = aes256gcm16-prfsha384-ecp384
    local {
      auth = pubkey
      certs = gw1.pem
      id = gw1.example.com
    }
    remote {
      auth = pubkey
      id = gw2.example.com
      revocation = strict
    }
    children {
      net {
        remote_ts = 10.2.0.0/16
        esp_proposals = aes256gcm16-ecp384
      }
    }
  }
}
"""
_POLICY: Final = (
    "conn %default\n\tikev2=insist\n\tpfs=yes\n\tike=aes_gcm256-sha2_512+sha2_256-dh20+dh19\n"
    "\tesp=aes_gcm256\n"
)
_INCLUDE_POLICY: Final = "include /etc/crypto-policies/back-ends/libreswan.config\n"
_SITE: Final = """\
conn {name}
    authby=secret
    left=192.0.2.1
    leftid=@gw1.example.com
    leftsubnet=10.1.0.0/16
    right=192.0.2.{number}
    rightid=@{name}.example.com
    rightsubnet=10.{number}.0.0/16
    {more}
    auto=start
"""


@dataclass(frozen=True)
class Fault:
    """What is wrong, the paths at which somebody who finds it would say so, and how it is made."""

    text: str
    paths: tuple[str, ...]
    plant: Callable[[Files], object]


@dataclass(frozen=True)
class Case:
    """A kind of host. `clean` writes one without a fault."""

    name: str
    libreswan: bool
    clean: Callable[[Files, dt.datetime], object]
    faults: Callable[[dt.datetime], tuple[Fault, ...]]


def secret() -> str:
    """A pre-shared key as it should be."""
    return base64.b64encode(secrets.token_bytes(33)).decode()


def _connection(name: str, number: int, **changed: str) -> str:
    usual = {"ike": "aes256gcm16-prfsha384-ecp384", "esp": "aes256gcm16-ecp384"}
    return _CONNECTION.format(**{**usual, "secret": secret(), **changed}, name=name, number=number)


def _base(files: Files, system: str) -> None:
    files.put("/etc/os-release", system, 0o644)
    files.put("/etc/passwd", _ACCOUNTS[0], 0o644)
    files.put("/etc/group", _ACCOUNTS[1], 0o644)
    files.folder("/root", 0o700)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)


def _key(number: int) -> bytes:
    key = workshop.ec_key(number=number)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _certificate(now: dt.datetime, until: dt.datetime, number: int) -> bytes:
    public = workshop.ec_key(number=number).public_key()
    before = min(now, until) - dt.timedelta(days=60)
    return _pem(workshop.end_entity(public_key=public, not_before=before, not_after=until))


# ---------------------------------------------------------------- Debian, strongSwan


def _debian(files: Files, now: dt.datetime) -> None:
    _base(
        files,
        'PRETTY_NAME="Debian GNU/Linux 12"\nNAME="Debian GNU/Linux"\nID=debian\nVERSION_ID="12"\n',
    )
    files.put("/etc/ipsec.conf", "config setup\n    strictcrlpolicy=yes\n", 0o644)
    files.put("/etc/ipsec.secrets", f'gw9.example.com : PSK "{secret()}"\n')
    files.folder("/etc/swanctl/private", 0o750)
    files.put("/etc/swanctl/private/gw1.pem", _key(0))
    year = now + dt.timedelta(days=300)
    files.put("/etc/swanctl/x509/gw1.pem", _certificate(now, year, 0), 0o644)
    root = workshop.authority(root=True, not_before=now - dt.timedelta(days=90), not_after=year)
    files.put("/etc/swanctl/x509ca/ca.pem", _pem(root), 0o644)
    files.put(
        "/etc/swanctl/swanctl.conf",
        _BY_CERTIFICATE + _connection("gw3", 3) + "include conf.d/*.conf\n",
    )
    files.put("/etc/swanctl/conf.d/gw4.conf", _connection("gw4", 4))


def _copy(files: Files) -> None:
    text = (files.root / "etc/ipsec.secrets").read_bytes()
    files.put("/etc/ipsec.secrets~", text, 0o644)


def _reuse(files: Files) -> None:
    shared = secret()
    for number in (6, 7):
        files.put(
            f"/etc/swanctl/conf.d/gw{number}.conf",
            _connection(f"gw{number}", number, secret=shared),
        )


def _weak(files: Files) -> None:
    files.put("/etc/swanctl/conf.d/gw5.conf", _connection("gw5", 5, secret="Summer2026"))


def _old_proposal(files: Files) -> None:
    changed = {"ike": "3des-sha1-modp1024", "esp": "3des-sha1"}
    files.put("/etc/swanctl/conf.d/gw8.conf", _connection("gw8", 8, **changed))


def _debian_faults(now: dt.datetime) -> tuple[Fault, ...]:
    private, expired = "/etc/swanctl/private", "/etc/swanctl/x509/old.pem"

    def open_key(files: Files) -> None:
        files.folder(private, 0o755)
        (files.root / f"{private}/gw1.pem".lstrip("/")).chmod(0o644)

    def expire(files: Files) -> None:
        files.put(expired, _certificate(now, now - dt.timedelta(days=9), 3), 0o644)
        files.put(f"{private}/old.pem", _key(3))

    return (
        _mode("`ipsec.secrets` is readable by everyone", "/etc/ipsec.secrets", 0o644),
        Fault("a copy of it that an editor left, too", ("/etc/ipsec.secrets~",), _copy),
        _mode("`ipsec.conf` is writable by everyone", "/etc/ipsec.conf", 0o666),
        _mode(
            "`swanctl.conf` has secrets and Debian's mode",
            "/etc/swanctl/swanctl.conf",
            0o644,
        ),
        Fault(
            "a private key is readable by everyone, and so is its folder",
            (private, f"{private}/gw1.pem"),
            open_key,
        ),
        Fault("a pre-shared key that can be guessed", ("/etc/swanctl/conf.d/gw5.conf",), _weak),
        Fault(
            "one pre-shared key for two peers",
            ("/etc/swanctl/conf.d/gw6.conf", "/etc/swanctl/conf.d/gw7.conf"),
            _reuse,
        ),
        Fault(
            "proposals of 3DES, SHA-1 and 1024 bits",
            ("/etc/swanctl/conf.d/gw8.conf",),
            _old_proposal,
        ),
        Fault("an own certificate has expired", (expired,), expire),
    )


# ---------------------------------------------------------------- RHEL, Libreswan


def _rhel(files: Files, _now: dt.datetime) -> None:
    _base(
        files,
        'PRETTY_NAME="Red Hat Enterprise Linux 9"\nNAME="RHEL"\nID="rhel"\nVERSION_ID="9.4"\n',
    )
    files.put("/etc/crypto-policies/back-ends/libreswan.config", _POLICY, 0o644)
    files.put("/etc/ipsec.conf", _ipsec_conf(_INCLUDE_POLICY), 0o644)
    files.put("/etc/ipsec.secrets", "include /etc/ipsec.d/*.secrets\n")
    files.folder("/etc/ipsec.d", 0o700)
    _site(files, "gw2", 2)
    files.folder(NSS, 0o700)
    password = secret()
    for name, octets in _database(password).items():
        files.put(f"{NSS}/{name}", octets)
    files.put(f"{NSS}/nsspassword", f"NSS Certificate DB:{password}\n")


def _ipsec_conf(policy: str) -> str:
    return f"config setup\n    crl-strict=yes\n\n{policy}include /etc/ipsec.d/*.conf\n"


def _site(files: Files, name: str, number: int, value: str = "", more: str = "") -> None:
    text = _SITE.format(name=name, number=number, more=more or "ikelifetime=8h")
    files.put(f"/etc/ipsec.d/{name}.conf", text)
    line = f'@gw1.example.com @{name}.example.com : PSK "{value or secret()}"\n'
    files.put(f"/etc/ipsec.d/{name}.secrets", line)


def _database(password: str) -> dict[str, bytes]:
    """A database as NSS makes it."""
    with TemporaryDirectory() as made:
        folder = Path(made)
        (folder / "password").write_text(password + "\n")
        subprocess.run(
            ["certutil", "-N", "-d", f"sql:{folder}", "-f", folder / "password"],
            check=True,
            capture_output=True,
            timeout=60,
            stdin=subprocess.DEVNULL,
        )
        names = ("cert9.db", "key4.db", "pkcs11.txt")
        return {name: (folder / name).read_bytes() for name in names}


def _rhel_faults(_now: dt.datetime) -> tuple[Fault, ...]:
    return (
        Fault(
            "`ipsec.secrets` is for a group",
            ("/etc/ipsec.secrets",),
            lambda files: files.put("/etc/ipsec.secrets", _line(), 0o640, (0, 990)),
        ),
        _mode("the folder `ipsec.d` is open", "/etc/ipsec.d", 0o755),
        Fault(
            "`ipsec.conf` belongs to a person, and leaves the system's crypto policy out",
            ("/etc/ipsec.conf",),
            lambda files: files.put("/etc/ipsec.conf", _ipsec_conf(""), 0o644, (1000, 0)),
        ),
        _mode("an included file of secrets is readable", "/etc/ipsec.d/gw2.secrets", 0o644),
        _mode("the folder of the NSS database is open", NSS, 0o755),
        _mode("the database of private keys is readable", f"{NSS}/key4.db", 0o644),
        _mode("the database's password is readable", f"{NSS}/nsspassword", 0o644),
        Fault(
            "a pre-shared key that can be guessed",
            ("/etc/ipsec.d/gw3.secrets",),
            lambda files: _site(files, "gw3", 3, "Summer2026"),
        ),
        Fault(
            "IKEv1 in Aggressive Mode with 3DES and 1024 bits",
            ("/etc/ipsec.d/gw4.conf",),
            lambda files: _site(
                files,
                "gw4",
                4,
                more="ikev2=no\n    aggressive=yes\n    ike=3des-sha1-modp1024",
            ),
        ),
    )


def _line() -> str:
    own = f'@gw1.example.com @gw9.example.com : PSK "{secret()}"\n'
    return "include /etc/ipsec.d/*.secrets\n" + own


def _mode(text: str, path: str, mode: int) -> Fault:
    def change(files: Files) -> None:
        (files.root / path.lstrip("/")).chmod(mode)

    return Fault(text, (path,), change)


CASES: Final = (
    Case("Debian, strongSwan", False, _debian, _debian_faults),
    Case("RHEL, Libreswan", True, _rhel, _rhel_faults),
)
