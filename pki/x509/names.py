"""Names that a certificate can vouch for, and the patterns that permit them.

A name is written `kind:value`, as in `dns:gw1.example`, `ip:192.0.2.1`, `email:carol@example.com`,
`uri:spiffe://example.com/gw1` or `dn:CN=gw1,O=Example`. Every value has exactly one spelling
(lower-case host names, shortest form of an address), so that equal names are equal strings.
"""

import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, Literal, Self, cast, get_args

from cryptography import x509

from core.errors import InvalidInput

NameKind = Literal["dns", "ip", "email", "uri", "dn"]
NAME_KINDS: Final[tuple[NameKind, ...]] = get_args(NameKind)

_MAX_LOCAL_PART = 64  # RFC 5321 §4.5.3.1.1
_MAX_MAILBOX = 254  # RFC 5321 §4.5.3.1.3, less the angle brackets
_MAX_URI = 2048
_MAX_DN = 1024
_SHOWN = 100

# RFC 1035 §2.3.4: labels of 63, 253 in all when written without the root's dot. RFC 1123 §2.1:
# letters, digits, hyphen.
_DNS = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
    r"(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*\Z"
)
# RFC 5321 §4.1.2 dot-string, and RFC 3986 §2.2, both less the asterisk: daemons and our own
# patterns read it as a wildcard.
_LOCAL_PART = re.compile(r"[A-Za-z0-9!#$%&'+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'+/=?^_`{|}~-]+)*\Z")
_URI = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):(?:(?P<slashes>//)(?P<authority>[^/?#]*))?"
    r"(?P<path>[^?#]*)(?:\?[^#]*)?(?:#.*)?\Z"
)
_URI_CHARACTERS = re.compile(r"(?:[A-Za-z0-9._~:/?#\[\]@!$&'()+,;=-]|%[0-9A-F]{2})+\Z")
_ESCAPED_PLAIN = re.compile(r"%(?:2[DE]|3[0-9]|4[1-9A-F]|5[0-9AF]|6[1-9A-F]|7[0-9AE])")
_AUTHORITY = re.compile(r"(?:[^@]*@)?(?P<host>\[[^\]]*\]|[^:\[\]@]+)(?::[0-9]{1,5})?\Z")


class InvalidName(InvalidInput):
    """A name no certificate may carry."""

    code = "invalid_name"
    next_step = (
        "Write names as kind:value with kind dns, ip, email, uri or dn: dns:gw1.example.com, say."
    )


class InvalidNamePattern(InvalidInput):
    """A pattern that permits names and cannot be understood."""

    code = "invalid_name_pattern"
    next_step = (
        "Write *, kind:* or kind:value; for host names *.example.com is one label and "
        "**.example.com any depth; for addresses write a network such as ip:192.0.2.0/24."
    )


def _shown(text: str) -> str:
    """`text` as it may stand in a message: escaped and short."""
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")


@dataclass(frozen=True, slots=True, order=True)
class GeneralName:
    """One subjectAltName: a kind and its only spelling.

    Made by `parse`, `of` or `from_x509`, which validate.
    """

    kind: NameKind
    value: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.value}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The name written as `kind:value`; raises InvalidName."""
        kind, separator, value = text.partition(":")
        if not separator or kind not in _SPELL:
            raise InvalidName(f"The name {_shown(text)} does not start with a known kind.")
        known = cast("NameKind", kind)
        return cls(known, _SPELL[known](value))

    @classmethod
    def of(cls, kind: NameKind, value: str) -> Self:
        """The name of that kind; raises InvalidName."""
        return cls(kind, _SPELL[kind](value))

    @classmethod
    def from_x509(cls, name: x509.GeneralName) -> Self:
        """The name found in a request or certificate; raises InvalidName, also for other kinds."""
        match name:
            case x509.DNSName():
                return cls.of("dns", name.value)
            case x509.IPAddress():
                return cls.of("ip", str(name.value))
            case x509.RFC822Name():
                return cls.of("email", name.value)
            case x509.UniformResourceIdentifier():
                return cls.of("uri", name.value)
            case x509.DirectoryName():
                return cls.of("dn", name.value.rfc4514_string())
        raise InvalidName(
            f"Names of the form {type(name).__name__} are not supported.",
            next_step="Ask for dNSName, iPAddress, rfc822Name, uniformResourceIdentifier "
            "or directoryName.",
        )

    def to_x509(self) -> x509.GeneralName:
        """The name as `cryptography` puts it into an extension."""
        match self.kind:
            case "dns":
                return x509.DNSName(self.value)
            case "ip":
                return x509.IPAddress(ip_address(self.value))
            case "email":
                return x509.RFC822Name(self.value)
            case "uri":
                return x509.UniformResourceIdentifier(self.value)
            case "dn":
                return x509.DirectoryName(x509.Name.from_rfc4514_string(self.value))

    @property
    def address(self) -> IPv4Address | IPv6Address | None:
        """The IP address this name stands for, also where it is written as a dNSName; else None."""
        if self.kind == "ip" or (self.kind == "dns" and self.value[-1].isdigit()):
            try:
                return ip_address(self.value)
            except ValueError:
                return None
        return None

    def matches(self, pattern: str) -> bool:
        """Whether the permission `pattern` covers this name; raises InvalidNamePattern."""
        return NamePattern.parse(pattern).covers(self)


@dataclass(frozen=True)
class NamePattern:
    """A permission for names.

    ::

        *                        every name
        dns:* ip:* …             every name of the kind
        dns:gw1.example.com      that name only (so with every kind)
        dns:*.example.com        exactly one label below example.com
        dns:**.example.com       one or more labels below example.com
        ip:192.0.2.0/24          addresses of the network
        email:*@example.com      every mailbox of that host; the host may be a dns pattern
        uri:spiffe://example.com/*   every URI that starts so; the part before * ends in / or :
        dn:*,O=Example,C=DE      every distinguished name below that one (RFC 4514 order)

    An address written as a dNSName (as Windows needs) is covered by `ip:` patterns, and by no
    `dns:` pattern but its own spelling.
    """

    kind: NameKind | None
    value: str

    @staticmethod
    @lru_cache(maxsize=4096)
    def parse(text: str) -> "NamePattern":
        """The pattern; raises InvalidNamePattern."""
        if text == "*":
            return NamePattern(None, "*")
        kind, separator, value = text.partition(":")
        if not separator or kind not in _SPELL:
            raise InvalidNamePattern(
                f"The name pattern {_shown(text)} does not start with a known kind."
            )
        known = cast("NameKind", kind)
        try:
            return NamePattern(known, value if value == "*" else _SPELL_PATTERN[known](value))
        except (InvalidName, ValueError) as error:
            raise InvalidNamePattern(
                f"The name pattern {_shown(text)} cannot be understood."
            ) from error

    def __str__(self) -> str:
        return self.value if self.kind is None else f"{self.kind}:{self.value}"

    def covers(self, name: GeneralName) -> bool:
        """Whether this pattern permits `name`."""
        if self.kind is None:
            return True
        address = name.address
        if self.kind == "ip":
            return address is not None and (self.value == "*" or address in self._network)
        if self.kind != name.kind:
            return False
        if self.value == name.value:
            return True
        if name.kind == "dns" and address is not None:
            return False
        return self.value == "*" or self._covers_value(name.value)

    def _covers_value(self, value: str) -> bool:
        match self.kind:
            case "dns":
                return _dns_covers(self.value, value)
            case "email":
                local, _, host = self.value.partition("@")
                return local == "*" and _dns_covers(host, value.rpartition("@")[2])
            case "uri":
                return self.value.endswith("*") and value.startswith(self.value[:-1])
            case "dn":
                return self.value.startswith("*,") and self._is_below(value)
        return False

    @cached_property
    def _network(self) -> IPv4Network | IPv6Network:
        return ip_network(self.value)

    def _is_below(self, value: str) -> bool:
        # Compared RDN by RDN, never as text: a value may hold an escaped comma.
        base = x509.Name.from_rfc4514_string(self.value[2:]).rdns
        rdns = x509.Name.from_rfc4514_string(value).rdns
        return len(rdns) > len(base) and rdns[: len(base)] == base


def _dns_covers(pattern: str, value: str) -> bool:
    if pattern.startswith("**."):
        return value.endswith(pattern[2:])
    if pattern.startswith("*."):
        return value.partition(".")[2] == pattern[2:]
    return value == pattern


def _spell_dns_pattern(value: str) -> str:
    for lead in ("**.", "*."):
        if value.startswith(lead):
            return lead + _spell_dns(value[len(lead) :])
    return _spell_dns(value)


def _spell_network(value: str) -> str:
    # Strict: host bits that are set mean that the writer meant something else.
    return str(ip_network(value))


def _spell_mailboxes(value: str) -> str:
    if value.startswith("*@"):
        return "*@" + _spell_dns_pattern(value[2:])
    return _spell_email(value)


def _spell_uri_prefix(value: str) -> str:
    if not value.endswith("*"):
        return _spell_uri(value)
    # A prefix that ends inside a host name would permit example.com.evil.test.
    if value[-2:-1] not in {"/", ":"} or value.endswith(("://*", ":/*")):
        raise InvalidName("A URI prefix ends in a slash or a colon, after the host.")
    return _spell_uri(value[:-1] + "x")[:-1] + "*"


def _spell_dns(value: str) -> str:
    lower = value.lower()
    if not (value.isascii() and _DNS.match(lower)):
        raise InvalidName(f"{_shown(value)} is not a host name.", next_step=_dns_advice(value))
    if "--" in lower:
        for label in lower.split("."):
            _check_reserved_label(label)
    if lower[-1].isdigit() and lower.rpartition(".")[2].isdigit():
        _check_numeric_host(lower)
    return lower


def _spell_dn_base(value: str) -> str:
    if value.startswith("*,"):
        return "*," + _spell_dn(value[2:])
    return _spell_dn(value)


def _dns_advice(value: str) -> str:
    if "*" in value:
        return "An IKE identity is one name: list each name, a wildcard is not issued."
    if not value.isascii():
        return "Write internationalized names with A-labels (xn--...), RFC 5890."
    if value.endswith("."):
        return "Leave out the dot at the end."
    return "Use letters, digits, hyphens and dots; labels of 1 to 63 characters, 253 in all."


def _check_numeric_host(value: str) -> None:
    # No top-level domain is all digits (RFC 1123 §2.1), so this is an address or nothing.
    try:
        _spell_ip(value)
    except InvalidName as error:
        raise InvalidName(
            f"The host name {_shown(value)} ends in a number and is no IPv4 address."
        ) from error


def _check_reserved_label(label: str) -> None:
    # RFC 5890 §2.3.1: "--" in third and fourth place is reserved; only xn-- has a meaning.
    if label[2:4] != "--":
        return
    try:
        decoded = label[4:].encode().decode("punycode") if label.startswith("xn--") else ""
        genuine = not decoded.isascii() and decoded.encode("punycode").decode() == label[4:]
    except UnicodeError:
        genuine = False
    if not genuine:
        raise InvalidName(
            f"{_shown(label)} is not an A-label.",
            next_step="Two hyphens after the second character are kept for A-labels (RFC 5890).",
        )


def _spell_ip(value: str) -> str:
    try:
        address = ip_address(value)
    except ValueError as error:
        raise InvalidName(f"{_shown(value)} is not an IP address.") from error
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        raise InvalidName(f"{_shown(value)} has a zone, which means nothing outside its host.")
    if address.is_unspecified or address.is_multicast:
        raise InvalidName(f"{_shown(value)} is not the address of one host.")
    return str(address)


def _spell_email(value: str) -> str:
    # RFC 5280 §4.2.1.6: a Mailbox without name or comment; dot-atom form only, as every daemon
    # compares text.
    local, separator, host = value.rpartition("@")
    if (
        not separator
        or not _LOCAL_PART.match(local)
        or len(local) > _MAX_LOCAL_PART
        or len(value) > _MAX_MAILBOX
    ):
        raise InvalidName(f"{_shown(value)} is not a mailbox of the form user@host.")
    return f"{local}@{_spell_dns(host)}"


def _spell_uri(value: str) -> str:
    # RFC 5280 §4.2.1.6: absolute, with scheme and scheme-specific part; a host where there is an
    # authority.
    match = _URI.match(value)
    if (
        match is None
        or len(value) > _MAX_URI
        or not _URI_CHARACTERS.match(value)
        or not (match["authority"] or match["path"].strip("/"))
    ):
        raise InvalidName(f"{_shown(value)} is not an absolute URI.")
    # Prefix permissions compare text, so a second spelling of a path is refused (RFC 3986 §6.2.2).
    if _ESCAPED_PLAIN.search(value) or not {".", ".."}.isdisjoint(match["path"].split("/")):
        raise InvalidName(f"{_shown(value)} is not in normal form (RFC 3986 section 6.2.2).")
    scheme, authority = match["scheme"].lower(), match["authority"] or ""
    if authority:
        authority = _spell_authority(authority)
    rest = value[match.start("path") :]
    return f"{scheme}:{match['slashes'] or ''}{authority}{rest}"


def _spell_authority(authority: str) -> str:
    match = _AUTHORITY.match(authority)
    if match is None:
        raise InvalidName(f"{_shown(authority)} is not a URI's host.")
    host = match["host"]
    spelled = f"[{_spell_ip(host[1:-1])}]" if host.startswith("[") else _spell_dns(host)
    return authority[: match.start("host")] + spelled + authority[match.end("host") :]


def _spell_dn(value: str) -> str:
    try:
        name = x509.Name.from_rfc4514_string(value)
    except ValueError as error:
        raise InvalidName(
            f"{_shown(value)} is not a distinguished name.",
            next_step="Write it as RFC 4514 does, most specific part first: dn:CN=gw1,O=Example.",
        ) from error
    if (
        not name.rdns
        or len(value) > _MAX_DN
        or not value.isprintable()
        or any(not _is_plain(attribute.value) for attribute in name)
    ):
        raise InvalidName(f"{_shown(value)} is not a usable distinguished name.")
    return name.rfc4514_string()


def _is_plain(text: str | bytes) -> bool:
    """Whether the decoded value can be shown and kept in a line: RFC 4514 escapes hide line feeds; * is a wildcard."""
    return isinstance(text, str) and text.isprintable() and text != "*"


_SPELL: Final = {
    "dns": _spell_dns,
    "ip": _spell_ip,
    "email": _spell_email,
    "uri": _spell_uri,
    "dn": _spell_dn,
}
_SPELL_PATTERN: Final = {
    "dns": _spell_dns_pattern,
    "ip": _spell_network,
    "email": _spell_mailboxes,
    "uri": _spell_uri_prefix,
    "dn": _spell_dn_base,
}
