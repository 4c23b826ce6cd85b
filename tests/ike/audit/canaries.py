"""A host full of secrets that occur nowhere else, in every kind of file that is read, well written and broken."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)


class Canaries:
    """Gives one secret after the other, and knows them all."""

    def __init__(self) -> None:
        self.given: list[str] = []

    def __next__(self) -> str:
        number = len(self.given)
        # Words, digits and signs, so that it is a fair password; no two have eight letters in common.
        text = f"Kanari{number:03}vogel{(number + 7) ** 9 % 10**12:012}Zz"
        self.given.append(text)
        return text

    def __iter__(self) -> Iterator[str]:
        return self

    def told(self, text: str) -> list[str]:
        """Those that stand in a text, as they are or written otherwise."""
        lower = text.lower()
        return [each for each in self.given if any(form in lower for form in _forms(each))]


def _forms(secret: str) -> tuple[str, ...]:
    octets = secret.encode()
    encoded = base64.b64encode(octets).decode()
    return tuple(
        each.lower() for each in (secret, secret[:14], octets.hex(), encoded[:-4], encoded[:20])
    )


def plant(root: Path) -> Canaries:
    """Write the host's files below `root`; every secret in them is one of those that are given."""
    birds = Canaries()
    for path, text in FILES.items():
        _write(root, path, text, birds)
    _keys(root, birds)
    return birds


def _write(root: Path, path: str, text: str, birds: Canaries) -> None:
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    while "@@" in text:
        text = text.replace("@@", next(birds), 1)
    while "%%" in text:  # in base64
        text = text.replace("%%", base64.b64encode(next(birds).encode()).decode(), 1)
    while "##" in text:  # in hexadecimal digits
        text = text.replace("##", next(birds).encode().hex(), 1)
    target.write_bytes(text.encode("utf-8", "surrogateescape"))
    target.chmod(0o644)


