"""The settings that are in force in this process, to be looked at."""

from pki.actors import Action, Actor, require, require_gateway
from pki.desk import Desk, Setting


def settings(desk: Desk, actor: Actor) -> tuple[Setting, ...]:
    """All settings, in the order of the reference; none where the desk was made without a settings file.

    Raises RoleMayNot, OutsideScope.
    """
    require(actor, Action.SETTINGS_READ)
    require_gateway(actor, None)
    return desk.settings
