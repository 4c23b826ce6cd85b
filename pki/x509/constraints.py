"""Name constraints of authorities (RFC 5280 §4.2.1.10): written as text, put into certificates, obeyed at issuance.

Text forms: `dns:example.com` (the domain and everything below), `ip:192.0.2.0/24`, `email:example.com` (one host),
`email:.example.com` (hosts below), `email:a@example.com` (one mailbox), `uri:example.com`, `uri:.example.com`,
`dn:O=Example`.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from cryptography import x509

from core.errors import InvalidInput
from pki.x509.names import NAME_KINDS, GeneralName, InvalidName


class BadConstraint(InvalidInput):
    """A name constraint that cannot be used."""

    code = "name_constraint_malformed"
    next_step = "Write dns:example.com, ip:192.0.2.0/24, email:example.com, uri:example.com or dn:O=Example."


class NameOutsideConstraints(InvalidInput):
    """The authority's certificate does not allow this name; no verifier would accept it."""

    code = "name_outside_constraints"
    next_step = "Choose another name, or an authority whose name constraints permit it."


@dataclass(frozen=True)
class Subtree:
    """One base of a permitted or excluded subtree."""

    kind: str
    base: str

    @classmethod
    def parse(cls, text: str) -> "Subtree":
        """Read the text form. Raises BadConstraint."""
        kind, colon, base = text.partition(":")
        if not colon or kind not in NAME_KINDS:
            raise BadConstraint(f"{text[:100]!r} is not a name constraint.")
        try:
            subtree = cls(kind, _spelled(kind, base.strip()))
            subtree.to_x509()
        except (ValueError, InvalidName):
            raise BadConstraint(f"{text[:100]!r} is not a name constraint.") from None
        return subtree

    def to_x509(self) -> x509.GeneralName:
        """The GeneralName that stands in the certificate. Raises ValueError."""
        match self.kind:
            case "dns":
                return x509.DNSName(self.base)
            case "ip":
                return x509.IPAddress(ipaddress.ip_network(self.base))
            case "email":
                return x509.RFC822Name(self.base)
            case "uri":
                return x509.UniformResourceIdentifier(self.base)
        return x509.DirectoryName(x509.Name.from_rfc4514_string(self.base))

    def covers(self, name: GeneralName) -> bool:
        """Whether a name of the same kind lies within this subtree."""
        match self.kind:
            case "dns":
                return name.value == self.base or name.value.endswith("." + self.base.lstrip("."))
            case "ip":
                network = ipaddress.ip_network(self.base)
                address = ipaddress.ip_address(name.value)
                return address.version == network.version and address in network
            case "email":
                if "@" in self.base:  # RFC 5280 §7.5: the local part is compared exactly
                    return name.value == self.base
                return _host_within(name.value.rpartition("@")[2], self.base)
            case "uri":
                return _host_within(urlsplit(name.value).hostname or "", self.base)
        return _rdns_within(x509.Name.from_rfc4514_string(name.value), self.base)

    def __str__(self) -> str:
        return f"{self.kind}:{self.base}"


def _spelled(kind: str, base: str) -> str:
    """The only spelling of a base. Raises ValueError, InvalidName."""
    match kind:
        case "ip":
            return str(ipaddress.ip_network(base))
        case "dn":
            return GeneralName.of("dn", base).value
        case "email" if "@" in base:
            return GeneralName.of("email", base).value
        case "email" | "uri":
            # RFC 5280 §4.2.1.10: a leading period means hosts below; in a dNSName it has no meaning.
            host = base.removeprefix(".")
            return base[: len(base) - len(host)] + _host(host)
    return _host(base)


def _host(text: str) -> str:
    name = GeneralName.of("dns", text)
    if name.address is not None:
        raise ValueError("an address where a host name belongs")
    return name.value


def _host_within(host: str, base: str) -> bool:
    # RFC 5280 §4.2.1.10: with a leading period any host below, without it exactly this host.
    return host.endswith(base) if base.startswith(".") else host == base


def _rdns_within(name: x509.Name, base: str) -> bool:
    prefix = list(x509.Name.from_rfc4514_string(base).rdns)
    return list(name.rdns)[: len(prefix)] == prefix


