"""Credentials, authorities, CRLs, connections and shared secrets as the files of daemons without an adapter. Pure.

`swanctl`  the folders of /etc/swanctl, and configuration files with the managed connections and the shared secrets
`ipsec`    the folders of /etc/ipsec.d of strongSwan's older `ipsec` program, and a file of secrets to be included
`pem`      key.pem, certificate.pem, chain.pem, fullchain.pem, combined.pem (all of them), ca.pem, crl.pem
`pkcs12`   credential.p12 with its passphrase in credential.pass, ca.pem, crl.pem
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    load_pem_private_key,
)
from cryptography.hazmat.primitives.serialization.pkcs12 import serialize_key_and_certificates

from core.secret import Secret
from ike.daemons.port import Connection, Credential, SharedSlot, fingerprint

SECRET: Final = 0o600
PUBLIC: Final = 0o644
_NAME: Final = "ikewarden"

Files = dict[str, tuple[bytes, int]]
"""Content and mode by path below the output directory."""


@dataclass(frozen=True)
class Content:
    """What there is to render. `passphrase` protects a PKCS #12 file. `slots` are of kind psk."""

    credential: Credential | None
    authorities: Sequence[x509.Certificate]
    crls: Sequence[x509.CertificateRevocationList]
    connections: Sequence[Connection]
    passphrase: Secret
    slots: Sequence[SharedSlot] = ()


def render(form: str, content: Content) -> Files:
    """The files of a format (see the module)."""
    return _FORMS[form](content)


def _pem(content: Content) -> Files:
    files = _common(content)
    made = content.credential
    if made is not None:
        chain = _joined(made.chain)
        certificate = made.certificate.public_bytes(Encoding.PEM)
        files |= {
            "key.pem": (made.pem.reveal(), SECRET),
            "certificate.pem": (certificate, PUBLIC),
            "chain.pem": (chain, PUBLIC),
            "fullchain.pem": (certificate + chain, PUBLIC),
            # the one file that changes key and certificate at the same moment
            "combined.pem": (made.pem.reveal() + certificate + chain, SECRET),
        }
    return files


def _pkcs12(content: Content) -> Files:
    files = _common(content)
    made = content.credential
    if made is not None:
        key: Any = load_pem_private_key(made.pem.reveal(), None)
        encryption = BestAvailableEncryption(content.passphrase.reveal())
        p12 = serialize_key_and_certificates(
            _NAME.encode(), key, made.certificate, made.chain, encryption
        )
        files |= {
            "credential.p12": (p12, SECRET),
            "credential.pass": (content.passphrase.reveal(), SECRET),
        }
    return files


def _common(content: Content) -> Files:
    crls = b"".join(each.public_bytes(Encoding.PEM) for each in content.crls)
    return {"ca.pem": (_joined(content.authorities), PUBLIC), "crl.pem": (crls, PUBLIC)}


def _swanctl(content: Content) -> Files:
    # strongSwan reads one certificate per file.
    files = {
        f"x509ca/{_NAME}-{_short(each)}.pem": (each.public_bytes(Encoding.PEM), PUBLIC)
        for each in (
            *content.authorities,
            *(content.credential.chain if content.credential else ()),
        )
    }
    files |= _crls("x509crl", content)
    made = content.credential
    if made is not None:
        files[f"private/{_NAME}.pem"] = (made.pem.reveal(), SECRET)
        files[f"x509/{_NAME}.pem"] = (made.certificate.public_bytes(Encoding.PEM), PUBLIC)
    if content.connections:
        sections = {each.name: _connection(each) for each in content.connections}
        files[f"conf.d/{_NAME}.conf"] = (_section({"connections": sections}).encode(), SECRET)
    if content.slots:
        # charon proves itself by the one that it read last, and takes all; a section's name has no dots.
        secrets = {
            f"ike-{_NAME}-{slot.name.replace('.', '~')}-v{key.version}": {
                "id": _identity(slot.remote_id),
                "secret": f"0x{key.value.reveal().hex()}",
            }
            for slot in content.slots
            for key in reversed(slot.keys)
        }
        files[f"conf.d/{_NAME}.secrets.conf"] = (_section({"secrets": secrets}).encode(), SECRET)
    return files


