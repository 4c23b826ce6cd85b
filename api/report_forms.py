"""Reports for people and spreadsheets: one HTML file that fetches nothing, or CSV."""

import base64
import csv
import hashlib
import io
from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from fleet.findings.summary import AuditFigures, ComplianceFigures
from ike.audit.values import Severity

Kind = Literal["audit", "compliance"]
# What a spreadsheet takes for a formula: a name from a gateway must not become one.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def csv_of(kind: Kind, found: Any) -> bytes:
    """A line for each rule, or for each gateway (RFC 4180). Names the columns first."""
    rows: Iterable[Any] = found.rules if kind == "audit" else found.gateways
    names = list(_COLUMNS[kind])
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\r\n")
    writer.writeheader()
    for row in rows:
        told = asdict(row)
        writer.writerow({name: _cell(told[name]) for name in names})
    return text.getvalue().encode()


_COLUMNS: dict[Kind, tuple[str, ...]] = {
    "audit": ("rule", "area", "severity", "title", "open", "accepted", "fixed", "gateways"),
    "compliance": (
        *("gateway", "baseline", "verdict", *map(str, Severity)),
        *("accepted", "errors", "reported_at"),
    ),
}


def _cell(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, str) and value.startswith(_FORMULA):
        return "'" + value
    return "" if value is None else value


def page(kind: Kind, found: AuditFigures | ComplianceFigures) -> tuple[bytes, str]:
    """The page, and the Content-Security-Policy that lets it do nothing but be looked at."""
    style = _style()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    content = _template().render(
        kind=kind, report=found, style=style, policy=policy, severities=list(map(str, Severity))
    )
    return content.encode(), policy


@lru_cache(maxsize=1)
def _style() -> str:
    return (Path(__file__).parent / "static" / "report.css").read_text("utf-8")


@lru_cache(maxsize=1)
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("api"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["moment"] = lambda value: f"{value:%Y-%m-%d %H:%M}Z" if value else "never"
    return environment.get_template("report.html")
