"""Results: a table on the screen, bench/results.json, and docs/reference/benchmarks.md."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.detection.page import SCENARIO, render
from bench.machine import Machine
from bench.rounds import Options, Row

_ROOT = Path(__file__).parents[1]
RESULTS = _ROOT / "bench" / "results.json"
PAGE = _ROOT / "docs" / "reference" / "benchmarks.md"
_TEMPLATE = _ROOT / "bench" / "page.md"
_ORDER = (
    "issuance",
    "hsm",
    "doors",
    "revocation",
    "ocsp",
    "crl",
    "fleet",
    "rotation",
    "ingest",
    "console",
    "audit",
    "primes",
    "detection",
    "logs",
)
# They bring a server of their own, whatever the others are measured on.
_ON_POSTGRESQL = ("rotation", "ingest", "console")


def show(console: Console, rows: Iterable[Row]) -> None:
    """Print a table."""
    table = Table(title="ratio > 1: ikewarden is better")
    table.add_column("what")
    table.add_column("unit")
    for name in ("ours", "peer", "ratio", "range"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("against")
    for row in rows:
        if row.metric.startswith(SCENARIO):
            continue  # a table of its own, and a page
        spread = "" if row.low is None or row.high is None else f"{row.low:.2f} to {row.high:.2f}"
        table.add_row(
            f"{row.bench}: {row.metric.replace('_', ' ')}",
            row.unit,
            number(row.ours),
            number(row.peer),
            "" if row.ratio is None else f"{row.ratio:.2f}",
            spread,
            row.peer_name or "",
        )
    console.print(table)


def number(value: float | None) -> str:
    """Three significant digits, or whole where there are more."""
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def write(
    path: Path, rows: Sequence[Row], machine: Machine, options: Options, now: datetime
) -> list[dict[str, Any]]:
    """Put the rows into the file in place of earlier ones of the same benchmarks; gives all that are there now."""
    common = {
        "at": now.isoformat(timespec="minutes"),
        "rounds": options.rounds,
        "seconds": options.seconds,
        "machine": dict(machine.facts),
    }
    new = [
        {
            **asdict(row),
            **common,
            "database": "postgresql" if row.bench in _ON_POSTGRESQL else options.database,
        }
        for row in rows
    ]
    names = {row.bench for row in rows}
    kept = [row for row in read(path) if row["bench"] not in names]
    everything = sorted([*kept, *new], key=lambda row: _ORDER.index(row["bench"]))
    path.write_text(json.dumps(everything, indent=1, ensure_ascii=False) + "\n", "utf-8")
    return everything


def read(path: Path) -> list[dict[str, Any]]:
    """Rows of an earlier run; none if there was none."""
    if not path.exists():
        return []
    rows: list[dict[str, Any]] = json.loads(path.read_text("utf-8"))
    return rows


def write_page(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Make the reference page from all rows; benchmarks that were run at different times say so."""
    tables = []
    for name in _ORDER:
        mine = [row for row in rows if row["bench"] == name]
        if mine:
            tables.append(_section(name, mine))
    text = _TEMPLATE.read_text("utf-8")
    text = text.replace("{tables}\n", "\n".join(tables)).replace("{machine}\n", _machines(rows))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    path.with_name("detection.md").write_text(render(rows), "utf-8")


def _section(name: str, rows: Sequence[Mapping[str, Any]]) -> str:
    first = rows[0]
    lines = [
        f"## {name}",
        "",
        f"{first['at'][:10]}, {first['database']}, {_repeated(name, first)}.",
        "",
        "| metric | unit | ours | peer | ratio | range | against | note |",
        "|---|---|---:|---:|---:|---|---|---|",
    ]
    for row in rows:
        if row["metric"].startswith(SCENARIO):
            continue
        ratio = "" if row["ratio"] is None else f"**{row['ratio']:.2f}**"
        spread = "" if row["low"] is None else f"{row['low']:.2f} to {row['high']:.2f}"
        cells = (
            f"`{row['metric']}`",
            row["unit"],
            number(row["ours"]),
            number(row["peer"]),
            ratio,
            spread,
            row["peer_name"] or "",
            row["note"],
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, ""])


def _repeated(name: str, row: Mapping[str, Any]) -> str:
    if name in ("fleet", "ingest", "console", "detection"):
        return "one run"
    if name == "audit":
        return f"{row['rounds']} rounds, alternating"
    if name == "crl":
        return "each figure the median of several, one side after the other"
    return f"{row['rounds']} rounds of {row['seconds']} s, alternating"


def _machines(rows: Sequence[Mapping[str, Any]]) -> str:
    groups: dict[str, list[str]] = {}
    for row in rows:
        facts = json.dumps(row["machine"])
        if row["bench"] not in groups.setdefault(facts, []):
            groups[facts].append(row["bench"])
    parts = []
    for facts, names in groups.items():
        of = "" if len(groups) == 1 else f" of {', '.join(names)}"
        lines = [f"## The machine{of}", "", "| | |", "|---|---|"]
        lines += [f"| {name} | {text} |" for name, text in json.loads(facts).items()]
        parts.append("\n".join([*lines, ""]))
    return "\n".join(parts)
