"""All pages of the console, in the order of the menu."""

from api.console import authorities, certificates, ending, entry, issuing, overview, tokens
from api.console.page import Page

PAGES: tuple[Page, ...] = (
    *entry.PAGES,
    *overview.PAGES,
    *certificates.PAGES,
    *issuing.PAGES,
    *ending.PAGES,
    *authorities.PAGES,
    *tokens.PAGES,
)
