"""`python -m bench.rotation_agents DIR`: all gateways of `bench.rotation` in one process, until its input ends.

Gateways are machines of their own in life, so what is simulated here is made cheap: it looks at the lists of many at
once, and puts their reports on record many in a transaction, by the same `fleet.rotation.intake` that files a single
one. What an agent asks of the store of secrets is asked for each by itself, by the service's store, with its row in
the audit log. HTTP, and the cost of a single report, are what `bench.fleet` measures.
Prints how many rotations have retired; the first line when all have reported.
"""

import json
import selectors
import sys
import time
from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, and_, bindparam, func, select, update

from bench.fleet_records import gateway_name
from bench.rotation_side import THREADS, clock, open_desk
from fleet.bumps import hold
from fleet.rotation import intake
from fleet.rotation.intake import Filing, SecretReport, Secrets
from fleet.rotation.values import Authentication, EndAbilities, State
from pki.actors import Actor, Role
from pki.desk import Desk
from pki.trail import leave
from store.engine import Unit
from store.fleet_tables import gateway_reports, gateways
from store.rotation_tables import rotations, secret_slots, secrets

_ABLE = EndAbilities(overlap=True, ppk=True, gapless=True)
# So many gateways report in one transaction.
_MANY = 400
_LATELY = timedelta(seconds=10)
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
_TELL_EVERY = 0.5
_EVERYTHING_EVERY = 2.0

_NEWS = (
    select(gateways.c.id)
    .join(gateway_reports, gateway_reports.c.gateway_id == gateways.c.id)
    .where(
        gateways.c.changed_at > bindparam("since", type_=gateways.c.changed_at.type),
        gateways.c.version > gateway_reports.c.applied_version,
    )
    .order_by(gateways.c.changed_at)
    .limit(_MANY)
)
_SLOTS = (
    select(
        secret_slots.c.id,
        secret_slots.c.name,
        secret_slots.c.path,
        secret_slots.c.left_keys,
        secret_slots.c.right_keys,
        rotations.c.to_version,
        # When both have confirmed what is promoted, one of them is to prove it.
        and_(rotations.c.state == State.PROMOTED, rotations.c.confirmed_at.is_not(None)).label(
            "proves"
        ),
        secrets.c.store_version,
    )
    .outerjoin(rotations, rotations.c.id == secret_slots.c.rotation_id)
    .outerjoin(
        secrets,
        and_(secrets.c.slot_id == secret_slots.c.id, secrets.c.version == rotations.c.to_version),
    )
    .where(secret_slots.c.id.in_(bindparam("of", expanding=True)))
)
_APPLIED = (
    update(gateway_reports)
    .where(gateway_reports.c.gateway_id == bindparam("of"))
    .values(
        applied_version=bindparam("version"), applied_at=bindparam("at"), seen_at=bindparam("at")
    )
)


@dataclass
class _Round:
    """What some gateways have to do: their versions, and their tunnels' slots by number."""

    news: set[int]
    versions: dict[int, int]
    slots: dict[int, Any]


