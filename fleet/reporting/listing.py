"""What reports that are lists have in common: how much is told one by one, parts for tables, who may read all."""

from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from pki.actors import Action, Actor, require, require_whole
from pki.certificates import BadQuery

MOST: Final = 5_000
USUAL: Final = 200
# What one part of a table has: of a million certificates no more is held at a time.
PART: Final = 5_000
Row = TypeVar("Row")


@dataclass(frozen=True)
class Part(Generic[Row]):
    """Some rows, and after which position the next ones come; None: these were the last."""

    rows: tuple[Row, ...]
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
