"""The overview: what needs a person now."""

from api.console.page import Answer, Page, Screen, Visit
from api.registry import Nothing


def show(_visit: Visit[None, Nothing]) -> Answer:
    """What needs a person now, and how the fleet is."""
    return Screen("overview.html")


PAGES: tuple[Page, ...] = (Page("GET", "/", show, None, menu="Overview"),)
