"""What can be measured, as values: families with name, unit and meaning, and the numbers that there are of each."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

Labels = tuple[str, ...]
_Of = TypeVar("_Of", bound=Labels)


@dataclass(frozen=True)
class Family:
    """Numbers of one meaning. A counter's name ends in `_total`; `labels` have few values each, which `help` tells."""

    name: str
    kind: Literal["gauge", "counter", "histogram"]
    help: str
    labels: tuple[str, ...] = ()

    def figure(self, samples: Mapping[_Of, float]) -> "Figure":
        """The numbers, by the values of the labels."""
        return Figure(self, {labels: number for labels, number in samples.items()})

    def value(self, number: float) -> "Figure":
        """The one number of a family without labels."""
        return Figure(self, {(): number})


@dataclass(frozen=True)
class Figure:
    """A family with its numbers at some time."""

    family: Family
    samples: Mapping[Labels, float]


def gauge(name: str, help_: str, *labels: str) -> Family:
    """A number that rises and falls."""
    return Family(f"ikewarden_{name}", "gauge", help_, labels)


def counter(name: str, help_: str, *labels: str) -> Family:
    """A number that only rises; its name ends in `_total`."""
    return Family(f"ikewarden_{name}_total", "counter", help_, labels)
