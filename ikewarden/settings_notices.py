"""Settings of notices: who hears of certificates that end and of alerts."""

from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from ikewarden.settings_section import Section
from ikewarden.settings_values import (
    AlertmanagerUrl,
    Days,
    Host,
    Mailbox,
    Mailboxes,
    RelativePath,
    Webhook,
    is_loopback,
)

Port = Annotated[int, Field(ge=1, le=65535)]


class NoticesSettings(Section):
    """Who hears of certificates that are about to expire, and of alerts.

    Certificates, findings and rotations are told to the webhook; alerts of tunnels to the webhook, Alertmanager, mail
    and syslog. Passwords and tokens are in files of mode 0600, read once at the start.
    """

    stages_days: Days = Field(
        default=(30, 14, 7, 1), description="How many days before its end a notice is given."
    )
    webhook: Webhook | None = Field(
        default=None,
        repr=False,
        exclude=True,
        description="Where notices are posted as JSON. Not shown anywhere, because such a URL is "
        "often a secret.",
    )
    webhook_key_file: RelativePath | None = Field(
        default=None,
        description="A file (mode 0600) with a key that notices are signed with: HMAC-SHA-256, in the header "
        "Ikewarden-Signature.",
    )
    alertmanager_url: AlertmanagerUrl | None = Field(
        default=None, description="An Alertmanager that is told of alerts by its API of version 2."
    )
    alertmanager_ca_file: RelativePath | None = Field(
        default=None,
        description="The root that it must prove itself by, PEM. Default: those of this system.",
    )
    alertmanager_token_file: RelativePath | None = Field(
        default=None, description="A file (mode 0600) with a bearer token for it."
    )
    alertmanager_login_file: RelativePath | None = Field(
        default=None,
        description="A file (mode 0600) with USER:PASSWORD for it (basic authentication).",
    )
    mail_host: Host | None = Field(
        default=None, description="The mail server that alerts are given to."
    )
    mail_port: Port = Field(default=587, description="Its port.")
    mail_security: Literal["starttls", "tls", "none"] = Field(
        default="starttls",
        description="starttls: TLS is begun in the session (587), or nothing is sent. tls: from its first byte (465). "
        "none: for a server on this machine only.",
    )
    mail_ca_file: RelativePath | None = Field(
        default=None,
        description="The root that it must prove itself by, PEM. Default: those of this system.",
    )
    mail_login_file: RelativePath | None = Field(
        default=None, description="A file (mode 0600) with USER:PASSWORD for it."
    )
    mail_from: Mailbox | None = Field(default=None, description="The address that mail is from.")
    mail_to: Mailboxes | None = Field(
        default=None, description="The addresses that mail is sent to, each by itself."
    )
    syslog_host: Host | None = Field(
        default=None, description="A collector that alerts are told to as RFC 5424 has it."
    )
    syslog_port: Port | None = Field(
        default=None, description="Its port. Default: 6514 for tls, 601 for tcp, 514 for udp."
    )
    syslog_transport: Literal["tls", "tcp", "udp"] = Field(
        default="tls",
        description="tls: RFC 5425. tcp: RFC 6587, counted. udp: RFC 5426; nobody learns of what is lost.",
    )
    syslog_ca_file: RelativePath | None = Field(
        default=None,
        description="tls: the root that it must prove itself by, PEM. Default: those of this system.",
    )

    @model_validator(mode="after")
    def _alertmanager(self) -> Self:
        logins = self.alertmanager_token_file, self.alertmanager_login_file
        if self.alertmanager_url is None:
            if any(logins) or self.alertmanager_ca_file:
                raise ValueError("needs an alertmanager_url beside its other settings")
            return self
        if all(logins):
            raise ValueError("has one of alertmanager_token_file and alertmanager_login_file")
        parts = urlsplit(self.alertmanager_url)
        open_line = parts.scheme == "http" and not is_loopback(parts.hostname or "")
        if any(logins) and open_line:
            raise ValueError("needs an alertmanager_url https:// where something is logged in with")
        return self

    @model_validator(mode="after")
    def _mail(self) -> Self:
        if self.mail_host is None:
            if self.mail_from or self.mail_to or self.mail_login_file or self.mail_ca_file:
                raise ValueError("needs a mail_host beside its other settings")
            return self
        if self.mail_from is None or self.mail_to is None:
            raise ValueError("needs mail_from and mail_to where there is a mail_host")
        if self.mail_security == "none" and not is_loopback(self.mail_host):
            raise ValueError('needs mail_security "starttls" or "tls" for another machine')
        return self

    @model_validator(mode="after")
    def _syslog(self) -> Self:
        if self.syslog_host is None and (self.syslog_port or self.syslog_ca_file):
            raise ValueError("needs a syslog_host beside its other settings")
        if self.syslog_ca_file and self.syslog_transport != "tls":
            raise ValueError('needs syslog_transport "tls" where there is a syslog_ca_file')
        return self
