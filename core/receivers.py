"""Who is told of alerts besides the webhook, as settings describe it. Secrets are values, never text."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from core.secret import Secret


@dataclass(frozen=True)
class Alertmanager:
    """An Alertmanager. `url` is what stands before `/api/v2`, without a slash at its end.

    `login` is `USER:PASSWORD`.
    """

    url: str
    ca_file: Path | None = None
    token: Secret | None = field(default=None, compare=False)
    login: Secret | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Mail:
    """A mail server, and whose address mail is from and to. `login` is `USER:PASSWORD`."""

    host: str
    sender: str
    to: tuple[str, ...]
    port: int = 587
    security: Literal["starttls", "tls", "none"] = "starttls"
    ca_file: Path | None = None
    login: Secret | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Syslog:
    """A collector of syslog."""

    host: str
    port: int
    transport: Literal["tls", "tcp", "udp"] = "tls"
    ca_file: Path | None = None
