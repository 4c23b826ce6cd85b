"""All pages of the console, in the order of the menu."""

from api.console import (
    approvals,
    audit_log,
    authorities,
    certificates,
    ending,
    entry,
    findings,
    issuing,
    jobs,
    overview,
    settings,
    tokens,
)
from api.console.page import Page

PAGES: tuple[Page, ...] = (
    *entry.PAGES,
    *overview.PAGES,
    *certificates.PAGES,
    *issuing.PAGES,
    *ending.PAGES,
    *authorities.PAGES,
    *tokens.PAGES,
    *findings.PAGES,
    *approvals.PAGES,
    *audit_log.PAGES,
    *jobs.PAGES,
    *settings.PAGES,
)
