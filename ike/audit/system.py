"""What of a host is the system's own: folders that more than keys depend on, its trust store, VyOS's group. Pure."""

import posixpath
from collections.abc import Iterable
from typing import Final

from ike.audit.values import Accounts, Item

# No mode and no owner of these is changed for the sake of a key: everything else on the host needs them as they are.
FOLDERS: Final = frozenset(
    """/ /bin /boot /cf /cf/conf /conf /config /dev /etc /home /lib /lib32 /lib64 /libx32 /media /mnt /opt /opt/vyatta
    /opt/vyatta/etc /opt/vyatta/etc/config /proc /root /run /run/lock /run/user /sbin /snap /srv /sys /tmp /usr
    /usr/bin /usr/games /usr/home /usr/include /usr/lib /usr/lib32 /usr/lib64 /usr/libexec /usr/local /usr/local/bin
    /usr/local/etc /usr/local/lib /usr/local/libexec /usr/local/sbin /usr/local/share /usr/sbin /usr/share /usr/src
    /var /var/backups /var/cache /var/etc /var/home /var/lib /var/local /var/lock /var/log /var/mail /var/opt /var/run
    /var/spool /var/tmp /var/www /etc/NetworkManager /etc/ca-certificates /etc/default /etc/init.d /etc/pki /etc/pki/tls
    /etc/pki/tls/certs /etc/pki/ca-trust /etc/ssh /etc/ssl /etc/ssl/certs /etc/systemd""".split()
)
_HOMES: Final = frozenset({"/home", "/usr/home", "/var/home"})
# Certificates of the world's authorities; in a copy of /etc or /usr they end so.
_STORES: Final = (
    "/ssl/certs",
    "/ssl/cert.pem",
    "/share/ca-certificates",
    "/share/pki/ca-trust-source",
    "/etc/ca-certificates",
    "/pki/ca-trust",
    "/pki/tls/certs",
    "/pki/tls/cert.pem",
    "/pki/java",
    "/pki/nssdb",
)
_VYOS_GROUP: Final = "vyattacfg"


def is_folder_of(path: str, accounts: Accounts) -> bool:
    """Whether a folder, by where it really is on the host, is the system's or a person's home, or homes are in it."""
    path = posixpath.normpath(path)
    if path in FOLDERS or posixpath.dirname(path) in _HOMES:
        return True
    return any(f"{home}/".startswith(f"{path}/") for home in accounts.homes)


def is_trust_store(path: str) -> bool:
    """Whether it is where a system keeps the certificates of the authorities that everybody trusts, or is in there."""
    return any(f"{store}/" in f"{path}/" for store in _STORES)


def is_vyos(item: Item, accounts: Accounts) -> bool:
    """Whether it is VyOS's configuration as VyOS keeps it: its group are its administrators, who write it by `save`."""
    return (
        posixpath.basename(item.real) == "config.boot"
        and accounts.group(item.status.gid) == _VYOS_GROUP
    )


def vyos_folders(items: Iterable[Item]) -> frozenset[str]:
    """The folders of VyOS's configuration; they and all below are that group's too."""
    return frozenset(
        posixpath.dirname(item.real)
        for item in items
        if posixpath.basename(item.real) == "config.boot"
    )


def is_vyos_folder(path: str, number: int, folders: Iterable[str], accounts: Accounts) -> bool:
    """Whether a folder of this group's is one of those `folders`, or below."""
    inside = any(f"{path}/".startswith(f"{folder}/") for folder in folders)
    return inside and accounts.group(number) == _VYOS_GROUP
