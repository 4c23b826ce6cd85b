"""A Windows gateway with nothing wrong, as the collector tells of it; tests spoil a copy."""

import base64
import copy
import hashlib
import json
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SERVER, CLIENT = "1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"
IKE_INTERMEDIATE = "1.3.6.1.5.5.8.2.2"
GATEWAY = (SERVER, CLIENT, IKE_INTERMEDIATE)
SYSTEM, ADMINISTRATORS, USERS = "S-1-5-18", "S-1-5-32-544", "S-1-5-32-545"
EVERYONE, AUTHENTICATED = "S-1-1-0", "S-1-5-11"
FULL, READ, WRITE, DAC = 0x1F01FF, 0x120089, 0x100116, 0x40000
KEYS = "C:\\ProgramData\\Microsoft\\Crypto\\Keys\\"
DEFAULT = "{E5A5D32A-4BCE-4e4d-B07F-4AB1BA7E5FE%d}"
_WITH_SHA256 = bytes.fromhex("2a864886f70d01010b")
_WITH_SHA1 = bytes.fromhex("2a864886f70d010105")

Document = dict[str, Any]


@cache
def _key(kind: str) -> ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey:
    if kind.startswith("rsa"):
        return rsa.generate_private_key(65537, int(kind[3:]))
    return ec.generate_private_key(ec.SECP256R1())


def der(
    *,
    name: str = "gw1.example.com",
    days: int = 300,
    usages: tuple[str, ...] = GATEWAY,
    kind: str = "ec",
    sha1: bool = False,
    authority: bool = False,
) -> bytes:
    """A certificate that expires after some days."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Root")])
    builder = (
        x509.CertificateBuilder(subject_name=subject, issuer_name=issuer)
        .public_key(_key(kind).public_key())
        .serial_number(0x1234567890)
        .not_valid_before(NOW - timedelta(days=400))
        .not_valid_after(NOW + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    )
    if usages:
        oids = [x509.ObjectIdentifier(each) for each in usages]
        builder = builder.add_extension(x509.ExtendedKeyUsage(oids), critical=False)
    signer = _key("rsa2048") if sha1 else _key("ec")
    content = builder.sign(signer, hashes.SHA256()).public_bytes(Encoding.DER)
    # The library signs with SHA-1 no more. Nobody verifies this one.
    return content.replace(_WITH_SHA256, _WITH_SHA1) if sha1 else content


def certificate(content: bytes | None = None, **changed: Any) -> Document:
    content = content or der()
    return {
        "store": "My",
        "thumbprint": hashlib.sha1(content, usedforsecurity=False).hexdigest().upper(),
        "der": base64.b64encode(content).decode(),
        "private_key": True,
        "exportable": False,
        "provider": "Microsoft Software Key Storage Provider",
        "key_name": "0123abcd_machine",
        **changed,
    }


def access(*entries: tuple[str, int] | tuple[str, int, bool], owner: str = SYSTEM) -> Document:
    """An ACL: entries (SID, rights) beside those of the system and the administrators."""
    listed = [*entries, (SYSTEM, FULL), (ADMINISTRATORS, FULL)]
    return {
        "owner": owner,
        "entries": [
            {"sid": each[0], "rights": each[1], "allow": each[2] if len(each) > 2 else True}
            for each in listed
        ],
    }


def pfx(**changed: Any) -> Document:
    return {
        "path": "C:\\certs\\gw1.pfx",
        "octets": 2611,
        "changed": "2025-11-03T08:00:00Z",
        "access": access(),
        **changed,
    }


def auth_set(name: str, *proposals: Document) -> Document:
    return {"name": name, "display_name": f"set {name}", "proposals": list(proposals)}


def psk(length: int = 40, fingerprint: str = "0123456789ab") -> Document:
    return {"method": "PreSharedKey", "psk": {"length": length, "fingerprint": fingerprint}}


CERTIFICATE = {"method": "MachineCert", "psk": None}


def main_mode(encryption: str = "AES256", hash_: str = "SHA384", group: str = "DH20") -> Document:
    return {"encryption": encryption, "hash": hash_, "group": group}


def quick_mode(
    encryption: str = "AESGCM256",
    esp_hash: str = "AESGMAC256",
    encapsulation: str = "ESP",
    ah_hash: str = "None",
) -> Document:
    return {
        "encapsulation": encapsulation,
        "encryption": encryption,
        "esp_hash": esp_hash,
        "ah_hash": ah_hash,
    }


def crypto_set(name: str, *proposals: Document, **more: str) -> Document:
    return {"name": name, "display_name": f"set {name}", "proposals": list(proposals), **more}


def tunnel(**changed: Any) -> Document:
    return {
        "name": "",
        "method": "Certificates",
        "custom": True,
        "encryption": "AES256",
        "integrity": "SHA384",
        "group": "ECP384",
        "pfs": "ECP384",
        "esp_encryption": "GCMAES256",
        "esp_integrity": "GCMAES256",
        **changed,
    }


def rule(**changed: Any) -> Document:
    return {
        "name": "{11111111-2222-3333-4444-555555555555}",
        "display_name": "site b",
        "enabled": True,
        "mode": "Tunnel",
        "key_module": "IKEv2",
        "inbound": "Require",
        "outbound": "Require",
        "phase1_auth_set": "certificates",
        "quick_mode_set": DEFAULT % 2,
        "local_endpoint": "192.0.2.1",
        "remote_endpoint": "192.0.2.2",
        **changed,
    }


_CLEAN: Document = {
    "format": "ikewarden windows",
    "version": 1,
    "host": "WIN1",
    "system": "Microsoft Windows Server 2022 Standard 10.0.20348",
    "collected": "2026-03-01T11:00:00Z",
    "elevated": True,
    "certificates": [certificate()],
    "key_files": [
        {"path": KEYS + "0123ABCD_machine", "name": "0123ABCD_machine", "access": access()}
    ],
    "pfx_files": [],
    "rules": [rule()],
    "main_mode_rules": [],
    "main_mode_sets": [crypto_set(DEFAULT % 1, main_mode())],
    "quick_mode_sets": [crypto_set(DEFAULT % 2, quick_mode(), pfs="DH20")],
    "auth_sets": [auth_set("certificates", CERTIFICATE)],
    "vpn": [tunnel()],
    "errors": [],
}


def clean(**changed: Any) -> Document:
    """The whole document, with some of its fields replaced."""
    return copy.deepcopy({**_CLEAN, **changed})


def octets(document: Any) -> bytes:
    return json.dumps(document).encode()
