"""Settings: one frozen, strict, typed model, from one TOML file and the environment.

`[section] key` of the file is `IKEWARDEN_SECTION__KEY` in the environment, which wins; a section may have sections in
it, `[keys.pkcs11] module` is `IKEWARDEN_KEYS__PKCS11__MODULE`. Nothing
unknown is let pass, and all that is wrong is told at once (ikewarden/settings.py).
docs/reference/settings.md is made from this model.
"""

from itertools import combinations
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from ikewarden.settings_approvals import ApprovalsSettings
from ikewarden.settings_console import ConsoleSettings
from ikewarden.settings_endpoints import EnrollmentSettings
from ikewarden.settings_keys import KeysSettings
from ikewarden.settings_metrics import MetricsSettings
from ikewarden.settings_notices import NoticesSettings
from ikewarden.settings_reports import ReportSettings
from ikewarden.settings_secrets import RotationSettings, SecretsSettings
from ikewarden.settings_section import Section
from ikewarden.settings_syslog import SyslogSettings
from ikewarden.settings_traces import TracesSettings
from ikewarden.settings_values import (
    DatabaseUrl,
    Host,
    Name,
    Names,
    PublicUrl,
    RelativePath,
    ServiceUrl,
    is_every_address,
    is_loopback,
)

Port = Annotated[int, Field(ge=1, le=65535)]
Interval = Annotated[int, Field(ge=0, le=7 * 86400)]


class DatabaseSettings(Section):
    """Where the records are kept."""

    url: DatabaseUrl = Field(
        default="sqlite:///ikewarden.db",
        repr=False,
        exclude=True,
        description="The database. A relative SQLite file is relative to the settings file. Not "
        "shown anywhere, because it may hold a password: then the file must be closed to others.",
    )
    password_file: RelativePath | None = Field(
        default=None,
        description="PostgreSQL: a file (mode 0600) with the password, in place of one in the URL.",
    )
    pool_size: int = Field(
        default=8, ge=1, le=256, description="Connections that one process may open."
    )
    lock_timeout_seconds: float = Field(
        default=5.0,
        ge=0.1,
        le=300,
        description="How long a transaction waits for another one before the caller is told that "
        "the database is busy.",
    )


class ApiSettings(Section):
    """The TLS listener: REST API."""

    host: Host = Field(default="127.0.0.1", description="The address to listen on.")
    port: Port = Field(default=8443, description="The port to listen on.")
    workers: int = Field(default=2, ge=1, le=64, description="Processes that serve the API.")
    threads: int = Field(
        default=8,
        ge=1,
        le=256,
        description="Threads of one process. One does the work of many; the others join in when it is held up, "
        "and as many more wait for tokens and servers that sign.",
    )
    names: Names = Field(
        default=("localhost", "127.0.0.1"),
        description="The names in the service's own TLS certificate: what clients call it.",
    )
    max_body_bytes: int = Field(
        default=65536, ge=4096, le=16 * 2**20, description="The largest request body accepted."
    )
    request_timeout_seconds: float = Field(
        default=30.0,
        ge=1,
        le=600,
        description="How long a client may take to send a request, and a request to be answered.",
    )
    metrics_public: bool = Field(
        default=False,
        description="Whether /metrics answers without a token. Its numbers tell how many "
        "certificates there are and how busy the service is.",
    )


