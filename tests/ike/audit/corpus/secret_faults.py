"""Faults in secrets: what can be guessed, and who has the same."""

import base64
import secrets
from collections.abc import Callable
from typing import Final

from tests.ike.audit.corpus import making
from tests.ike.audit.corpus.access_faults import PASSWORD, SECRETS, SITE_C
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

USERS = "/etc/swanctl/conf.d/users.conf"
MORE = "/etc/swanctl/conf.d/zz-more.conf"
BSD_C = "/usr/local/etc/swanctl/conf.d/site-c.conf"
RHEL_C = "/etc/ipsec.d/site-c.secrets"
VYOS_CONF = "/etc/swanctl/swanctl.conf"
BOOT, XML = "/config/config.boot", "/conf/config.xml"


def _value(
    path: str, value: str | Callable[[], str], after: str = 'secret = "', end: str = '"'
) -> Plant:
    """Another value in the place of the one that stands behind these words, up to its end."""

    def plant(image: Image) -> None:
        text = image.text(path)
        at = text.index(after) + len(after)
        new = value() if callable(value) else value
        image.put(path, text[:at] + new + text[text.index(end, at) :])

    return plant


def _section(name: str, *lines: str, value: Callable[[], str] = making.secret) -> Plant:
    """A section of secrets in a file of its own."""
    inner = "".join(f"    {line}\n" for line in lines)
    return put(
        MORE, lambda: f'secrets {{\n  {name} {{\n{inner}    secret = "{value()}"\n  }}\n}}\n'
    )


def _remote_access() -> Plant:
    def plant(image: Image) -> None:
        opened = "".join(
            f"{name} {{\n" for name in ("remote-access", "connection rw", "authentication")
        )
        node = f"{opened}pre-shared-secret {making.secret()}\n}}\n}}\n}}\n"
        image.change(BOOT, "        esp-group strong {", node + "        esp-group strong {")

    return plant


def _phase1() -> Plant:
    def plant(image: Image) -> None:
        text = image.text(XML)
        key = text[text.index("<Key>") + 5 : text.index("</Key>")]
        tunnel = (
            f"<ipsec><phase1><remote-gateway>192.0.2.8</remote-gateway>\n"
            f"<pre-shared-key>{key}</pre-shared-key></phase1></ipsec>\n  <OPNsense>"
        )
        image.change(XML, "<OPNsense>", tunnel)

    return plant


def _same(path: str, to: str, text: str, after: str = 'secret = "') -> Plant:
    """A file with the value that stands elsewhere, in the place of VALUE."""

    def plant(image: Image) -> None:
        value = image.text(path).partition(after)[2].partition('"')[0]
        image.put(
            to, (image.text(to) if image.here(to).exists() else "") + text.replace("VALUE", value)
        )

    return plant


def _few(octets: int) -> Callable[[], str]:
    return lambda: base64.b32encode(secrets.token_bytes(octets)).decode().rstrip("=").lower()


_PEER_D: Final = """\
connections {
  site-d {
    version = 2
    remote_addrs = 192.0.2.4
    proposals = aes256-sha384-ecp384
    local {
      auth = psk
      id = gw1.example.com
    }
    remote {
      auth = psk
      id = gw4.example.com
    }
    children {
      lan {
        remote_ts = 10.4.0.0/16
        esp_proposals = aes256-sha384-ecp384
      }
    }
  }
}
"""
_SECTION = 'secrets {{\n  {name} {{\n    id = {id}\n    secret = "VALUE"\n  }}\n}}\n'


def _locked(passphrase: Callable[[], str]) -> Plant:
    """An encrypted key whose passphrase stands in swanctl.conf."""

    def plant(image: Image) -> None:
        word = passphrase()
        image.put("/etc/swanctl/private/gw5.pem", making.key_pem(5, passphrase=word))
        text = (
            f'secrets {{\n  private-gw5 {{\n    file = gw5.pem\n    secret = "{word}"\n  }}\n}}\n'
        )
        image.put(MORE, text)

    return plant


