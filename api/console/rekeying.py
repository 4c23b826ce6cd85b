"""The ages of SAs at their rekey as a plot, beside the bounds of the configuration, and the same as a table."""

from dataclasses import dataclass
from typing import Any, Final

from api.console.page import Visit, text
from fleet.monitoring.intervals import Interval, Intervals
from ike.detection.bounds import SLACK, Lifetime

_ROWS: Final = 200
_TITLES: Final = {
    "ike": text("Age of IKE SAs when they were replaced"),
    "child": text("Age of Child SAs when they were replaced"),
}


@dataclass(frozen=True)
class Layer:
    """A plot of one layer: `early` and `late` are how many are out of bounds; `lower`, `upper` are in seconds."""

    name: str
    title: str
    option: dict[str, Any]
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    count: int
    early: int
    late: int
    lower: float | None
    upper: float | None
    shortest: str
    longest: str


def layers(visit: Visit[Any, Any], known: Intervals) -> tuple[Layer, ...]:
    """A plot for IKE SAs and one for Child SAs, where there is anything to plot."""
    made = []
    for name, lifetime in (("child", known.bounds.child), ("ike", known.bounds.ike)):
        found = [each for each in known.found if each.layer == name]
        if found:
            made.append(_layer(visit, name, found, lifetime))
    return tuple(made)


def place(seconds: float, lifetime: Lifetime | None) -> str:
    """The tone of an age: bad below what any timer allows or above the end of life, off where no bound is known."""
    if lifetime is None:
        return "off"
    if seconds < lifetime.lower - SLACK:
        return "bad"
    return "warn" if seconds > lifetime.upper else "good"


_WORDS: Final = {
    "off": text("no bound is known"),
    "bad": text("too early"),
    "warn": text("too late"),
    "good": text("within"),
}


def _layer(
    visit: Visit[Any, Any], name: str, found: list[Interval], lifetime: Lifetime | None
) -> Layer:
    tones = [place(each.seconds, lifetime) for each in found]
    ages = [each.seconds for each in found]
    rows = [
        (
            f"{each.at:%Y-%m-%d %H:%M:%S}Z",
            _age(visit, each.seconds),
            each.child,
            visit.say(_WORDS[tone]),
        )
        for each, tone in zip(found, tones, strict=True)
    ]
    columns = (text("Time"), text("Age in seconds"), text("Child SA"), text("Bounds"))
    return Layer(
        name=name,
        title=visit.say(_TITLES[name]),
        option=_option(visit, found, tones, lifetime),
        columns=tuple(map(visit.say, columns)),
        rows=tuple(reversed(rows[-_ROWS:])),
        count=len(found),
        early=tones.count("bad"),
        late=tones.count("warn"),
        lower=None if lifetime is None else lifetime.lower,
        upper=None if lifetime is None else lifetime.upper,
        shortest=_age(visit, min(ages)),
        longest=_age(visit, max(ages)),
    )


def _age(visit: Visit[Any, Any], seconds: float) -> str:
    """Whole seconds, but for what is very young."""
    return visit.language.number(round(seconds, 2) if seconds < 10 else round(seconds))


def _option(
    visit: Visit[Any, Any], found: list[Interval], tones: list[str], lifetime: Lifetime | None
) -> dict[str, Any]:
    # One series for each tone: then each has a shape and a word of its own, and not a colour alone.
    shapes = {"good": "circle", "bad": "triangle", "warn": "rect", "off": "emptyCircle"}
    series: list[dict[str, Any]] = []
    for tone, shape in shapes.items():
        points = [
            [round(each.at.timestamp() * 1000), round(each.seconds, 2)]
            for each, mark in zip(found, tones, strict=True)
            if mark == tone
        ]
        if points:
            series.append(
                {
                    "type": "scatter",
                    "name": visit.say(_WORDS[tone]),
                    "data": points,
                    "symbol": shape,
                    "symbolSize": 9 if tone == "bad" else 7,
                    "itemStyle": {"color": f"@{tone}"},
                }
            )
    if lifetime is not None:
        series[0]["markLine"] = _lines(visit, lifetime)
    top = max([each.seconds for each in found] + ([lifetime.upper] if lifetime else []))
    return {
        "grid": {"left": 64, "right": 24, "top": 36, "bottom": 36},
        "legend": {"top": 0},
        "tooltip": {"trigger": "item"},
        "xAxis": {"type": "time", "axisLabel": {"hideOverlap": True, "color": "@quiet"}},
        "yAxis": {"type": "value", "name": "s", "min": 0, "max": _above(top)},
        "series": series,
    }


def _above(top: float) -> int:
    """The next round number above: where the axis ends."""
    step = 10 ** max(0, len(str(int(top))) - 1) // 2 or 1
    return (int(top * 1.05) // step + 1) * step


def _lines(visit: Visit[Any, Any], lifetime: Lifetime) -> dict[str, Any]:
    bounds = (
        (visit.say("earliest rekey"), lifetime.lower, "@bad", "insideEndBottom"),
        (visit.say("rekey time"), lifetime.rekey_time, "@good", "insideEndTop"),
        (visit.say("end of life"), lifetime.upper, "@warn", "insideEndTop"),
    )
    return {
        "silent": True,
        "symbol": "none",
        "data": [
            {
                "name": name,
                "yAxis": round(seconds),
                "lineStyle": {"color": colour, "type": "dashed"},
                "label": {"formatter": name, "position": position, "color": colour},
            }
            for name, seconds, colour, position in bounds
        ],
    }
