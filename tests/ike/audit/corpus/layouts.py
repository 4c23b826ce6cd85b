"""Hosts with nothing wrong, as the systems lay them out that IKE daemons run on."""

import datetime as dt
import json
import os
from collections.abc import Callable
from typing import Final

from tests.ike.audit.corpus import making
from tests.ike.audit.corpus.image import COLLECTED, Image
from tests.ike.audit.corpus.planting import DEBIAN, OPNSENSE, RHEL, STARTER, VYOS, WINDOWS
from tests.ike.audit.corpus.rhel import rhel
from tests.ike.audit.windows import machine

PASSWD: Final = """\
root:x:0:0:root:/root:/bin/bash
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
strongswan:x:105:110::/var/lib/strongswan:/usr/sbin/nologin
alice:x:1000:1000:Alice:/home/alice:/bin/bash
bob:x:1001:1001:Bob:/home/bob:/bin/bash
"""
GROUP: Final = """\
root:x:0:
adm:x:4:alice
ssl-cert:x:109:
strongswan:x:110:
staff:x:50:alice,bob
alice:x:1000:
bob:x:1001:
"""
UNIT: Final = "[Unit]\nDescription=strongSwan\n\n[Service]\nType=notify\nExecStart=/usr/sbin/{}\n"
STRONGSWAN_CONF: Final = """\
# strongswan.conf - strongSwan configuration file
charon {
  load_modular = yes
  plugins {
    include strongswan.d/charon/*.conf
  }
}

include strongswan.d/*.conf
"""
LOGGING: Final = """\
charon {
  filelog {
    charon {
      path = /var/log/charon.log
      default = 1
      ike_name = yes
    }
  }
  syslog {
    daemon {
      default = 0
    }
  }
}
"""
RADIUS: Final = """\
eap-radius {
  load = yes
  servers {
    primary {
      address = 10.1.0.5
      secret = {}
    }
  }
}
"""
BY_CERTIFICATE: Final = """\
connections {
  site-b {
    version = 2
    local_addrs = 192.0.2.1
    remote_addrs = 192.0.2.2
    proposals = aes256gcm16-prfsha384-ecp384
    rekey_time = 4h
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
        local_ts = 10.1.0.0/16
        remote_ts = 10.2.0.0/16
        esp_proposals = aes256gcm16-ecp384
        rekey_time = 1h
        start_action = trap
      }
    }
  }
}
"""
BY_PSK: Final = """\
connections {
  site-c {
    version = 2
    remote_addrs = 192.0.2.3
    proposals = aes256-sha384-ecp384
    local {
      auth = psk
      id = gw1.example.com
    }
    remote {
      auth = psk
      id = gw3.example.com
    }
    children {
      lan {
        local_ts = 10.1.0.0/16
        remote_ts = 10.3.0.0/16
        esp_proposals = aes256-sha384-ecp384
      }
    }
  }
}

secrets {
  ike-site-c {
    id = gw3.example.com
    secret = "{PSK}"
  }
}
"""
USERS: Final = """\
secrets {
  eap-alice {
    id = alice
    secret = "{EAP}"
  }
  ppk-site-b {
    id = ppk1.example.com
    secret = 0x{PPK}
  }
}
"""
IPSEC_CONF: Final = """\
# ipsec.conf - strongSwan IPsec configuration file

config setup
    strictcrlpolicy=yes
    uniqueids=yes
    charondebug="ike 1, knl 1"

conn %default
    keyexchange=ikev2
    ike=aes256gcm16-prfsha384-ecp384!
    esp=aes256gcm16-ecp384!
    ikelifetime=4h
    lifetime=1h
    left=192.0.2.1
    leftid=gw1.example.com
    leftsubnet=10.1.0.0/16

conn site-b
    leftcert=gw1.pem
    right=192.0.2.2
    rightid=gw2.example.com
    rightsubnet=10.2.0.0/16
    auto=route

conn site-c
    authby=psk
    right=192.0.2.3
    rightid=gw3.example.com
    rightsubnet=10.3.0.0/16
    auto=route
"""
VYOS_BOOT: Final = """\
interfaces {
    ethernet eth0 {
        address 192.0.2.1/24
    }
}
system {
    host-name gw1
    login {
        user vyos {
            authentication {
                encrypted-password $6$rounds=656000$notahash
            }
        }
    }
}
vpn {
    ipsec {
        authentication {
            psk site-c {
                id gw1.example.com
                id gw3.example.com
                secret {PSK}
            }
        }
        esp-group strong {
            pfs dh-group20
            proposal 1 {
                encryption aes256gcm128
            }
        }
    }
}
"""
OPNSENSE_XML: Final = """\
<?xml version="1.0"?>
<opnsense>
  <system>
    <hostname>gw1</hostname>
    <domain>example.com</domain>
  </system>
  <OPNsense>
    <IPsec version="1.0.1">
      <preSharedKeys>
        <preSharedKey uuid="5f1f4c1a-0c8f-4c7c-9f3c-6d2b8f3a7e11">
          <ident>gw1.example.com</ident>
          <remote_ident>gw3.example.com</remote_ident>
          <keyType>PSK</keyType>
          <Key>{PSK}</Key>
        </preSharedKey>
      </preSharedKeys>
    </IPsec>
  </OPNsense>
</opnsense>
"""
FREEBSD_PASSWD: Final = """\
root:*:0:0:Charlie &:/root:/usr/local/sbin/opnsense-shell
nobody:*:65534:65534:Unprivileged user:/nonexistent:/usr/sbin/nologin
wwwonly:*:789:789:Web GUI:/nonexistent:/usr/sbin/nologin
alice:*:2000:65533:Alice:/home/alice:/bin/sh
"""
FREEBSD_GROUP: Final = "wheel:*:0:root\noperator:*:5:root,alice\nwwwonly:*:789:\nnobody:*:65534:\n"


