"""Bumps: a gateway's desired state has changed, so its version counts up and whoever waits for it is woken."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import TypeVar

from sqlalchemy import Connection, select, update

from fleet.ca_sets import behind
from store.fleet_tables import gateway_authorities, gateways

_MANY = 500
Item = TypeVar("Item")


def bump(
    connection: Connection, ids: Iterable[int], now: datetime, *, commanded: bool = False
) -> None:
    """Count up the versions of these gateways; `commanded` where a command came, which goes before other news."""
    for some in chunks(sorted(set(ids))):
        lock(connection, some)
        version = gateways.c.version + 1
        connection.execute(
            update(gateways)
            .where(gateways.c.id.in_(some))
            .values(
                version=version,
                changed_at=now,
                commanded=version if commanded else gateways.c.commanded,
            )
        )


def lock(connection: Connection, ids: Sequence[int]) -> None:
    """Lock gateways in the order of their numbers, so that two that change several never wait for each other."""
    if len(ids) > 1:
        hold(connection, ids)


def hold(connection: Connection, ids: Sequence[int]) -> None:
    """As `lock`, a single one too: before anything else is locked that others lock after a gateway."""
    if connection.dialect.name != "sqlite":
        connection.execute(
            select(gateways.c.id)
            .where(gateways.c.id.in_(ids))
            .order_by(gateways.c.id)
            .with_for_update()
        ).all()


def pass_on(
    connection: Connection, authority_id: int, number: int, limit: int, now: datetime
) -> int:
    """Bump at most `limit` gateways that trust the authority and know nothing of its list `number`; tell how many."""
    ids = list(
        connection.scalars(
            select(gateway_authorities.c.gateway_id)
            .where(behind(authority_id, number))
            .order_by(gateway_authorities.c.gateway_id)
            .limit(limit)
        )
    )
    bump(connection, ids, now)
    for some in chunks(ids):
        connection.execute(
            update(gateway_authorities)
            .where(
                gateway_authorities.c.authority_id == authority_id,
                gateway_authorities.c.gateway_id.in_(some),
            )
            .values(crl_number=number)
        )
    return len(ids)


def pass_on_to_all(connection: Connection, authority_id: int, number: int, now: datetime) -> None:
    """As `pass_on`, to all at once: ten thousand in two statements."""
    those = behind(authority_id, number)
    ids = select(gateway_authorities.c.gateway_id).where(those)
    if connection.dialect.name != "sqlite":
        connection.execute(
            select(gateways.c.id)
            .where(gateways.c.id.in_(ids))
            .order_by(gateways.c.id)
            .with_for_update()
        ).all()
    connection.execute(
        update(gateways)
        .where(gateways.c.id.in_(ids))
        .values(version=gateways.c.version + 1, changed_at=now)
    )
    connection.execute(update(gateway_authorities).where(those).values(crl_number=number))


def chunks(items: Sequence[Item], size: int = _MANY) -> Iterator[Sequence[Item]]:
    """The items in portions that a statement can name one by one."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
