"""Certificate profiles: the built-in ones, and those an installation adds. A profile never changes once made."""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import select

from core.errors import Conflict, NotFound
from pki.actors import Action, Actor, require, require_gateway, require_profile
from pki.authorities import PROFILE as AUTHORITY
from pki.desk import Desk
from pki.trail import leave
from pki.x509.profile import Profile, parse_profile, to_document
from store.engine import Unit
from store.errors import Duplicate
from store.tables import profiles
from store.text import storable


class ProfileNotFound(NotFound):
    """No profile of this name."""

    code = "profile_not_found"
    next_step = "`ikewarden profile list` shows their names (GET /v1/profiles)."


class ProfileExists(Conflict):
    """The name is taken; profiles are not changed, so that an old certificate can always be explained."""

    code = "profile_exists"
    next_step = "Choose another name, for instance with a number at its end."


def load(desk: Desk, name: str) -> Profile:
    """Find a profile without asking who wants it. Raises ProfileNotFound."""
    held = desk.holdings.profiles.get(name)
    if held is None:
        held = desk.rules.profiles.get(name) or _stored(desk, name)
        desk.holdings.profiles[name] = held
    return held


def _stored(desk: Desk, name: str) -> Profile:
    with desk.store.read() as connection:
        query = select(profiles.c.document).where(profiles.c.name == storable(name))
        document = connection.execute(query).scalar_one_or_none()
    if document is None:
        raise ProfileNotFound(f"There is no profile {name[:100]!r}.")
    return parse_profile(document)


def get(desk: Desk, actor: Actor, name: str) -> Profile:
    """Look at one profile. Raises RoleMayNot, OutsideScope, ProfileNotFound."""
    require(actor, Action.PROFILE_READ)
    require_profile(actor, name)
    return load(desk, name)


def list_(desk: Desk, actor: Actor) -> list[Profile]:
    """List the profiles that this caller may use, by name, built-in ones too. Raises RoleMayNot."""
    require(actor, Action.PROFILE_READ)
    visible = actor.scope.profiles
    with desk.store.read() as connection:
        stored = [parse_profile(d) for d in connection.scalars(select(profiles.c.document))]
    found = sorted([*desk.rules.profiles.values(), *stored], key=lambda profile: profile.name)
    return [each for each in found if visible is None or each.name in visible]


def create(desk: Desk, actor: Actor, document: Mapping[str, object], *, now: datetime) -> Profile:
    """Add a profile, for all gateways. Raises RoleMayNot, OutsideScope, InvalidProfile, ProfileExists."""
    require(actor, Action.PROFILE_CREATE)
    require_gateway(actor, None)
    profile = parse_profile(document)
    if profile.name in desk.rules.profiles or profile.name == AUTHORITY:
        raise ProfileExists(
            f"The profile {profile.name!r} is built in, reserved, or comes from a file."
        )

    def work(unit: Unit) -> None:
        unit.insert(
            profiles,
            {
                "name": profile.name,
                "document": to_document(profile),
                "created_at": now,
                "created_by": actor.name,
            },
        )
        leave(unit, actor, "profile.create", f"profile:{profile.name}", now=now)

    try:
        desk.store.together(work)
    except Duplicate:
        raise ProfileExists(f"There is a profile {profile.name!r} already.") from None
    return profile
