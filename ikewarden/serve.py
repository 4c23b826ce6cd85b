"""`ikewarden serve`: listeners and scheduler in one process group."""

import contextlib
import fcntl
import gc
import logging
import os
import re
import resource
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from functools import partial
from getpass import getpass
from importlib.metadata import version
from pathlib import Path

from cryptography.hazmat.primitives import serialization

from api import counters, server
from api.acceptor import Shares
from api.bridge import REQUEST_ID
from api.connection import Limits
from api.syslog import receiver
from api.syslog.senders import Sender
from api.tls import Credential
from core.errors import IkewardenError, InvalidInput
from core.notify import Supervisor
from hsm.errors import KeyNotFound, KeyStoreError, SignerUnavailable
from hsm.keystores import KeyStores
from hsm.token.store import TokenKeyStore
from ikewarden import traces
from ikewarden.logs import configure_logs
from ikewarden.reporting import make as make_report
from ikewarden.settings import load_settings
from ikewarden.settings_model import SchedulerSettings, Settings
from ikewarden.supervisor import Part, supervise
from ikewarden.wiring import make_desk, open_keys, service_url
from pki import approvals, authorities, enrollments, ra_credential, sequencing, tls_credential
from pki.desk import Desk
from pki.proven import Proven
from scheduler import reporting
from scheduler.clock import read_clock
from scheduler.clock import serve as serve_scheduler
from scheduler.jobs import FLEET_EVERY, SCHEDULER, Job
from scheduler.telling import tell_standing
from store.schema import check_schema

_LOG = logging.getLogger("ikewarden.serve")
PARTS = ("api", "validation", "scheduler", "syslog")
_FILES = 65_536


class SyslogOff(InvalidInput):
    """The receiver of syslog is to run alone, and no port is set for it."""

    code = "syslog_off"
    next_step = "Set [syslog] udp_port, tcp_port or tls_port, and senders."


class PartUnknown(InvalidInput):
    """Not a part of the service."""

    code = "part_unknown"
    next_step = f"Choose one of {', '.join(PARTS)}."


def run(
    settings_path: Path,
    environ: Mapping[str, str],
    *,
    only: str | None = None,
    announce: Callable[[Settings], None] = lambda settings: None,
) -> int:
    """Serve until SIGINT or SIGTERM; give the exit code: 0 for a clean end.

    What can be wrong is found before anything starts: settings, passphrase, key files, the schema, an old database,
    busy ports, the service's own certificate. `announce` is called once everything is about to start.
    Raises the errors of these.
    """
    if only is not None and only not in PARTS:
        raise PartUnknown(f"{only!r} is not a part of the service.")
    settings = load_settings(settings_path, environ)
    if only == "syslog" and not settings.syslog.is_on:
        raise SyslogOff("The receiver of syslog is off.")
    configure_logs(settings.logs.level, settings.logs.format, request_id=REQUEST_ID)
    logging.getLogger("uvicorn").setLevel(
        logging.WARNING
    )  # our own lines say when we start and stop
    traces.check(settings.traces)
    keys = open_keys(settings, environ, getpass if sys.stdin.isatty() else None)
    _check_records(settings, keys)
    _warn_if_misdirected(settings, settings_path)
    _raise_file_limit()
    with (
        _marked(settings_path) as first,
        tempfile.TemporaryDirectory(prefix="ikewarden-metrics-") as metrics,
    ):
        # prometheus_client adds up the counters of several processes through files here.
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = metrics
        try:
            parts = _parts(settings, keys, only)
        except server.ListenFailed as error:
            raise _advised(error, settings, settings_path, first=first) from None
        announce(settings)
        return supervise(parts, Supervisor(environ))


@contextlib.contextmanager
def _marked(settings_path: Path) -> Iterator[bool]:
    """Mark the settings as in use, for as long as any process of this service lives; tell whether nobody had."""
    with settings_path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            first = True
        except BlockingIOError:
            first = False
        except OSError:
            first = True  # a file system that knows no such marks
        with contextlib.suppress(OSError):
            # Shared: parts may run by themselves, each on the same settings.
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        yield first


def _advised(
    error: server.ListenFailed, settings: Settings, path: Path, *, first: bool
) -> server.ListenFailed:
    """The same with a next step that names the file and the keys."""
    if error.in_use and not first:
        step = (
            f"A service with {path} runs already, and that is probably it: use it, at {service_url(settings)},"
            " or end it first."
        )
    else:
        step = (
            f"End the program that uses the address, or set other ports in {path}: [api] port is free to change;"
            " [validation] port only together with url, which stands in every certificate and is now"
            f" {settings.validation.public_url} (docs/how-to/run.md, Other ports)."
        )
    return server.ListenFailed(error.message, in_use=error.in_use, next_step=step)


