"""Looking names up: once for each connection, whose address is then the one that was judged."""

from collections.abc import Sequence
from ipaddress import ip_address
from typing import Final

import dns.exception
import dns.name
import dns.nameserver
import dns.rdatatype
import dns.resolver

from pki.acme.validation import ProofMissing
from pki.x509.names import GeneralName
from scheduler.acme import addresses
from scheduler.acme.addresses import Address

_SECONDS: Final = 5.0
_MOST_ADDRESSES: Final = 4
_MOST_RECORDS: Final = 100
_PORT: Final = 53


class Lookup:
    """Looks up at given resolvers (address, address:port or [address]:port), or at those of this system."""

    def __init__(self, resolvers: Sequence[str]) -> None:
        self._resolvers = resolvers

    def addresses(self, name: GeneralName, networks: Sequence[str]) -> list[Address]:
        """The addresses of a host that may be connected to, IPv6 first. Raises ProofMissing."""
        if name.address is not None:
            addresses.check(name.address, networks)
            return [name.address]
        found: list[Address] = []
        for kind in ("AAAA", "A"):
            found += [ip_address(text) for text in self._records(name.value, kind)]
        if not found:
            raise ProofMissing("dns", "it has no address")
        return addresses.allowed(found, networks)[:_MOST_ADDRESSES]

    def texts(self, host: str) -> list[bytes]:
        """The TXT records of a host, each as one piece. Raises ProofMissing."""
        answer = self._answer(host, "TXT")
        return [b"".join(record.strings) for record in list(answer or ())[:_MOST_RECORDS]]

    def _records(self, host: str, kind: str) -> list[str]:
        return [record.address for record in list(self._answer(host, kind) or ())[:_MOST_RECORDS]]

    def _answer(self, host: str, kind: str) -> dns.resolver.Answer | None:
        try:
            # Absolute, so that no domain of this machine is tried behind it.
            name = dns.name.from_text(host + ".")
            return self._resolver().resolve(name, kind, search=False, lifetime=_SECONDS)
        except (dns.resolver.NoAnswer, dns.resolver.NXDOMAIN):
            return None
        except (dns.exception.DNSException, OSError, ValueError):
            raise ProofMissing("dns", f"the resolver does not tell its {kind} records") from None

    def _resolver(self) -> dns.resolver.Resolver:
        if not self._resolvers:
            return dns.resolver.Resolver()  # reads the system's own anew: they change
        chosen = dns.resolver.Resolver(configure=False)
        chosen.nameservers = [
            dns.nameserver.Do53Nameserver(*_place(each)) for each in self._resolvers
        ]
        return chosen


def _place(text: str) -> tuple[str, int]:
    """Address and port of a resolver."""
    if text.startswith("["):
        address, _, port = text[1:].partition("]")
        return address, int(port.removeprefix(":") or _PORT)
    if text.count(":") == 1:
        address, _, port = text.partition(":")
        return address, int(port)
    return text, _PORT
