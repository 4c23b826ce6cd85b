"""The trend of findings as a chart, and the same as a table."""

from collections.abc import Callable, Sequence
from typing import Any

from api.console.page import text
from fleet.findings.trend import Week

# Low and info are one: they are no reason to get up.
_LAYERS = (
    (text("critical"), "@bad", ("critical",)),
    (text("high"), "@warn", ("high",)),
    (text("medium"), "@busy", ("medium",)),
    (text("low and info"), "@off", ("low", "info")),
)
_BARS: tuple[tuple[str, str, Callable[[Week], int]], ...] = (
    (text("opened"), "@accent", lambda week: week.opened),
    (text("fixed"), "@good", lambda week: week.fixed),
)


def charts_of(weeks: Sequence[Week], say: Callable[[str], str]) -> dict[str, Any]:
    """Options of ECharts with their columns and rows: `present` by severity, and what `came` and went."""
    days = [f"{week.at:%m-%d}" for week in weeks]
    layers = [
        {
            "name": say(name),
            "type": "line",
            "stack": "present",
            "areaStyle": {"opacity": 0.35},
            "symbol": "none",
            "color": colour,
            "data": [_sum(week, of) for week in weeks],
        }
        for name, colour, of in _LAYERS
    ]
    bars = [
        {"name": say(name), "type": "bar", "color": colour, "data": [of(week) for week in weeks]}
        for name, colour, of in _BARS
    ]
    by_week = list(reversed(weeks))
    names = [say(name) for name, _, _ in _LAYERS]
    present = [
        [f"{each.at:%Y-%m-%d}", *(_sum(each, of) for _, _, of in _LAYERS)] for each in by_week
    ]
    came = [[f"{each.at:%Y-%m-%d}", *(of(each) for _, _, of in _BARS)] for each in by_week]
    first = say("Week to")
    return {
        "present": (_option(days, layers), [first, *names], present),
        "came": (_option(days, bars), [first, *(say(name) for name, _, _ in _BARS)], came),
    }


def _sum(week: Week, severities: Sequence[str]) -> int:
    return sum(week.present[each] for each in severities)


def _option(days: list[str], series: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "tooltip": {"trigger": "axis"},
        "legend": {"top": 0},
        "grid": {"left": 48, "right": 16, "top": 40, "bottom": 28},
        "xAxis": {"type": "category", "data": days},
        "yAxis": {"type": "value", "minInterval": 1},
        "series": series,
    }
