"""What a rotation of a slot would do, in words, before it does anything. Pure."""

from dataclasses import dataclass

from fleet.rotation.records import Slot
from fleet.rotation.values import End, Method, Side


@dataclass(frozen=True)
class PlanStep:
    """One thing that will happen. `side` None: at the service, or at both ends at once. `waits_for` is what must be
    seen before the next one; `interrupts`: new authentications fail for a moment, or SAs are made anew.
    """

    side: Side | None
    what: str
    waits_for: str = ""
    interrupts: bool = False


@dataclass(frozen=True)
class Plan:
    """The steps in their order. `interruption` says what users will notice, empty where it is nothing. `missing` is
    what keeps the rotation from going on now, such as an end that never reported.
    """

    method: Method
    steps: tuple[PlanStep, ...]
    interruption: str
    missing: tuple[str, ...]


def plan(slot: Slot, ends: tuple[End, End], *, emergency: bool = False) -> Plan:
    """What a rotation that began now would do."""
    raise NotImplementedError
