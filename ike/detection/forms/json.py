"""The analysis for programs: JSON, version 1 (DESIGN §4.1)."""

import json
from collections.abc import Mapping
from typing import Any, Final

from ike.audit.forms.names import visible
from ike.detection.alert import Alert
from ike.detection.forms.times import rfc3339
from ike.detection.report import STRIDE, Band, Report, page, title
from ike.events.summary import FAILURES, Connection, Intervals, Life

VERSION: Final = 1


def write(report: Report) -> str:
    """The analysis, indented; ASCII only, so that no character in it acts in a terminal."""
    return json.dumps(document(report), indent=2, ensure_ascii=True) + "\n"


def document(report: Report) -> dict[str, Any]:
    """The analysis as a JSON object. Times are those of the log, as RFC 3339; spans are seconds."""
    return {
        "version": VERSION,
        "verdict": report.verdict,
        "sources": [visible(each) for each in report.sources],
        "lines": report.lines,
        "events": report.events,
        "remarks": [visible(each) for each in report.remarks],
        "start": rfc3339(report.first),
        "end": rfc3339(report.last),
        "connections": [_connection(report, each) for each in report.connections],
        "alerts": [_alert(report, each) for each in report.ranked],
    }


def _alert(report: Report, alert: Alert) -> dict[str, Any]:
    about = {
        "gateway": alert.gateway,
        "connection": alert.connection,
        "peer": alert.peer,
        "identity": alert.identity,
    }
    return {
        "kind": alert.kind,
        "severity": alert.severity,
        "title": title(alert),
        **{key: visible(value) for key, value in about.items() if value is not None},
        "start": rfc3339(alert.start),
        "end": rfc3339(alert.end),
        "evidence": _plain(alert.evidence),
        "lines": [each % STRIDE for each in alert.lines],
        "places": [visible(report.place(each)) for each in alert.lines],
        "cause": visible(alert.cause),
        "next_step": visible(alert.next_step),
        "see": page(alert),
    }


def _connection(report: Report, connection: Connection) -> dict[str, Any]:
    counts = connection.counts
    return {
        "connection": _or_none(connection.name),
        "gateway": _or_none(connection.gateway),
        "peer": _or_none(connection.peer),
        "peers": [visible(each) for each in connection.peers],
        "start": rfc3339(connection.first),
        "end": rfc3339(connection.last),
        "up": connection.is_up,
        "ike_established": counts["ike_established"],
        "ike_rekeys": counts["ike_rekeys"],
        "reauthentications": counts["ike_reauth"],
        "child_established": counts["child_established"],
        "child_rekeys": counts["child_rekeys"],
        "retransmits": counts["retransmit"],
        "failures": connection.failures,
        "failures_by_kind": {kind: counts[kind] for kind in FAILURES if counts[kind]},
        "ike_intervals": _intervals(connection.ike, report.band_of(connection, "ike")),
        "child_intervals": _intervals(connection.child, report.band_of(connection, "child")),
        "sas": [_life(report, each) for each in connection.lives],
        "sas_not_listed": connection.unlisted,
    }


def _intervals(intervals: Intervals, band: Band | None) -> dict[str, Any] | None:
    if not intervals.count:
        return None
    return {
        "count": intervals.count,
        "shortest": round(intervals.shortest, 3),
        "median": round(intervals.quantile(0.5), 3),
        "longest": round(intervals.longest, 3),
        "lower_bound": round(band.lower, 3) if band else None,
        "upper_bound": round(band.upper, 3) if band and band.upper is not None else None,
        "bounds": band.origin if band else None,
    }


def _life(report: Report, life: Life) -> dict[str, Any]:
    return {
        "kind": life.kind,
        "id": life.number,
        **({"child": _or_none(life.child)} if life.kind == "child" else {}),
        "made": life.made,
        "start": rfc3339(life.start),
        "end": rfc3339(life.end),
        "up": not life.ended,
        **({"spi_in": _or_none(life.spi_in)} if life.spi_in else {}),
        **({"spi_out": _or_none(life.spi_out)} if life.spi_out else {}),
        "line": life.line % STRIDE,
        "place": visible(report.place(life.line)),
    }


def _plain(value: object) -> Any:
    if isinstance(value, Mapping):
        return {visible(str(key)): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(each) for each in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return visible(str(value))


def _or_none(text: str | None) -> str | None:
    return None if text is None else visible(text)