def debian_swanctl(image: Image, now: dt.datetime) -> None:
    """Debian with charon-systemd: swanctl.conf and its folders."""
    _debian(image)
    _swanctl(image, "/etc/swanctl", now)
    image.put("/usr/lib/systemd/system/strongswan.service", UNIT.format("charon-systemd"), 0o644)
    for program in ("/usr/sbin/charon-systemd", "/usr/sbin/swanctl"):
        image.put(program, "\x7fELF", 0o755)
    image.socket("/run/charon.vici", 0o770)
    image.folder("/var/lib/ikewarden-agent", 0o700)
    image.put("/var/lib/ikewarden-agent/state.json", '{"version": 1}\n')
    image.put("/var/lib/ikewarden-agent/identity.key", making.key_pem(7))


def debian_ipsec(image: Image, now: dt.datetime) -> None:
    """Debian with strongswan-starter: ipsec.conf, ipsec.secrets and ipsec.d."""
    _debian(image)
    image.put("/etc/ipsec.conf", IPSEC_CONF, 0o644)
    image.put(
        "/etc/ipsec.secrets",
        "# This file holds shared secrets or RSA private keys for authentication.\n\n"
        "include /var/lib/strongswan/ipsec.secrets.inc\n\n"
        ": ECDSA gw1.pem\n"
        f'gw3.example.com : PSK "{making.secret()}"\n'
        f'alice : EAP "{making.secret()}"\n',
    )
    image.put("/var/lib/strongswan/ipsec.secrets.inc", "# managed by debconf\n")
    for name in ("aacerts", "acerts", "crls", "ocspcerts"):
        image.folder(f"/etc/ipsec.d/{name}")
    _credentials(image, "/etc/ipsec.d", ("cacerts", "certs"), now)
    unit = UNIT.format("ipsec start --nofork")
    image.put("/usr/lib/systemd/system/strongswan-starter.service", unit, 0o644)
    image.put("/usr/sbin/ipsec", "#!/bin/sh\n", 0o755)
    image.socket("/run/charon.ctl", 0o770)


def vyos(image: Image, now: dt.datetime) -> None:
    """VyOS: the whole configuration in one file, and what is generated of it for charon."""
    _debian(image)
    image.add("/etc/group", "vyattacfg:x:102:vyos\n")
    image.add("/etc/passwd", "vyos:x:1002:100::/home/vyos:/bin/vbash\n")
    image.folder("/config/auth", 0o700)
    image.put("/config/config.boot", VYOS_BOOT.replace("{PSK}", making.secret()))
    if os.geteuid() == 0:  # as VyOS has it: its administrators write what `save` saves
        image.own("/config", 0, 102, 0o2775)
        image.own("/config/config.boot", 0, 102, 0o660)
    image.put("/config/auth/site-b.key", making.key_pem(8))
    image.folder("/opt/vyatta/etc")
    image.link("/opt/vyatta/etc/config", "/config")
    # VyOS writes all of it into this one file.
    image.folder("/etc/swanctl")
    _swanctl_folders(image, "/etc/swanctl")
    secret = making.secret()
    text = "# Created by VyOS - manual changes will be overwritten\n"
    image.put("/etc/swanctl/swanctl.conf", text + BY_CERTIFICATE + BY_PSK.replace("{PSK}", secret))
    _credentials(image, "/etc/swanctl", ("x509ca", "x509"), now)
    image.put("/usr/lib/systemd/system/strongswan.service", UNIT.format("charon-systemd"), 0o644)
    image.put("/usr/sbin/charon-systemd", "\x7fELF", 0o755)
    image.socket("/run/charon.vici", 0o770)


