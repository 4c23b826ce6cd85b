"""How operations leave their trail: one audit row in the acting transaction (house rule 8)."""

from datetime import datetime

from pki.actors import Actor
from store import audit
from store.engine import Unit


def leave(
    unit: Unit,
    actor: Actor,
    action: str,
    about: str,
    *,
    now: datetime,
    outcome: str = "ok",
    **detail: object,
) -> None:
    """Add an audit row to the unit. `about` names the object (`certificate:CA:SERIAL`); `detail` holds no secret."""
    audit.record(
        unit,
        at=now,
        actor=actor.name,
        role=str(actor.role),
        action=action,
        object=about,
        outcome=outcome,
        detail=detail,
        request_id=actor.request_id,
    )
