"""The analysis as one HTML file: no script, nothing from elsewhere, light and dark, for any screen and for paper.

As the report of an audit: the Content-Security-Policy in it allows its own style sheet and nothing else.
"""

import base64
import hashlib
from collections.abc import Iterator
from functools import cache
from html import escape
from importlib.resources import files
from typing import Final

from ike.audit.forms.names import shown
from ike.detection.alert import Alert
from ike.detection.forms import svg, text
from ike.detection.forms.times import clock, span
from ike.detection.report import OK, Report, page, title
from ike.events.summary import Connection, Life

_SHOWN: Final = 200  # connections
_FEWEST: Final = 2  # rekeys that make a picture
_HEAD: Final = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{title}</title>
<style>{style}</style>
</head>
<body>"""


def write(report: Report) -> str:
    """The page."""
    return "".join(f"{part}\n" for part in _page(report))


def _page(report: Report) -> Iterator[str]:
    style = _style()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    yield _HEAD.format(policy=policy, title=f"SA analysis: {report.verdict}", style=style)
    yield "<header>\n<h1>Security associations</h1>"
    kind = "good" if report.verdict == OK else report.verdict
    yield f'<p class="verdict {kind}">{_text(text.sentence(report))}</p>'
    yield f'<p class="quiet">{_text(text.extent(report))}</p>'
    for remark in report.remarks:
        yield f'<p class="verdict warning">{_text(remark)}</p>'
    yield "</header>\n<main>"
    for alert in report.ranked:
        yield from _alert(report, alert)
    told = report.told
    if told:
        yield "<h2>Connections</h2>"
    for connection in told[:_SHOWN]:
        yield from _connection(report, connection)
    if len(told) > _SHOWN:
        yield f'<p class="quiet">and {len(told) - _SHOWN:,} more; --format json has them all.</p>'
    if report.strangers:
        yield '<section class="plain">'
        yield f"<p>{_text(text.others(report.strangers))}.</p>\n</section>"
    yield "</main>\n<footer>"
    yield '<p class="quiet">Times are those of the log. Written by ikewarden sa analyze.</p>'
    yield "</footer>\n</body>\n</html>"


def _alert(report: Report, alert: Alert) -> Iterator[str]:
    severity = _text(alert.severity)
    yield f'<section class="{severity}">'
    yield (
        f'<h2><span class="tag">{severity}</span> {_text(title(alert))}'
        f' <code class="rule">{_text(alert.kind)}</code></h2>\n<dl>'
    )
    for label, value in text.facts(report, alert):
        yield f"<dt>{_text(label)}</dt><dd>{_text(value)}</dd>"
    yield f"<dt>See</dt><dd><code>{_text(page(alert))}</code></dd>\n</dl>\n</section>"


def _connection(report: Report, connection: Connection) -> Iterator[str]:
    alerts = report.alerts_of(connection)
    well = "ok" if connection.is_up or not connection.failures else "plain"
    kind = _text(alerts[0].severity) if alerts else well
    yield f'<section class="{kind}">'
    yield f"<h2>{_text(text.name(connection) + text.peers(connection))}</h2>"
    state = f"At the end of the log: {text.standing(connection)}"
    yield f"<p>{_text(state)}; in all {_text(text.deeds(connection) or 'no more')}.</p>"
    yield from _pictures(report, connection)
    yield from _table(report, connection)
    yield "</section>"


def _pictures(report: Report, connection: Connection) -> Iterator[str]:
    parts = []
    for kind, label in (("ike", "IKE SA"), ("child", "Child SA")):
        those = connection.ike if kind == "ike" else connection.child
        if those.count >= _FEWEST:
            band = report.band_of(connection, kind)
            caption = f"{label} rekeyed {text.rhythm(those, band)}"
            parts.append((_text(caption), svg.intervals(those.points, band, shown(caption))))
    if len(connection.lives) >= _FEWEST and report.first is not None and report.last is not None:
        caption = (
            'SAs over time: <span class="key-ike">IKE SAs</span>, '
            '<span class="key-child">Child SAs</span>'
        )
        picture, drawn = svg.lives(connection.lives, report.first, report.last, _life)
        if drawn < len(connection.lives) + connection.unlisted:
            caption += f" (the newest {drawn:,} of {len(connection.lives) + connection.unlisted:,})"
        parts.append((caption, picture))
    if parts:
        yield '<div class="pictures">'
        for caption, picture in parts:
            yield f"<figure>{picture}<figcaption>{caption}</figcaption></figure>"
        yield "</div>"


def _life(life: Life) -> str:
    return shown(text.life(life))


def _table(report: Report, connection: Connection) -> Iterator[str]:
    if not connection.lives:
        return
    yield f"<details>\n<summary>SAs one by one ({len(connection.lives):,})</summary>"
    yield '<div class="wide"><table>\n<tr><th>SA</th><th>Made</th><th>From</th><th>To</th>'
    yield "<th>Lived</th><th>SPIs</th><th>Line</th></tr>"
    for life in connection.lives:
        cells = "".join(f"<td>{_text(each)}</td>" for each in _cells(report, life))
        yield f"<tr>{cells}</tr>"
    yield "</table></div>"
    if connection.unlisted:
        yield f'<p class="quiet">and {connection.unlisted:,} before them.</p>'
    yield "</details>"


def _cells(report: Report, life: Life) -> tuple[str, ...]:
    lived = ""
    if life.start is not None and life.end is not None and life.end >= life.start:
        lived = span(life.end - life.start)
    number = "" if life.number is None else str(life.number)
    called = "IKE" if life.kind == "ike" else (life.child or "Child")
    return (
        f"{called} {number}",
        life.made,
        clock(life.start),
        clock(life.end) if life.ended else "up",
        lived,
        " ".join(each for each in (life.spi_in, life.spi_out) if each),
        report.place(life.line),
    )


@cache
def _style() -> str:
    shared = (files("ike.audit.forms") / "audit.css").read_text("utf-8")
    return shared + (files("ike.detection.forms") / "analysis.css").read_text("utf-8")


def _text(value: str) -> str:
    return escape(shown(value))
