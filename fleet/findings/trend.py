"""How the fleet's findings went over the last weeks, by when each was opened and fixed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Column, ColumnElement, Connection, and_, case, func, or_, select

from fleet.findings.values import State
from ike.audit.values import Severity
from pki.actors import Action, Actor, require, require_gateway
from pki.certificates import BadQuery
from pki.desk import Desk
from store.finding_tables import findings

MOST_WEEKS: Final = 53


@dataclass(frozen=True)
class Week:
    """A week that ended at `at`: how many findings there were then, open or accepted, by severity; and how many were
    opened and fixed in it.
    """

    at: datetime
    present: dict[str, int]
    opened: int
    fixed: int


def weeks(desk: Desk, actor: Actor, number: int, *, now: datetime) -> tuple[Week, ...]:
    """The last `number` weeks (1 to 53), the oldest first.

    Made of the times that each finding bears: one that came back counts from its return on, and in the severity that
    it has now. Raises RoleMayNot, OutsideScope, BadQuery.
    """
    require(actor, Action.FINDING_READ)
    require_gateway(actor, None)
    if not 1 <= number <= MOST_WEEKS:
        raise BadQuery(f"A trend is of 1 to {MOST_WEEKS} weeks.")
    ends = [now - timedelta(weeks=back) for back in range(number, -1, -1)]
    with desk.store.read() as connection:
        counted = _count(connection, ends)
    return tuple(
        Week(
            at=end,
            present={
                str(each): sum(
                    many
                    for rank, opened, fixed, many in counted
                    if rank == each.rank and opened <= place < fixed
                )
                for each in Severity
            },
            opened=sum(many for _, opened, _, many in counted if opened == place),
            fixed=sum(many for _, _, fixed, many in counted if fixed == place),
        )
        for place, end in enumerate(ends)
        if place
    )


def _count(connection: Connection, ends: Sequence[datetime]) -> list[tuple[int, int, int, int]]:
    """Rank, the place of the first end by which a finding was opened and fixed, and how many: in one look at all.

    What is there still was fixed at no end. What was fixed before the first one is left out.
    """
    is_fixed = findings.c.state == State.FIXED
    opened = _place(findings.c.opened_at, ends)
    fixed = case((~is_fixed, len(ends)), else_=_place(findings.c.fixed_at, ends))
    counted = (
        select(findings.c.rank, opened.label("opened"), fixed.label("fixed"))
        .where(or_(~is_fixed, and_(is_fixed, findings.c.fixed_at > ends[0])))
        .subquery()
    )
    by = (counted.c.rank, counted.c.opened, counted.c.fixed)
    found = connection.execute(select(*by, func.count()).group_by(*by))
    return [(rank, first, last, many) for rank, first, last, many in found]


def _place(column: Column[datetime], ends: Sequence[datetime]) -> ColumnElement[int]:
    return case(*((column <= end, place) for place, end in enumerate(ends)), else_=len(ends))
