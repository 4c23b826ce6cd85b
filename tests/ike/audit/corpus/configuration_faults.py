"""Faults in what the daemons are told to do."""

from typing import Final

from ike.audit.values import Policy
from tests.ike.audit.corpus.access_faults import RADIUS, SITE_B, SITE_C
from tests.ike.audit.corpus.planting import (
    DEBIAN,
    OPNSENSE,
    RHEL,
    STARTER,
    VYOS,
    Fault,
    Plant,
    add,
    both,
    change,
    put,
)

BSD_B = "/usr/local/etc/swanctl/conf.d/site-b.conf"
VYOS_CONF = "/etc/swanctl/swanctl.conf"
IPSEC = "/etc/ipsec.conf"
RHEL_B, RHEL_C = "/etc/ipsec.d/site-b.conf", "/etc/ipsec.d/site-c.conf"
LOGGING = "/etc/strongswan.d/charon-logging.conf"
STRONGSWAN = "/etc/strongswan.conf"
NM = "/etc/NetworkManager/system-connections/office.nmconnection"
RACOON = "/etc/racoon/racoon.conf"
IKE, ESP = "proposals = aes256gcm16-prfsha384-ecp384", "esp_proposals = aes256gcm16-ecp384"


def _ike(proposals: str, path: str = SITE_B) -> Plant:
    return change(path, IKE, f"proposals = {proposals}")


def _esp(proposals: str, path: str = SITE_B) -> Plant:
    return change(path, ESP, f"esp_proposals = {proposals}")


def _pluto(*lines: str, path: str = RHEL_B) -> Plant:
    return add(path, "".join(f"    {line}\n" for line in lines))


def _charon(*lines: str) -> Plant:
    return add(STRONGSWAN, "charon {\n" + "".join(f"  {line}\n" for line in lines) + "}\n")


