"""What a file is by its first octets, whatever it is called. Pure."""

import re
from enum import StrEnum
from typing import Final

OCTETS: Final = 64 * 1024  # certificates may stand before a key

# What comes before a secret in the files of all daemons that we know.
# Lines end with NUL in an editor's swap file. What is behind a # is a sample.
_SECRET: Final = re.compile(
    rb"(?:^|\0)(?![ \t]*\#)[^\r\n\0]*:[ \t]+(?:PSK|PPKS?|RSA|ECDSA|EAP|XAUTH|NTLM|P12|PKCS8|PIN)[ \t]+[^ \t\r\n]"
    # strongSwan, perhaps on one line with the braces before it; NetworkManager
    rb"|(?:^|\0)(?:[^\#\r\n\0]*[{};])?[ \t]*(?:secret|pin|password|psk)[ \t]*=[ \t]*[^ \t\r\n]"
    rb"|(?:pre-shared-secret|pre-shared-key)[ \t>]+[^ \t\r\n]"  # VyOS, OPNsense, pfSense
    rb"|^[ \t]+secret[ \t]+[^\s{=]+[ \t]*\r?$"  # VyOS since 1.4
    rb"|<(?:Key|password|prv)>[^<\s]"  # config.xml of OPNsense and pfSense
    rb"|NSS Certificate DB:[^\r\n]",
    re.MULTILINE,
)
_DER_KEY: Final = re.compile(rb"\x30(?:[\x00-\x7f]|\x81.|\x82..|\x83...)\x02\x01[\x00\x01]", re.S)
# EncryptedPrivateKeyInfo (RFC 5958 §3) with an algorithm of PKCS#5 or PKCS#12.
_LOCKED: Final = re.compile(
    rb"\x30(?:[\x00-\x7f]|\x81.|\x82..)\x30(?:[\x00-\x7f]|\x81.|\x82..)"
    rb"\x06.\x2a\x86\x48\x86\xf7\x0d\x01(?:\x05|\x0c\x01)",
    re.S,
)
_PKCS12: Final = re.compile(
    rb"\x30(?:\x80|[\x00-\x7f]|\x81.|\x82..|\x83...|\x84....)\x02\x01\x03", re.S
)
_ENCRYPTED: Final = re.compile(rb"-----BEGIN ENCRYPTED PRIVATE KEY|^Proc-Type: 4,ENCRYPTED", re.M)


_FIREWALL: Final = re.compile(rb"<(?:opnsense|pfsense)[\s>]")
_VYOS: Final = re.compile(
    rb"^(?:vpn|interfaces|service|system|pki)[ \t]*\{[ \t]*\r?$", re.MULTILINE
)

_STATEMENT: Final = re.compile(
    rb";[ \t]*\r?$", re.MULTILINE
)  # of Junos, which has such sections too


class Shape(StrEnum):
    """What a file holds."""

    KEY = "private key"
    LOCKED_KEY = "private key with a passphrase"
    PKCS12 = "PKCS#12 file"
    SECRETS = "secrets"
    CERTIFICATE = "certificate"
    NOTHING = "nothing"
    OTHER = "other"

    @property
    def is_key(self) -> bool:
        """Whether a private key is, or may be, in it."""
        return self in (Shape.KEY, Shape.LOCKED_KEY, Shape.PKCS12)


def shape(content: bytes) -> Shape:
    """What a file that begins so holds."""
    if not content.strip(b" \t\r\n\0"):
        return Shape.NOTHING
    if b"PRIVATE KEY-----" in content:
        # An OpenSSH key does not say in its armour whether it has a passphrase.
        return Shape.LOCKED_KEY if _ENCRYPTED.search(content) else Shape.KEY
    for form, held in _IN_DER.items():
        if form.match(content):
            return held
    if _SECRET.search(content):
        return Shape.SECRETS
    if b"-----BEGIN CERTIFICATE" in content or b"-----BEGIN X509" in content:
        return Shape.CERTIFICATE
    return Shape.OTHER


_IN_DER: Final = {_PKCS12: Shape.PKCS12, _DER_KEY: Shape.KEY, _LOCKED: Shape.LOCKED_KEY}
# A line of these is enough, where a file's name says that it may be configuration.
_CONNECTIONS: Final = re.compile(
    rb"^conn[ \t]+\S[^\n]*\n(?:[^\S\n]*(?:\#[^\n]*)?\n)*"
    rb"[ \t]+(?:also|auto|authby|ike|ikev2|keyexchange|left\w*|right\w*|type)[ \t]*="
    rb"|^[ \t]*connections[ \t]*\{\s*(?:\#[^\n]*\n\s*)*[^\s{}]+[ \t]*\{"
    rb"|^[ \t]*secrets[ \t]*\{\s*(?:\#[^\n]*\n\s*)*"
    rb"(?:ike|eap|xauth|ntlm|ppk|private|pkcs8|pkcs12|rsa|ecdsa|token)[^\s{}]*[ \t]*\{"
    rb"|^(?![ \t]*\#)(?:[^\r\n]*[ \t])?:[ \t]+(?:(?:PSK|PPKS?|EAP|XAUTH|NTLM)[ \t]+[\"'0]\S"
    rb"|(?:RSA|ECDSA|P12|PKCS8)[ \t]+(?:\{|\"?[^\s\"]+\.\w))",
    re.MULTILINE,
)
_NO_TEXT: Final = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/_-]{16,}={0,2}")
_DER_CERTIFICATE: Final = re.compile(
    rb"\x30(?:\x82..|\x81.)\x30(?:\x82..|\x81.)\xa0\x03\x02\x01[\x01\x02]", re.S
)


def is_connections(content: bytes) -> bool:
    """Whether a file that begins so is swanctl.conf, ipsec.conf or ipsec.secrets, or a part of one."""
    return _CONNECTIONS.search(content) is not None


def is_opaque(content: bytes) -> bool:
    """Whether what begins so is no text to be read: packed, in UTF-16, or in base64 as a whole."""
    if _NO_TEXT.search(content):
        return True
    lines = content.split()
    # Several words on a line, or few letters in all, are words.
    is_one = len(lines) <= len(content.strip().splitlines())
    return is_one and _BASE64.fullmatch(b"".join(lines)) is not None


def system(content: bytes) -> str:
    """Which system's own configuration begins so: opnsense-xml (pfSense's too), vyos-config, or empty for none."""
    if _FIREWALL.search(content):
        return "opnsense-xml"
    is_vyos = len(_VYOS.findall(content)) > 1 and _STATEMENT.search(content) is None
    return "vyos-config" if is_vyos else ""


def is_certificate(content: bytes) -> bool:
    """Whether a file that begins so is a certificate in DER."""
    return _DER_CERTIFICATE.match(content) is not None
