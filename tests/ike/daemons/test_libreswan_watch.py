"""What is made of pluto's states, one look after another: a script in the place of whack prints what pluto 4.10 did."""

import os
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ike.daemons.libreswan import Libreswan, Places
from tests.ike.daemons.contract import watching

HEAD = """000 pluto_version=4.10, pluto_vendorid=OE-Libreswan-4.10, audit-log=yes
000 "tunnel": 10.2.0.0/24===192.0.2.2[@b]...192.0.2.1[@a]===10.1.0.0/24; erouted; eroute owner: #2
000 "tunnel":   our idtype: ID_FQDN; our id=@b; their idtype: ID_FQDN; their id=@a
"""


def ike(number: int) -> str:
    return (
        f'000 #{number}: "tunnel":500 STATE_V2_ESTABLISHED_IKE_SA (established IKE SA);'
        " REKEY in 28074s; REPLACE in 28786s; newest; idle;\n"
    )


def child(number: int, of: int) -> str:
    return (
        f'000 #{number}: "tunnel":500 STATE_V2_ESTABLISHED_CHILD_SA (established Child SA); REKEY in'
        f" 27841s; REPLACE in 28786s; newest; eroute owner; IKE SA #{of}; idle;\n"
        f'000 #{number}: "tunnel" esp.cf5995{number:02x}@192.0.2.1 esp.fe7075{number:02x}@192.0.2.2'
        " tun.0@192.0.2.1 tun.0@192.0.2.2 Traffic: ESPin=0B ESPout=0B ESPmax=2^63B\n"
    )


@pytest.fixture
def places(tmp_path: Path) -> Iterator[Places]:
    whack = tmp_path / "whack"
    whack.write_text(f"#!/bin/sh\nexec cat {tmp_path}/status\n")
    whack.chmod(0o700)
    (tmp_path / "pluto.pid").write_text(str(os.getpid()))
    with socket.socket(socket.AF_UNIX) as control:
        control.bind(str(tmp_path / "pluto.ctl"))
        yield Places(whack=str(whack), control=tmp_path / "pluto.ctl", connections=tmp_path)


def seen(places: Places, *looks: str) -> list[tuple[str, str]]:
    """What is told while pluto goes from one of these to the next."""
    status = places.control.with_name("status")

    def show(text: str) -> None:
        fresh = status.with_name("status.new")
        fresh.write_text(HEAD + text)
        fresh.replace(status)

    show(looks[0])
    daemon = Libreswan(now=lambda: datetime.now(UTC), places=places)
    with watching(daemon) as told:
        for text in looks[1:]:
            show(text)
            told.look_twice()
    return [(event.kind.value, event.sa.id if event.sa else "") for event in told.events]


UP = ike(1) + child(2, 1)


@pytest.mark.parametrize(
    ("looks", "events"),
    [
        (("", UP), [("up", "1")]),
        ((UP, ""), [("down", "1")]),
        # A CHILD SA is rekeyed.
        ((UP, ike(1) + child(3, 1)), [("changed", "1")]),
        # The IKE SA is: its predecessor stays for a second, with nothing.
        ((UP, ike(1) + ike(3) + child(2, 3), ike(3) + child(2, 3)), [("changed", "3")]),
        ((UP, ike(3) + child(2, 3)), [("changed", "3")]),
        # Both are, between two looks.
        ((UP, ike(4) + child(3, 4)), [("changed", "4")]),
        # Another authentication, before the old SA is gone, after, and while nobody looked.
        ((UP, UP + ike(3) + child(4, 3), ike(3) + child(4, 3)), [("up", "3"), ("down", "1")]),
        ((UP, "", ike(3) + child(4, 3)), [("down", "1"), ("up", "3")]),
        ((UP, ike(3) + child(4, 3)), [("up", "3"), ("down", "1")]),
        # Without CHILD SAs it is not told.
        ((ike(1), ike(1) + ike(2), ike(2)), [("changed", "2")]),
        ((ike(1), "", ike(2)), [("down", "1"), ("up", "2")]),
    ],
)
def test_an_authentication_is_up_and_a_rekeying_is_not(
    places: Places, looks: tuple[str, ...], events: list[tuple[str, str]]
) -> None:
    assert seen(places, *looks) == events
