"""The ends of a tunnel's shared secret: what each should have, and what it says that it has."""

from dataclasses import dataclass
from datetime import datetime

from api.console.page import text
from api.console.tones import Tone
from fleet.rotation import machine
from fleet.rotation.shown import EndView


@dataclass(frozen=True)
class KeyEnd:
    """An end of a tunnel's shared secret: `used` proves it, `accepted` is taken from the peer too."""

    name: str
    outside: bool
    used: int | None
    accepted: tuple[int, ...]
    tone: Tone
    loaded: tuple[int, ...] | None
    authenticated_at: datetime | None
    authenticated_by: int | None
    reported_at: datetime | None
    error: str
    foreign: int


def key_end(view: EndView) -> KeyEnd:
    """What an end should have, and what it says that it has."""
    end, report = view.end, view.end.report
    seen = None if report is None else report.authenticated
    return KeyEnd(
        name=view.gateway or end.name,
        outside=not end.ours,
        used=end.keys[0] if end.keys else None,
        accepted=end.keys[1:],
        tone=_agreement(view),
        loaded=None if report is None else report.versions,
        authenticated_at=None if seen is None else seen.at,
        authenticated_by=None if seen is None else seen.version,
        reported_at=None if report is None else report.reported_at,
        error="" if report is None else report.error,
        foreign=len(view.foreign),
    )


def _agreement(view: EndView) -> Tone:
    end = view.end
    if not end.ours:
        return Tone("off", text("Outside"))
    if machine.has_refused(end):
        return Tone("bad", text("Refuses"))
    if end.report is not None and end.report.error_code:
        return Tone("warn", text("Tries again"))
    if not machine.agrees(end):
        return Tone("busy", text("Awaited"))
    if end.report is None:
        return Tone("off", text("Never heard"))
    return Tone("good", text("Confirmed"))
