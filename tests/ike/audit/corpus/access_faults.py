"""Faults in who gets at files: modes, owners, lists, links, and the folders on the way."""

import os
from typing import Final

from ike.audit.values import Policy
from tests.ike.audit.corpus import making
from tests.ike.audit.corpus.image import Image
from tests.ike.audit.corpus.planting import (
    DEBIAN,
    OPNSENSE,
    RHEL,
    STARTER,
    VYOS,
    Fault,
    Need,
    Plant,
    both,
    mode,
    own,
    put,
)

ALICE, STAFF, DAEMON = 1000, 50, 105
SITE_B, SITE_C = "/etc/swanctl/conf.d/site-b.conf", "/etc/swanctl/conf.d/site-c.conf"
KEY, KEYS = "/etc/swanctl/private/gw1.pem", "/etc/swanctl/private"
CA = "/etc/swanctl/x509ca/issuing.pem"
AGENT = "/var/lib/ikewarden-agent"
NSS = "/var/lib/ipsec/nss"
BSD = "/usr/local/etc/swanctl"
RADIUS = "/etc/strongswan.d/charon/eap-radius.conf"
CRL = "/etc/swanctl/x509crl/issuing.crl"
PASSWORD = f"{NSS}/nsspassword"
UPDOWN = "/usr/lib/ipsec/_updown"
SECRETS = "/etc/ipsec.secrets"
VICI = "/run/charon.vici"
OWNERS, LISTS = Need.OWNERS, Need.LISTS


def _password(bits: int) -> Plant:
    return put(PASSWORD, lambda: f"NSS Certificate DB:{making.secret()}\n", bits)


def _listed(path: str, bits: int) -> Plant:
    return lambda image: image.grant(path, ALICE, bits)


def _second_name(path: str) -> Plant:
    def plant(image: Image) -> None:
        image.folder("/srv/old")
        os.link(image.here(path), image.here("/srv/old/kept"))

    return plant


def _moved(path: str, new: str) -> Plant:
    return lambda image: image.move(path, new)


def _link_of_alice(image: Image) -> None:
    image.move(KEY, "/etc/swanctl/keys/gw1")
    image.folder("/etc/swanctl/keys", 0o700)
    image.own(KEY, ALICE, ALICE)


def _named_in_home(image: Image) -> None:
    image.put("/home/alice/updown.sh", "#!/bin/sh\n", 0o755)
    image.change(SITE_B, "local_ts", "updown = /home/alice/updown.sh\n        local_ts")


def _capable(path: str, bit: int) -> Plant:
    return lambda image: image.capability(path, bit)


