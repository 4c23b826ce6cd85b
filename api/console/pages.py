"""All pages of the console, in the order of the menu."""

from api.console import (
    alerts,
    entry,
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
    *gateways.PAGES,
    *tunnels.PAGES,
    *rotations.PAGES,
    *handovers.PAGES,
    *sas.PAGES,
    *alerts.PAGES,
)
