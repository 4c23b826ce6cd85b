"""All pages of the console, in the order of the menu."""

from api.console import (
    alerts,
    entry,
    fleet_map,
    gateways,
    handovers,
    overview,
    rotations,
    sas,
    tunnels,
)
from api.console.page import Page

PAGES: tuple[Page, ...] = (
    *entry.PAGES,
    *overview.PAGES,
    *fleet_map.PAGES,
    *gateways.PAGES,
    *tunnels.PAGES,
    *rotations.PAGES,
    *handovers.PAGES,
    *sas.PAGES,
    *alerts.PAGES,
)