def _keys(root: Path, birds: Canaries) -> None:
    folder = root / "etc/swanctl/private"
    folder.mkdir(parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    weak = rsa.generate_private_key(65537, 1024)  # noqa: S505 - meant to be found
    forms = {
        "pkcs8.pem": (key, PrivateFormat.PKCS8),
        "sec1.pem": (key, PrivateFormat.TraditionalOpenSSL),
        "rsa.pem": (weak, PrivateFormat.TraditionalOpenSSL),
        "openssh": (key, PrivateFormat.OpenSSH),
    }
    for name, (each, form) in forms.items():
        pem = each.private_bytes(Encoding.PEM, form, NoEncryption())
        (folder / name).write_bytes(pem)
        # The lines of a key are its secret.
        birds.given += [line for line in pem.decode().splitlines()[1:-1] if len(line) > 40]
        (folder / f"{name}.torn").write_bytes(pem[: len(pem) // 2])
    password = next(birds)
    sealed = key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(password.encode())
    )
    (folder / "sealed.pem").write_bytes(sealed)
    (folder / "sealed.pass").write_text(password)
    number = weak.private_numbers().d
    birds.given += [f"{number:x}", f"{number}", f"{key.private_numbers().private_value:x}"]


# @@: a secret; %%: one in base64; ##: one in hexadecimal digits. Files of all daemons, and what people do to them.
FILES: Final = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nanna:x:1000:1000::/home/anna:/bin/sh\n",
    "etc/group": "root:x:0:\nvpn:x:990:anna\n",
    "etc/ipsec.secrets": (
        '# was: PSK "@@"\n@gw1 @gw2 : PSK "@@"\n@gw1 @gw3 : PSK @@\n: PSK 0s%%\n: PSK 0x##\n'
        '%any gw1 : PSK "@@\n: RSA gw1.key "@@"\nanna : EAP "@@"\n: XAUTH "@@"\n@gw1 : PIN %prompt\n'
        ': PIN @@\n@gw1 : PSK \'@@\n@gw9 PSK @@\n: PPKS "id" 0t@@\ninclude /etc/ipsec.d/*.secrets\n'
        "@@\n"
    ),
    "etc/ipsec.d/more.secrets": '@gw1 @gw5 : PSK "@@"\n\udcff\udcfe@@\n: PSK\n  "@@"\n',
    "etc/ipsec.d/nsspassword": "NSS Certificate DB:@@\nNSS FIPS 140-2 Certificate DB:@@\n",
    "etc/ipsec.d/pkcs11.txt": "library=\nname=NSS Internal\nparameters=configdir='/etc/ipsec.d' @@\n",
    "etc/ipsec.conf": (
        "conn one\n left=192.0.2.1\n right=192.0.2.2\n authby=secret\n ike=3des-sha1;modp1024\n"
        " @@\n leftxauthusername=anna\n"
    ),
    "etc/swanctl/swanctl.conf": (
        "connections { a { version = 1\n aggressive = yes\n proposals = 3des-sha1-modp1024\n"
        " local { auth = psk\n id = gw1 }\n remote { auth = psk\n id = gw2 } } }\n"
        "secrets {\n ike-a { id = gw2\n secret = @@ }\n ike-b { secret = 0s%%\n }\n ike-c { secret = 0x## }\n"
        ' eap-anna { id = anna\n secret = "@@" }\n ppk-x { id = x\n secret = @@ }\n'
        " private-k { file = k.pem\n secret = @@ }\n token-t { handle = 01\n pin = @@ }\n"
        " pkcs12-p { file = p.p12\n secret = @@ } }\ninclude conf.d/*.conf\n"
    ),
    "etc/swanctl/conf.d/torn.conf": 'secrets { ike-x { secret = "@@\n id = gw5\n',
    "etc/swanctl/conf.d/odd.conf": "secrets { ike-y { secert = @@\n @@ } }\n}}} @@\n",
    "etc/swanctl/swanctl.conf~": "secrets { ike-old { secret = @@ } }\n",
    "etc/swanctl/conf.d/.a.conf.swp": "b0VIM 8.2\0\0secrets { ike-swp { secret = @@ } }\n",
    "etc/ipsec.secrets.bak": '@gw1 @gw2 : PSK "@@"\n',
    "etc/ipsec.secrets.dpkg-old": '@gw1 @gw2 : PSK "@@"\n',
    "etc/strongswan.conf": (
        "charon { plugins { eap-radius { secret = @@\n servers { a { secret = @@ } } }\n"
        " sql { database = mysql://ike:@@@db.example/ike }\n pkcs11 { modules { m { pin = @@ } } } }\n"
        " filelog { a { path = /var/log/charon.log\n default = 4\n ike = 4 } } }\ninclude strongswan.d/*.conf\n"
    ),
    "etc/strongswan.d/x.conf": "charon { plugins { attr-sql { database = sqlite:///@@.db } } }\n",
    "etc/racoon/racoon.conf": (
        'path pre_shared_key "/etc/racoon/psk.txt";\nremote anonymous { exchange_mode aggressive;'
        " proposal { encryption_algorithm 3des; hash_algorithm md5; authentication_method"
        " pre_shared_key; dh_group 2; } }\n"
    ),
    "etc/racoon/psk.txt": "192.0.2.2 @@\ngw3.example.com\t@@\n@@\n@@ 192.0.2.5\n@@ gw5.example.com\n",
    "etc/NetworkManager/system-connections/office.nmconnection": (
        "[connection]\nid=office\ntype=vpn\n[vpn]\nservice-type=org.freedesktop.NetworkManager.strongswan\n"
        "password=@@\n[vpn-secrets]\npassword=@@\nXauth password=@@\nIPSec secret=@@\npsk=@@\n"
    ),
    "conf/config.xml": (
        "<opnsense><ipsec><phase1><pre-shared-key>@@</pre-shared-key></phase1></ipsec><OPNsense><Swanctl>"
        "<preSharedKeys><preSharedKey><Key>@@</Key></preSharedKey></preSharedKeys></Swanctl></OPNsense>"
        "<cert><prv>%%</prv></cert><mobilekey><ident>x</ident><pre-shared-key>@@</pre-shared-key></opnsense>\n"
    ),
    "config/config.boot": (
        'vpn { ipsec { authentication { psk gw2 { id gw2\n secret "@@"\n } }\n'
        " site-to-site { peer gw2 { authentication { mode pre-shared-secret\n pre-shared-secret @@\n } } } } }\n"
    ),
    "var/lib/ikewarden/agent-token": "iw_@@\n",
    "home/anna/psk.txt": "the key for oslo is @@\n",
    "root/.git/config": "[remote] url = https://anna:@@@git.example/x\n",
}
