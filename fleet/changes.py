"""What changed since a process last looked: for those who wait for the state of their gateway.

One query, also over what other processes and replicas wrote. It looks back over some seconds each time, because
transactions do not become visible in the order of their times or numbers, and from time to time at everything: so a
change that came even later, or from a machine whose clock is behind, is seen a little late and not never.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import bindparam, func, literal, select

from fleet.state import note_seen
from pki.actors import Action, Actor, require
from pki.desk import Desk
from pki.identity import CHANNEL
from store.fleet_tables import gateways
from store.tables import certificates

_LOOK_BACK: Final = timedelta(seconds=4)
_EVERYTHING_EVERY: Final = timedelta(seconds=10)
_GATEWAY, _CERTIFICATE, _LATEST = 0, 1, 2
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Change:
    """A gateway's present version (`commanded`: the one with its latest command), or its newest certificate; the other
    of the two is None.
    """

    gateway_id: int
    version: int | None
    commanded: int
    leaf_id: int | None


_AT: Final = gateways.c.changed_at.type
# Made once: building it takes longer than running it.
_CHANGED: Final = (
    select(
        literal(_GATEWAY).label("kind"),
        gateways.c.id,
        gateways.c.version.label("number"),
        gateways.c.commanded,
        gateways.c.changed_at.label("at"),
    )
    .where(gateways.c.changed_at > bindparam("since", type_=_AT))
    .union_all(
        select(
            literal(_CERTIFICATE),
            gateways.c.id,
            certificates.c.id,
            literal(0),
            certificates.c.created_at,
        )
        .join_from(certificates, gateways, gateways.c.name == certificates.c.gateway)
        .where(
            certificates.c.id > bindparam("low"),
            certificates.c.status == "valid",
            certificates.c.profile != CHANNEL,
        ),
        select(
            literal(_LATEST),
            literal(0),
            func.coalesce(func.max(certificates.c.id), 0),
            literal(0),
            bindparam("moment", type_=_AT),
        ),
    )
)


class Changes:
    """Remembers how far one process has looked. For one thread at a time."""

    def __init__(self, desk: Desk, actor: Actor) -> None:
        self._desk = desk
        self._actor = actor
        self._since: datetime | None = None
        # The latest change on record, and when it was first seen.
        self._latest: tuple[datetime, datetime] | None = None
        self._everything_at: datetime | None = None
        self._numbers: deque[tuple[datetime, int]] = deque()

    def look(self, now: datetime) -> list[Change]:
        """What changed lately: some of it may have been told before. Raises RoleMayNot."""
        require(self._actor, Action.JOB_RUN)
        # A clock that was set back must not put it off.
        whole = self._everything_at is None or not (
            timedelta(0) <= now - self._everything_at < _EVERYTHING_EVERY
        )
        with self._desk.store.read() as connection:
            if not self._numbers:
                newest = connection.execute(select(func.max(certificates.c.id))).scalar_one()
                self._numbers.append((now, newest or 0))
            since = _EPOCH if whole or self._since is None else self._since
            values = {"since": since, "low": self._numbers[0][1], "moment": now}
            rows = connection.execute(_CHANGED, values).all()
        if whole:
            self._everything_at = now
        self._remember(rows, now)
        return [
            Change(row.id, row.number, row.commanded, None)
            if row.kind == _GATEWAY
            else Change(row.id, None, 0, row.number)
            for row in rows
            if row.kind != _LATEST
        ]

    def _remember(self, rows: Sequence[Any], now: datetime) -> None:
        # By the times in the records, not by this machine's clock.
        latest = max((row.at for row in rows if row.kind == _GATEWAY), default=None)
        if latest is not None and (self._latest is None or latest > self._latest[1]):
            self._latest = (now, latest)
        if self._latest is not None:
            noted, latest = self._latest
            # What is long known is not read again and again: ten thousand may have changed at once.
            calm = not timedelta(0) <= now - noted < _LOOK_BACK
            self._since = latest if calm else latest - _LOOK_BACK
            if self._since > now:
                self._since = now - _LOOK_BACK
        newest = next(row.number for row in rows if row.kind == _LATEST)
        if self._numbers[-1][0] > now:
            self._numbers = deque([(now, self._numbers[0][1])])
        self._numbers.append((now, newest))
        while len(self._numbers) > 1 and now - self._numbers[1][0] > _LOOK_BACK:
            self._numbers.popleft()

    def seen(self, ids: Iterable[int], now: datetime) -> None:
        """Put on record that these gateways are waiting for news, and so are there. Raises RoleMayNot."""
        require(self._actor, Action.JOB_RUN)
        note_seen(self._desk, ids, now)
