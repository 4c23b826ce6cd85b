"""What dashboards are made of, and what several of them ask."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

RED, YELLOW, GREEN = "red", "yellow", "green"
DAY: Final = 86400
CA_ENDS: Final = 'max by (authority, kind) (ikewarden_authority_expiry_timestamp_seconds{status=~"active|outside"})'
CRL_ENDS: Final = "max by (authority, kind) (ikewarden_crl_next_update_timestamp_seconds)"
ALERTS: Final = "max by (kind, severity) (ikewarden_sa_alerts_open)"


@dataclass(frozen=True)
class Query:
    """An expression of PromQL, and what its series are called."""

    expression: str
    legend: str = "__auto"


@dataclass(frozen=True)
class Panel:
    """One picture. `steps` are from which value on it has which colour; `says` is told at the (i) beside the title."""

    title: str
    queries: Sequence[Query]
    says: str = ""
    kind: str = "timeseries"
    unit: str = "short"
    width: int = 12
    height: int = 8
    steps: Sequence[tuple[float | None, str]] = ((None, GREEN),)
    stacked: bool = False


@dataclass(frozen=True)
class Variable:
    """A choice at the top: all values of a label."""

    name: str
    label: str
    metric: str


@dataclass(frozen=True)
class Dashboard:
    """Rows of panels."""

    name: str
    title: str
    says: str
    rows: Sequence[tuple[str, Sequence[Panel]]]
    variables: Sequence[Variable] = field(default=())


def none_is_good(
    title: str, expression: str, says: str, *, bad: float = 1, color: str = RED
) -> Panel:
    """A number that should be 0."""
    return Panel(
        title,
        [Query(expression, title)],
        says,
        kind="stat",
        width=4,
        height=4,
        steps=((None, GREEN), (bad, color)),
    )


def time_left(title: str, expression: str, says: str, red: float, yellow: float) -> Panel:
    """Time that is left, in seconds."""
    return Panel(
        title,
        [Query(expression, title)],
        says,
        kind="stat",
        unit="s",
        width=4,
        height=4,
        steps=((None, RED), (red, YELLOW), (yellow, GREEN)),
    )
