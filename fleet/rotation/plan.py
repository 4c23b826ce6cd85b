"""What a rotation of a slot would do, in words, before it does anything. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

from fleet.rotation.records import Slot
from fleet.rotation.values import End, Kind, Method, Side


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


_UNKNOWN = "unknown until the agents report"
_INTERRUPTIONS = {
    Method.OVERLAP: "",
    Method.COORDINATED: "For some seconds new authentications fail; the tunnel's SAs go on.",
    Method.MANUAL: "Until both ends have the same key new authentications may fail; the tunnel's SAs go on.",
    Method.EMERGENCY: "The tunnel's SAs are made anew; until both ends have the new key none can be.",
    Method.FIRST: "",
}


# Which of them it is, and what it does, depends on what the daemons can do.
_BY_ABILITIES = frozenset({Method.OVERLAP, Method.COORDINATED})


def method_of(slot: Slot, ends: tuple[End, End], *, emergency: bool = False) -> Method:
    """The safest method that these ends can do."""
    if slot.current is None:
        return Method.FIRST
    if emergency:
        return Method.EMERGENCY
    if not all(each.ours for each in ends):
        return Method.MANUAL
    if all(_takes_both(each) for each in ends if each.report is not None):
        return Method.OVERLAP
    return Method.COORDINATED


def plan(slot: Slot, ends: tuple[End, End], *, emergency: bool = False) -> Plan:
    """What a rotation that began now would do."""
    method = method_of(slot, ends, emergency=emergency)
    hastened = slot.rotation_id is not None and method is Method.EMERGENCY
    steps = (
        PlanStep(
            None,
            f"Rotation {slot.rotation_id}, which is under way, becomes this one, and its key the new one."
            if hastened
            else "A new key of 32 random octets is made and kept in the store of secrets.",
        ),
        *_changes(method, ends),
        *_proof(slot, method, ends),
        *_end(method),
    )
    interruption = _INTERRUPTIONS[method]
    if method in _BY_ABILITIES and _unheard(ends):
        interruption = f"{_UNKNOWN.capitalize()}."
    elif not interruption and any(each.interrupts for each in steps):
        interruption = "The tunnel is interrupted once, for the proof."
    return Plan(method, steps, interruption, tuple(_missing(slot, method, ends)))


_HANDED_OVER = "The key is handed over once to whoever runs the peer, by a link or a file"


def _changes(method: Method, ends: tuple[End, End]) -> Iterator[PlanStep]:
    names = " and ".join(each.name for each in ends)
    told = "the gateway's word that it has it"
    if method is Method.FIRST:
        yield PlanStep(None, f"{names} get the key.", told)
    elif method is Method.EMERGENCY:
        ours = [each for each in ends if each.ours]
        what = "the new key in the place of the old one, at once."
        if len(ours) == len(ends):
            yield PlanStep(None, f"{names} get {what}", told, True)
        else:
            yield PlanStep(ours[0].side, f"{ours[0].name} gets {what}", told, True)
            yield PlanStep(ends[1].side, f"{_HANDED_OVER}; there is no tunnel before.", "", True)
    elif method is Method.MANUAL:
        yield PlanStep(ends[0].side, f"{ends[0].name} gets the new key beside the old one.", told)
        yield PlanStep(
            ends[1].side,
            f"{_HANDED_OVER}.",
            "your confirmation that the peer has it",
        )
        yield PlanStep(
            ends[0].side,
            f"{ends[0].name} proves itself by the new key.",
            told,
            not _takes_both(ends[0]),
        )
    else:
        for each in ends:
            yield PlanStep(each.side, f"{each.name} gets the new key beside the old one.", told)
        yield from _promotion(ends)


def _promotion(ends: tuple[End, End]) -> Iterator[PlanStep]:
    told = "the gateway's word that it does"
    single = [each for each in ends if each.report is not None and not _takes_both(each)]
    for each in single:
        what = f"{each.name} takes the new key in the place of the old one: its daemon knows one."
        yield PlanStep(each.side, what, told, True)
    for each in _unheard(ends):
        what = (
            f"{each.name}: proof by the new key; whether the old one is still taken is {_UNKNOWN}."
        )
        yield PlanStep(each.side, what, told)
    rest = [each for each in ends if _takes_both(each)]
    if rest:
        names = " and ".join(each.name for each in rest)
        side = rest[0].side if len(rest) == 1 else None
        yield PlanStep(side, f"{names}: proof by the new key, the old one is still taken.", told)


def _proof(slot: Slot, method: Method, ends: tuple[End, End]) -> Iterator[PlanStep]:
    seen = "a fresh authentication under the new key, seen by every gateway of ours"
    gapless = [each for each in ends if each.ours and each.report and each.report.abilities.gapless]
    if method is Method.EMERGENCY:
        yield PlanStep(None, "The tunnel's SAs are made anew.", seen, True)
    elif gapless:
        yield PlanStep(gapless[0].side, "The tunnel is authenticated afresh, without a gap.", seen)
    elif method in _BY_ABILITIES and _unheard(ends):
        what = f"The tunnel is authenticated afresh: by whom, and whether without a gap, is {_UNKNOWN}."
        yield PlanStep(None, what, seen)
    elif slot.policy.gap:
        yield PlanStep(None, "The tunnel is authenticated afresh, with a gap.", seen, True)
    else:
        patience = (
            f"for up to {slot.policy.proof_hours} hours" if method is not Method.FIRST else ""
        )
        what = f"The tunnel's own next authentication is waited for {patience}".rstrip()
        yield PlanStep(None, f"{what}; one that is down is started.", seen)


def _end(method: Method) -> Iterator[PlanStep]:
    if method is not Method.FIRST:
        yield PlanStep(None, "The old key is withdrawn.", "the word of every gateway of ours")
        yield PlanStep(None, "The old key is destroyed in the store of secrets.")


def _missing(slot: Slot, method: Method, ends: tuple[End, End]) -> Iterator[str]:
    for each in ends:
        if each.ours and each.report is None:
            yield f"{each.name} has never reported on this secret."
        elif each.report is not None and each.report.error_code:
            yield f"{each.name}: {each.report.error}"
        elif each.report is not None and slot.kind is Kind.PPK and not each.report.abilities.ppk:
            yield f"The daemon of {each.name} cannot do PPKs."


def _unheard(ends: tuple[End, End]) -> list[End]:
    """Gateways of ours that never reported on this secret."""
    return [each for each in ends if each.ours and each.report is None]


def _takes_both(end: End) -> bool:
    return end.report is not None and end.report.abilities.overlap
