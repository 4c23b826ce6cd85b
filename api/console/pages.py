"""All pages of the console, in the order of the menu."""

from api.console import entry, findings, overview
from api.console.page import Page

PAGES: tuple[Page, ...] = (
    *entry.PAGES,
    *overview.PAGES,
    *findings.PAGES,
)
