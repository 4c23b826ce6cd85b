"""From a message of racoon or RouterOS to its events: which end is which, and which half of a pair an SA is."""

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from ike.events.dialects.racoon_rows import ROWS
from ike.events.dialects.rows import Row, address_of, event_of, first_word, text_of
from ike.events.event import SaEvent

_KNOWN_ENDS: Final = 4_096  # addresses of ours that are kept in mind
_PAIRS: Final = 10_000
_LEADING: Final = re.compile(
    rb"\[?(?P<peer><[^<>\s]{1,60}>|[\w*]+\.[\w*]+\.[\w*]+\.[\w*]+|[0-9A-Fa-f]*:[0-9A-Fa-f:]+)"
    rb"\]?(?:\[\d+\])?:? "
)
#: Where another message begins in a line that holds several, as copies from a web page do.
_NEXT: Final = re.compile(
    r"(?:ISAKMP-SA (?:established|deleted|expired)|IPsec-SA (?:established|expired)|purg(?:ing|ed) (?:ISAKMP|IPsec)-SA"
    r"|(?:respond|initiate) new phase|(?:new|killing) ike2 SA|peer authorized|phase[12] negotiation failed due"
    r"|(?:\d+\.|x+\.){3}(?:\d+|x+) (?:failed to get valid|parsing packet failed))"
)
_PRIVATE: Final = re.compile(
    r"10\.|192\.168\.|172\.(?:1[6-9]|2\d|3[01])\.|100\.(?:6[4-9]|[7-9]\d|1[01]\d|12[0-7])\."
)
#: Messages with nothing in them that a peer chooses, so that what follows is ours.
_FOLLOWED: Final = frozenset(
    {
        "ike_initiate",
        "ike_respond",
        "ike_established",
        "ike_deleted",
        "ike_timeout",
        "child_established",
        "child_closed",
    }
)
#: What lacks the addresses or the SPI that all such messages have.
_CUT: Final = re.compile(
    rb"\s*(?:(?:initiate|respond) new phase ?1(?!.*\])|ISAKMP-SA (?:established|expired|deleted)(?!.*[\]:])"
    rb"|IPsec-SA (?:established|expired):(?!.*spi=))"
)


class Origin(NamedTuple):
    """The line that a message stands on, and what its prefix shows."""

    number: int
    time: float | None
    host: str | None
    daemon: str
    peer: str | None = None
    name: str | None = None
    level: bytes = b""


class Messages:
    """Reads messages; keeps in mind which addresses are ours and which SAs wait for their other half."""

    def __init__(self) -> None:
        self._ours: dict[str, None] = {}
        self._halves: dict[tuple[str, str], tuple[str, str]] = {}

    def read(self, message: bytes, origin: Origin) -> tuple[SaEvent, ...]:
        """The events of one message, or of several in one line."""
        message = message.lstrip()
        led = _LEADING.match(message)
        if led:
            message = message[led.end() :]
            origin = origin._replace(peer=text_of(led["peer"]))
        rows = ROWS.get(first_word(message))
        if rows is None:
            return ()
        text = text_of(message)
        for each in rows:
            match = each.pattern.match(text)
            if match:
                if not each.kinds:
                    self._learn(origin.peer)
                    return ()
                if _is_harmless(each, origin):
                    return ()
                event = self._event(each, match, origin)
                if each.kinds[0] not in _FOLLOWED:
                    return (event,)
                more = _NEXT.search(text, max(match.end(), 1))
                rest = self.read(text[more.start() :].encode(), origin) if more else ()
                return (event, *rest)
        return ()

    def _event(self, row: Row, match: re.Match[str], origin: Origin) -> SaEvent:
        kind = row.kinds[0]
        shown: dict[str, Any] = {name.rstrip("_2"): v for name, v in match.groupdict().items() if v}
        self._learn(shown.pop("local", None))
        fields = {**row.fixed, **shown}
        if "source" in shown:
            del fields["source"]
            fields.update(self._directed(kind, shown))
        address = address_of(fields.get("peer") or origin.peer)
        fields["peer"] = address or fields.get("identity")
        fields["source"] = address
        fields["connection"] = fields.get("connection") or origin.name
        fields["name"] = fields["connection"]
        return event_of(
            kind,
            fields,
            line=origin.number,
            time=origin.time,
            host=origin.host,
            daemon=origin.daemon,
        )

    def _learn(self, ours: str | None) -> None:
        if ours is None or ours in self._ours:
            return
        if len(self._ours) >= _KNOWN_ENDS:
            del self._ours[next(iter(self._ours))]
        self._ours[ours] = None

    def _directed(self, kind: str, shown: Mapping[str, str]) -> dict[str, Any]:
        """`peer`, the SPI by its direction, and whether this is the second half of a pair.

        The inbound SA is named first, with the peer as source; newer racoons print our end as the source of both.
        """
        source, target = shown["source"], shown["target"]
        outward = self._is_outward(source, target)
        found: dict[str, Any] = {}
        inward = not outward
        if kind == "child_established":
            first = self._other_half(source, target)
            if first is not None:
                found["reason"] = "other_half"
                inward = first != (source, target) and not outward
            elif outward is None or outward:
                inward = True
        elif outward is None:
            return {"peer": source} if kind == "ike_timeout" else found
        found["peer"] = target if outward else source
        if "spi" in shown:
            found["spi_in" if inward else "spi_out"] = shown["spi"]
        return found

    def _is_outward(self, source: str, target: str) -> bool | None:
        """Whether the SA leads from us to the peer; None where neither end is known."""
        known = source in self._ours, target in self._ours
        if known[0] == known[1]:
            known = _is_private(source), _is_private(target)
        return None if known[0] == known[1] else known[0]

    def _other_half(self, source: str, target: str) -> tuple[str, str] | None:
        """The ends of the SA of the same pair that was named before, if one still waits for its half."""
        pair = (source, target) if source < target else (target, source)
        first = self._halves.pop(pair, None)
        if first is None:
            if len(self._halves) >= _PAIRS:
                del self._halves[next(iter(self._halves))]
            self._halves[pair] = (source, target)
        return first


def is_cut(message: bytes) -> bool:
    """Whether the message goes on in another line."""
    return _CUT.match(message) is not None


def _is_private(text: str) -> bool:
    """Whether an address is one from behind NAT, and so ours where the other is not (RFC 1918, 6598)."""
    return _PRIVATE.match(text) is not None


def _is_harmless(row: Row, origin: Origin) -> bool:
    """racoon warns of faults of a certificate that its configuration lets pass."""
    return row.kinds == ("cert_invalid",) and origin.level == b"WARNING"
