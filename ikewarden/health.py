"""How the parts of a service on this machine are: asked at their own doors, over loopback where they listen to all."""

import ipaddress
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import urllib3
from urllib3.exceptions import HTTPError

from core.errors import IkewardenError, Unavailable
from ikewarden.settings_model import Settings
from ikewarden.wiring import records_url
from store import jobs
from store.engine import open_store

PARTS: Final = ("api", "validation", "scheduler")
_TIMEOUT: Final = urllib3.Timeout(connect=5, read=20)
# They look several times a second, and say at least each half minute that they do.
_LANES: Final = ("outbox_changes", "outbox_lists")
_SILENCE: Final = timedelta(minutes=2)


class PartSilent(Unavailable):
    """A part of the service does not answer, or not as it should."""

    code = "part_silent"
    next_step = "Look at what `ikewarden serve` wrote last."


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that is wrong with a part: its stable code, and a sentence."""

    part: str
    code: str
    detail: str


def troubles(
    settings: Settings, root: Path, parts: Iterable[str], *, ready: bool, now: datetime
) -> list[Trouble]:
    """What is wrong with the parts. `root` is the certificate that the API must prove itself by, in PEM.

    With `ready` the API is asked whether it can serve requests, else only whether it lives.
    """
    asked: dict[str, Callable[[], Iterator[Trouble]]] = {
        "api": lambda: _api(settings, root, ready=ready),
        "validation": lambda: _validation(settings),
        "scheduler": lambda: _scheduler(settings, now),
    }
    found: list[Trouble] = []
    for part in parts:
        try:
            found += asked[part]()
        except IkewardenError as error:
            found.append(Trouble(part, error.code, error.message))
    return found


def _api(settings: Settings, root: Path, *, ready: bool) -> Iterator[Trouble]:
    if not root.is_file():
        raise PartSilent(f"There is no root certificate {root} to know the API by.")
    name = settings.api.names[0]
    pool = urllib3.HTTPSConnectionPool(
        _reached(settings.api.host),
        settings.api.port,
        ca_certs=str(root),
        server_hostname=name,
        assert_hostname=name,
        timeout=_TIMEOUT,
        retries=False,
    )
    path = "/readyz" if ready else "/healthz"
    with _closing(pool):
        status, body = _get(pool, path)
    if status == 200:
        return
    for trouble in _listed(body):
        yield Trouble("api", str(trouble.get("code")), str(trouble.get("detail")))
        ready = False
    if ready:
        raise PartSilent(f"The API answers {path} with status {status}.")


def _listed(body: bytes) -> list[dict[str, object]]:
    """The troubles in an answer of /readyz."""
    try:
        document = json.loads(body)
    except ValueError:
        return []
    listed = document.get("troubles") if isinstance(document, dict) else None
    return [each for each in listed or [] if isinstance(each, dict)]


def _validation(settings: Settings) -> Iterator[Trouble]:
    pool = urllib3.HTTPConnectionPool(
        _reached(settings.validation.host),
        settings.validation.port,
        timeout=_TIMEOUT,
        retries=False,
    )
    with _closing(pool):
        status, _ = _get(pool, "/healthz")
    if status != 200:
        raise PartSilent(f"The listener for CRLs and OCSP answers with status {status}.")
    yield from ()


def _scheduler(settings: Settings, now: datetime) -> Iterator[Trouble]:
    """It has no door; what it did is on record. Whoever did it: of several, one works."""
    store = open_store(records_url(settings), pool_size=1)
    try:
        with store.read() as connection:
            last = {lane: jobs.last_success(connection, lane) for lane in _LANES}
    finally:
        store.close()
    for lane, at in last.items():
        # Also one that is yet to come: then the clock was set back, and nothing has been done since.
        if at is None or abs(now - at) > _SILENCE:
            when = "never succeeded" if at is None else f"last succeeded at {at:%FT%TZ}"
            yield Trouble("scheduler", "job_silent", f"The job {lane} {when}.")


def _reached(host: str) -> str:
    """An address by which this machine reaches what listens at `host`."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if not address.is_unspecified:
        return host
    return "127.0.0.1" if address.version == 4 else "::1"


@contextmanager
def _closing(pool: urllib3.HTTPConnectionPool) -> Iterator[None]:
    try:
        yield
    finally:
        pool.close()


def _get(pool: urllib3.HTTPConnectionPool, path: str) -> tuple[int, bytes]:
    try:
        answer = pool.request("GET", path)
    except HTTPError as error:
        raise PartSilent(f"{pool.host}:{pool.port} does not answer: {error}.") from None
    return answer.status, answer.data
