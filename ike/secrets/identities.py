"""Identities of IKE peers as the daemons read them from their files. Pure."""

import contextlib
import ipaddress
import re
from dataclasses import dataclass
from typing import Final, Literal

from cryptography import x509

from core.errors import InvalidInput
from pki.x509.names import GeneralName

IdentityKind = Literal["any", "ip", "net", "dns", "email", "dn", "keyid", "host"]
_ANY: Final = frozenset({"", "%any", "%any4", "%any6", "0.0.0.0", "*", "::", "0::0"})  # noqa: S104
_PREFIXES: Final[dict[str, IdentityKind]] = {
    "ipv4": "ip",
    "ipv6": "ip",
    "ipv4net": "net",
    "ipv6net": "net",
    "ipv4range": "net",
    "ipv6range": "net",
    "rfc822": "email",
    "email": "email",
    "userfqdn": "email",
    "fqdn": "dns",
    "dns": "dns",
    "asn1dn": "dn",
    "keyid": "keyid",
    "xmppaddr": "keyid",
}
_RDN: Final = re.compile(r"\s*([A-Za-z][A-Za-z0-9.-]*|[0-9]+(?:\.[0-9]+)+)\s*=\s*(.*?)\s*\Z", re.S)
_SPLIT: Final = re.compile(r"(?<!\\)[,;](?=\s*[A-Za-z0-9.]+\s*=)")
_SLASHED: Final = re.compile(r"/(?=[A-Za-z0-9.]+\s*=)")
_SPACES: Final = re.compile(r"\s+")


@dataclass(frozen=True)
class Identity:
    """An identity. `host` is a name that Libreswan looks up when it loads the file, and then is an address; `net` is
    a network or range, a `dn` is in the order of its encoding.
    """

    kind: IdentityKind
    value: str = ""

    def __str__(self) -> str:
        return "%any" if self.kind == "any" else f"{self.kind}:{self.value}"

    @property
    def is_pattern(self) -> bool:
        """Whether it stands for more than one."""
        return self.kind in ("any", "net") or "*" in self.value


ANY: Final = Identity("any")


def strongswan(text: str) -> Identity:
    """An identity as strongSwan reads it: `@` is for nothing but telling what would look like something else."""
    found = _prefixed(text)
    if found is not None:
        return found
    if "=" in text:
        return _named(text) or Identity("keyid", text)
    if "@" in text:
        return _with_at(text)
    if text in _ANY:
        return ANY
    return _address(text) or Identity("keyid" if ":" in text else "dns", text.lower())


def _prefixed(text: str) -> Identity | None:
    prefix, colon, value = text.partition(":")
    kind = _PREFIXES.get(prefix.lower())
    if not colon or kind is None:
        return None
    if value.startswith("#"):
        return _encoded(kind, value[1:])
    if kind == "dn":
        return _named(value) or Identity("keyid", value)
    if kind in ("ip", "net"):
        return _address(value) or Identity("keyid", value)
    return Identity(kind, value if kind == "keyid" else value.lower())


def _encoded(kind: IdentityKind, digits: str) -> Identity:
    """One given by its octets."""
    octets = _octets(digits)
    if octets is None:
        return Identity("keyid", f"#{digits}")
    if kind == "ip" and len(octets) in (4, 16):
        return Identity("ip", str(ipaddress.ip_address(octets)))
    if kind in ("dns", "email"):
        return Identity(kind, octets.decode("ascii", "replace").lower())
    return Identity("keyid", f"#{octets.hex()}")


def _with_at(text: str) -> Identity:
    if not text.startswith("@"):
        return Identity("email", text.lower())
    if text.startswith("@#"):
        octets = _octets(text[2:])
        return Identity("keyid", f"#{octets.hex() if octets is not None else text[2:]}")
    if text.startswith("@@"):
        return Identity("email", text[2:].lower())
    return Identity("dns", text[1:].lower())


def libreswan(text: str) -> Identity:
    """An identity as Libreswan reads it: without an `@` it is an address, or a host whose address is looked up."""
    if "=" in text:
        return _named(text.removeprefix("@")) or Identity("keyid", text)
    if text in _ANY or text in ("%none", "%null", "%fromcert"):
        return ANY
    if "@" not in text:
        return _address(text) or Identity("host", text.lower())
    return _with_at_for_libreswan(text)


