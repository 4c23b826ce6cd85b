"""Pictures of a connection as SVG inside a page: no script, no style of their own, nothing from elsewhere.

Every text in them is escaped; colours are those of the page's style sheet.
"""

from collections.abc import Callable, Iterator, Sequence
from html import escape
from typing import Final

from ike.detection.forms.plot import Point, scale_of
from ike.detection.forms.times import clock, span
from ike.detection.report import Band
from ike.events.summary import Life

# Small numbers, since letters grow with the picture: it is as wide as a phone, and twice that on a desk.
_WIDTH, _LEFT, _RIGHT = 360, 44, 8
_HEIGHT, _TOP, _FLOOR = 150, 8, 128
_BAR: Final = 5
_LIVES: Final = 40


def intervals(points: Sequence[Point], band: Band | None, label: str) -> str:
    """A dot for each rekey: when, and how long after the SA before it; the bounds as lines."""
    scale = scale_of(points, band)
    first, last = points[0][0], max(points[-1][0], points[0][0] + 1e-3)

    def y(seconds: float) -> float:
        return _FLOOR - scale.place(seconds) * (_FLOOR - _TOP)

    def parts() -> Iterator[str]:
        for place in (0.0, 0.5, 1.0):
            height = _FLOOR - place * (_FLOOR - _TOP)
            yield _line(height, "grid")
            yield _text(_LEFT - 4, height + 3, span(scale.value(place)), "end")
        for bound in (band.lower, band.upper) if band else ():
            if bound is not None:
                yield _line(y(bound), "bound")
        for when, seconds in points:
            low = band is not None and seconds < band.lower
            yield (
                f'<circle class="{"low" if low else "dot"}" cx="{_x(when, first, last):.1f}"'
                f' cy="{y(seconds):.1f}" r="{2.6 if low else 2}"/>'
            )
        yield from _ends(first, last, _HEIGHT - 8)

    return _picture(_HEIGHT, label, parts())


def lives(
    those: Sequence[Life], first: float, last: float, called: Callable[[Life], str]
) -> tuple[str, int]:
    """A bar for each SA from its making to its end, and how many there are: of very many the newest of each kind, IKE
    SAs above Child SAs. `called` gives a bar its name, which shows where a pointer rests on it.
    """
    timed = [each for each in those if each.start is not None]
    shown = [
        each for kind in ("ike", "child") for each in [x for x in timed if x.kind == kind][-_LIVES:]
    ]
    starts = [each.start for each in shown if each.start is not None]
    first = min(starts, default=first) if len(timed) > len(shown) else first
    last = max(last, first + 1e-3)
    height = len(shown) * _BAR + 30

    def parts() -> Iterator[str]:
        for row, each in enumerate(shown):
            begin = _x(each.start or first, first, last)
            end = _x(last if each.end is None else each.end, first, last)
            yield (
                f'<rect class="{"ike" if each.kind == "ike" else "child"}" x="{begin:.1f}"'
                f' y="{6 + row * _BAR}" width="{max(end - begin, 1.5):.1f}" height="{_BAR - 1.5}">'
                f"<title>{escape(called(each))}</title></rect>"
            )
        yield from _ends(first, last, height - 8)

    return _picture(height, "SAs over time", parts()), len(shown)


def _picture(height: int, label: str, parts: Iterator[str]) -> str:
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(label)}">'
        f"{''.join(parts)}</svg>"
    )


def _x(when: float, first: float, last: float) -> float:
    part = min(max((when - first) / (last - first), 0.0), 1.0)
    return _LEFT + part * (_WIDTH - _LEFT - _RIGHT)


def _ends(first: float, last: float, y: float) -> Iterator[str]:
    yield _text(_LEFT, y, clock(first)[5:], "start")
    yield _text(_WIDTH - _RIGHT, y, clock(last)[5:], "end")


def _line(y: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{_LEFT}" y1="{y:.1f}" x2="{_WIDTH - _RIGHT}" y2="{y:.1f}"/>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
