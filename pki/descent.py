"""Lines of authorities: what stands below a certificate, and who stands below one that is revoked or on hold."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Select, and_, select

from store.tables import authorities, certificates

_CHILD: Final = authorities.alias("child")
_OWN: Final = certificates.alias("own_certificate")
_ENDED: Final = (
    select(authorities.c.id)
    .join(
        _OWN,
        and_(_OWN.c.authority_id == authorities.c.parent_id, _OWN.c.serial == authorities.c.serial),
    )
    .where(_OWN.c.status.in_(("revoked", "held")))
    .cte("ended_authorities", recursive=True)
)
_ALL_ENDED: Final = _ENDED.union(select(_CHILD.c.id).where(_CHILD.c.parent_id == _ENDED.c.id))


@dataclass(frozen=True)
class Branch:
    """An authority by its number and name."""

    id: int
    name: str


def ended() -> Select[Any]:
    """The numbers of authorities whose certificate, or one above it, is revoked or on hold, in SQL: no verifier accepts
    what they certified (RFC 5280 §6.1.3 (a)(3)).
    """
    return select(_ALL_ENDED.c.id)


def below(connection: Connection, issuer: int, serial: str) -> Sequence[Branch]:
    """The authority whose own certificate has this serial number from this issuer, and all below it; none where it is
    no authority's.
    """
    query = select(
        authorities.c.id, authorities.c.name, authorities.c.parent_id, authorities.c.serial
    ).order_by(authorities.c.id)
    branches: dict[int, Branch] = {}
    # Whoever is above has the smaller number: it was on record first.
    for row in connection.execute(query):
        own = (row.parent_id, row.serial) == (issuer, serial)
        if own or row.parent_id in branches:
            branches[row.id] = Branch(row.id, row.name)
    return tuple(branches.values())
