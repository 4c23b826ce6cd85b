"""What the kernel tells of SAs: its messages as bytes, the lives that they make, and a kernel that has no ESP.

With ESP: kernel_live.py, in a guest.
"""

import os
import struct
import subprocess
import sys
import threading
from typing import Any

import pytest

from ike.agent.watching.kernel import Kernel, listening
from ike.events.event import EVENTS, REMARKS, SaEvent
from ike.events.kernel_lives import MOST_KEPT, WAIT, Lives
from ike.events.kernel_messages import LONGEST, Told, told
from ike.sas.host import Here
from tests.ike.agent.watching.test_sources import events, gathered, idle, now
from tests.lab import Lab

HERE, THERE = "192.0.2.1", "192.0.2.2"
_SA = struct.Struct("@16s16s5H3BiI16s4sB3x16s12Q3I2IH3B0Q")
_KEY = b"c0ffee42" * 4
_NEVER = (1 << 64) - 1


def raw(kind: int, body: bytes) -> bytes:
    """A message of netlink (linux/netlink.h)."""
    return struct.pack("@IHHII", 16 + len(body), kind, 0, 0, 0) + body


def sa(*, soft: int = _NEVER, hard: int = _NEVER, carried: int = 0, protocol: int = 50) -> bytes:
    """struct xfrm_usersa_info of an SA from there to here."""
    one, two = (bytes(map(int, each.split("."))).ljust(16, b"\0") for each in (HERE, THERE))
    selector = (bytes(16), bytes(16), 0, 0, 0, 0, 2, 0, 0, 0, 0, 0)
    limits = (soft, hard, _NEVER, _NEVER, 0, 0, 0, 0, carried, 3, 1_790_000_000, 0)
    return _SA.pack(
        *selector,
        *(one, b"\xc1\x02\x03\x04", protocol, two),
        *limits,
        *(0, 0, 0),
        *(0, 7, 2, 1, 32, 0),
    )


def secret() -> bytes:
    """XFRMA_ALG_CRYPT: the name of an algorithm, and the key behind it."""
    body = b"cbc(aes)".ljust(64, b"\0") + struct.pack("@I", 256) + _KEY
    return struct.pack("@HH", 4 + len(body), 2) + body


def test_a_new_one_without_its_key() -> None:
    message = raw(0x10, sa() + secret())
    assert _KEY in message
    assert _KEY not in message[:LONGEST]
    assert told(message[:LONGEST]) == Told(
        *("new", "esp", THERE, HERE, "c1020304", 7, "tunnel", "", 0, 1_790_000_000.0)
    )


def test_one_that_is_taken_away() -> None:
    identity = struct.pack("@16s4sHB0I", bytes(16), bytes(4), 2, 50)
    message = raw(0x11, identity + struct.pack("@HH", 228, 6) + sa(carried=99) + secret())
    assert _KEY not in message[:LONGEST]
    found = told(message[:LONGEST])
    assert found is not None
    assert (found.what, found.spi, found.carried) == ("deleted", "c1020304", 99)


@pytest.mark.parametrize(
    ("fields", "hard", "what", "by"),
    [
        ({"soft": 500, "carried": 600}, 0, "soft", "bytes"),
        ({"soft": 500, "carried": 400}, 0, "soft", "time"),
        ({"soft": 500, "hard": 700, "carried": 700}, 1, "hard", "bytes"),
        ({"hard": 700, "carried": 600}, 1, "hard", "time"),
    ],
)
def test_limits(fields: dict[str, int], hard: int, what: str, by: str) -> None:
    found = told(raw(0x18, sa(**fields) + bytes([hard]) + bytes(7)))
    assert found is not None
    assert (found.what, found.by) == (what, by)


def test_what_is_no_message() -> None:
    assert told(raw(0x10, sa(protocol=108))) is None  # IPComp
    assert told(raw(0x13, b"policy")) is None
    for cut in range(16 + _SA.size):
        with pytest.raises(ValueError, match="XFRM"):
            told(raw(0x10, sa())[:cut])
    for kind in range(0x10, 0x30):
        for size in (0, 1, 30, 250):
            try:
                told(raw(kind, os.urandom(size)))
            except ValueError:
                pass


def half(inward: bool, number: int, what: str = "new", **fields: Any) -> Told:
    ends = (THERE, HERE) if inward else (HERE, THERE)
    spi = f"{'c' if inward else 'd'}{number:07x}"
    return Told(what, "esp", *ends, spi, fields.pop("reqid", 7), "tunnel", **fields)


def both(lives: Lives, number: int, at: float, what: str = "new", **fields: Any) -> list[SaEvent]:
    told = [half(way, number, what, **fields) for way in (True, False)]
    return [event for each in told for event in lives.take(each, at)]


def test_two_directions_are_one_sa() -> None:
    lives = Lives(local=[HERE])
    (up,) = both(lives, 1, 100.0)
    assert (up.kind, up.peer, up.name) == ("child_established", THERE, "esp reqid 7")
    assert (up.spi_in, up.spi_out, up.connection) == ("c0000001", "d0000001", None)
    assert both(lives, 1, 110.0, "updated") == []
    (again,) = both(lives, 2, 200.0)
    assert again.spi_in == "c0000002"
    assert both(lives, 1, 201.0, "deleted", carried=50) == []
    (down,) = lives.due(201.0 + WAIT)
    assert (down.kind, down.time, down.spi_in, down.size) == (
        "child_closed",
        201.0,
        "c0000001",
        100,
    )
    assert lives.due(999.0) == []


def test_without_addresses_the_first_one_comes_in() -> None:
    (up,) = both(Lives(), 1, 100.0)
    assert (up.peer, up.spi_in) == (THERE, "c0000001")