FAULTS: Final[tuple[Fault, ...]] = (
    # secrets and keys that everyone may read
    Fault("PSK 0644", DEBIAN, mode(SITE_C, 0o644), "secrets-file-open-to-others", SITE_C),
    Fault("PSK 0606", DEBIAN, mode(SITE_C, 0o606), "secrets-file-open-to-others", SITE_C),
    Fault("RADIUS secret 0644", DEBIAN, mode(RADIUS, 0o644), "secrets-file-open-to-others", RADIUS),
    Fault(
        "ipsec.secrets 0644", STARTER, mode(SECRETS, 0o644), "secrets-file-open-to-others", SECRETS
    ),
    Fault(
        "an included secrets file 0604",
        STARTER,
        mode("/var/lib/strongswan/ipsec.secrets.inc", 0o604),
        "secrets-file-open-to-others",
        "/var/lib/strongswan/ipsec.secrets.inc",
    ),
    Fault(
        "PSK of Libreswan 0644, in a closed folder",
        RHEL,
        mode("/etc/ipsec.d/site-c.secrets", 0o604),
        "secrets-file-open-to-others",
        "/etc/ipsec.d/site-c.secrets",
    ),
    Fault(
        "config.boot 0604",
        VYOS,
        mode("/config/config.boot", 0o604),
        "secrets-file-open-to-others",
        "/config/config.boot",
    ),
    Fault(
        "config.boot 0664",
        VYOS,
        mode("/config/config.boot", 0o664),
        "secrets-file-open-to-others",
        "/config/config.boot",
    ),
    Fault(
        "generated swanctl.conf 0644",
        VYOS,
        mode("/etc/swanctl/swanctl.conf", 0o644),
        "secrets-file-open-to-others",
        "/etc/swanctl/swanctl.conf",
    ),
    Fault(
        "config.xml 0644",
        OPNSENSE,
        mode("/conf/config.xml", 0o644),
        "secrets-file-open-to-others",
        "/conf/config.xml",
    ),
    Fault(
        "an older config.xml 0604",
        OPNSENSE,
        mode("/conf/backup/config-1772000000.1234.xml", 0o604),
        "secrets-file-open-to-others",
        "/conf/backup/config-1772000000.1234.xml",
    ),
    Fault(
        "generated PSK 0644",
        OPNSENSE,
        mode(f"{BSD}/conf.d/site-c.conf", 0o644),
        "secrets-file-open-to-others",
        f"{BSD}/conf.d/site-c.conf",
    ),
    Fault("key 0604, in a closed folder", DEBIAN, mode(KEY, 0o604), "key-file-open-to-others", KEY),
    Fault(
        "key 0644 in an open folder",
        DEBIAN,
        both(mode(KEY, 0o644), mode(KEYS, 0o755)),
        "key-file-open-to-others",
        KEY,
        (("key-folder-open", KEYS),),
    ),
    Fault(
        "key of VyOS 0604",
        VYOS,
        both(mode("/config/auth/site-b.key", 0o604), mode("/config/auth", 0o711)),
        "key-file-open-to-others",
        "/config/auth/site-b.key",
        (("key-folder-open", "/config/auth"),),
    ),
    Fault(
        "key of OPNsense 0604",
        OPNSENSE,
        mode(f"{BSD}/private/gw1.pem", 0o604),
        "key-file-open-to-others",
        f"{BSD}/private/gw1.pem",
    ),
    Fault(
        "nsspassword 0604",
        RHEL,
        _password(0o604),
        "password-file-open-to-others",
        PASSWORD,
        (("nss-password-in-clear", PASSWORD),),
    ),
    Fault(
        "key4.db 0644",
        RHEL,
        both(mode(NSS, 0o755), mode(f"{NSS}/key4.db", 0o644)),
        "key-database-open-to-others",
        f"{NSS}/key4.db",
        (("key-folder-open", NSS),),
    ),
    Fault(
        "the agent's key 0604",
        DEBIAN,
        mode(f"{AGENT}/identity.key", 0o604),
        "ikewarden-file-open-to-others",
        f"{AGENT}/identity.key",
    ),
    # the same for groups
    Fault(
        "PSK 0640 for staff",
        DEBIAN,
        own(SITE_C, 0, STAFF, 0o640),
        "secrets-file-open-to-group",
        SITE_C,
        need=OWNERS,
    ),
    Fault(
        "ipsec.secrets 0640 for root",
        STARTER,
        mode(SECRETS, 0o640),
        "secrets-file-open-to-group",
        SECRETS,
    ),
    Fault(
        "config.boot 0660 for staff",
        VYOS,
        own("/config/config.boot", 0, STAFF, 0o660),
        "secrets-file-open-to-group",
        "/config/config.boot",
        need=OWNERS,
    ),
    Fault(
        "config.xml 0640 for operator",
        OPNSENSE,
        own("/conf/config.xml", 0, 5, 0o640),
        "secrets-file-open-to-group",
        "/conf/config.xml",
        need=OWNERS,
    ),
    Fault(
        "key 0640 for staff",
        DEBIAN,
        both(own(KEY, 0, STAFF, 0o640), own(KEYS, 0, STAFF, 0o750)),
        "key-file-open-to-group",
        KEY,
        need=OWNERS,
    ),
    Fault(
        "key that a trusted group may write",
        DEBIAN,
        both(own(KEY, 0, STAFF, 0o660), own(KEYS, 0, STAFF, 0o750)),
        "key-file-open-to-group",
        KEY,
        policy=Policy(groups=frozenset({"staff"})),
        need=OWNERS,
    ),
    Fault(
        "nsspassword 0640 for wheel",
        RHEL,
        both(_password(0o640), own(PASSWORD, 0, 10), own(NSS, 0, 10, 0o710)),
        "password-file-open-to-group",
        PASSWORD,
        (("nss-password-in-clear", PASSWORD),),
        need=OWNERS,
    ),
    Fault(
        "key4.db 0640 for wheel",
        RHEL,
        both(own(f"{NSS}/key4.db", 0, 10, 0o640), own(NSS, 0, 10, 0o750)),
        "key-database-open-to-group",
        f"{NSS}/key4.db",
        need=OWNERS,
    ),
    Fault(
        "the agent's state 0640",
        DEBIAN,
        mode(f"{AGENT}/state.json", 0o640),
        "ikewarden-file-open-to-group",
        f"{AGENT}/state.json",
    ),
    # what others may write
    Fault(
        "swanctl.conf 0666",
        DEBIAN,
        mode("/etc/swanctl/swanctl.conf", 0o666),
        "configuration-writable",
        "/etc/swanctl/swanctl.conf",
    ),
    Fault(
        "ipsec.conf 0664 for staff",
        STARTER,
        own("/etc/ipsec.conf", 0, STAFF, 0o664),
        "configuration-writable",
        "/etc/ipsec.conf",
        need=OWNERS,
    ),
    Fault(
        "connections of Libreswan 0646",
        RHEL,
        mode("/etc/ipsec.d/site-b.conf", 0o646),
        "configuration-writable",
        "/etc/ipsec.d/site-b.conf",
    ),
    Fault(
        "strongswan.conf of OPNsense 0646",
        OPNSENSE,
        mode("/usr/local/etc/strongswan.conf", 0o646),
        "configuration-writable",
        "/usr/local/etc/strongswan.conf",
    ),
    Fault("CA 0646", DEBIAN, mode(CA, 0o646), "trusted-certificate-writable", CA),
    Fault(
        "certificate 0646",
        DEBIAN,
        mode("/etc/swanctl/x509/gw2.pem", 0o646),
        "certificate-writable",
        "/etc/swanctl/x509/gw2.pem",
    ),
    Fault("CRL 0646", DEBIAN, put(CRL, "", 0o646), "revocation-list-writable", CRL),
    Fault(
        "cert9.db 0606",
        RHEL,
        mode(f"{NSS}/cert9.db", 0o606),
        "trust-database-writable",
        f"{NSS}/cert9.db",
    ),
    Fault(
        "pkcs11.txt 0606",
        RHEL,
        mode(f"{NSS}/pkcs11.txt", 0o606),
        "trust-database-writable",
        f"{NSS}/pkcs11.txt",
    ),
    Fault("updown script 0757", STARTER, mode(UPDOWN, 0o757), "program-writable", UPDOWN),
    # owners and lists
    Fault(
        "PSK of alice",
        DEBIAN,
        own(SITE_C, ALICE, 0),
        "secret-owned-by-another",
        SITE_C,
        need=OWNERS,
    ),
    Fault(
        "key of the daemon",
        DEBIAN,
        own(KEY, DAEMON, 0),
        "secret-owned-by-another",
        KEY,
        need=OWNERS,
    ),
    Fault(
        "config.xml of the web server",
        OPNSENSE,
        own("/conf/config.xml", 789, 0),
        "secret-owned-by-another",
        "/conf/config.xml",
        need=OWNERS,
    ),
    Fault(
        "ipsec.conf of alice",
        RHEL,
        own("/etc/ipsec.conf", ALICE, 0),
        "configuration-owned-by-another",
        "/etc/ipsec.conf",
        need=OWNERS,
    ),
    Fault(
        "CA of alice",
        DEBIAN,
        own(CA, ALICE, 0),
        "configuration-owned-by-another",
        CA,
        need=OWNERS,
    ),
    Fault("a list on a PSK", DEBIAN, _listed(SITE_C, 4), "acl-grants-access", SITE_C, need=LISTS),
    Fault(
        "a list on ipsec.conf",
        STARTER,
        _listed("/etc/ipsec.conf", 6),
        "acl-grants-access",
        "/etc/ipsec.conf",
        need=LISTS,
    ),
    Fault("a second name", DEBIAN, _second_name(SITE_C), "secret-hard-linked", SITE_C),
    Fault(
        "a second name of config.boot",
        VYOS,
        _second_name("/config/config.boot"),
        "secret-hard-linked",
        "/config/config.boot",
    ),
    Fault("folder of keys 0755", DEBIAN, mode(KEYS, 0o755), "key-folder-open", KEYS),
    Fault(
        "folder of keys 0711",
        STARTER,
        mode("/etc/ipsec.d/private", 0o711),
        "key-folder-open",
        "/etc/ipsec.d/private",
    ),
    # sockets and programs
    Fault("VICI 0777", DEBIAN, mode(VICI, 0o777), "control-socket-open-to-others", VICI),
    Fault(
        "pluto.ctl 0702",
        RHEL,
        mode("/run/pluto/pluto.ctl", 0o702),
        "control-socket-open-to-others",
        "/run/pluto/pluto.ctl",
    ),
    Fault(
        "VICI of OPNsense for operator",
        OPNSENSE,
        own("/var/run/charon.vici", 0, 5, 0o770),
        "control-socket-open-to-group",
        "/var/run/charon.vici",
        need=OWNERS,
    ),
    Fault(
        "VICI for staff",
        VYOS,
        own(VICI, 0, STAFF, 0o770),
        "control-socket-open-to-group",
        VICI,
        need=OWNERS,
    ),
    Fault(
        "capabilities of charon",
        DEBIAN,
        _capable("/usr/lib/ipsec/charon", 12),
        "program-capabilities",
        "/usr/lib/ipsec/charon",
        need=OWNERS,
    ),
    Fault(
        "swanctl is set-user-ID",
        DEBIAN,
        mode("/usr/sbin/swanctl", 0o4755),
        "program-setuid",
        "/usr/sbin/swanctl",
    ),
    # folders and links on the way
    Fault(
        "conf.d 0777",
        DEBIAN,
        mode("/etc/swanctl/conf.d", 0o777),
        "folder-writable-by-others",
        "/etc/swanctl/conf.d",
    ),
    Fault(
        "ipsec.d 0707",
        RHEL,
        mode("/etc/ipsec.d", 0o707),
        "folder-writable-by-others",
        "/etc/ipsec.d",
    ),
    Fault("/config 0777", VYOS, mode("/config", 0o777), "folder-writable-by-others", "/config"),
    Fault(
        "conf.d 0775 for staff",
        DEBIAN,
        own("/etc/swanctl/conf.d", 0, STAFF, 0o775),
        "folder-writable-by-group",
        "/etc/swanctl/conf.d",
        need=OWNERS,
    ),
    Fault(
        "/conf 0775 for operator",
        OPNSENSE,
        own("/conf", 0, 5, 0o775),
        "folder-writable-by-group",
        "/conf",
        need=OWNERS,
    ),
    Fault(
        "a list on a folder",
        DEBIAN,
        _listed("/etc/swanctl/conf.d", 7),
        "folder-writable-by-acl",
        "/etc/swanctl/conf.d",
        need=LISTS,
    ),
    Fault(
        "cacerts of the daemon",
        STARTER,
        own("/etc/ipsec.d/cacerts", DAEMON, 0),
        "folder-owned-by-another",
        "/etc/ipsec.d/cacerts",
        need=OWNERS,
    ),
    Fault(
        "conf.d 1777",
        DEBIAN,
        mode("/etc/swanctl/conf.d", 0o1777),
        "file-in-shared-folder",
        "/etc/swanctl/conf.d",
    ),
    Fault(
        "updown script at alice's", DEBIAN, _named_in_home, "file-in-home", "/home/alice/updown.sh"
    ),
    Fault(
        "PSK at alice's",
        DEBIAN,
        _moved(SITE_C, "/home/alice/site-c.conf"),
        "link-into-home",
        SITE_C,
    ),
    Fault(
        "ipsec.secrets at alice's",
        STARTER,
        _moved(SECRETS, "/home/alice/ipsec.secrets"),
        "link-into-home",
        SECRETS,
    ),
    Fault("a link of alice's", DEBIAN, _link_of_alice, "link-owned-by-another", KEY, need=OWNERS),
)
