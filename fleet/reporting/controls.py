"""Which controls of which framework what is on record can be evidence for. The mapping is ours; it certifies nothing.

A file for each framework stands in `frameworks/`: a control without evidence says why it is not covered.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

from fleet.reporting import evidence
from fleet.reporting.evidence import FACTS, Fact, Ground
from fleet.reporting.periods import Period
from pki.actors import Action, Actor, require, require_whole
from pki.desk import Desk

USUAL: Final = "last-90d"
_FOLDER: Final = Path(__file__).parent / "frameworks"
# As they are told of.
FRAMEWORKS: Final = ("nist-sp-800-77r1", "pci-dss-4.0.1", "iso-27001-2022", "gbt-22239-2019")


@dataclass(frozen=True)
class Control:
    """A control in our words. `evidence`: names of facts, none where it is not covered; `gap`: what they do not show.

    `words` has title and gap in other languages.
    """

    id: str
    title: str
    evidence: tuple[str, ...]
    gap: str
    words: Mapping[str, tuple[str, str]]

    def told(self, language: str) -> tuple[str, str]:
        """Title and gap in a language; in English where there is no other."""
        return self.words.get(language, (self.title, self.gap))


@dataclass(frozen=True)
class Framework:
    """A standard, what of it is looked at, and its controls."""

    id: str
    title: str
    subject: str
    subjects: Mapping[str, str]
    controls: tuple[Control, ...]

    def about(self, language: str) -> str:
        """The subject in a language."""
        return self.subjects.get(language, self.subject)


@dataclass(frozen=True)
class ControlFigures:
    """All frameworks, and the facts that they name, of a period."""

    since: datetime
    until: datetime
    facts: Mapping[str, Fact]
    frameworks: tuple[Framework, ...]

    def state(self, control: Control) -> str:
        """`not covered`; `attention`, where a number of its evidence needs a look; `withheld`, where the caller may see
        none of it; `nothing yet`, where all that he sees of it is nought; else `evidence`.
        """
        mine = [self.facts[name] for name in control.evidence]
        if not mine:
            return "not covered"
        if any(fact.attention for fact in mine):
            return "attention"
        seen = [fact for fact in mine if not fact.withheld]
        if not seen:
            return "withheld"
        return "evidence" if any(fact.something for fact in seen) else "nothing yet"


def figures(desk: Desk, actor: Actor, period: Period, *, now: datetime) -> ControlFigures:
    """Count the evidence of a period. Raises RoleMayNot, OutsideScope."""
    require(actor, Action.FINDING_READ)
    require_whole(actor)
    with desk.store.read() as connection:
        found = evidence.facts(Ground(connection, desk, period, now), actor)
    return ControlFigures(period.since, period.until, found, tuple(map(framework, FRAMEWORKS)))


@cache
def framework(name: str) -> Framework:
    """A framework from its file."""
    document = tomllib.loads((_FOLDER / f"{name}.toml").read_text("utf-8"))
    controls = tuple(map(_control, document["controls"]))
    return Framework(
        name, document["title"], document["subject"], {"zh": document["subject_zh"]}, controls
    )


def _control(told: Mapping[str, Any]) -> Control:
    names = tuple(told["evidence"])
    unknown = set(names) - FACTS.keys()
    if unknown:
        raise ValueError(f"{told['id']} names {unknown}")
    words = {"zh": (told["title_zh"], told["gap_zh"])}
    return Control(told["id"], told["title"], names, told["gap"], words)
