"""How a state is shown: by a tone, that is colour and shape, and by a word."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from api.console.page import text

_SOON: Final = timedelta(days=14)


class Tone(NamedTuple):
    """`tone` is good, warn, bad, busy or off; `word` is translated where it is shown."""

    tone: str
    word: str


#: Of versions of a shared secret.
KEYS: Final[Mapping[str, Tone]] = {
    "intended": Tone("busy", text("On its way into the store")),
    "stored": Tone("busy", text("Stored")),
    "current": Tone("good", text("In force")),
    "old": Tone("warn", text("Withdrawn")),
    "destroyed": Tone("off", text("Destroyed")),
    "lost": Tone("bad", text("Lost")),
}
#: Of gateways.
GATEWAYS: Final[Mapping[str, Tone]] = {
    "new": Tone("off", text("Never heard of")),
    "no_certificate": Tone("bad", text("No certificate")),
    "ok": Tone("good", text("In order")),
    "behind": Tone("busy", text("Behind")),
    "unreachable": Tone("bad", text("Unreachable")),
}
SEVERITIES: Final[Mapping[str, Tone]] = {
    "critical": Tone("bad", text("Critical")),
    "high": Tone("bad", text("High")),
    "medium": Tone("warn", text("Medium")),
    "low": Tone("warn", text("Low")),
    "info": Tone("off", text("Information")),
}


def tone_of(words: Mapping[str, Tone], state: str) -> Tone:
    """The tone of a state; one that nobody thought of is shown by its own name."""
    return words.get(state) or Tone("off", state)


def ends(at: datetime | None, now: datetime) -> Tone:
    """How the end of a certificate is shown."""
    if at is None:
        return Tone("off", text("None known"))
    if at <= now:
        return Tone("bad", text("Expired"))
    return Tone("warn", text("Ends soon")) if at - now < _SOON else Tone("good", text("Valid"))
