"""From the events of logs to a report: summed up by connection, and watched by the rules. Pure."""

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice
from typing import Final

from ike.detection.alert import Alert
from ike.detection.bounds import KEPT, SLACK, UNKNOWN, Bounds, Lifetime, learned_lower
from ike.detection.report import STRIDE, Band, BandKey, Report
from ike.detection.watch import Watch
from ike.events.event import SaEvent
from ike.events.order import moment, oldest_first
from ike.events.summary import Connection, Summary

_KINDS: Final = ("ike", "child")
_LOOKED_AT: Final = 200  # events at the beginning of a log that tell whose it is
_TWIN: Final = 3.0  # seconds: the second SA of a collision is no rekey


class Log:
    """One log of those that are analysed together: its name, whose it is where its lines do not say, its events.

    `lines` is how many were read, once its events have been taken, and `problem` what kept the rest from it. `turned`:
    where it has the newest first, its events are numbered as if it had not, and this less their number is their line.
    """

    def __init__(self, name: str, events: Iterable[SaEvent], gateway: str | None = None) -> None:
        self.name = name
        self.gateway = gateway
        self.events = events
        self.lines = self.turned = 0
        self.problem = ""


def analyse(logs: Sequence[Log], bounds: Bounds = UNKNOWN) -> Report:
    """Read all logs side by side in the order of time, and judge. `bounds` are those of every connection."""
    summary = Summary()
    watch = Watch(_Everywhere(bounds))
    streams = [_marked(number, log) for number, log in enumerate(logs)]
    for event in heapq.merge(*streams, key=moment):
        if (
            event.kind != "alive"
        ):  # that a line is there, whatever it says, matters to what is missing
            line = _line(logs, event.line)
            summary.observe(event if line == event.line else event._replace(line=line))
        watch.observe(event)
    watch.settle()
    connections = tuple(summary.connections())
    bands = dict(_bands(connections, bounds))
    return Report(
        sources=tuple(log.name for log in logs),
        lines=sum(log.lines for log in logs),
        events=summary.events,
        first=summary.first,
        last=summary.last,
        connections=connections,
        alerts=tuple(
            _bounded(replace(each, lines=tuple(_line(logs, line) for line in each.lines)), bands)
            for each in watch.alerts()
        ),
        bands=bands,
        problems=tuple(log.problem for log in logs if log.problem),
    )


class _Everywhere(Mapping[str, Bounds]):
    """The same bounds for every connection, whatever its name."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds

    def __getitem__(self, name: str) -> Bounds:
        return self._bounds

    def __contains__(self, name: object) -> bool:
        return False  # that it is configured, nobody told

    def __iter__(self) -> Iterator[str]:
        return iter(("",))  # names cannot be told, but it is not empty

    def __len__(self) -> int:
        return 1


def _line(logs: Sequence[Log], line: int) -> int:
    """Where it stands."""
    log, number = divmod(line, STRIDE)
    return log * STRIDE + logs[log].turned - number if logs[log].turned else line


def _marked(number: int, log: Log) -> Iterator[SaEvent]:
    events, turned = oldest_first(log.events)
    if turned and not log.turned:
        # The rules know by the number of a line which one came first.
        log.turned = STRIDE
        events = (event._replace(line=STRIDE - event.line) for event in events)
    first = list(islice(events, _LOOKED_AT))
    # Two sinks of one daemon can write to one log, and only one of them name the host.
    hosts = {event.host for event in first} - {None}
    gateway = hosts.pop() if len(hosts) == 1 else log.gateway
    if number == 0 and gateway is None:
        yield from chain(first, events)
        return
    for event in chain(first, events):
        yield event._replace(host=event.host or gateway, line=event.line + number * STRIDE)


def _bands(connections: Iterable[Connection], bounds: Bounds) -> Iterator[tuple[BandKey, Band]]:
    for connection in connections:
        for kind in _KINDS:
            lifetime: Lifetime | None = getattr(bounds, kind)
            band = _learned(connection, kind) if lifetime is None else None
            if lifetime is not None:
                band = Band(lifetime.lower, lifetime.upper, "configured")
            if band is not None:
                yield (connection.gateway, connection.name, kind), band


def _bounded(alert: Alert, bands: Mapping[BandKey, Band]) -> Alert:
    """A rule that had no bound yet, or not any more, tells the one that is drawn."""
    band = bands.get((alert.gateway, alert.connection, "child"))
    if alert.evidence.get("bound") != "none known" or band is None:
        return alert
    told = {"bound": band.origin, "lower_bound_seconds": round(band.lower, 1)}
    return replace(alert, evidence={**alert.evidence, **told})


def _learned(connection: Connection, kind: str) -> Band | None:
    """What the rules learn too: a rekey below the bound does not lower it, so a storm does not become normal."""
    points = (connection.ike if kind == "ike" else connection.child).points
    ages: list[float] = []
    for _, seconds in points:
        lower = learned_lower(ages)
        if seconds >= _TWIN and (lower is None or seconds >= lower - SLACK):
            ages = [*ages[1 - KEPT :], seconds]
    lower = learned_lower(ages)
    return None if lower is None else Band(lower)