def test_one_direction_alone() -> None:
    lives = Lives(local=[HERE])
    assert lives.take(half(False, 1, reqid=0), 100.0) == []
    (up,) = lives.due(100.0 + WAIT)
    assert (up.time, up.spi_in, up.spi_out, up.name) == (
        100.0,
        None,
        "d0000001",
        "manual esp d0000001",
    )
    lives.take(half(False, 1, "hard", reqid=0, by="bytes"), 300.0)
    (down,) = lives.due(300.0 + WAIT)
    assert (down.kind, down.reason, down.size) == ("child_closed", "bytes", None)


def test_one_that_moves_was_not_closed() -> None:
    lives = Lives(local=[HERE])
    both(lives, 1, 100.0)
    both(lives, 1, 200.0, "deleted")
    away = "198.51.100.9"
    (moved,) = lives.take(Told("new", "esp", away, HERE, "c0000001", 7, "tunnel"), 200.1)
    assert (moved.kind, moved.peer) == ("address_changed", away)
    lives.take(Told("new", "esp", HERE, away, "d0000001", 7, "tunnel"), 200.1)
    assert lives.due(300.0) == []
    assert [row[4] for row in lives.place()["kernel"]] == [away]


def test_all_are_flushed() -> None:
    lives = Lives(local=[HERE])
    both(lives, 1, 100.0)
    both(lives, 2, 100.0, reqid=8)
    lives.take(Told("flushed", "ah"), 200.0)
    assert lives.due(300.0) == []
    lives.take(Told("flushed"), 301.0)
    assert [each.kind for each in lives.due(310.0)] == ["child_closed"] * 2


def test_only_those_made_by_hand_and_limits_that_explain() -> None:
    lives = Lives(manual=True, local=[HERE])
    assert both(lives, 1, 100.0) == []
    assert [each.kind for each in both(lives, 2, 100.0, reqid=0)] == ["child_established"]
    (limit,) = lives.take(half(True, 1, "soft", by="bytes"), 150.0)
    assert (limit.kind, limit.peer, limit.reason, limit.name) == (
        "soft_expired",
        THERE,
        "bytes",
        None,
    )
    assert lives.take(half(True, 1, "soft", by="time"), 150.0) == []
    assert lives.take(Told("acquire", "esp", HERE, THERE), 160.0) == []


def test_messages_that_were_lost_are_made_good() -> None:
    lives = Lives(local=[HERE])
    lives.adopt(
        [half(True, 1), half(False, 1), half(True, 2, reqid=8), half(False, 2, reqid=8)], 50.0
    )
    again = Lives(local=[HERE])
    assert again.restore(lives.place())
    there = [half(way, number, reqid=8, added=150.0) for number in (2, 3) for way in (True, False)]
    found = again.compare(there, 200.0)
    assert [(each.kind, each.spi_in) for each in found] == [
        ("child_closed", "c0000001"),
        ("child_established", "c0000003"),
    ]
    assert found[1].time == 150.0
    assert again.compare(there, 210.0) == []


def test_a_place_is_small_or_none() -> None:
    lives = Lives(local=[HERE])
    for number in range(MOST_KEPT + 1):
        both(lives, number, 100.0, reqid=number + 1)
    assert lives.place() == {"kernel": None}
    for odd in ({}, {"kernel": None}, {"kernel": [7]}, {"kernel": [["esp"]]}, {"kernel": "x"}):
        assert not Lives().restore(odd)


def test_any_order_is_taken() -> None:
    kinds = ("new", "updated", "deleted", "soft", "hard", "flushed", "acquire")
    rng = os.urandom(3000)
    lives = Lives(local=[HERE])
    for step, (kind, number) in enumerate(zip(rng[::2], rng[1::2], strict=True)):
        way, what = bool(number & 1), kinds[kind % 7]
        found = lives.take(half(way, number % 5, what, reqid=number % 3), float(step))
        found += lives.due(float(step))
        assert {each.kind for each in found} <= {*EVENTS, *REMARKS}


def test_traffic_asks_for_an_sa_in_vain(lab: Lab) -> None:
    """A policy and no daemon. The kernel needs no ESP for it."""
    host = lab.namespace("host", inside="10.1.0.1/24")
    host.run(["sysctl", "-qw", "net.core.xfrm_acq_expires=1"])
    ends = "src 10.1.0.0/24 dst 10.2.0.0/24"
    tunnel = f"tmpl src {host.address} dst 192.0.2.254 proto esp reqid 1 mode tunnel"
    host.run(f"ip xfrm policy add {ends} dir out {tunnel}".split())
    host.run("ip route add 10.2.0.0/24 via 192.0.2.254 src 10.1.0.1".split())
    here = Here(ip=("ip", "-n", host.name))
    source = Kernel(now, here=here, listen=lambda: host.within(listening))
    stop = threading.Event()
    told = source.gather(None, stop)
    first = next(told)
    assert (first.events, first.position) == ([], {"kernel": []})
    told.close()

    def asked(found: list[Any]) -> bool:
        if len(found) == 1:
            host.run("ping -c 1 -W 1 -I 10.1.0.1 10.2.0.1".split(), check=False)
        return idle(found) and len(events(found)) >= 2

    found = events(gathered(source, None, asked))
    assert [(each.kind, each.peer, each.reason) for each in found[:2]] == [
        ("acquire", "192.0.2.254", None),
        ("acquire", "192.0.2.254", "unanswered"),
    ]


def test_who_may_not_listen() -> None:
    code = "from ike.agent.watching.kernel import listening; listening()"
    done = subprocess.run(
        ["setpriv", "--bounding-set=-all", sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr.splitlines()[-1].endswith("it needs CAP_NET_ADMIN")