def _locked_in_ipsec_secrets(image: Image) -> None:
    word = making.secret()
    image.put("/etc/ipsec.d/private/gw5.pem", making.key_pem(5, passphrase=word))
    image.put(SECRETS, image.text(SECRETS) + f': RSA gw5.pem "{word}"\n')


FAULTS: Final[tuple[Fault, ...]] = (
    Fault("PSK of an example", DEBIAN, _value(SITE_C, "changeme"), "secret-sample-value", SITE_C),
    Fault("an empty PSK", DEBIAN, _value(SITE_C, ""), "secret-sample-value", SITE_C),
    Fault(
        "PSK with letters turned to digits",
        STARTER,
        _value(SECRETS, "P4ssw0rd", 'PSK "'),
        "secret-sample-value",
        SECRETS,
    ),
    Fault("PSK of a vendor", RHEL, _value(RHEL_C, "vyos", 'PSK "'), "secret-sample-value", RHEL_C),
    Fault(
        "a user's password of an example",
        DEBIAN,
        _value(USERS, "letmein"),
        "secret-sample-value",
        USERS,
    ),
    Fault(
        "PSK of words in swanctl.conf",
        DEBIAN,
        _value(SITE_C, "correct horse battery staple"),
        "psk-weak",
        SITE_C,
    ),
    Fault("a short PSK", DEBIAN, _value(SITE_C, _few(5)), "psk-weak", SITE_C),
    Fault(
        "PSK of words", OPNSENSE, _value(BSD_C, "correct horse battery staple"), "psk-weak", BSD_C
    ),
    Fault("a short PSK of Libreswan", RHEL, _value(RHEL_C, _few(5), 'PSK "'), "psk-weak", RHEL_C),
    Fault(
        "PSK of the keyboard", VYOS, _value(VYOS_CONF, "qwertyuiopasdfghjkl"), "psk-weak", VYOS_CONF
    ),
    Fault(
        "PSK of the keyboard in config.boot",
        VYOS,
        _value(BOOT, "qwertyuiopasdfghjkl", " secret ", "\n"),
        "psk-weak",
        BOOT,
    ),
    Fault(
        "a quoted default in config.boot",
        VYOS,
        _value(BOOT, '"changeme"', " secret ", "\n"),
        "secret-sample-value",
        BOOT,
    ),
    Fault(
        "one PSK for all of a remote access in VyOS",
        VYOS,
        _remote_access(),
        "psk-for-any-peer",
        BOOT,
    ),
    Fault(
        "PSK of words in config.xml",
        OPNSENSE,
        _value(XML, "correct horse battery staple", "<Key>", "<"),
        "psk-weak",
        XML,
    ),
    Fault(
        "one PSK of two tunnels in config.xml",
        OPNSENSE,
        _phase1(),
        "psk-shared-by-peers",
        XML,
        (("psk-shared-by-peers", XML),),
    ),
    Fault(
        "a short PSK of racoon",
        DEBIAN,
        put("/etc/racoon/psk.txt", "192.0.2.9 tiger77\n"),
        "psk-weak",
        "/etc/racoon/psk.txt",
    ),
    Fault(
        "PSK of 90 bits",
        STARTER,
        _value(SECRETS, lambda: secrets.token_hex(12), 'PSK "'),
        "psk-below-strength",
        SECRETS,
    ),
    Fault(
        "PPK of 128 bits",
        DEBIAN,
        _section("ppk-x", "id = ppk2.example.com", value=lambda: "0x" + secrets.token_hex(16)),
        "ppk-short",
        MORE,
    ),
    Fault(
        "one PSK for two owners",
        STARTER,
        _same(SECRETS, SECRETS, 'gw4.example.com : PSK "VALUE"\n', 'PSK "'),
        "psk-shared-by-peers",
        SECRETS,
        (("psk-shared-by-peers", SECRETS),),
    ),
    Fault(
        "one PSK for two connections",
        DEBIAN,
        both(
            put(MORE, _PEER_D),
            change(
                SITE_C,
                "id = gw3.example.com\n    secret",
                "id-1 = gw3.example.com\n    id-2 = gw4.example.com\n    secret",
            ),
        ),
        "psk-shared-by-peers",
        SITE_C,
    ),
    Fault(
        "PSK in two files",
        DEBIAN,
        _same(SITE_C, MORE, _SECTION.format(name="ike-again", id="gw3.example.com")),
        "psk-repeated",
        MORE,
        (("psk-repeated", SITE_C),),
    ),
    Fault(
        "PSK twice in Libreswan",
        RHEL,
        _same(
            RHEL_C,
            "/etc/ipsec.d/old.secrets",
            '@gw1.example.com @gw3.example.com : PSK "VALUE"\n',
            'PSK "',
        ),
        "psk-repeated",
        "/etc/ipsec.d/old.secrets",
        (("psk-repeated", RHEL_C),),
    ),
    Fault(
        "PSK that is a password",
        DEBIAN,
        _same(SITE_C, MORE, _SECTION.format(name="eap-bob", id="bob")),
        "secret-of-several-kinds",
        MORE,
        (("secret-of-several-kinds", SITE_C),),
    ),
    Fault(
        "PSK without owner",
        DEBIAN,
        change(SITE_C, "    id = gw3.example.com\n    secret", "    secret"),
        "psk-for-any-peer",
        SITE_C,
    ),
    Fault(
        "PSK of our own identity",
        DEBIAN,
        change(SITE_C, "id = gw3.example.com\n    secret", "id = gw1.example.com\n    secret"),
        "psk-for-any-peer",
        SITE_C,
    ),
    Fault(
        "PSK of %any in ipsec.secrets",
        STARTER,
        change(SECRETS, "gw3.example.com :", "%any :"),
        "psk-for-any-peer",
        SECRETS,
    ),
    Fault(
        "PSK without owners of Libreswan",
        RHEL,
        change(RHEL_C, "@gw1.example.com @gw3.example.com :", ":"),
        "psk-for-any-peer",
        RHEL_C,
    ),
    Fault(
        "PSK of nobody in VyOS",
        VYOS,
        change(VYOS_CONF, "    id = gw3.example.com\n    secret", "    secret"),
        "psk-for-any-peer",
        VYOS_CONF,
    ),
    Fault("a connection without a PSK", DEBIAN, put(MORE, _PEER_D), "psk-missing", MORE),
    Fault(
        "a connection without a PSK in Libreswan",
        RHEL,
        put(RHEL_C, "# gone\n"),
        "psk-missing",
        "/etc/ipsec.d/site-c.conf",
    ),
    Fault(
        "two PSKs for a peer",
        DEBIAN,
        _section("ike-new", "id = gw3.example.com"),
        "psk-ambiguous",
        SITE_C,
    ),
    Fault("a user's weak password", DEBIAN, _value(USERS, _few(4)), "user-password-weak", USERS),
    Fault(
        "a user's weak password in ipsec.secrets",
        STARTER,
        _value(SECRETS, _few(4), 'EAP "'),
        "user-password-weak",
        SECRETS,
    ),
    Fault(
        "a passphrase beside its key", DEBIAN, _locked(making.secret), "passphrase-beside-key", MORE
    ),
    Fault(
        "a weak passphrase",
        DEBIAN,
        _locked(_few(4)),
        "passphrase-weak",
        MORE,
        (("passphrase-beside-key", MORE),),
    ),
    Fault(
        "a passphrase beside its key in ipsec.secrets",
        STARTER,
        _locked_in_ipsec_secrets,
        "passphrase-beside-key",
        SECRETS,
    ),
    Fault(
        "a PIN of four digits",
        DEBIAN,
        put(MORE, "secrets {\n  token-a {\n    handle = 11\n    pin = 7391\n  }\n}\n"),
        "token-pin-weak",
        MORE,
    ),
    Fault(
        "a password of NSS in clear",
        RHEL,
        put(PASSWORD, lambda: f"NSS Certificate DB:{making.secret()}\n"),
        "nss-password-in-clear",
        PASSWORD,
    ),
    Fault(
        "a weak password of NSS",
        RHEL,
        put(PASSWORD, "NSS Certificate DB:libreswan\n"),
        "nss-password-weak",
        PASSWORD,
        (("nss-password-in-clear", PASSWORD),),
    ),
)