class _Fleet:
    """The agents of all gateways, which do at once what they are told. Tunnel n is between 2n - 1 and 2n."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._pool = ThreadPoolExecutor(THREADS)
        self._held: defaultdict[int, set[int]] = defaultdict(lambda: {1})
        self._seen: dict[int, Authentication] = {}
        self._everything_at = 0.0

    def work(self) -> bool:
        """One round of those that have news; tells whether there were any."""
        whole = time.monotonic() - self._everything_at > _EVERYTHING_EVERY
        since = _LONG_AGO if whole else clock() - _LATELY
        with self._desk.store.read() as connection:
            found = self._look(connection, since)
        if not found.news:
            if whole:
                self._everything_at = time.monotonic()
            return False
        fetched = self._fetch(found)
        speaking = found.news | self._prove(found)
        self._desk.store.together(lambda unit: self._report(unit, found, speaking, fetched))
        return True

    def _look(self, connection: Connection, since: datetime) -> _Round:
        news = set(connection.scalars(_NEWS, {"since": since}))
        of = sorted({_tunnel(each) for each in news})
        slots = {row.id: row for row in connection.execute(_SLOTS, {"of": of})} if of else {}
        ends = [end for each in of for end in (2 * each - 1, 2 * each)]
        known = select(gateways.c.id, gateways.c.version).where(gateways.c.id.in_(ends))
        versions = {row.id: row.version for row in connection.execute(known)}
        return _Round(news, versions, slots)

    def _fetch(self, found: _Round) -> list[tuple[int, Any]]:
        """Each reads the value that is new in its list; gives who read which."""
        wanted = []
        for each in found.news:
            slot = found.slots[_tunnel(each)]
            for version in set(_keys(each, slot)) - self._held[each]:
                if version != slot.to_version:
                    raise RuntimeError(f"nobody announced version {version} of {slot.name}")
                self._held[each].add(version)
                wanted.append((each, slot))
        assert self._desk.secrets is not None
        store = self._desk.secrets
        list(self._pool.map(lambda one: store.get(one[1].path, one[1].store_version), wanted))
        return wanted

    def _prove(self, found: _Round) -> set[int]:
        """Left ends that are told to start a fresh authentication do; gives both ends, which see it."""
        proving = set()
        for each in found.news:
            number = _tunnel(each)
            slot = found.slots[number]
            if each % 2 and slot.proves:
                spi = f"{slot.to_version:016x}"
                self._seen[number] = Authentication(slot.to_version, spi, spi)
                proving |= {each, each + 1}
        return proving

    def _report(
        self, unit: Unit, found: _Round, speaking: Iterable[int], fetched: Iterable[tuple[int, Any]]
    ) -> None:
        connection, now, of = unit.connection, clock(), sorted(speaking)
        hold(connection, of)
        connection.execute(
            _APPLIED, [{"of": each, "version": found.versions[each], "at": now} for each in of]
        )
        filings = [
            Filing(
                each,
                found.versions[each],
                each in found.news,
                Secrets(_ABLE, (self._told(each, found),)),
            )
            for each in of
        ]
        intake.file(connection, filings, now=now)
        for each, slot in fetched:
            name = gateway_name(each - 1)
            actor = Actor(name, Role.GATEWAY, credential=f"certificate:bench:{each}")
            about, version = f"secret:{slot.name}", slot.to_version
            leave(unit, actor, "secret.fetch", about, now=now, version=version)

    def _told(self, gateway: int, found: _Round) -> SecretReport:
        number = _tunnel(gateway)
        slot = found.slots[number]
        keys = tuple(_keys(gateway, slot))
        return SecretReport(slot.name, keys, keys, (), self._seen.get(number), "", "")


def _tunnel(gateway: int) -> int:
    return (gateway + 1) // 2


def _keys(gateway: int, slot: Any) -> list[int]:
    return list(slot.left_keys if gateway % 2 else slot.right_keys)


def _tell(desk: Desk) -> None:
    query = select(func.count()).where(rotations.c.state == State.RETIRED)
    with desk.store.read() as connection:
        done = connection.execute(query).scalar_one()
    print(json.dumps({"at": time.time(), "done": done}), flush=True)


def main() -> None:
    """Do what agents do until the input ends."""
    desk = open_desk(Path(sys.argv[1]))
    fleet = _Fleet(desk)
    while fleet.work():
        pass
    print("ready", flush=True)
    waiter, told = selectors.DefaultSelector(), 0.0
    waiter.register(sys.stdin, selectors.EVENT_READ)
    while True:
        busy = fleet.work()
        if time.monotonic() - told > _TELL_EVERY:
            _tell(desk)
            told = time.monotonic()
        if waiter.select(0.0 if busy else 0.02):
            return


if __name__ == "__main__":
    main()
