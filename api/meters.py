"""What this process counts, made whole over all processes of the service by prometheus_client.

Where PROMETHEUS_MULTIPROC_DIR names a directory, values live in files there that all processes share; whoever starts
the processes empties it before. Without it each process tells its own numbers only, which is right for one process.
"""

import os
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, values
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from api.bridge import Exchange
from api.errors import MetricsUnreadable

DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


def _own_registry() -> CollectorRegistry:
    # prometheus_client chooses between memory and files when it is imported, which in a forked process was before the
    # directory was named; the class that was chosen is looked up again for every new value.
    values.ValueClass = values.get_value_class()  # type: ignore[no-untyped-call]  # as the library has it
    return CollectorRegistry()


class Meters:
    """The counters of one process."""

    def __init__(self) -> None:
        self._own = _own_registry()
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
        return shared + exposition(figures)


def exposition(figures: Iterable[Metric]) -> bytes:
    """Figures alone, in Prometheus' text format."""
    once = CollectorRegistry(auto_describe=False)
    once.register(_Given(figures))
    return generate_latest(once)


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
            registry=_own_registry(),
        )

    def requests(self, kind: str, status: int, number: int) -> None:
        """Count answered requests."""
        self._requests.labels(kind, str(status)).inc(number)


class SyslogMeters:
    """What the receiver of syslog counts."""

    def __init__(self) -> None:
        own = _own_registry()
        self._lines = Counter(
            "ikewarden_syslog_messages",
            "Messages of syslog that came from known devices, by transport.",
            ["transport"],
            registry=own,
        )
        self._dropped = Counter(
            "ikewarden_syslog_dropped",
            "What the receiver of syslog dropped, by reason.",
            ["reason"],
            registry=own,
        )
        # A process that follows another tells of itself alone.
        self._connections = Gauge(
            "ikewarden_syslog_connections",
            "Connections of devices that send syslog.",
            registry=own,
            multiprocess_mode="mostrecent",
        )
        self._waiting = Gauge(
            "ikewarden_syslog_waiting_events",
            "Events from syslog that the records have not taken yet.",
            registry=own,
            multiprocess_mode="mostrecent",
        )

    def lines(self, transport: str, number: int) -> None:
        """Count messages."""
        self._lines.labels(transport).inc(number)

    def dropped(self, reason: str, number: int) -> None:
        """Count what was dropped."""
        self._dropped.labels(reason).inc(number)

    def stand(self, connections: int, waiting: int) -> None:
        """Tell how things stand."""
        self._connections.set(connections)
        self._waiting.set(waiting)
