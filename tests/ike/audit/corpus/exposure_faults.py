"""Faults in where secrets live on: copies, repositories, core dumps, and what lies about."""

from typing import Final

from tests.ike.audit.corpus import making
from tests.ike.audit.corpus.access_faults import KEY, SECRETS, SITE_C
from tests.ike.audit.corpus.image import Image
from tests.ike.audit.corpus.planting import (
    DEBIAN,
    OPNSENSE,
    RHEL,
    STARTER,
    VYOS,
    Fault,
    Plant,
    both,
    change,
    put,
)

UNIT = "/usr/lib/systemd/system/strongswan.service"
DUMPS = "/etc/systemd/system/ipsec.service.d/dumps.conf"
_PSK = "gw9.example.com : PSK "


def _copied(path: str, new: str, bits: int = 0o600) -> Plant:
    return lambda image: image.put(new, image.text(path), bits)


def _tracked(folder: str, name: str, *, remote: bool, listed: bool = True) -> Plant:
    """A work tree of git, whose index (version 2) has the file or is empty."""

    def plant(image: Image) -> None:
        entry = bytes(60) + len(name).to_bytes(2, "big") + name.encode() + b"\0" * 8
        count = int(listed).to_bytes(4, "big")
        image.folder(f"{folder}/.git", 0o755)
        image.put(f"{folder}/.git/index", b"DIRC\0\0\0\2" + count + entry * listed, 0o644)
        more = '[remote "origin"]\n\turl = https://git.example.com/gw1\n' if remote else ""
        image.put(f"{folder}/.git/config", "[core]\n\tbare = false\n" + more, 0o644)

    return plant


def _psk() -> str:
    return f'{_PSK}"{making.secret()}"\n'


FAULTS: Final[tuple[Fault, ...]] = (
    Fault(
        "an open copy",
        DEBIAN,
        _copied(SITE_C, SITE_C + ".bak", 0o644),
        "copy-of-secrets-open",
        SITE_C + ".bak",
    ),
    Fault(
        "an editor's copy",
        STARTER,
        _copied(SECRETS, SECRETS + "~", 0o644),
        "copy-of-secrets-open",
        SECRETS + "~",
    ),
    Fault(
        "an open copy of config.xml",
        OPNSENSE,
        _copied("/conf/config.xml", "/conf/config.xml.old", 0o644),
        "copy-of-secrets-open",
        "/conf/config.xml.old",
    ),
    Fault(
        "an open copy of config.boot",
        VYOS,
        _copied("/config/config.boot", "/config/config.boot.2026-01-31", 0o644),
        "copy-of-secrets-open",
        "/config/config.boot.2026-01-31",
    ),
    Fault(
        "a closed copy of a key",
        DEBIAN,
        _copied(KEY, KEY + ".old"),
        "copy-of-secrets",
        KEY + ".old",
    ),
    Fault(
        "what rpm saved",
        RHEL,
        _copied("/etc/ipsec.d/site-c.secrets", "/etc/ipsec.d/site-c.secrets.rpmsave"),
        "copy-of-secrets",
        "/etc/ipsec.d/site-c.secrets.rpmsave",
    ),
    Fault(
        "what dpkg left",
        STARTER,
        _copied(SECRETS, SECRETS + ".dpkg-old"),
        "copy-of-secrets",
        SECRETS + ".dpkg-old",
    ),
    Fault(
        "a repository with a remote",
        DEBIAN,
        _tracked("/etc/swanctl", "conf.d/site-c.conf", remote=True),
        "secret-in-repository",
        SITE_C,
        (
            ("secret-in-work-tree", "/etc/swanctl/conf.d/users.conf"),
            ("secret-in-work-tree", KEY),
        ),
    ),
    Fault(
        "etckeeper",
        STARTER,
        _tracked("/etc", "ipsec.secrets", remote=False),
        "secret-in-repository",
        SECRETS,
        (
            ("secret-in-work-tree", "/etc/ipsec.d/private/gw1.pem"),
            ("secret-in-work-tree", "/etc/strongswan.d/charon/eap-radius.conf"),
        ),
    ),
    Fault(
        "a work tree",
        VYOS,
        _tracked("/config", "x", remote=True, listed=False),
        "secret-in-work-tree",
        "/config/config.boot",
        (("secret-in-work-tree", "/config/auth/site-b.key"),),
    ),
    Fault(
        "core dumps wanted",
        DEBIAN,
        change(UNIT, "Type=notify", "Type=notify\nLimitCORE=infinity"),
        "core-dumps-wanted",
        UNIT,
    ),
    Fault(
        "core dumps wanted of all",
        RHEL,
        both(
            put(DUMPS, "[Service]\n", 0o644),
            put("/etc/systemd/system.conf", "[Manager]\nDefaultLimitCORE=infinity\n", 0o644),
        ),
        "core-dumps-wanted",
        "/etc/systemd/system.conf",
    ),
    Fault(
        "core dumps kept",
        RHEL,
        put(DUMPS, "[Service]\n", 0o644),
        "core-dumps-kept",
        "/usr/lib/systemd/system/ipsec.service",
    ),
    Fault(
        "cores of all",
        DEBIAN,
        put("/etc/security/limits.conf", "* soft core unlimited\n", 0o644),
        "core-limit-raised",
        "/etc/security/limits.conf",
    ),
    Fault(
        "a key in /tmp",
        DEBIAN,
        put("/tmp/gw1.key", lambda: making.key_pem(5), 0o644),
        "stray-key-open",
        "/tmp/gw1.key",
    ),
    Fault(
        "an open key in /srv",
        OPNSENSE,
        put("/srv/export/gw1.pem", lambda: making.key_pem(5), 0o644),
        "stray-key-open",
        "/srv/export/gw1.pem",
    ),
    Fault(
        "a key in /root",
        DEBIAN,
        put("/root/gw1.key", lambda: making.key_pem(5)),
        "stray-key",
        "/root/gw1.key",
    ),
    Fault(
        "PKCS#12 at alice's",
        RHEL,
        put("/home/alice/gw1.p12", lambda: making.p12(making.NOW, "x")),
        "stray-key",
        "/home/alice/gw1.p12",
    ),
    Fault(
        "old secrets in /root",
        STARTER,
        put("/root/ipsec.secrets.2024", _psk),
        "stray-secrets",
        "/root/ipsec.secrets.2024",
    ),
    Fault(
        "open secrets in /var/backups",
        DEBIAN,
        put("/var/backups/ipsec.secrets", _psk, 0o644),
        "stray-secrets",
        "/var/backups/ipsec.secrets",
    ),
    Fault(
        "an open archive",
        DEBIAN,
        put("/var/backups/etc-2026.tar.gz", b"\x1f\x8b\x08", 0o644),
        "archive-open",
        "/var/backups/etc-2026.tar.gz",
    ),
    Fault(
        "an open archive of VyOS",
        VYOS,
        put("/config/vpn.tgz", b"\x1f\x8b\x08", 0o644),
        "archive-open",
        "/config/vpn.tgz",
    ),
)