def opnsense(image: Image, now: dt.datetime) -> None:
    """OPNsense: config.xml with its history, and what is generated of it below /usr/local/etc."""
    image.put("/etc/passwd", FREEBSD_PASSWD, 0o644)
    image.put("/etc/group", FREEBSD_GROUP, 0o644)
    image.folder("/root", 0o700)
    text = OPNSENSE_XML.replace("{PSK}", making.secret())
    image.put("/conf/config.xml", text, 0o600)
    image.folder("/conf/backup", 0o750)
    image.put("/conf/backup/config-1772000000.1234.xml", text, 0o600)
    base = "/usr/local/etc/"
    image.put(base + "strongswan.conf", "# Automatically generated\n" + STRONGSWAN_CONF, 0o644)
    image.put(base + "strongswan.d/charon.conf", LOGGING, 0o644)
    image.put(base + "strongswan.d/charon/eap-radius.conf", _radius())
    _swanctl(image, base + "swanctl", now)
    image.put("/usr/local/libexec/ipsec/charon", "\x7fELF", 0o755)
    image.put("/usr/local/sbin/swanctl", "\x7fELF", 0o755)
    image.socket("/var/run/charon.vici", 0o770)


def windows(image: Image, now: dt.datetime) -> None:
    """A Windows gateway: what the collector wrote there."""
    document = machine.clean()
    if now != machine.NOW:
        days = (now - machine.NOW).days + 300
        document["certificates"] = [machine.certificate(machine.der(days=days))]
    image.put(COLLECTED, json.dumps(document))


LAYOUTS: Final[dict[str, Callable[[Image, dt.datetime], None]]] = {
    DEBIAN: debian_swanctl,
    STARTER: debian_ipsec,
    RHEL: rhel,
    VYOS: vyos,
    OPNSENSE: opnsense,
    WINDOWS: windows,
}


def _debian(image: Image) -> None:
    image.put("/etc/passwd", PASSWD, 0o644)
    image.put("/etc/group", GROUP, 0o644)
    image.put("/etc/hostname", "gw1\n", 0o644)
    image.folder("/root", 0o700)
    image.folder("/home/alice", 0o700)
    # What programs of the system bring along or make for themselves is none of ours.
    image.put("/usr/share/doc/openssl/examples/server.key", making.key_pem(9), 0o644)
    image.put("/root/.ssh/id_ecdsa.pem", making.key_pem(9))
    image.put("/etc/ssl/certs/ssl-cert-snakeoil.pem", "", 0o644)
    image.put("/etc/security/limits.conf", "#*  soft  core  0\n", 0o644)
    image.put("/etc/strongswan.conf", STRONGSWAN_CONF, 0o644)
    image.put("/etc/strongswan.d/charon-logging.conf", LOGGING, 0o644)
    image.put("/etc/strongswan.d/charon/gcm.conf", "gcm {\n  load = yes\n}\n", 0o644)
    image.put("/etc/strongswan.d/charon/eap-radius.conf", _radius())
    image.put("/usr/lib/ipsec/charon", "\x7fELF", 0o755)
    image.put("/usr/lib/ipsec/_updown", "#!/bin/sh\n", 0o755)


def _radius() -> str:
    return RADIUS.replace("{}\n    }", making.secret() + "\n    }")


def _swanctl(image: Image, base: str, now: dt.datetime) -> None:
    image.folder(base)
    _swanctl_folders(image, base)
    image.put(f"{base}/swanctl.conf", "# Include config snippets\ninclude conf.d/*.conf\n", 0o644)
    image.put(f"{base}/conf.d/site-b.conf", BY_CERTIFICATE, 0o644)
    image.put(f"{base}/conf.d/site-c.conf", BY_PSK.replace("{PSK}", making.secret()))
    users = USERS.replace("{EAP}", making.secret()).replace("{PPK}", making.octets().hex())
    image.put(f"{base}/conf.d/users.conf", users)
    _credentials(image, base, ("x509ca", "x509"), now)


def _swanctl_folders(image: Image, base: str) -> None:
    for name in ("rsa", "ecdsa", "pkcs8", "pkcs12"):
        image.folder(f"{base}/{name}", 0o750)
    for name in ("pubkey", "x509aa", "x509ocsp", "x509crl", "x509ac"):
        image.folder(f"{base}/{name}")


def _credentials(image: Image, base: str, folders: tuple[str, str], now: dt.datetime) -> None:
    """The key, the certificates of both ends and of the authorities. `folders` are those of CAs and of others."""
    image.folder(f"{base}/private", 0o700)
    image.put(f"{base}/private/gw1.pem", making.key_pem())
    image.put(f"{base}/{folders[0]}/issuing.pem", making.issuer(now), 0o644)
    image.put(f"{base}/{folders[0]}/root.pem", making.root(now), 0o644)
    image.put(f"{base}/{folders[1]}/gw1.pem", making.gateway(now), 0o644)
    image.put(f"{base}/{folders[1]}/gw2.pem", making.peer(now), 0o644)
