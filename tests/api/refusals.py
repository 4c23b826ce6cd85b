"""Tables of what a door refuses: every way to prove who one is, with everything that can be wrong with it.

A table is data, so that people can be shown it; the tests of a door try each of its cells.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final

from pki.desk import Desk
from store.tables import certificates
from tests.pki.acts import count

FAULTS: Final = ("wrong", "replayed", "expired", "revoked", "another's", "missing")


@dataclass(frozen=True)
class Cell:
    """One way with one fault: what exactly the door answers, or why there is no such thing. `means`: what is tried."""

    way: str
    fault: str
    answer: str = ""
    means: str = ""
    none: str = ""


def check(table: Sequence[Cell], ways: Iterable[str], tried: Iterable[tuple[str, str]]) -> None:
    """Make sure that a table is whole: each way with each fault, and each cell tried or explained."""
    assert {(each.way, each.fault) for each in table} == {*product(ways, FAULTS)}
    assert len(table) == len({(each.way, each.fault, each.means) for each in table})
    assert all(bool(each.answer) != bool(each.none) for each in table)
    assert {(each.way, each.means) for each in table if each.answer} == {*tried}


def recorded(desk: Desk) -> int:
    """How many certificates are on record, signed or not."""
    return count(desk, certificates)
