"""What this process counts, made whole over all processes of the service by prometheus_client.

Where PROMETHEUS_MULTIPROC_DIR names a directory, values live in files there that all processes share; whoever starts
the processes empties it before. Without it each process tells its own numbers only, which is right for one process.
"""

import os
from collections.abc import Iterable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, values
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from api.bridge import Exchange
from api.errors import MetricsUnreadable
from core.figures import Family, Figure, counter, gauge

DIRECTORY: Final = "PROMETHEUS_MULTIPROC_DIR"
_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)

REQUESTS: Final = counter(
    "http_requests",
    "Requests answered by the API, by method, route (a path with names in braces, or none) and status.",
    "method",
    "route",
    "status",
)
DURATION: Final = Family(
    "ikewarden_http_request_duration_seconds",
    "histogram",
    "Seconds from a request's head to its answer, by route. Those that waited for news of their gateway are under"
    " /v1/gateways/self/state.",
    ("route",),
)
VALIDATION: Final = counter(
    "validation_requests",
    "Requests answered by the validation listener, by kind (ocsp, crl, scep, cmp, other) and status: that of HTTP, or"
    " the error that an OCSP answer is (tryLater, unauthorized, malformedRequest).",
    "kind",
    "status",
)
SYSLOG_MESSAGES: Final = counter(
    "syslog_messages",
    "Messages of syslog that came from known devices, by transport: udp, tcp, tls.",
    "transport",
)
SYSLOG_DROPPED: Final = counter(
    "syslog_dropped", "What the receiver of syslog dropped, by reason.", "reason"
)
SYSLOG_CONNECTIONS: Final = gauge("syslog_connections", "Connections of devices that send syslog.")
SYSLOG_WAITING: Final = gauge(
    "syslog_waiting_events", "Events from syslog that the records have not taken yet."
)
BUILD: Final = gauge(
    "build_info",
    "1, with the version of the program and the kind of database: sqlite, postgresql.",
    "version",
    "database",
)
#: Counted by each process of one `ikewarden serve`.
COUNTED: Final = (
    *(REQUESTS, DURATION, VALIDATION),
    *(SYSLOG_MESSAGES, SYSLOG_DROPPED, SYSLOG_CONNECTIONS, SYSLOG_WAITING),
)


def _own_registry() -> CollectorRegistry:
    # prometheus_client chooses between memory and files when it is imported, which in a forked process was before the
    # directory was named; the class that was chosen is looked up again for every new value.
    values.ValueClass = values.get_value_class()  # type: ignore[no-untyped-call]  # as the library has it
    return CollectorRegistry()


def _counter(family: Family, registry: CollectorRegistry) -> Counter:
    return Counter(family.name, family.help, family.labels, registry=registry)


class Meters:
    """The counters of one process."""

    def __init__(self) -> None:
        self._own = _own_registry()
        self._requests = _counter(REQUESTS, self._own)
        self._seconds = Histogram(
            DURATION.name, DURATION.help, DURATION.labels, registry=self._own, buckets=_SECONDS
        )

    def request(self, exchange: Exchange, status: int, seconds: float) -> None:
        """Count one answered request. Labels have few values: a route, not a path."""
        route = exchange.route or "none"
        method = exchange.method if exchange.method in _METHODS else "other"
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def exposition(self, figures: Iterable[Figure]) -> bytes:
        """All counters of all processes, and the figures, in Prometheus' text format.

        Raises MetricsUnreadable.
        """
        shared = of_all_processes() if DIRECTORY in os.environ else self._own.collect()
        return _text([*shared, *as_metrics(figures)])


def of_all_processes() -> list[Metric]:
    """What all processes count that share the directory. Raises MetricsUnreadable."""
    try:
        return list(MultiProcessCollector(None).collect())  # type: ignore[no-untyped-call]  # as the library has it
    except (OSError, ValueError):
        raise MetricsUnreadable("The counters of the processes cannot be read.") from None


def exposition(figures: Iterable[Figure]) -> bytes:
    """Figures alone, in Prometheus' text format."""
    return _text(as_metrics(figures))


def as_metrics(figures: Iterable[Figure]) -> list[Metric]:
    """Figures as prometheus_client has them."""
    return [_metric(each) for each in figures]


def _metric(figure: Figure) -> Metric:
    family = figure.family
    made = Metric(family.name.removesuffix("_total"), family.help, family.kind)
    for labels, number in figure.samples.items():
        made.add_sample(family.name, dict(zip(family.labels, labels, strict=True)), number)
    return made


def _text(metrics: list[Metric]) -> bytes:
    once = CollectorRegistry(auto_describe=False)
    once.register(_Given(metrics))
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
        self._requests = _counter(VALIDATION, _own_registry())

    def requests(self, kind: str, status: str, number: int) -> None:
        """Count answered requests."""
        self._requests.labels(kind, status).inc(number)


class SyslogMeters:
    """What the receiver of syslog counts."""

    def __init__(self) -> None:
        own = _own_registry()
        self._lines = _counter(SYSLOG_MESSAGES, own)
        self._dropped = _counter(SYSLOG_DROPPED, own)
        # A process that follows another tells of itself alone.
        self._connections, self._waiting = (
            Gauge(each.name, each.help, registry=own, multiprocess_mode="mostrecent")
            for each in (SYSLOG_CONNECTIONS, SYSLOG_WAITING)
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
