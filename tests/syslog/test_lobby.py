"""Those who have not said who they are: few at a time, and the newer comes first."""

import asyncio
from contextlib import suppress

import pytest

from api.syslog.lobby import Lobby, prefix_of


@pytest.mark.parametrize(
    ("address", "prefix"),
    [
        ("203.0.113.77", "203.0.113.0/24"),
        ("::ffff:203.0.113.77", "203.0.113.0/24"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
    ],
)
def test_the_network_of_an_address(address: str, prefix: str) -> None:
    assert prefix_of(address) == prefix


def stayed(addresses: list[str], lobby: Lobby) -> list[int]:
    """Which of those that come one after the other are still there at last."""

    async def wait(address: str) -> None:
        with lobby.place(address):
            await asyncio.Event().wait()

    async def come() -> list[int]:
        tasks = [asyncio.create_task(wait(address)) for address in addresses]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        found = [number for number, task in enumerate(tasks) if not task.done()]
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        return found

    return asyncio.run(come())


def test_the_one_that_waits_longest_gives_way() -> None:
    gone: list[None] = []
    lobby = Lobby(3, 3, lambda: gone.append(None))
    assert stayed([f"192.0.{number}.1" for number in range(5)], lobby) == [2, 3, 4]
    assert (len(lobby), len(gone)) == (0, 2)


def test_a_network_gives_way_to_itself_alone() -> None:
    addresses = ["198.51.100.1", *(f"192.0.2.{number}" for number in range(5))]
    assert stayed(addresses, Lobby(4, 2, lambda: None)) == [0, 4, 5]
