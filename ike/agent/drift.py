"""What the daemon holds against what it should hold. Pure."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from cryptography import x509

from ike.daemons.matching import MALFORMED, key_id
from ike.daemons.port import Connection, Inventory, fingerprint


@dataclass(frozen=True)
class Wanted:
    """What should be loaded; `old` are fingerprints of former certificates of this gateway, which should not."""

    certificate: x509.Certificate | None
    authorities: Sequence[x509.Certificate]
    crls: Sequence[x509.CertificateRevocationList]
    connections: Sequence[str]
    old: Sequence[str] = ()


def compare(wanted: Wanted, found: Inventory) -> list[dict[str, str]]:
    """Differences as `{code, message}`; none where all is as it should be."""
    loaded = {each.fingerprint: each for each in found.certificates}
    return [
        *_own(wanted, found),
        *(
            _entry("authority_not_loaded", f"{each.subject.rfc4514_string()} is not loaded.")
            for each in wanted.authorities
            if fingerprint(each) not in loaded
        ),
        *(
            _entry("old_certificate_loaded", f"The former certificate {each} is still loaded.")
            for each in wanted.old
            if each in loaded and loaded[each].has_key
        ),
        *_crls(wanted.crls, found),
        *(
            _entry("connection_not_loaded", f"The connection {name} is not loaded.")
            for name in wanted.connections
            if name not in found.connections
        ),
    ]


def tunnels_down(
    connections: Sequence[Connection], loaded: Sequence[str], up: Collection[str]
) -> list[dict[str, str]]:
    """Connections that this end is to start, and of which there is no SA; `up` names those that have one."""
    return [
        _entry("tunnel_down", f"The tunnel {each.name} is to be up, and is not.")
        for each in connections
        if each.name in loaded
        and each.name not in up
        and any(child.start_action == "start" for child in each.children)
    ]


def _own(wanted: Wanted, found: Inventory) -> Iterable[dict[str, str]]:
    if wanted.certificate is None:
        return
    name = fingerprint(wanted.certificate)
    mine = [each for each in found.certificates if each.fingerprint == name]
    if not any(not each.cached for each in mine):
        yield _entry("certificate_not_loaded", f"This gateway's certificate {name} is not loaded.")
    elif (
        not any(each.has_key for each in mine)
        and key_id(wanted.certificate.public_key()) not in found.keys
    ):
        yield _entry("key_not_loaded", f"The key of the certificate {name} is not loaded.")
    elif not any(each.in_use for each in mine):
        others = [each.fingerprint for each in found.certificates if each.in_use]
        for other in others:
            message = f"The daemon uses the certificate {other} in the place of {name}."
            yield _entry("other_certificate_in_use", message)


def _crls(
    crls: Sequence[x509.CertificateRevocationList], found: Inventory
) -> Iterable[dict[str, str]]:
    for crl in crls:
        issuer = crl.issuer.rfc4514_string()
        held = [each.number for each in found.crls if each.issuer == issuer]
        number = crl_number(crl)
        if not held:
            yield _entry("crl_not_loaded", f"The CRL of {issuer} is not loaded.")
        elif None not in held and max(each or 0 for each in held) < number:
            yield _entry("crl_old", f"The CRL of {issuer} is older than number {number}.")


def _entry(code: str, message: str) -> dict[str, str]:
    return {"code": code, "message": message}


def crl_number(crl: x509.CertificateRevocationList) -> int:
    """Its number (RFC 5280 §5.2.3); 0 where it has none."""
    try:
        return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    except (x509.ExtensionNotFound, *MALFORMED):
        return 0
