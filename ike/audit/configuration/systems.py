"""Systems that write a daemon's configuration from their own: what is mended in such a file is overwritten. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from ike.audit.values import Finding


@dataclass(frozen=True)
class System:
    """A system, the files that it writes (a folder ends with a slash), and where they are changed in it.

    `kind` is that of its own configuration, empty where the files alone tell it. `places` are by how the id of a rule
    begins.
    """

    name: str
    written: tuple[str, ...]
    kind: str
    place: str
    places: Mapping[str, str] = field(default_factory=dict)

    def writes(self, path: str) -> bool:
        """Whether a file is its."""
        return any(
            path == each or (each[-1] == "/" and path.startswith(each)) for each in self.written
        )


VYOS: Final = System(
    "VyOS",
    ("/etc/swanctl/swanctl.conf", "/etc/ipsec.conf", "/etc/strongswan.d/"),
    "vyos-config",
    "below `vpn ipsec`",
    {
        "ike-proposal": "with `set vpn ipsec ike-group NAME proposal …`",
        "no-post-quantum": "with `set vpn ipsec ike-group NAME proposal …`",
        "esp-": "with `set vpn ipsec esp-group NAME proposal …`",
        "ah-only": "with `set vpn ipsec esp-group NAME proposal …`",
        "default-proposals": "with `set vpn ipsec ike-group NAME proposal …` or `esp-group NAME proposal …`",
        "no-pfs": "with `set vpn ipsec esp-group NAME pfs …`",
        "ike-lifetime": "with `set vpn ipsec ike-group NAME lifetime …`",
        "child-lifetime": "with `set vpn ipsec esp-group NAME lifetime …`",
        "ikev1": "with `set vpn ipsec ike-group NAME key-exchange ikev2`",
        "aggressive-mode-psk-allowed": "below `vpn ipsec`",
        "aggressive-mode": "with `set vpn ipsec ike-group NAME mode main`",
    },
)
OPNSENSE: Final = System(
    "OPNsense",
    (
        "/usr/local/etc/swanctl/swanctl.conf",
        "/usr/local/etc/ipsec.conf",
        "/usr/local/etc/strongswan.conf",
    ),
    "opnsense-xml",
    "on the page VPN: IPsec: Connections (or Tunnel Settings)",
    {
        "log-": "on the page VPN: IPsec: Advanced Settings",
        "aggressive-mode-psk-allowed": "on the page VPN: IPsec: Advanced Settings",
        "unencrypted-main-mode": "on the page VPN: IPsec: Advanced Settings",
    },
)
PFSENSE: Final = System(
    "pfSense",
    ("/var/etc/ipsec/",),
    "",
    "on the page VPN > IPsec > Tunnels",
    {
        "log-": "on the page VPN > IPsec > Advanced Settings",
        "aggressive-mode-psk-allowed": "on the page VPN > IPsec > Advanced Settings",
        "unencrypted-main-mode": "on the page VPN > IPsec > Advanced Settings",
    },
)
_SYSTEMS: Final = (VYOS, OPNSENSE, PFSENSE)


def seen(starts: Iterable[tuple[str, str]]) -> tuple[System, ...]:
    """The systems of a host, by the paths and kinds of what was discovered on it."""
    kinds = {kind for _, kind in starts}
    return tuple(each for each in _SYSTEMS if not each.kind or each.kind in kinds)


def told(finding: Finding, systems: Iterable[System]) -> Finding:
    """The finding, with where it is to be mended if a system writes its file."""
    system = next((each for each in systems if each.writes(finding.place.path)), None)
    if system is None:
        return finding
    begins = (place for start, place in system.places.items() if finding.rule.id.startswith(start))
    place = next(begins, system.place)
    fix = finding.fix or finding.rule.fix
    return replace(
        finding,
        fix=f"Change it in {system.name}, {place}: this file is overwritten. It is to come to this: {fix}",
    )