class ValidationSettings(Section):
    """The plain-HTTP listener: CRLs, OCSP and authority certificates."""

    host: Host = Field(default="127.0.0.1", description="The address to listen on.")
    port: Port = Field(default=8080, description="The port to listen on.")
    workers: int = Field(
        default=1, ge=1, le=64, description="Processes that serve CRLs and OCSP answers."
    )
    url: PublicUrl | None = Field(
        default=None,
        description="Where gateways reach this listener. It is written into every certificate, so "
        "it can only be changed for certificates issued later. Default: http://HOST:PORT.",
    )
    ocsp_nonce: bool = Field(
        default=True,
        description="Whether a request with a nonce gets a fresh signature with it (RFC 9654). If "
        "not, it gets the prepared answer without one.",
    )

    @model_validator(mode="after")
    def _needs_a_name_for_every_address(self) -> Self:
        if self.url is None and is_every_address(self.host):
            raise ValueError(f"url must be set where host is {self.host}")
        return self

    @property
    def public_url(self) -> str:
        """`url`, or what follows from host and port; no slash at its end."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.url or f"http://{host}:{self.port}"

    @property
    def is_misdirected(self) -> bool:
        """Whether `url` is of this machine and leads to another port than is listened on: what gateways ask there, if
        anything, is another program.
        """
        told = urlsplit(self.public_url)
        return is_loopback(told.hostname or "") and (told.port or 80) != self.port


class IssuingSettings(Section):
    """What certificates are made from."""

    default_authority: Name | None = Field(
        default=None,
        description="The authority that issues where a request names none. Needed only with more "
        "than one issuing authority.",
    )
    profiles_directory: RelativePath | None = Field(
        default=None, description="A directory with profiles of your own, one TOML file each."
    )


class CrlSettings(Section):
    """Revocation lists."""

    full_hours: int = Field(
        default=24, ge=1, le=8760, description="How long full and shard CRLs are valid."
    )
    delta_hours: int = Field(default=6, ge=1, le=8760, description="How long delta CRLs are valid.")
    refresh_before: float = Field(
        default=0.5,
        ge=0.05,
        le=0.95,
        description="CRLs and OCSP answers are made anew when less than this part of their "
        "validity is left.",
    )

    @model_validator(mode="after")
    def _delta_is_shorter(self) -> Self:
        if self.delta_hours > self.full_hours:
            raise ValueError("delta_hours must not be more than full_hours")
        return self


class OcspSettings(Section):
    """Prepared OCSP answers."""

    hours: int = Field(default=12, ge=1, le=8760, description="How long an answer is valid.")
    cache_seconds: int = Field(
        default=300,
        ge=0,
        le=86400,
        description="How long a cache between gateways and the listener may keep an answer (Cache-Control of RFC "
        "5019), never past its end. So long it may go on to say that a certificate is good that was revoked.",
    )


class SchedulerSettings(Section):
    """Jobs: seconds between runs; 0 switches a job off."""

    outbox_poll_ms: int = Field(
        default=250,
        ge=10,
        le=60000,
        description="Milliseconds between looks for work that a committed change left to be done.",
    )
    crl_refresh: Interval = Field(default=60, description="Seconds between looks for due CRLs.")
    ocsp_refresh: Interval = Field(
        default=60, description="Seconds between looks for due OCSP answers."
    )
    reconcile: Interval = Field(
        default=30, description="Seconds between looks for issuances that were cut off half-way."
    )
    expiry_notices: Interval = Field(
        default=3600, description="Seconds between looks for certificates about to expire."
    )
    cleanup: Interval = Field(
        default=3600, description="Seconds between removals of what is no longer needed."
    )
    audit_log: Interval = Field(
        default=10,
        description="Seconds between signed heads of the audit log. What happened since the last "
        "one could be removed from the database unseen.",
    )
    figures: int = Field(
        default=60,
        ge=0,
        le=1800,
        description="Seconds between counts of certificates, gateways, shared secrets, findings and SAs for /metrics. "
        "Where nobody counted for an hour, whoever reads /metrics does.",
    )


class FleetSettings(Section):
    """Gateways, their agents, and revocations that reach their tunnels."""

    url: ServiceUrl | None = Field(
        default=None,
        description="Where agents reach the API; it stands in the enrollment line. Default: "
        "https://, the first of [api] names, and [api] port.",
    )
    cut_limit: int = Field(
        default=10,
        ge=0,
        le=1_000_000,
        description="Up to how many tunnels a revocation ends unasked. One that ends more is "
        "refused until their number is confirmed.",
    )
    unreachable_after_seconds: int = Field(
        default=120,
        ge=60,
        le=86400,
        description="A gateway that was not heard of for this long counts as unreachable. One "
        "that waits for news is heard of all the time.",
    )
    crl_spread_seconds: int = Field(
        default=60,
        ge=10,
        le=3600,
        description="Over how long the fleet is told of a CRL that was only refreshed. After a "
        "revocation all are told at once.",
    )


class MonitoringSettings(Section):
    """How long is kept what gateways report of their SAs."""

    events_days: int = Field(default=30, ge=1, le=3660, description="Single events.")
    counts_days: int = Field(
        default=400,
        ge=1,
        le=3660,
        description="How many there were in an hour, by connection, kind and reason. What was counted for all time "
        "stays.",
    )
    alerts_days: int = Field(default=400, ge=1, le=3660, description="Alerts, after their end.")


class LogsSettings(Section):
    """Log lines on standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least level that is written. Only debug has tracebacks."
    )
    format: Literal["text", "json"] = Field(
        default="text", description="Lines for people, or one JSON object a line."
    )


