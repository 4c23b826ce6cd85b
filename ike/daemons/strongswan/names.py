"""Identities: as the service writes them (`dns:gw.example`), and as charon reads and prints them. Pure."""

import contextlib
import ipaddress
import re
from collections.abc import Iterable

from cryptography import x509

from ike.daemons import matching

_TYPES = {"dns": "fqdn", "email": "email"}
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
    """Whether charon prints this identity so."""
    kind, _, value = identity.partition(":")
    if kind == "ip":
        with contextlib.suppress(ValueError):
            return ipaddress.ip_address(value) == ipaddress.ip_address(printed)
        return False
    if kind == "dn":
        with contextlib.suppress(ValueError):
            return _values(x509.Name.from_rfc4514_string(value)) == _printed_values(printed)
        return False
    return value.lower() == printed.lower()


def any_is_said(identities: Iterable[str], printed: str) -> bool:
    """Whether charon prints one of these identities so."""
    return any(is_said(each, printed) for each in identities)


def proves(certificate: x509.Certificate, printed: str) -> bool:
    """Whether a certificate proves the identity that charon prints so."""
    return any_is_said(matching.identities(certificate), printed)


def _values(name: x509.Name) -> list[str]:
    return [str(attribute.value).lower() for rdn in name.rdns for attribute in rdn]


def _printed_values(printed: str) -> list[str]:
    """The values of `C=CH, O=Example, CN=gw`: the types are abbreviated in ways of charon's own."""
    first, *values = _ATTRIBUTE.split(printed)
    return [] if first else [value.lower() for value in values]