_REMOTE_B: Final = "auth = pubkey\n      id = gw2"
_SWANCTL: Final = (
    ("DES", DEBIAN, _ike("des-sha256-ecp256"), "ike-proposal-des", SITE_B),
    ("Blowfish", DEBIAN, _ike("blowfish256-sha256-ecp256"), "ike-proposal-obsolete-cipher", SITE_B),
    ("3DES", DEBIAN, _ike("3des-sha256-ecp256"), "ike-proposal-3des", SITE_B),
    (
        "3DES behind a good one",
        OPNSENSE,
        _ike("aes256-sha256-ecp256, 3des-sha256-ecp256", BSD_B),
        "ike-proposal-3des",
        BSD_B,
    ),
    ("MD5", DEBIAN, _ike("aes256-md5-prfsha256-ecp256"), "ike-proposal-md5", SITE_B),
    (
        "SHA-1",
        VYOS,
        _ike("aes256-sha1-prfsha256-ecp256", VYOS_CONF),
        "ike-proposal-sha1",
        VYOS_CONF,
    ),
    (
        "modp1024",
        VYOS,
        _ike("aes256gcm16-prfsha256-modp1024", VYOS_CONF),
        "ike-proposal-weak-group",
        VYOS_CONF,
    ),
    ("modp1536", DEBIAN, _ike("aes256gcm16-prfsha256-modp1536"), "ike-proposal-modp1536", SITE_B),
    (
        "modp2048s256",
        DEBIAN,
        _ike("aes256gcm16-prfsha256-modp2048s256"),
        "ike-proposal-doubtful-group",
        SITE_B,
    ),
    (
        "a hash of 96 bits",
        DEBIAN,
        _ike("aes256-sha256_96-prfsha256-ecp256"),
        "ike-proposal-truncated-hash",
        SITE_B,
    ),
    ("ESP with DES", DEBIAN, _esp("des-sha256-ecp256"), "esp-proposal-des", SITE_B),
    (
        "ESP with CAST",
        DEBIAN,
        _esp("cast128-sha256-ecp256"),
        "esp-proposal-obsolete-cipher",
        SITE_B,
    ),
    ("ESP with 3DES", OPNSENSE, _esp("3des-sha256-ecp256", BSD_B), "esp-proposal-3des", BSD_B),
    ("ESP with MD5", DEBIAN, _esp("aes256-md5-ecp256"), "esp-proposal-md5", SITE_B),
    ("ESP with SHA-1", DEBIAN, _esp("aes256-sha1-ecp256"), "esp-proposal-sha1", SITE_B),
    ("ESP with modp768", DEBIAN, _esp("aes256gcm16-modp768"), "esp-proposal-weak-group", SITE_B),
    ("ESP with modp1536", DEBIAN, _esp("aes256gcm16-modp1536"), "esp-proposal-modp1536", SITE_B),
    (
        "ESP with modp2048s224",
        DEBIAN,
        _esp("aes256gcm16-modp2048s224"),
        "esp-proposal-doubtful-group",
        SITE_B,
    ),
    (
        "ESP with a hash of 96 bits",
        DEBIAN,
        _esp("aes256-sha256_96-ecp256"),
        "esp-proposal-truncated-hash",
        SITE_B,
    ),
    ("ESP without a cipher", DEBIAN, _esp("null-sha256-ecp256"), "esp-null-encryption", SITE_B),
    ("ESP without integrity", DEBIAN, _esp("aes256-ecp256"), "esp-without-integrity", SITE_B),
    ("AH", DEBIAN, change(SITE_B, ESP, "ah_proposals = sha256-ecp256"), "ah-only", SITE_B),
    (
        "AH beside ESP",
        DEBIAN,
        change(SITE_B, ESP, f"{ESP}\n        ah_proposals = sha256-ecp256"),
        "ah-taken",
        SITE_B,
    ),
    ("no PFS", DEBIAN, _esp("aes256gcm16"), "no-pfs", SITE_B),
    ("no PFS in VyOS", VYOS, _esp("aes256gcm16", VYOS_CONF), "no-pfs", VYOS_CONF),
    ("no proposals", DEBIAN, change(SITE_B, IKE, ""), "default-proposals", SITE_B),
    ("IKEv1", DEBIAN, change(SITE_B, "version = 2", "version = 1"), "ikev1", SITE_B),
    (
        "either version",
        VYOS,
        change(VYOS_CONF, "version = 2", "version = 0"),
        "ikev1-taken",
        VYOS_CONF,
    ),
    (
        "IKE for a month",
        DEBIAN,
        change(SITE_B, "rekey_time = 4h", "rekey_time = 30d"),
        "ike-lifetime-long",
        SITE_B,
    ),
    (
        "IKE for ever",
        DEBIAN,
        change(SITE_B, "rekey_time = 4h", "rekey_time = 0"),
        "ike-lifetime-unlimited",
        SITE_B,
    ),
    (
        "a child for 30 hours",
        DEBIAN,
        change(SITE_B, "rekey_time = 1h", "rekey_time = 30h"),
        "child-lifetime-long",
        SITE_B,
    ),
    (
        "a child for ever",
        DEBIAN,
        change(SITE_B, "rekey_time = 1h", "rekey_time = 0"),
        "child-lifetime-unlimited",
        SITE_B,
    ),
    (
        "revocation relaxed",
        OPNSENSE,
        change(BSD_B, "revocation = strict", "revocation = relaxed"),
        "revocation-not-required",
        BSD_B,
    ),
    (
        "revocation where there is a URI",
        DEBIAN,
        change(SITE_B, "revocation = strict", "revocation = ifuri"),
        "revocation-only-with-uri",
        SITE_B,
    ),
    (
        "PSK from anywhere",
        DEBIAN,
        both(
            change(SITE_C, "remote_addrs = 192.0.2.3", "remote_addrs = %any"),
            change(SITE_C, "id = gw3.example.com\n    }\n    children", "}\n    children"),
        ),
        "any-peer-by-psk",
        SITE_C,
    ),
    (
        "one policy for all",
        DEBIAN,
        both(
            change(SITE_B, "remote_addrs = 192.0.2.2", "remote_addrs = %any"),
            change(SITE_B, "id = gw2.example.com", "cacerts = issuing.pem"),
            change(SITE_B, "10.1.0.0/16", "0.0.0.0/0"),
            change(SITE_B, "10.2.0.0/16", "0.0.0.0/0"),
        ),
        "one-policy-for-everyone",
        SITE_B,
    ),
    (
        "keys in the log",
        DEBIAN,
        change(LOGGING, "default = 1", "default = 4"),
        "log-holds-keys",
        LOGGING,
    ),
    (
        "packets in the log",
        VYOS,
        change(LOGGING, "default = 0", "default = 0\n      ike = 3"),
        "log-holds-packets",
        LOGGING,
    ),
    (
        "aggressive mode by PSK allowed",
        DEBIAN,
        _charon("i_dont_care_about_security_and_use_aggressive_mode_psk = yes"),
        "aggressive-mode-psk-allowed",
        STRONGSWAN,
    ),
    (
        "main mode in clear taken",
        DEBIAN,
        _charon("accept_unencrypted_mainmode_messages = yes"),
        "unencrypted-main-mode-taken",
        STRONGSWAN,
    ),
    ("vendor ID sent", VYOS, _charon("send_vendor_id = yes"), "vendor-id-sent", STRONGSWAN),
    (
        "orders by TCP",
        DEBIAN,
        _charon("plugins {", "vici {", "socket = tcp://0.0.0.0:4502", "}", "}"),
        "control-socket-by-tcp",
        STRONGSWAN,
    ),
    (
        "a RADIUS secret of an example",
        DEBIAN,
        add(RADIUS, "eap-radius {\n  secret = testing123\n}\n"),
        "radius-secret-weak",
        RADIUS,
    ),
    (
        "load tester",
        DEBIAN,
        _charon("plugins {", "load-tester {", "enable = yes", "}", "}"),
        "load-tester-enabled",
        STRONGSWAN,
    ),
    (
        "users by EAP-MD5",
        DEBIAN,
        change(SITE_B, _REMOTE_B, "auth = eap-md5\n      id = gw2"),
        "eap-md5",
        SITE_B,
    ),
    (
        "SHA-1 in signatures",
        DEBIAN,
        change(SITE_B, _REMOTE_B, "auth = rsa-2048-sha1\n      id = gw2"),
        "signature-sha1-taken",
        SITE_B,
    ),
    (
        "any certificate",
        DEBIAN,
        change(SITE_B, "id = gw2.example.com", ""),
        "any-certificate-taken",
        SITE_B,
    ),
)
_IPSEC: Final = (
    (
        "proposals without a !",
        STARTER,
        change(IPSEC, "ecp384!\n    esp", "ecp384\n    esp"),
        "proposals-not-strict",
        IPSEC,
    ),
    (
        "3DES in conn %default",
        STARTER,
        change(IPSEC, "ike=aes256gcm16-prfsha384-ecp384!", "ike=3des-sha256-modp2048!"),
        "ike-proposal-3des",
        IPSEC,
    ),
    (
        "revocation not strict",
        STARTER,
        change(IPSEC, "strictcrlpolicy=yes", "strictcrlpolicy=no"),
        "revocation-not-required",
        IPSEC,
    ),
    ("keys in charondebug", STARTER, change(IPSEC, "ike 1", "ike 4"), "log-holds-keys", IPSEC),
    (
        "aggressive mode",
        STARTER,
        change(
            IPSEC, "leftcert=gw1.pem", "leftcert=gw1.pem\n    keyexchange=ikev1\n    aggressive=yes"
        ),
        "aggressive-mode",
        IPSEC,
    ),
    (
        "aggressive mode by PSK",
        STARTER,
        change(IPSEC, "authby=psk", "authby=psk\n    keyexchange=ikev1\n    aggressive=yes"),
        "aggressive-mode-psk",
        IPSEC,
    ),
    (
        "lifetime of two days",
        STARTER,
        change(IPSEC, "lifetime=1h", "lifetime=2d"),
        "child-lifetime-long",
        IPSEC,
    ),
    ("dh2 in Libreswan", RHEL, _pluto("ike=aes256-sha2;dh2"), "ike-proposal-weak-group", RHEL_B),
    (
        "clear text when IKE fails",
        RHEL,
        _pluto("failureshunt=passthrough"),
        "clear-text-let-through",
        RHEL_B,
    ),
    (
        "clear text in place of a tunnel",
        RHEL,
        _pluto("type=passthrough"),
        "clear-text-let-through",
        RHEL_B,
    ),
    ("no PFS in Libreswan", RHEL, _pluto("pfs=no"), "no-pfs", RHEL_B),
    (
        "SHA-256 cut in Libreswan",
        RHEL,
        _pluto("phase2alg=aes256-sha2_256;dh19", "sha2-truncbug=yes"),
        "esp-proposal-truncated-hash",
        RHEL_B,
    ),
    ("AH in Libreswan", RHEL, _pluto("phase2=ah", "phase2alg=sha2_512"), "ah-only", RHEL_B),
    (
        "no authentication",
        RHEL,
        change(RHEL_B, "authby=ecdsa", "authby=null"),
        "peer-not-authenticated",
        RHEL_B,
    ),
    (
        "IKEv1 in Libreswan",
        RHEL,
        _pluto("ikev2=no", "ike=aes256-sha2;dh20", "esp=aes256-sha2"),
        "ikev1",
        RHEL_B,
    ),
    (
        "CRLs not strict in Libreswan",
        RHEL,
        change(IPSEC, "crl-strict=yes", "crl-strict=no"),
        "revocation-not-required",
        IPSEC,
    ),
    (
        "keys in pluto's log",
        RHEL,
        change(IPSEC, "crl-strict=yes", 'crl-strict=yes\n    plutodebug="base private"'),
        "log-holds-keys",
        IPSEC,
    ),
    (
        "no crypto policy",
        RHEL,
        change(IPSEC, "include /etc/crypto-policies/back-ends/libreswan.config\n", ""),
        "crypto-policy-not-included",
        IPSEC,
    ),
)
_NM_TEXT: Final = """\
[connection]
id=Office
type=vpn

[vpn]
service-type=org.freedesktop.NetworkManager.strongswan
address=192.0.2.7
proposal=yes
ike=3des-sha256-ecp256
esp=aes256gcm16-ecp256
"""
_RACOON_TEXT: Final = """\
path pre_shared_key "/etc/racoon/psk.txt";
remote 192.0.2.9 {
    exchange_mode aggressive;
    lifetime time 8 hour;
    proposal {
        encryption_algorithm aes 256;
        hash_algorithm sha256;
        authentication_method pre_shared_key;
        dh_group 14;
    }
}
sainfo anonymous {
    pfs_group 14;
    lifetime time 1 hour;
    encryption_algorithm aes 256;
    authentication_algorithm hmac_sha256;
}
"""
# All keys here are on P-256, which CNSA has not.
_P256: Final = tuple(
    ("key-below-baseline", path)
    for path in (
        "/etc/swanctl/private/gw1.pem",
        "/etc/swanctl/x509/gw2.pem",
        "/etc/swanctl/x509ca/issuing.pem",
        "/etc/swanctl/x509ca/root.pem",
        "/var/lib/ikewarden-agent/identity.key",
    )
)
_OTHERS: Final = (
    Fault("a connection of NetworkManager", DEBIAN, put(NM, _NM_TEXT), "ike-proposal-3des", NM),
    Fault(
        "racoon",
        DEBIAN,
        put(RACOON, _RACOON_TEXT, 0o644),
        "aggressive-mode-psk",
        RACOON,
        (("ikev1", RACOON),),
    ),
    Fault(
        "a cipher that NIST has not",
        DEBIAN,
        _ike("chacha20poly1305-prfsha384-ecp384"),
        "ike-proposal-outside-baseline",
        SITE_B,
        policy=Policy(baseline="nist"),
    ),
    Fault(
        "a key of 128 bits, for CNSA",
        DEBIAN,
        _esp("aes128gcm16-ecp384"),
        "esp-proposal-outside-baseline",
        SITE_B,
        _P256,
        policy=Policy(baseline="cnsa1"),
    ),
    Fault(
        "no ML-KEM, for CNSA 2.0",
        DEBIAN,
        lambda _: None,
        "no-post-quantum-exchange",
        SITE_B,
        (
            *_P256,
            ("no-post-quantum-exchange", SITE_C),
            ("ike-proposal-outside-baseline", SITE_C),
            ("esp-proposal-outside-baseline", SITE_C),
        ),
        policy=Policy(baseline="cnsa2"),
    ),
    Fault(
        "PSK where certificates are wanted",
        DEBIAN,
        lambda _: None,
        "psk-instead-of-certificate",
        SITE_C,
        policy=Policy(certificates_only=True),
    ),
    Fault(
        "PSK where certificates are wanted, in Libreswan",
        RHEL,
        lambda _: None,
        "psk-instead-of-certificate",
        RHEL_C,
        policy=Policy(certificates_only=True),
    ),
)
# What cannot be had without another fault.
_WITH: Final = {
    "aggressive mode": (("ikev1", IPSEC),),
    "aggressive mode by PSK": (("ikev1", IPSEC),),
    "PSK from anywhere": (("psk-missing", SITE_C),),  # without a name it is nobody's
    # `conn %default` is for both connections.
    "proposals without a !": (("proposals-not-strict", IPSEC),),
    "3DES in conn %default": (("ike-proposal-3des", IPSEC),),
    "lifetime of two days": (("child-lifetime-long", IPSEC),),
}
FAULTS: Final[tuple[Fault, ...]] = (
    *(Fault(*row, brings=_WITH.get(row[0], ())) for row in (*_SWANCTL, *_IPSEC)),
    *_OTHERS,
)
