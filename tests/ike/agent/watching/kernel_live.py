"""The kernel's own telling of SAs, with a kernel that has ESP: those of a charon, and those made by hand.

They run in a guest of User-Mode Linux: see tests/ike/daemons/test_real_esp.py.
"""

import socket
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import pytest

from ike.agent.watching.kernel import Kernel, listening
from ike.agent.watching.sources import Gathered
from ike.events.event import SaEvent
from ike.events.kernel_messages import LONGEST
from ike.sas.host import Here
from tests.ike.sas.pair import pair
from tests.lab import Gateway, Lab
from tests.lab.dumping import MANUAL
from tests.lab.namespaces import ip_batch

_MINE = "src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x3003 reqid 0 mode tunnel"
_KEYS = "enc cbc(aes) 0x" + "deadbeef" * 4 + " auth-trunc hmac(sha256) 0x" + "c0ffee42" * 8 + " 128"


def kernel(host: Gateway, *, manual: bool = False) -> Kernel:
    return Kernel(
        lambda: datetime.now(UTC),
        manual=manual,
        here=Here(ip=("ip", "-n", host.namespace.name)),
        listen=lambda: host.namespace.within(listening),
    )


class Listening:
    """A source in a thread; the place where it stopped."""

    def __init__(self, source: Kernel, position: dict[str, Any] | None = None) -> None:
        self.events: list[SaEvent] = []
        self.position = position
        self._stop = threading.Event()
        self._begun = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(source, position), daemon=True)
        self._thread.start()
        assert self._begun.wait(60)

    def _run(self, source: Kernel, position: dict[str, Any] | None) -> None:
        for each in source.gather(position, self._stop):
            self._keep(each)
            self._begun.set()

    def _keep(self, gathered: Gathered) -> None:
        self.events += gathered.events
        self.position = gathered.position

    def until(self, condition: Callable[[list[SaEvent]], object]) -> list[SaEvent]:
        end = time.monotonic() + 60
        while not condition(self.events):
            assert time.monotonic() < end, [
                (e.kind, e.name, e.reason, e.spi_in) for e in self.events
            ]
            time.sleep(0.05)
        return self.events

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(60)


def kinds(events: list[SaEvent]) -> list[str]:
    return [each.kind for each in events]


def test_no_key_comes_into_memory(lab: Lab) -> None:
    """A reader of whole messages would have them: what such a one sees, and what is read."""
    host = lab.namespace("host")
    key = bytes.fromhex("deadbeef")
    whole, ours = host.within(listening), host.within(listening)
    with whole, ours:
        ip_batch(host.name, f"xfrm state add {_MINE} {_KEYS}", "xfrm state flush", *MANUAL)
        ip_batch(host.name, "xfrm state delete src 203.0.113.9 dst 192.0.2.1 proto esp spi 0x2002")
        seen, read = b"", b""
        for _ in range(5):
            seen += whole.recv(1 << 16)
            read += ours.recv(LONGEST)
        with pytest.raises(BlockingIOError):
            ours.recv(LONGEST)
    assert seen.count(key * 4) == 3
    assert key not in read
    assert bytes.fromhex("c0ffee42") not in read


def test_what_the_kernel_had_to_drop_is_made_good(lab: Lab) -> None:
    host = lab.namespace("host")

    def crowded() -> socket.socket:
        made = host.within(listening)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        return made

    source = Kernel(
        lambda: datetime.now(UTC), here=Here(ip=("ip", "-n", host.name)), listen=crowded
    )
    heard = source.gather(None, threading.Event())
    assert next(heard).events == []
    made = [_MINE.replace("0x3003", f"{0x6000 + number:#x}") for number in range(40)]
    ip_batch(host.name, *(f"xfrm state add {each} {_KEYS}" for each in made))
    spis: set[str | None] = set()
    for gathered in islice(heard, 100):
        spis |= {each.spi_out for each in gathered.events if each.kind == "child_established"}
        if len(spis) == 40:
            break
    assert len(spis) == 40


def test_lives_of_sas(lab: Lab) -> None:
    left, _ = pair(lab)
    heard = Listening(kernel(left))
    beside = Listening(kernel(left, manual=True))
    left.initiate("net")
    (up,) = heard.until(lambda found: "child_established" in kinds(found))
    with left.session() as session:
        listed = next(iter(session.list_sas({})))["site"]["child-sas"]
        session.rekey({"child": "net"})
    spis = {(each["spi-in"].decode(), each["spi-out"].decode()) for each in listed.values()}
    assert {(up.spi_in, up.spi_out)} == spis
    assert (up.peer, up.name, up.daemon) == ("192.0.2.2", "esp reqid 1", "kernel")
    heard.until(lambda found: "child_closed" in kinds(found))
    assert kinds(heard.events) == ["child_established", "child_established", "child_closed"]
    assert heard.events[2].spi_in == up.spi_in
    heard.stop()
    # What happens while the agent is away; what is made by hand is seen beside a daemon's, too.
    ip_batch(left.namespace.name, f"xfrm state add {_MINE} {_KEYS}", *MANUAL)
    left.terminate("site")
    again = Listening(kernel(left), heard.position)
    again.until(lambda found: len(found) >= 4)
    assert sorted(kinds(again.events)) == ["child_closed", *["child_established"] * 3]
    made = beside.until(lambda found: kinds(found).count("child_established") == 3)
    names = {str(each.name) for each in made}
    assert names == {"manual esp 00003003", "manual ah 00001001", "manual esp 00002002"}
    # Limits: of time, and of bytes that real packets reach.
    timed = (
        "src 203.0.113.7 dst 192.0.2.1 proto esp spi 0x4004 reqid 0 mode tunnel limit time-hard 1"
    )
    sized = _MINE.replace("0x3003", "0x5005") + " limit byte-soft 300 limit byte-hard 900"
    ends = "src 10.1.0.0/24 dst 10.9.0.0/24"
    tunnel = "tmpl src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x5005 reqid 0 mode tunnel"
    ip_batch(
        left.namespace.name,
        f"xfrm state add {timed} {_KEYS}",
        f"xfrm state add {sized} {_KEYS}",
        f"xfrm policy add {ends} dir out {tunnel}",
        "route add 10.9.0.0/24 via 192.0.2.2 src 10.1.0.1",
    )
    ping = "ping -c 12 -i 0.2 -W 1 -s 100 -I 10.1.0.1 10.9.0.1"
    left.namespace.run(ping.split(), check=False)
    reasons = {("child_closed", "time"), ("child_closed", "bytes"), ("soft_expired", "bytes")}
    beside.until(lambda found: reasons <= {(each.kind, each.reason) for each in found})
    left.namespace.run(["ip", "xfrm", "state", "flush"])
    beside.until(lambda found: kinds(found).count("child_closed") == 5)
    again.stop()
    beside.stop()
