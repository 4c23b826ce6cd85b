"""What reports that are lists have in common: how much is told one by one, parts for tables, who may read all."""

from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from sqlalchemy import Connection, Row, Select

from pki.actors import Action, Actor, require, require_whole
from pki.certificates import BadQuery
from store.tables import certificates

MOST: Final = 5_000
USUAL: Final = 200
# What one part of a table has: of a million certificates no more is held at a time.
PART: Final = 5_000
Told = TypeVar("Told")


@dataclass(frozen=True)
class Part(Generic[Told]):
    """Some rows, and after which position the next ones come; None: these were the last."""

    rows: tuple[Told, ...]
    after: tuple[int, int] | None


def require_all(actor: Actor, *actions: Action) -> None:
    """These tell of everything: the caller may read each of it, and is limited to nothing.

    Raises RoleMayNot, OutsideScope.
    """
    for action in actions:
        require(actor, action)
    require_whole(actor)


def check(rows: int) -> None:
    """Raises BadQuery for more rows than are told of one by one."""
    if not 0 <= rows <= MOST:
        raise BadQuery(f"A report tells of at most {MOST} of a kind one by one; CSV has all.")


def soonest(connection: Connection, statement: Select[Any], rows: int) -> list[Row[Any]]:
    """The first `rows` of certificates that are valid or on hold, by when they end; `statement` selects their `id`."""
    own = certificates.c
    order = (own.not_after, own.id)
    # One status at a time an index has them in this order; together they would be sorted, all of them.
    found = [
        (row.ends_at, row.id, row)
        for status in (("valid", "held") if rows else ())
        for row in connection.execute(
            statement.add_columns(own.not_after.label("ends_at"))
            .where(own.status == status)
            .order_by(None)
            .order_by(*order)
            .limit(rows)
        )
    ]
    found.sort(key=lambda each: each[:2])
    return [row for _, _, row in found[:rows]]
