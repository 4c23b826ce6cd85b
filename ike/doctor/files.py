"""What the files of a host say, for the doctor. Secrets are read to make fingerprints of them, and not kept."""

import re
from collections.abc import Iterable, Sequence
from typing import Final

from cryptography import x509

from core.secret import Secret
from ike.audit import configuration, discovery, keys
from ike.audit.certificates import CertificateFacts
from ike.audit.discovery import Discovered
from ike.audit.ground import Ground
from ike.audit.values import Item, Role
from ike.doctor.values import Host
from ike.secrets import looking
from ike.secrets.values import Dialect

# swanctl.conf and ipsec.secrets name keys in tokens so.
_TOKEN: Final = re.compile(r"^[ \t]*token[\w-]*[ \t]*\{|:[ \t]+PIN[ \t]", re.MULTILINE)


def look(ground: Ground, key: Secret, paths: Sequence[str] = ()) -> Host:
    """The host's configuration in force, certificates, CRLs and secrets. With `paths`, only these and what they name.

    `key`: random octets, the same for both ends of a run. What cannot be read is among the problems.
    """
    discovered = discovery.discover(ground, paths, known=not paths)
    seen = configuration.look(ground, discovered.starts)
    facts, problems = keys.look(ground, discovered)
    found = next(each for each in facts if isinstance(each, CertificateFacts))
    is_pluto = discovered.found.dialect is Dialect.LIBRESWAN
    return Host(
        tunnels=seen.tunnels,
        problems=tuple(dict.fromkeys((*discovered.problems, *seen.problems, *problems))),
        held=found.held,
        keys=frozenset(each.public.digest for each in found.keys if each.public) - {""},
        crls=tuple(_crls(ground, discovered.items)),
        secrets=_secrets(discovered, key),
        dialect="libreswan" if is_pluto else "strongswan",
        sealed=_is_sealed(ground, discovered, found),
        whole=not paths,
        written=max((each.status.changed for each in discovered.items), default=None),
    )


def _is_sealed(ground: Ground, discovered: Discovered, found: CertificateFacts) -> bool:
    if any(each.public is None or not each.public.digest for each in found.keys):
        return True
    return any(_TOKEN.search(_text(ground, each.path)) for each in discovered.found.opened)


def _text(ground: Ground, path: str) -> str:
    try:
        return ground.read(path).content.decode("utf-8", "surrogateescape")
    except OSError:
        return ""


def _secrets(discovered: Discovered, key: Secret) -> dict[str, str]:
    found = {}
    for each in (discovered.found, *discovered.apart):
        for tunnel in looking.look(each, key).tunnels:
            if tunnel.secrets:
                found[tunnel.connection.name] = tunnel.secrets[0].fingerprint
    return found


def _crls(ground: Ground, items: Iterable[Item]) -> Iterable[x509.CertificateRevocationList]:
    for item in items:
        if item.role is Role.REVOCATION:
            try:
                content = ground.read(item.path).content
                yield crl(content)
            except (OSError, ValueError):
                continue  # the daemon does not read it either


def crl(content: bytes) -> x509.CertificateRevocationList:
    """A CRL, DER or PEM. Raises ValueError."""
    if content.lstrip().startswith(b"-----"):
        return x509.load_pem_x509_crl(content)
    return x509.load_der_x509_crl(content)
