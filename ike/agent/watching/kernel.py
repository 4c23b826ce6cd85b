"""What becomes of the kernel's SAs, from its netlink multicast: for daemons that tell nothing, for SAs made by hand.

Only the beginning of each message is read. The keys are behind it, and the kernel drops what is not read.
"""

import errno
import select
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final

from ike.agent.watching.sources import Document, Gathered, Now
from ike.events.event import SaEvent
from ike.events.kernel_lives import Lives
from ike.events.kernel_messages import GROUPS, LONGEST, Told, told
from ike.sas import host
from ike.sas.host import Here

_XFRM: Final = 6  # NETLINK_XFRM
_IDLE: Final = 0.25
# What happened so long ago was told, with what was waited for.
_BEHIND: Final = 3.0
_BUFFER: Final = 1 << 21
_AT_ONCE: Final = 512


def listening() -> socket.socket:
    """A socket that the kernel tells of SAs. Raises OSError, which says what is missing."""
    try:
        made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _XFRM)
    except (AttributeError, OSError) as error:
        raise OSError(f"no netlink socket for XFRM: {error}") from None
    try:
        with suppress(OSError):
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        made.bind((0, GROUPS))
        made.setblocking(False)
    except OSError as error:
        made.close()
        raise OSError(
            f"the kernel tells this process nothing of SAs ({error.strerror}): it needs CAP_NET_ADMIN"
        ) from None
    return made


class Kernel:
    """The SAs of the kernel, or, `manual`, those that were made by hand. `here` says how `ip` is called: it lists what
    is there at the beginning, and after the kernel had to drop messages.
    """

    def __init__(
        self,
        now: Now,
        *,
        manual: bool = False,
        here: Here | None = None,
        listen: Callable[[], socket.socket] = listening,
    ) -> None:
        self._now, self._manual = now, manual
        self._here, self._listen = here or Here(), listen

    def gather(self, position: Document | None, stop: threading.Event) -> Iterator[Gathered]:
        """See the protocol. Without a position: from what is there now."""
        with self._listen() as connection:
            lives = Lives(manual=self._manual)
            known = position is not None and lives.restore(position)
            listed = self._listed(lives)  # after the first message may come
            at = self._now().timestamp()
            events: list[SaEvent] = []
            if known:
                events = lives.compare(listed, at)
            else:
                lives.adopt(listed, at)
            place = lives.place()
            yield Gathered(events, place, None)
            while not stop.is_set():
                at = self._now().timestamp()
                if select.select([connection], [], [], _IDLE)[0]:
                    events = self._read(connection, lives)
                    until = None
                else:
                    events, until = [], at - _BEHIND
                events += lives.due(self._now().timestamp())
                place = lives.place() if events else place
                yield Gathered(events, place, until)

    def _read(self, connection: socket.socket, lives: Lives) -> list[SaEvent]:
        events: list[SaEvent] = []
        for _ in range(_AT_ONCE):
            try:
                data, sender = connection.recvfrom(LONGEST)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                events += lives.compare(self._listed(lives), self._now().timestamp())
                continue
            message = told(data) if sender[0] == 0 else None  # 0: the kernel itself
            if message is not None:
                self._learn(lives, message)
                events += lives.take(message, self._now().timestamp())
        return events

    def _learn(self, lives: Lives, message: Told) -> None:
        """Ask for this host's addresses again where none of them is in a message."""
        ends = {message.source, message.destination}
        if message.what in ("new", "updated") and len(ends & lives.local) != 1:
            lives.local = host.addresses(self._here)

    def _listed(self, lives: Lives) -> list[Told]:
        """What is there. Raises OSError."""
        lives.local = host.addresses(self._here)
        try:
            found = host.states(self._here)
        except subprocess.SubprocessError as error:
            raise OSError(str(error)) from None
        return [
            Told(
                "new",
                each.protocol,
                each.source,
                each.destination,
                each.spi,
                each.reqid,
                each.mode,
                carried=each.carried or 0,
                added=each.added.astimezone().timestamp() if each.added else 0.0,
            )
            for each in found
            if each.algorithms  # else a place that waits for one
        ]
