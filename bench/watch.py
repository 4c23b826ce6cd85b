"""Watching a revocation list until it tells of a certificate."""

import random
import time
from collections.abc import Callable

import urllib3

from bench.load import LoadFailed
from bench.processes import Program
from pki.x509 import der

_WATCHERS = 6  # connections, so that all processes behind the port are asked
_POLL_SECONDS = 0.01
_LARGE_POLL_SECONDS = 0.2
_PATIENCE = 180.0
_LONGEST_CHECK = 0.5  # seconds between two looks of the listener at the records


class _Watcher:
    """One kept-alive connection that looks at one list, and downloads it only when it changed."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._pool = urllib3.connection_from_url(url, maxsize=1, retries=False, timeout=60.0)
        self._tag = ""

    def shows(self, serial: int) -> bool:
        """Whether the list that is there now, and was not there before, has this serial number."""
        answer = self._pool.request("GET", self._url, headers={"If-None-Match": self._tag})
        if answer.status == 304:
            return False
        if answer.status != 200:
            raise LoadFailed(f"{self._url}: {answer.status}")
        self._tag = answer.headers.get("etag", "")
        # Its 16 random bytes are nowhere else in the list.
        return der.integer(serial) in answer.data

    def close(self) -> None:
        self._pool.close()


def seconds_until_shown(url: str, serial: int, revoke: Callable[[], None]) -> float:
    """Revoke, and give the seconds from before the request until every connection gets the serial number."""
    watchers = [_Watcher(url) for _ in range(_WATCHERS)]
    try:
        if any(watcher.shows(serial) for watcher in watchers):
            raise LoadFailed("the serial number is on the list already")
        # Else every measurement would begin just after the listener looked at the records.
        time.sleep(random.uniform(0, _LONGEST_CHECK))
        began = time.perf_counter()
        revoke()
        waiting = list(watchers)
        while waiting:
            waiting = [watcher for watcher in waiting if not watcher.shows(serial)]
            if time.perf_counter() - began > _PATIENCE:
                raise TimeoutError(f"not on the list after {_PATIENCE:.0f} s")
            if waiting:
                time.sleep(_POLL_SECONDS)
        return time.perf_counter() - began
    finally:
        for watcher in watchers:
            watcher.close()


def until_shown(url: str, serial: int, program: Program) -> float:
    """Wait for a large list, looking less often; gives the seconds."""
    watcher = _Watcher(url)
    began = time.perf_counter()
    try:
        while not watcher.shows(serial):
            program.check()
            if time.perf_counter() - began > _PATIENCE:
                raise TimeoutError(f"not on the complete list after {_PATIENCE:.0f} s")
            time.sleep(_LARGE_POLL_SECONDS)
    finally:
        watcher.close()
    return time.perf_counter() - began
