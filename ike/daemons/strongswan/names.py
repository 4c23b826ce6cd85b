"""Identities: as the service writes them (`dns:gw.example`), and as charon reads and prints them. Pure."""

import contextlib
import hashlib
import ipaddress
import re
from collections.abc import Iterable

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ike.daemons import matching

_TYPES = {"dns": "fqdn", "email": "email"}
_KEY_ID = re.compile(r"(?:[0-9a-f]{2}){4,64}")
_ATTRIBUTE = re.compile(r"(?:^|, )[A-Za-z0-9.]+=")


def for_charon(identity: str) -> str:
    """An identity as a value of load-conn and swanctl.conf, with its type, so that nothing is guessed."""
    kind, _, value = identity.partition(":")
    if kind == "ip":
        return str(ipaddress.ip_address(value))
    if kind == "dn":
        return f"asn1dn:#{x509.Name.from_rfc4514_string(value).public_bytes().hex()}"
    return f"{ {'dns': 'fqdn', 'email': 'email'}[kind] }:{value}".replace(" ", "")


def is_said(identity: str, printed: str) -> bool:
    """Whether charon prints this identity so, or as a pattern that it fits.

    A peer may call itself by a pattern: charon takes it from everybody whose certificate has a name that fits.
    """
    kind, _, value = identity.partition(":")
    with contextlib.suppress(ValueError):
        if kind == "ip":
            return _is_within(ipaddress.ip_address(value), printed)
        if kind == "dn":
            values = _values(x509.Name.from_rfc4514_string(value))
            said = _printed_values(printed)
            pairs = zip(values, said, strict=False)
            return len(values) == len(said) and all(b in (a, "*") for a, b in pairs)
        text = printed.lower()
        return value.lower().endswith(text[1:]) if text[:1] == "*" else value.lower() == text
    return False


def _is_within(address: ipaddress.IPv4Address | ipaddress.IPv6Address, printed: str) -> bool:
    """Whether an address is the one printed, or in the network or range. Raises ValueError."""
    first, dash, last = printed.partition("-")
    if not dash:
        return address in ipaddress.ip_network(printed, strict=False)
    low, high = ipaddress.ip_address(first), ipaddress.ip_address(last)
    return address.version == low.version and int(low) <= int(address) <= int(high)


def any_is_said(identities: Iterable[str], printed: str) -> bool:
    """Whether charon prints one of these identities so."""
    return any(is_said(each, printed) for each in identities)


def proves(certificate: x509.Certificate, printed: str) -> bool:
    """Whether a certificate proves the identity that charon prints so: by a name, or by the id of its key."""
    if any_is_said(matching.identities(certificate), printed):
        return True
    printed = printed.replace(":", "").lower()
    return _KEY_ID.fullmatch(printed) is not None and printed in _key_ids(certificate)


def _key_ids(certificate: x509.Certificate) -> set[str]:
    """By what charon finds a certificate: its subjectKeyIdentifier, SHA-1 of its key, with and without the algorithm,
    and of itself.
    """
    spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    found = {
        matching.key_id(certificate.public_key()),
        hashlib.sha1(spki, usedforsecurity=False).hexdigest(),
        certificate.fingerprint(hashes.SHA1()).hex(),  # noqa: S303 - a name
    }
    with contextlib.suppress(x509.ExtensionNotFound, *matching.MALFORMED):
        extension = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
        found.add(extension.value.digest.hex())
    return found


def _values(name: x509.Name) -> list[str]:
    return [str(attribute.value).lower() for rdn in name.rdns for attribute in rdn]


def _printed_values(printed: str) -> list[str]:
    """The values of `C=CH, O=Example, CN=gw`: the types are abbreviated in ways of charon's own."""
    first, *values = _ATTRIBUTE.split(printed)
    return [] if first else [value.lower() for value in values]
