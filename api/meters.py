"""What this process counts, made whole over all processes of the service by prometheus_client.

prometheus_client decides at its import, from PROMETHEUS_MULTIPROC_DIR, whether values live in files
that all processes share. Whoever starts the processes sets it to an empty directory before
(`prepare`); without it each process tells its own numbers only, which is right for one process.
"""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from api.bridge import Exchange
from api.errors import MetricsUnreadable

DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


def prepare(directory: Path) -> None:
    """Empty the directory for the counters of a new set of processes and name it to them.

    To be called in the parent, before any process imports this module's library.
    """
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(mode=0o700, parents=True)
    os.environ[DIRECTORY] = str(directory)


def forget_process(pid: int) -> None:
    """Drop the gauges of a process that ended; its counters stay, as a counter must."""
    mark_process_dead(pid)  # type: ignore[no-untyped-call]  # as the library has it


class Meters:
    """The counters of one process."""

    def __init__(self) -> None:
        self._own = CollectorRegistry()
        self._requests = Counter(
            "ikewarden_http_requests",
            "Requests answered by the API.",
            ["method", "route", "status"],
            registry=self._own,
        )
        self._seconds = Histogram(
            "ikewarden_http_request_seconds",
            "Seconds from a request's head to its answer.",
            ["route"],
            buckets=_SECONDS,
            registry=self._own,
        )

    def request(self, exchange: Exchange, status: int, seconds: float) -> None:
        """Count one answered request. Labels have few values: a route, not a path."""
        route = exchange.route or "none"
        method = exchange.method if exchange.method in _METHODS else "other"
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def exposition(self, figures: Iterable[Metric]) -> bytes:
        """All counters of all processes, and the figures, in Prometheus' text format.

        Raises MetricsUnreadable.
        """
        registry = self._own
        if DIRECTORY in os.environ:
            registry = CollectorRegistry()
            try:
                MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # as the library has it
                shared = generate_latest(registry)
            except (OSError, ValueError):
                raise MetricsUnreadable("The counters of the processes cannot be read.") from None
        else:
            shared = generate_latest(registry)
        once = CollectorRegistry(auto_describe=False)
        once.register(_Given(figures))
        return shared + generate_latest(once)


class _Given(Collector):
    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


_METHODS = {"GET", "HEAD", "POST", "DELETE", "PUT", "PATCH", "OPTIONS"}


class ValidationMeters:
    """The counters of one process of the validation listener."""

    def __init__(self) -> None:
        self._requests = Counter(
            "ikewarden_validation_requests",
            "Requests answered by the validation listener.",
            ["kind", "status"],
            registry=CollectorRegistry(),
        )

    def requests(self, kind: str, status: int, number: int) -> None:
        """Count answered requests."""
        self._requests.labels(kind, str(status)).inc(number)
