"""Ingest: gateways that report what happens to their SAs, over TLS, to `ikewarden serve` on PostgreSQL with fsync.

Every gateway has a connection of its own, and sends the next batch when the last one is answered. What is measured is
events that are stored, counted and judged, from the first batch to the last; the clients are on the same cores. In the
end, all that was answered must be on record once.
"""

import json
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

from sqlalchemy import func, select

from bench.load import LoadFailed
from bench.ours import Ours
from bench.postgresql import Postgresql
from bench.rounds import Bench, Row, alone, compare
from bench.sides import start_ours
from store.engine import open_store
from store.monitoring_tables import sa_alerts, sa_counts, sa_events

_GATEWAYS = 16
_TUNNELS = 50
# How many events a batch has, and how many days ago the first of them was: one after the other.
_BATCH, _DAYS = 500, 29
_SMALL, _SMALL_DAYS = 50, 10
_LIMIT = "limit"
_LIMIT_RATE = 5_000.0
_SECONDS = 20


def run(bench: Bench) -> list[Row]:
    """Let gateways report as fast as they are answered: in large batches, then in small ones."""
    if bench.database_url is None:
        # The limit is one of PostgreSQL, whatever the others are measured on.
        place = bench.directory / "postgresql"
        place.mkdir()
        server = Postgresql(place)
        bench.stack.callback(server.stop)
        bench.database_url = server.url
    service = start_ours(bench)
    place = bench.directory / "clients"
    bench.say(f"preparing {_GATEWAYS} gateways with a certificate each")
    words = [str(service.directory), "prepare", str(_GATEWAYS), str(place)]
    service.run([sys.executable, "-m", "bench.fleet_records", *words])
    seconds = 2 if bench.options.quick else _SECONDS
    sent, rates = 0, {}
    for size, days in ((_BATCH, _DAYS), (_SMALL, _SMALL_DAYS)):
        bench.say(f"reporting for {seconds} s, {size} events in a batch")
        told = _report(service, place, (size, seconds, days))
        sent += int(told["events"])
        rates[size] = told["events"] / told["seconds"]
        bench.say(f"{rates[size]:,.0f} events/s, p99 of a batch {told['p99'] * 1000:.0f} ms")
    _check(service, sent)
    note = f"{_GATEWAYS} gateways of {_TUNNELS} tunnels"
    what = ("ingest", "events", "/s")
    return [
        compare(
            what, [rates[_BATCH]], _LIMIT, [_LIMIT_RATE], note=f"{note}, {_BATCH} events a batch"
        ),
        alone(
            ("ingest", "events_in_small_batches", "/s"),
            [rates[_SMALL]],
            note=f"{note}, {_SMALL} events a batch",
        ),
    ]


def _report(service: Ours, place: Path, how: tuple[int, int, int]) -> dict[str, float]:
    words = [str(urlsplit(service.url).port), str(service.directory / "root-ca.pem"), str(place)]
    numbers = [str(each) for each in (_GATEWAYS, _TUNNELS, *how)]
    done = subprocess.run(
        [sys.executable, "-m", "bench.ingest_clients", *words, *numbers],
        cwd=Path(__file__).parents[1],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if done.returncode != 0:
        raise LoadFailed(f"the gateways broke off: {done.stderr[-1000:]}")
    return dict(json.loads(done.stdout))


def _check(service: Ours, sent: int) -> None:
    """Raises LoadFailed unless all is there once, and nothing was taken for trouble."""
    store = open_store(service.database_url)
    try:
        with store.read() as connection:
            stored = connection.scalar(select(func.count()).select_from(sa_events))
            counted = connection.scalar(
                select(func.sum(sa_counts.c.number)).where(
                    func.extract("year", sa_counts.c.hour) > 1970
                )
            )
            alerts = list(connection.scalars(select(sa_alerts.c.kind).distinct()))
    finally:
        store.close()
    if not stored == counted == sent:
        raise LoadFailed(f"{sent} events were taken, {stored} are stored, {counted} counted")
    if alerts:
        raise LoadFailed(f"an ordinary day alarmed: {', '.join(sorted(alerts))}")
