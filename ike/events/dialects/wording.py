"""Sentences of daemons in tables, and values as they print them: what the parsers of appliances share."""

import re
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from ike.events.event import EVENTS, SaEvent

#: Longer messages than this are cut: what they state stands at their beginning.
LONGEST: Final = 8192

_NOTHING: Final = frozenset(
    {
        "",
        "-",
        "--",
        "::",
        "0.0.0.0",  # noqa: S104 - no address that is listened on
        "(null)",
        "<none>",
        "n/a",
        "none",
        "not-applicable",
        "not-available",
        "null",
        "unknown",
    }
)
_IDS: Final = (
    "connection",
    "ike_id",
    "child",
    "child_id",
    "spi_in",
    "spi_out",
    "old_ike_id",
    "new_child_id",
    "seq",
)
# Of "address:port" and "address/port". An IPv6 address without brackets keeps what follows its colons.
_PORT: Final = re.compile(
    r"(?:^\[(?P<six>[^\]]+)\]|^(?P<plain>[^:/]+):\d{1,5}$|^(?P<slash>[^/]+)/\d{1,5}$)"
)


class Phrase(NamedTuple):
    """What a daemon means when it writes `opening`, in lower case: `kinds` of events.

    An opening that starts with "…" may stand anywhere in the message, else it begins it. No kinds: the message says
    nothing, and is not to be taken for one that a later row of the table would find in it.
    """

    opening: str
    kinds: tuple[str, ...] = ()
    reason: str | None = None
    phase: str | None = None


class Table:
    """Phrases in the order in which they are tried."""

    def __init__(self, phrases: Iterable[Phrase]) -> None:
        self._anywhere: list[tuple[int, Phrase]] = []
        self._openings: dict[str, list[tuple[int, Phrase]]] = {}
        for number, phrase in enumerate(phrases):
            if phrase.opening.startswith("…"):
                self._anywhere.append((number, phrase._replace(opening=phrase.opening[1:])))
            else:
                self._openings.setdefault(phrase.opening[:4], []).append((number, phrase))

    def find(self, message: str) -> Phrase | None:
        """The first phrase of the table that `message`, in any case, is or holds."""
        text = message.lower()
        best: tuple[int, Phrase] | None = None
        for number, phrase in self._openings.get(text[:4], ()):
            if text.startswith(phrase.opening):
                best = (number, phrase)
                break
        for number, phrase in self._anywhere:
            if best is not None and number > best[0]:
                break
            if phrase.opening in text:
                return phrase
        return best[1] if best else None


def readable(raw: bytes) -> str:
    """A line as text, cut at `LONGEST` bytes; what is no UTF-8 is replaced."""
    return raw[:LONGEST].decode("utf-8", "replace")


def stated(value: str | None) -> str | None:
    """`value` without blanks and quotes around it; None for one that stands for "none"."""
    if value is None:
        return None
    value = value.strip().strip("\"'").strip()
    return None if value.lower() in _NOTHING else value


def address(value: str | None) -> str | None:
    """`value` as an address as printed, without its port; None for one that stands for "none"."""
    value = stated(value)
    if value is None:
        return None
    found = _PORT.match(value)
    return stated(found["six"] or found["plain"] or found["slash"]) if found else value


def without_port(value: str | None) -> str | None:
    """`value` of a daemon that always prints a port after the last colon, behind IPv6 addresses too."""
    if value is None:
        return None
    before, colon, port = value.strip().rpartition(":")
    return stated(before if colon and port.isdigit() and before else value)


def spi(value: str | None) -> str | None:
    """An SPI as printed, without `0x`; None for none, for zero and for one that is masked."""
    value = stated(value)
    if value is None:
        return None
    digits = value[2:] if value[:2].lower() == "0x" else value
    known = re.fullmatch("[0-9a-fA-F]{1,16}", digits) is not None and digits.strip("0") != ""
    return digits if known else None


def fitting(event: SaEvent) -> SaEvent:
    """`event` without numbers and names that do not stand with its kind."""
    fields = EVENTS.get(event.kind, _IDS)
    unfit: dict[str, Any] = {name: None for name in _IDS if name not in fields}
    return event._replace(**unfit)
