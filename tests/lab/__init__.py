"""Real charon daemons in network namespaces; docs/how-to/lab.md shows how to use them."""

from tests.lab.charon import Gateway, connect
from tests.lab.errors import LabError, Refused
from tests.lab.lab import Lab, sweep, usable
from tests.lab.pluto import Pluto
from tests.lab.traffic import carried, ping, ping_through

__all__ = [
    "Gateway",
    "Lab",
    "LabError",
    "Pluto",
    "Refused",
    "carried",
    "connect",
    "ping",
    "ping_through",
    "sweep",
    "usable",
]
