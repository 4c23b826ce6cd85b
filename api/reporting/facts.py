"""How facts that stand as evidence are told: what they and their numbers are called."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from api.reporting.words import N_
from fleet.reporting.evidence import Fact, Value

TITLES: Final = {
    "inventory": N_("Gateways and tunnels"),
    "certificates": N_("Certificates"),
    "authorities": N_("Authorities"),
    "secrets": N_("Ages of shared secrets"),
    "rotations": N_("Rotations"),
    "revocations": N_("Revocations, and how soon they arrived"),
    "lists": N_("Revocation lists"),
    "audit_log": N_("Audit log"),
    "approvals": N_("Two-person rule"),
    "findings": N_("Findings of audits"),
    "alerts": N_("Alerts of tunnels"),
    "access": N_("Tokens"),
}
NUMBERS: Final = {
    "gateways": N_("gateways"),
    "tunnels": N_("tunnels"),
    "gateways_silent": N_("not heard of for eight days"),
    "gateways_drifting": N_("not as desired"),
    "in_force": N_("in force"),
    "issued_in_period": N_("issued in the period"),
    "on_hold": N_("on hold"),
    "ending_unrenewed": N_("end within 30 days and are not renewed"),
    "active": N_("that issue"),
    "algorithms": N_("keys"),
    "key_places": N_("kept in"),
    "shared_secrets": N_("shared secrets"),
    "oldest_days": N_("days, the oldest"),
    "older_than_a_year": N_("older than a year"),
    "overdue": N_("overdue"),
    "rotations_completed": N_("completed in the period"),
    "rotations_rolled_back": N_("rolled back"),
    "rotations_stuck": N_("stuck"),
    "revoked_in_period": N_("revoked in the period"),
    "gateways_told": N_("gateways told"),
    "confirmed": N_("have confirmed"),
    "median_seconds": N_("seconds, half of them"),
    "slowest_seconds": N_("seconds, the slowest"),
    "unconfirmed": N_("have not confirmed"),
    "lists": N_("lists"),
    "lists_overdue": N_("past their time"),
    "events_in_period": N_("events in the period"),
    "entries_proven": N_("entries under the signed head"),
    "head_signed_at": N_("signed"),
    "head_root": N_("root"),
    "not_proven_yet": N_("no head was signed for a day"),
    "acts_under_two_persons": N_("acts that need two"),
    "asked": N_("asked in the period"),
    "approved": N_("approved"),
    "refused": N_("refused"),
    "nothing_needs_two": N_("no act needs a second person"),
    "gateways_audited": N_("gateways audited"),
    "gateways_not_audited": N_("not audited for eight days"),
    "open_critical": N_("critical"),
    "open_high": N_("high"),
    "open_medium": N_("medium"),
    "accepted": N_("accepted"),
    "alerts_in_period": N_("in the period"),
    "alerts_open": N_("open"),
    "tokens": N_("that can be used"),
    "tokens_by_role": N_("by role"),
    "tokens_without_end": N_("without an end"),
}
# Told where they hold, and else not at all.
_FLAGS: Final = frozenset({"not_proven_yet", "nothing_needs_two"})


@dataclass(frozen=True)
class Number:
    """A number, what it is called, and the class that colours it."""

    label: str
    value: Value
    form: str
    is_flag: bool


@dataclass(frozen=True)
class Told:
    """A fact as a page shows it."""

    title: str
    numbers: tuple[Number, ...]
    withheld: bool


def told(found: Iterable[Fact]) -> Iterator[Told]:
    """Facts as a page shows them."""
    for fact in found:
        numbers = tuple(
            Number(
                NUMBERS[name],
                value,
                "high" if name in fact.attention else "figure",
                name in _FLAGS,
            )
            for name, value in fact.values.items()
            if value or name not in _FLAGS
        )
        yield Told(TITLES[fact.name], numbers, fact.withheld)