def _ipsec(content: Content) -> Files:
    files = {
        f"cacerts/{_NAME}-{_short(each)}.pem": (each.public_bytes(Encoding.PEM), PUBLIC)
        for each in (
            *content.authorities,
            *(content.credential.chain if content.credential else ()),
        )
    }
    files |= _crls("crls", content)
    made = content.credential
    lines = [
        f"{_selector(slot.remote_id)} : PSK 0x{key.value.reveal().hex()}\n"
        for slot in content.slots
        for key in slot.keys
    ]
    if made is not None:
        files[f"private/{_NAME}.pem"] = (made.pem.reveal(), SECRET)
        files[f"certs/{_NAME}.pem"] = (made.certificate.public_bytes(Encoding.PEM), PUBLIC)
        lines.insert(0, f": {_secret_kind(made)} {_NAME}.pem\n")
    if lines:
        files[f"{_NAME}.secrets"] = ("".join(lines).encode(), SECRET)
    return files


def _selector(identity: str) -> str:
    """The peer's identity as ipsec.secrets has it; never our own, which would let in anybody who has a secret of us."""
    kind, _, value = identity.partition(":")
    return {"dns": f"@{value}", "dn": f'"{value}"'}.get(kind, value)


def _crls(folder: str, content: Content) -> Files:
    return {
        f"{folder}/{_NAME}-{_digest(each)}.crl": (each.public_bytes(Encoding.DER), PUBLIC)
        for each in content.crls
    }


def _digest(crl: x509.CertificateRevocationList) -> str:
    """The same for all lists of an issuer, so that a new one takes the place of the old one."""
    return hashlib.sha256(crl.issuer.public_bytes()).hexdigest()[:16]


def _short(certificate: x509.Certificate) -> str:
    return fingerprint(certificate)[:16]


def _joined(certificates: Sequence[x509.Certificate]) -> bytes:
    return b"".join(each.public_bytes(Encoding.PEM) for each in certificates)


def _secret_kind(credential: Credential) -> str:
    key = credential.certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        return "RSA"
    return "ECDSA" if isinstance(key, ec.EllipticCurvePublicKey) else "PKCS8"


def _connection(wanted: Connection) -> dict[str, Any]:
    """A connection as swanctl.conf has it; it was checked (ike.daemons.connections)."""
    # Without `certs`: the daemon takes the certificate for the id, and a renewal leaves the connection alone.
    by_secret = wanted.authentication == "psk"
    auth = "psk" if by_secret else "pubkey"
    remote = {"auth": auth, "id": _identity(wanted.remote_id)}
    section: dict[str, Any] = {"version": wanted.ike_version}
    if not by_secret:
        remote["revocation"] = wanted.revocation
        section["send_cert"] = "always"
        if anchors := wanted.remote_authorities:
            remote["cacerts"] = ", ".join(f"{_NAME}-{each[:16]}.pem" for each in anchors)
    for name, values in (
        ("local_addrs", wanted.local_addresses),
        ("remote_addrs", wanted.remote_addresses),
        ("proposals", wanted.proposals),
    ):
        if values:
            section[name] = ", ".join(values)
    if wanted.rekey_seconds is not None:
        section["rekey_time"] = f"{wanted.rekey_seconds}s"
    section["local"] = {"auth": auth, "id": _identity(wanted.local_id)}
    section["remote"] = remote
    section["children"] = {
        child.name: {
            "local_ts": ", ".join(child.local_ts),
            "remote_ts": ", ".join(child.remote_ts),
            "start_action": child.start_action,
            **({"esp_proposals": ", ".join(child.esp_proposals)} if child.esp_proposals else {}),
            **(
                {"rekey_time": f"{child.rekey_seconds}s"} if child.rekey_seconds is not None else {}
            ),
        }
        for child in wanted.children
    }
    return section


def _identity(text: str) -> str:
    """`dns:a.example` as strongSwan writes it; the kind is said, so that nothing is guessed."""
    kind, _, value = text.partition(":")
    prefix = {"dns": "fqdn:", "email": "rfc822:", "dn": "", "ip": ""}.get(kind, "")
    return f'"{prefix}{value}"'


def _section(section: Mapping[str, Any], depth: int = 0) -> str:
    margin = "  " * depth
    lines = []
    for key, value in section.items():
        if isinstance(value, Mapping):
            lines.append(f"{margin}{key} {{\n{_section(value, depth + 1)}{margin}}}\n")
        else:
            lines.append(f"{margin}{key} = {value}\n")
    return "".join(lines)


_FORMS: Final = {"swanctl": _swanctl, "ipsec": _ipsec, "pem": _pem, "pkcs12": _pkcs12}
