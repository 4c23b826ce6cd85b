"""How the SAs of a tunnel follow each other: the chain of one Child SA, and the pace of a layer."""

from dataclasses import dataclass, field
from typing import NamedTuple

from ike.detection.bounds import Lifetime
from ike.detection.signs import Sign


@dataclass(slots=True)
class Chain:
    """The SAs of one Child SA that followed each other by rekeying; `living` by number, or SPI where it has none."""

    since: float | None
    line: int
    spi_in: str | None
    spi_out: str | None
    living: dict[int | str | None, float | None]
    missed: bool = False  # or refused
    overdue: bool = False
    closed: int | str | None = None  # the last one
    late: float | None = None  # since when the one was up that was replaced too late
    late_spi: str | None = None  # and its inbound SPI
    refused: list[Sign] | None = None
    refusals: int = 0  # since then, how many in all
    refused_by: str | None = None  # the daemon's thread that told of the last one
    passed: int = 0  # how many were closed while one was there that should have been before
    spared: tuple[float, ...] = ()  # short lives of the last hour that were explained

    def doubt(self) -> None:
        """A line was lost: of all but the newest nobody knows whether they are still there."""
        for mark in list(self.living)[:-1]:
            self.living[mark] = None


@dataclass(slots=True)
class Pace:
    """How fast SAs of one layer follow each other: ages at the rekey that were normal, and too short ones in a row."""

    ages: list[float] = field(default_factory=list)
    lower: float | None = None  # learned from them
    least: float = 0.0  # and no later one is below it
    longest: float = 0.0  # that was ever normal
    sized: int = 0  # how many said how many bytes they carried, and the least and most
    smallest: int = 0
    largest: int = 0
    short: list[tuple[float, int, float]] = field(default_factory=list)
    alarmed: bool = False
    # Too short ones in a row that were excused at first: the first one's time and line, the last one's time, how many.
    early: tuple[float, int, float, int] | None = None
    spared: tuple[float, ...] = ()  # of IKE SAs; Child SAs have chains
    proven: bool = (
        False  # it was no faster than people configure before the connection was loaded anew
    )
    # Those in a row that are faster than anybody configures: since when, the first one's line, how many.
    fast: tuple[float, int, int] | None = None


class Replaced(NamedTuple):
    """An SA that was replaced at `at`, `age` seconds old. `several` SAs share what is `spared` of `those`."""

    pace: Pace
    lifetime: Lifetime | None
    age: float
    at: float
    line: int
    those: Chain | Pace
    several: int = 1
