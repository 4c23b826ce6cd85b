"""The machine of a rotation: what comes next, given where it stands and what the ends say. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from fleet.rotation.values import End, Policy, Rotation, Side


@dataclass(frozen=True)
class Order:
    """A wanted proof: a fresh IKE_AUTH under `version`. `start`: this end starts it; `gap`: it may interrupt."""

    version: int
    start: bool
    gap: bool


def orders(rotation: Rotation, ends: tuple[End, End], policy: Policy) -> Mapping[Side, Order]:
    """The proofs that are wanted of the ends now: none before both have confirmed what is promoted."""
    raise NotImplementedError
