"""docs/reference/detection.md from the rows of bench/results.json: how right each rule is, and how fast."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ike.detection import agreement, certificates, failures, slow

#: Rows of one fault at one strength; the page of all benchmarks leaves them out.
SCENARIO = "scenario: "
STRENGTHS = ("weak", "middling", "strong")
_TEMPLATE = Path(__file__).with_name("page.md")
_RULES = ("recall", "precision", "delay", "false")


def render(rows: Sequence[Mapping[str, Any]]) -> str:
    """The page; it says so where nothing was measured yet."""
    mine = {row["metric"]: row for row in rows if row["bench"] == "detection"}
    parts = {
        "{summary}": _summary(mine),
        "{rules}": _rules(mine),
        "{scenarios}": _scenarios(mine),
        "{thresholds}": _thresholds(),
    }
    text = _TEMPLATE.read_text("utf-8")
    for mark, lines in parts.items():
        text = text.replace(
            mark, "\n".join(lines or ["Not measured yet: `make bench B=detection`."])
        )
    return text


def _thresholds() -> list[str]:
    """How often each failure is told, as the rules have it."""
    minutes, hour = f"{failures.WITHIN / 60:.0f} minutes", "an hour"
    assert failures.WITHIN == agreement.WITHIN
    assert certificates.WITHIN == agreement.SOURCES_WITHIN == 3600.0
    rows = {
        "auth_failures": (
            f"{failures.TIMES} of one identity in {minutes}",
            f"{slow.TIMES} of one identity",
        ),
        "auth_guessing": (
            f"{failures.IDENTITIES} identities of one source in {minutes}, and more signs",
            f"{slow.IDENTITIES} identities of one source, {slow.IDENTITIES_OF_KNOWN} and more where somebody came up; "
            f"{slow.TIMES_OF_STRANGER} failures of {slow.SEVERAL} identities where nobody did",
        ),
        "proposal_mismatch": (
            f"{agreement.TIMES} of one peer in {minutes}",
            f"{slow.TIMES} of one peer, {slow.TIMES_OF_STRANGER} of a stranger",
        ),
        "unknown_peers": (
            f"{agreement.ATTEMPTS} of one source in {minutes}, or {agreement.SOURCES} sources in {hour}",
            f"{slow.TIMES_OF_STRANGER} of one source",
        ),
        "certificate_rejected": (
            f"{certificates.TIMES} of one source in {hour}",
            f"{slow.TIMES_OF_CERTIFICATE} of one source",
        ),
    }
    lines = ["| alert | in a short time | in a day |", "|---|---|---|"]
    return lines + [
        f"| [`{kind}`](alerts/{kind}.md) | {soon} | {day} |" for kind, (soon, day) in rows.items()
    ]


def _summary(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    false = rows.get("false_alarms")
    if false is None:
        return []
    lines = ["| what | measured | goal | note |", "|---|---:|---:|---|"]
    lines.append(
        f"| false alarms per 10,000 tunnel-days | {false['ours']:.2f} | 1 | {false['note']} |"
    )
    for metric, row in rows.items():
        if metric == "events_observed" or metric.startswith("memory_of"):
            what = f"{metric.replace('_', ' ')} ({row['unit']})"
            lines.append(f"| {what} | {row['ours']:,.0f} | {row['peer']:,.0f} | {row['note']} |")
    return [f"Measured on {false['at'][:10]}.", "", *lines]


def _rules(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    kinds = [name.removeprefix("delay_") for name in rows if name.startswith("delay_")]
    if not kinds:
        return []
    lines = [
        "| rule | trials | recall | precision | median delay | false alarms per 10,000 tunnel-days |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for kind in kinds:
        recall, precision, delay, false = (rows[f"{what}_{kind}"] for what in _RULES)
        cells = (
            f"[`{kind}`](alerts/{kind}.md)",
            delay["note"],
            f"{recall['ours']:.4f}",
            f"{precision['ours']:.4f}",
            spoken(delay["ours"]),
            f"{false['ours']:.2f}",
        )
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _scenarios(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    names = dict.fromkeys(
        name.removeprefix(SCENARIO).rpartition(", ")[0]
        for name in rows
        if name.startswith(SCENARIO)
    )
    if not names:
        return []
    head = " | ".join(f"{each}: recall, delay" for each in STRENGTHS)
    lines = [f"| fault or attack | rule | {head} |", "|---|---|" + "---:|" * len(STRENGTHS)]
    for name in names:
        found = [rows[f"{SCENARIO}{name}, {strength}"] for strength in STRENGTHS]
        cells = [f"{row['note'].partition('recall ')[2]}, {spoken(row['ours'])}" for row in found]
        kind = found[0]["note"].partition(",")[0]
        lines.append(f"| {name} | `{kind}` | " + " | ".join(cells) + " |")
    return lines


def spoken(seconds: float) -> str:
    """A delay for people."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