def _with_at_for_libreswan(text: str) -> Identity:
    if text.startswith("@["):
        return Identity("keyid", f"#{text[2:].removesuffix(']').encode('utf-8', 'replace').hex()}")
    if text.startswith("@#"):
        octets = _octets(text[2:].removeprefix("0x"))
        return Identity("keyid", f"#{octets.hex() if octets is not None else text[2:]}")
    if text.startswith("@~"):
        return Identity("keyid", text[1:])
    if text.startswith("@"):
        return Identity("dns", text[1:].rstrip(".").lower())
    return Identity("email", text.lower())


def _octets(digits: str) -> bytes | None:
    with contextlib.suppress(ValueError):
        return bytes.fromhex(digits.replace(":", "").replace("_", ""))
    return None


def _address(text: str) -> Identity | None:
    with contextlib.suppress(ValueError):
        return Identity("ip", str(ipaddress.ip_address(text)))
    if "/" in text:
        with contextlib.suppress(ValueError):
            return Identity("net", str(ipaddress.ip_network(text, strict=False)))
    first, dash, last = text.partition("-")
    if dash:
        with contextlib.suppress(ValueError):
            low, high = ipaddress.ip_address(first), ipaddress.ip_address(last)
            return Identity("net", f"{low}-{high}")
    return None


def _named(text: str) -> Identity | None:
    """A distinguished name, its parts in their order, spelled alike."""
    parts = _SLASHED.split(text)[1:] if text.startswith("/") else _SPLIT.split(text)
    found = [_RDN.match(part) for part in parts]
    if not found or not all(found):
        return None
    pairs = [(match[1].upper(), match[2].strip('"')) for match in found if match]
    if not all(value.strip() for _, value in pairs):
        return None
    return Identity("dn", ", ".join(f"{kind}={value}" for kind, value in pairs))


def equal(one: Identity, other: Identity) -> bool:
    """Whether two identities are the same to a daemon: letters of either case, whatever the spaces."""
    return folded(one) == folded(other)


def folded(identity: Identity) -> Identity:
    """The identity in the one spelling that equal ones share."""
    value = identity.value.lower()
    return Identity(identity.kind, _SPACES.sub(" ", value) if identity.kind == "dn" else value)


def covers(pattern: Identity, identity: Identity) -> bool:
    """Whether an identity fits strongSwan's pattern, `%any` left aside: `*.example.com`, a network, a name with `*`."""
    if pattern.kind == "net" and identity.kind == "ip":
        return _within(identity.value, pattern.value)
    if pattern.kind != identity.kind or "*" not in pattern.value:
        return False
    if pattern.kind in ("dns", "email"):
        asked, value = pattern.value.lower(), identity.value.lower()
        return asked.startswith("*") and value.endswith(asked[1:])
    if pattern.kind == "dn":
        asked_parts, parts = pattern.value.lower().split(", "), identity.value.lower().split(", ")
        return len(asked_parts) == len(parts) and all(
            one in (other, f"{other.partition('=')[0]}=*")
            for one, other in zip(asked_parts, parts, strict=True)
        )
    return False


def _within(address: str, text: str) -> bool:
    found = ipaddress.ip_address(address)
    first, dash, last = text.partition("-")
    if not dash:
        return found in ipaddress.ip_network(text)
    low, high = ipaddress.ip_address(first), ipaddress.ip_address(last)
    return found.version == low.version == high.version and int(low) <= int(found) <= int(high)


def on_record(identity: Identity | None) -> str | None:
    """How the service writes an identity (`dns:gw1.example.com`); None for what stands for several, and for what no
    certificate can carry.
    """
    if identity is None or identity.is_pattern:
        return None
    try:
        if identity.kind == "dn":
            parts = [part.replace(",", "\\,") for part in identity.value.split(", ")]
            name = x509.Name.from_rfc4514_string(",".join(reversed(parts)))
            return str(GeneralName.parse(f"dn:{name.rfc4514_string()}"))
        if identity.kind in ("dns", "ip", "email"):
            return str(GeneralName.parse(str(identity)))
    except (InvalidInput, ValueError):
        return None
    return None
