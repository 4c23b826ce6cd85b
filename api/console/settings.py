"""Settings that are in force, enrollment endpoints and profiles: to look at, not to change."""

from itertools import groupby
from operator import attrgetter
from typing import Any

from api.console.page import Answer, Page, Screen, Visit, text
from api.registry import Nothing
from api.v1.enroll_endpoints import endpoints_shown
from pki import enrollments, in_force, profiles
from pki.actors import Action
from pki.x509.profile import to_document

_PATH = "/settings"
TABS = (
    (_PATH, text("Settings in force")),
    (f"{_PATH}/endpoints", text("Enrollment endpoints")),
    (f"{_PATH}/profiles", text("Profiles")),
)
ORIGINS = {
    "default": text("default"),
    "file": text("settings file"),
    "environment": text("environment"),
}
WORDS = (text("set"), text("not set"), text("automatic"), text("manual"), text("shut"))


def show(visit: Visit[None, Nothing]) -> Answer:
    """Every setting: its value, where it comes from, and what it would be by itself."""
    found = in_force.settings(visit.desk, visit.actor)
    sections = [(name, list(group)) for name, group in groupby(found, key=attrgetter("section"))]
    return _screen("in_force", {"sections": sections, "origins": ORIGINS})


def endpoints(visit: Visit[None, Nothing]) -> Answer:
    """By which doors devices ask for certificates, and what they get."""
    found = enrollments.list_(visit.desk, visit.actor)
    shown = endpoints_shown(visit.desk, found)
    return _screen("endpoints", {"found": shown, "doors": ("est", "scep", "acme", "cmp")})


def all_profiles(visit: Visit[None, Nothing]) -> Answer:
    """What certificates can be made of."""
    return _screen("profiles", {"found": profiles.list_(visit.desk, visit.actor)})


def profile(visit: Visit[None, Nothing]) -> Answer:
    """One profile, all of it."""
    known = profiles.get(visit.desk, visit.actor, visit.path["name"])
    return _screen("profile", {"known": known, "document": to_document(known)})


def _screen(name: str, facts: dict[str, Any]) -> Screen:
    return Screen(f"settings/{name}.html", {"views": TABS, **facts})


PAGES: tuple[Page, ...] = (
    Page("GET", _PATH, show, Action.SETTINGS_READ, menu="Settings"),
    Page("GET", f"{_PATH}/endpoints", endpoints, Action.ENDPOINT_READ),
    Page("GET", f"{_PATH}/profiles", all_profiles, Action.PROFILE_READ),
    Page("GET", f"{_PATH}/profiles/{{name}}", profile, Action.PROFILE_READ),
)
