"""Names: identities as the service writes them (`dns:gw.example`), as charon reads and prints them and as people write
them into its files; connections, and the ids of shared secrets. Pure.
"""

import contextlib
import hashlib
import ipaddress
import re
from collections.abc import Iterable
from enum import IntEnum

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ike.daemons import matching

# In neither of our names: of a managed connection, of a slot.
_COMPANION = "+ikewarden"
_PROOF = "+proof"
_DOT = "~"
_SECRET = re.compile(r"(?:ppk-)?ikewarden-([A-Za-z0-9_~-]+)-v([0-9]{1,9})")
_TYPED = re.compile(r"(?:fqdn|dns|email|rfc822|userfqdn|ipv4|ipv6|ipv4net|ipv6net|asn1dn):")
_ANYBODY = {"", "*", "%any", "%any4", "%any6", "0.0.0.0", "::"}  # noqa: S104 - as people write it
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


class Match(IntEnum):
    """How well an owner of a shared secret fits an identity; of two secrets charon shows the one that fits better."""

    NONE = 0
    ANYBODY = 1
    PATTERN = 2
    EXACT = 3


def matched(identity: str, owner: str) -> Match:
    """How well an identity fits what people wrote as the owner of a shared secret in swanctl.conf."""
    text = _TYPED.sub("", owner.strip(), count=1)
    if text in _ANYBODY:
        return Match.ANYBODY
    if text.startswith("#"):
        return Match.EXACT if text == for_charon(identity).partition(":")[2] else Match.NONE
    text = text.removeprefix("@").removeprefix("@")
    if not is_said(identity, text):
        return Match.NONE
    return Match.PATTERN if "*" in text or "/" in text else Match.EXACT


def companion(connection: str) -> str:
    """The connection that answers for another while there are two PPKs: see managed.py."""
    return connection + _COMPANION


def proof(connection: str) -> str:
    """The connection under which another is authenticated beside its SAs: see beside.py."""
    return connection + _PROOF


def is_proof(printed: str) -> bool:
    """Whether charon names a connection that is there for a proof."""
    return printed.endswith(_PROOF)


def connection_of(printed: str) -> str:
    """Which connection charon means, whether it names that, its companion or its proof."""
    return printed.removesuffix(_PROOF).removesuffix(_COMPANION)


def secret_id(kind: str, slot: str, version: int) -> str:
    """The id of a version of a shared secret, which is the name of a section at the same time: by its beginning swanctl
    knows what it is, and it has no dots.
    """
    return f"{'ppk-' if kind == 'ppk' else ''}ikewarden-{slot.replace('.', _DOT)}-v{version}"


def secret_of(printed: str) -> tuple[str, int] | None:
    """Slot and version of a shared secret of ours; None for one of others."""
    found = _SECRET.fullmatch(printed)
    return (found[1].replace(_DOT, "."), int(found[2])) if found else None


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
