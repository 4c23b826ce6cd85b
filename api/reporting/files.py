"""A report of any kind, in any form: what doors, the console and the scheduler call."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from api import cursors
from api.reporting import pages, paper, signing, tables
from api.reporting.kinds import KINDS, TIMELESS, Kind, path
from api.reporting.values import Asked, Making, PeriodUnwanted, ReportFile, ReportTooLarge
from fleet.reporting import periods
from pki.actors import Actor
from pki.desk import Desk

_MEDIA_TYPES: Final = {
    "json": "application/json",
    "csv": tables.MEDIA_TYPE,
    "html": pages.MEDIA_TYPE,
    "pdf": "application/pdf",
}
# Of a table that is wanted whole.
_MOST_BYTES: Final = 32 * 2**20


@dataclass(frozen=True)
class TablePart:
    """A part of a table; `cursor` leads to the next one."""

    content: bytes
    cursor: str | None


def made(desk: Desk, actor: Actor, asked: Asked, *, now: datetime) -> ReportFile:
    """Make a report.

    Signed, a PDF carries its signature (PAdES); of another form it becomes a ZIP archive with the detached signature
    (CMS) beside it. Raises RoleMayNot, OutsideScope, BadQuery, BadPeriod, PeriodUnwanted, PdfMissing, PdfBusy,
    ReportTooLarge, GatewayNotFound, and what `signing` raises.
    """
    kind, making = _begin(desk, actor, asked, now)
    if asked.format == "pdf":
        paper.check()  # before anything is counted
    content, headers = _content(kind, making)
    name = filename(making)
    if not asked.signed:
        return ReportFile(content, _MEDIA_TYPES[asked.format], name, headers)
    signed = signing.signed(desk, asked.format, name, content, at=making.at, now=now)
    return replace(signed, headers=())


def part(desk: Desk, actor: Actor, asked: Asked, cursor: str | None, *, now: datetime) -> TablePart:
    """A part of a report's table. Each names the columns first. Raises as `made` does, and CursorInvalid."""
    kind, making = _begin(desk, actor, asked, now)
    return _part(kind, making, cursor)


def parts(desk: Desk, actor: Actor, asked: Asked, *, now: datetime) -> Iterator[bytes]:
    """The whole table piece by piece, however long it is. Raises as `made` does."""
    kind, making = _begin(desk, actor, asked, now)
    return _parts(kind, making)


def filename(making: Making) -> str:
    """What the file of a report is called: with its period, or the day as of which it tells."""
    when = f"{making.at:%Y-%m-%d}"
    if making.period is not None and making.asked.period is not None:
        name = making.period.name.replace(":", "").replace("..", "_")
        # One that goes by the day is another one on each.
        when = f"{when}-{name}" if name.startswith(("last-", "next-")) else name
    return f"ikewarden-{making.asked.kind}-{when}.{making.asked.format}"


def begin(desk: Desk, actor: Actor, asked: Asked, *, now: datetime) -> Making:
    """A report before anything is counted: of which period, as of when. Raises BadPeriod, PeriodUnwanted."""
    return _begin(desk, actor, asked, now)[1]


def _begin(desk: Desk, actor: Actor, asked: Asked, now: datetime) -> tuple[Kind, Making]:
    kind = KINDS[asked.kind]
    named = asked.period or kind.usual
    period = None
    if asked.period is not None and asked.kind in TIMELESS:
        raise PeriodUnwanted(f"The report {asked.kind} tells how things are, and has no period.")
    at = periods.check_moment(asked.at or now)
    if named is not None:
        period = periods.parse(named, at)
        if asked.at is None:
            at = period.moment(now)
    return kind, Making(desk, actor, asked, period, at)


def _content(kind: Kind, making: Making) -> tuple[bytes, tuple[tuple[str, str], ...]]:
    asked = making.asked
    if asked.format == "csv":
        return _whole(kind, making), ()
    found = kind.figures(making)
    if asked.format == "json":
        return kind.shown(found).model_dump_json().encode(), ()
    context = {
        "kind": kind.name,
        "title": kind.title,
        "language": asked.language,
        "made_at": making.at,
        "period": making.period,
        **kind.context(found),
    }
    on_paper = asked.format == "pdf"
    content, policy = pages.page(kind.template, asked.language, context, paper=on_paper)
    if on_paper:
        return paper.pdf(content), ()
    # Of no meaning within the page, where the rest of the policy stands, too.
    return content, (("Content-Security-Policy", f"{policy}; frame-ancestors 'none'"),)


def _part(kind: Kind, making: Making, cursor: str | None) -> TablePart:
    rows, after = kind.rows(making, cursor)
    content = tables.table(kind.columns, rows)
    return TablePart(content, None if after is None else cursors.encode(path(kind.name), after))


def _parts(kind: Kind, making: Making) -> Iterator[bytes]:
    cursor: str | None = None
    while True:
        found = _part(kind, making, cursor)
        yield found.content if cursor is None else found.content.partition(b"\r\n")[2]
        cursor = found.cursor
        if cursor is None:
            return


def _whole(kind: Kind, making: Making) -> bytes:
    pieces, size = [], 0
    for piece in _parts(kind, making):
        pieces.append(piece)
        size += len(piece)
        if size > _MOST_BYTES:
            raise ReportTooLarge(
                f"The table has over {_MOST_BYTES >> 20} MiB, which is more than is held at a time."
            )
    return b"".join(pieces)
