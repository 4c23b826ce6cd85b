"""What of a host's files matters to its keys: found from the daemons' own configuration, wherever that leads."""

from collections.abc import Sequence
from dataclasses import dataclass

from ike.audit.ground import Ground
from ike.audit.values import Item
from ike.secrets import reading
from ike.secrets.reading import Found
from ike.secrets.values import Problem


@dataclass(frozen=True)
class Start:
    """A configuration to be parsed, by its path on the host. `kind`: swanctl, ipsec.conf, ipsec.secrets,
    strongswan.conf, racoon, racoon-psk, networkmanager, opnsense-xml, vyos-config, or nss for the folder of a database.
    """

    path: str
    kind: str


@dataclass(frozen=True)
class Discovered:
    """All that matters, each file once. `found`: what stands in swanctl.conf, ipsec.conf and ipsec.secrets."""

    items: tuple[Item, ...]
    starts: tuple[Start, ...]
    found: Found
    problems: tuple[Problem, ...] = ()


def discover(ground: Ground, paths: Sequence[str] = ()) -> Discovered:
    """What the configuration in the known places leads to, and these files and folders beside them.

    `paths` are absolute, as the host knows them. What cannot be read is a problem, and never stops the rest.
    """
    return Discovered((), (), reading.read(ground, paths))
