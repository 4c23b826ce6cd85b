"""A listener for what the processes of one service count, where none of them is an API."""

import signal
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from api import processes
from api.meters import BUILD, as_metrics, of_all_processes


def serve_counters(host: str, port: int, version: str) -> None:
    """Serve until SIGTERM, which ends the process. There is nothing to be finished."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Counted(version))
    start_http_server(port, host, registry)
    while True:
        signal.pause()


class _Counted(Collector):
    def __init__(self, version: str) -> None:
        self._version = version

    def collect(self) -> Iterable[Metric]:
        build = BUILD.figure({(self._version, ""): 1})
        return [*of_all_processes(), *as_metrics([build, *processes.figures()])]
