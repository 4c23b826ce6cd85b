"""Traffic through a tunnel, and the proof that it went through."""

import contextlib
import math
import re
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from tests.lab.charon import Gateway
from tests.lab.errors import LabError

_ANSWERED = re.compile(r"icmp_seq=(\d+) ttl")
_ON_THE_WAY = 10
_COUNTS = re.compile(r"(\d+) packets transmitted, (\d+) received")
_ROUND_TRIP = re.compile(r"rtt min/avg/max/mdev = [\d.]+/([\d.]+)/")


# What charon's own ESP says, at level 2 of `esp`, of a packet under a CHILD_SA that it has not yet or no more.
_STRAY = "inbound ESP packet does not belong to an installed SA"


@dataclass(frozen=True)
class Ping:
    """What ping counted; `average_ms` is 0 when nothing came back."""

    sent: int
    received: int
    average_ms: float
    output: str

    @property
    def lost(self) -> int:
        return self.sent - self.received


def ping(
    source: Gateway, target: Gateway, count: int = 10, *, interval: float = 0.01, wait: float = 60.0
) -> Ping:
    """Send `count` echo requests between the inside addresses, `interval` seconds apart, and `wait` seconds more for
    those that are not answered yet.

    Inside networks are joined by a tunnel or not at all: without one the kernel has no route.
    """
    # With a count alone ping waits no longer for its last answers than twice the longest way there and back, which on
    # a busy machine is too short. With a deadline it goes on until as many as the count are answered.
    deadline = math.ceil(count * interval + wait)
    command = ["ping", "-n", "-c", str(count), "-i", str(interval), "-w", str(deadline)]
    command += ["-I", str(source.inside.ip), str(target.inside.ip)]
    done = source.namespace.run(command, check=False, timeout=30 + deadline)
    whole = _counted(done.stdout + done.stderr)
    answered = {int(number) for number in _ANSWERED.findall(done.stdout)}
    received = len(answered & set(range(1, count + 1)))
    return replace(whole, sent=min(whole.sent, count), received=received)


def _counted(output: str) -> Ping:
    counts, trip = _COUNTS.search(output), _ROUND_TRIP.search(output)
    sent, received = (int(counts[1]), int(counts[2])) if counts else (0, 0)
    return Ping(sent, received, float(trip[1]) if trip else 0.0, output)


@contextlib.contextmanager
def pinging(
    source: Gateway, target: Gateway, *, interval: float = 0.01, settle: float = 0.3
) -> Iterator[list[Ping]]:
    """Ping all the while; what was counted is in the list when the block has ended.

    What was still on its way when ping was ended is not counted as sent, unless it is more than that can be.
    """
    output = source.directory / f"ping-{time.monotonic_ns()}"
    command = ["ping", "-n", "-i", str(interval), "-W", "2"]
    command += ["-I", str(source.inside.ip), str(target.inside.ip)]
    process = source.namespace.start(command, output=output)
    counted: list[Ping] = []
    try:
        time.sleep(settle)
        yield counted
        time.sleep(settle)
    finally:
        process.popen.send_signal(signal.SIGINT)
        process.popen.wait(60)
        told = output.read_text(errors="replace")
        whole = _counted(told)
        answered = {int(number) for number in _ANSWERED.findall(told)}
        last = max(answered, default=0)
        sent = whole.sent if whole.sent - last > _ON_THE_WAY else last
        counted.append(Ping(sent, len(answered), whole.average_ms, told))


@dataclass(frozen=True)
class Carried:
    """What the CHILD_SAs of a connection have carried, as this end counted it."""

    packets_in: int
    packets_out: int
    bytes_in: int
    bytes_out: int

    def __sub__(self, before: "Carried") -> "Carried":
        return Carried(
            self.packets_in - before.packets_in,
            self.packets_out - before.packets_out,
            self.bytes_in - before.bytes_in,
            self.bytes_out - before.bytes_out,
        )


def carried(gateway: Gateway, ike: str = "tunnel") -> Carried:
    """The counters of a connection's established IKE_SA; raises LabError when there is none."""
    sa = gateway.established(ike)
    if sa is None:
        raise LabError(f"{gateway.name} has no established {ike}")
    return Carried(
        sum(child.packets_in for child in sa.children),
        sum(child.packets_out for child in sa.children),
        sum(child.bytes_in for child in sa.children),
        sum(child.bytes_out for child in sa.children),
    )


def ping_through(
    source: Gateway,
    target: Gateway,
    count: int = 10,
    *,
    ike: str = "tunnel",
    interval: float = 0.01,
    wait: float = 60.0,
) -> Ping:
    """As `ping`; raises LabError unless all came back and both ends' SAs counted them."""
    ends = (source, target)
    before = [carried(end, ike) for end in ends]
    result = ping(source, target, count, interval=interval, wait=wait)
    grown = [carried(end, ike) - each for end, each in zip(ends, before, strict=True)]
    if result.lost or not result.sent:
        raise LabError(f"{result.received} of {result.sent} came back:\n{result.output}")
    for end, each in zip(ends, grown, strict=True):
        if min(each.packets_in, each.packets_out) < count:
            raise LabError(f"{count} packets came back, but the SAs of {end.name} counted {each}")
    return result


def strays(*gateways: Gateway) -> int:
    """The packets that charon dropped by design: its peer uses a new CHILD_SA as soon as it has answered, and what it
    sends may come before its answer is worked through. A millisecond on an idle machine, longer on a busy one.
    """
    return sum(len(gateway.log.words(_STRAY)) for gateway in gateways)
