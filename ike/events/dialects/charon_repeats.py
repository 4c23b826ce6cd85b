"""Which peer does not answer, where charon's lines have no number of an IKE SA (`ike_name = no`).

The line of a repeat names nobody then, nor does the one that gives up, nor that of a dead peer. But the packet that the
same thread sends next is the repeat; who is given up is the one whose last repeat is the longest ago; and a dead peer
is asked anew at once, by the same thread.
"""

import re
from typing import Final

from ike.events.dialects.log_charon_lines import NET, thread_before

_SENT: Final = re.compile(re.escape(NET) + rb"sending packet: from \S+ to (\S+?)\[\d+\]")
_ASKED: Final = re.compile(
    rb"\[IKE\] initiating (?:Main Mode |Aggressive Mode )?IKE_SA [^\n]{1,255}\[\d+\] to (\S+)\s*$"
)
_WHEN: Final = re.compile(
    rb"(?:\d{4}-\d\d-\d\d[T ]|(?:[A-Z][a-z]{2},? )?[A-Z][a-z]{2} [ \d]\d )?\d\d:\d\d:\d\d[^\s\[]{0,24}"
)
#: How many lines of its thread may follow until one says whom it is about.
LINES: Final = {"retransmit": 1, "dpd_timeout": 3}
_COUNT: Final = re.compile(r"\d+")
_KEPT: Final = 10_000


class Repeats:
    """The peers of one host that did not answer: up to which repeat, and whether they were heard since."""

    __slots__ = ("_peers",)

    def __init__(self) -> None:
        self._peers: dict[str, tuple[int, bool]] = {}

    def __bool__(self) -> bool:
        return bool(self._peers)

    def note(self, peer: str, times: int) -> None:
        """A request to `peer` was repeated for the so manieth time."""
        self._peers.pop(peer, None)
        if len(self._peers) >= _KEPT:
            del self._peers[next(iter(self._peers))]
        self._peers[peer] = (times, False)

    def hear(self, peer: str | None) -> None:
        """A packet came from `peer`, perhaps the answer."""
        there = self._peers.get(peer) if peer is not None else None
        if peer is not None and there is not None:
            self._peers[peer] = (there[0], True)

    def give_up(self, message: str) -> str | None:
        """Whom a message is about that says after how many repeats."""
        found = _COUNT.search(message)
        for heard in (False, True):  # where only one direction is lost, it was
            for peer, (times, since) in self._peers.items():
                if found is not None and times == int(found[0][:10]) and since is heard:
                    del self._peers[peer]
                    return peer
        return None


def speaker(raw: bytes, bracket: int) -> bytes:
    """Which thread of which daemon it is that tells the group at `bracket`: what stands before it but the stamp."""
    return _WHEN.sub(b"", raw[raw.rfind(b"\n", 0, bracket) + 1 : bracket])


def address_in(line: bytes, told_by: bytes) -> tuple[bool, str | None]:
    """Is it a line of that `speaker`, and to whom does that send a packet or begin to speak?"""
    bracket = line.find(b"[IKE] ") if NET not in line else line.find(NET)
    if bracket < 0 or thread_before(line, bracket) is None or speaker(line, bracket) != told_by:
        return False, None
    found = _SENT.search(line, bracket) or _ASKED.search(line, bracket)
    return True, found[1].decode("utf-8", "replace") if found else None
