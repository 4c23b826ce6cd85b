"""The analysis for people at a terminal: the verdict, then what is wrong and what to do, then the connections."""

import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from ike.audit.forms.grouping import number
from ike.audit.forms.names import shown
from ike.audit.forms.text import WIDTH, Line
from ike.detection.alert import Alert
from ike.detection.forms import plot
from ike.detection.forms.times import clock, period, span
from ike.detection.report import SEVERITIES, Band, Report, page, title
from ike.events.summary import FAILURES, Connection, Intervals, Life

_LABEL: Final = 10
_SHOWN: Final = 20  # connections
_KINDS: Final = 3  # in the first line
_PLOTS: Final = 8
_UP: Final = 3  # SAs of a connection
_NAMES: Final = 6  # peers without one
_STYLES: Final = {"ok": "good", "warning": "medium", "alert": "critical"}
_WORDS: Final = {
    "auth_failed": "failed authentication",
    "cert_invalid": "rejected certificate",
    "cert_revoked": "revoked certificate",
    "proposal_mismatch": "proposal mismatch",
    "ts_unacceptable": "traffic selector mismatch",
    "unknown_peer": "refused unknown peer",
    "child_rekey_failed": "failed Child SA rekey",
    "ike_timeout": "timed-out IKE SA",
    "giving_up": "abandoned exchange",
    "dpd_timeout": "dead peer",
}


def write(report: Report, *, everything: bool = False) -> str:
    """The analysis as plain text."""
    return "".join(f"{line.text}\n" for line in lines(report, everything=everything))


def lines(report: Report, *, everything: bool = False) -> Iterator[Line]:
    """The analysis line by line; nothing in it acts in a terminal."""
    yield Line(sentence(report), _STYLES[report.verdict])
    yield from (Line(line, "quiet") for line in _wrapped(extent(report), "", "  "))
    for remark in report.remarks:
        yield from (Line(line, "medium") for line in _wrapped(remark, "", "  "))
    for alert in report.ranked:
        yield Line()
        yield from _alert(report, alert)
    told, strangers = report.told, report.strangers
    if told or strangers:
        yield Line()
        yield Line("Connections", "place")
    limit = len(told) if everything else _SHOWN
    for position, connection in enumerate(told[:limit]):
        yield from _connection(report, connection, plots=everything or position < _PLOTS)
    if len(told) > limit:
        yield Line(f"  and {len(told) - limit:,} more (--all shows them)", "quiet")
    if strangers:
        yield from map(Line, _wrapped(others(strangers, everything=everything), "  ", "    "))


def sentence(report: Report) -> str:
    """The verdict, and why."""
    if report.alerts:
        found = number(len(report.alerts), "alert")
        return f"{report.verdict}: {found} ({', '.join(_severities(report))}): {_kinds(report)}"
    if not report.events:
        return "warning: no events of an IKE daemon were found, so nothing could be judged"
    found = f"nothing abnormal in {number(len(report.connections), 'connection')}"
    if report.problems:
        return f"warning: {found}, but not all could be read"
    if report.is_untimed:
        return f"warning: {found} so far as it shows without times: rekeys were not judged"
    return f"ok: {found}"


def extent(report: Report) -> str:
    """What was looked at."""
    when = f", {period(report.first, report.last)}" if report.first is not None else ""
    read = f"{number(report.lines, 'line')}, {number(report.events, 'event')}"
    return f"{_sources(report.sources)}: {read}{when}"


def facts(report: Report, alert: Alert) -> list[tuple[str, str]]:
    """What is told of an alert beside its title, each with its label."""
    about = {"Gateway": alert.gateway, "Peer": alert.peer, "Identity": alert.identity}
    told = [("Connection", alert.connection)] if alert.connection else []
    told += [(label, value) for label, value in about.items() if value]
    if alert.start is not None:
        last = "" if alert.end is not None else ", and it lasts"
        end = alert.start if alert.end is None else alert.end
        told.append(("When", f"{period(alert.start, end)}{last}"))
    told.append(("Evidence", _evidence(alert.evidence)))
    if alert.lines:
        told.append(("Lines", report.places(alert.lines)))
    told.append(("Cause", alert.cause))
    told.append(("Next", alert.next_step))
    return [(label, value) for label, value in told if value]


def standing(connection: Connection) -> str:
    """What is up at the end of the log."""
    if connection.is_up:
        return "up"
    return "IKE SA up, but no Child SA: no traffic passes" if connection.alive else "not up"


def deeds(connection: Connection) -> str:
    """What happened to a connection, in one sentence without its end."""
    counts = connection.counts
    told = [
        (counts["ike_established"], "IKE SA", "IKE SAs"),
        (counts["ike_rekeys"], "IKE rekey", "IKE rekeys"),
        (counts["ike_reauth"], "reauthentication", "reauthentications"),
        (counts["child_established"], "Child SA", "Child SAs"),
        (counts["child_rekeys"], "Child SA rekey", "Child SA rekeys"),
        (counts["retransmit"], "retransmission", "retransmissions"),
        (counts["half_open_limit"], "request beyond the limit", "requests beyond the limit"),
        (counts["cookie"], "cookie", "cookies"),
        *((counts[kind], _WORDS[kind], _plural(_WORDS[kind])) for kind in FAILURES),
    ]
    return ", ".join(number(count, one, many) for count, one, many in told if count)


