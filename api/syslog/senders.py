"""Who may send, and of which gateway it tells. Pure."""

import ipaddress
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from ike.events.programs import CISCO, head_of
from ike.events.stamps import Stamps

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_WRITTEN: Final = re.compile(r"(\S{1,64})(?:\s+([!-<>-~]{1,255}))?\s*=\s*(\S{1,255})")
_KEPT: Final = 4096  # addresses that are remembered
# IOS (`logging origin-id`) and ASA (`logging device-id`) name themselves so.
_TAG: Final = re.compile(rb"(?:^|[\s>])([^\s:<>]{1,255}) ?:(?=\s)")


@dataclass(frozen=True)
class Sender:
    """Whoever sends from `network` speaks of `gateway`; where `host` is given, only lines that name this host do."""

    network: Network
    host: str | None
    gateway: str

    @classmethod
    def parse(cls, text: str) -> "Sender":
        """From a line of the settings. Raises ValueError."""
        found = _WRITTEN.fullmatch(text.strip())
        if found is None:
            raise ValueError(f"{text!r} names no sender")
        return cls(ipaddress.ip_network(found[1]), found[2] and found[2].lower(), found[3])


class Senders:
    """The senders of the settings. The narrowest network that holds an address decides, and it alone.

    What a message says of its host is chosen by whoever sent it. It tells the devices behind one relay apart, and never
    leads out of what the relay may speak of.
    """

    def __init__(self, senders: Iterable[Sender]) -> None:
        # By the kind of addresses and the bits of their network, the narrowest first; then by those bits.
        tables: dict[tuple[int, int], dict[int, dict[str | None, str]]] = {}
        for each in senders:
            network = each.network
            size = (network.version, network.prefixlen)
            table = tables.setdefault(size, {})
            table.setdefault(int(network.network_address), {})[each.host] = each.gateway
        self._tables = sorted(tables.items(), key=lambda item: item[0][1], reverse=True)
        self._known: dict[str, dict[str | None, str]] = {}
        # Whose names alone are asked for.
        self._stamps = Stamps(0.0)

    def knows(self, address: str) -> bool:
        """Whether anything from there may be meant for us."""
        return bool(self._hosts(address))

    def find(self, address: str, line: bytes) -> tuple[str, str | None] | None:
        """The gateway that this line from there is of, and the host by which it was told; None for nobody."""
        hosts = self._hosts(address)
        if len(hosts) > (None in hosts):
            for name in self._names(line):
                if name in hosts:
                    return hosts[name], name
        gateway = hosts.get(None)
        return None if gateway is None else (gateway, None)

    def _names(self, line: bytes) -> Iterator[str]:
        """What a line's host may be called: by its prefix, or by what the device put in front of its own code."""
        name = self._stamps.read(line)[1]
        if name:
            yield name.lower()
        head = head_of(line)
        if head.dialects == {CISCO}:
            for tag in _TAG.finditer(line, 0, head.begins[0]):
                yield tag[1].decode("utf-8", "replace").lower()

    def _hosts(self, address: str) -> dict[str | None, str]:
        known = self._known.get(address)
        if known is None:
            if len(self._known) >= _KEPT:
                self._known.clear()
            known = self._known[address] = self._looked_up(plain(address))
        return known

    def _looked_up(self, address: Address | None) -> dict[str | None, str]:
        if address is not None:
            for (version, bits), table in self._tables:
                rest = address.max_prefixlen - bits
                found = table.get(int(address) >> rest << rest)
                if address.version == version and found is not None:
                    return found
        return {}


def plain(text: str) -> Address | None:
    """An address as it is written in settings: without a zone, IPv4 as such."""
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found
