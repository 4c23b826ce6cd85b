"""All pages of the console, in the order of the menu."""

from api.console import (
    approvals,
    audit_log,
    entry,
    findings,
    jobs,
    overview,
    reports,
    settings,
    ways,
)
from api.console.page import Page

PAGES: tuple[Page, ...] = (
    *entry.PAGES,
    *ways.PAGES,
    *overview.PAGES,
    *findings.PAGES,
    *reports.PAGES,
    *approvals.PAGES,
    *audit_log.PAGES,
    *jobs.PAGES,
    *settings.PAGES,
)
