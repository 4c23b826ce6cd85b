"""Writes the page about what /metrics tells, from the families that the code declares."""

from collections.abc import Iterable

from api import meters, processes
from core.figures import Family
from fleet.figures import families, gathering
from pki import vitals

RECORDS = (*vitals.OF_AUTHORITIES, *vitals.OF_SERVICE, gathering.COUNTED_AT)
PROCESSES = (*meters.COUNTED, *processes.FAMILIES, meters.BUILD)
ALL = (*families.GATHERED, *RECORDS, *PROCESSES)

_HEAD = """# Metrics

<!-- Written by `make docs` from the families that the code declares. -->

`GET /metrics` of the API listener, in Prometheus' text format: [how to watch it](../how-to/monitoring.md), with alert
rules and dashboards. Times are seconds since 1970, durations seconds, sizes bytes.

No family has a series for each of very many things: certificates, gateways and tunnels are counted and not listed.
The exceptions have a limit, and say what becomes of a label beyond it. A label `authority` has as many values as
there are authorities.
"""
_GATHERED = """## Counted by a job

Of the records, counted by the job `figures` every `[scheduler] figures` seconds (60) and kept, because with a million
certificates a count takes its time. `ikewarden_figures_timestamp_seconds` says when that was. **Every replica tells
the same numbers: take the `max` over instances, never the sum.** A token of one gateway, or one that is limited
otherwise, is told what it may see, counted at once.
"""
_RECORDS = """## Of the records, as they are

Read at each look. Every replica tells the same: take the `max`. A token of one gateway sees what is said of
authorities alone.
"""
_PROCESSES = """## Of the processes

Of the processes of one `ikewarden serve`, all workers together: **add them up over instances.** They begin at 0 when
it starts. Parts that run by themselves (`serve --only validation`, on a machine without an API) tell of themselves
where `[metrics] port` is set: a plain listener that tells this section alone.
"""


def render() -> str:
    """The page."""
    return "\n".join(
        [
            _HEAD,
            _GATHERED,
            *_table(families.GATHERED),
            _RECORDS,
            *_table(RECORDS),
            _PROCESSES,
            *_table(PROCESSES),
        ]
    )


def _table(those: Iterable[Family]) -> list[str]:
    lines = ["| metric | type | labels | meaning |", "|---|---|---|---|"]
    for each in those:
        labels = ", ".join(f"`{label}`" for label in each.labels)
        lines.append(f"| `{each.name}` | {each.kind} | {labels} | {each.help} |")
    return [*lines, ""]