def _plural(word: str) -> str:
    return word + ("es" if word.endswith("ch") else "s")


def rhythm(intervals: Intervals, band: Band | None) -> str:
    """How often it was rekeyed, and how often it should be."""
    least, most = span(intervals.shortest), span(intervals.longest)
    told = f"after {least}" if least == most else f"every {least} to {most}"
    told += f" (median {span(intervals.quantile(0.5))}, {number(intervals.count, 'time')})"
    if band is not None:
        upper = f" to {span(band.upper)}" if band.upper is not None else " or later"
        told += f"; {band.origin} bounds: {span(band.lower)}{upper}"
    return told


def name(connection: Connection) -> str:
    """What a connection is called."""
    called = connection.name or "(no connection)"
    return f"{called} of {connection.gateway}" if connection.gateway else called


def peers(connection: Connection) -> str:
    """Whom it is with."""
    if connection.peer is None:
        return ""
    more = len(connection.peers) - 1
    return f" with {connection.peer}" + (f" and {number(more, 'other')}" if more else "")


def others(strangers: Sequence[Connection], *, everything: bool = False) -> str:
    """Peers of which no connection is known, in one sentence."""
    counts: Counter[str] = Counter()
    for each in strangers:
        counts.update(each.counts)
    together = Connection(None, None, counts=counts)
    names = [each.peer or "unknown" for each in strangers]
    shown = names if everything or len(names) <= _NAMES + 1 else names[:_NAMES]
    more = f" and {len(names) - len(shown):,} others" if len(shown) < len(names) else ""
    told = deeds(together) or "no SA"
    return f"Without a connection: {told}, with {', '.join(shown)}{more}"


def life(each: Life) -> str:
    """One SA in short."""
    kind = "IKE SA" if each.kind == "ike" else "Child SA"
    child = f" {each.child}" if each.child else ""
    which = f" {each.number}" if each.number is not None else ""
    spis = f" (SPIs {each.spi_in or '?'}, {each.spi_out or '?'})" if each.spi_in else ""
    since = f" since {clock(each.start)}" if each.start is not None else ""
    return f"{kind}{child}{which}{spis}{since}"


def _alert(report: Report, alert: Alert) -> Iterator[Line]:
    head = f"{alert.severity.upper()}  "
    for line in _wrapped(f"{title(alert)} ({alert.kind})", head, " " * len(head)):
        yield Line(line, alert.severity)
    for label, value in [*facts(report, alert), ("See", page(alert))]:
        first = f"  {label}".ljust(_LABEL + 4)
        yield from map(Line, _wrapped(value, first, " " * len(first)))


def _connection(report: Report, connection: Connection, *, plots: bool) -> Iterator[Line]:
    state = standing(connection)
    yield from map(
        Line,
        _wrapped(
            f"{name(connection)}{peers(connection)}: {state}; in all {deeds(connection) or 'no more'}",
            "  ",
            "    ",
        ),
    )
    up = [each for each in connection.lives if not each.ended]
    for each in up[-_UP:]:
        yield from map(Line, _wrapped(life(each), "    up: ", "        "))
    if len(up) > _UP:
        yield Line(f"    and {len(up) - _UP:,} more that are up", "quiet")
    for kind, label in (("ike", "IKE SA"), ("child", "Child SA")):
        intervals = connection.ike if kind == "ike" else connection.child
        if intervals.count:
            band = report.band_of(connection, kind)
            told = f"{label} rekeyed {rhythm(intervals, band)}"
            yield from map(Line, _wrapped(told, "    ", "      "))
            if plots:
                for line in plot.chart(intervals.points, band):
                    yield Line(f"    {line}", "quiet")


def _kinds(report: Report) -> str:
    """What the worst are, as far as a line has room."""
    worst = sorted(report.alerts, key=lambda each: SEVERITIES.index(each.severity))
    kinds = list(dict.fromkeys(each.kind for each in worst))
    more = len(kinds) - _KINDS
    return ", ".join(kinds[:_KINDS]) + (f" and {number(more, 'other kind')}" if more > 0 else "")


def _severities(report: Report) -> Iterator[str]:
    weights = [each.severity for each in report.alerts]
    return (f"{weights.count(each):,} {each}" for each in SEVERITIES if each in weights)


def _sources(sources: tuple[str, ...]) -> str:
    if len(sources) <= 3:  # more would fill the screen
        return ", ".join(sources)
    return f"{sources[0]} and {len(sources) - 1:,} other files"


def _evidence(evidence: Mapping[str, object]) -> str:
    return ", ".join(_number(key, value) for key, value in evidence.items())


def _number(key: str, value: object) -> str:
    what = key.removesuffix("_seconds")
    if what != key and isinstance(value, int | float):
        return f"{what.replace('_', ' ')} {span(value)}"
    return f"{key.replace('_', ' ')} {_value(value)}"


def _value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.3f}".rstrip("0").rstrip(".")
    if isinstance(value, Mapping):
        return f"({_evidence(value)})"
    if isinstance(value, list | tuple | set | frozenset):
        return " ".join(_value(each) for each in value)
    return str(value)


def _wrapped(text: str, first: str, then: str) -> Iterable[str]:
    return textwrap.wrap(
        shown(text),
        WIDTH,
        initial_indent=first,
        subsequent_indent=then,
        break_long_words=False,
        break_on_hyphens=False,
    )