def _warn_if_misdirected(settings: Settings, path: Path) -> None:
    if settings.validation.is_misdirected:
        _LOG.warning(
            "new certificates point where this service does not listen: set [validation] url and port to fit",
            extra={
                "url": settings.validation.public_url,
                "port": settings.validation.port,
                "settings": str(path),
            },
        )


def _raise_file_limit() -> None:
    """Take as many file descriptors as the system lets us have: each gateway that waits is a connection."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(hard, _FILES) if hard != resource.RLIM_INFINITY else _FILES
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _check_records(settings: Settings, keys: KeyStores) -> None:
    desk = make_desk(settings, keys)
    try:
        check_schema(desk.store)
        # Before the first signature: an old database would give numbers that were given already.
        sequencing.require_present(desk, keys.sealed)
        _check_token(keys)
        _check_transit(keys)
        _check_credential(desk, keys, settings.api.names)
        # The scheduler tries again.
        with _without(IkewardenError, "started without a certificate for SCEP and CMP"):
            ra_credential.ensure(desk, SCHEDULER, now=read_clock())
        _warn_without_approver(desk, read_clock())
        _warn_of_endpoints(desk, read_clock())
    finally:
        # Nothing of them may cross the fork.
        desk.store.close()
        keys.close()


def _warn_without_approver(desk: Desk, now: datetime) -> None:
    required = desk.rules.approvals.required
    if not required or desk.rules.sessions.has_approver:
        return
    with desk.store.read() as connection:
        if approvals.has_approver(connection, now):
            return
    _LOG.warning(
        "nobody can approve: there is no token of the role approver",
        extra={"required": ", ".join(sorted(required))},
    )


def _warn_of_endpoints(desk: Desk, now: datetime) -> None:
    for endpoint, missing in enrollments.incomplete(desk, now=now):
        _LOG.warning(
            "an enrollment endpoint names what is not there: nobody gets a certificate by it",
            extra={"endpoint": endpoint.name, "code": missing.code, "why": missing.message},
        )


def _check_token(keys: KeyStores) -> None:
    """Find what is wrong with the settings of a token before anything starts. One that is away may come back."""
    token = keys.store("pkcs11")
    if isinstance(token, TokenKeyStore):
        with _without(SignerUnavailable, "started without the token"):
            token.check()


def _check_transit(keys: KeyStores) -> None:
    """Say what is wrong with the server that signs. What is published is served without it, whatever is wrong."""
    with _without(KeyStoreError, "started without the server that signs"):
        keys.check("transit")


def _check_credential(desk: Desk, keys: KeyStores, names: tuple[str, ...]) -> None:
    now = read_clock()
    with contextlib.suppress(KeyNotFound):
        held = tls_credential.current(desk, SCHEDULER, keys.sealed).certificate
        if now < held.not_valid_after_utc:
            # The scheduler tries again when the signer is back.
            with _without(SignerUnavailable, "started with the certificate that there is"):
                tls_credential.ensure(desk, SCHEDULER, keys.sealed, names, now=now)
            return
    tls_credential.ensure(desk, SCHEDULER, keys.sealed, names, now=now)


@contextlib.contextmanager
def _without(kind: type[IkewardenError], words: str) -> Iterator[None]:
    try:
        yield
    except kind as error:
        _LOG.warning(words, extra={"code": error.code, "why": error.message})


def _parts(settings: Settings, keys: KeyStores, only: str | None) -> list[Part]:
    parts: list[Part] = []
    if only in {None, "api"}:
        bound = server.bind(settings.api.host, settings.api.port)
        shares = Shares(settings.api.workers)
        parts += [
            Part(f"api-{number + 1}", partial(_api, settings, keys, bound, shares, number))
            for number in range(settings.api.workers)
        ]
    if only in {None, "validation"}:
        server.bind(settings.validation.host, settings.validation.port).close()
        parts.append(Part("validation", lambda: _validation(settings, keys)))
    if only in {None, "scheduler"}:
        parts.append(Part("scheduler", partial(_traced_scheduler, settings, keys)))
    if settings.metrics.port is not None:
        server.bind(settings.metrics.host, settings.metrics.port).close()
        parts.append(
            Part("metrics", partial(_counters, settings.metrics.host, settings.metrics.port))
        )
    if only in {None, "syslog"} and settings.syslog.is_on:
        chosen = settings.syslog
        listening = receiver.bind_all(
            chosen.host, chosen.udp_port, chosen.tcp_port, chosen.tls_port
        )
        parts.append(Part("syslog", partial(_syslog, settings, keys, listening)))
    return parts


def _api(
    settings: Settings,
    keys: KeyStores,
    bound: socket.socket,
    shares: Shares,
    worker: int,
) -> int:
    seconds = settings.api.request_timeout_seconds
    # Requests leave no cycles behind; what was imported never becomes garbage.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 100)
    with traces.traced(settings.traces, "api"):
        server.serve_api(
            [bound],
            server.ApiSettings(
                version=version("ikewarden"),
                limits=Limits(body=settings.api.max_body_bytes, body_seconds=seconds),
                threads=settings.api.threads,
                metrics_public=settings.api.metrics_public,
            ),
            lambda: make_desk(settings, keys),
            lambda desk: _credential(desk, keys),
            clock=read_clock,
            shares=shares,
            worker=worker,
        )
    return 0


def _credential(desk: Desk, keys: KeyStores) -> Credential:
    held = tls_credential.current(desk, SCHEDULER, keys.sealed)
    trusted = [
        authorities.load(desk, name).certificate.public_bytes(serialization.Encoding.DER)
        for name in authorities.all_names(desk)
    ]
    return Credential(pem=held.pem, authorities=trusted)


def _validation(settings: Settings, keys: KeyStores) -> int:
    def open_desk() -> Desk:
        # Its workers are processes of their own.
        traces.begin(settings.traces, "validation")
        return make_desk(settings, keys)

    server.serve_validation(
        server.ValidationSettings(
            host=settings.validation.host,
            port=settings.validation.port,
            workers=settings.validation.workers,
        ),
        open_desk,
        clock=read_clock,
    )
    return 0


def _counters(host: str, port: int) -> int:
    counters.serve_counters(host, port, version("ikewarden"))
    return 0


def _syslog(settings: Settings, keys: KeyStores, listening: receiver.Bound) -> int:
    chosen = settings.syslog
    # The same after a restart, and on no other host: nobody else listens at this port of it.
    port = chosen.udp_port or chosen.tcp_port or chosen.tls_port
    host = re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())[:40]
    receiver.serve_syslog(
        listening,
        receiver.SyslogSettings(
            senders=[Sender.parse(line) for line in chosen.senders],
            stream=f"syslog-{host}-{port}",
            owner=f"{host}:{os.getpid()}",
            must_prove=chosen.tls_client_certificate,
        ),
        lambda: make_desk(settings, keys),
        lambda desk: _credential(desk, keys),
        clock=read_clock,
    )
    return 0


def _intervals(chosen: SchedulerSettings) -> dict[str, float]:
    """Seconds between runs of each job that the settings, or this program, have an opinion about."""
    return {
        "crl_refresh": chosen.crl_refresh,
        "ocsp_refresh": chosen.ocsp_refresh,
        "reconcile": chosen.reconcile,
        "expiry_notices": chosen.expiry_notices,
        "cleanup": chosen.cleanup,
        "audit_log": chosen.audit_log,
        "figures": chosen.figures,
        "fleet_crls": FLEET_EVERY.total_seconds(),
        # Soon after its authority was rolled over, or it was revoked.
        "tls_credential": timedelta(seconds=10).total_seconds(),
        "secret_store": timedelta(minutes=1).total_seconds(),
        "key_store": timedelta(minutes=1).total_seconds(),
    }


def _traced_scheduler(settings: Settings, keys: KeyStores) -> int:
    with traces.traced(settings.traces, "scheduler"):
        return _scheduler(settings, keys)


def _told_and_reported(desk: Desk) -> list[Job]:
    """The jobs that there are only where settings want them."""
    jobs = [Job("alertmanager", tell_standing)] if desk.rules.alertmanager else []
    return [*jobs, *([reporting.job(make_report)] if desk.rules.reports else [])]


def _scheduler(settings: Settings, keys: KeyStores) -> int:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    chosen = settings.scheduler
    desk = make_desk(settings, keys)
    proven = Proven()

    def renew_credential(desk: Desk, now: datetime) -> Mapping[str, int]:
        made = tls_credential.ensure(desk, SCHEDULER, keys.sealed, settings.api.names, now=now)
        return {"renewed": int(made)}

    def look_at_secrets(desk: Desk, _now: datetime) -> Mapping[str, int]:
        # Also keeps a token alive that nobody could get anew, while no rotation asks for anything.
        if desk.secrets is not None:
            desk.secrets.check()
        return {}

    def sequence(desk: Desk, now: datetime) -> Mapping[str, int]:
        done = sequencing.sequence(desk, SCHEDULER, keys.sealed, now=now, proven=proven)
        return {"added": done.added, "size": done.size, "heads": int(done.signed)}

    def look_at_keys(_desk: Desk, _now: datetime) -> Mapping[str, int]:
        # The same, while nothing is signed.
        for scheme in ("pkcs11", "transit"):
            keys.check(scheme)
        return {}

    try:
        serve_scheduler(
            desk,
            intervals=_intervals(chosen),
            outbox_seconds=chosen.outbox_poll_ms / 1000,
            stop=stop,
            more=[
                Job("tls_credential", renew_credential),
                Job("secret_store", look_at_secrets),
                Job("audit_log", sequence),
                *([Job("key_store", look_at_keys)] if keys.has_others else []),
                *_told_and_reported(desk),
            ],
            handlers=reporting.handlers(desk, make_report),
        )
    finally:
        desk.store.close()
    return 0
