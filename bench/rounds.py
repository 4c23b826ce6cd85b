"""Rounds: ours, peer, ours, peer, …; only the side whose turn it is runs."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Protocol

from rich.console import Console

_SETTLE_SECONDS = 0.3


class Pausable(Protocol):
    """A program that can be stopped where it is."""

    def pause(self) -> None: ...
    def resume(self) -> None: ...


@dataclass(frozen=True)
class Options:
    """What the command line asked for."""

    rounds: int = 5
    seconds: int = 5
    ours_only: bool = False
    quick: bool = False
    database: str = "sqlite"
    revoked: int = 1_000_000
    tunnels: int = 10_000
    certificates: int = 1_000_000
    directory: Path = Path("/tmp")


@dataclass
class Bench:
    """What a benchmark gets: options, a directory of its own, where programs are ended, where to talk."""

    options: Options
    directory: Path
    stack: ExitStack
    console: Console
    database_url: str | None = None
    remarks: list[str] = field(default_factory=list)

    def say(self, text: str) -> None:
        """A line about what is going on."""
        self.console.print(f"  {text}", style="dim", highlight=False)


@contextmanager
def turn(mine: Pausable, others: Sequence[Pausable]) -> Iterator[None]:
    """Stop the others while one side works; what a side leaves undone is done in its own time."""
    for other in others:
        other.pause()
    try:
        mine.resume()
        time.sleep(_SETTLE_SECONDS)
        yield
    finally:
        for other in others:
            other.resume()


def alternate(
    bench: Bench, sides: Mapping[str, Callable[[], float]], *, unit: str = "/s"
) -> dict[str, list[float]]:
    """Run each side once a round, in their order; gives each side's figures, round by round."""
    figures: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(1, bench.options.rounds + 1):
        for name, measure in sides.items():
            figures[name].append(measure())
        shown = ", ".join(f"{name} {values[-1]:,.1f}{unit}" for name, values in figures.items())
        bench.say(f"round {number}: {shown}")
    return figures


@dataclass(frozen=True)
class Row:
    """One line of results (DESIGN §4.1). `ratio` above 1 means that ours is better; `low` and `high` are the least
    and greatest ratio of any round.
    """

    bench: str
    metric: str
    unit: str
    ours: float
    peer_name: str | None
    peer: float | None
    ratio: float | None
    low: float | None
    high: float | None
    note: str = ""
    ours_rounds: tuple[float, ...] = ()
    peer_rounds: tuple[float, ...] = ()


def compare(
    what: tuple[str, str, str],
    ours: Sequence[float],
    peer_name: str,
    peer: Sequence[float],
    *,
    less_is_better: bool = False,
    note: str = "",
) -> Row:
    """The row of (bench, metric, unit): medians, their ratio, and the spread over the rounds.

    Where one side has more rounds than the other, the spread is over all pairs.
    """
    paired = list(zip(ours, peer, strict=False))
    if len(ours) != len(peer):
        paired = [(mine, its) for mine in ours for its in peer]

    def ratio(mine: float, its: float) -> float:
        return its / mine if less_is_better else mine / its

    ratios = [ratio(mine, its) for mine, its in paired]
    bench, metric, unit = what
    return Row(
        bench=bench,
        metric=metric,
        unit=unit,
        ours=median(ours),
        peer_name=peer_name,
        peer=median(peer),
        ratio=ratio(median(ours), median(peer)),
        low=min(ratios),
        high=max(ratios),
        note=note,
        ours_rounds=tuple(ours),
        peer_rounds=tuple(peer),
    )


def alone(what: tuple[str, str, str], ours: Sequence[float], *, note: str = "") -> Row:
    """A row without a peer."""
    bench, metric, unit = what
    return Row(bench, metric, unit, median(ours), None, None, None, None, None, note, tuple(ours))