@dataclass(frozen=True)
class NameConstraints:
    """Permitted and excluded subtrees of one authority."""

    permitted: tuple[Subtree, ...] = ()
    excluded: tuple[Subtree, ...] = ()

    @classmethod
    def parse(cls, permitted: Iterable[str], excluded: Iterable[str]) -> "NameConstraints":
        """Read both lists from their text forms. Raises BadConstraint."""
        out = cls(tuple(map(Subtree.parse, permitted)), tuple(map(Subtree.parse, excluded)))
        if any(tree.kind == "dn" for tree in out.excluded):
            # strongSwan >= 6.0.6 rejects every certificate with such a constraint (fix of CVE-2026-35331).
            raise BadConstraint(
                "strongSwan 6.0.6 and later reject authorities with an excluded directoryName.",
                next_step="Permit the directory names you want instead of excluding others.",
            )
        return out

    @classmethod
    def of(cls, certificate: x509.Certificate) -> "NameConstraints":
        """Read the extension of an authority's certificate; empty where there is none."""
        try:
            value = certificate.extensions.get_extension_for_class(x509.NameConstraints).value
        except x509.ExtensionNotFound:
            return cls()
        return cls(_trees(value.permitted_subtrees), _trees(value.excluded_subtrees))

    def to_x509(self) -> x509.NameConstraints:
        """The extension value. Raises ValueError when there is nothing to constrain."""
        return x509.NameConstraints(
            [tree.to_x509() for tree in self.permitted] or None,
            [tree.to_x509() for tree in self.excluded] or None,
        )

    def __bool__(self) -> bool:
        return bool(self.permitted or self.excluded)

    def check(self, names: Iterable[GeneralName]) -> None:
        """Raise NameOutsideConstraints for the first name that a verifier would refuse."""
        for name in _with_hidden(names):
            if name.kind == "uri":
                self._check_host(name)
            if any(tree.kind == name.kind and tree.covers(name) for tree in self.excluded):
                raise NameOutsideConstraints(f"{name} is excluded by the authority.")
            same_kind = [tree for tree in self.permitted if tree.kind == name.kind]
            # RFC 5280 §4.2.1.10: kinds of names that no permitted subtree mentions are not restricted.
            if same_kind and not any(tree.covers(name) for tree in same_kind):
                raise NameOutsideConstraints(f"{name} is not permitted by the authority.")

    def _check_host(self, name: GeneralName) -> None:
        # RFC 5280 §4.2.1.10: under constraints on URIs one without a host name MUST be rejected. OpenSSL takes a
        # user for a part of the host, so such a URI would not pass there either.
        if not any(tree.kind == "uri" for tree in (*self.permitted, *self.excluded)):
            return
        parts = urlsplit(name.value)
        host = parts.hostname or ""
        if not host or ":" in host or "@" in parts.netloc or host.rpartition(".")[2].isdigit():
            raise NameOutsideConstraints(f"{name} has no host name that the authority permits.")


def _with_hidden(names: Iterable[GeneralName]) -> Iterable[GeneralName]:
    """The names, and the addresses that some verifier sees in them: Windows in dNSNames, dual stacks in IPv6."""
    for name in names:
        yield name
        address = name.address
        if name.kind == "dns" and address is not None:
            yield GeneralName("ip", str(address))
        mapped = getattr(address, "ipv4_mapped", None)
        if mapped is not None:
            yield GeneralName("ip", str(mapped))


def _trees(values: Iterable[x509.GeneralName] | None) -> tuple[Subtree, ...]:
    trees = []
    for value in values or ():
        match value:
            case x509.DNSName():
                trees.append(Subtree("dns", value.value))
            case x509.IPAddress():
                trees.append(Subtree("ip", str(value.value)))
            case x509.RFC822Name():
                trees.append(Subtree("email", value.value))
            case x509.UniformResourceIdentifier():
                trees.append(Subtree("uri", value.value))
            case x509.DirectoryName():
                trees.append(Subtree("dn", value.value.rfc4514_string()))
    return tuple(trees)
