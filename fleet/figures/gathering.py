"""Figures that cost too much to be counted at each look, counted by a job and kept for all processes.

With a million certificates a count takes a good part of a second, and a fleet may be looked at by several watchers
through several replicas. All of them are told the same numbers, and when these were counted.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Final

from core.figures import Figure, gauge
from fleet.figures.families import GATHERED, count
from pki.actors import Action, Actor, Scope, require
from pki.desk import Desk
from store import figures

_NAME: Final = "fleet"
# Longer than any pause between two counts that can be set. After that nobody counts any more, and whoever looks does.
_OLD: Final = timedelta(hours=1)

COUNTED_AT: Final = gauge(
    "figures_timestamp_seconds",
    "When the figures of certificates, gateways, shared secrets, findings and SAs were counted.",
)
_FAMILIES: Final = {each.name: each for each in GATHERED}


def gather(desk: Desk, actor: Actor, *, now: datetime) -> int:
    """Count everything and keep it; tell how many series that are. Raises RoleMayNot."""
    require(actor, Action.JOB_RUN)
    found = count(desk, actor, now=now)
    document = {
        each.family.name: [[list(labels), number] for labels, number in each.samples.items()]
        for each in found
    }
    with desk.store.write() as connection:
        figures.keep(connection, _NAME, document, now)
    return sum(len(each.samples) for each in found)


def read(desk: Desk, actor: Actor, *, now: datetime) -> list[Figure]:
    """What was counted last. It is counted now for whoever may not see all, and where no job did it for an hour.

    Raises RoleMayNot.
    """
    require(actor, Action.METRICS_READ)
    if actor.scope == Scope():
        with desk.store.read() as connection:
            kept = figures.kept(connection, _NAME)
        # abs: the clock may have been set back since
        if kept is not None and abs(now - kept[0]) < _OLD:
            return [*_shown(kept[1]), COUNTED_AT.value(kept[0].timestamp())]
    return [*count(desk, actor, now=now), COUNTED_AT.value(now.timestamp())]


def _shown(document: Any) -> Iterator[Figure]:
    for name, samples in document.items():
        family = _FAMILIES.get(name)
        # Another version may have counted, with other labels.
        if family is not None and all(len(labels) == len(family.labels) for labels, _ in samples):
            yield family.figure({tuple(labels): number for labels, number in samples})
