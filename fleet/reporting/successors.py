"""Whether certificates have a successor, for very many at once.

Serial numbers rise with time (pki/x509/serials.py): of certificates that end in a period they stand together, and so do
the successors, by what they succeed. A database that knows the first and the last reads these alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import ColumnElement, Connection, exists, func, select

from store.tables import certificates

_LATER: Final = certificates.alias("later")


@dataclass(frozen=True)
class Stretch:
    """Certificates by status, and their first and last serial number; these are None where there are none."""

    numbers: Mapping[str, int]
    first: str | None
    last: str | None

    @property
    def total(self) -> int:
        """How many there are."""
        return sum(self.numbers.values())


def stretch(connection: Connection, *of: ColumnElement[bool]) -> Stretch:
    """Count certificates for which this is true."""
    own = certificates.c
    # By status, in any case: for the least of all the planner would look where few rows are meant.
    counted = select(own.status, func.count(), func.min(own.serial), func.max(own.serial))
    rows = connection.execute(counted.where(*of).group_by(own.status)).all()
    return Stretch(
        {status: number for status, number, _, _ in rows},
        min((first for _, _, first, _ in rows), default=None),
        max((last for _, _, _, last in rows), default=None),
    )


def renewed(within: Stretch | None = None) -> ColumnElement[bool]:
    """Whether a certificate, `within` a stretch where one is given, has a valid successor."""
    later = _LATER.c
    found = exists().where(later.renewed_from == certificates.c.serial, later.status == "valid")
    if within is None or within.first is None:
        return found
    return found.where(later.renewed_from.between(within.first, within.last))
