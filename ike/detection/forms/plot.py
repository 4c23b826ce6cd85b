"""Rekey intervals over time as a picture of characters, for a terminal."""

import math
from collections.abc import Sequence
from typing import Final

from ike.detection.forms.times import clock, span
from ike.detection.report import Band

_LABEL: Final = 9
_FEWEST: Final = 2
Point = tuple[float, float]  # when, and how many seconds before the SA had been made


class Scale:
    """Where a value lies between the least and the most that are shown, from 0 to 1.

    By its logarithm where they are far apart: one storm would press all others to the ground.
    """

    def __init__(self, values: Sequence[float]) -> None:
        least, most = min(values), max(values)
        self.least, self.most = min(least * 0.8, least - 0.5), max(most * 1.1, most + 0.5)
        self.least = max(self.least, 0.0)
        self._by_logarithm = most > 8 * max(least, 0.05)
        if self._by_logarithm:
            self.least = max(least * 0.7, 0.05)

    def place(self, value: float) -> float:
        """0 at the least, 1 at the most."""
        value = min(max(value, self.least), self.most)
        if self._by_logarithm:
            return math.log(value / self.least) / math.log(self.most / self.least)
        return (value - self.least) / (self.most - self.least)

    def value(self, place: float) -> float:
        """The value at a place."""
        if self._by_logarithm:
            return float(self.least * (self.most / self.least) ** place)
        return self.least + place * (self.most - self.least)


def scale_of(points: Sequence[Point], band: Band | None) -> Scale:
    """The scale on which all points and the bounds are seen."""
    values = [seconds for _, seconds in points]
    if band is not None:
        values += [each for each in (band.lower, band.upper) if each is not None]
    return Scale(values)


def chart(
    points: Sequence[Point], band: Band | None, *, width: int = 64, height: int = 8
) -> list[str]:
    """The lines of the picture: `o` within the bounds, `X` below the lower one, `-` the bounds; empty for too few
    points.
    """
    if len(points) < _FEWEST:
        return []
    scale = scale_of(points, band)
    grid = [[" "] * width for _ in range(height)]

    def row(seconds: float) -> int:
        return height - 1 - min(int(scale.place(seconds) * height), height - 1)

    for bound in (band.lower, band.upper) if band else ():
        if bound is not None:
            grid[row(bound)] = ["-"] * width
    first, last = points[0][0], max(points[-1][0], points[0][0] + 1e-3)
    for when, seconds in points:
        column = min(max(int((when - first) / (last - first) * (width - 1)), 0), width - 1)
        is_low = band is not None and seconds < band.lower
        cells = grid[row(seconds)]
        if cells[column] != "X":
            cells[column] = "X" if is_low else "o"
    lines = []
    for number, cells in enumerate(grid):
        # A label for the top, the middle and the bottom is enough.
        label = span(scale.value((height - number - 0.5) / height))
        shown = label if number in (0, height // 2, height - 1) else ""
        lines.append(f"{shown:>{_LABEL}} |{''.join(cells).rstrip()}")
    lines.append(f"{'':>{_LABEL}} +{'-' * width}")
    begin, end = clock(first)[11:], clock(last)[11:]
    lines.append(f"{'':>{_LABEL}}  {begin}{end:>{width - len(begin)}}")
    return lines
