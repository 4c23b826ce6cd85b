"""Where daemons, and systems that write their configuration, keep what the audit looks for."""

from typing import Final

from ike.audit.values import Role

STRONGSWAN: Final = (
    "/etc/strongswan.conf",
    "/etc/strongswan/strongswan.conf",  # Fedora, RHEL
    "/usr/local/etc/strongswan.conf",  # OPNsense, FreeBSD
    "/var/etc/ipsec/strongswan.conf",  # pfSense
)
RACOON: Final = (
    "/etc/racoon/racoon.conf",
    "/usr/local/etc/racoon/racoon.conf",
    "/var/etc/racoon.conf",
    "/var/etc/ipsec/racoon.conf",
)
RACOON_PSKS: Final = ("/etc/racoon/psk.txt", "/usr/local/etc/racoon/psk.txt", "/var/etc/psk.txt")
NETWORKMANAGER: Final = (
    "/etc/NetworkManager/system-connections/*",
    "/run/NetworkManager/system-connections/*",
)
VYOS: Final = ("/config/config.boot", "/opt/vyatta/etc/config/config.boot")
VYOS_KEYS: Final = ("/config/auth", "/opt/vyatta/etc/config/auth")
VYOS_COPIES: Final = ("/config/archive/config.boot*", "/opt/vyatta/etc/config/archive/config.boot*")
OPNSENSE: Final = ("/conf/config.xml", "/cf/conf/config.xml")
OPNSENSE_COPIES: Final = ("/conf/backup/config-*.xml", "/cf/conf/backup/config-*.xml")

# Folders of swanctl.conf, and what its own folders hold: strongSwan src/swanctl/Makefile.am.
SWANCTL: Final = (
    "/etc/swanctl",
    "/etc/strongswan/swanctl",
    "/usr/local/etc/swanctl",
    "/var/etc/ipsec",
)
SWANCTL_FOLDERS: Final = {
    "private": Role.KEY,
    "rsa": Role.KEY,
    "ecdsa": Role.KEY,
    "bliss": Role.KEY,
    "pkcs8": Role.KEY,
    "pkcs12": Role.KEY,
    "x509ca": Role.TRUST,
    "x509aa": Role.TRUST,
    "x509ocsp": Role.TRUST,
    "x509": Role.CERTIFICATE,
    "pubkey": Role.CERTIFICATE,
    "x509crl": Role.REVOCATION,
}
# Folders beside ipsec.conf: strongSwan src/starter/Makefile.am.
IPSEC: Final = (
    "/etc/ipsec.d",
    "/etc/strongswan/ipsec.d",
    "/usr/local/etc/ipsec.d",
    "/var/etc/ipsec/ipsec.d",
)
IPSEC_FOLDERS: Final = {
    "private": Role.KEY,
    "cacerts": Role.TRUST,
    "aacerts": Role.TRUST,
    "ocspcerts": Role.TRUST,
    "acerts": Role.CERTIFICATE,
    "certs": Role.CERTIFICATE,
    "crls": Role.REVOCATION,
}
PASSWORDS: Final = "passwd"  # of Libreswan's `xauthby=file`: names and hashes
# Libreswan's NSS database: since 4.0, and before.
NSS: Final = ("/var/lib/ipsec/nss", "/etc/ipsec.d")
NSS_FILES: Final = {
    "key4.db": Role.DATABASE,
    "cert9.db": Role.DATABASE,
    "pkcs11.txt": Role.DATABASE,
    "key3.db": Role.DATABASE,
    "cert8.db": Role.DATABASE,
    "secmod.db": Role.DATABASE,
    "nsspassword": Role.PASSWORD,
}
SOCKETS: Final = (
    "/run/charon*.vici",
    "/run/charon.*",
    "/run/strongswan/charon.*",
    "/run/pluto/pluto.ctl",
    "/run/ipsec/charon.*",
    "/var/run/charon.*",
    "/var/run/pluto/pluto.ctl",
    "/var/run/racoon/racoon.sock",
)
PROGRAMS: Final = (
    "/usr/lib/ipsec/*",
    "/usr/libexec/ipsec/*",
    "/usr/lib/strongswan/*",
    "/usr/libexec/strongswan/*",
    "/usr/local/libexec/ipsec/*",
    "/usr/sbin/charon-*",
    "/usr/sbin/swanctl",
    "/usr/sbin/ipsec",
    "/usr/sbin/strongswan",
    "/usr/sbin/racoon",
    "/usr/local/sbin/swanctl",
    "/usr/local/sbin/ipsec",
    "/usr/bin/ikewarden",
    "/usr/local/bin/ikewarden",
)
# The agent's state, and an instance of the server.
OWN: Final = ("/var/lib/ikewarden-agent", "/var/lib/ikewarden")

UNIT_FOLDERS: Final = (
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)
UNIT_NAMES: Final = (
    "strongswan",
    "strongswan-starter",
    "strongswan-swanctl",
    "charon-systemd",
    "ipsec",
    "pluto",
    "racoon",
)

# Where keys lie about on a host that is in use, and how deep; a copy is looked through as a whole.
SWEPT: Final = {
    "/etc": 6,
    "/root": 6,
    "/home": 7,
    "/usr/local/etc": 6,
    "/var/lib/ipsec": 6,
    "/var/backups": 3,
    "/config": 6,
    "/conf": 6,
    "/tmp": 1,  # noqa: S108 - looked at, never written
    "/var/tmp": 1,  # noqa: S108
}
# Packages bring samples of keys and configuration here; they are nobody's.
VENDORS: Final = (
    "/usr/bin",
    "/usr/include",
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/usr/libexec",
    "/usr/sbin",
    "/usr/share",
    "/usr/src",
    "/usr/local/lib",
    "/usr/local/share",
    "/lib",
    "/lib64",
    "/var/lib/dpkg",
    "/etc/ssl/certs",
    "/etc/pki/ca-trust",
)
UNSWEPT: Final = ("/proc", "/sys", "/dev")
# Folders of such names hold other people's work, wherever they are; on a host in use they are not entered.
FOREIGN: Final = frozenset(
    {"node_modules", "site-packages", "dist-packages", "testdata", ".cargo", ".rustup"}
)
LARGE: Final = frozenset(
    {*FOREIGN, ".cache", ".git", ".hg", ".svn", "__pycache__", ".npm", ".venv", "venv"}
)
