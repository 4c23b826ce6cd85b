"""What the receiver counts: for /metrics, and for the record that says once a minute how it fares."""

import threading
from collections import Counter
from typing import Final

#: Reasons for which something is dropped, whose presence is a fault of the receiver's surroundings.
FAULTS: Final = {
    "too_fast": "came faster over UDP than one device may send",
    "backlog": "found no room while the records took no events",
    "kernel": "found no room in the socket's buffer",
    "connection_limit": "connections were too many",
    "gateway_not_found": "events were of gateways that are not registered",
    "event_refused": "events could not be taken",
    "unreadable": "met a mistake of a parser",
}
#: Others, which anybody can bring about.
OTHERS: Final = {
    "unknown_source": "came from a source that is not in [syslog] senders",
    "gave_way": "connections over TLS had not said who they are, and gave way to newer ones",
    "no_certificate": "connections brought no client certificate, or none that counts",
}
#: What came: lines by transport.
LINES: Final = ("udp", "tcp", "tls")
#: Lines of which only the beginning was looked at.
CUT: Final = "cut"


class Tally:
    """Counts by name. May be used by several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._new: Counter[str] = Counter()
        self._noted: Counter[str] = Counter()

    def count(self, name: str, number: int = 1) -> None:
        """Count so many more."""
        with self._lock:
            self._new[name] += number

    def fresh(self) -> Counter[str]:
        """What was counted since this was asked last."""
        with self._lock:
            new, self._new = self._new, Counter()
            self._noted += new
            return new

    def lately(self) -> Counter[str]:
        """What `fresh` gave since this was asked last."""
        with self._lock:
            noted, self._noted = self._noted, Counter()
            return noted
