"""The log of RouterOS 6 and 7: topic `ipsec`, with `info`, `error`, `debug` and `account`, in any of its outputs.

Its IKEv1 speaks as racoon does. Where a copy has lost the topics, its own wordings are the cue.
"""

import re
from collections.abc import Sequence
from typing import Final

from ike.events.dialects.racoon_messages import Messages, Origin
from ike.events.event import SaEvent

_TOPIC: Final = (
    rb"\bipsec(?:, ?(?:info|error|debug|warning|critical|account|packet))+(?:[:\s]\s*|$)"
)
_OWN: Final = (
    rb"(?:respond|initiate) new phase 1 \(|\b(?:new|killing) ike2 SA\b|\bpeer authorized: "
    rb"|phase1 negotiation failed due to time up \S+\["
    rb"|parsing packet failed, possible cause: wrong password"
    rb"|\bfailed to (?:get valid proposal|pre-process ph[12] packet)"
    rb"|\b(?:ISAKMP-SA (?:established|deleted|expired|dying)|purging ISAKMP-SA) \S+\[\d+\](?:-|<=>)"
    rb"|\bIPsec-SA (?:established|expired|killing): (?:ESP/)?\S+ ?\S*->"
)
_SHORT_TOPIC: Final = (
    rb"(?:^|\s)ipsec:? +(?=(?:\d+\.){3}\d+ |IPsec-SA|ISAKMP-SA|ike2?\b|purg|initiate|respond|phase[12]|new ike2|killing"
    rb"|peer|reply|got|sen[dt]|notify|DPD|the packet|res?en[dt]|max|retransmit|child|rekey|identity|no |failed)"
)
#: True for lines of RouterOS about IPsec.
CUE: Final = re.compile(_TOPIC + rb"|" + _SHORT_TOPIC + rb"|" + _OWN)

_LIMIT: Final = 8_192
_PREFIX: Final = re.compile(_TOPIC)
_SHORT: Final = re.compile(_SHORT_TOPIC)
_STARTS: Final = re.compile(
    rb"(?:(?:\d+\.\d+\.\d+\.\d+|[\w*]+\.[\w*]+\.[\w*]+\.[\w*]+) )?(?=" + _OWN + rb")"
)
_OTHER_PREFIX: Final = re.compile(rb"[^\s:\[]{1,64}: +(?=\S)")
_REPEATED: Final = re.compile(rb"message repeated \d+ times: \[ ?")
_PACKETS: Final = re.compile(rb"(?:->|=+>|<-|<=|[0-9a-f]{8} [0-9a-f]{8} )")


class Parser:
    """Lines of one log to events; see `ike.events.reader`."""

    def __init__(self) -> None:
        self._messages = Messages()

    def line(
        self, number: int, raw: bytes, time: float | None, host: str | None
    ) -> Sequence[SaEvent]:
        """The events of a line."""
        message = _message(raw[:_LIMIT])
        if not message or _PACKETS.match(message):
            return ()
        origin = Origin(number, time, host, "routeros")
        events = self._messages.read(message, origin)
        if events:
            return events
        other = _OTHER_PREFIX.match(message)  # the prefix of a logging rule
        return self._messages.read(message[other.end() :], origin) if other else ()

    def close(self) -> Sequence[SaEvent]:
        """RouterOS wraps nothing."""
        return ()


def _message(raw: bytes) -> bytes:
    """What stands behind the topics."""
    topic = _PREFIX.search(raw) or _SHORT.search(raw)
    if topic:
        message = raw[topic.end() :]
    else:
        start = _STARTS.search(raw)
        message = raw[start.start() :].lstrip() if start else b""
    repeated = _REPEATED.match(message)
    return message[repeated.end() :] if repeated else message
