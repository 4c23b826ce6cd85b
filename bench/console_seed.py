"""`python -m bench.console_seed DIR CERTIFICATES TUNNELS`: fills an instance with a large fleet, in minutes.

Rows are as the service writes them, through COPY on PostgreSQL. Prints one JSON object: what there is now, and how long
it took.
"""

import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import JSON, Connection, Table, func, insert, select, text

from bench.console_certificates import CERTIFICATES, ENDED, TRAIL, Crowd, found_authorities
from bench.console_fleet import Fleet
from fleet.monitoring import hours
from ikewarden.settings import load_settings
from ikewarden.wiring import make_desk, open_keys
from pki.certificate_ids import MARK, PORTION
from pki.desk import Desk
from pki.words import words
from scheduler.jobs import SCHEDULER
from store.search_tables import certificate_words, search_marks
from store.tables import certificates

_PORTION = 20_000
_EVENTS = 200_000


def main() -> None:
    """Do what the arguments say."""
    directory, count, tunnels = sys.argv[1:]
    settings = load_settings(Path(directory) / "ikewarden.toml", os.environ)
    desk = make_desk(settings, open_keys(settings, os.environ))
    try:
        url = settings.database.url
        done = fill(desk, int(count), int(tunnels), datetime.now(UTC), url)
    finally:
        desk.store.close()
    print(json.dumps(done))


def fill(desk: Desk, count: int, tunnels: int, now: datetime, url: str) -> dict[str, Any]:
    """Fill an instance that is as `init` left it with so many certificates and tunnels."""
    began = time.perf_counter()
    found_authorities(desk, now)
    with desk.store.read() as connection:
        first = int(connection.scalar(select(func.max(certificates.c.id))) or 0) + 1
    gateways = max(4, tunnels // 2)
    # Templates are issued before the first of them.
    crowd = Crowd(desk, count, gateways, now, first + 100)
    fleet = Fleet(desk, crowd, tunnels, now)
    with desk.store.write() as connection:
        put(connection, *CERTIFICATES, crowd.rows())
        put(connection, *ENDED, crowd.ended_rows())
        put(connection, *TRAIL, crowd.trail(min(count, _EVENTS)))
    done = {"certificates_seconds": round(time.perf_counter() - began, 1)}
    for name, parts in fleet.parts():
        with desk.store.write() as connection:
            done[name] = put(connection, *parts)
    _words(desk)
    if desk.store.dialect == "postgresql":
        _settle(desk, url)
    hours.sum_up(desk, SCHEDULER, now=now)
    return {
        "certificates": count,
        "tunnels": tunnels,
        "gateways": gateways,
        **done,
        "seconds": round(time.perf_counter() - began, 1),
    }


def put(
    connection: Connection, table: Table, names: Sequence[str], rows: Iterable[Sequence[Any]]
) -> int:
    """Write rows with these columns; tell how many."""
    if connection.dialect.name != "postgresql":
        return _insert(connection, table, names, rows)
    count = 0
    driver: Any = connection.connection.driver_connection
    columns = ", ".join(f'"{name}"' for name in names)
    copying = f"COPY {table.name} ({columns}) FROM STDIN"
    # In portions: no statement may take longer than the store allows.
    for some in _chunks(rows, _PORTION):
        with driver.cursor() as cursor, cursor.copy(copying) as copy:
            for row in some:
                copy.write_row(row)
        count += len(some)
    return count


def _insert(
    connection: Connection, table: Table, names: Sequence[str], rows: Iterable[Sequence[Any]]
) -> int:
    documents = {name for name in names if isinstance(table.c[name].type, JSON)}
    count = 0
    for some in _chunks(rows, _PORTION):
        given = [dict(zip(names, row, strict=True)) for row in some]
        for row in given:
            row |= {name: json.loads(row[name]) for name in documents if row[name] is not None}
        connection.execute(insert(table), given)
        count += len(given)
    return count


def _chunks(rows: Iterable[Sequence[Any]], size: int) -> Iterator[list[Sequence[Any]]]:
    left = iter(rows)
    while some := list(islice(left, size)):
        yield some


def _words(desk: Desk) -> None:
    """As the job does, in one go."""
    query = select(
        certificates.c.id,
        certificates.c.subject,
        certificates.c.names,
        certificates.c.gateway,
        certificates.c.fingerprint,
    ).order_by(certificates.c.id)
    last = 0
    while True:
        with desk.store.read() as connection:
            some = connection.execute(query.where(certificates.c.id > last).limit(50_000)).all()
        if not some:
            break
        last = some[-1].id
        kept = sorted((row.id // PORTION, word, row.id) for row in some for word in words(row))
        with desk.store.write() as connection:
            put(connection, certificate_words, ("portion", "word", "certificate_id"), kept)
    with desk.store.write() as connection:
        connection.execute(search_marks.insert().values(name=MARK, reached=last))


_NUMBERED = (
    *("certificates", "audit_events", "gateways", "tunnels", "gateway_sas", "gateway_commands"),
    *("sa_events", "sa_alerts", "findings", "finding_events", "secret_slots", "secrets"),
    *("rotations", "job_runs", "outbox", "approvals", "notices"),
)


def _settle(desk: Desk, url: str) -> None:
    """What time brings by itself: numbers go on behind the last one, and the planner knows the tables."""
    with desk.store.write() as connection:
        for table in _NUMBERED:
            last = f"greatest((SELECT max(id) FROM {table}), 1)"  # noqa: S608 - names of our own
            counter = f"pg_get_serial_sequence('{table}', 'id')"
            connection.execute(text(f"SELECT setval({counter}, {last})"))
    with psycopg.connect(url.replace("+psycopg", "", 1), autocommit=True) as server:
        server.execute("VACUUM ANALYZE")


if __name__ == "__main__":
    main()