class Settings(Section):
    """All settings of one instance; one attribute per section."""

    database: DatabaseSettings = DatabaseSettings()
    keys: KeysSettings = KeysSettings()
    api: ApiSettings = ApiSettings()
    validation: ValidationSettings = ValidationSettings()
    issuing: IssuingSettings = IssuingSettings()
    enrollment: EnrollmentSettings = EnrollmentSettings()
    crl: CrlSettings = CrlSettings()
    ocsp: OcspSettings = OcspSettings()
    scheduler: SchedulerSettings = SchedulerSettings()
    notices: NoticesSettings = NoticesSettings()
    fleet: FleetSettings = FleetSettings()
    secrets: SecretsSettings = SecretsSettings()
    rotation: RotationSettings = RotationSettings()
    monitoring: MonitoringSettings = MonitoringSettings()
    approvals: ApprovalsSettings = ApprovalsSettings()
    console: ConsoleSettings = ConsoleSettings()
    syslog: SyslogSettings = SyslogSettings()
    metrics: MetricsSettings = MetricsSettings()
    traces: TracesSettings = TracesSettings()
    logs: LogsSettings = LogsSettings()
    reports: tuple[ReportSettings, ...] = ()

    @model_validator(mode="after")
    def _keys_have_a_server(self) -> Self:
        if self.keys.uses_transit and not self.keys.transit.is_own_server:
            try:
                self.secrets.check_complete()
            except ValueError as error:
                raise ValueError(
                    f"[keys.transit] names no server, and that of [secrets] {error}"
                ) from None
        return self

    @model_validator(mode="after")
    def _reports_can_be_sent(self) -> Self:
        names = [each.name for each in self.reports]
        twice = next((each for each in names if names.count(each) > 1), None)
        if twice is not None:
            raise ValueError(f"two [[reports]] are called {twice}")
        mailed = next((each.name for each in self.reports if each.mail_to), None)
        if mailed is not None and self.notices.mail_host is None:
            raise ValueError(f"[[reports]] {mailed} has mail_to, and [notices] names no mail_host")
        return self

    @model_validator(mode="after")
    def _each_listener_has_its_own(self) -> Self:
        syslog = self.syslog
        listeners = [
            ("api", self.api.host, self.api.port),
            ("validation", self.validation.host, self.validation.port),
            ("syslog", syslog.host, syslog.tcp_port),
            ("syslog", syslog.host, syslog.tls_port),
            ("metrics", self.metrics.host, self.metrics.port),
        ]
        for (mine, here, port), (other, there, its_port) in combinations(listeners, 2):
            same = here == there or is_every_address(here) or is_every_address(there)
            if port is not None and port == its_port and same:
                raise ValueError(
                    f"[{mine}] and [{other}] must not listen on the same host and port"
                )
        return self
